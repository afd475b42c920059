"""File descriptors: what the command gets, what the caller keeps, and when a reader sees the end."""

import fcntl
import os
import resource
import socket

from suite.case import command, scene
from suite.stage import CLOSED, PIPE

for _closed in ((0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)):
    @scene(f"Closed {', '.join(map(str, _closed))} stay closed for the command",
           report="".join(f"{fd} {'closed' if fd in _closed else 'open'}\n" for fd in range(3)), status="exit 5")
    def _closed_streams(stage, closed=_closed):
        streams = {name: CLOSED for fd, name in enumerate(("stdin", "stdout", "stderr")) if fd in closed}
        # Looked at before anything is opened: with 1 closed, the report's own file may become 1.
        done = stage.run("-c", "test -e /proc/$$/fd/0; a=$?; test -e /proc/$$/fd/1; b=$?; test -e /proc/$$/fd/2; c=$?\n"
                         "for s in $a $b $c; do echo $s; done >report; exit 5", **streams)
        with open("report", encoding="ascii") as file:
            found = file.read().split()
        stage.note(report="".join(f"{fd} {'open' if word == '0' else 'closed'}\n" for fd, word in enumerate(found)), status=done.status)


@scene("Writing to a closed standard output fails as in bash", stderr=b"bash: line 1: echo: write error: Bad file descriptor\n", status="exit 1")
def _closed_output(stage):
    done = stage.run("-c", "echo lost", stdout=CLOSED)
    stage.note(stderr=done.err, status=done.status)


def _three(_stage):
    for number in (3, 9, 10, 77, 254, 255):
        os.dup2(os.open("/dev/zero", os.O_RDONLY), number)


@scene("A command sees exactly the descriptors that its caller left open", stdout=["0", "1", "10", "2", "254", "255", "3", "77", "9"])
def _exact_descriptors(stage):
    stage.note(stdout=_listed(stage, _three))


@scene("A command sees no descriptor but 0, 1 and 2 when there is none", stdout=["0", "1", "2"])
def _no_descriptors(stage):
    stage.note(stdout=_listed(stage, None))


def _listed(stage, before):
    done = stage.run("-c", "exec ls /proc/self/fd", before=before)
    # ls has the folder itself open, at the lowest free number.
    numbers = done.out.decode().split()
    lowest = next(str(n) for n in range(1000) if str(n) not in ({"0", "1", "2", "3", "9", "10", "77", "254", "255"} if before else {"0", "1", "2"}))
    return [number for number in numbers if number != lowest]


@scene("The shell itself holds no more descriptors than real bash", stdout=b"same\n")
def _shell_descriptors(stage):
    text = "exec 3>&-; for fd in /proc/$$/fd/*; do echo ${fd##*/}; done"
    ours = stage.run("-c", text).out
    theirs = stage.run("-c", text, program="/bin/bash").out
    stage.note(stdout=b"same\n" if ours == theirs else ours + b"instead of\n" + theirs)


@scene("A descriptor of 3 and above can be read and written by the command", stdout=b"from three\n", written=b"to four\n")
def _three_and_four(stage):
    ours, theirs = os.pipe()
    back, forth = os.pipe()
    os.write(forth, b"from three\n")

    def before(_):
        three, four = os.dup(back), os.dup(theirs)
        os.dup2(three, 13)
        os.dup2(four, 14)
        os.dup2(13, 3)
        os.dup2(14, 4)

    done = stage.run("-c", "read a <&3; echo $a; echo to four >&4", before=before)
    stage.note(stdout=done.out, written=os.read(ours, 100))


@scene("A descriptor that closes on exec is closed", stdout=b"closed\n")
def _cloexec(stage):
    def before(_):
        os.dup2(os.open("/dev/null", os.O_RDONLY), 7, inheritable=False)

    stage.note(stdout=stage.run("-c", "[ -e /proc/$$/fd/7 ] && echo open || echo closed", before=before).out)


@scene("Five hundred descriptors arrive", stdout=b"500\n")
def _many(stage):
    def before(_):
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
        for number in range(100, 600):
            os.dup2(0, number)

    stage.note(stdout=stage.run("-c", "n=0; for ((i = 100; i < 600; i++)); do [ -e /proc/$$/fd/$i ] && ((++n)); done; echo $n", before=before).out)


def _nearly_full(limit):
    """All descriptors below the limit are taken but one, which the dynamic loader needs."""
    def before(_stage):
        for number in range(3, limit - 1):
            os.dup2(0, number)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

    return before


command("A command runs when only one more file may be opened", "echo ran $(($# + 1))", before=_nearly_full(16), out="ran 1\n")
command("A command runs when only four files may be open", "echo ran", before=_nearly_full(4), out="ran\n")
command("A child of a command runs when only one more file may be opened", "/bin/echo ran; true", before=_nearly_full(16), out="ran\n")


@scene("The offset of a file is shared with the caller", content=b"caller\nshell\nchild\ncaller again\n")
def _shared_offset(stage):
    fd = os.open("file", os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"caller\n")
    stage.run("-c", "echo shell; sh -c 'echo child'", stdout=fd)
    os.write(fd, b"caller again\n")
    with open("file", "rb") as file:
        stage.note(content=file.read())


@scene("O_APPEND is kept on the caller's descriptor", flags=True, content=b"first\nsecond\nfrom shell\n")
def _append(stage):
    fd = os.open("file", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(fd, b"first\n")
    with open("file", "ab") as other:
        other.write(b"second\n")
    stage.run("-c", "echo from shell", stdout=fd)
    with open("file", "rb") as file:
        stage.note(flags=bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND), content=file.read())


@scene("One file for both outputs keeps the order of what is written", content=b"1 out\n2 err\n3 out\n4 err\n", status="exit 0")
def _one_file(stage):
    fd = os.open("file", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    done = stage.run("-c", "echo 1 out; echo 2 err >&2; echo 3 out; echo 4 err >&2", stdout=fd, stderr=fd)
    with open("file", "rb") as file:
        stage.note(content=file.read(), status=done.status)


@scene("O_NONBLOCK is set neither during nor after a call on the caller's sockets", nonblocking=[False] * 6, status="exit 0")
def _not_nonblocking(stage):
    pairs = [socket.socketpair() for _ in range(3)]
    ends = [pair[0].fileno() for pair in pairs]
    stage.fifo("gate")
    shell = stage.start("-c", "read go <gate; true", stdin=ends[0], stdout=ends[1], stderr=ends[2])
    with open("gate", "w", encoding="ascii") as gate:
        during = [not os.get_blocking(fd) for fd in ends]
        gate.write("go\n")
    status = shell.wait()
    stage.note(nonblocking=during + [not os.get_blocking(fd) for fd in ends], status=status)


@scene("O_NONBLOCK that the caller has set stays set", nonblock=True)
def _stays_nonblocking(stage):
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    stage.run("-c", "echo a", stdout=writer)
    stage.note(nonblock=not os.get_blocking(writer))


@scene("A lock on an inherited descriptor is free once the caller's last holder has closed it", held=True, free=True)
def _inherited_lock(stage):
    lock = os.open("lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    other = os.open("lock", os.O_RDWR)

    def is_free():
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            return False

    shell = stage.start("-c", "echo held; read a; exec 9>&-; echo closed; read b", stdin=PIPE, before=lambda _: os.dup2(lock, 9))
    os.close(lock)
    shell.read_line()
    held = not is_free()
    shell.feed(b"go\n")
    shell.read_line()
    stage.until(is_free, "the lock is free while the shell still runs")
    stage.note(held=held, free=shell.running())
    shell.finish(b"\n")


@scene("A lock taken by the command on an inherited descriptor is the caller's too", locked=True)
def _lock_by_command(stage):
    lock = os.open("lock", os.O_RDWR | os.O_CREAT)
    stage.run("-c", "flock -x 9", before=lambda _: os.dup2(lock, 9))
    other = os.open("lock", os.O_RDWR)
    try:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        stage.note(locked=False)
    except BlockingIOError:
        stage.note(locked=True)


@scene("A FIFO that the command holds open ends when the command closes it", stdout=b"closed\n", ended=b"", running=True)
def _inherited_pipe(stage):
    reader, writer = os.pipe()
    shell = stage.start("-c", "exec 5>&-; echo closed; read a", stdin=PIPE, before=lambda _: os.dup2(writer, 5))
    os.close(writer)
    line = shell.read_line() + b"\n"
    stage.note(stdout=line, ended=shell.reached_eof(reader), running=shell.running())
    shell.finish(b"\n")


def _end_of(stage, text: str, same: bool):
    """Whether the readers of the outputs see the end while the shell is held at a gate."""
    stage.fifo("gate")
    reader, writer = os.pipe()
    shell = stage.start("-c", text, stdout=writer, stderr=writer) if same else stage.start("-c", text)
    os.close(writer)
    streams = [reader] if same else [shell.stdout, shell.stderr]
    seen = [shell.reached_eof(fd) for fd in streams]
    running = shell.running()
    with open("gate", "w", encoding="ascii") as gate:
        gate.write("go\n")
    stage.note(seen=seen, running=running, status=shell.wait())


@scene("A reader sees the end as soon as the command closes both outputs", seen=[b"out\n", b"err\n"], running=True, status="exit 3")
def _end_of_both(stage):
    _end_of(stage, "echo out; echo err >&2; exec >&- 2>&-; read a <gate; exit 3", same=False)


@scene("A reader of one pipe for both outputs sees its end as soon as the command closes them", seen=[b"out\nerr\n"], running=True, status="exit 3")
def _end_of_one(stage):
    _end_of(stage, "echo out; echo err >&2; exec >&- 2>&-; read a <gate; exit 3", same=True)


@scene("A reader sees the end at once when the command sends its outputs elsewhere", seen=[b"", b""], running=True, status="exit 0")
def _end_by_redirection(stage):
    _end_of(stage, "exec >/dev/null 2>&1; read a <gate", same=False)


@scene("A writer to the command's standard input gets EPIPE as soon as the command closes it", broken=True, running=True)
def _input_closed(stage):
    shell = stage.start("-c", "exec <&-; echo closed; read a <gate", stdin=PIPE)
    stage.fifo("gate")
    shell.read_line()

    def refused():
        try:
            shell.feed(b"x")
        except BrokenPipeError:
            return True

    stage.note(broken=stage.until(refused, "the pipe has no reader"), running=shell.running())
    with open("gate", "w", encoding="ascii") as gate:
        gate.write("go\n")
    shell.finish()


@scene("A reader waits for a background child that still holds the output", first=b"shell ends\n", running=False, rest=b"child\n")
def _held_by_child(stage):
    stage.fifo("gate")
    shell = stage.start("-c", "{ read a; echo child; } <gate & echo shell ends")
    first = shell.read_until(b"\n")
    shell.wait()
    running = shell.running()
    with open("gate", "w", encoding="ascii") as gate:
        gate.write("go\n")
    stage.note(first=first, running=running, rest=shell.reached_eof(shell.stdout))


command("/dev/stdin, /dev/stdout and /dev/fd are the command's own", "cat /dev/stdin; echo a >/dev/stdout; echo b >/dev/fd/1; echo c >/dev/stderr",
        input=b"in\n", out="in\na\nb\n", err="c\n")
command("Descriptors given by number and by name are the shell's", "exec {fd}<<<x; ((fd >= 10)) && cat <&$fd; exec 3>&1; echo y >&3", out="x\ny\n")
command("Moving and duplicating descriptors works", "exec 5>&1 1>&2 2>&5-; echo to err; echo to out >&2; [ -e /proc/$$/fd/5 ] || echo moved", out="to out\n", err="to err\nmoved\n")
