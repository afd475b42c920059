"""A started shell: feeding it, reading it, waiting for it, never for ever."""

import os
import select
import signal
import time

from .outcome import Outcome, ending


class Hang(Exception):
    """Something that must happen did not, within a guard that is generous on a loaded machine."""


class Process:
    """A child of the case, with the case's ends of its pipes."""

    def __init__(self, pid: int, guard: float, stdin: int | None, stdout: int | None, stderr: int | None):
        self.pid = pid
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr
        self.guard = guard
        self.wait_status: int | None = None
        self.usage = None

    def feed(self, data: bytes) -> None:
        """Writes to the shell's standard input."""
        os.write(self.stdin, data)

    def end_input(self) -> None:
        """Closes the shell's standard input."""
        if self.stdin is not None:
            os.close(self.stdin)
            self.stdin = None

    def read_line(self, fd: int | None = None) -> bytes:
        """One line from the shell's standard output (or `fd`), without its newline."""
        return self.read_until(b"\n", fd)[:-1]

    def read_until(self, ending_text: bytes, fd: int | None = None) -> bytes:
        """Reads byte by byte up to and with `ending_text`; end of file ends it too."""
        fd = self.stdout if fd is None else fd
        got = b""
        deadline = time.monotonic() + self.guard
        while not got.endswith(ending_text):
            if not select.select([fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise Hang(f"waited for {ending_text!r}, got only {got!r}")
            byte = os.read(fd, 1)
            if not byte:
                break
            got += byte
        return got

    def reached_eof(self, fd: int) -> bytes:
        """Reads `fd` to its end."""
        return self.read_until(b"\0never\0", fd)

    def running(self) -> bool:
        """Whether the child that the caller knows is still there (it is reaped when it is not)."""
        if self.wait_status is None:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self.wait_status, self.usage = status, usage
        return self.wait_status is None

    def wait_event(self, options: int = os.WUNTRACED | os.WCONTINUED) -> str:
        """The next thing that wait(2) tells of the child: a stop, a continuation or its end."""
        deadline = time.monotonic() + self.guard
        pause = 0.0005
        while time.monotonic() < deadline:
            pid, status, usage = os.wait4(self.pid, options | os.WNOHANG)
            if pid:
                if not (os.WIFSTOPPED(status) or os.WIFCONTINUED(status)):
                    self.wait_status, self.usage = status, usage
                return ending(status)
            time.sleep(pause)
            pause = min(pause * 2, 0.02)
        raise Hang(f"no event of process {self.pid} within {self.guard} s")

    def wait(self) -> str:
        """How the child ended, in words."""
        while self.wait_status is None:
            self.wait_event(0)
        return ending(self.wait_status)

    def kill(self, number: int) -> None:
        """Sends a signal to the pid that the caller knows."""
        os.kill(self.pid, number)

    def kill_group(self, number: int) -> None:
        """Sends a signal to the group that the caller knows."""
        os.killpg(self.pid, number)

    def finish(self, data: bytes = b"") -> Outcome:
        """Feeds `data`, reads everything to its end, then waits."""
        streams = {fd: bytearray() for fd in (self.stdout, self.stderr) if fd is not None}
        unread, unsent = set(streams), memoryview(data)
        deadline = time.monotonic() + self.guard
        if self.stdin is not None:
            os.set_blocking(self.stdin, False)
        while unread or self.stdin is not None:
            writing = [] if self.stdin is None else [self.stdin]
            ready, writable, _ = select.select(list(unread), writing, [], max(0.0, deadline - time.monotonic()))
            if not ready and not writable:
                raise Hang(f"no end of the output; so far {[bytes(s[-200:]) for s in streams.values()]}")
            for fd in ready:
                piece = os.read(fd, 1 << 16)
                streams[fd] += piece
                if not piece:
                    unread.discard(fd)
            if writable:
                try:
                    unsent = unsent[os.write(self.stdin, unsent[: 1 << 16]):] if unsent else unsent
                except BrokenPipeError:
                    unsent = memoryview(b"")
                if not unsent:
                    self.end_input()
        self.wait()
        return Outcome(*(bytes(streams.get(fd, b"")) for fd in (self.stdout, self.stderr)), self.wait_status)


def alive(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal."""
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
        caught = next(line for line in status if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def children_of(pid: int) -> list[int]:
    """The direct children of a process."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as children:
            return [int(child) for child in children.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def descendants_of(pid: int) -> list[int]:
    """All processes below one, those nearest first."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        below = children_of(waiting.pop(0))
        found += below
        waiting += below
    return found


def end_descendants(guard: float = 5.0) -> None:
    """Kills and reaps everything below this process, which is their subreaper."""
    deadline = time.monotonic() + guard
    while (below := descendants_of(os.getpid())) and time.monotonic() < deadline:
        for pid in below:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        reap_all()
        time.sleep(0.001)


def reap_all() -> None:
    """Reaps every child that has ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
