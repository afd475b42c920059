"""The call log in every place where it can't be written: nobody but doctor may notice."""

import os
import socket

from trouble.forms import PROBE, fault

from suite.case import scene


def _logged_to(name: str, make, needs: str = "", before=None) -> None:
    fault(f"The log is {name}", needs=needs, before=before, prepare=lambda stage: {"env": {"AGENTSH_LOG": make(stage)}})


def _socket(stage) -> str:
    path = f"{stage.work}/s"
    socket.socket(socket.AF_UNIX).bind(path)
    return path


def _link(stage) -> str:
    os.symlink("/etc/passwd", f"{stage.work}/link")
    return f"{stage.work}/link"


def _loop(stage) -> str:
    os.symlink("loop", f"{stage.work}/loop")
    return f"{stage.work}/loop"


_logged_to("a FIFO without a reader", lambda stage: stage.fifo("fifo"))
_logged_to("a folder", lambda stage: stage.work)
_logged_to("a symbolic link", _link)
_logged_to("a link to itself", _loop)
_logged_to("a socket", _socket)
_logged_to("/dev/full", lambda _: "/dev/full")
_logged_to("/dev/null", lambda _: "/dev/null")
_logged_to("/dev/stdout", lambda _: "/dev/stdout")
_logged_to("/proc/self/fd/1", lambda _: "/proc/self/fd/1")
_logged_to("in a folder that can't be made", lambda _: "/proc/nowhere/calls.jsonl")
_logged_to("below a file", lambda stage: stage.file("file", "x") + "/below/calls.jsonl")
_logged_to("a name of 5,000 letters", lambda stage: f"{stage.work}/{'x' * 5000}")
_logged_to("a relative path", lambda _: "calls.jsonl")
_logged_to("not ours to write", lambda _: "/var/log/agentsh-faults/calls.jsonl", needs="root", before=lambda _: os.setresuid(1000, 1000, 1000))


@scene("The log is a FIFO whose reader has stopped reading: the call ends all the same", out=b"out\nchild\n", err=b"err\n", status="exit 7", ends=True)
def _asleep(stage):
    path = stage.fifo("fifo")
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    try:
        while True:
            os.write(writer, b"x" * 4096)
    except BlockingIOError:
        pass
    done = stage.run("-c", PROBE, env={"AGENTSH_LOG": path})
    stage.note(out=done.out, err=done.err, status=done.status, ends=True)
    os.close(reader)


@scene("The log is a FIFO whose reader leaves: no SIGPIPE for anybody", in_place=b"out\n", status="exit 0")
def _left(stage):
    path = stage.fifo("fifo")
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    child = stage.start("-mc", "echo out", env={"AGENTSH_LOG": path})
    os.close(reader)
    done = child.finish()
    stage.note(in_place=done.out, status=done.status)


fault("No HOME, no AGENTSH_LOG, no XDG_STATE_HOME, as a user", needs="root", env={"HOME": None, "AGENTSH_LOG": None},
      before=lambda _: os.setresuid(1000, 1000, 1000))
fault("HOME is relative and isn't there", env={"HOME": "no/where", "AGENTSH_LOG": None}, needs="root", before=lambda _: os.setresuid(1000, 1000, 1000))
fault("No variable at all but those that name the shell and the log", prepare=lambda stage: {
    "env": [b"AGENTSH_REAL_SHELL=/bin/bash", f"AGENTSH_LOG={stage.folder}/state/l".encode()]})


@scene("Without any environment", out=b"out\n", status="exit 7")
def _empty(stage):
    # A log in root's usual place is not wanted here.
    done = stage.run("-c", "echo out; exit 7", env=[b"AGENTSH_LOG=/dev/null"])
    stage.note(out=done.out, status=done.status)
