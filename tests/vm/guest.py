"""One virtual machine, from start to end: QEMU (TCG) with the host's root file system, read-only, by virtiofs.

Every wait has the same deadline. However the runner ends, by SIGKILL too, QEMU and virtiofsd end with it
(PR_SET_PDEATHSIG), and a run's folder that such an end left behind is removed by the next run.
"""

import contextlib
import ctypes
import fcntl
import glob
import os
import secrets
import selectors
import shutil
import signal
import subprocess
import tempfile
import time

import clock

EXIT_TIMEOUT = 124
EXIT_GUEST_DIED = 125
PREFIX = "agentsh-vm-"
PR_SET_PDEATHSIG = 1
CONSOLE_TAIL_LINES = 40
# A guest is up in 6 to 20 s. Under TCG one in some hundreds loses its timer interrupt while its kernel starts, and stands still.
UP_SECONDS = float(os.environ.get("AGENTSH_TEST_UP_SECONDS", "60"))

KERNEL_ARGUMENTS = (
    "root=hostroot rootfstype=virtiofs ro console=ttyS0 loglevel=4 panic=-1 oops=panic psi=1 "
    "mitigations=off audit=0 tsc=nowatchdog lsm=landlock,yama,bpf"
)


class GuestDied(Exception):
    """The machine ended, or couldn't start, before the command's exit status was known."""


class TimedOut(Exception):
    """The deadline passed first."""


class NeverUp(Exception):
    """The machine stands still before it has run anything."""


class Port:
    """One virtio-serial port of the guest, read from a pipe that QEMU writes to; `sink` is a file descriptor."""

    def __init__(self, sink, end):
        self.read_end, self.write_end = os.pipe()
        self.sink = sink
        self.end = end
        self.held = b""
        self.finished = False

    def pump(self):
        """Passes on what has come. Keeps back only what may be the start of the end mark."""
        data = self.held + os.read(self.read_end, 65536)
        self.held = b""
        place = data.find(self.end)
        if place >= 0:
            data, self.finished = data[:place], True
        else:
            start = data.rfind(self.end[:1])
            if start >= 0 and self.end.startswith(data[start:]):
                data, self.held = data[:start], data[start:]
        while data:
            data = data[os.write(self.sink, data) :]


class StatusPort(Port):
    """The port on which init reports, a line each: up, before the command, and how it all ended."""

    def __init__(self):
        super().__init__(None, b"\n")
        self.text = b""
        self.up = False

    def pump(self):
        self.text += os.read(self.read_end, 4096)
        if self.text.startswith(b"up\n"):
            self.up, self.text = True, self.text[3:]
        self.finished = self.text.endswith(b"\n")


def quote(word):
    """A word of bytes, quoted for sh."""
    return b"'" + word.replace(b"'", b"'\\''") + b"'"


def _die_with_parent():
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == 1:
        os._exit(EXIT_GUEST_DIED)


class Guest:
    """A machine for one command."""

    def __init__(self, tools, kernel, options, over=None):
        self.tools = tools
        self.kernel = kernel
        # A folder that lies over this machine's own files.
        self.over = over
        self.options = options
        self.begun = time.monotonic()
        self.deadline = self.begun + options.timeout
        self.processes = []
        self.folder = None
        self.mark = secrets.token_hex(16)
        end = b"\0" + self.mark.encode("ascii")
        self.ports = [Port(1, end), Port(2, end), StatusPort()]

    def run(self, command, environment):
        """Runs the command in the machine and returns its exit status, as a shell would give it."""
        _remove_abandoned_folders()
        self.folder = tempfile.mkdtemp(prefix=PREFIX)
        with open(os.path.join(self.folder, "owner"), "w", encoding="ascii") as owner:
            try:
                fcntl.flock(owner, fcntl.LOCK_EX)
                self._write_folder(command, environment)
                self._start_virtiofsd()
                self._start_qemu()
                return self._relay()
            finally:
                self._end()

    def console_tail(self):
        """The last lines that the guest's kernel wrote to its console."""
        return self._tail("console")

    def _tail(self, name):
        try:
            with open(os.path.join(self.folder, name), encoding="utf-8", errors="replace") as file:
                return "".join(file.readlines()[-CONSOLE_TAIL_LINES:]).rstrip()
        except OSError:
            return ""

    def _write_folder(self, command, environment):
        os.chmod(self.folder, 0o755)
        os.symlink(self.tools.busybox, os.path.join(self.folder, "busybox"))
        shutil.copyfile(os.path.join(os.path.dirname(__file__), "init"), os.path.join(self.folder, "init"))
        modules = os.path.join(os.path.dirname(self._vmlinux()), "modules")
        settings = {
            "modules": modules,
            "over": self.over or "",
            "cgroup_options": self.options.cgroup_opts,
            "swap_mib": str(self.options.swap),
            "end_mark": self.mark,
        }
        with open(os.path.join(self.folder, "settings"), "wb") as file:
            for name, value in settings.items():
                file.write(name.encode("ascii") + b"=" + quote(os.fsencode(value)) + b"\n")
        words = [os.fsencode(word) for word in command]
        variables = [os.fsencode(name) + b"=" + os.fsencode(value) for name, value in environment.items()]
        # Not busybox's env: that would start busybox's own sh, ls … instead of the machine's.
        env = [b"/usr/bin/env", b"-i", *variables]
        with open(os.path.join(self.folder, "command"), "wb") as file:
            file.write(b"cd " + quote(os.fsencode(os.getcwd())) + b" || exit 125\n")
            file.write(b"exec " + b" ".join(quote(word) for word in env + words) + b"\n")

    def _vmlinux(self):
        return os.path.join(self.kernel, "vmlinux") if os.path.isdir(self.kernel) else self.kernel

    def _start(self, name, command, **more):
        with open(os.path.join(self.folder, f"{name}.log"), "wb") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=_die_with_parent, **more
            )
        self.processes.append((name, process))
        return process

    def _start_virtiofsd(self):
        socket = os.path.join(self.folder, "virtiofs")
        arguments = ["--socket-path", socket, "--shared-dir", "/", "--sandbox", "none", "--readonly"]
        arguments += ["--cache", "always", "--no-announce-submounts", "--inode-file-handles=never"]
        process = self._start("virtiofsd", self.tools.command("usr/libexec/virtiofsd") + arguments)
        while not os.path.exists(socket):
            if process.poll() is not None:
                raise GuestDied(f"virtiofsd ended with {process.returncode}: {self._tail('virtiofsd.log')}")
            if time.monotonic() > self.deadline:
                raise TimedOut
            time.sleep(0.01)

    def _start_qemu(self):
        memory = f"{self.options.mem}M"
        busybox, init = (os.path.join(self.folder, name) for name in ("busybox", "init"))
        threads = "single" if self.options.one_thread else "multi"
        arguments = ["-accel", f"tcg,thread={threads}", "-cpu", "max", "-smp", str(self.options.cpus), "-m", memory]
        arguments += ["-object", f"memory-backend-memfd,id=mem,size={memory},share=on"]
        arguments += ["-M", "q35,memory-backend=mem", "-nodefaults", "-no-user-config", "-display", "none"]
        arguments += ["-no-reboot", "-serial", f"file:{self.folder}/console", "-kernel", self._vmlinux()]
        arguments += ["-append", f"{KERNEL_ARGUMENTS}{clock.kernel_argument()} init={busybox} -- sh {init} {self.folder}"]
        arguments += ["-chardev", f"socket,id=virtiofs,path={self.folder}/virtiofs"]
        arguments += ["-device", "vhost-user-fs-pci,chardev=virtiofs,tag=hostroot", "-device", "virtio-serial-pci"]
        for folder in self.tools.firmware:
            arguments += ["-L", folder]
        for number, port in enumerate(self.ports, start=1):
            arguments += ["-add-fd", f"fd={port.write_end},set={number}"]
            arguments += ["-chardev", f"file,id=port{number},path=/dev/fdset/{number},append=on"]
            arguments += ["-device", f"virtserialport,chardev=port{number},nr={number},name=port{number}"]
        self._start(
            "qemu",
            self.tools.command("usr/bin/qemu-system-x86_64") + arguments,
            pass_fds=[port.write_end for port in self.ports],
            env=dict(os.environ, QEMU_MODULE_DIR=self.tools.modules),
        )
        for port in self.ports:
            os.close(port.write_end)
            port.write_end = None

    def _relay(self):
        status = self.ports[2]
        with selectors.DefaultSelector() as selector:
            for port in self.ports:
                selector.register(port.read_end, selectors.EVENT_READ, port)
            while selector.get_map():
                left = self.deadline - time.monotonic()
                if left <= 0:
                    raise TimedOut
                if not status.up and time.monotonic() > self.begun + UP_SECONDS:
                    raise NeverUp
                ready = selector.select(min(left, 0.5))
                for key, _ in ready:
                    key.data.pump()
                    if key.data.finished:
                        selector.unregister(key.fileobj)
                if status.text.startswith(b"failed"):
                    raise GuestDied("the guest's init " + status.text.decode("utf-8", "replace").strip())
                self._check_alive()
        return int(status.text.split(b":")[1])

    def _check_alive(self):
        if all(process.poll() is None for _, process in self.processes):
            return
        if all(port.finished for port in self.ports):
            return
        # QEMU's end ends virtiofsd, so QEMU is asked first, and given the moment that its end takes to be seen.
        for name, process in reversed(self.processes):
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = process.wait(timeout=1)
                log = self._tail(f"{name}.log")
                raise GuestDied(f"{name} ended with status {status}" + (f": {log}" if log else " (panic or power-off)"))

    def _end(self):
        for _, process in reversed(self.processes):
            process.kill()
            process.wait()
        for port in self.ports:
            for descriptor in (port.read_end, port.write_end):
                if descriptor is not None:
                    os.close(descriptor)
        self.last_console = self.console_tail()
        shutil.rmtree(self.folder, ignore_errors=True)


def _remove_abandoned_folders():
    """Removes the folders of runs whose runner was killed: nobody holds the lock on their `owner` any more."""
    for owner in glob.glob(os.path.join(glob.escape(tempfile.gettempdir()), PREFIX + "*", "owner")):
        try:
            with open(owner, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(os.path.dirname(owner), ignore_errors=True)
        except OSError:
            continue
