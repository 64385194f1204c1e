# SPDX-License-Identifier: MIT
"""The tests that need the card: one boot runs many programs, one after the other.

The guest runs them by vm-run-tests, which prints a marker before and after each and writes the
same markers to the kernel log, so that a complaint there is laid at the right door. When the
machine dies or hangs in a test, that test has failed, and a new machine goes on with the next.
"""
import re
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import ktap

TOP = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / "tools/vm"), str(TOP / "tools/build")]

# pylint: disable=wrong-import-position
import guestlog  # noqa: E402
from machine import Config, Machine, VmError  # noqa: E402

BEGIN = re.compile(r"^@@begin (\S+)$")
END = re.compile(r"^@@end (\S+) (\d+)$")
# What a test asks to be done to a card from outside: hardware.md, "Fault injection".
INJECT = re.compile(r"^# card (\d+): inject ([a-z-]+(?:=\d+)?)$")
LOG_BEGIN = re.compile(r"onpu-test: begin (\S+)")
LOG_END = re.compile(r"onpu-test: end (\S+)")
TEST_SECONDS = 120          # the guest ends a program then, on the stock kernel
MAX_BOOTS = 8
# Little memory, of which the CPU reaches a part.
SMALL_CARDS = {"vram": "64M", "card_options": "aperture=24M"}


@dataclass
class Ended:
    """A program that has run."""
    name: str
    status: int
    text: str = ""
    seconds: float = 0.0
    cpu: float = 0.0            # seconds of the host's CPUs
    card_errors: list = field(default_factory=list)
    times: list = field(default_factory=list)       # (case, CPU seconds)


class Session:
    """One boot: feeds on the guest's output and knows which test is running."""

    def __init__(self, config, names, slow=1, env=None, limits=None):
        self.config, self.waiting = config, list(names)
        self.env = {**({"ONPU_SLOW": slow} if slow > 1 else {}), **(env or {})}
        self.limit, self.limits = TEST_SECONDS * slow, limits or {}
        self.current, self.text, self.buffer = None, [], b""
        self.since, self.since_cpu = time.monotonic(), 0.0
        self.times = []             # (case, CPU seconds) of the running program
        self.machine = None
        self.card_seen = 0

    def _card_errors(self):
        lines = self.machine.card_log().splitlines()
        fresh, self.card_seen = lines[self.card_seen:], len(lines)
        return guestlog.guest_errors("\n".join(fresh))

    def _time_case(self, line):
        """What a case took of the host's CPUs, by when its result arrives."""
        result = ktap.RESULT.match(line)
        if result and self.current:
            spent = sum(seconds for _, seconds in self.times)
            self.times.append((result.group(3),
                               self.machine.cpu_seconds() - self.since_cpu - spent))

    def _inject(self, line):
        """Do to a card what the running program asks for."""
        asked = INJECT.match(line)
        if asked and self.current:
            self.machine.qmp("qom-set", path=f"/machine/peripheral/card{asked.group(1)}",
                             property="inject", value=asked.group(2))

    def feed(self, data, done):
        """Take output of the guest; done(entry) is called for each test that has ended."""
        self.buffer += data
        while b"\n" in self.buffer:
            raw, _, self.buffer = self.buffer.partition(b"\n")
            line = raw.decode("utf-8", "replace").rstrip("\r")
            begin, end = BEGIN.match(line), END.match(line)
            if begin:
                self.current, self.text, self.times = begin.group(1), [], []
                self.since, self.since_cpu = time.monotonic(), self.machine.cpu_seconds()
            elif end and end.group(1) == self.current:
                entry = Ended(self.current, int(end.group(2)), "\n".join(self.text),
                              time.monotonic() - self.since,
                              self.machine.cpu_seconds() - self.since_cpu,
                              self._card_errors(), self.times)
                self.waiting.remove(self.current)
                self.current = None
                done(entry)
            else:
                self.text.append(line)
                self._time_case(line)
                self._inject(line)

    def seconds(self, name):
        """How long a program may take."""
        return self.limits.get(name, self.limit)

    def run(self, done):
        """Boot and run what waits. Returns None, or why the machine ended early."""
        told = "".join(f"{name}={value} " for name, value in self.env.items())
        command = f"{told}vm-run-tests " + " ".join(f"{self.seconds(name)}:{name}"
                                                    for name in self.waiting)
        limit = 60 + sum(self.seconds(name) + 10 for name in self.waiting)
        with Machine(self.config) as machine:
            self.machine = machine
            machine.handlers["out"] = lambda data: self.feed(data, done)
            machine.handlers["err"] = lambda data: self.feed(data, done)
            try:
                # In proportion: three minutes on the stock kernel, on a busy machine.
                machine.wait_ready(self.limit * 1.5)
                self._guarded(machine, command, limit)
                machine.wait_off()
            except VmError as error:
                return str(error)
        return None

    def _guarded(self, machine, command, limit):
        """Machine.run, but a test that outlives even the guest's own limit ends the boot."""
        original = machine.serve

        def serve(seconds):
            if self.current and time.monotonic() - self.since > self.seconds(self.current) + 30:
                machine.serve = original
                machine.report_blocked()
                raise VmError(f"{self.current} hangs and cannot be ended")
            return original(seconds)

        machine.serve = serve
        machine.run(command, limit)
        machine.serve = original


def kernel_complaints(log):
    """{test or None: complaints of the kernel while it ran}."""
    found, current, lines = {}, None, []

    def close():
        bad = guestlog.splats("\n".join(lines))
        if bad:
            found.setdefault(current, []).extend(bad)
        lines.clear()

    for line in log.splitlines():
        begin, end = LOG_BEGIN.search(line), LOG_END.search(line)
        if begin or end:
            close()
            current = begin.group(1) if begin else None
        lines.append(line)
    close()
    return found


class Suite:
    """Runs programs over as many boots as it takes and reports them.

    slow multiplies a program's time limit, and the program is told; one in must_run fails when
    it skips anything; those in last end each machine's run. With all_small, all run on small cards.
    env is what else the programs are told, limits the seconds of those that may take longer.
    """

    def __init__(self, report, title, config, slow=1, must_run=(), last=(), show_times=False,
                 all_small=False, env=None, limits=None):
        self.report, self.title, self.config = report, title, config
        self.slow, self.must_run, self.last = slow, must_run, list(last)
        self.all_small, self.env, self.limits = all_small, env, limits
        self.show_times = show_times
        self.allow_kernel, self.ended = {}, []

    def _judge(self, entry):
        name, text = entry.name, entry.text
        outcome = ktap.parse(text, entry.status)
        self.ended.append(name)
        self.allow_kernel[name] = outcome.allow_kernel
        label = f"{self.title}:{name}"
        for why in outcome.skipped:
            if name in self.must_run:
                self.report.fail(f"{label}: skipped here, where it must run: {why}", text)
            else:
                self.report.skip(label, why)
        if outcome.passed:
            self.report.ok(label, outcome.passed,
                           f" ({entry.seconds:.1f} s, CPU {entry.cpu:.1f} s)")
        for case, spent in entry.times if self.show_times else ():
            self.report.say(f"       | CPU {spent:6.1f} s  {case}")
        if outcome.failed:
            self.report.fail(f"{label}: " + ", ".join(outcome.failed), text,
                             len(outcome.failed))
        if entry.card_errors and not outcome.allow_card:
            self.report.fail(f"{label}: the card logged errors", "\n".join(entry.card_errors))

    def _judge_kernel_log(self, log):
        for name, lines in kernel_complaints(log).items():
            allow = self.allow_kernel.get(name, ())
            lines = [t for t in lines if not any(re.search(p, t) for p in allow)]
            if lines:
                self.report.fail(f"{self.title}:{name or 'between tests'}: the kernel complained",
                                 "\n".join(lines))

    def run(self, names):
        """Runs the programs, those that ask for small cards in a machine of their own."""
        small = names if self.all_small else [n for n in names if n.endswith("_small")]
        large = [n for n in names if n not in small]
        if large or not (small or self.all_small):
            self._run(large + self.last)
        if not (small or self.all_small):
            return
        config = self.config
        self.config = Config(**{**vars(config), **SMALL_CARDS,
                                "log": Path(f"{config.log}.small"),
                                "guest_errors": Path(f"{config.guest_errors}.small")})
        self._run(small + self.last)
        self.config = config

    def _run(self, names):
        waiting = list(names)
        for boot in range(MAX_BOOTS):
            if not waiting:
                return
            log = Path(f"{self.config.log}.{boot}")
            card = Path(f"{self.config.guest_errors}.{boot}")
            for path in (log, card):
                path.write_bytes(b"")
            config = Config(**{**vars(self.config), "log": log, "guest_errors": card})
            session = Session(config, waiting, self.slow, self.env, self.limits)
            died = session.run(self._judge)
            text = log.read_text(encoding="utf-8", errors="replace")
            self._judge_kernel_log(text)
            waiting = session.waiting
            if died is None:
                for name in waiting:
                    self.report.fail(f"{self.title}:{name}: did not run")
                return
            tail = "\n".join(session.text[-20:] + text.splitlines()[-40:])
            guilty = session.current
            self.report.fail(f"{self.title}:{guilty or 'the machine'}: {died}", tail)
            if guilty is None:
                break
            waiting.remove(guilty)
        for name in waiting:
            self.report.fail(f"{self.title}:{name}: did not run")
