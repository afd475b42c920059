"""Callers that do odd things: to the arguments, to descriptors, to the launcher itself; and bugs of the launcher's own."""

import os
import signal

from trouble.forms import PROBE, PROBE_SEEN, alike, fault
from trouble.tracer import jump_to_nowhere

from suite.case import scene
from suite.process import children_of

for _argv0 in (b"", b"-bash", b"\xff\xfe", b"x" * 100_000, b"/nowhere/bash", b"-"):
    @scene(f"argv[0] is {_argv0[:12]!r}{'…' if len(_argv0) > 12 else ''}")
    def _argv_zero(stage, argv0=_argv0):
        done = stage.run("-c", 'echo "${#0}"; exit 3', argv0=argv0, env={"HOME": stage.work})
        stage.note_outcome(done)


@scene("An empty argv")
def _no_argv(stage):
    stage.note_outcome(stage.run(argv0=None, input=b"echo in; exit 3\n"))


@scene("The largest argument that the kernel takes", length=b"131065\n", status="exit 3")
def _largest(stage):
    done = stage.run("-c", "echo ${#1}; exit 3", "name", "x" * 131_065)
    stage.note(length=done.out, status=done.status)


@scene("Two megabytes of arguments", length=b"20\n", status="exit 3")
def _many(stage):
    done = stage.run("-c", "echo $#; exit 3", "name", *["x" * 90_000] * 20)
    stage.note(length=done.out, status=done.status)


@scene("A command of 128 kB that is one word, one bracket after another, or nested without end")
def _huge(stage):
    texts = ("(" * 60_000, "$(" * 40_000, "a;" * 60_000 + "exit 3", "{ " * 50_000, "'" + "x" * 120_000, "`" * 100_001, "<<A " * 30_000)
    done = [stage.run("-c", text[:131_000]) for text in texts]
    stage.note(each=[(d.status, len(d.out)) for d in done])


for _closed in ((0,), (1,), (2,), (0, 1), (0, 1, 2)):
    @scene(f"Closed {', '.join(map(str, _closed))} and a limit of 4 descriptors")
    def _closed_and_few(stage, closed=_closed):
        import resource
        streams = {name: "closed" for fd, name in enumerate(("stdin", "stdout", "stderr")) if fd in closed}
        done = stage.run("-c", "(exit 5); a=$?; exit $((a + 1))", before=lambda _: resource.setrlimit(resource.RLIMIT_NOFILE, (4, 4)), **streams)
        stage.note_outcome(done)


fault("SIGCHLD blocked", before=lambda _: signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD]))
fault("SIGCHLD ignored", before=lambda _: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
fault("Every signal but SIGTERM blocked", before=lambda _: signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.valid_signals()) - {signal.SIGTERM}))
fault("Every signal but SIGTERM and SIGCHLD ignored", before=lambda _: [
    signal.signal(n, signal.SIG_IGN) for n in signal.valid_signals() - {9, 19, 15, 17, 32, 33}] and None)


def _pending(_stage) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD, signal.SIGUSR1])
    os.kill(os.getpid(), signal.SIGCHLD)


fault("A SIGCHLD that the caller sent itself is pending, and hides the shell's own", before=_pending)


@scene("A SIGCHLD sent to the shell's pid while the shell ends is no reason to wait for ever", needs="", status="exit 6")
def _hidden_child(stage):
    child = stage.start("-c", "echo ready; read -r _; exit 6", stdin="pipe")
    child.read_line()
    if stage.agentsh:
        # Stopped, the launcher has one pending SIGCHLD for both: the one that is sent, and the shell's end.
        shell = children_of(child.pid)[0]
        child.kill(signal.SIGSTOP)
        child.kill(signal.SIGCHLD)
        child.feed(b"go\n")
        stage.until(lambda: _ended(shell), "the shell ends")
        child.kill(signal.SIGCONT)
    else:
        child.feed(b"go\n")
    child.end_input()
    while (seen := child.wait_event()) in ("stopped by SIGSTOP", "continued"):
        pass
    stage.note(status=seen)


def _ended(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rpartition(b")")[2].split()[0] == b"Z"
    except FileNotFoundError:
        return True


@scene("A shell that sends SIGCHLD to its parent and ends at once, forty times", statuses=["exit 3"] * 40)
def _teasing(stage):
    text = "kill -CHLD $PPID; exit 3" if stage.agentsh else "exit 3"
    stage.note(statuses=[stage.run("-c", text).status for _ in range(40)])


@scene("Every signal at once to the launcher's pid: it ends as the shell does", ended=True)
def _storm(stage):
    child = stage.start("-c", "trap '' HUP INT QUIT USR1 USR2 TERM ALRM PIPE; echo ready; read -r _; exit 8", stdin="pipe")
    child.read_line()
    for _ in range(30):
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGALRM,
                       signal.SIGPIPE, signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH):
            child.kill(number)
    child.feed(b"go\n")
    child.end_input()
    stage.note(ended=child.wait() == "exit 8")


@scene("A fault of the launcher's own, at whatever moment, is not the command's: it runs once and ends the same", needs="shell", wrong=[], tried=True)
def _bug(stage):
    wrong, tried = [], 0
    for number in range(0, 400, 2):
        done, reached = jump_to_nowhere(stage, number, "-c", PROBE)
        if not reached:
            break
        tried += 1
        if (done.out, done.err, done.status) != tuple(PROBE_SEEN.values()):
            wrong.append((number, done.out, done.err, done.status))
    stage.note(wrong=wrong, tried=tried > 10)
