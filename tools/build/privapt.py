# SPDX-License-Identifier: MIT
"""A private apt: packages and sources of suites that the machine itself may not know.

The machine's own sources and state are only read. Where the archive is comes from the machine's
own configuration (a local mirror keeps working), so no host name stands here.
"""
import re
import time
from pathlib import Path

from common import CACHE, BuildError, lock, log_path, output, run

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
LIST_LIFETIME = 24 * 3600


def codename():
    for line in Path("/etc/os-release").read_text(encoding="utf-8").splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.split("=", 1)[1].strip().strip('"')
    raise BuildError("this is not Debian 12 or 13: /etc/os-release has no VERSION_CODENAME")


def _targets():
    """(uri, release) of the package indexes that the machine's own apt is configured with."""
    text = output(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)",
                   "Created-By: Packages"])
    rows = [line.split() for line in text.splitlines()]
    return [(r[0].rstrip("/"), r[1]) for r in rows if len(r) == 3 and r[2] == "main"]


def archive_uris():
    """The main archive's and the security archive's address, as this machine reaches them."""
    main = security = None
    name = codename()
    for uri, release in _targets():
        if release == name and main is None:
            main = uri
        if release in (f"{name}-security", f"{name}/updates") and security is None:
            security = uri
    if main is None:
        raise BuildError(f"apt knows no archive with the suite '{name}': "
                         "add it to /etc/apt/sources.list and run apt-get update")
    if security is None:
        # Mirrors carry both side by side, under these two names.
        security = re.sub(r"/debian$", "/debian-security", main)
    return main, security


class PrivateApt:
    """apt with its own sources, lists and archives below the cache, for a few suites.

    A foreign one does not look at what the machine has installed.
    """

    def __init__(self, name, suites, source=False, binary=True, foreign=False):
        self.name = name
        self.dir = CACHE / "apt" / f"{codename()}-{name}"
        self.suites, self.source, self.binary = suites, source, binary
        self.status = "/dev/null" if foreign else "/var/lib/dpkg/status"
        self.conf = self.dir / "apt.conf"
        self.log = log_path(f"apt-{name}")

    def _write(self):
        main, security = archive_uris()
        for sub in ("lists/partial", "archives/partial", "parts", "state"):
            (self.dir / sub).mkdir(parents=True, exist_ok=True)
        signed = f"[signed-by={KEYRING}] " if KEYRING.exists() else ""
        lines = []
        for suite in self.suites:
            uri = security if suite.endswith("-security") else main
            if self.binary:
                lines.append(f"deb {signed}{uri} {suite} main")
            if self.source:
                lines.append(f"deb-src {signed}{uri} {suite} main")
        sources = "\n".join(lines) + "\n"
        self.conf.write_text(
            f'Dir::Etc::sourcelist "{self.dir}/sources.list";\n'
            f'Dir::Etc::sourceparts "{self.dir}/parts";\n'
            f'Dir::State "{self.dir}/state";\n'
            f'Dir::State::lists "{self.dir}/lists";\n'
            f'Dir::State::status "{self.status}";\n'
            f'Dir::Cache "{self.dir}";\n'
            f'Dir::Cache::archives "{self.dir}/archives";\n'
            'Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache "";\n'
            'APT::Sandbox::User "root";\n'
            'APT::Get::List-Cleanup "true";\n'
            'Acquire::Languages "none";\n'
            'Acquire::Retries "3";\n',
            encoding="utf-8")
        path = self.dir / "sources.list"
        if not path.exists() or path.read_text(encoding="utf-8") != sources:
            path.write_text(sources, encoding="utf-8")
            (self.dir / "updated").unlink(missing_ok=True)

    def env(self):
        return {"APT_CONFIG": str(self.conf)}

    def update(self, force=False):
        """Refresh the lists unless that was done within the last day."""
        with lock(f"apt-{self.name}"):
            self._write()
            mark = self.dir / "updated"
            if (not force and mark.exists()
                    and time.time() - mark.stat().st_mtime < LIST_LIFETIME):
                return
            run(["apt-get", "-q", "update"], log=self.log, env=self.env())
            mark.touch()

    def get(self, *argv, cwd=None):
        run(["apt-get", "-q", *argv], log=self.log, env=self.env(), cwd=cwd)

    def cache(self, *argv):
        return output(["apt-cache", *argv], env=self.env())

    def download(self, names, folder):
        """Fetch packages (name or name=version) as .deb files; returns their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        before = set(folder.glob("*.deb"))
        try:
            self.get("download", *names, cwd=folder)
        except BuildError:
            # The lists may be older than the archive: a point release removes its predecessor.
            self.update(force=True)
            self.get("download", *names, cwd=folder)
        return sorted(set(folder.glob("*.deb")) - before)

    def depends(self, package):
        """Names that a package depends on, first alternative of each."""
        text = self.cache("depends", "--no-recommends", "--no-suggests", "--no-conflicts",
                          "--no-breaks", "--no-replaces", "--no-enhances", package)
        return [line.split(":", 1)[1].strip() for line in text.splitlines()
                if line.strip().startswith("Depends:")]

    def versions(self, package):
        """Binary versions on offer, newest first; empty when the package is unknown."""
        rows = [r.split("|") for r in self.cache("madison", package).splitlines()]
        return [r[1].strip() for r in rows if len(r) == 3 and r[0].strip() == package]

    def source_versions(self, package):
        text = self.cache("showsrc", "--only-source", package)
        return re.findall(r"^Version: (\S+)$", text, re.M)


def unpack(debs, folder):
    """Unpack packages below a folder; nothing is installed, no script of theirs runs."""
    folder.mkdir(parents=True, exist_ok=True)
    for deb in debs:
        run(["dpkg", "-x", deb, folder])
