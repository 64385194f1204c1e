# SPDX-License-Identifier: MIT
"""A run that went wrong must not look right: the readers of results, on bad output."""
import io
import sys
import unittest
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / "tests/lib"), str(TOP / "tools/vm")]

# pylint: disable=wrong-import-position
import guestlog  # noqa: E402
import ktap  # noqa: E402
import report  # noqa: E402
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


NESTED = """KTAP version 1
1..2
    KTAP version 1
    # Subtest: first
    1..2
    ok 1 a
    ok 2 b # SKIP not here
ok 1 first
    KTAP version 1
    1..1
        KTAP version 1
        1..2
        ok 1 deep
        not ok 2 deeper
    not ok 1 middle
not ok 2 second
"""


class SubtestTest(unittest.TestCase):
    """Subtests count; the results that sum them up do not, unless they say more."""

    def test_leaves_count(self):
        out = ktap.parse(NESTED, 0)
        self.assertEqual((out.passed, out.failed, out.skipped),
                         (2, ["deeper"], ["b: not here"]))

    def test_subtests_missing(self):
        out = ktap.parse(NESTED.replace("    ok 2 b # SKIP not here\n", ""), 0)
        self.assertIn("first: ran 1 of 2 subtests", out.failed)

    def test_ends_in_a_group(self):
        out = ktap.parse(NESTED.split("ok 1 first")[0], 0)
        self.assertEqual(out.failed, ["ended after 0 of 2 tests"])

    def test_a_group_fails_by_itself(self):
        out = ktap.parse("1..1\n    1..1\n    ok 1 a\nnot ok 1 init\n", 0)
        self.assertEqual((out.passed, out.failed), (1, ["init"]))

    def test_indented_words_are_no_results(self):
        out = ktap.parse("1..1\n    ok 1 only printed\nok 1 a\n", 0)
        self.assertEqual((out.passed, out.failed), (1, []))


class ReportTest(unittest.TestCase):
    """report: what is repeated of a failure, and the last word"""

    def test_lines_that_say_why(self):
        detail = "ok 1 a\n# bo.c:12:x:Expected 0 (0) == ret (22)\nok 2 b\nnot ok 3 c\ntrailer\n"
        self.assertEqual(report.telling_lines(detail),
                         ["# bo.c:12:x:Expected 0 (0) == ret (22)", "not ok 3 c"])

    def test_the_end_when_nothing_says_why(self):
        detail = "\n".join(f"line {n}" for n in range(20)) + "\n\n  \n"
        self.assertEqual(report.telling_lines(detail, 2), ["line 18", "line 19"])
        self.assertEqual(report.telling_lines(""), [])

    def test_no_more_than_wanted(self):
        detail = "\n".join(f"error {n}" for n in range(20))
        self.assertEqual(report.telling_lines(detail), [f"error {n}" for n in range(14, 20)])

    def test_a_complaint_of_the_kernel_tells(self):
        for line in LogTest.BAD:
            self.assertEqual(report.telling_lines(f"a\n{line}\nb"), [line])

    def test_failures_are_repeated_before_the_last_line(self):
        out = io.StringIO()
        seen = report.Report(out)
        seen.ok("good", 3)
        seen.fail("bad", "something\nAssertion x failed\n", 2)
        seen.skip("other", "why")
        self.assertEqual(seen.close(), 1)
        lines = out.getvalue().splitlines()
        self.assertEqual(lines[-1], "3 passed, 2 failed, 1 skipped")
        self.assertIn("failed: bad", lines)
        self.assertIn("Assertion x failed", lines[lines.index("failed: bad") + 1])

    def test_nothing_ran_is_no_success(self):
        self.assertEqual(report.Report(io.StringIO()).close(), 1)

    def test_success(self):
        seen = report.Report(io.StringIO())
        seen.ok("good")
        self.assertEqual(seen.close(), 0)


class MustRunTest(unittest.TestCase):
    """Where a program must run, a skip is a failure."""

    def judge(self, must_run):
        seen = report.Report(io.StringIO())
        suite = vmtests.Suite(seen, "debug", None, must_run=must_run)
        suite._judge(vmtests.Ended("kselftest/x", 0, "1..1\nok 1 a # SKIP no failslab\n"))
        return seen.failed, seen.skipped

    def test_skip(self):
        self.assertEqual(self.judge(()), (0, 1))
        self.assertEqual(self.judge(("kselftest/x",)), (1, 0))


class SessionTest(unittest.TestCase):
    """What a guest says while it runs programs"""

    class Machine:
        """One second of CPU each time one looks."""
        def __init__(self):
            self.cpu = 0.0

        def cpu_seconds(self):
            self.cpu += 1
            return self.cpu

        def card_log(self):
            return ""

    def test_programs(self):
        session = vmtests.Session(None, ["k/a", "k/b"], slow=4, limits={"k/b": 7})
        session.machine, ended = self.Machine(), []
        self.assertEqual(session.seconds("k/a"), 4 * vmtests.TEST_SECONDS)
        self.assertEqual(session.seconds("k/b"), 7)
        session.feed(b"noise\n@@begin k/a\n1..2\nok 1 x\nok ", ended.append)
        session.feed(b"2 y\n\n@@end k/a 0\n@@begin k/b\n", ended.append)
        self.assertEqual(len(ended), 1)
        entry = ended[0]
        self.assertEqual((entry.name, entry.status), ("k/a", 0))
        self.assertEqual(entry.text, "1..2\nok 1 x\nok 2 y\n")
        self.assertEqual(entry.times, [("x", 1.0), ("y", 1.0)])
        self.assertEqual(entry.cpu, 3.0)
        self.assertEqual((session.current, session.waiting), ("k/b", ["k/b"]))


class MachinesTest(unittest.TestCase):
    """Which programs run on which machine"""

    def runs(self, names, last=(), **how):
        config = vmtests.Config(log="log", guest_errors="card")
        suite = vmtests.Suite(report.Report(io.StringIO()), "debug", config, last=last, **how)
        seen = []
        suite._run = lambda waiting: seen.append((suite.config.vram, waiting))
        suite.run(names)
        self.assertIs(suite.config, config)
        return seen

    def test_small_cards(self):
        self.assertEqual(self.runs(["k/a", "k/b_small", "k/c"]),
                         [("4G", ["k/a", "k/c"]), ("64M", ["k/b_small"])])

    def test_last_on_each(self):
        self.assertEqual(self.runs(["k/a", "k/b_small"], ["d/health"]),
                         [("4G", ["k/a", "d/health"]), ("64M", ["k/b_small", "d/health"])])
        self.assertEqual(self.runs(["k/b_small"], ["d/health"]),
                         [("64M", ["k/b_small", "d/health"])])
        self.assertEqual(self.runs([], ["d/health"]), [("4G", ["d/health"])])

    def test_all_small(self):
        self.assertEqual(self.runs(["k/a", "k/b_small"], ["d/health"], all_small=True),
                         [("64M", ["k/a", "k/b_small", "d/health"])])
        self.assertEqual(self.runs([], ["d/health"], all_small=True), [("64M", ["d/health"])])


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
