# SPDX-License-Identifier: MIT
"""What every build step shares: where things are, progress lines, locks, content hashes.

Idea: everything that is expensive lives in a cache folder outside the clone, in folders named by
a hash of what went into them. A step first computes its hash; if the result is there it does
nothing. Otherwise it takes a lock, builds, and puts the result in place by an atomic rename.
So a step may be run twice, by two clones at once, or killed half-way, and the next run is right.
"""
import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def cache_dir():
    base = os.environ.get("ONPU_CACHE")
    if not base:
        xdg = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        base = os.path.join(xdg, "onpu")
    path = Path(base).resolve()
    path.mkdir(parents=True, exist_ok=True)
    return path


CACHE = cache_dir()


def ccache_env(base):
    """One compiler cache for all builds; what stands below base is found again in another clone."""
    return {
        "CCACHE_DIR": os.environ.get("CCACHE_DIR") or str(CACHE / "ccache"),
        "CCACHE_MAXSIZE": "4G",
        "CCACHE_COMPILERCHECK": "content",
        "CCACHE_BASEDIR": str(base),
        "CCACHE_NOHASHDIR": "1",
    }


class BuildError(Exception):
    """A step failed; the text is for the user."""


class Progress:
    """Numbered progress lines on stderr: stdout stays free for results.

    A patient one says only what takes longer than a moment, so that a script sees nothing when
    nothing had to be built.
    """

    def __init__(self):
        self.total = self.index = 0
        self.patience = 0
        self.timer = None

    def begin(self, total):
        self.total, self.index = total, 0

    def step(self, text):
        self.end()
        self.index += 1
        line = f"[{self.index}/{max(self.total, self.index)}] {text}" if self.total else text
        if not self.patience:
            say(line)
        elif not text.endswith("up to date"):
            self.timer = threading.Timer(self.patience, say, [line])
            self.timer.daemon = True
            self.timer.start()

    def end(self):
        if self.timer:
            self.timer.cancel()
            self.timer = None


PROGRESS = Progress()


def say(text):
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def lock(name):
    """One builder of a thing at a time, over all clones that share the cache."""
    folder = CACHE / "locks"
    folder.mkdir(exist_ok=True)
    with open(folder / name, "w", encoding="ascii") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"      waiting for another build of {name}…")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def log_path(name):
    folder = CACHE / "logs"
    folder.mkdir(exist_ok=True)
    return folder / f"{name}.log"


def run(argv, *, log=None, cwd=None, env=None, stdin=None):
    """Run a command; its output goes to the log, whose tail is shown when it fails."""
    argv = [str(a) for a in argv]
    full_env = dict(os.environ, **(env or {}))
    if log is None:
        done = subprocess.run(argv, cwd=cwd, env=full_env, stdin=stdin, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            raise BuildError(f"{' '.join(argv)}: exit status {done.returncode}\n"
                             + done.stdout.decode("utf-8", "replace")[-4000:])
        return
    with open(log, "ab") as out:
        out.write(("\n$ " + " ".join(argv) + "\n").encode())
        out.flush()
        done = subprocess.run(argv, cwd=cwd, env=full_env, stdin=stdin or subprocess.DEVNULL,
                              stdout=out, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        tail = Path(log).read_bytes()[-3000:].decode("utf-8", "replace")
        raise BuildError(f"{' '.join(argv)}: exit status {done.returncode}\n{tail}\n"
                         f"(the whole log: {log})")


def output(argv, *, cwd=None, env=None):
    """A command's standard output as text; its error output is shown when it fails."""
    argv = [str(a) for a in argv]
    done = subprocess.run(argv, cwd=cwd, env=dict(os.environ, **(env or {})),
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False)
    if done.returncode:
        raise BuildError(f"{' '.join(argv)}: exit status {done.returncode}\n"
                         + done.stderr.decode("utf-8", "replace")[-4000:])
    return done.stdout.decode("utf-8", "replace")


SKIP_NAMES = {"__pycache__", ".git"}
SKIP_SUFFIXES = (".o", ".ko", ".mod", ".mod.c", ".cmd", ".pyc", "~", ".swp", ".orig", ".rej",
                 ".order", ".symvers")


def tree_files(*roots):
    """The source files below the given paths, sorted; build droppings are left out."""
    found = []
    for root in roots:
        root = Path(root)
        if root.is_file():
            found.append(root)
            continue
        for folder, names, files in os.walk(root):
            names[:] = sorted(n for n in names if n not in SKIP_NAMES)
            found += [Path(folder) / f for f in sorted(files)
                      if not f.endswith(SKIP_SUFFIXES) and not f.startswith(".")]
    return found


def hash_of(*parts, files=()):
    """A short hash of strings and of files (path below the clone and content)."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(str(part).encode() + b"\0")
    for path in files:
        try:
            name = path.relative_to(ROOT)
        except ValueError:
            name = path.name
        digest.update(str(name).encode() + b"\0")
        digest.update(path.read_bytes() + b"\0")
        digest.update(b"x" if os.access(path, os.X_OK) else b"-")
    return digest.hexdigest()[:16]


def mirror(pairs, target):
    """Make the source files below target those of the (origin, folder below target) pairs.

    Only files whose content differs are written, so that a build there stays incremental;
    files that a build made there are left alone, files that are gone from the origin removed.
    """
    wanted = {}
    for origin, below in pairs:
        for path in tree_files(origin) if origin.exists() else []:
            name = path.relative_to(origin) if origin.is_dir() else path.name
            wanted[target / below / name] = path
    target.mkdir(parents=True, exist_ok=True)
    manifest = target / ".mirrored"
    before = manifest.read_text(encoding="utf-8").splitlines() if manifest.exists() else []
    for path in (target / name for name in before):
        if path not in wanted:
            path.unlink(missing_ok=True)
    manifest.write_text("".join(f"{p.relative_to(target)}\n" for p in wanted), encoding="utf-8")
    for path, origin in wanted.items():
        data = origin.read_bytes()
        if path.exists() and path.read_bytes() == data:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        shutil.copymode(origin, path)


def put_in_place(source, target):
    """Rename a finished file or folder into place; a twin that came first is as good."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.rename(source, target)
    except OSError:
        if not target.exists():
            raise
        if source.is_dir():
            shutil.rmtree(source)
        else:
            source.unlink()


def keep_newest(folder, count, days=2):
    """Prune results of old trees: keep the newest few and all that were used lately."""
    entries = sorted((p for p in folder.iterdir() if not p.name.startswith(".")),
                     key=lambda p: p.stat().st_mtime, reverse=True)
    for path in entries[count:]:
        if time.time() - path.stat().st_mtime < days * 86400:
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def jobs():
    return str(os.cpu_count() or 2)
