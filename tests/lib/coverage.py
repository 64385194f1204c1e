# SPDX-License-Identifier: MIT
"""Line coverage of the driver's sources from what the debug kernel counted (tests/run --coverage).

Each machine copies its counters to a folder of its own; gcov, which comes with the compiler, lays them beside
the notes that the module's build left.
"""
import json
import shutil
import subprocess
from pathlib import Path


def _gcov(notes, counters, work):
    """Lines of the driver's files that one object holds: {file: {line: count}}."""
    shutil.copy2(notes, work)
    shutil.copy2(counters, work)
    done = subprocess.run(["gcov", "--json-format", "--stdout", counters.name], cwd=work,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    found = {}
    for entry in json.loads(done.stdout)["files"]:
        path = Path(entry["file"])
        if path.parent.name == "driver" and path.name.startswith("onpu_"):
            lines = found.setdefault(path.name, {})
            for line in entry["lines"]:
                number = line["line_number"]
                lines[number] = lines.get(number, 0) + line["count"]
    return found


def measure(build, counters):
    """{file: (lines that ran, lines)} of the sources below build/driver, over all machines."""
    work = counters / "work"
    work.mkdir(exist_ok=True)
    total = {}
    for path in sorted(counters.glob("*/*.gcda")):
        notes = build / "driver" / f"{path.stem}.gcno"
        for name, lines in _gcov(notes, path, work).items():
            into = total.setdefault(name, {})
            for number, count in lines.items():
                into[number] = into.get(number, 0) + count
    return {name: (sum(1 for c in lines.values() if c), len(lines))
            for name, lines in sorted(total.items())}


def table(figures):
    """The figures as lines of text, the total last."""
    rows = [*figures.items(), ("total", tuple(map(sum, zip(*figures.values()))))]
    return [f"{name:22} {ran:5} of {lines:5} lines  {100 * ran / max(lines, 1):5.1f} %"
            for name, (ran, lines) in rows]
