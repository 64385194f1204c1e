# SPDX-License-Identifier: MIT
"""The debug kernel: the stock kernel's source, debug-kernel.config, built here once.

And a kernel from the newest source that the archive has, without the checkers but with what Debian's
own kernels lack: control groups for device memory.

It finds what the stock kernel forgives (KASAN, lockdep, kmemleak, UBSAN, DMA debugging, fault
injection). The kernel folder has the same shape as the stock one's (kernel.py).
"""
import os
import re
import shutil
from pathlib import Path

import kernel as stock_kernel
import matrix
from common import (CACHE, PROGRESS, BuildError, ccache_env, hash_of, jobs, lock, log_path,
                    put_in_place, run)
import privapt

HERE = Path(__file__).resolve().parent
FRAGMENT = HERE / "debug-kernel.config"
DMEM_FRAGMENT = HERE / "dmem-kernel.config"
# What a configuration must have kept.
NEEDED = ("DRM_ACCEL", "DRM_SCHED", "DRM_TTM", "DRM_GPUVM", "DRM_EXEC", "(DRM|GPU)_BUDDY",
          "VIRTIO_CONSOLE", "UNWINDER_FRAME_POINTER", "JUMP_LABEL")
DEBUG_NEEDED = (*NEEDED, "KASAN", "PROVE_LOCKING", "KUNIT", "FAILSLAB", "GCOV_KERNEL", "KASAN_INLINE")
DMEM_NEEDED = (*NEEDED, "CGROUP_DMEM")
FOLDER = CACHE / "kernel"
RECIPE = 3
# The checkers are not checked themselves: they run at every lock, allocation and mapping.
UNCHECKED = [f"KASAN_SANITIZE_{name}.o=n" for name in ("lockdep", "debugobjects")]


def _unpack_source(series, partial, log):
    if series == stock_kernel.SERIES:
        apt, version = stock_kernel.kernel_apt(), ""
    else:
        newest = matrix.available()[-1]
        apt, version = matrix.apt(newest.suite), f"={newest.version}"
    apt.update()
    debs = apt.download([f"linux-source-{series}{version}"], partial / "dl")
    privapt.unpack(debs, partial / "dl")
    archive = next((partial / "dl/usr/src").glob("linux-source-*.tar.xz"))
    tree = partial / "tree"
    tree.mkdir()
    run(["tar", "-xf", archive, "-C", tree, "--strip-components=1"], log=log)
    shutil.rmtree(partial / "dl")
    return tree


def _configure(tree, fragments, needed, log):
    run(["make", "tinyconfig"], cwd=tree, log=log)
    run(["scripts/kconfig/merge_config.sh", "-m", ".config", *fragments], cwd=tree, log=log)
    run(["make", "olddefconfig"], cwd=tree, log=log)
    config = (tree / ".config").read_text(encoding="utf-8")
    for option in needed:
        if not re.search(f"^CONFIG_{option}=", config, re.M):
            raise BuildError(f"the kernel's configuration lost CONFIG_{option}")


def _slim(tree):
    """Keep what building modules needs: objects of the kernel itself are most of the size."""
    keep = {tree / "scripts", tree / "tools"}
    for folder, names, files in os.walk(tree):
        path = Path(folder)
        if path in keep:
            names.clear()
            continue
        for name in files:
            if name.endswith((".o", ".a", ".ko", ".cmd")) or name == "vmlinux.unstripped":
                (path / name).unlink()


def _build(tree, partial, log):
    run(["make", "-j", jobs(), "CC=ccache gcc", *UNCHECKED, "bzImage", "modules"], cwd=tree,
        log=log, env=ccache_env(tree))
    release = (tree / "include/config/kernel.release").read_text(encoding="utf-8").strip()
    shutil.copy2(tree / "arch/x86/boot/bzImage", partial)
    run(["make", "modules_install", f"INSTALL_MOD_PATH={partial}/root", "DEPMOD=true"], cwd=tree,
        log=log)
    for name in ("modules", "headers"):
        (partial / name).unlink(missing_ok=True)
    (partial / "modules").symlink_to(f"root/lib/modules/{release}/kernel")
    (partial / "release").write_text(release + "\n", encoding="utf-8")
    shutil.copy2(tree / ".config", partial / "config")
    _slim(tree)
    (partial / "headers").symlink_to("tree")


def _kernel(name, series, fragments, needed, minutes):
    """The folder of a kernel that is built here, the first time."""
    FOLDER.mkdir(exist_ok=True)
    key = hash_of(RECIPE, series, privapt.codename(), files=fragments)
    target = FOLDER / f"{name}-{key}"
    if target.exists():
        PROGRESS.step(f"{name} kernel: up to date")
        return target
    with lock(f"{name}-kernel"):
        if target.exists():
            return target
        log = log_path(f"{name}-kernel")
        PROGRESS.step(f"building the {name} kernel (some {minutes} CPU minutes, once; log: {log})")
        # A build that was interrupted goes on where it was.
        partial = FOLDER / f".partial-{name}-{key}"
        tree = partial / "tree"
        if not (partial / "configured").exists():
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            _configure(_unpack_source(series, partial, log), fragments, needed, log)
            (partial / "configured").touch()
        _build(tree, partial, log)
        put_in_place(partial, target)
    return target


def debug():
    """The debug kernel."""
    return _kernel("debug", stock_kernel.SERIES, [FRAGMENT], DEBUG_NEEDED, 20)


def dmem():
    """The kernel with control groups for device memory, of the newest series there is."""
    series = ".".join(map(str, matrix.available()[-1].number()[:2]))
    return _kernel("dmem", series, [FRAGMENT, DMEM_FRAGMENT], DMEM_NEEDED, 8)
