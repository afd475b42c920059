"""Table A of the contract: the closed list of what may differ from plain bash, each entry pinned down.

Either(plain, agentsh) holds what must be seen of the one and of the other.
"""

import os
import resource
import signal

from suite.case import Either, scene
from suite.process import alive, children_of, descendants_of
from suite.stage import PIPE


@scene("Permitted: PPID is the launcher, which is what the caller knows", parent=Either("the caller", "the pid the caller knows"))
def _parent(stage):
    shell = stage.start("-c", "echo $PPID")
    done = shell.finish()
    stage.note(parent={os.getpid(): "the caller", shell.pid: "the pid the caller knows"}.get(int(done.out), "someone else"))


@scene("Permitted: there is one more process, and only one", processes=Either(1, 2))
def _one_more(stage):
    shell = stage.start("-c", "echo ready; read a", stdin=PIPE)
    shell.read_line()
    stage.note(processes=1 + len(descendants_of(shell.pid)))
    shell.finish(b"\n")


@scene("Permitted: the shell is a member and not the leader of a group that its caller made for it",
       group=Either("the shell's", "the pid the caller knows"), session=Either("the shell's", "the pid the caller knows"))
def _member(stage):
    shell = stage.start("-c", "echo $$ $(ps -o pgid=,sid= -p $$)", before=lambda _: os.setsid())
    own, group, session = map(int, shell.finish().out.split())
    whose = {own: "the shell's"} if own == shell.pid else {shell.pid: "the pid the caller knows"}
    stage.note(group=whose.get(group, "someone else's"), session=whose.get(session, "someone else's"))


@scene("Permitted: `kill -- -$$` finds no group of that number", status=Either("killed by SIGTERM", "exit 1"), complains=Either(False, True))
def _kill_own_group(stage):
    done = stage.run("-c", "kill -- -$$", before=lambda _: os.setsid())
    stage.note(status=done.status, complains=done.err.endswith(b"No such process\n"))


@scene("Permitted: a process that replaces the shell may make a session", stdout=Either(b"EPERM\n", b"made\n"))
def _setsid_succeeds(stage):
    program = "import os\ntry:\n os.setsid(); print('made')\nexcept PermissionError: print('EPERM')"
    stage.note(stdout=stage.run("-c", f'exec python3 -c "{program}"', before=lambda _: os.setsid()).out)


@scene("Permitted: a trap of a signal to the group may run twice, never more, never not at all", times=Either(["once"], ["once", "twice"]))
def _trap_twice(stage):
    shell = stage.start("-c", "trap 'echo term' TERM; echo ready; while [ ! -e done ]; do /bin/sleep 0.02; done", before=lambda _: os.setpgid(0, 0))
    shell.read_line()
    shell.kill_group(signal.SIGTERM)
    shell.read_line()
    stage.file("done", "")
    more = shell.finish().out.count(b"term\n")
    seen = ["once", "twice"][more] if more < 2 else f"{1 + more} times"
    stage.note(times=["once", "twice"] if stage.agentsh and seen in ("once", "twice") else [seen])


@scene("Without a trap a signal to the group is taken once: what ends the command ends it at once", status="killed by SIGTERM", stdout=b"ready\n")
def _no_trap_once(stage):
    shell = stage.start("-c", "echo ready; while :; do /bin/sleep 0.02; done", before=lambda _: os.setpgid(0, 0))
    shell.read_line()
    shell.kill_group(signal.SIGTERM)
    done = shell.finish()
    stage.note(status=done.status, stdout=b"ready\n" + done.out)


@scene("A child that handles a signal to the group gets it once", times=1, status="exit 0")
def _child_once(stage):
    shell = stage.start("-c", "trap '' TERM; perl -e '$SIG{TERM} = sub { $n++ }; $| = 1; print qq(ready\\n); select undef, undef, undef, 0.02 until -e q(done); print $n' & wait $!",
                        before=lambda _: os.setpgid(0, 0))
    shell.read_line()
    shell.kill_group(signal.SIGTERM)
    stage.file("done", "")
    done = shell.finish()
    stage.note(times=int(done.out or b"0"), status=done.status)


@scene("Permitted: SIGSTOP to the pid alone stops the launcher, and the shell goes on", events=["stopped by SIGSTOP", "continued", "exit 0"], goes_on=Either(False, True))
def _stop_pid(stage):
    shell = stage.start("-c", "echo ready; while [ ! -e done ]; do echo >>ticks; /bin/sleep 0.01; done")
    shell.read_line()
    shell.kill(signal.SIGSTOP)
    events = [shell.wait_event()]
    size = os.path.getsize("ticks") if os.path.exists("ticks") else 0
    if stage.agentsh:
        stage.until(lambda: os.path.exists("ticks") and os.path.getsize("ticks") > size + 3, "the shell goes on")
        goes_on = True
    else:
        with open(f"/proc/{shell.pid}/stat", encoding="ascii") as file:
            goes_on = file.read().rpartition(")")[2].split()[0] != "T"
    shell.kill(signal.SIGCONT)
    events.append(shell.wait_event())
    stage.file("done", "")
    stage.note(events=[*events, shell.wait()], goes_on=goes_on)


@scene("Permitted: SIGKILL to the pid ends the shell by way of the launcher, and not its children, as in plain bash", status="killed by SIGKILL", child_lives=True)
def _kill_pid(stage):
    shell = stage.start("-c", "/bin/sleep 100 & echo $$ $!; while :; do /bin/sleep 0.02; done")
    own, child = map(int, shell.read_line().split())
    shell.kill(signal.SIGKILL)
    status = shell.wait()
    stage.until_gone(own)
    stage.note(status=status, child_lives=alive(child))
    os.kill(child, signal.SIGKILL)


@scene("Permitted: a core that is dumped is the shell's, and the pid the caller knows shows none", core=Either(True, False), status="killed by SIGSEGV")
def _core(stage):
    def before(_):
        hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))

    done = stage.run("-c", "kill -SEGV $$", before=before)
    stage.note(core=os.WCOREDUMP(done.wait_status), status=done.status)


@scene("Permitted: /proc/PID/exe of the pid the caller knows is the launcher's; its cmdline is what the caller gave",
       executable=Either("real bash", "the launcher"), cmdline=b"-odd name\0-c\0echo ready; read a\0zero\0\xff\xfe\0")
def _executable(stage):
    shell = stage.start("-c", "echo ready; read a", "zero", b"\xff\xfe", argv0="-odd name", stdin=PIPE, env={"HOME": "/nonexistent"})
    shell.read_line()
    executable = os.readlink(f"/proc/{shell.pid}/exe")
    with open(f"/proc/{shell.pid}/cmdline", "rb") as file:
        stage.note(executable="real bash" if executable == os.path.realpath("/bin/bash") else "the launcher", cmdline=file.read())
    shell.finish(b"\n")


@scene("Permitted: as PID 1 the launcher comes first and the shell second", needs="root", stdout=Either(b"1\n", b"2\n"), status="exit 0", stderr=b"")
def _pid_one(stage):
    stage.note_outcome(stage.run("--pid", "--fork", "--mount-proc", "@BIN@/bash", "-c", "echo $$", program="/usr/bin/unshare", argv0="unshare"))


@scene("The launcher is gone when the call is: no process of ours stays behind", left=[])
def _none_left(stage):
    stage.run("-c", "true")
    stage.note(left=children_of(os.getpid()))
