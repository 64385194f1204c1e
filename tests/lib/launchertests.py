# SPDX-License-Identifier: MIT
"""The launcher as scripts use it: a command's own output and status, and the statuses that tell
the machine's failures from the command's. Each case is a boot of its own."""
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
VM = TOP / "tools/vm/vm"
SECONDS = 120

# The first card's first register that does not exist, without the driver: BAR0 from sysfs.
BAD_REGISTER = """
set -e
card=$(grep -l 0x4f4e /sys/bus/pci/devices/*/vendor)
echo 1 >"${card%vendor}enable"
read -r start end flags <"${card%vendor}resource"
busybox devmem $((start + 0x3ffff0)) 32 >/dev/null
"""

# (what, options, command, status, stdout or None)
CASES = [
    ("the command's output and status, plain boot", ["--plain-boot"],
     ["sh", "-c", "echo out; echo err >&2; exit 7"], 7, "out\n"),
    ("the card's complaint", ["--no-module"], ["sh", "-c", BAD_REGISTER], 249, ""),
    ("the kernel's complaint", [],
     ["sh", "-c", "echo '<4>WARNING: CPU: 0 PID: 1 at launcher-test' >/dev/kmsg"], 250, ""),
    ("the guest's panic", [], ["sh", "-c", "echo c >/proc/sysrq-trigger; sleep 60"], 251, None),
    ("the time limit", ["--timeout", "1"], ["sleep", "1000"], 253, ""),
    ("no such kernel", ["--kernel", "/nonexistent"], ["true"], 254, ""),
]


def _children(pid):
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in path.read_text(encoding="ascii").split()]


def _qemu_of(process):
    """The process id of the QEMU that a launcher has started, or None."""
    for pid in _children(process.pid):
        with suppress(FileNotFoundError):   # one that has just ended
            if Path(f"/proc/{pid}/comm").read_text(encoding="ascii").startswith("qemu"):
                return pid
    return None


def _crash(report):
    """QEMU ends by a signal, when the command runs: one that dies before is started again."""
    name = "launcher: QEMU's crash"
    with subprocess.Popen([VM, "--timeout", str(SECONDS), "--", "sh", "-c", "echo up; sleep 1000"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True) as process:
        said = process.stdout.readline()
        pid = _qemu_of(process) if said == "up\n" else None
        if pid:
            os.kill(pid, signal.SIGKILL)
        try:
            said += process.communicate(timeout=SECONDS)[0]
        except subprocess.TimeoutExpired:
            process.kill()
        if pid and process.wait() == 252:
            report.ok(name)
        else:
            report.fail(f"{name}: status {process.wait()}, expected 252", said)


def run(report):
    for what, options, command, status, output in CASES:
        name = f"launcher: {what}"
        try:
            done = subprocess.run([VM, *options, "--", *command], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                  timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired:
            report.fail(f"{name}: did not end")
            continue
        if done.returncode != status:
            report.fail(f"{name}: status {done.returncode}, expected {status}",
                        done.stdout + done.stderr)
        elif output is not None and done.stdout != output:
            report.fail(f"{name}: printed {done.stdout!r}, expected {output!r}", done.stderr)
        else:
            report.ok(name)
    _crash(report)
