"""A terminal: the case as its session's leader and job-control shell, or a shell as the leader."""

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time

from .process import Hang, Process
from .stage import Stage


class Terminal:
    """A pty and what is read from it."""

    def __init__(self, stage: Stage, echo: bool = False):
        self.stage = stage
        self.master, self.slave = pty.openpty()
        # The case itself must be able to set the foreground group from wherever it is.
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        if not echo:
            modes = termios.tcgetattr(self.slave)
            modes[3] &= ~termios.ECHO
            termios.tcsetattr(self.slave, termios.TCSANOW, modes)
        self.text = b""
        self.read_to = 0

    def lead(self) -> None:
        """Makes the case, a session leader, the one that controls this terminal."""
        fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)

    def start(self, *args: str, foreground: bool = True, leader: bool = False, **options) -> Process:
        """Starts the shell on the terminal: as a job of the case's, or as a session leader that owns the terminal."""
        before = options.pop("before", None)

        def become(stage: Stage) -> None:
            if leader:
                os.setsid()
                fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            else:
                os.setpgid(0, 0)
                if foreground:
                    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
                    os.tcsetpgrp(0, os.getpid())
                    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
            if before:
                before(stage)

        return self.stage.start(*args, stdin=self.slave, stdout=self.slave, stderr=self.slave, before=become, **options)

    def type(self, text: bytes) -> None:
        """Types on the keyboard."""
        os.write(self.master, text)

    def expect(self, text: bytes) -> bytes:
        """Waits until `text` shows up behind what was expected last; gives what came up to its end."""
        deadline = time.monotonic() + self.stage.guard
        while (at := self.text.find(text, self.read_to)) < 0:
            if not select.select([self.master], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise Hang(f"the terminal never showed {text!r}, only {self.text[self.read_to:]!r}")
            try:
                self.text += os.read(self.master, 4096)
            except OSError:  # EIO: nobody has the other side open
                raise Hang(f"the terminal closed before {text!r}, showing {self.text[self.read_to:]!r}") from None
        shown = self.text[self.read_to:at + len(text)]
        self.read_to = at + len(text)
        return shown

    def rest(self) -> bytes:
        """What can be read now, behind what was expected last."""
        while select.select([self.master], [], [], 0.05)[0]:
            try:
                piece = os.read(self.master, 4096)
            except OSError:
                break
            self.text += piece
        shown, self.read_to = self.text[self.read_to:], len(self.text)
        return shown

    def foreground(self) -> int:
        """The terminal's foreground group."""
        return os.tcgetpgrp(self.master)

    def take_back(self) -> None:
        """The case's own group becomes the foreground one."""
        os.tcsetpgrp(self.slave, os.getpgrp())

    def give(self, group: int) -> None:
        """Another group becomes the foreground one."""
        os.tcsetpgrp(self.slave, group)

    def stop_and_continue(self, shell: Process) -> list[str]:
        """Ctrl-Z, and then what a job-control shell's `fg` does: what the case, as that shell, is told."""
        self.type(b"\x1a")
        events = [shell.wait_event()]
        self.take_back()
        self.give(shell.pid)
        shell.kill_group(signal.SIGCONT)
        return [*events, shell.wait_event()]

    def hang_up(self) -> None:
        """Closes the terminal's other side, as a broken connection would."""
        os.close(self.slave)
        os.close(self.master)
