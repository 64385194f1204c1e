# SPDX-License-Identifier: MIT
"""What a run has seen so far: one line per test as it ends, the failures' detail, the total."""
import re
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "tools/vm")]

# pylint: disable=wrong-import-position
from guestlog import SPLAT  # noqa: E402

TELLING = re.compile(r"\[  FAILED  \]|error|assert|expected|# .*:\d+:|not ok |BUG|WARNING|SUMMARY| != |"
                     r"timed out|did not end", re.IGNORECASE)


def telling_lines(detail, most=6):
    """The lines of a failure's output that are worth repeating where a reader looks first."""
    lines = [line.strip() for line in detail.splitlines()]
    found = [line for line in lines if TELLING.search(line) or SPLAT.search(line)]
    return (found or [line for line in lines if line])[-most:]


class Report:
    """Collects results; the closing line is the run's last word."""

    def __init__(self, stream=sys.stdout):
        self.stream = stream
        self.passed = self.failed = self.skipped = 0
        self.failures = []
        self.start = time.monotonic()

    def say(self, text):
        print(text, file=self.stream, flush=True)

    def stage(self, title):
        self.say(f"== {title} ({time.monotonic() - self.start:.0f} s)")

    def ok(self, name, cases=1, note=""):
        self.passed += cases
        count = f" {cases} cases" if cases > 1 else ""
        self.say(f"  ok   {name}{count}{note}")

    def skip(self, name, why="", cases=1):
        self.skipped += cases
        self.say(f"  skip {name}" + (f": {why}" if why else ""))

    def fail(self, name, detail="", cases=1):
        self.failed += cases
        self.failures.append((name, telling_lines(detail)))
        self.say(f"  FAIL {name}")
        for line in detail.rstrip().splitlines()[-60:]:
            self.say(f"       | {line}")

    def close(self):
        """Print the closing line; the exit status of the run."""
        if self.failures:
            self.say("== what failed")
        for name, lines in self.failures:
            self.say(f"failed: {name}")
            for line in lines:
                self.say(f"       | {line[:200]}")
        self.say(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped")
        return 1 if self.failed or not self.passed else 0
