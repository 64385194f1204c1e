#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes of symbols.txt the forwarders, in assembler, and the linker's version script.

    forward.py SYMBOLS ASSEMBLER VERSION_SCRIPT

A forwarder is a jump through a slot, so that it needs to know nothing of arguments and results.
next.c fills the slots from the table that is made here. A slot that stays empty leads to a
few lines that load the function's name and go to blas_missing().
"""
import sys
from pathlib import Path

HEAD = """\
/* Made by forward.py. */
#ifndef __x86_64__
#error "the forwarders are written for x86-64"
#endif
	.section .note.GNU-stack, "", @progbits
"""

FORWARDER = """\
	.text
	.globl {name}
	.type {name}, @function
	.p2align 4
{name}:
	endbr64
	jmp *blas_next_{name}(%rip)
	.size {name}, . - {name}
"""

SLOT = """\
	.text
	.type .Lmissing_{name}, @function
.Lmissing_{name}:
	endbr64
	leaq .Lname_{name}(%rip), %rdi
	andq $-16, %rsp
	call blas_missing
	ud2
	.size .Lmissing_{name}, . - .Lmissing_{name}
	.section .rodata.str1.1, "aMS", @progbits, 1
.Lname_{name}:
	.asciz "{name}"
	.data
	.globl blas_next_{name}
	.hidden blas_next_{name}
	.type blas_next_{name}, @object
	.p2align 3
blas_next_{name}:
	.quad .Lmissing_{name}
	.size blas_next_{name}, 8
	.section .data.rel.ro.blas_slots, "aw"
	.quad .Lname_{name}
	.quad blas_next_{name}
"""

TABLE = """\
	.section .data.rel.ro.blas_slots, "aw"
	.globl {name}
	.hidden {name}
	.p2align 3
{name}:
"""


def read(path):
    rows = []
    for line in Path(path).read_text(encoding="ascii").splitlines():
        if line and not line.startswith("#"):
            kind, name = line.split()
            rows.append((kind, name))
    return rows


def assembler(rows):
    parts = [HEAD, TABLE.format(name="blas_slots")]
    for kind, name in rows:
        if kind in ("forward", "extra"):
            parts.append(FORWARDER.format(name=name))
        if kind in ("forward", "extra", "own"):
            parts.append(SLOT.format(name=name))
    parts.append(TABLE.format(name="blas_slots_end"))
    return "".join(parts)


def version_script(rows):
    names = "".join(f"\t\t{name};\n" for _, name in rows)
    return "{\n\tglobal:\n" + names + "\tlocal:\n\t\t*;\n};\n"


def main():
    rows = read(sys.argv[1])
    Path(sys.argv[2]).write_text(assembler(rows), encoding="ascii")
    Path(sys.argv[3]).write_text(version_script(rows), encoding="ascii")


if __name__ == "__main__":
    main()
