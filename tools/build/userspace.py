# SPDX-License-Identifier: MIT
"""libaccel, tools, firmware, model and tests: everything that the top meson.build builds."""
import json
import os
import shutil
from pathlib import Path

from common import PROGRESS, ROOT, ccache_env, hash_of, log_path, output, run
from kernel import KSELFTEST_INCLUDE

VM_ROOMS = ("kselftest", "libaccel", "accelctl")
# Whose programs are in the image; those of the last one are run by scripts beside them.
IMAGE_ROOMS = (*VM_ROOMS, "frameworks")

# name: (C compiler, C++ compiler, further options)
FLAVOURS = {
    "gcc": ("gcc", "g++", []),
    "clang": ("clang", "clang++", []),
    # By gcc: clang takes minutes for the vector kernels when it instruments them.
    "sanitize": ("gcc", "g++", ["-Db_sanitize=address,undefined", "-Dbuildtype=debug",
                                "-Doptimization=1"]),
}


def build_root():
    """Where this clone's builds go: build/ in the clone, or $ONPU_BUILD."""
    return Path(os.environ.get("ONPU_BUILD") or ROOT / "build").resolve()


class Userspace:
    """One Meson build folder of one flavour."""

    def __init__(self, flavour="gcc"):
        self.flavour = flavour
        self.build = build_root() / flavour
        self.installed = build_root() / f"{flavour}-root"
        self.log = log_path(f"userspace-{hash_of(self.build)}-{flavour}")

    def _configure(self):
        # The driver's selftests are built once there is a harness (tests/run fetches it).
        harness = KSELFTEST_INCLUDE if KSELFTEST_INCLUDE.exists() else ""
        mark = self.build / "kselftest-include"
        if (self.build / "build.ninja").exists():
            if not harness or mark.exists():
                return
            run(["meson", "setup", "--reconfigure", f"-Dkselftest_include={harness}",
                 self.build, ROOT], log=self.log)
            mark.touch()
            return
        shutil.rmtree(self.build, ignore_errors=True)
        compiler, plus, options = FLAVOURS[self.flavour]
        run(["meson", "setup", "--prefix=/usr/local", "--libdir=lib",
             f"-Dkselftest_include={harness}", *options, self.build, ROOT],
            env={"CC": f"ccache {compiler}", "CXX": f"ccache {plus}"}, log=self.log)
        if harness:
            mark.touch()

    def compile(self):
        PROGRESS.step(f"building firmware, libaccel, tools and tests ({self.flavour})")
        self.log.unlink(missing_ok=True)
        self._configure()
        run(["ninja", "-C", self.build], env=ccache_env(ROOT), log=self.log)

    def rom_header(self):
        """The boot ROM as the C header that the card's model compiles in."""
        return self.build / "firmware/rom/onpu_rom.h"

    def install(self):
        """What a `meson install` would put on a system, in a folder of its own."""
        shutil.rmtree(self.installed, ignore_errors=True)
        run(["meson", "install", "--no-rebuild", "-C", self.build, "--destdir", self.installed],
            log=self.log)
        self.installed.mkdir(exist_ok=True)

    def programs(self):
        """Executables of the rooms that are tested in the VM, by room: all that `meson test`
        does not already run on the host."""
        targets = json.loads(output(["meson", "introspect", "--targets", self.build]))
        tests = json.loads(output(["meson", "introspect", "--tests", self.build]))
        on_host = {word for test in tests for word in test["cmd"]}
        on_host_ids = {name for test in tests for name in test["depends"]}
        found = {room: [] for room in IMAGE_ROOMS}
        for target in targets:
            if (target["type"] != "executable" or not target["build_by_default"]
                    or target["id"] in on_host_ids or on_host & set(target["filename"])):
                continue
            where = Path(target["defined_in"]).parent
            for room in IMAGE_ROOMS:
                top = ROOT / "tests" / room
                if where == top or top in where.parents:
                    found[room] += [Path(p) for p in target["filename"]]
        return {room: sorted(paths) for room, paths in found.items()}
