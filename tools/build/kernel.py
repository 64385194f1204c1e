# SPDX-License-Identifier: MIT
"""Guest kernels: Debian's stock 6.12, unpacked from its packages and never installed.

A kernel folder in the cache is relocatable and holds

    vmlinuz, vmlinux        the kernel; the uncompressed one boots by PVH, 1 s sooner under TCG
    release                 its `uname -r`
    modules/                the tree below lib/modules/<release>/kernel, .ko.xz as shipped
    headers/                KDIR for `make -C KDIR M=…`
    scripts/                checkpatch.pl and its word lists (not in the headers package)
"""
import gzip
import json
import lzma
import os
import re
import shutil
import struct
import subprocess
import tarfile
from pathlib import Path

import privapt
import toolroot
from common import CACHE, PROGRESS, BuildError, jobs, lock, mirror, put_in_place, run

SERIES = "6.12"
RECIPE = 2
FOLDER = CACHE / "kernel"
SOURCE_FILES = FOLDER / f"source-files-{SERIES}-1"
KSELFTEST_INCLUDE = SOURCE_FILES / "tools/testing/selftests"
SELFTESTS = ("tools/testing/selftests/kselftest_harness.h",
             "tools/testing/selftests/kselftest.h")
CHECKPATCH = ("scripts/checkpatch.pl", "scripts/spelling.txt", "scripts/const_structs.checkpatch")


def kernel_apt():
    """apt with the suites that carry the stock kernel."""
    suite = privapt.codename()
    return privapt.PrivateApt("kernel", [suite, f"{suite}-security"])


def _newest_image(apt):
    """(release, version) of the newest stock 6.12 image: linux-image-6.12.N+debX-amd64."""
    names = apt.cache("pkgnames", f"linux-image-{SERIES}.").split()
    pattern = re.compile(rf"^linux-image-({re.escape(SERIES)}\.(\d+)\+deb\d+-amd64)$")
    found = sorted((int(m.group(2)), m.group(1)) for m in map(pattern.match, names) if m)
    if not found:
        raise BuildError(f"the archive has no linux-image-{SERIES}.*-amd64 for this Debian")
    release = found[-1][1]
    return release, apt.versions(f"linux-image-{release}")[0]


def header_packages(release):
    """What building a module for a release takes."""
    bare = release[:-len("-amd64")]
    return [f"linux-headers-{release}", f"linux-headers-{bare}-common", f"linux-kbuild-{bare}"]


def image_packages(apt, release):
    """The kernel and its modules: one package, or three in newer releases."""
    image = f"linux-image-{release}"
    parts = [n for n in apt.depends(image) if re.match(r"linux-(binary|modules)-", n)]
    return parts or [image]


def decompress_kernel(image):
    """The ELF inside a bzImage, by the offsets that the boot protocol's header gives."""
    setup_sectors = image[0x1f1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (setup_sectors + 1) * 512 + offset
    payload = image[start:start + length]
    if payload[:4] == b"\x28\xb5\x2f\xfd":
        # The last four bytes are the length, which zstd would take for a bad frame.
        done = subprocess.run(["zstd", "-dcq"], input=payload[:-4], stdout=subprocess.PIPE,
                              check=True)
        elf = done.stdout
    elif payload[:6] == b"\xfd7zXZ\0":
        elf = lzma.LZMADecompressor().decompress(payload)
    elif payload[:2] == b"\x1f\x8b":
        elf = gzip.decompress(payload[:-4])
    else:
        raise BuildError("the kernel is compressed in a way that this script does not know")
    if elf[:4] != b"\x7fELF":
        raise BuildError("no ELF image inside the kernel")
    return elf


def _relocatable_headers(root, release):
    """Headers packages refer to each other below /usr; make that relative to the folder."""
    bare = release[:-len("-amd64")]
    kdir = root / "usr/src" / f"linux-headers-{release}"
    makefile = (kdir / "Makefile").read_text(encoding="utf-8")
    here = "$(dir $(realpath $(lastword $(MAKEFILE_LIST))))"
    lines = [f"include {here}../linux-headers-{bare}-common/Makefile\n"]
    # Newer ones tell the common part where they are.
    if "KBUILD_OUTPUT" in makefile:
        lines.insert(0, f"KBUILD_OUTPUT := $(patsubst %/,%,{here})\n")
    (kdir / "Makefile").write_text("".join(lines), encoding="utf-8")
    (root / "headers").symlink_to(kdir.relative_to(root))


def _find_modules(root, release):
    for below in ("lib/modules", "usr/lib/modules"):
        path = root / below / release / "kernel"
        if path.is_dir():
            return path
    raise BuildError(f"the image package of {release} has no modules")


def make_folder(apt, release, version, target, image=True, foreign=None):
    """A kernel folder from the packages of one release; without its image only for building.

    foreign is the Debian release whose compiler it needs, when that is not the host's.
    """
    partial = FOLDER / f".partial-{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)
    downloads = partial / "dl"
    names = header_packages(release) + (image_packages(apt, release) if image else [])
    debs = apt.download([f"{name}={version}" for name in names], downloads)
    privapt.unpack(debs, partial)
    shutil.rmtree(downloads)
    if image:
        boot = next(p for p in (partial / "boot", partial / "usr/lib/modules" / release)
                    if list(p.glob("vmlinuz*")))
        shutil.copy2(next(boot.glob("vmlinuz*")), partial / "vmlinuz")
        (partial / "vmlinux").write_bytes(decompress_kernel((partial / "vmlinuz").read_bytes()))
        (partial / "modules").symlink_to(_find_modules(partial, release).relative_to(partial))
    (partial / "release").write_text(release + "\n", encoding="utf-8")
    if foreign:
        (partial / "toolroot").write_text(foreign, encoding="ascii")
    _relocatable_headers(partial, release)
    put_in_place(partial, target)


def stock():
    """The folder of the stock kernel; the archive is asked only the first time."""
    FOLDER.mkdir(exist_ok=True)
    record = FOLDER / f"stock-{privapt.codename()}.json"
    if record.exists():
        path = FOLDER / json.loads(record.read_text(encoding="utf-8"))["folder"]
        if path.exists():
            PROGRESS.step(f"stock kernel {path.name[6:]}: up to date")
            return path
    with lock("kernel"):
        PROGRESS.step(f"fetching the stock {SERIES} kernel and its headers (not installed)")
        apt = kernel_apt()
        apt.update()
        release, version = _newest_image(apt)
        path = FOLDER / f"stock-{release}-{RECIPE}"
        if not path.exists():
            make_folder(apt, release, version, path)
        record.write_text(json.dumps({"folder": path.name, "version": version}),
                          encoding="utf-8")
    return path


def source_files():
    """The folder with the few files that only the kernel's source package has (141 MB, once)."""
    if SOURCE_FILES.exists():
        return SOURCE_FILES
    with lock("source-files"):
        if SOURCE_FILES.exists():
            return SOURCE_FILES
        PROGRESS.step("fetching checkpatch.pl and kselftest_harness.h (from the kernel's source "
                      "package, once)")
        apt = kernel_apt()
        apt.update()
        partial = FOLDER / f".partial-sf-{os.getpid()}"
        debs = apt.download([f"linux-source-{SERIES}"], partial)
        privapt.unpack(debs, partial)
        archive = next((partial / "usr/src").glob("linux-source-*.tar.xz"))
        with tarfile.open(archive, "r|xz") as tar:
            wanted = set(CHECKPATCH + SELFTESTS)
            for member in tar:
                name = member.name.split("/", 1)[-1]
                if name in wanted:
                    path = partial / "keep" / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(tar.extractfile(member).read())
                    path.chmod(0o755)
                    wanted.remove(name)
                    if not wanted:
                        break
        if wanted:
            raise BuildError(f"the kernel's source package has no {' '.join(sorted(wanted))}")
        put_in_place(partial / "keep", SOURCE_FILES)
        shutil.rmtree(partial)
    return SOURCE_FILES


def checkpatch():
    """checkpatch.pl of the same series."""
    return source_files() / CHECKPATCH[0]


class ModuleTree:
    """Modules of a kernel by name, with what they depend on read from the files themselves."""

    def __init__(self, kernel):
        self.paths, self.contents = {}, {}
        for path in (kernel / "modules").resolve().rglob("*.ko*"):
            self.paths[path.name.split(".ko")[0].replace("-", "_")] = path

    def read(self, name):
        """The module's content, uncompressed; read once."""
        if name not in self.contents:
            self.contents[name] = self._uncompressed(self.paths[name])
        return self.contents[name]

    @staticmethod
    def _uncompressed(path):
        data = path.read_bytes()
        if path.suffix == ".xz":
            return lzma.decompress(data)
        if path.suffix == ".zst":
            return subprocess.run(["zstd", "-dcq"], input=data, stdout=subprocess.PIPE,
                                  check=True).stdout
        return data

    @staticmethod
    def depends(data):
        match = re.search(rb"\0depends=([^\0]*)\0", b"\0" + data)
        names = match.group(1).decode().split(",") if match else []
        return [n.replace("-", "_") for n in names if n]

    def closure(self, names):
        """{name: content} in load order; names the kernel has built in are left out."""
        order = {}

        def visit(name):
            if name in order or name not in self.paths:
                return
            data = self.read(name)
            for other in self.depends(data):
                visit(other)
            order[name] = data

        for name in names:
            visit(name.replace("-", "_"))
        return order


def build_module(kernel, sources, out, log, extra=()):
    """Build the kernel module out of tree in a copy, so that the clone stays clean."""
    mirror([(path, path.name if path.is_dir() else ".") for path in sources], out / "src")
    kdir = kernel / "headers" if (kernel / "headers").exists() else kernel
    argv = ["make", "-C", kdir, f"M={out}/src", "-j", jobs(), *extra, "modules"]
    foreign = kernel / "toolroot"
    if foreign.exists():
        codename = foreign.read_text(encoding="ascii").strip()
        argv = toolroot.command(toolroot.folder(codename), argv, [kernel, out, "/tmp"])
    run(argv, log=log)
    modules = sorted((out / "src").rglob("*.ko"))
    if not modules:
        raise BuildError(f"Kbuild made no module (log: {log})")
    return modules
