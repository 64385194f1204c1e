#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks that the contract headers mean the same to everyone who includes them.

    check.py compile DIALECT   every header alone, twice, and all together
    check.py holes             pahole finds no hole and no padding in any shared structure
    check.py layout            sizes and offsets are the same on x86-64, i386 and RV32
    check.py ioctls            ioctl numbers agree on 64 and 32 bits and none is used twice

Exit status 77 says that a tool is missing, which Meson shows as a skipped test.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
UAPI = ROOT / "uapi"
SKIP = 77
WARN = ["-Wall", "-Wextra", "-Werror", "-Wundef", "-Wshadow", "-Wconversion"]
# -Wpedantic is for user space: anonymous structures are C11 but not C++11.
RV32 = ["riscv64-unknown-elf-gcc", "-misa-spec=2.2", "-march=rv32imc", "-mabi=ilp32",
        "-ffreestanding", "-nostdlib", "-std=gnu11"]
DRM = ["-I/usr/include/libdrm"]
# No 32-bit C library is needed: the kernel's headers and the compiler's are enough.
I386 = ["-ffreestanding", *DRM, "-idirafter", "/usr/include/x86_64-linux-gnu"]

DIALECTS = {
    "c11": ["gcc", "-std=c11", "-Wpedantic", *DRM],
    "c17": ["gcc", "-std=c17", "-Wpedantic", *DRM],
    "c11-clang": ["clang", "-std=c11", "-Wpedantic", *DRM],
    "cxx11": ["g++", "-std=c++11", "-x", "c++", *DRM],
    "cxx17": ["g++", "-std=c++17", "-x", "c++", *DRM],
    "cxx20-clang": ["clang++", "-std=c++20", "-x", "c++", *DRM],
    "i386": ["gcc", "-m32", "-std=c11", *I386],
    "rv32": RV32,
    "kernel": [],
}
# The card's firmware never sees the ioctls.
CARD_ONLY = {"rv32"}


def headers(dialect):
    found = sorted(UAPI.rglob("*.h"))
    if len(found) < 2:
        sys.exit(f"no headers below {UAPI}")
    return [h for h in found if not (dialect in CARD_ONLY and "drm" in h.parts)]


def need(program):
    if shutil.which(program) is None:
        print(f"{program} is not installed")
        sys.exit(SKIP)


def run(cmd, **kw):
    done = subprocess.run(cmd, capture_output=True, text=True, check=False, **kw)
    if done.returncode:
        print(" ".join(map(str, cmd)))
        print(done.stdout + done.stderr)
    return done


def sources(dialect):
    """(name, text) of the translation units of a dialect."""
    names = [str(h.relative_to(UAPI)) for h in headers(dialect)]
    for name in names:
        text = f"#include <{name}>\n"
        yield re.sub(r"\W", "_", name), text + text + "extern int onpu_not_empty;\n"
    yield "all", "".join(f"#include <{n}>\n" for n in names) + "extern int onpu_not_empty;\n"


def kernel_dirs():
    """Header folders of installed kernels and of those the build keeps in its cache."""
    if os.environ.get("ONPU_KDIR"):
        return [Path(os.environ["ONPU_KDIR"])]
    cache = os.environ.get("ONPU_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = Path(cache) if cache else base / "onpu"
    found = list(cache.glob("kernel/stock-*/headers")) + list(Path("/lib/modules").glob("*/build"))
    return [d for d in found if (d / "Makefile").exists()]


def compile_kernel(work):
    dirs = kernel_dirs()
    if not dirs:
        print("no kernel headers found (ONPU_KDIR names them)")
        sys.exit(SKIP)
    objects = []
    for name, text in sources("kernel"):
        (work / f"{name}.c").write_text(text)
        objects.append(f"{name}.o")
    # A module needs a licence and nothing else; modpost is not run for a plain object list.
    (work / "Kbuild").write_text(
        f"ccflags-y := -I{UAPI} -Wextra -Wno-unused-parameter -Wno-sign-compare "
        "-Wno-missing-field-initializers -Wno-type-limits -Werror\n"
        f"obj-y := {' '.join(objects)}\n")
    done = run(["make", "-s", "-C", str(dirs[0]), f"M={work}", *objects])
    return done.returncode == 0


def compile_dialect(dialect):
    if dialect not in DIALECTS:
        sys.exit(f"unknown dialect {dialect}")
    with tempfile.TemporaryDirectory() as tmp:
        work = Path(tmp)
        if dialect == "kernel":
            return compile_kernel(work)
        cmd = DIALECTS[dialect]
        need(cmd[0])
        good = True
        for name, text in sources(dialect):
            path = work / f"{name}.c"
            path.write_text(text)
            done = run([*cmd, *WARN, f"-I{UAPI}", "-fsyntax-only", str(path)])
            good &= done.returncode == 0
        return good


def pahole(work, name, compiler, dialect):
    """What pahole says about every structure that the headers define."""
    path, obj = work / f"{name}.c", work / f"{name}.o"
    path.write_text(dict(sources(dialect))["all"])
    done = run([*compiler, f"-I{UAPI}", "-g", "-gdwarf-4", "-fno-eliminate-unused-debug-types",
                "-c", str(path), "-o", str(obj)])
    if done.returncode:
        sys.exit(1)
    done = run(["pahole", "--expand_types", str(obj)])
    if done.returncode:
        sys.exit(1)
    structs = {}
    for match in re.finditer(r"^struct (\w*onpu_\w+) \{\n(.*?)^\}", done.stdout, re.S | re.M):
        structs[match.group(1)] = match.group(2)
    return structs


def defined(dialect):
    """The structures that the headers' text defines, to notice when pahole shows fewer."""
    names = set()
    for header in headers(dialect):
        names |= set(re.findall(r"^struct (\w+) \{", header.read_text(), re.M))
    return names


def unportable_members():
    """Members whose width depends on the compiler: pointers, long, int, enum, bool, bit-fields."""
    bad = 0
    for header in headers("c11"):
        text = re.sub(r"/\*.*?\*/", "", header.read_text(), flags=re.S)
        for name, body in re.findall(r"^struct (\w+) \{\n(.*?)^\};", text, re.S | re.M):
            for line in body.splitlines():
                if re.search(r"\*|\b(long|int|short|enum|bool|size_t)\b|:\s*\d+;", line):
                    print(f"struct {name}: member of no fixed width: {line.strip()}")
                    bad += 1
    return bad


def holes():
    need("pahole")
    bad = 0
    with tempfile.TemporaryDirectory() as tmp:
        structs = pahole(Path(tmp), "x86_64", ["gcc", "-std=c11", *DRM], "c11")
        missing = defined("c11") - set(structs)
        if missing:
            print(f"pahole does not show: {sorted(missing)}")
            bad += 1
        for name, body in structs.items():
            if re.search(r"XXX|holes:|padding:|bit_padding|sum holes", body):
                print(f"struct {name} has a hole or padding:\n{body}")
                bad += 1
            size = re.search(r"/\* size: (\d+)", body)
            if name.startswith("drm_onpu_") and int(size.group(1)) % 8:
                print(f"struct {name}: size {size.group(1)} is no multiple of 8")
                bad += 1
    bad += unportable_members()
    print(f"{len(structs)} structures checked")
    return bad == 0


def shape(body):
    """Members and their offsets and sizes, without what differs in spelling."""
    rows = []
    for line in body.splitlines():
        match = re.search(r"(\w+)(?:\[[^;]*\])?;\s*/\*\s*(\d+)\s+(\d+)\s*\*/", line)
        if match:
            rows.append(match.groups())
        match = re.search(r"/\* size: (\d+)", line)
        if match:
            rows.append(("size", match.group(1)))
    return rows


def layout():
    need("pahole")
    need(RV32[0])
    good, compared = True, 0
    with tempfile.TemporaryDirectory() as tmp:
        work = Path(tmp)
        wide = pahole(work, "x86_64", ["gcc", "-std=c11", *DRM], "c11")
        for name, compiler, dialect in (("i386", DIALECTS["i386"], "i386"), ("rv32", RV32, "rv32")):
            narrow = pahole(work, name, compiler, dialect)
            missing = defined(dialect) - set(narrow)
            if missing:
                print(f"{name}: pahole does not show {sorted(missing)}")
                good = False
            for struct, body in narrow.items():
                compared += 1
                if shape(body) != shape(wide[struct]) or not shape(body):
                    print(f"struct {struct} differs: x86-64\n{wide[struct]}\n{name}\n{body}")
                    good = False
    print(f"{compared} layouts compared")
    return good


def ioctl_table(compiler, work, name):
    """{ioctl name: number} as the compiler computes them, read from its assembly."""
    text = (UAPI / "drm" / "onpu_accel.h").read_text()
    names = re.findall(r"^#define (DRM_IOCTL_ONPU_\w+)", text, re.M)
    path = work / f"{name}.c"
    path.write_text("#include <drm/onpu_accel.h>\n" + "".join(
        f'void f{i}(void) {{ __asm__ volatile("@@{n} %c0" :: "i"((unsigned int)({n}))); }}\n'
        for i, n in enumerate(names)))
    done = run([*compiler, f"-I{UAPI}", "-O1", "-S", "-o", "-", str(path)])
    if done.returncode:
        sys.exit(1)
    found = re.findall(r"@@(\w+) \$?(-?\d+)", done.stdout)
    return {n: int(v) & 0xffffffff for n, v in found}, names


def ioctls():
    with tempfile.TemporaryDirectory() as tmp:
        work = Path(tmp)
        wide, names = ioctl_table(["gcc", "-std=gnu11", *DRM], work, "x86_64")
        narrow, _ = ioctl_table(["gcc", "-m32", "-std=gnu11", *I386], work, "i386")
    good = set(wide) == set(names) and len(names) > 0
    if wide != narrow:
        print(f"64 bits: {wide}\n32 bits: {narrow}")
        good = False
    numbers = sorted(v & 0xff for v in wide.values())
    # DRM_COMMAND_BASE is 0x40. A gap is a number that is given away and not in use yet.
    if numbers[0] != 0x40 or numbers[-1] >= 0xa0 or len(set(numbers)) != len(numbers):
        print(f"ioctl numbers are not unique and from 0x40 on: {numbers}")
        good = False
    print(f"{len(wide)} ioctls")
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["compile", "holes", "layout", "ioctls"])
    parser.add_argument("dialect", nargs="?")
    args = parser.parse_args()
    if args.what == "compile":
        good = compile_dialect(args.dialect)
    else:
        good = {"holes": holes, "layout": layout, "ioctls": ioctls}[args.what]()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
