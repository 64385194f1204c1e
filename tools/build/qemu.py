# SPDX-License-Identifier: MIT
"""QEMU with the card: Debian's QEMU 10.0 source package with model/qemu laid over it.

What is laid over (the same shape that it would have upstream):

    model/qemu/hw/onpu/*   ->  hw/onpu/
    model/src/*            ->  hw/onpu/core/src/
    model/include/*        ->  hw/onpu/core/include/
    uapi/*                 ->  hw/onpu/core/uapi/
    onpu_rom.h             ->  hw/onpu/core/src/      (the boot ROM, from the Meson build)

plus one line each in hw/meson.build, hw/Kconfig and the list of trace-events folders, and the
mistakes of QEMU itself that the tests found, mended by model/qemu/patches/*.patch. The build
tree stays in the cache: a change to the model recompiles only what it touches. Every finished
binary is kept in a folder of its own, named by what it was built from, so that two clones that
share the cache do not replace each other's.
"""
import json
import os
import shutil
from pathlib import Path

import privapt
from common import (CACHE, PROGRESS, ROOT, BuildError, ccache_env, hash_of, jobs, keep_newest,
                    lock, log_path, mirror, put_in_place, run, tree_files)

SERIES = "10.0."
RECIPE = 1    # raise when the way the tree is prepared changes
HERE = Path(__file__).resolve().parent
DEVICES = HERE / "qemu-devices.mak"
PATCHES = sorted((ROOT / "model/qemu/patches").glob("*.patch"))
FOLDER = CACHE / "qemu"
OPTION_ROMS = ("pvh.bin", "linuxboot.bin", "linuxboot_dma.bin", "kvmvapic.bin")

OVERLAY = [
    (ROOT / "model/qemu/hw/onpu", "."),
    (ROOT / "model/src", "core/src"),
    (ROOT / "model/include", "core/include"),
    (ROOT / "uapi", "core/uapi"),
]

CONFIGURE = [
    "--target-list=x86_64-softmmu",
    "--without-default-features", "--without-default-devices", "--with-devices-x86_64=onpu",
    "--enable-tcg", "--enable-kvm", "--enable-virtfs", "--enable-attr",
    "--enable-trace-backends=log",
    "--disable-docs", "--disable-download", "--disable-install-blobs", "--disable-debug-info",
    "--disable-werror",
]


def _source_apt():
    return privapt.PrivateApt("qemu", ["trixie", "trixie-security"], source=True, binary=False)


def _tools_apt():
    suite = privapt.codename()
    suites = [suite, f"{suite}-backports"] if suite == "bookworm" else [suite]
    return privapt.PrivateApt("tools", suites)


def _fetch_source():
    """The .dsc of the series' newest version; asks the archive only the first time."""
    record = FOLDER / "source.json"
    downloads = FOLDER / "dl"
    if record.exists():
        known = json.loads(record.read_text(encoding="utf-8"))
        dsc = downloads / known["dsc"]
        if dsc.exists():
            return known["version"], dsc
    downloads.mkdir(parents=True, exist_ok=True)
    apt = _source_apt()
    apt.update()
    versions = [v for v in apt.source_versions("qemu") if v.split(":")[-1].startswith(SERIES)]
    if not versions:
        raise BuildError(f"the archive has no QEMU {SERIES}x source package any more "
                         f"(it has: {', '.join(apt.source_versions('qemu')) or 'none'})")
    version = versions[0]
    apt.get("source", "--download-only", f"qemu={version}", cwd=downloads)
    bare = version.split(":")[-1]
    dsc = downloads / f"qemu_{bare}.dsc"
    if not dsc.exists():
        raise BuildError(f"apt-get source brought no {dsc.name}")
    record.write_text(json.dumps({"version": bare, "dsc": dsc.name}), encoding="utf-8")
    return bare, dsc


def _build_tools():
    """Meson new enough for QEMU 10 and the SeaBIOS image, unpacked, not installed."""
    root = CACHE / "tools" / f"{privapt.codename()}-qemu-1"
    if not root.exists():
        apt = _tools_apt()
        apt.update()
        new_enough = [v for v in apt.versions("meson")
                      if tuple(int(x) for x in v.split("-")[0].split("+")[0].split(".")[:2])
                      >= (1, 5)]
        if not new_enough:
            raise BuildError("no meson >= 1.5 in the suites of this Debian: QEMU 10 needs one")
        downloads = CACHE / "tools" / "dl"
        debs = apt.download([f"meson={new_enough[0]}", "seabios"], downloads)
        partial = CACHE / "tools" / f".partial-{os.getpid()}"
        privapt.unpack(debs, partial)
        put_in_place(partial, root)
        shutil.rmtree(downloads, ignore_errors=True)
    return root


def _env(tools):
    packages = tools / "usr/lib/python3/dist-packages"
    return {"PYTHONPATH": str(packages), **ccache_env(FOLDER)}


def _edit(path, old, new):
    text = path.read_text(encoding="utf-8")
    if new in text:
        return
    if old not in text:
        raise BuildError(f"{path}: the place to hook the card in is gone ({old!r})")
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def _hook(src):
    _edit(src / "hw/meson.build", "subdir('nvram')\n", "subdir('nvram')\nsubdir('onpu')\n")
    _edit(src / "hw/Kconfig", "source nvram/Kconfig\n",
          "source nvram/Kconfig\nsource onpu/Kconfig\n")
    _edit(src / "meson.build", "    'hw/nvram',\n", "    'hw/nvram',\n    'hw/onpu',\n")
    shutil.copyfile(DEVICES, src / "configs/devices/x86_64-softmmu/onpu.mak")


def _sync(src, rom_header):
    target = src / "hw/onpu"
    mirror([*OVERLAY, (rom_header, "core/src")], target)


def _prepare_tree(version, dsc, key, rom_header, log):
    """Unpack and configure once per (version, configuration)."""
    tree = FOLDER / f"{version}-{key}"
    if (tree / "build/build.ninja").exists():
        _sync(tree / "src", rom_header)
        return tree
    shutil.rmtree(tree, ignore_errors=True)
    (tree / "build").mkdir(parents=True)
    run(["dpkg-source", "--no-check", "-x", dsc, tree / "src"], log=log)
    for patch in PATCHES:
        run(["patch", "-p1", "--forward", "--batch", "-i", patch], cwd=tree / "src", log=log)
    _hook(tree / "src")
    _sync(tree / "src", rom_header)
    tools = _build_tools()
    run(["../src/configure", "--python=/usr/bin/python3", "--cc=ccache gcc", *CONFIGURE],
        cwd=tree / "build", env=_env(tools), log=log)
    return tree


def _option_roms(tree, log):
    folder = tree / "build/option-roms"
    if all((folder / name).exists() for name in OPTION_ROMS):
        return folder
    folder.mkdir(exist_ok=True)
    (folder / "config.mak").write_text(
        f"TOPSRC_DIR={tree}/src\nCC=gcc\nOBJCOPY=objcopy\nPYTHON=python3\nEXTRA_CFLAGS=-m32\n",
        encoding="utf-8")
    run(["make", "-f", tree / "src/pc-bios/optionrom/Makefile", "all"], cwd=folder, log=log)
    return folder


def _no_warnings(tree, log):
    """QEMU as a whole is not held to be free of them with every compiler; the card is."""
    found = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines()
             if "hw/onpu/" in line and "warning: " in line]
    if found:
        for compiled in (tree / "build").rglob("hw_onpu_*.o"):
            compiled.unlink()       # or the next build would not see them
        raise BuildError("the card does not compile cleanly in QEMU:\n" + "\n".join(found[:20]))


def _collect(tree, out, log):
    """Put the binary and the ROMs it needs into a folder of their own."""
    partial = out.parent / f".partial-{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "share").mkdir(parents=True)
    shutil.copy2(tree / "build/qemu-system-x86_64", partial)
    roms = _option_roms(tree, log)
    for name in OPTION_ROMS:
        shutil.copy2(roms / name, partial / "share")
    shutil.copy2(_build_tools() / "usr/share/seabios/bios-256k.bin", partial / "share")
    put_in_place(partial, out)


def config_key():
    return hash_of(RECIPE, SERIES, *CONFIGURE, files=[DEVICES, *PATCHES])


def build(rom_header):
    """Returns the folder that holds qemu-system-x86_64 and share/."""
    sources = [f for origin, _ in OVERLAY for f in tree_files(origin)]
    key = config_key()
    out = FOLDER / "out" / hash_of(key, files=[*sources, rom_header])
    if out.exists():
        os.utime(out)
        PROGRESS.step("QEMU with the card: up to date")
        return out
    FOLDER.mkdir(exist_ok=True)
    with lock("qemu"):
        if out.exists():
            return out
        log = log_path("qemu")
        log.unlink(missing_ok=True)
        fresh = not any(FOLDER.glob(f"*-{key}/build/qemu-system-x86_64"))
        hint = "about 5 min the first time" if fresh else "only what changed"
        PROGRESS.step(f"building QEMU {SERIES}x with the card ({hint}; log: {log})")
        version, dsc = _fetch_source()
        tree = _prepare_tree(version, dsc, key, rom_header, log)
        run(["ninja", "-j", jobs(), "qemu-system-x86_64"], cwd=tree / "build",
            env=_env(_build_tools()), log=log)
        _no_warnings(tree, log)
        _collect(tree, out, log)
        keep_newest(FOLDER / "out", 8)
    return out
