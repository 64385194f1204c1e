# SPDX-License-Identifier: MIT
"""Tests that need no VM: `meson test` in builds by gcc, by clang, and with
the address and undefined-behaviour sanitizers."""
import json
import os
import re
import subprocess
import sys
import time
import unittest
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / "tools/build")]

# pylint: disable=wrong-import-position
from common import BuildError, ccache_env, jobs  # noqa: E402
from userspace import Userspace  # noqa: E402

SANITIZER = re.compile(r"ERROR: (Address|Leak|Memory|Thread)Sanitizer|runtime error:|"
                       r"SUMMARY: \w*Sanitizer")
SANITIZER_ENV = {
    "ASAN_OPTIONS": "abort_on_error=0:detect_leaks=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}


def own_tests(report):
    """The tests of what judges the tests."""
    suite = unittest.defaultTestLoader.discover(str(TOP / "tests/lib"), "test_*.py")
    result = unittest.TestResult()
    suite.run(result)
    bad = result.errors + result.failures
    if result.testsRun > len(bad):
        report.ok("host: the test runner's own tests", result.testsRun - len(bad))
    for case, text in bad:
        report.fail(f"host: {case.id()}", text)


def _results(build):
    path = build / "meson-logs/testlog.json"
    for line in path.read_text(encoding="utf-8").splitlines():
        yield json.loads(line)


def _cases(text):
    """How many tests a cmocka program ran, for the count."""
    found = re.search(r"\[=+\] (?:\S+: )?(?:tests: )?(\d+) test\(s\) run", text)
    return int(found.group(1)) if found else 1


def _judge(report, flavour, entry):
    name = f"host/{flavour}: {entry['name']}"
    text = entry.get("stdout", "") + entry.get("stderr", "")
    result = entry["result"]
    if SANITIZER.search(text):
        report.fail(f"{name}: a sanitizer complained", text)
    elif result in ("OK", "EXPECTEDFAIL"):
        report.ok(name, _cases(text), f" ({entry['duration']:.1f} s)")
    elif result == "SKIP":
        report.skip(name, (text.strip().splitlines() or [""])[-1])
    else:
        report.fail(f"{name}: {result}", text)


def _chosen(build, keep):
    """Names for `meson test`: none is all."""
    if not keep:
        return []
    done = subprocess.run(["meson", "introspect", "--tests", str(build)], check=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    return sorted({test["name"] for test in json.loads(done.stdout)
                   if re.search(keep, " / ".join(test["suite"][:1] + [test["name"]]))})


def run(report, flavour, keep=""):
    report.stage(f"host tests, {flavour}")
    user = Userspace(flavour)
    try:
        user.compile()
    except BuildError as error:
        report.fail(f"host/{flavour}: build", str(error))
        return
    report.ok(f"host/{flavour}: builds without warnings")
    sanitized = flavour == "sanitize"
    log = user.build / "meson-logs/testlog.json"
    log.unlink(missing_ok=True)
    chosen = _chosen(user.build, keep)
    if keep and not chosen:
        return
    start = time.monotonic()
    subprocess.run(["meson", "test", "-C", str(user.build), "--num-processes", jobs(),
                    "--timeout-multiplier", "5" if sanitized else "2", *chosen],
                   env=dict(os.environ, **ccache_env(TOP), **(SANITIZER_ENV if sanitized else {})),
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, check=False)
    if not log.exists():
        report.fail(f"host/{flavour}: meson test ran nothing")
        return
    report.say(f"  the tests took {time.monotonic() - start:.0f} s")
    for entry in _results(user.build):
        if re.search(keep, entry["name"]):
            _judge(report, flavour, entry)
