# SPDX-License-Identifier: MIT
"""The packaging: the distribution's own dkms builds the module from what packaging/dkms installs."""
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / "tools/build")]

# pylint: disable=wrong-import-position
import kernel as kernels  # noqa: E402

INSTALL = TOP / "packaging/dkms/install"
SECONDS = 300


def _run(argv):
    done = subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, text=True, timeout=SECONDS, check=False)
    return done.returncode, done.stdout


def _case(report, name, problem):
    if problem:
        report.fail(f"package: {name}", problem)
    else:
        report.ok(f"package: {name}")


def _source(dest):
    """The installed source: one version, nothing that a build left behind, all that it needs."""
    status, text = _run([INSTALL, "--destdir", dest])
    if status:
        return None, text
    folders = list((dest / "usr/src").glob("onpu-*"))
    if len(folders) != 1:
        return None, f"{len(folders)} source folders"
    built = [str(p) for p in folders[0].rglob("*") if p.suffix in (".o", ".ko", ".cmd")]
    if built:
        return None, "built files are in it: " + ", ".join(built[:3])
    return folders[0], ""


def _dkms(source, kernel, work):
    """Build it as dkms does for a kernel of the distribution, in a tree of our own."""
    release = (kernel / "headers").resolve().name.removeprefix("linux-headers-")
    version = source.name.removeprefix("onpu-")
    status, text = _run(["dkms", "build", "-m", "onpu", "-v", version, "-k", release,
                         "--sourcetree", source.parent, "--dkmstree", work / "tree",
                         "--installtree", work / "modules",
                         "--kernelsourcedir", kernel / "headers"])
    modules = list((work / "tree").glob(f"onpu/{version}/{release}/*/module/onpu.ko*"))
    if status or len(modules) != 1:
        logs = list((work / "tree").rglob("make.log"))
        return f"exit status {status}, {len(modules)} modules\n{text}" + "".join(
            log.read_text(encoding="utf-8", errors="replace") for log in logs)
    status, text = _run(["modinfo", "-F", "vermagic", modules[0]])
    if status or not text.startswith(release + " "):
        return f"vermagic {text!r}, not {release}"
    status, text = _run(["modinfo", "-F", "alias", modules[0]])
    # What udev loads it by when a card is found.
    return "" if re.match(r"pci:v", text) else f"no PCI alias: {text!r}"


def run(report):
    report.stage("packaging")
    if not shutil.which("dkms"):
        report.fail("package: dkms is missing; tools/build/deps installs it")
        return
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        source, problem = _source(work / "root")
        _case(report, "driver source for dkms", problem)
        if source:
            (work / "tree").mkdir()
            _case(report, "dkms builds the module", _dkms(source, kernels.stock(), work))
        status, text = _run([INSTALL, "--bogus"])
        _case(report, "install refuses an unknown option",
              "" if status == 2 and "usage:" in text else f"exit status {status}\n{text}")
