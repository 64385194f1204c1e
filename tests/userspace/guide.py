#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The programs of the guide print what it says that they print, on two cards of the model.

guide.py PAGE.md FOLDER PROGRAM.c...      FOLDER: where they are built, guide_x.c as guide-x
"""
import os
import subprocess
import sys
from pathlib import Path


def main():
    """Runs each of them."""
    # The leak checker cannot look into threads of a library that was loaded later.
    checks = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
    page = Path(sys.argv[1]).read_text(encoding="utf-8")
    wrong = 0
    for name in sys.argv[3:]:
        program = Path(sys.argv[2]) / Path(name).stem.replace("_", "-")
        done = subprocess.run([program], text=True, capture_output=True, timeout=60, check=False,
                              env=dict(os.environ, ACCEL_DEVICE="model:2", ASAN_OPTIONS=checks))
        lines = Path(name).read_text(encoding="utf-8").splitlines()[1:]
        code = "\n".join("    " + line.expandtabs(8) if line else "" for line in lines)
        output = "\n".join("    " + line for line in done.stdout.splitlines())
        if f"{code}\n\nIt prints:\n\n{output}\n" not in page or done.returncode or not output:
            print(f"{program}: status {done.returncode}, not as {sys.argv[1]} says:")
            print(done.stdout, done.stderr)
            wrong = 1
    return wrong


if __name__ == "__main__":
    sys.exit(main())
