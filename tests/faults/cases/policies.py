"""Policies that are garbage, change while they are read, or whose compiler hangs."""

import os
import shutil
import threading
import time

from trouble.forms import PROBE, PROBE_SEEN, fault, works

from suite.case import scene
from suite.process import alive


def _policy(name: str, make) -> None:
    fault(f"AGENTSH_POLICY is {name}", prepare=lambda stage: {"env": {"AGENTSH_POLICY": make(stage)}})


_policy("garbage", lambda stage: stage.file("p", os.urandom(5000)))
_policy("empty", lambda stage: stage.file("p", b""))
_policy("bad YAML", lambda stage: stage.file("p", "classes: [}\n"))
_policy("a folder", lambda stage: stage.work)
_policy("a FIFO", lambda stage: stage.fifo("p"))
_policy("/dev/zero", lambda _: "/dev/zero")
_policy("nothing", lambda _: "/nowhere")
_policy("not UTF-8", lambda _: os.fsdecode(b"/tmp/\xff\xfe"))
_policy("relative", lambda stage: os.path.basename(stage.file("p", "version: 1\n")))
_policy("its compiled form, cut and damaged", lambda stage: stage.file("p", b"agentsh-policy\0" + os.urandom(300)))


def _workspace(name: str, make) -> None:
    fault(f"The workspace's .agentsh.yaml is {name}", prepare=lambda stage: make(stage) and None)


_workspace("garbage", lambda stage: stage.file(".agentsh.yaml", os.urandom(5000)))
_workspace("a FIFO", lambda stage: stage.fifo(".agentsh.yaml"))
_workspace("a folder", lambda stage: os.mkdir(f"{stage.work}/.agentsh.yaml"))
_workspace("a link to itself", lambda stage: os.symlink(".agentsh.yaml", f"{stage.work}/.agentsh.yaml"))


def _beside_a_compiler(stage, script: str) -> str:
    """A copy of the shell under test with an agentshctl beside it that does this; a workspace that needs it."""
    os.makedirs(f"{stage.work}/own/bin", exist_ok=True)
    shutil.copy(os.path.realpath(stage.shell), f"{stage.work}/own/bin/bash")
    stage.file("own/bin/agentshctl", script, 0o755)
    stage.file(".agentsh.yaml", f"version: 1\n# {time.time_ns()}\n")
    return f"{stage.work}/own/bin/bash"


_HANGS = "#!/bin/sh\necho $$ >>@DIR@/state/compilers\nexec sleep 300\n"


def _compilers(stage) -> list[int]:
    try:
        with open(f"{stage.folder}/state/compilers", encoding="ascii") as file:
            return [int(pid) for pid in file.read().split()]
    except FileNotFoundError:
        return []


def _end(stage) -> None:
    for pid in _compilers(stage):
        if alive(pid):
            os.kill(pid, 9)


@scene("A policy compiler that hangs keeps nobody waiting, and holds none of the caller's files", needs="shell",
       started=True, **{label: value for label, value in works().items() if not label.startswith(("signal", "script"))})
def _hangs(stage):
    program = _beside_a_compiler(stage, _HANGS)
    # `run` reads to the end of both pipes: a compiler that held one would be seen as a hang.
    for form, args, data in (("command", ("-c", PROBE), b""), ("in_place", ("-mc", PROBE), b""), ("stdin", ("-s",), PROBE.encode())):
        done = stage.run(*args, input=data, program=program)
        stage.note(**{f"{form}_out": done.out, f"{form}_err": done.err, f"{form}_status": done.status})
    stage.note(started=bool(stage.until(lambda: _compilers(stage), "the compiler starts")))
    _end(stage)


@scene("A policy compiler that hangs is nobody's child: a shell done in place waits for its own alone", needs="shell",
       out=b"127\n", started=True)
def _no_child(stage):
    program = _beside_a_compiler(stage, _HANGS)
    # In place, job control: `wait` of a stranger would tell; so does /proc.
    done = stage.run("-mc", 'read -r below </proc/$$/task/$$/children; for c in $below; do echo child $c; done; wait -n; echo $?', program=program)
    stage.note(out=done.out, started=bool(stage.until(lambda: _compilers(stage), "the compiler starts")))
    _end(stage)


@scene("A policy compiler that hangs ends by itself after a while", needs="shell", gone=True)
def _ends(stage):
    program = _beside_a_compiler(stage, _HANGS)
    stage.run("-c", "true", program=program)
    pids = stage.until(lambda: _compilers(stage), "the compiler starts")
    for pid in pids:
        stage.until_gone(pid)
    stage.note(gone=True)


for _name, _script in (("fails", "#!/bin/sh\nexit 3\n"), ("is killed", "#!/bin/sh\nkill -9 $$\n"), ("isn't a program", "garbage"),
                       ("writes a lot", "#!/bin/sh\nhead -c 1000000 /dev/zero\nhead -c 1000000 /dev/zero >&2\n")):
    @scene(f"A policy compiler that {_name} is no hindrance", needs="shell", **PROBE_SEEN)
    def _bad_compiler(stage, script=_script):
        done = stage.run("-c", PROBE, program=_beside_a_compiler(stage, script))
        stage.note(out=done.out, err=done.err, status=done.status)


@scene("A policy that is swapped all the time during use", wrong=[])
def _swapped(stage):
    path = stage.file(".agentsh.yaml", "version: 1\n")
    contents = (b"version: 1\n", b"garbage: [", b"", b"version: 1\nclasses: {test: {memory_max: 1G}}\n", os.urandom(4000))
    stop = threading.Event()

    def swap() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            temporary = f"{stage.folder}/state/new"
            with open(temporary, "wb") as file:
                file.write(contents[number % len(contents)])
            os.rename(temporary, path)
            if number % 7 == 0:
                os.unlink(path)
            time.sleep(0.0005)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        done = [stage.run("-c", PROBE, env={"AGENTSH_POLICY": path if n % 2 else None}) for n in range(30)]
    finally:
        stop.set()
        thread.join()
    stage.note(wrong=[(d.out, d.err, d.status) for d in done if (d.out, d.err, d.status) != tuple(PROBE_SEEN.values())])
