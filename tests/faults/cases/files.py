"""File systems that are read-only, full, hidden or gone."""

import os
import shutil

from trouble import mounts
from trouble.forms import PROBE, alike, fault

from suite.case import scene

fault("Every file system is read-only", before=lambda _: mounts.read_only(), needs="root")
fault("The log's file system is full", before=lambda stage: mounts.full(f"{stage.folder}/state"), needs="root")
fault("/tmp and the home folder are full", before=lambda stage: (mounts.full("/var/tmp"), mounts.full(stage.home)), needs="root")
fault("No /proc", before=lambda _: mounts.hide("/proc"), needs="root")
fault("No /dev, so no /dev/null", before=lambda _: mounts.hide("/dev"), needs="root")
fault("No /sys", before=lambda _: mounts.hide("/sys"), needs="root")
fault("No cgroup tree below /sys/fs/cgroup", before=lambda _: mounts.hide("/sys/fs/cgroup"), needs="root")
fault("No /proc, no /dev, no /sys, no /run, no /var, no /etc", needs="root",
      before=lambda _: mounts.hide("/etc", "/var", "/run", "/sys", "/dev", "/proc"))
fault("chroot without /proc, /sys, /dev and /etc", before=mounts.change_root, needs="root")


def _gone(stage) -> None:
    os.mkdir("gone")
    os.chdir("gone")
    os.rmdir(f"{stage.work}/gone")


alike("The working folder is deleted", before=_gone)


def _unreadable_above(stage) -> None:
    os.makedirs("secret/below", exist_ok=True)
    os.chdir("secret/below")
    os.chmod(f"{stage.work}/secret", 0)
    os.setresuid(1000, 1000, 1000)


alike("The folders above the working folder can't be read", before=_unreadable_above, needs="root")


@scene("A working folder whose path is longer than PATH_MAX", out=b"out\nchild\n", status="exit 7")
def _long_path(stage):
    def deep(_stage):
        for _ in range(30):
            os.mkdir("d" * 200)
            os.chdir("d" * 200)
    done = stage.run("-c", PROBE, before=deep)
    shutil.rmtree("d" * 200, ignore_errors=True)
    stage.note(out=done.out, status=done.status)


@scene("The launcher's own file deleted while it runs", out=b"one\nnested\ntwo\n", status="exit 9")
def _deleted(stage):
    own = f"{stage.work}/own/bin/bash"
    os.makedirs(os.path.dirname(own))
    shutil.copy(os.path.realpath(stage.shell), own)
    shutil.copy(own, f"{own}.copy")
    # What runs goes on, and starts a shell of its own from another copy of the file.
    child = stage.start("-c", f"echo one; read -r _; {own}.copy -c 'echo nested'; echo two; exit 9", stdin="pipe", program=own)
    first = child.read_line() + b"\n"
    os.unlink(own)
    done = child.finish(b"go\n")
    stage.note(out=first + done.out, status=done.status)


def _executable_only(_stage) -> None:
    os.setgroups([])
    os.setresgid(1000, 1000, 1000)
    os.setresuid(1000, 1000, 1000)


@scene("A launcher that may be executed and not read", out=b"out\nchild\n", status="exit 7", needs="root")
def _unreadable_launcher(stage):
    os.makedirs("own/bin")
    shutil.copy(os.path.realpath(stage.shell), "own/bin/bash")
    os.chmod("own/bin/bash", 0o711)
    done = stage.run("-c", PROBE, program=f"{stage.work}/own/bin/bash", before=_executable_only)
    stage.note(out=done.out, status=done.status)
