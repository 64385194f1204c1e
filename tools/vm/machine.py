# SPDX-License-Identifier: MIT
"""One virtual machine with cards: its QEMU command line, its ports and its end.

The guest's kernel log goes to a serial line that is only listened to; a command's output, its
error output and the control conversation have a virtio-serial port each, so that nothing mixes.
One thread (the caller's) serves all of them by a selector; QEMU is the only other process and
dies with the launcher.
"""
import base64
import ctypes
import json
import mmap
import os
import platform
import selectors
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import guestlog

# Fast boot: skips what a virtual machine without disks does not need. "plain" leaves it out, so
# that one run can prove that nothing depends on it.
FAST_BOOT = ("nokaslr mitigations=off tsc=reliable no_timer_check random.trust_cpu=on "
             "lpj=10000000 8250.nr_uarts=1 audit=0 nowatchdog rcupdate.rcu_expedited=1 "
             "cryptomgr.notests i8042.noprobe ipv6.disable=1 initcall_blacklist="
             "jent_mod_init,load_system_certificate_list,bpf_tcp_ca_kfunc_init,"
             "bpf_dummy_struct_ops_init,init_encrypted,init_ima,init_evm,init_kprobe_trace")

BOOT_SECONDS = 180      # to the guest's first word, on a machine that is busy with other things
SLOW_KERNEL = 8         # times as long with one that checks itself


class VmError(Exception):
    """The machine did not do what a machine does; the text is for the user."""


class GuestDied(VmError):
    """The guest panicked or powered off before the command ended."""


class QemuDied(VmError):
    """QEMU itself crashed: a fault of the card's model, whatever the guest did."""


class TimeLimit(VmError):
    """The command (or the boot) took too long."""


@dataclass
class Config:
    """What a machine is made of."""
    qemu: Path = None
    kernel: Path = None
    image: Path = None
    cards: int = 1
    vram: str = "4G"
    card_options: str = ""
    mem: str = "2G"
    smp: int = 2
    cpu: str = ""
    accel: str = "tcg"
    root: str = "initramfs"
    module: bool = True
    iommu: bool = False
    plain: bool = False
    shares: list = field(default_factory=list)      # (host folder, guest folder, "ro"|"rw")
    null_disks: list = field(default_factory=list)  # "nvme", "virtio"
    append: str = ""
    qemu_args: list = field(default_factory=list)
    log: Path = None                                # kernel log
    guest_errors: Path = None                       # the card's complaints


def _die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _accel_args(config):
    if config.accel == "kvm":
        return ["-accel", "kvm", "-cpu", config.cpu or "host"]
    # An emulated CPU has no fast string instructions: it goes byte by byte. One that does not claim to
    # have them is given loops over words: the guest clears user memory in a tenth of the time,
    # and copies to it in a third.
    words = "max," + ",".join(f"-{name}" for name in ("erms", "fsrm", "fsrs", "fsrc", "fzrm"))
    return ["-accel", "tcg,thread=multi", "-cpu", config.cpu or words]


def _tsc_khz():
    """What the emulated guest's cycle counter runs at, or None: it is the host's own.

    The guest would measure it at boot, against emulated timers that a busy host delays: it has
    come out 60 times too low, and the guest's clock ran as much too fast.
    """
    if platform.machine() != "x86_64":
        return None
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(bytes.fromhex("0f31" "48c1e220" "4809d0" "c3"))  # rdtsc; into one register; ret
    rdtsc = ctypes.CFUNCTYPE(ctypes.c_uint64)(
        ctypes.addressof(ctypes.c_char.from_buffer(page)))

    def sample():
        """(time, cycles), taken together as closely as this process is let."""
        tries = [(time.monotonic_ns(), rdtsc(), time.monotonic_ns()) for _ in range(20)]
        before, cycles, after = min(tries, key=lambda t: t[2] - t[0])
        return (before + after) // 2, cycles

    start, first = sample()
    time.sleep(0.05)
    end, last = sample()
    return (last - first) * 1000000 // (end - start)


def _card_args(config):
    args = []
    for index in range(config.cards):
        options = (f"onpu,bus=rp{index},id=card{index},serial={index + 1},"
                   f"vram={config.vram}")
        if config.card_options:
            options += f",{config.card_options}"
        args += ["-device", f"pcie-root-port,id=rp{index},bus=pcie.0,chassis={index + 1},"
                            f"slot={index + 1}", "-device", options]
    return args


def _disk_args(config):
    args = []
    for index, kind in enumerate(config.null_disks):
        device = (f"nvme,drive=null{index},serial=null{index}" if kind == "nvme"
                  else f"virtio-blk-pci,drive=null{index},num-queues={config.smp + 1}")
        args += ["-drive", f"if=none,id=null{index},driver=null-co,size=1G,read-zeroes=off",
                 "-device", device]
    return args


def _share_args(config):
    shares = [("/", None, "ro")] if config.root == "host" else []
    shares += config.shares
    args, words = [], []
    for index, (folder, guest, mode) in enumerate(shares):
        tag = "hostroot" if guest is None else f"share{index}"
        readonly = "on" if mode == "ro" else "off"
        # A comma in a value is written twice, or QEMU ends the value there.
        path = str(folder).replace(",", ",,")
        args += ["-fsdev", f"local,id=fs{index},path={path},security_model=none,"
                           f"multidevs=remap,readonly={readonly}",
                 "-device", f"virtio-9p-pci,fsdev=fs{index},mount_tag={tag}"]
        if guest is not None:
            words.append(f"{tag}:{guest}:{mode}")
    return args, ",".join(words)


def _command_line(config, mode, extra_words):
    words = ["console=ttyS0", "loglevel=7", "panic=-1", "oops=panic",
             "sysrq_always_enabled"]
    if not config.plain:
        words.append(FAST_BOOT)
    khz = None if config.accel == "kvm" else _tsc_khz()
    if khz:
        words.append(f"tsc_early_khz={khz}")
    if config.iommu:
        words.append("intel_iommu=on iommu.strict=1")
    words += [f"guest_root={config.root}", f"guest_module={int(config.module)}",
              f"guest_mode={mode}", *extra_words]
    if config.append:
        words.append(config.append)
    return " ".join(words)


def boot_image(kernel):
    """What QEMU starts: a kernel with KASAN cannot be entered by PVH and comes as a bzImage."""
    image = kernel / "bzImage"
    return image if image.exists() else kernel / "vmlinux"


def qemu_command(config, mode, ports, extra_words=()):
    """The whole command line; ports maps a port's name to the file descriptor that serves it."""
    share_args, shares = _share_args(config)
    words = list(extra_words)
    if shares:
        words.append(f"guest_shares={shares}")
    argv = [str(config.qemu / "qemu-system-x86_64"), "-L", str(config.qemu / "share"),
            "-no-user-config", "-nodefaults", "-display", "none", "-no-reboot",
            "-machine", "q35,sata=off,smbus=off,usb=off,vmport=off,hpet=off,i8042=off"
            + (",kernel-irqchip=split" if config.iommu and config.accel == "kvm" else ""),
            *_accel_args(config), "-smp", str(config.smp), "-m", config.mem,
            "-kernel", str(boot_image(config.kernel)), "-initrd", str(config.image),
            "-append", _command_line(config, mode, words),
            "-d", "guest_errors,unimp", "-D", str(config.guest_errors)]
    if config.iommu:
        argv += ["-device", "intel-iommu,intremap=on"]
    argv += ["-chardev", f"socket,id=log,fd={ports['log']}", "-serial", "chardev:log",
             "-chardev", f"socket,id=qmp,fd={ports['qmp']}",
             "-mon", "chardev=qmp,mode=control"]
    argv += ["-device", "virtio-serial-pci"]
    if mode == "shell":
        argv += ["-chardev", "stdio,id=term,signal=off,mux=on", "-mon", "chardev=term",
                 "-device", "virtconsole,chardev=term"]
    else:
        for name in ("ctl", "out", "err"):
            argv += ["-chardev", f"socket,id={name},fd={ports[name]}",
                     "-device", f"virtserialport,chardev={name},name={name}"]
    argv += _card_args(config) + _disk_args(config) + share_args
    return argv + list(config.qemu_args)


class Machine:
    """A running QEMU; use as a context manager, so that it ends with the block."""

    def __init__(self, config, mode="run"):
        self.config, self.mode = config, mode
        self.sockets, self.process = {}, None
        self.selector = selectors.DefaultSelector()
        self.control = b""
        self.handlers = {"out": None, "err": None}
        self.log_tail = b""
        self.stderr = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *unused):
        self.stop()

    def _words(self):
        if self.mode != "shell":
            return []
        size = os.get_terminal_size() if os.isatty(1) else os.terminal_size((0, 0))
        if not size.columns or not size.lines:
            size = os.terminal_size((80, 24))
        term = os.environ.get("TERM", "linux")
        return [f"guest_rows={size.lines}", f"guest_cols={size.columns}", f"guest_term={term}"]

    def start(self):
        names = ["log", "qmp"] + (["ctl", "out", "err"] if self.mode != "shell" else [])
        remote = {}
        for name in names:
            ours, theirs = socket.socketpair()
            self.sockets[name], remote[name] = ours, theirs
        argv = qemu_command(self.config, self.mode, {n: s.fileno() for n, s in remote.items()},
                            self._words())
        self.log_file = open(self.config.log, "ab", buffering=0)
        self.stderr = open(str(self.config.log) + ".qemu", "wb+", buffering=0)
        shell = self.mode == "shell"
        # pylint: disable=consider-using-with,subprocess-popen-preexec-fn
        self.process = subprocess.Popen(
            argv, pass_fds=[s.fileno() for s in remote.values()], preexec_fn=_die_with_parent,
            stdin=None if shell else subprocess.DEVNULL, stdout=None if shell else self.stderr,
            stderr=None if shell else self.stderr)
        for end in remote.values():
            end.close()
        for name, end in self.sockets.items():
            end.setblocking(False)
            self.selector.register(end, selectors.EVENT_READ, name)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for end in self.sockets.values():
            end.close()
        self.selector.close()
        self.log_file.close()
        self.stderr.close()

    def _receive(self, name):
        try:
            data = self.sockets[name].recv(65536)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        if not data:
            self.selector.unregister(self.sockets[name])
        elif name == "log":
            self.log_file.write(data)
        elif name == "ctl":
            self.control += data
        elif self.handlers.get(name):
            self.handlers[name](data)

    def serve(self, seconds):
        """Move what has arrived; False when QEMU has ended and nothing is left to read."""
        if not self.selector.get_map():
            self.process.wait()
            return False
        for key, _ in self.selector.select(seconds):
            self._receive(key.data)
        return True

    def read_control(self, deadline, what):
        """One line of the guest's side of the conversation."""
        while b"\n" not in self.control:
            left = deadline - time.monotonic()
            if left <= 0:
                self.report_blocked()
                raise TimeLimit(f"{what} did not end in time")
            if not self.serve(min(left, 0.5)):
                self._raise_end()
        line, _, self.control = self.control.partition(b"\n")
        return line.decode("utf-8", "replace").strip()

    def _raise_end(self):
        status = self.process.wait()
        log = self.kernel_log()
        said = Path(str(self.config.log) + ".qemu").read_text(encoding="utf-8",
                                                              errors="replace").strip()
        if status < 0:
            name = signal.Signals(-status).name
            raise QemuDied(f"QEMU was ended by {name}" + (f": {said}" if said else ""))
        if status:
            raise QemuDied(f"QEMU ended with status {status}" + (f": {said}" if said else ""))
        panic = guestlog.PANIC.search(log)
        raise GuestDied(f"the guest's kernel panicked: {panic.group(1)}" if panic
                        else "the guest powered off before the command had ended")

    def cpu_seconds(self):
        """What QEMU has used of the host's CPUs: says more than a clock on a busy machine."""
        try:
            stat = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii")
        except OSError:
            return 0.0
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def kernel_log(self):
        return Path(self.config.log).read_text(encoding="utf-8", errors="replace")

    def card_log(self):
        path = Path(self.config.guest_errors)
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def wait_ready(self, seconds=None):
        if seconds is None:
            slow = boot_image(self.config.kernel).name == "bzImage"
            seconds = BOOT_SECONDS * (SLOW_KERNEL if slow else 1)
        line = self.read_control(time.monotonic() + seconds, "the boot")
        if not line.startswith("ready"):
            raise VmError(f"the guest said {line!r} instead of being ready")
        return line

    def run(self, command, seconds=None):
        """Run one shell command line; its output goes to the handlers. Returns its status."""
        self.sockets["ctl"].setblocking(True)
        self.sockets["ctl"].sendall(base64.b64encode(command.encode()) + b"\n")
        self.sockets["ctl"].setblocking(False)
        line = self.read_control(time.monotonic() + (seconds or 1e9), "the command")
        if not line.startswith("exit "):
            raise VmError(f"the guest said {line!r} instead of a status")
        while self.serve(0):
            if not self.selector.select(0):
                break
        return int(line.split()[1])

    def wait_off(self, seconds=20):
        """Let the guest power off, so that the last of its log arrives."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.serve(0.2):
            pass
        if self.process.poll() not in (None, 0):
            self._raise_end()

    def qmp(self, command, **arguments):
        """Send one QMP command; answers are not waited for (they end in the void)."""
        if not getattr(self, "qmp_open", False):
            self.qmp_open = True
            self.sockets["qmp"].send(b'{"execute":"qmp_capabilities"}\n')
        message = {"execute": command}
        if arguments:
            message["arguments"] = arguments
        self.sockets["qmp"].send(json.dumps(message).encode() + b"\n")

    def report_blocked(self):
        """Before a stuck guest is ended: have its kernel print the blocked tasks (sysrq-w)."""
        try:
            for key in (b"w", b"l"):
                self.qmp("chardev-send-break", id="log")
                self.sockets["log"].send(key)
                end = time.monotonic() + 1.5
                while time.monotonic() < end and self.serve(0.2):
                    pass
        except OSError:
            pass
