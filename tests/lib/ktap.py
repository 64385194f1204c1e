# SPDX-License-Identifier: MIT
"""Reads what a test program said in KTAP (Documentation/dev-tools/ktap.rst of the kernel).

A program that says nothing in KTAP is one test, judged by its exit status.
"""
import re
from dataclasses import dataclass, field

RESULT = re.compile(r"^(not ok|ok)\b(?:\s+(\d+))?(?:\s+-)?\s*(.*)$")
PLAN = re.compile(r"^1\.\.(\d+)")
DIRECTIVE = re.compile(r"^(.*?)\s*#\s*(SKIP|TODO|XFAIL)\b\s*(.*)$", re.I)
EXPECT = re.compile(r"^#\s*expect-(kernel|card-errors):?\s*(.*)$")
SKIP_STATUS = 4     # kselftest's


@dataclass
class Outcome:
    """What one program's run amounts to."""
    passed: int = 0
    failed: list = field(default_factory=list)
    skipped: list = field(default_factory=list)
    allow_kernel: list = field(default_factory=list)    # patterns of kernel complaints it provokes
    allow_card: bool = False                            # it provokes the card's error log


def _case(outcome, verdict, text):
    directive = DIRECTIVE.match(text)
    kind = directive.group(2).upper() if directive else ""
    name = (directive.group(1) if directive else text).strip()
    if kind == "SKIP":
        outcome.skipped.append(f"{name}: {directive.group(3)}".rstrip(": "))
    elif verdict == "ok" or kind in ("TODO", "XFAIL"):
        outcome.passed += 1
    else:
        outcome.failed.append(name)


def parse(text, status):
    """The outcome of a program by its output and exit status."""
    outcome = Outcome()
    planned = None
    for line in text.splitlines():
        plan = PLAN.match(line)
        if plan and planned is None:
            planned = int(plan.group(1))
            continue
        expect = EXPECT.match(line)
        if expect and expect.group(1) == "kernel":
            outcome.allow_kernel.append(expect.group(2))
        elif expect:
            outcome.allow_card = True
        result = RESULT.match(line)
        if result and planned is not None:
            _case(outcome, result.group(1), result.group(3))
    seen = outcome.passed + len(outcome.failed) + len(outcome.skipped)
    if planned is None:
        return _by_status(outcome, status)
    if seen < planned:
        outcome.failed.append(f"ended after {seen} of {planned} tests")
    elif seen > planned:
        outcome.failed.append(f"said {planned} tests and ran {seen}")
    if status not in (0, SKIP_STATUS) and not outcome.failed:
        outcome.failed.append(f"exit status {status}")
    return outcome


def _by_status(outcome, status):
    if status == 0:
        outcome.passed = 1
    elif status == SKIP_STATUS:
        outcome.skipped.append("")
    else:
        outcome.failed.append(f"exit status {status}")
    return outcome
