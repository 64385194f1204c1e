#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The man pages have every function that the map lists, and are well-formed.

manpages.py MAP FOLDER
"""
import re
import shutil
import subprocess
import sys
from pathlib import Path


def main():
    """Prints what is wrong."""
    folder, wrong = Path(sys.argv[2]), []
    names = re.findall(r"^\t(accel_\w+);$", Path(sys.argv[1]).read_text(encoding="utf-8"), re.M)
    index = (folder / "libaccel.3").read_text(encoding="utf-8")
    pages = {"libaccel.3"}
    for name in names:
        try:
            target = (folder / f"{name}.3").read_text(encoding="utf-8").removeprefix(".so man3/").strip()
            text = (folder / target).read_text(encoding="utf-8")
        except OSError as error:
            wrong.append(f"{name} has no page: {error}")
            continue
        pages.add(target)
        part = text[text.find(f".SS {name}()\n"):]
        if f"\n.SS {name}()\n" not in text or not re.match(r"[^\n]+\n(?!\.S)[^\n]", part):
            wrong.append(f"{target} does not describe {name}")
        if not re.search(rf"\\fB[^\n]*\b{name}\\fP\(.*\);", text):
            wrong.append(f"{target} has no prototype of {name}")
        if f"\n{name}()\tThread safety\tMT" not in text:
            wrong.append(f"{target} does not tell the thread safety of {name}")
        if name not in index:
            wrong.append(f"libaccel.3 does not name {name}")
    if shutil.which("groff"):
        done = subprocess.run(["groff", "-t", "-man", "-ww", "-Tutf8", "-rLL=110n", *sorted(pages)],
                              cwd=folder, capture_output=True, text=True, check=False)
        wrong += done.stderr.splitlines()
    print("\n".join(wrong) or f"{len(names)} functions on {len(pages)} pages")
    return 1 if wrong or not names else 0


if __name__ == "__main__":
    sys.exit(main())
