#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The programs that a page of the documentation prints are those that are built and run.

printed.py PAGE.md PROGRAM.c...
"""
import sys
from pathlib import Path


def main():
    """Each program, without its first line (SPDX), stands indented in the page."""
    page = Path(sys.argv[1]).read_text()
    wrong = 0
    for name in sys.argv[2:]:
        lines = Path(name).read_text().splitlines()[1:]
        block = "\n".join("    " + line.expandtabs(8) if line else "" for line in lines)
        if block not in page:
            print(f"{sys.argv[1]} does not print {name} as it is")
            wrong = 1
    return wrong


if __name__ == "__main__":
    sys.exit(main())
