"""A shell that becomes its last command, one that leaves the process group that it led: `timeout`, `setsid`."""

import os
import signal
import time

from suite.case import scene
from suite.process import alive
from suite.terminal import Terminal

CTRL_C = b"\x03"
# So long after its start it is clear what a shell has become: there is nothing that would tell a test when.
SETTLED = 1.0


def _open(stage):
    """Lets the command go on."""
    with open(f"{stage.work}/gate", "w", encoding="ascii") as gate:
        gate.write("go\n")


def _job(stage, *args):
    """A job of the case's, which is the terminal's leader, as a job-control shell would start it."""
    terminal = Terminal(stage)
    terminal.lead()
    return terminal, terminal.start(*args)


for _name in ("SIGTERM", "SIGINT"):
    @scene(f"{_name} to the group ends a shell that has become `timeout`, and what that runs", by_it=True, child_gone=True)
    def _becomes_timeout(stage, name=_name, number=getattr(signal, _name)):
        shell = stage.start("-c", "timeout 100 /bin/sh -c 'echo $$; exec sleep 100'", before=lambda _: os.setpgid(0, 0))
        pid = int(shell.read_line())
        shell.kill_group(number)
        status = shell.wait()
        stage.until_gone(pid)
        # timeout ends by the signal or says so, as it comes.
        stage.note(by_it=status in (f"killed by {name}", f"exit {128 + number}"), child_gone=not alive(pid))


def _become_timeout(stage, text: str):
    return stage.start("-c", f"timeout 100 /bin/sh -c '{text}'", before=lambda _: os.setpgid(0, 0))


for _how in ("group", "pid"):
    @scene(f"SIGKILL to the {_how} of a shell that has become `timeout` ends what a kill of bash's would end", status="killed by SIGKILL", child_lives=_how == "pid")
    def _killed_timeout(stage, how=_how):
        shell = _become_timeout(stage, "echo $$; exec sleep 100")
        child = int(shell.read_line())
        time.sleep(SETTLED)
        (shell.kill if how == "pid" else shell.kill_group)(signal.SIGKILL)
        status = shell.wait()
        if how == "pid":
            time.sleep(SETTLED / 4)
        else:
            stage.until_gone(child)
        stage.note(status=status, child_lives=alive(child))
        if alive(child):
            os.kill(child, signal.SIGKILL)


@scene("Of a shell that has become `timeout` nobody is left in its group", stdout=b"on go\n", status="exit 4", left=False)
def _nobody_left(stage):
    stage.fifo("gate")
    shell = _become_timeout(stage, "read a <gate; echo on $a; exit 4")
    time.sleep(SETTLED)
    _open(stage)
    done = shell.finish()
    try:
        os.killpg(shell.pid, 0)
        left = True
    except ProcessLookupError:
        left = False
    stage.note(stdout=done.out, status=done.status, left=left)


@scene("A shell that leads its group and becomes `setsid` ends at once, and what that starts lives on", status="exit 0", lives=True)
def _becomes_setsid(stage):
    stage.fifo("gate")
    shell = stage.start("-c", "setsid /bin/sh -c 'echo $$; read a <gate'", before=lambda _: os.setpgid(0, 0))
    status = shell.wait()
    pid = int(shell.read_line())
    stage.note(status=status, lives=alive(pid))
    _open(stage)
    stage.until_gone(pid)


READ = "timeout 100 /bin/sh -c 'echo ready; read a; echo got $a; exit 4'"


for _whose, _leader in (("a job's", False), ("a session leader's", True)):
    @scene(f"What `timeout` runs as {_whose} last command reads from the terminal", shown=b"got hello\r\n", status="exit 4")
    def _timeout_reads(stage, leader=_leader):
        terminal = Terminal(stage)
        if not leader:
            terminal.lead()
        shell = terminal.start("-c", READ, leader=leader)
        terminal.expect(b"ready\r\n")
        terminal.type(b"hello\n")
        stage.note(shown=terminal.expect(b"got hello\r\n"), status=shell.wait())


for _when, _before in (("before", True), ("after", False)):
    @scene(f"Who comes into a job {_when} its shell becomes `timeout` reads from the terminal", shown=b"other hello\r\n", status="exit 4")
    def _timeout_in_pipeline(stage, before=_before):
        stage.fifo("gate")
        terminal, shell = _job(stage, "-c", "echo ready; read a <gate; timeout 100 /bin/sh -c 'echo become; read a <gate; exit 4'")
        terminal.expect(b"ready\r\n")
        if not before:
            _open(stage)
            terminal.expect(b"become\r\n")
            time.sleep(SETTLED / 4)
        other = stage.start("-c", "read a; echo other $a", stdin=terminal.slave, stdout=terminal.slave, before=lambda _: os.setpgid(0, shell.pid))
        if before:
            _open(stage)
            terminal.expect(b"become\r\n")
        time.sleep(SETTLED)
        terminal.type(b"hello\n")
        shown = terminal.expect(b"other hello\r\n")
        other.wait()
        _open(stage)
        stage.note(shown=shown, status=shell.wait())


@scene("What a session leader that has become `timeout` leaves behind gets SIGHUP", status="exit 124", child_gone=True)
def _timeout_hangs_up(stage):
    stage.fifo("gate")
    terminal = Terminal(stage)
    shell = terminal.start("-c", "perl -e '$| = 1; print $$, qq(\\n); sleep 100' & read a <gate; timeout 1 sleep 100", leader=True)
    child = int(terminal.expect(b"\r\n"))
    _open(stage)
    status = shell.wait()
    stage.until_gone(child)
    stage.note(status=status, child_gone=not alive(child))


@scene("Ctrl-C ends what `timeout` runs as the last command", status="killed by SIGINT")
def _timeout_interrupted(stage):
    terminal, shell = _job(stage, "-c", READ)
    terminal.expect(b"ready\r\n")
    time.sleep(SETTLED)
    terminal.type(CTRL_C)
    stage.note(status=shell.wait())


@scene("Ctrl-Z stops what `timeout` runs as the last command, and it goes on in the foreground", events=["stopped by SIGTSTP", "continued", "exit 4"], shown=b"got hello\r\n")
def _timeout_stopped(stage):
    terminal, shell = _job(stage, "-c", READ)
    terminal.expect(b"ready\r\n")
    time.sleep(SETTLED)
    events = terminal.stop_and_continue(shell)
    terminal.type(b"hello\n")
    shown = terminal.expect(b"got hello\r\n")
    stage.note(events=[*events, shell.wait()], shown=shown)
