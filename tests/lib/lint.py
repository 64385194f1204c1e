# SPDX-License-Identifier: MIT
"""The rules that a machine can check: the kernel's for the driver, the project's for the tree."""
import re
import shutil
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / "tools/build")]

# pylint: disable=wrong-import-position
import kernel as kernels  # noqa: E402
from common import BuildError, hash_of, log_path, tree_files  # noqa: E402
from userspace import build_root  # noqa: E402

MAX_LINES = 1500
SOURCE = (".c", ".h", ".S", ".py", ".sh", ".ld", ".mak")
SPDX_ALSO = ("meson.build", "Kbuild", "Makefile", "Kconfig", "meson_options.txt")
# A folder that only some machine has; /usr, /lib, /sys, /dev and the like are everyone's.
MACHINE_PATH = re.compile(r"(?<![\w.$}\]/-])/(work|farm|home/\w+|root/[.\w]|tmp/onpu)\b")

# Of checkpatch's types these cannot hold here: an out-of-tree module has no MAINTAINERS file,
# and the compat header is there to look at the kernel.
CHECKPATCH_IGNORE = "FILE_PATH_CHANGES,LINUX_VERSION_CODE,SPDX_LICENSE_TAG"


# A file that others source shares its variables with them.
SHELLCHECK_IGNORE = "--exclude=SC1090,SC1091,SC2034,SC2154"


def tracked():
    """Files of the project: what git knows or would add, or the whole tree without git."""
    done = subprocess.run(["git", "-C", str(TOP), "ls-files", "-co", "--exclude-standard", "-z"],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    if done.returncode == 0:
        names = [TOP / n for n in done.stdout.decode().split("\0") if n]
        return [p for p in names if p.is_file()]
    return [p for p in tree_files(TOP) if "build" not in p.relative_to(TOP).parts[:1]]


def _text(path):
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


def _is_source(path):
    if path.suffix in SOURCE or path.name in SPDX_ALSO:
        return True
    head = path.read_bytes()[:2]
    return head == b"#!"


def tree_rules(report):
    """SPDX lines, file lengths, paths of a machine."""
    no_spdx, too_long, paths = [], [], []
    for path in tracked():
        text = _text(path)
        if text is None:
            continue
        name = path.relative_to(TOP)
        lines = text.splitlines()
        if _is_source(path) and not any("SPDX-License-Identifier" in t for t in lines[:3]):
            no_spdx.append(str(name))
        if path.suffix in (".c", ".h", ".py") and len(lines) > MAX_LINES:
            too_long.append(f"{name}: {len(lines)} lines")
        paths += [f"{name}:{n}: {t.strip()}" for n, t in enumerate(lines, 1)
                  if MACHINE_PATH.search(t) and "MACHINE_PATH" not in t]
    for title, found in (("an SPDX line in every source file", no_spdx),
                         (f"no file over {MAX_LINES} lines", too_long),
                         ("no path of a machine", paths)):
        if found:
            report.fail(f"lint: {title}", "\n".join(found))
        else:
            report.ok(f"lint: {title}")


def scripts(report):
    """Shell scripts by shellcheck where there is one, Python by its compiler."""
    shell, python = [], []
    for path in tracked():
        head = path.read_bytes()[:64].split(b"\n")[0]
        if path.suffix == ".py" or b"python3" in head:
            python.append(path)
        elif head.startswith(b"#!") and re.search(rb"/(ba)?sh\b", head):
            shell.append(path)
    bad = []
    for path in python:
        try:
            compile(path.read_bytes(), str(path), "exec")
        except SyntaxError as error:
            bad.append(str(error))
    _verdict(report, "lint: Python scripts compile", bad)
    if not shutil.which("shellcheck"):
        report.skip("lint: shellcheck", "not installed")
        return
    done = subprocess.run(["shellcheck", "--severity=warning", SHELLCHECK_IGNORE,
                           *map(str, shell)], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    _verdict(report, "lint: shellcheck", done.stdout.splitlines() if done.returncode else [])


def _verdict(report, name, found):
    if found:
        report.fail(name, "\n".join(found))
    else:
        report.ok(name)


def _checkpatch(files, ignore):
    done = subprocess.run(["perl", str(kernels.checkpatch()), "--no-tree", "--strict", "--terse",
                           "--no-summary", "--show-types", "--ignore", ignore, "--file",
                           *map(str, files)],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.stdout.splitlines()


def checkpatch(report):
    """The driver and its user interface; compile probes are fragments, not code."""
    driver, uapi = TOP / "driver", TOP / "uapi/drm"
    files = [p for p in tracked() if p.suffix in (".c", ".h")]
    found = _checkpatch([p for p in files if driver in p.parents
                         and driver / "compat/probes" not in p.parents], CHECKPATCH_IGNORE)
    # BIT() is the kernel's own: an interface header cannot use it.
    found += _checkpatch([p for p in files if uapi in p.parents],
                         f"{CHECKPATCH_IGNORE},BIT_MACRO")
    _verdict(report, "lint: checkpatch --strict", found)


def kernel_static(report, kernel):
    """The driver with all of gcc's and kernel-doc's extra warnings, and by sparse."""
    out = build_root() / "module-lint"
    shutil.rmtree(out, ignore_errors=True)
    log = log_path(f"lint-{hash_of(out)}")
    log.unlink(missing_ok=True)
    sources = [TOP / "Kbuild", TOP / "driver", TOP / "uapi"]
    try:
        kernels.build_module(kernel, sources, out, log,
                             ["W=1", "C=2", "CF=-D__CHECK_ENDIAN__"])
    except BuildError as error:
        report.fail("lint: W=1 and sparse", str(error))
        return
    text = log.read_text(encoding="utf-8", errors="replace")
    found = [t for t in text.splitlines() if re.search(r"\b(warning|error):", t, re.I)]
    _verdict(report, "lint: W=1 and sparse", found)


def run(report):
    report.stage("lint")
    tree_rules(report)
    scripts(report)
    if (TOP / "driver").is_dir():
        checkpatch(report)
        kernel_static(report, kernels.stock())
