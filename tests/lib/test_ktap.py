# SPDX-License-Identifier: MIT
"""A run that went wrong must not look right: the readers of results, on bad output."""
import sys
import unittest
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / "tests/lib"), str(TOP / "tools/vm")]

# pylint: disable=wrong-import-position
import guestlog  # noqa: E402
import ktap  # noqa: E402
import vmtests  # noqa: E402

GOOD = "TAP version 13\n1..3\nok 1 a\nok 2 b # SKIP no card\nok 3 - c\n# Totals: …\n"


class KtapTest(unittest.TestCase):
    """ktap.parse"""

    def test_good(self):
        out = ktap.parse(GOOD, 0)
        self.assertEqual((out.passed, out.failed, out.skipped), (2, [], ["b: no card"]))

    def test_not_ok(self):
        out = ktap.parse("1..2\nok 1 a\nnot ok 2 b\n", 1)
        self.assertEqual((out.passed, out.failed), (1, ["b"]))

    def test_ends_early(self):
        self.assertTrue(ktap.parse("1..3\nok 1 a\n", 0).failed)

    def test_more_than_planned(self):
        self.assertTrue(ktap.parse("1..1\nok 1 a\nok 2 b\n", 0).failed)

    def test_all_ok_but_bad_status(self):
        self.assertTrue(ktap.parse("1..1\nok 1 a\n", 139).failed)

    def test_no_ktap(self):
        self.assertEqual(ktap.parse("hello\n", 0).passed, 1)
        self.assertTrue(ktap.parse("hello\n", 1).failed)
        self.assertTrue(ktap.parse("", ktap.SKIP_STATUS).skipped)

    def test_expectations(self):
        out = ktap.parse("# expect-kernel: onpu .*: wedged\n# expect-card-errors\n" + GOOD, 0)
        self.assertEqual(out.allow_kernel, ["onpu .*: wedged"])
        self.assertTrue(out.allow_card)


class LogTest(unittest.TestCase):
    """guestlog, and which test a complaint belongs to"""

    BAD = ["BUG: kernel NULL pointer dereference, address: 0", "WARNING: CPU: 0 PID: 1 at x.c:3",
           "Oops: 0000 [#1]", "BUG: KASAN: slab-use-after-free in f", "UBSAN: shift-out-of-bounds",
           "refcount_t: underflow; use-after-free.", "list_add corruption. next->prev",
           "INFO: task kworker/0:1:11 blocked for more than 60 seconds.",
           "general protection fault, probably for non-canonical address",
           "WARNING: possible circular locking dependency detected", "Call Trace:",
           "rcu: INFO: rcu_preempt detected stalls", "Kernel panic - not syncing: Fatal exception"]
    FINE = ["onpu 0000:01:00.0: card memory 4096 MiB", "Run /init as init process",
            "drm: Initialized onpu 0.1.0 for 0000:01:00.0 on minor 0"]

    def test_bad_lines(self):
        for line in self.BAD:
            self.assertEqual(guestlog.splats(f"[    1.0] {line}"), [f"[    1.0] {line}"], line)

    def test_fine_lines(self):
        self.assertEqual(guestlog.splats("\n".join(self.FINE)), [])

    def test_allow(self):
        self.assertEqual(guestlog.splats("WARNING: at f", ["at f"]), [])

    def test_card_log(self):
        text = "virtio: zero sized buffers\nonpu: card0: read of no register 0x10\n"
        self.assertEqual(guestlog.guest_errors(text), ["onpu: card0: read of no register 0x10"])

    def test_door(self):
        log = ("a\n[1.0] onpu-test: begin kselftest/bo\n[1.1] WARNING: x\n"
               "[1.2] onpu-test: end kselftest/bo 0\n[1.3] BUG: y\n")
        found = vmtests.kernel_complaints(log)
        self.assertEqual(found, {"kselftest/bo": ["[1.1] WARNING: x"], None: ["[1.3] BUG: y"]})


if __name__ == "__main__":
    unittest.main()
