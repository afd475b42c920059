"""The stage a case is played on: a folder of its own, the shell under test, and ways to start it."""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

from . import kernel
from .outcome import Outcome
from .process import Hang, Process, alive, catches
from .shell import REAL

# Where a stream of the started shell comes from or goes to; else a descriptor of the case's.
PIPE, NULL, CLOSED = "pipe", "null", "closed"
Stream = str | int


class Stage:
    """What a case needs, made afresh for each of them."""

    def __init__(self, folder: str, prefix: str, kind: str, guard: float):
        self.folder = folder
        self.prefix = prefix
        self.kind = kind
        self.guard = guard
        self.work, self.home = f"{folder}/work", f"{folder}/home"
        self.shell, self.sh = f"{prefix}/bin/bash", f"{prefix}/bin/sh"
        self.seen: dict[str, Any] = {}
        for path in (self.work, self.home, f"{folder}/state"):
            os.mkdir(path)
        os.chdir(self.work)

    @property
    def agentsh(self) -> bool:
        """Whether the shell under test is agentsh."""
        return self.kind != "plain"

    def environment(self, **more: str | None) -> dict[str, str]:
        """The environment that the shell is started with; None takes a variable out."""
        variables = {
            "PATH": f"{self.prefix}/bin:/usr/bin:/bin",
            "HOME": self.home,
            "LC_ALL": "C",
            "AGENTSH_LOG": f"{self.folder}/state/calls.jsonl",
            # So that `sh` is bash's POSIX mode for either kind of shell, whatever /bin/sh is on this machine.
            "AGENTSH_REAL_SHELL": REAL,
        } | more
        return {name: value for name, value in variables.items() if value is not None}

    def note(self, **seen: Any) -> None:
        """Puts what was seen into the transcript."""
        self.seen |= {label: self.tokens(value) for label, value in seen.items()}

    def note_outcome(self, outcome: Outcome) -> None:
        """Puts the three things a caller sees of a call into the transcript."""
        self.note(stdout=outcome.out, stderr=outcome.err, status=outcome.status)

    def tokens(self, value: Any) -> Any:
        """What differs from run to run, as @DIR@, @BIN@ and (in bash's words about a lacking terminal) @PGRP@."""
        if isinstance(value, str):
            for own, token in ((self.folder, "@DIR@"), (f"{self.prefix}/bin", "@BIN@"), (f"process group ({os.getpgrp()})", "process group (@PGRP@)")):
                value = value.replace(own, token)
        if isinstance(value, bytes):
            return self.tokens(value.decode("latin-1")).encode("latin-1")
        if isinstance(value, (list, tuple)):
            return [self.tokens(item) for item in value]
        return value

    def file(self, name: str, content: str | bytes, mode: int = 0o644) -> str:
        """Makes a file in the working folder; @BIN@ and @DIR@ stand for the stage's paths. Returns its path."""
        path = f"{self.work}/{name}"
        data = content.encode() if isinstance(content, str) else content
        data = data.replace(b"@BIN@", f"{self.prefix}/bin".encode()).replace(b"@DIR@", self.folder.encode())
        with open(path, "wb") as file:
            file.write(data)
        os.chmod(path, mode)
        return path

    def fifo(self, name: str) -> str:
        """Makes a FIFO in the working folder and returns its path."""
        os.mkfifo(f"{self.work}/{name}")
        return f"{self.work}/{name}"

    def until(self, holds: Callable[[], Any], what: str) -> Any:
        """Waits until `holds()` is true and returns its value."""
        deadline = time.monotonic() + self.guard
        while not (value := holds()):
            if time.monotonic() > deadline:
                raise Hang(f"waited in vain: {what}")
            time.sleep(0.002)
        return value

    def until_waiting(self, shell: int) -> None:
        """Waits until a real bash, by its pid, waits for a child: only then it handles SIGINT."""
        self.until(lambda: catches(shell, signal.SIGINT), f"shell {shell} waits for its child")

    def until_gone(self, pid: int) -> None:
        """Waits until a process has ended."""
        self.until(lambda: not alive(pid), f"process {pid} ends")

    def run(self, *args: str | bytes, input: bytes = b"", **options: Any) -> Outcome:
        """Starts the shell, feeds it `input`, and reads and waits to the end."""
        if input:
            options["stdin"] = PIPE
        return self.start(*args, **options).finish(input)

    def start(
        self,
        *args: str | bytes,
        program: str | None = None,
        argv0: str | bytes | None = "bash",
        env: dict[str, str | None] | list[bytes] | None = None,
        stdin: Stream = NULL,
        stdout: Stream = PIPE,
        stderr: Stream = PIPE,
        files: dict[str, str] | None = None,
        before: Callable[["Stage"], None] | None = None,
    ) -> Process:
        """Starts the shell under test in a child that first does `before`, the caller's odd doings.

        argv0 None: an empty argv. env: changes to the stage's environment, or a list of raw strings.
        """
        for name, content in (files or {}).items():
            self.file(name, content, 0o755)
        ours: list[int | None] = [None, None, None]
        theirs: list[int | None] = [None, None, None]
        for number, stream in enumerate((stdin, stdout, stderr)):
            if stream == PIPE:
                reader, writer = os.pipe()
                theirs[number], ours[number] = (reader, writer) if number == 0 else (writer, reader)
            elif stream == NULL:
                theirs[number] = os.open("/dev/null", os.O_RDWR)
            elif isinstance(stream, int):
                theirs[number] = os.dup(stream)
        raw = self._strings(env)
        path = os.fsencode(program or (self.sh if argv0 == "sh" else self.shell))
        argv = [] if argv0 is None else [os.fsencode(part) for part in (argv0, *args)]
        argv = [part.replace(b"@BIN@", f"{self.prefix}/bin".encode()) for part in argv]
        pid = os.fork()
        if pid == 0:
            self._become(path, argv, raw, theirs, before)
        for fd in theirs:
            if fd is not None:
                os.close(fd)
        return Process(pid, self.guard, *ours)

    def _strings(self, env: dict[str, str | None] | list[bytes] | None) -> list[bytes]:
        if isinstance(env, list):
            return env
        return [os.fsencode(f"{name}={value}") for name, value in self.environment(**(env or {})).items()]

    def _become(self, path, argv, raw, theirs, before) -> None:
        """In the child: the streams, the caller's doings, then the shell. Never returns."""
        try:
            # Clear of 0, 1 and 2, so that no dup2 below overwrites what a later one needs.
            parked = [None if fd is None else os.dup(fd) if fd > 2 else fd for fd in theirs]
            for number, fd in enumerate(parked):
                os.dup2(fd, number) if fd is not None else os.close(number)
            reset_signals()
            if before:
                before(self)
            kernel.execve(path, argv, raw)
        except BaseException as error:  # noqa: BLE001 (the child must not go on as a second runner)
            with open(f"{self.folder}/state/caller-error", "a", encoding="utf-8") as file:
                file.write(f"{error!r}\n")
        os._exit(125)


def reset_signals() -> None:
    """Every signal at its default and none blocked, whatever the runner was started with."""
    for number in signal.valid_signals():
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            try:
                signal.signal(number, signal.SIG_DFL)
            except OSError:
                pass  # 32 and 33 are libc's own
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
