"""A kernel that refuses: seccomp filters as containers and sandboxes have them, Landlock as a stand-in for SELinux."""

import errno
import os
import signal
import socket
import time

from trouble import refusals
from trouble.forms import PROBE, alike, fault
from trouble.tracer import count

from suite.case import scene
from suite.process import alive, children_of
from suite.stage import NULL

for _error in (errno.ENOSYS, errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOMEM, errno.EAGAIN, errno.E2BIG):
    fault(f"Seccomp: clone3 refused with {errno.errorcode[_error]}", before=lambda _, e=_error: refusals.refuse(e, "clone3"))

# What the launcher needs and bash doesn't: refused one at a time, then all at once.
_OURS = ("signalfd4", "ppoll", "close_range", "kcmp", "readlink", "readlinkat", "flock", "fstatfs", "fgetxattr", "fsetxattr",
         "mkdirat", "unlinkat", "faccessat", "faccessat2", "pread64", "pwrite64", "getsid", "statx", "openat2", "sigaltstack",
         "rt_sigtimedwait", "poll", "getcwd")
for _error in (errno.ENOSYS, errno.EPERM):
    for _call in _OURS:
        alike(f"Seccomp: {_call} refused with {errno.errorcode[_error]}", before=lambda _, e=_error, c=_call: refusals.refuse(e, c))
    alike(f"Seccomp: all of these refused at once with {errno.errorcode[_error]}", before=lambda _, e=_error: refusals.refuse(e, "clone3", *_OURS))
    alike(f"Seccomp: prctl refused with {errno.errorcode[_error]}", before=lambda _, e=_error: refusals.refuse(e, "prctl"))


# linux/unistd_64.h
_CLOSE = 3

for _call in ("clone3", "signalfd4", "ppoll", "close_range", "flock", "mkdirat", "fgetxattr", "getsid"):
    fault(f"Seccomp: {_call} answered with SIGSYS", before=lambda _, c=_call: refusals.refuse(None, c))


@scene("Seccomp: a refused ppoll is no reason to spin", cpu_was_used=False, status="exit 0")
def _no_spinning(stage):
    child = stage.start("-c", "sleep 1.5", before=lambda _: refusals.refuse(errno.ENOSYS, "ppoll"))
    done = child.finish()
    stage.note(cpu_was_used=child.usage.ru_utime + child.usage.ru_stime > 0.2, status=done.status)


@scene("A command that lets go of its output ends the reader's wait, of a socket too, where kcmp is refused", before_its_end=True)
def _lets_go(stage):
    ours, theirs = socket.socketpair()

    def before(_stage):
        os.dup2(theirs.fileno(), 2)
        refusals.refuse(errno.EPERM, "kcmp")

    child = stage.start("-c", "exec 2>/dev/null; sleep 5; true", stderr=NULL, before=before)
    theirs.close()
    ours.settimeout(4)
    try:
        stage.note(before_its_end=ours.recv(1) == b"")
    except TimeoutError:
        stage.note(before_its_end=False)
    child.kill(signal.SIGKILL)
    child.finish()


@scene("Seccomp: where close_range is refused, no more is closed than is open", stdout=b"hi\n", status="exit 3", hundreds=0)
def _closes_what_is_open(stage):
    done, closed = count(stage, _CLOSE, "-c", "echo hi; exit 3", before=lambda: refusals.refuse(errno.ENOSYS, "close_range"))
    stage.note(stdout=done.out, status=done.status, hundreds=closed // 100)


for _call in ("rt_sigtimedwait", "prctl", "waitid", "setsid", "setpgid", "getpgid"):
    @scene(f"Seccomp: a shell that becomes `timeout` ends, and nobody stays, where {_call} is refused", stdout=b"on go\n", status="exit 4", left=[])
    def _becomes_timeout(stage, call=_call):
        def before(_stage):
            os.setpgid(0, 0)
            refusals.refuse(errno.EPERM, call)

        stage.fifo("gate")
        shell = stage.start("-c", "timeout 100 /bin/sh -c 'read a <gate; echo on $a; exit 4'", before=before)
        time.sleep(1)
        started = children_of(shell.pid)
        with open(f"{stage.work}/gate", "w", encoding="ascii") as gate:
            gate.write("go\n")
        done = shell.finish()
        stage.until(lambda: not any(alive(pid) for pid in started), "all children of the launcher end")
        stage.note(stdout=done.out, status=done.status, left=[pid for pid in started if alive(pid)])


_SYSTEM = ("/usr", "/bin", "/lib", "/lib64", "/etc", "/dev", "/tmp")
_LANDLOCK = refusals.has_landlock()


def _fenced(name: str, *allowed: str, writable: tuple[str, ...] = ()) -> None:
    fault(name, before=lambda stage: refusals.fence(*_SYSTEM, stage.prefix, *allowed, writable=(f"{stage.folder}/work", *writable)))


if _LANDLOCK:
    _fenced("EACCES for the cgroup tree, for /proc and for the log")
    _fenced("EACCES for writing in the cgroup tree", "/proc", "/sys")
    _fenced("EACCES for reading the cgroup tree", "/proc")
    _fenced("EACCES for /proc, with the cgroup tree in reach", writable=("/sys/fs/cgroup",))

    @scene("EACCES for reading the real shell is one for bash's libraries alone: it runs", out=b"out\nchild\n", status="exit 7", needs="root")
    def _unreadable_shell(stage):
        own = f"{stage.work}/bash"
        with open("/bin/bash", "rb") as real, open(own, "wb") as copy:
            copy.write(real.read())
        os.chmod(own, 0o711)
        done = stage.run("-c", PROBE, env={"AGENTSH_REAL_SHELL": own}, before=lambda _: os.setresuid(1000, 1000, 1000),
                         program=own if not stage.agentsh else None)
        stage.note(out=done.out, status=done.status)
