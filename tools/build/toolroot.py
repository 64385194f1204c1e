# SPDX-License-Identifier: MIT
"""The userland of another Debian release, in which kernels of that release build modules.

A newer kernel's headers bring programs (modpost, objtool) that are linked to a newer C library and
flags that only its own compiler knows. So the release's compiler, make and what these need are
unpacked below the cache, never installed, and entered by chroot in a mount namespace of its own.
"""
import os
import re
import shutil

import privapt
from common import CACHE, PROGRESS, BuildError, lock, output, put_in_place, run

FOLDER = CACHE / "toolroot"
RECIPE = 1

# What a module's build calls; the compiler is the one that the release's kernels were built by.
COMPILER = {"bookworm": "gcc-12", "trixie": "gcc-14"}
WANTED = ["make", "dash", "bash", "coreutils", "sed", "grep", "mawk", "findutils", "diffutils",
          "libelf1", "libelf1t64", "libssl3", "libssl3t64", "pahole", "dpkg", "perl-base"]


def _closure(apt, names):
    """The packages and what they depend on, first alternative each, as far as they exist."""
    known = set(apt.cache("pkgnames").split())
    found, fresh = set(), {n for n in names if n in known}
    while fresh:
        found |= fresh
        text = apt.cache("depends", "--no-recommends", "--no-suggests", "--no-conflicts",
                         "--no-breaks", "--no-replaces", "--no-enhances", *sorted(fresh))
        needs = set(re.findall(r"^  (?:Pre)?Depends: ([^\s<:]+)", text, re.M))
        fresh = (needs & known) - found
    return sorted(found)


def folder(codename):
    """The root with the tools of a release, made the first time."""
    target = FOLDER / f"{codename}-{RECIPE}"
    if target.exists():
        return target
    if codename not in COMPILER:
        raise BuildError(f"no compiler is known for kernels of {codename}")
    with lock(f"toolroot-{codename}"):
        if target.exists():
            return target
        PROGRESS.step(f"fetching the compiler of {codename} (not installed)")
        FOLDER.mkdir(exist_ok=True)
        apt = privapt.PrivateApt(f"toolroot-{codename}", [codename], foreign=True)
        apt.update()
        partial = FOLDER / f".partial-{codename}-{os.getpid()}"
        shutil.rmtree(partial, ignore_errors=True)
        debs = apt.download(_closure(apt, WANTED + [COMPILER[codename]]), partial / "dl")
        root = partial / "root"
        for name in ("bin", "sbin", "lib", "lib64"):
            (root / "usr" / name).mkdir(parents=True)
            (root / name).symlink_to(f"usr/{name}")
        for deb in debs:
            # Through the symbolic links: older packages have files in /lib.
            run(["sh", "-c", 'dpkg-deb --fsys-tarfile "$1" | tar -x --keep-directory-symlink '
                 '--no-same-owner -C "$2"', "sh", deb, root])
        for name in ("dev", "proc", "tmp"):
            (root / name).mkdir(exist_ok=True)
        if not (root / "usr/bin/sh").exists():
            (root / "usr/bin/sh").symlink_to("dash")
        if not (root / "usr/bin/awk").exists():
            (root / "usr/bin/awk").symlink_to("mawk")
        output(command(root, [COMPILER[codename], "--version"], []))
        put_in_place(root, target)
        shutil.rmtree(partial)
    return target


def command(root, argv, binds):
    """The command line that runs argv in the root, which sees the folders in binds as here."""
    script = ('root=$1; shift; for dir in /dev /proc "$@"; do [ "$dir" = -- ] && break; '
              'mkdir -p "$root$dir"; mount --rbind "$dir" "$root$dir"; done; '
              'while [ "$1" != -- ]; do shift; done; shift; exec chroot "$root" "$@"')
    unshare = ["unshare", "--mount"] + (["--map-root-user"] if os.geteuid() else [])
    return [*unshare, "sh", "-ec", script, "sh", root, *binds, "--", *argv]
