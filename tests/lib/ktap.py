# SPDX-License-Identifier: MIT
"""Reads what a test program said in KTAP (Documentation/dev-tools/ktap.rst of the kernel).

A program that says nothing in KTAP is one test, judged by its exit status. Subtests (KUnit's) are
indented, and the result after them sums them up.
"""
import re
from dataclasses import dataclass, field

RESULT = re.compile(r"^(not ok|ok)\b(?:\s+(\d+))?(?:\s+-)?\s*(.*)$")
PLAN = re.compile(r"^1\.\.(\d+)")
DIRECTIVE = re.compile(r"^(.*?)\s*#\s*(SKIP|TODO|XFAIL)\b\s*(.*)$", re.I)
EXPECT = re.compile(r"^#\s*expect-(kernel|card-errors):?\s*(.*)$")
SKIP_STATUS = 4     # kselftest's
INDENT = 4          # of subtests, for each level


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


class _Level:
    """What one depth of nesting has said so far."""

    def __init__(self):
        self.planned, self.seen = None, 0


def _close_group(outcome, level, verdict, name, failed_before):
    """A result that sums up the subtests before it: only what they do not say counts."""
    if level.planned is not None and level.seen != level.planned:
        outcome.failed.append(f"{name}: ran {level.seen} of {level.planned} subtests")
    elif verdict == "not ok" and len(outcome.failed) == failed_before:
        outcome.failed.append(name)


def _expectation(outcome, line):
    expect = EXPECT.match(line)
    if expect and expect.group(1) == "kernel":
        outcome.allow_kernel.append(expect.group(2))
    elif expect:
        outcome.allow_card = True


def _read_lines(outcome, text):
    """Fills the outcome; returns the outermost level. Leaves count, groups do not."""
    levels, failed_before = [_Level()], {}
    for raw in text.splitlines():
        line = raw.lstrip(" ")
        depth = (len(raw) - len(line)) // INDENT
        plan, result = PLAN.match(line), RESULT.match(line)
        if depth == 0:
            _expectation(outcome, line)
        if plan and depth <= len(levels):
            if depth == len(levels):
                levels.append(_Level())
                failed_before[depth] = len(outcome.failed)
            if levels[depth].planned is None:
                levels[depth].planned = int(plan.group(1))
        elif result and depth < len(levels) and levels[depth].planned is not None:
            levels[depth].seen += 1
            if depth + 1 < len(levels):
                _close_group(outcome, levels[depth + 1], result.group(1), result.group(3),
                             failed_before[depth + 1])
                del levels[depth + 1:]
            else:
                _case(outcome, result.group(1), result.group(3))
    return levels[0]


def parse(text, status):
    """The outcome of a program by its output and exit status."""
    outcome = Outcome()
    level = _read_lines(outcome, text)
    if level.planned is None:
        return _by_status(outcome, status)
    if level.seen < level.planned:
        outcome.failed.append(f"ended after {level.seen} of {level.planned} tests")
    elif level.seen > level.planned:
        outcome.failed.append(f"said {level.planned} tests and ran {level.seen}")
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
