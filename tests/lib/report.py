# SPDX-License-Identifier: MIT
"""What a run has seen so far: one line per test as it ends, the failures' detail, the total."""
import sys
import time


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
        self.failures.append(name)
        self.say(f"  FAIL {name}")
        for line in detail.rstrip().splitlines()[-60:]:
            self.say(f"       | {line}")

    def close(self):
        """Print the closing line; the exit status of the run."""
        if self.failures:
            self.say("failed: " + ", ".join(dict.fromkeys(self.failures)))
        self.say(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped")
        return 1 if self.failed or not self.passed else 0
