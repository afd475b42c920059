"""Signals: ignored, trapped, sent by pid and by group, stops and continuations, the death of the caller."""

import os
import signal

from suite import kernel
from suite.case import command, scene
from suite.process import Process, alive
from suite.stage import PIPE

READY = "echo ready; read a <gate"


def _ignoring(*numbers):
    return lambda _stage: [signal.signal(number, signal.SIG_IGN) for number in numbers]


@scene("A command under nohup survives SIGHUP", stdout=b"survived\n", status="exit 0")
def _nohup(stage):
    shell = _gated(stage, "echo ready; read a <gate; echo survived", before=_ignoring(signal.SIGHUP))
    shell.kill(signal.SIGHUP)
    _open(stage)
    done = shell.finish()
    stage.note(stdout=done.out, status=done.status)


command("The caller's nohup can't be undone by a trap", "trap 'echo trapped' HUP; kill -HUP $$; echo on", before=_ignoring(signal.SIGHUP), out="on\n")
command("SIGTERM that the caller ignores is ignored by the command's children", "sh -c 'kill -TERM $$; echo on'; true", before=_ignoring(signal.SIGTERM), out="on\n")
command("SIGINT that the caller ignores can't be trapped", "trap 'echo trapped' INT; kill -INT $$; echo on", before=_ignoring(signal.SIGINT), out="on\n")
command("SIGINT and SIGQUIT are ignored in a background command", "sh -c 'kill -INT $$; kill -QUIT $$; echo on' & wait; true", out="on\n")
command("SIGPIPE that the caller ignores makes writes fail instead", "yes | true; echo ${PIPESTATUS[0]}", before=_ignoring(signal.SIGPIPE), out="1\n",
        err="yes: standard output: Broken pipe\n")
command("SIGCHLD ignored by the caller does not keep the shell from waiting", "(exit 3); echo $?; (exit 4) & wait $!; echo $?", before=_ignoring(signal.SIGCHLD), out="3\n4\n")
command("SIGCHLD ignored by the caller is ignored by what the shell becomes", "exec sed -n /SigIgn/p /proc/self/status", before=_ignoring(signal.SIGCHLD),
        out="SigIgn:\t0000000000010000\n")
command("SIGCHLD ignored by the caller leaves the exit status as it is", "(exit 3); exit 9", before=_ignoring(signal.SIGCHLD), status=9)
command("SIGCHLD blocked by the caller does not keep the shell from waiting", "(exit 3); exit $?",
        before=lambda _: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD}), status=3)
command("A signal that is blocked and pending at the start stays pending", "sed -n /SigPnd/p /proc/$$/status; sed -n /ShdPnd/p /proc/$$/status",
        before=lambda _: (signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1}), os.kill(os.getpid(), signal.SIGUSR1)),
        out="SigPnd:\t0000000000000000\nShdPnd:\t0000000000000200\n")

command("Traps of TERM, INT, HUP and USR1 run", "for s in TERM INT HUP USR1; do trap \"echo $s\" $s; kill -$s $$; done", out="TERM\nINT\nHUP\nUSR1\n")
command("A trap of CHLD runs for each child", "trap 'echo child' CHLD; sh -c 'exit 0'; sh -c 'exit 0'", out="child\nchild\n")
command("A trap that ignores is passed to children", "trap '' USR1; sh -c 'kill -USR1 $$; echo on'; true", out="on\n")
command("A trap is reset in children", "trap 'echo mine' TERM; (kill -TERM $BASHPID; echo on); echo $?", out="143\n", err="Terminated\n")
command("Trap -p shows what is set", "trap 'echo a' EXIT INT; trap -p INT; trap - EXIT", out="trap -- 'echo a' SIGINT\n")
command("A trap of EXIT runs when a trapped signal exits", "trap 'echo bye' EXIT; trap 'exit 4' TERM; kill $$; echo on", out="bye\n", status=4)
command("A trap of DEBUG and of RETURN run", "trap 'echo d' DEBUG; :; trap - DEBUG; f() { trap 'echo r' RETURN; }; f", out="d\nd\nr\n")
command("kill -l knows the names", "kill -l 9; kill -l TERM; kill -l 143", out="KILL\n15\nTERM\n")
command("A job that the shell kills is waited for", "sleep 100 & kill $!; wait $!; echo $?", out="143\n")


def _gated(stage, text, **options):
    """A shell that has said `ready` and now waits for the gate, by its own doing."""
    stage.fifo("gate")
    shell = stage.start("-c", text, **options)
    if shell.read_line() != b"ready":
        raise AssertionError("the command did not say that it is ready")
    return shell


def _open(stage):
    """Lets the command go on."""
    with open("gate", "w", encoding="ascii") as gate:
        gate.write("go\n")


for _name in ("SIGTERM", "SIGHUP", "SIGINT", "SIGUSR1", "SIGABRT", "SIGKILL", "SIGALRM"):
    @scene(f"{_name} to the pid that the caller knows ends the call with {_name}", status=f"killed by {_name}", stdout=b"")
    def _killed(stage, name=_name):
        shell = _gated(stage, READY)
        shell.kill(getattr(signal, name))
        done = shell.finish()
        stage.note(status=done.status, stdout=done.out)

for _name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGKILL"):
    @scene(f"{_name} to the group ends the call and what it started", status=f"killed by {_name}", child_gone=True)
    def _group_killed(stage, name=_name):
        shell = stage.start("-c", "sleep 100 & echo $!; wait $!; sleep 100", before=lambda _: os.setpgid(0, 0))
        child = int(shell.read_line())
        if name == "SIGINT":  # ignored in the background, as POSIX has it
            os.kill(child, signal.SIGKILL)
        shell.kill_group(getattr(signal, name))
        status = shell.wait()
        stage.until_gone(child)
        stage.note(status=status, child_gone=not alive(child))


@scene("SIGCONT to the pid of a running shell runs its trap, once", stdout=b"cont\nafter\n", status="exit 0")
def _continued_while_running(stage):
    stage.fifo("gate")
    shell = stage.start("-c", "trap 'echo cont' CONT; (echo ready; read a <gate) & wait $!; wait; echo after")
    shell.read_line()
    shell.kill(signal.SIGCONT)
    first = shell.read_line()
    _open(stage)
    done = shell.finish()
    stage.note(stdout=first + b"\n" + done.out, status=done.status)


@scene("SIGTERM to the pid ends the shell and leaves its child alone", status="killed by SIGTERM", child_lives=True)
def _child_survives(stage):
    shell = stage.start("-c", "sleep 100 & echo $!; wait; true")
    child = int(shell.read_line())
    shell.kill(signal.SIGTERM)
    status = shell.wait()
    stage.note(status=status, child_lives=alive(child))
    os.kill(child, signal.SIGKILL)


@scene("SIGINT to the pid while a child runs is taken as bash takes it", stdout=b"after 0\n", status="exit 0")
def _interrupt_while_waiting(stage):
    stage.fifo("gate")
    shell = stage.start("-c", "perl -e '$| = 1; print getppid, qq(\\n); open F, q(gate); <F>'; echo after $?")
    stage.until_waiting(int(shell.read_line()))
    shell.kill(signal.SIGINT)
    _open(stage)
    done = shell.finish()
    stage.note(stdout=done.out, status=done.status)


for _how in ("pid", "group"):
    @scene(f"A trap of TERM sent to the {_how} runs at once in a waiting shell, and the shell goes on", first=b"term", rest=b"after\n", status="exit 7")
    def _trap_while_waiting(stage, how=_how):
        stage.fifo("gate")
        shell = stage.start("-c", "trap 'echo term; trap : TERM' TERM; (trap '' TERM; echo ready; read a <gate) & wait $!; wait; echo after; exit 7",
                            before=lambda _: os.setpgid(0, 0))
        shell.read_line()
        (shell.kill if how == "pid" else shell.kill_group)(signal.SIGTERM)
        first = shell.read_line()
        _open(stage)
        done = shell.finish()
        stage.note(first=first, rest=done.out, status=done.status)


@scene("Each of many signals to the pid reaches the trap", count=[b"1", b"2", b"3", b"4", b"5"])
def _many_signals(stage):
    shell = stage.start("-c", "n=0; trap 'echo $((++n))' USR1; echo ready; while ((n < 5)); do sleep 0.01; done")
    shell.read_line()
    count = []
    for _ in range(5):
        shell.kill(signal.SIGUSR1)
        count.append(shell.read_line())
    stage.note(count=count)
    shell.finish()


@scene("A trap of USR1 sent by the command's own child runs once", stdout=b"usr1\nafter\n")
def _from_child(stage):
    stage.note(stdout=stage.run("-c", "trap 'echo usr1' USR1; /bin/sh -c 'kill -USR1 $PPID'; echo after").out)


@scene("`kill 0` in the command reaches its trap once", stdout=b"term\nafter\n", status="exit 0")
def _kill_zero(stage):
    done = stage.run("-c", "trap 'echo term' TERM; kill 0; echo after", before=lambda _: os.setpgid(0, 0))
    stage.note(stdout=done.out, status=done.status)


@scene("`kill 0` without a trap ends the whole call", status="killed by SIGTERM", stdout=b"")
def _kill_zero_plain(stage):
    done = stage.run("-c", "sleep 100 | sleep 100 & kill 0; sleep 100; echo on", before=lambda _: os.setpgid(0, 0))
    stage.note(status=done.status, stdout=done.out)


@scene("A queued signal brings its value to a trap's sender-aware program", stdout=b"-1 77\n", status="exit 0")
def _queued(stage):
    wait = "import signal, sys; signal.pthread_sigmask(0, {10}); print('ready', flush=True); i = signal.sigwaitinfo({10}); print(i.si_code, 77)"
    # The mask comes from the caller: a signal that arrived before Python blocks it would end the command.
    shell = stage.start("-c", f'exec python3 -c "{wait}"', before=lambda _: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1}))
    shell.read_line()
    kernel.queue(shell.pid, signal.SIGUSR1, 77)
    done = shell.finish()
    stage.note(stdout=done.out, status=done.status)


@scene("A stop of the command is seen by the caller, and so is its going on", events=["stopped by SIGSTOP", "continued", "exit 5"], stdout=b"before\nafter\n")
def _stopped(stage):
    shell = stage.start("-c", "echo before; kill -STOP $$; echo after; read a; exit 5", stdin=PIPE)
    events = [shell.wait_event()]
    shell.kill(signal.SIGCONT)
    events.append(shell.wait_event())
    done = shell.finish(b"\n")
    stage.note(events=[*events, done.status], stdout=done.out)


for _name in ("SIGTSTP", "SIGTTIN", "SIGTTOU"):
    @scene(f"{_name} to the pid stops the command until it is continued", events=[f"stopped by {_name}", "continued", "exit 0"], stdout=b"went on\n")
    def _stopped_by(stage, name=_name):
        shell = _gated(stage, "echo ready; read a <gate; echo went on", before=lambda _: os.setpgid(0, 0))
        shell.kill(getattr(signal, name))
        events = [shell.wait_event()]
        shell.kill(signal.SIGCONT)
        events.append(shell.wait_event())
        _open(stage)
        done = shell.finish()
        stage.note(events=[*events, done.status], stdout=done.out)


@scene("SIGTSTP in an orphaned group is ignored, as the kernel has it", stdout=b"went on\n", status="exit 0")
def _orphaned_group(stage):
    shell = _gated(stage, "echo ready; read a <gate; echo went on", before=lambda _: os.setsid())
    shell.kill(signal.SIGTSTP)
    _open(stage)
    done = shell.finish()
    stage.note(stdout=done.out, status=done.status)


@scene("SIGSTOP to the group stops the command until the group is continued", events=["stopped by SIGSTOP", "continued", "exit 0"], stdout=b"went on\n")
def _group_stopped(stage):
    shell = _gated(stage, "echo ready; read a <gate; echo went on", before=lambda _: os.setpgid(0, 0))
    shell.kill_group(signal.SIGSTOP)
    events = [shell.wait_event()]
    shell.kill_group(signal.SIGCONT)
    events.append(shell.wait_event())
    _open(stage)
    done = shell.finish()
    stage.note(events=[*events, done.status], stdout=done.out)


@scene("Stopping and continuing ten times over loses nothing", events=["stopped by SIGTSTP", "continued"] * 10, status="exit 0")
def _stopped_often(stage):
    shell = _gated(stage, READY, before=lambda _: os.setpgid(0, 0))
    events = []
    for _ in range(10):
        shell.kill_group(signal.SIGTSTP)
        events.append(shell.wait_event())
        shell.kill_group(signal.SIGCONT)
        events.append(shell.wait_event())
    _open(stage)
    stage.note(events=events, status=shell.finish().status)


@scene("A command that stops itself and that its own child continues goes on", events=["stopped by SIGSTOP", "continued", "exit 3"], stdout=b"on\n")
def _continued_from_within(stage):
    stage.fifo("gate")
    shell = stage.start("-c", "(sleep 0.3; kill -CONT $$) & kill -STOP $$; wait; echo on; read a <gate; exit 3")
    events = [shell.wait_event(), shell.wait_event()]
    _open(stage)
    done = shell.finish()
    stage.note(events=[*events, done.status], stdout=done.out)


@scene("A stopped command can be killed", events=["stopped by SIGTSTP", "killed by SIGKILL"])
def _stopped_killed(stage):
    shell = _gated(stage, READY, before=lambda _: os.setpgid(0, 0))
    shell.kill_group(signal.SIGTSTP)
    events = [shell.wait_event()]
    shell.kill_group(signal.SIGKILL)
    stage.note(events=[*events, shell.finish().status])


@scene("A stopped command gets its SIGTERM when it is continued", events=["stopped by SIGTSTP", "killed by SIGTERM"])
def _stopped_terminated(stage):
    shell = _gated(stage, READY, before=lambda _: os.setpgid(0, 0))
    shell.kill_group(signal.SIGTSTP)
    events = [shell.wait_event(os.WUNTRACED)]
    shell.kill_group(signal.SIGTERM)
    shell.kill_group(signal.SIGCONT)
    stage.note(events=[*events, shell.wait()])


@scene("A command that waits for a stopped child waits on", stdout=b"child\nafter\n", status="exit 0")
def _child_stopped(stage):
    shell = stage.start("-c", "/bin/sh -c 'echo $$; kill -STOP $$; echo child'; echo after")
    child = int(shell.read_line())
    stage.until(lambda: _state(child) == "T", "the child stops")
    os.kill(child, signal.SIGCONT)
    done = shell.finish()
    stage.note(stdout=done.out, status=done.status)


def _state(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return file.read().rpartition(")")[2].split()[0]


def _dying_caller(stage, text, number):
    """A caller between us and the shell that asks for a signal at its death, and dies."""
    stage.fifo("gate")
    reader, writer = os.pipe()
    caller = os.fork()
    if caller == 0:
        shell = stage.start("-c", text, stdout=writer, before=lambda _: kernel.prctl(kernel.PR_SET_PDEATHSIG, number))
        os.read(os.open("gate", os.O_RDONLY), 10)
        os.kill(os.getpid(), signal.SIGKILL)
        del shell
    os.close(writer)
    return caller, reader


@scene("The signal that the caller wants sent at its death arrives", said=b"ready\nterm\n")
def _death_signal(stage):
    caller, reader = _dying_caller(stage, "trap 'echo term; exit' TERM; echo ready; while :; do sleep 0.02; done", signal.SIGTERM)
    said = _read(stage, reader, b"ready\n")
    _open(stage)
    os.waitpid(caller, 0)
    stage.note(said=said + _read(stage, reader, b"term\n"))


@scene("SIGKILL at the caller's death ends the shell", ended=b"ready\n")
def _death_kill(stage):
    caller, reader = _dying_caller(stage, "echo ready; while :; do sleep 0.02; done", signal.SIGKILL)
    said = _read(stage, reader, b"ready\n")
    _open(stage)
    os.waitpid(caller, 0)
    stage.note(ended=said + _read(stage, reader, b"never"))


def _read(stage, fd, until):
    return Process(0, stage.guard, None, fd, None).read_until(until)


@scene("Without a wish of the caller's, the shell survives its death", said=b"ready\non\n")
def _orphaned(stage):
    stage.fifo("second")
    caller, reader = _dying_caller(stage, "echo ready; read a <second; echo on", 0)
    said = _read(stage, reader, b"ready\n")
    _open(stage)
    os.waitpid(caller, 0)
    with open("second", "w", encoding="ascii") as gate:
        gate.write("go\n")
    stage.note(said=said + _read(stage, reader, b"on\n"))
