"""Namespaces in which /proc tells of somebody else, or pids mean something else."""

import os
import signal

from trouble import mounts
from trouble.forms import PROBE, PROBE_SEEN, fault

from suite import kernel
from suite.stage import PIPE
from suite.case import scene


def _in_pid_namespace(stage, run, mount_proc: bool = False) -> None:
    """Runs `run(stage)` in a process of a new PID namespace, as its first; it notes what it sees through a pipe."""
    import json
    reader, writer = os.pipe()
    outer = os.fork()
    if outer == 0:
        try:
            mounts.private()
            kernel.unshare(kernel.CLONE_NEWPID)
            first = os.fork()
            if first == 0:
                if mount_proc:
                    mounts.mount("proc", "/proc", "proc")
                run(stage)
                os.write(writer, json.dumps({k: v.decode() if isinstance(v, bytes) else v for k, v in stage.seen.items()}).encode())
                os._exit(0)
            os.waitpid(first, 0)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        seen = file.read()
    os.waitpid(outer, 0)
    stage.note(**json.loads(seen or b"{}"))


def _probe(stage) -> None:
    done = stage.run("-c", PROBE)
    dying = stage.run("-c", "kill -TERM $$")
    stage.note(out=done.out, err=done.err, status=done.status, dying=dying.status)


_SEEN = {"out": PROBE_SEEN["out"].decode(), "err": PROBE_SEEN["err"].decode(), "status": "exit 7", "dying": "killed by SIGTERM"}


@scene("A PID namespace with the /proc of another one", needs="root", **_SEEN)
def _foreign_proc(stage):
    _in_pid_namespace(stage, _probe)


@scene("A PID namespace with a /proc of its own", needs="root", **_SEEN)
def _own_proc(stage):
    _in_pid_namespace(stage, _probe, mount_proc=True)


def _stop_and_go(stage) -> None:
    """The shell stops itself; the caller sees it, and continues it."""
    child = stage.start("-c", "echo $$ >/dev/null; kill -STOP $$; echo on; exit 4")
    first = child.wait_event()
    child.kill(signal.SIGCONT)
    done = child.finish()
    stage.note(first=first, out=done.out, status=done.status)


def _terminated(stage) -> None:
    """A trap runs once, for a signal to the pid; and for one to the group it runs at all."""
    child = stage.start("-c", "trap 'echo trapped; exit 5' TERM; echo ready; while :; do sleep 0.05; done", before=lambda _: os.setpgid(0, 0))
    child.read_line()
    child.kill(signal.SIGTERM)
    done = child.finish()
    stage.note(out=done.out, status=done.status)


_STOPPED = dict(first="stopped by SIGSTOP", status="exit 4")
_TRAPPED = dict(status="exit 5")


@scene("A shell that stops itself is seen to stop and goes on, in a PID namespace with the /proc of another one", needs="root", out="on\n", **_STOPPED)
def _stop_foreign(stage):
    _in_pid_namespace(stage, _stop_and_go)


@scene("A signal reaches the shell in a PID namespace with the /proc of another one", needs="root", out="trapped\n", **_TRAPPED)
def _signal_foreign(stage):
    _in_pid_namespace(stage, _terminated)


def _child_without_proc(stage, play) -> None:
    _start = stage.start
    stage.start = lambda *args, **options: _start(*args, **({"before": lambda s: mounts.hide("/proc")} | options))
    play(stage)


@scene("A shell that stops itself is seen to stop and goes on, without /proc", needs="root", out=b"on\n", **_STOPPED)
def _stop_without(stage):
    _child_without_proc(stage, _stop_and_go)


# Longer than until the launcher looks at the shell for the first time; then the trap tells how often it ran.
_COUNTS = "trap 'n=$((n + 1))' TERM; for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.05; done; echo ready; read a; sleep 0.3; echo $n"


@scene("A trap runs once for a signal to the group, and once for one to the pid, without /proc", needs="root", group=b"1\n", pid=b"1\n")
def _signals_without(stage):
    def before(_stage):
        os.setpgid(0, 0)
        mounts.hide("/proc")

    for name in ("group", "pid"):
        child = stage.start("-c", _COUNTS, before=before, stdin=PIPE)
        child.read_line()
        (child.kill_group if name == "group" else child.kill)(signal.SIGTERM)
        stage.note(**{name: child.finish(b"\n").out})


@scene("A signal reaches the shell without /proc", needs="root", out=b"trapped\n", **_TRAPPED)
def _signal_without(stage):
    child = stage.start("-c", "trap 'echo trapped; exit 5' TERM; echo ready; while :; do sleep 0.05; done",
                        before=lambda _: mounts.hide("/proc"))
    child.read_line()
    child.kill(signal.SIGTERM)
    done = child.finish()
    stage.note(out=done.out, status=done.status)


@scene("A command that lets go of its output ends the reader's wait, without /proc too", needs="root", before_its_end=True, status="exit 0")
def _end_without(stage):
    child = stage.start("-c", "exec >&- 2>&-; sleep 3", before=lambda _: mounts.hide("/proc"))
    child.reached_eof(child.stdout)
    child.reached_eof(child.stderr)
    stage.note(before_its_end=child.running(), status=child.wait())


@scene("A command that lets go of another user's pipe ends the reader's wait", needs="root", before_its_end=True, status="exit 0")
def _end_foreign(stage):
    child = stage.start("-c", "exec >&- 2>&-; sleep 3", before=lambda _: os.setresuid(1000, 1000, 1000))
    child.reached_eof(child.stdout)
    child.reached_eof(child.stderr)
    stage.note(before_its_end=child.running(), status=child.wait())


fault("A /proc that hides other users' processes", needs="root", before=lambda _: (
    mounts.private(), mounts.mount("proc", "/proc", "proc", 0, "hidepid=2"), os.setresuid(1000, 1000, 1000)),
    env={"AGENTSH_LOG": "/dev/null"})
