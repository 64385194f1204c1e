# SPDX-License-Identifier: MIT
"""onpu.ko against every kernel that the package archive has (make matrix).

Kernels come from both Debian releases, whichever the host is, with the backports, which have the
newest. Only headers are fetched, and unpacked in the cache; `newest` and a version by name
(6.12.94) have their image too, so that they can be booted.
"""
import json
import re
import time
from dataclasses import asdict, dataclass

import kernel as kernels
import privapt
from common import CACHE, PROGRESS, BuildError, lock, say

# In this order: the same kernel is taken from where it comes first.
SUITES = ("bookworm-security", "bookworm-backports", "trixie", "trixie-security",
          "trixie-backports")
OLDEST = (6, 12)
LIFETIME = 24 * 3600
RECIPE = 1
NAME = re.compile(r"^linux-headers-((\d+)\.(\d+)\.(\d+)\+deb\d+(?:\.\d+)?-amd64)$")


@dataclass
class Kernel:
    """A kernel of the archive."""
    release: str
    version: str
    suite: str

    def number(self):
        """(major, minor, patch), to be compared."""
        return tuple(int(n) for n in NAME.match(f"linux-headers-{self.release}").groups()[1:])

    def short(self):
        return ".".join(map(str, self.number()))


def apt(suite):
    """apt with one suite, of whichever Debian release."""
    return privapt.PrivateApt(f"matrix-{suite}", [suite], foreign=True)


def _ask_archive():
    """One kernel of each version, oldest first; of two builds the host release's own."""
    found = {}
    home = privapt.codename()
    for suite in sorted(SUITES, key=lambda s: not s.startswith(home)):
        source = apt(suite)
        try:
            source.update()
        except BuildError as error:
            say(f"      no {suite} in this archive: {str(error).splitlines()[0]}")
            continue
        for name in source.cache("pkgnames", "linux-headers-").split():
            match = NAME.match(name)
            if match and tuple(map(int, match.groups()[1:3])) >= OLDEST:
                kernel = Kernel(match.group(1), source.versions(name)[0], suite)
                found.setdefault(kernel.number(), kernel)
    if not found:
        raise BuildError("the archive has no kernel to build for")
    return [found[number] for number in sorted(found)]


def available(refresh=False):
    """The archive's kernels; asked again after a day when refresh is wanted."""
    record = CACHE / "kernel" / f"matrix-{privapt.codename()}-{RECIPE}.json"
    record.parent.mkdir(exist_ok=True)
    with lock("matrix"):
        fresh = record.exists() and (not refresh or
                                     time.time() - record.stat().st_mtime < LIFETIME)
        if not fresh:
            PROGRESS.step("asking the archive for its kernels")
            record.write_text(json.dumps([asdict(k) for k in _ask_archive()]), encoding="utf-8")
        return [Kernel(**row) for row in json.loads(record.read_text(encoding="utf-8"))]


def folder(kernel, image):
    """The kernel folder, with or without what boots."""
    kind = "archive" if image else "headers"
    path = CACHE / "kernel" / f"{kind}-{kernel.release}-{RECIPE}"
    if path.exists():
        return path
    with lock(f"kernel-{kernel.release}"):
        if not path.exists():
            PROGRESS.step(f"fetching kernel {kernel.release} from {kernel.suite} (not installed)")
            codename = kernel.suite.split("-")[0]
            foreign = codename if codename != privapt.codename() else None
            kernels.make_folder(apt(kernel.suite), kernel.release, kernel.version, path,
                                image=image, foreign=foreign)
    return path


def by_name(name):
    """A bootable kernel: "newest", or a version such as 6.12.94; None for any other name."""
    if name != "newest" and not re.fullmatch(r"\d+\.\d+(\.\d+)?", name):
        return None
    rows = available()
    if name != "newest":
        rows = [k for k in rows if f"{k.short()}.".startswith(f"{name}.")]
        if not rows:
            raise BuildError(f"the archive has no kernel {name}; it has "
                             + ", ".join(k.short() for k in available()))
    return folder(rows[-1], True)


def newest_of_series(rows):
    """Of each series (6.12, 7.3) the newest."""
    return list({k.number()[:2]: k for k in rows}.values())


def build(kernel, out, sources):
    """(verdict, detail): whether the module builds, and without warnings."""
    log = out / "build.log"
    out.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    try:
        kernels.build_module(folder(kernel, False), sources, out, log)
    except BuildError as error:
        text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else str(error)
        return "FAIL", (re.findall(r"^.*(?:error|ERROR|Error):?\s.*$", text, re.M)
                        or str(error).splitlines()[-1:])[0].strip()
    warnings = re.findall(r"\bwarning: .*|^WARNING: .*$", log.read_text(
        encoding="utf-8", errors="replace"), re.M)
    return ("warnings", warnings[0]) if warnings else ("ok", "")
