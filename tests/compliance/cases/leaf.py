"""Table B of the contract: which invocations get a leaf, and that everything of a call is in it. Only in a session."""

import os
import re
import signal

from suite.case import scene
from suite.stage import PIPE

SHOW = "sed -n s/^0:://p /proc/self/cgroup"
CLASSES = ("explore", "git", "edit", "run", "test", "build", "install", "other")
IN_LEAF = re.compile(rf"/case-\d+/calls/({'|'.join(CLASSES)})-\d+$")
LEAF = "leaf shell"


def _place(line: bytes) -> str:
    """`agent`, or the class of the leaf that a cgroup's path names."""
    path = line.decode().strip()
    found = IN_LEAF.search(path)
    return found[1] if found else path.rpartition("/")[2]


def _runs_in(name: str, *args: str, place: str, **options) -> None:
    @scene(name, LEAF, place=place, status="exit 0")
    def _play(stage):
        done = stage.run(*args, **options)
        stage.note(place=_place(done.out), status=done.status)


_runs_in("A command runs in a leaf of its class", "-c", SHOW, place="explore")
_runs_in("A login command runs in a leaf", "-lc", SHOW, place="explore", env={"HOME": "/nonexistent"})
_runs_in("A command under exec runs in a leaf", "-c", f"exec {SHOW}", place="explore")
_runs_in("A script runs in a leaf", "./s", files={"s": SHOW + "\n"}, place="run")
_runs_in("A command of a shell within the call runs in the call's leaf", "-c", f"bash -c '{SHOW}; true'; true", place="explore")
_runs_in("A script within the call runs in the call's leaf", "-c", "./s; true", files={"s": "#!@BIN@/bash\n" + SHOW + "\n"}, place="run")
_runs_in("A background command of the call runs in the call's leaf", "-c", f"{SHOW} & wait", place="explore")
_runs_in("A command under setsid runs in the call's leaf", "-c", f"setsid -w {SHOW}; true", place="explore")
_runs_in("Commands on standard input get no leaf", input=SHOW.encode() + b"\n", place="agent")
_runs_in("A command with -i gets no leaf", "--norc", "-ic", SHOW, place="agent")
_runs_in("With AGENTSH_OFF=1 a command gets no leaf", "-c", SHOW, place="agent", env={"AGENTSH_OFF": "1"})


@scene("The launcher stays in the agent's place, the shell is in the leaf", LEAF, launcher="agent", shell=True)
def _launcher(stage):
    shell = stage.start("-c", "echo $$; read a", stdin=PIPE)
    own = int(shell.read_line())
    places = []
    for pid in (shell.pid, own):
        with open(f"/proc/{pid}/cgroup", "rb") as file:
            places.append(next(_place(line) for line in file if line.startswith(b"0::")))
    shell.finish(b"\n")
    stage.note(launcher=places[0], shell=places[1] in CLASSES)


@scene("Within a call a nested shell is no further process: its parent is the shell that started it", LEAF, same=True)
def _nested(stage):
    done = stage.run("-c", "echo $$; bash -c 'echo $PPID'; true")
    outer, parent = map(int, done.out.split())
    stage.note(same=outer == parent)


@scene("An exec of the shell within a call keeps the process", LEAF, same=True)
def _exec_keeps(stage):
    first, second = stage.run("-c", "echo $$; exec bash -c 'echo $$; true'").out.split()
    stage.note(same=first == second)


@scene("What outlives a call stays in the call's leaf", LEAF, leaf=True)
def _survivor(stage):
    shell = stage.start("-c", "sleep 100 >/dev/null 2>&1 & echo $!")
    pid = int(shell.read_line())
    shell.wait()
    with open(f"/proc/{pid}/cgroup", "rb") as file:
        stage.note(leaf=next(_place(line) for line in file if line.startswith(b"0::")) in CLASSES)
    os.kill(pid, signal.SIGKILL)


@scene("Two calls at once are in two leaves", LEAF, different=True)
def _two(stage):
    shells = [stage.start("-c", f"{SHOW}; read a", stdin=PIPE) for _ in range(2)]
    leaves = {shell.read_line() for shell in shells}
    for shell in shells:
        shell.finish(b"\n")
    stage.note(different=len(leaves) == 2)
