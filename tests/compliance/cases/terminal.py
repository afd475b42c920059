"""Job control on a terminal: keys, stops, foreground and background, hang-up."""

import fcntl
import os
import signal
import struct
import termios

from suite.case import scene
from suite.process import alive
from suite.terminal import Terminal

CTRL_C, CTRL_Z, CTRL_BACKSLASH, CTRL_D = b"\x03", b"\x1a", b"\x1c", b"\x04"


def _job(stage, *args, **options):
    """A job of the case's, which is the terminal's leader, as a job-control shell would start it."""
    terminal = Terminal(stage)
    terminal.lead()
    return terminal, terminal.start(*args, **options)


@scene("Ctrl-C ends a command with SIGINT", status="killed by SIGINT")
def _ctrl_c(stage):
    terminal, shell = _job(stage, "-c", "echo ready; read a; echo on")
    terminal.expect(b"ready\r\n")
    terminal.type(CTRL_C)
    stage.note(status=shell.wait())


@scene("Ctrl-C ends a command whose child dies of it, with SIGINT", status="killed by SIGINT", rest=b"")
def _ctrl_c_child(stage):
    terminal, shell = _job(stage, "-c", "perl -e '$| = 1; print qq(ready\\n); sleep 100'; echo on")
    terminal.expect(b"ready\r\n")
    terminal.type(CTRL_C)
    stage.note(status=shell.wait(), rest=terminal.rest())


@scene("Ctrl-C that a child handles lets the command go on", shown=b"caught\r\non 3\r\n", status="exit 0")
def _ctrl_c_handled(stage):
    terminal, shell = _job(stage, "-c", "perl -e '$SIG{INT} = sub { print qq(caught\\n); exit 3 }; $| = 1; print getppid, qq(\\n); sleep 100'; echo on $?")
    stage.until_waiting(int(terminal.expect(b"\r\n")))
    terminal.type(CTRL_C)
    shown = terminal.expect(b"on 3\r\n")
    stage.note(shown=shown, status=shell.wait())


@scene("Ctrl-C runs a trap once", shown=b"int\r\n", rest=b"", status="exit 9")
def _ctrl_c_trap(stage):
    terminal, shell = _job(stage, "-c", "trap 'echo int; stop=1' INT; echo ready; while [ -z \"$stop\" ]; do /bin/sleep 0.02; done; exit 9")
    terminal.expect(b"ready\r\n")
    terminal.type(CTRL_C)
    shown = terminal.expect(b"int\r\n")
    stage.note(shown=shown, status=shell.wait(), rest=terminal.rest())


@scene("Ctrl-\\ reaches the child; the shell reports its core or quit", status="exit 131")
def _quit(stage):
    terminal, shell = _job(stage, "-c", "ulimit -c 0; perl -e '$| = 1; print qq(ready\\n); sleep 100'; exit $?")
    terminal.expect(b"ready\r\n")
    terminal.type(CTRL_BACKSLASH)
    stage.note(status=shell.wait())


@scene("Ctrl-Z stops a command, and it goes on in the foreground", events=["stopped by SIGTSTP", "continued", "exit 4"], shown=b"got hello\r\n")
def _ctrl_z(stage):
    terminal, shell = _job(stage, "-c", "echo ready; read a; echo got $a; exit 4")
    terminal.expect(b"ready\r\n")
    events = terminal.stop_and_continue(shell)
    terminal.type(b"hello\n")
    shown = terminal.expect(b"got hello\r\n")
    stage.note(events=[*events, shell.wait()], shown=shown)


@scene("Ctrl-Z stops the command's child too", events=["stopped by SIGTSTP", "continued", "exit 0"], shown=b"child got hello\r\nafter\r\n")
def _ctrl_z_child(stage):
    terminal, shell = _job(stage, "-c", "/bin/sh -c 'echo ready; read a; echo child got $a'; echo after")
    terminal.expect(b"ready\r\n")
    events = terminal.stop_and_continue(shell)
    terminal.type(b"hello\n")
    shown = terminal.expect(b"after\r\n")
    stage.note(events=[*events, shell.wait()], shown=shown)


@scene("Ctrl-Z five times over, each time back to the foreground", events=["stopped by SIGTSTP", "continued"] * 5, status="exit 0")
def _ctrl_z_often(stage):
    terminal, shell = _job(stage, "-c", "echo ready; read a; exit 0")
    terminal.expect(b"ready\r\n")
    events = []
    for _ in range(5):
        terminal.type(CTRL_Z)
        events.append(shell.wait_event())
        terminal.take_back()
        terminal.give(shell.pid)
        shell.kill_group(signal.SIGCONT)
        events.append(shell.wait_event())
    terminal.type(b"\n")
    stage.note(events=events, status=shell.wait())


@scene("A stopped command goes on in the background, and stops when it reads", events=["stopped by SIGTSTP", "stopped by SIGTTIN", "continued", "exit 0"])
def _background_read(stage):
    terminal, shell = _job(stage, "-c", "echo ready; head -1 >/dev/null; exit 0")
    terminal.expect(b"ready\r\n")
    terminal.type(CTRL_Z)
    events = [shell.wait_event()]
    terminal.take_back()
    shell.kill_group(signal.SIGCONT)
    # It may stop again before anybody asks whether it went on.
    while (event := shell.wait_event()) == "continued":
        pass
    events.append(event)
    terminal.give(shell.pid)
    shell.kill_group(signal.SIGCONT)
    events.append(shell.wait_event())
    terminal.type(b"line\n")
    stage.note(events=[*events, shell.wait()])


@scene("A command in the background may write to the terminal", shown=b"from behind\r\n", status="exit 0")
def _background_write(stage):
    terminal = Terminal(stage)
    terminal.lead()
    shell = terminal.start("-c", "echo from behind", foreground=False)
    stage.note(shown=terminal.expect(b"from behind\r\n"), status=shell.wait())


def _with_tostop(stage):
    terminal = Terminal(stage)
    terminal.lead()
    modes = termios.tcgetattr(terminal.slave)
    modes[3] |= termios.TOSTOP
    termios.tcsetattr(terminal.slave, termios.TCSANOW, modes)
    return terminal


@scene("With TOSTOP a command in the background stops when it writes", events=["stopped by SIGTTOU", "continued", "exit 0"], shown=b"from behind\r\n")
def _tostop(stage):
    terminal = _with_tostop(stage)
    shell = terminal.start("-c", "/bin/echo from behind; read a; exit 0", foreground=False)
    events = [shell.wait_event()]
    terminal.give(shell.pid)
    shell.kill_group(signal.SIGCONT)
    events.append(shell.wait_event())
    shown = terminal.expect(b"from behind\r\n")
    terminal.type(b"\n")
    stage.note(events=[*events, shell.wait()], shown=shown)


@scene("With TOSTOP a silent command in the background ends undisturbed", status="exit 3")
def _tostop_silent(stage):
    terminal = _with_tostop(stage)
    stage.note(status=terminal.start("-c", "true; exit 3", foreground=False).wait())


@scene("A hang-up ends a command that owns the terminal with SIGHUP", status="killed by SIGHUP")
def _hang_up(stage):
    terminal = Terminal(stage)
    shell = terminal.start("-c", "echo ready; while :; do /bin/sleep 0.02; done", leader=True)
    terminal.expect(b"ready\r\n")
    terminal.hang_up()
    stage.note(status=shell.wait())


@scene("A hang-up runs the trap of a command that owns the terminal, once", status="exit 6", said="hup\n")
def _hang_up_trap(stage):
    terminal = Terminal(stage)
    shell = terminal.start("-c", "trap 'echo hup >>said; exit 6' HUP; echo ready; while :; do /bin/sleep 0.02; done", leader=True)
    terminal.expect(b"ready\r\n")
    terminal.hang_up()
    status = shell.wait()
    with open("said", encoding="ascii") as file:
        stage.note(status=status, said=file.read())


@scene("A hang-up is survived under nohup", status="exit 0", said="on\n")
def _hang_up_nohup(stage):
    terminal = Terminal(stage)
    stage.fifo("gate")
    shell = terminal.start("-c", "echo ready; read a <gate; echo on >said", leader=True, before=lambda _: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    terminal.expect(b"ready\r\n")
    terminal.hang_up()
    with open("gate", "w", encoding="ascii") as gate:
        gate.write("go\n")
    status = shell.wait()
    with open("said", encoding="ascii") as file:
        stage.note(status=status, said=file.read())


@scene("The controlling terminal and its foreground group are the caller's", tty=True, foreground=True)
def _controlling(stage):
    terminal, shell = _job(stage, "-c", "tty; ps -o tpgid= -p $$; exec sleep 0.01")
    name = terminal.expect(b"\r\n").strip().decode()
    group = int(terminal.expect(b"\r\n"))
    shell.wait()
    stage.note(tty=name == os.ttyname(terminal.slave), foreground=group == shell.pid)


@scene("A change of the window's size is told to the command once", shown=b"30 100\r\n", rest=b"", status="exit 0")
def _window(stage):
    terminal, shell = _job(stage, "-c", "trap 'stty size; stop=1' WINCH; echo ready; while [ -z \"$stop\" ]; do /bin/sleep 0.02; done; exit 0")
    terminal.expect(b"ready\r\n")
    fcntl.ioctl(terminal.master, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    shown = terminal.expect(b"\r\n")
    stage.note(shown=shown, status=shell.wait(), rest=terminal.rest())


@scene("The terminal's modes are left as they were", same=True)
def _modes(stage):
    terminal = Terminal(stage, echo=True)
    terminal.lead()
    before = termios.tcgetattr(terminal.slave)
    terminal.start("-c", "echo a; read -t 0.01 b; true").wait()
    stage.note(same=termios.tcgetattr(terminal.slave) == before)


@scene("The end of file on a terminal ends a read", shown=b"end 1\r\n", status="exit 0")
def _ctrl_d(stage):
    terminal, shell = _job(stage, "-c", "echo ready; read a; echo end $?")
    terminal.expect(b"ready\r\n")
    terminal.type(CTRL_D)
    stage.note(shown=terminal.expect(b"end 1\r\n"), status=shell.wait())


@scene("With -m and -c on a terminal, jobs get groups of their own and the foreground", own=True, status="exit 0")
def _monitor(stage):
    terminal, shell = _job(stage, "-mc", "/bin/sh -c 'echo $$ $(ps -o pgid=,tpgid= -p $$)'; exit 0")
    pid, group, foreground = terminal.expect(b"\r\n").split()
    stage.note(own=pid == group == foreground, status=shell.wait())


def _interactive(stage, *more, **options):
    """An interactive shell that owns the terminal; its prompt is a dollar sign."""
    terminal = Terminal(stage)
    env = {"PS1": "$ ", "PS2": "> ", "TERM": "dumb", "HISTFILE": None, "INPUTRC": "/dev/null"}
    shell = terminal.start("--norc", "--noprofile", "--noediting", "-i", *more, leader=True, env=env, **options)
    terminal.expect(b"$ ")
    return terminal, shell


def _line(terminal, text: bytes) -> bytes:
    """What an interactive shell shows for a line, up to its next prompt."""
    terminal.type(text + b"\n")
    return terminal.expect(b"$ ")


@scene("An interactive shell shows prompts, runs lines and ends with `exit`", shown=[b"a\r\n$ ", b"himBHs\r\n$ ", b"> "], status="exit 3")
def _prompts(stage):
    terminal, shell = _interactive(stage)
    shown = [_line(terminal, b"echo a"), _line(terminal, b"echo $-")]
    terminal.type(b"if true\n")
    shown.append(terminal.expect(b"> "))
    terminal.type(b"then exit 3; fi\n")
    stage.note(shown=shown, status=shell.wait())


@scene("Ctrl-C at an interactive prompt gives a new prompt", shown=[b"\r\n$ ", b"130\r\n$ "], status="exit 130")
def _prompt_ctrl_c(stage):
    terminal, shell = _interactive(stage)
    terminal.type(b"some text" + CTRL_C)
    shown = [terminal.expect(b"$ ")[-4:], _line(terminal, b"echo $?")]
    terminal.type(b"exit 130\n")
    stage.note(shown=shown, status=shell.wait())


@scene("In an interactive shell Ctrl-Z, jobs, bg, fg and Ctrl-C do what they should",
       shown=[b"\r\n[1]+  Stopped                 cat\r\n$ ", b"[1]+  Stopped                 cat\r\n$ ", b"cat\r\nline\r\n", b"\r\n$ ", b"130\r\n$ "], status="exit 0")
def _interactive_jobs(stage):
    terminal, shell = _interactive(stage)
    terminal.type(b"cat\n")
    stage.until(lambda: terminal.foreground() != shell.pid, "cat gets the foreground")
    terminal.type(b"x\n")
    terminal.expect(b"x\r\n")
    terminal.type(CTRL_Z)
    shown = [terminal.expect(b"$ "), _line(terminal, b"jobs")]
    terminal.type(b"fg\n")
    first = terminal.expect(b"cat\r\n")
    terminal.type(b"line\n")
    shown.append(first + terminal.expect(b"line\r\n"))
    terminal.type(CTRL_C)
    shown += [terminal.expect(b"$ "), _line(terminal, b"echo $?")]
    terminal.type(b"exit 0\n")
    stage.note(shown=shown, status=shell.wait())


@scene("A call of the shell is a job of an interactive bash: Ctrl-Z, fg and Ctrl-C work on it",
       shown=[b"\r\n[1]+  Stopped                 @BIN@/bash -c 'echo ready; read a; echo got $a; read a'\r\n$ ", b"got hello\r\n", b"\r\n$ ", b"130\r\n$ "])
def _job_of_bash(stage):
    terminal, shell = _interactive(stage, program="/bin/bash")
    terminal.type(f"{stage.shell} -c 'echo ready; read a; echo got $a; read a'\n".encode())
    terminal.expect(b"ready\r\n")
    terminal.type(CTRL_Z)
    shown = [terminal.expect(b"$ ")]
    terminal.type(b"fg\n")
    terminal.expect(b"\r\n")
    terminal.type(b"hello\n")
    shown.append(terminal.expect(b"got hello\r\n"))
    terminal.type(CTRL_C)
    shown += [terminal.expect(b"$ "), _line(terminal, b"echo $?")]
    terminal.type(b"exit 0\n")
    shell.wait()
    stage.note(shown=shown)


@scene("A call of the shell in the background of an interactive bash is reported when it is done", shown=b"[1]+  Done                    @BIN@/bash -c 'read a < gate'")
def _background_job(stage):
    terminal, shell = _interactive(stage, program="/bin/bash")
    stage.fifo("gate")
    _line(terminal, b"set -b")
    _line(terminal, f"{stage.shell} -c 'read a < gate' &".encode())
    with open("gate", "w", encoding="ascii") as gate:
        gate.write("go\n")
    shown = terminal.expect(b"Done") + terminal.expect(b"gate'")
    terminal.type(b"exit\n")
    shell.wait()
    stage.note(shown=shown[shown.index(b"[1]+"):])


@scene("A hang-up ends an interactive shell and its job in the foreground", gone=True, status="killed by SIGHUP")
def _interactive_hang_up(stage):
    terminal, shell = _interactive(stage)
    terminal.type(b"/bin/sh -c 'echo $$; exec sleep 100'\n")
    job = int(terminal.expect(b"\r\n"))
    terminal.hang_up()
    status = shell.wait()
    stage.until_gone(job)
    stage.note(gone=not alive(job), status=status)


@scene("The end of file at an interactive prompt ends the shell", status="exit 0", shown=b"exit\r\n")
def _interactive_end(stage):
    terminal, shell = _interactive(stage)
    terminal.type(CTRL_D)
    stage.note(shown=terminal.expect(b"exit\r\n"), status=shell.wait())


@scene("An interactive login shell logs out", shown=b"logout\r\n", status="exit 0")
def _login(stage):
    terminal, shell = _interactive(stage, "-l")
    terminal.type(CTRL_D)
    stage.note(shown=terminal.expect(b"logout\r\n"), status=shell.wait())


@scene("An interactive shell with a command has job control on a terminal", shown=b"himBHc\r\n", status="exit 0")
def _interactive_command(stage):
    terminal, shell = _job(stage, "--norc", "-ic", "echo $-")
    stage.note(shown=terminal.expect(b"\r\n"), status=shell.wait())


@scene("A persistent shell on a terminal is the process that its caller knows", same=True)
def _persistent(stage):
    terminal, shell = _interactive(stage)
    pid = int(_line(terminal, b"echo $$").split()[0])
    terminal.type(b"exit\n")
    shell.wait()
    stage.note(same=pid == shell.pid)
