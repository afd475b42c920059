"""A cgroup tree that is removed, moved, frozen or changed underneath."""

import fcntl
import os
import threading
import time

from trouble import mounts
from trouble.forms import PROBE, PROBE_SEEN, fault

from suite import kernel
from suite.case import scene


def _session(_stage) -> str:
    """The session that the case runs in, as a folder."""
    with open("/proc/self/cgroup", encoding="ascii") as file:
        own = next(line[3:].strip() for line in file if line.startswith("0::"))
    with open("/proc/self/mountinfo", encoding="utf-8") as lines:
        root = next(line.split()[4] for line in lines if " - cgroup2 " in line)
    return os.path.dirname(root + own)


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def _wrong(stage, times: int) -> list:
    done = [stage.run("-c", PROBE) for _ in range(times)]
    return [(d.out, d.err, d.status) for d in done if (d.out, d.err, d.status) != tuple(PROBE_SEEN.values())]


def _while(stage, harm, times: int = 40) -> None:
    """Plays calls while `harm()` goes on in another thread."""
    stop = threading.Event()

    def again() -> None:
        while not stop.is_set():
            try:
                harm()
            except OSError:
                pass
            time.sleep(0.0003)

    thread = threading.Thread(target=again)
    thread.start()
    try:
        stage.note(wrong=_wrong(stage, times))
    finally:
        stop.set()
        thread.join()


@scene("The leaves are removed all the time, before and after each call", needs="leaf", wrong=[])
def _leaves_removed(stage):
    calls = f"{_session(stage)}/calls"

    def remove() -> None:
        for name in os.listdir(calls):
            if "-" in name:
                os.rmdir(f"{calls}/{name}")

    _while(stage, remove)


@scene("calls/ itself is removed and made again all the time", needs="leaf", wrong=[])
def _calls_removed(stage):
    calls = f"{_session(stage)}/calls"

    def remove() -> None:
        for name in os.listdir(calls):
            if "-" in name:
                os.rmdir(f"{calls}/{name}")
        os.rmdir(calls)
        os.mkdir(calls)

    try:
        _while(stage, remove)
    finally:
        os.makedirs(calls, exist_ok=True)


@scene("The call's leaf gets a child cgroup, and the command is moved into it", needs="leaf", out=b"one\ntwo\n", status="exit 9")
def _moved_down(stage):
    calls = f"{_session(stage)}/calls"
    child = stage.start("-c", "echo one; read -r _; echo two; exit 9", stdin="pipe")
    first = child.read_line() + b"\n"
    leaf = next(f"{calls}/{name}" for name in os.listdir(calls) if "-" in name and os.path.isdir(f"{calls}/{name}"))
    os.mkdir(f"{leaf}/below")
    with open(f"{leaf}/cgroup.procs", encoding="ascii") as file:
        pids = file.read().split()
    for pid in pids:
        _write(f"{leaf}/below/cgroup.procs", pid)
    done = child.finish(b"go\n")
    stage.note(out=first + done.out, status=done.status)


@scene("The command is moved out of its leaf and the leaf removed", needs="leaf", out=b"one\ntwo\n", status="exit 9")
def _moved_out(stage):
    session = _session(stage)
    child = stage.start("-c", "echo one; read -r _; echo two; exit 9", stdin="pipe")
    first = child.read_line() + b"\n"
    leaf = next(e.path for e in os.scandir(f"{session}/calls") if e.is_dir())
    with open(f"{leaf}/cgroup.procs", encoding="ascii") as file:
        pids = file.read().split()
    for pid in pids:
        _write(f"{session}/agent/cgroup.procs", pid)
    os.rmdir(leaf)
    done = child.finish(b"go\n")
    stage.note(out=first + done.out, status=done.status)


@scene("The leaf is killed by somebody else: the caller sees SIGKILL, and no word of a limit", needs="leaf", err=b"", status="killed by SIGKILL")
def _killed(stage):
    calls = f"{_session(stage)}/calls"
    child = stage.start("-c", "echo one; sleep 60; echo never")
    child.read_line()
    _write(next(f"{e.path}/cgroup.kill" for e in os.scandir(calls) if e.is_dir()), "1")
    done = child.finish()
    stage.note(err=done.err, status=done.status)


@scene("Idle leaves that somebody left frozen", needs="leaf", wrong=[])
def _frozen(stage):
    calls = f"{_session(stage)}/calls"
    stage.run("-c", PROBE)
    for entry in os.scandir(calls):
        if entry.is_dir():
            _write(f"{entry.path}/cgroup.freeze", "1")
    stage.note(wrong=_wrong(stage, 3))


@scene("A name of the pool that is no cgroup of ours: threaded, or with children", needs="leaf", wrong=[])
def _odd_leaves(stage):
    calls = f"{_session(stage)}/calls"
    stage.run("-c", PROBE)
    leaf = next(e.path for e in os.scandir(calls) if e.is_dir())
    os.mkdir(f"{leaf}/child")
    _write(f"{leaf}/child/cgroup.type", "threaded")
    stage.note(wrong=_wrong(stage, 3))
    os.rmdir(f"{leaf}/child")


@scene("calls/ is threaded, so that nobody can be born in it", needs="leaf", wrong=[])
def _threaded(stage):
    session = _session(stage)
    os.mkdir(f"{session}/calls/t")
    _write(f"{session}/calls/t/cgroup.type", "threaded")
    stage.note(wrong=_wrong(stage, 3))
    os.rmdir(f"{session}/calls/t")


@scene("No more cgroups may be made", needs="leaf", wrong=[])
def _no_descendants(stage):
    _write(f"{_session(stage)}/calls/cgroup.max.descendants", "0")
    stage.note(wrong=_wrong(stage, 3))


@scene("Every leaf of the pool is locked by somebody", needs="leaf", wrong=[])
def _locked(stage):
    calls = f"{_session(stage)}/calls"
    held = []
    for name in ("explore", "other", "run"):
        for number in range(16):
            os.mkdir(f"{calls}/{name}-{number}")
            held.append(os.open(f"{calls}/{name}-{number}", os.O_RDONLY))
            fcntl.flock(held[-1], fcntl.LOCK_EX)
    stage.note(wrong=_wrong(stage, 3))
    for fd in held:
        os.close(fd)


fault("The session belongs to root and the caller is a user", needs="leaf root", before=lambda _: os.setresuid(1000, 1000, 1000),
      env={"AGENTSH_LOG": "/dev/null"})
fault("A cgroup namespace of its own, as `bwrap --unshare-cgroup` makes it", needs="root",
      before=lambda _: kernel.unshare(mounts.CLONE_NEWCGROUP))


def _remounted(stage) -> None:
    mounts.private()
    kernel.unshare(mounts.CLONE_NEWCGROUP)
    mounts.mount("none", "/sys/fs/cgroup", "tmpfs")
    mounts.mount("cgroup2", "/sys/fs/cgroup", "cgroup2")


def _remounted_read_only(stage) -> None:
    _remounted(stage)
    mounts.mount("none", "/sys/fs/cgroup", None, mounts.MS_REMOUNT | mounts.MS_BIND | mounts.MS_RDONLY)


# Only in a session: in the host's own root nothing is to be tried.
fault("A cgroup namespace of its own, with the tree mounted anew and writable", needs="leaf root", before=_remounted)
fault("A cgroup namespace of its own, with the tree mounted anew and read-only", needs="root", before=_remounted_read_only)
fault("The cgroup tree is mounted read-only", needs="leaf root", before=lambda _: mounts.read_only())
for _value in ("/", "..", "../..", "nowhere", "/nowhere/at/all", "/sys/fs/cgroup", "x" * 5000, "a\nb"):
    fault(f"AGENTSH_SESSION is {_value[:20]!r}", env={"AGENTSH_SESSION": _value})
