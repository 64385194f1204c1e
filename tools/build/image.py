# SPDX-License-Identifier: MIT
"""The guest image: one raw, uncompressed cpio, because a guest under TCG unpacks slowly.

It holds busybox, the kernel modules that the card's driver and the launcher need (uncompressed,
debug information stripped), onpu.ko, what `meson install` installs below /usr/local and
/lib/firmware, the programs and scripts of the rooms that are tested in the VM below /tests, and
the shared libraries that all of these link to.
"""
import os
import re
import stat
import subprocess
from pathlib import Path

from common import (PROGRESS, ROOT, BuildError, hash_of, output, run, tree_files)

RECIPE = 3
GUEST = ROOT / "tools/vm/guest"
VM_ROOMS = ("kselftest", "libaccel", "accelctl", "debug", "frameworks")
# What of their sources the guest has as it is.
SCRIPTS = (".sh", ".py", ".m", ".R")

# Loaded with the driver, or by the launcher's guest side; depmod's closure is added.
MODULES = [
    "drm", "drm_exec", "drm_gpuvm", "ttm", "drm_ttm_helper", "drm_shmem_helper", "gpu-sched",
    "drm_buddy", "gpu_buddy", "9p", "9pnet_virtio", "overlay", "pvpanic-pci", "virtio_blk",
    "nvme", "virtio_rng", "vgem", "vfio-pci", "vfio_iommu_type1", "aer_inject", "zram",
]

# Programs of the host that are handy in the guest; left out when the host has none.
EXTRAS = ["/usr/bin/lspci", "/usr/share/misc/pci.ids", "/usr/bin/strace"]


class Cpio:
    """Writes a "newc" archive; needs no root, not even for device nodes."""

    def __init__(self):
        self.entries = {}

    def _parents(self, name):
        parent = os.path.dirname(name)
        if parent and parent not in self.entries:
            self._parents(parent)
            self.entries[parent] = (stat.S_IFDIR | 0o755, b"", (0, 0))

    def add(self, name, mode, data=b"", device=(0, 0)):
        name = name.lstrip("/")
        self._parents(name)
        self.entries[name] = (mode, data, device)

    def folder(self, name):
        self.add(name, stat.S_IFDIR | 0o755)

    def link(self, name, target):
        self.add(name, stat.S_IFLNK | 0o777, target.encode())

    def file(self, name, data, mode=0o644):
        self.add(name, stat.S_IFREG | mode, data)

    def copy(self, name, path):
        mode = 0o755 if os.access(path, os.X_OK) else 0o644
        self.file(name, Path(path).read_bytes(), mode)

    def write(self, path):
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        with open(partial, "wb") as out:
            rows = list(self.entries.items()) + [("TRAILER!!!", (0, b"", (0, 0)))]
            for number, (name, (mode, data, device)) in enumerate(rows, 1):
                raw = name.encode() + b"\0"
                fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, device[0], device[1],
                          len(raw), 0)
                head = b"070701" + b"".join(b"%08x" % f for f in fields)
                out.write(head + raw + b"\0" * (-(len(head) + len(raw)) % 4))
                out.write(data + b"\0" * (-len(data) % 4))
        os.replace(partial, path)


def _libraries(program):
    """The shared libraries of a program by the path under which the loader will look."""
    done = subprocess.run(["ldd", str(program)], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, check=False, text=True)
    return re.findall(r"(/\S+)(?= \(0x)", done.stdout)


def _is_elf(path):
    with open(path, "rb") as handle:
        return handle.read(4) == b"\x7fELF"


def _merged(name):
    """The guest has a merged /usr, whatever the host's loader paths say."""
    return re.sub(r"^/(bin|sbin|lib|lib64)/", r"/usr/\1/", name)


def _base(cpio):
    for name in ("bin", "sbin", "lib", "lib64"):
        cpio.folder(f"usr/{name}")
        cpio.link(name, f"usr/{name}")
    for name in ("dev", "proc", "sys", "tmp", "run", "root", "etc", "mnt", "var", "tests"):
        cpio.folder(name)
    cpio.add("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
    cpio.add("dev/null", stat.S_IFCHR | 0o666, device=(1, 3))
    busybox = next((p for p in ("/usr/bin/busybox", "/bin/busybox") if os.path.exists(p)), None)
    if busybox is None:
        raise BuildError("no busybox: run tools/build/deps")
    cpio.copy("usr/bin/busybox", busybox)
    for applet in output([busybox, "--list"]).split():
        if applet not in ("busybox", "init"):
            cpio.link(f"usr/bin/{applet}", "busybox")
    cpio.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n"
                            b"nobody:x:65534:65534:nobody:/:/bin/false\n")
    cpio.file("etc/group", b"root:x:0:\nnogroup:x:65534:\n")
    for path in tree_files(GUEST):
        below = path.relative_to(GUEST)
        target = str(below) if str(below) in ("init",) else f"usr/local/{below}"
        if below.parts[0] == "etc":
            target = str(below)
        cpio.copy(target, path)


def _modules(cpio, kernel, tree, own):
    """Modules flat in one folder, with the modules.dep that busybox's modprobe reads."""
    release = (kernel / "release").read_text(encoding="utf-8").strip()
    folder = f"usr/lib/modules/{release}"
    names = list(MODULES)
    own_data = {}
    for path in own:
        stripped = path.with_name(f".{path.name}.stripped")
        run(["strip", "-g", "-o", stripped, path])
        own_data[path.stem] = stripped.read_bytes()
        names += tree.depends(own_data[path.stem])
    rows = []
    found = tree.closure(names)
    stripped = _strip_cache(kernel, found)
    for name, data in list(stripped.items()) + list(own_data.items()):
        cpio.file(f"{folder}/{name}.ko", data)
        needs = tree.closure(tree.depends(found.get(name) or own_data[name]))
        # modprobe loads from the end of the line to its start.
        rows.append(f"{name}.ko: " + " ".join(f"{n}.ko" for n in reversed(needs)) + "\n")
    cpio.file(f"{folder}/modules.dep", "".join(rows).encode())


def _strip_cache(kernel, found):
    """Stripping takes longer than all the rest; the kernel's folder remembers the results."""
    folder = kernel / "stripped"
    folder.mkdir(exist_ok=True)
    result = {}
    for name, data in found.items():
        path = folder / f"{name}.ko"
        if not path.exists():
            partial = folder / f".{name}.{os.getpid()}"
            partial.write_bytes(data)
            run(["strip", "-g", partial])
            os.replace(partial, path)
        result[name] = path.read_bytes()
    return result


def _add_program(cpio, name, path, libraries):
    cpio.copy(name, path)
    if _is_elf(path):
        libraries.update(_libraries(path))


def _installed(cpio, root, libraries):
    for path in tree_files(root):
        name = "/" + str(path.relative_to(root))
        if re.search(r"\.(h|a|pc)$|/share/man/", name):
            continue
        if path.is_symlink():
            cpio.link(_merged(name), os.readlink(path))
        else:
            _add_program(cpio, _merged(name), path, libraries)


def _vm_rooms(cpio, programs, libraries):
    """Programs by room, and scripts beside their sources."""
    for room in VM_ROOMS:
        for path in programs.get(room, []):
            _add_program(cpio, f"tests/{room}/{path.name}", path, libraries)
        source = ROOT / "tests" / room
        for path in tree_files(source) if source.exists() else []:
            if path.suffix in SCRIPTS:
                name = f"tests/{room}/{path.relative_to(source)}"
                cpio.copy(name, path)


def build(kernel, tree, module_files, userspace, target):
    """Write the image for a kernel, unless what goes into it is unchanged."""
    installed, programs = userspace.installed, userspace.programs()
    inputs = list(module_files) + tree_files(installed) + tree_files(GUEST)
    inputs += [p for paths in programs.values() for p in paths]
    inputs += tree_files(*(ROOT / "tests" / room for room in VM_ROOMS))
    key = hash_of(RECIPE, kernel.name, *MODULES, *EXTRAS, *inputs,
                  files=inputs + [Path(__file__)])
    mark = target.with_suffix(".key")
    if target.exists() and mark.exists() and mark.read_text(encoding="ascii") == key:
        PROGRESS.step("guest image: up to date")
        return target
    PROGRESS.step("making the guest image")
    target.parent.mkdir(parents=True, exist_ok=True)
    mark.unlink(missing_ok=True)
    cpio, libraries = Cpio(), set()
    _base(cpio)
    _modules(cpio, kernel, tree, module_files)
    _installed(cpio, installed, libraries)
    _vm_rooms(cpio, programs, libraries)
    for path in EXTRAS:
        if os.path.exists(path):
            _add_program(cpio, path, path, libraries)
    for path in sorted(libraries):
        name = _merged(path)
        if not path.startswith(str(userspace.build)) and name[1:] not in cpio.entries:
            cpio.copy(name, path)
    cpio.write(target)
    mark.write_text(key, encoding="ascii")
    return target
