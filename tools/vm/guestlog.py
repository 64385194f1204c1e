# SPDX-License-Identifier: MIT
"""What in a guest kernel's log, or in the card's, is a failure whatever the tests say."""
import re

# A line that matches is a kernel that complained about itself.
SPLAT = re.compile(
    r"BUG:|WARNING:|\bOops\b|KASAN|KFENCE|KCSAN|KMSAN|UBSAN|Kernel panic|general protection|"
    r"refcount_t:|list_(add|del)\S* corruption|Call Trace|unable to handle|"
    r"possible (circular|recursive) locking|inconsistent lock state|suspicious RCU usage|"
    r"sleeping function called from invalid context|scheduling while atomic|"
    r"blocked for more than \d+ seconds|rcu: INFO: .*stall|soft lockup|hard LOCKUP|"
    r"DMA-API:.*(error|not)|ODEBUG:|kmemleak: \d+ new suspected|slab.*(corrupt|overwritten)|"
    r"Objects remaining|memory leak|DMAR:.*fault|Bad page (state|map)|bad_page|"
    r"trying to (free|vfree)|double free|invalid opcode|stack-protector")

# What a healthy guest says too.
HARMLESS = re.compile(
    r"tsc: Marking TSC unstable|clocksource: |Spectre|MDS|mitigation|microcode|"
    r"kernel_lockdown|perf: interrupt took too long|hrtimer: interrupt took|"
    r"kmemleak: Kernel memory leak detector (disabled|initialized)")

PANIC = re.compile(r"Kernel panic - not syncing: (.*)")

# The card's complaints in QEMU's own log; other devices' are none of our business.
GUEST_ERROR = re.compile(r"\bonpu")


def splats(text, allow=()):
    """Lines of a kernel log that fail a run, without those that a test announced."""
    found = []
    for line in text.splitlines():
        if not SPLAT.search(line) or HARMLESS.search(line):
            continue
        if not any(re.search(pattern, line) for pattern in allow):
            found.append(line.strip())
    return found


def guest_errors(text):
    return [line.strip() for line in text.splitlines() if GUEST_ERROR.search(line)]
