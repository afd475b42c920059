"""One recorded invocation, run in a /root, a /tmp and a working directory of its own."""

import ctypes
import fcntl
import json
import os
import pty
import re
import select
import shutil
import socket
import subprocess
import termios
import time
from dataclasses import dataclass, field

from stage import GUARD, Stage

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS = 0x20000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
REAL = {"bash": "/bin/bash", "sh": "/bin/sh"}
SNAPSHOT = re.compile(r"/root/\S*?/shell[-_]snapshots/[^\s\"']+")
GEMINI_FOLDER = re.compile(r"/tmp/gemini-shell-\w+(?=/)")
TYPED = b'echo "[typed-$((20 + 22)) $- $0]"; exit 7\n'
ANSWER = re.compile(rb"\[typed-42 [^\]$]*\]")


@dataclass
class Seen:
    """What the caller of a shell saw."""

    status: int | None = None
    output: dict[str, bytes] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def differences(self, plain: "Seen") -> list[str]:
        """Where it isn't what plain bash shows."""
        faults = []
        if self.status != plain.status:
            faults.append(f"status {self.status}, with plain bash {plain.status}")
        for what, mine, theirs in (("fd", self.output, plain.output), ("file", self.files, plain.files)):
            for key in sorted(mine.keys() | theirs.keys()):
                if mine.get(key) != theirs.get(key):
                    faults.append(f"{what} {key}: {excerpt(mine.get(key))}, with plain bash {excerpt(theirs.get(key))}")
        return faults


def excerpt(content: bytes | None) -> str:
    """Enough of a text to see what it is."""
    return "absent" if content is None else repr(content[:300])


def mount(source: str | None, target: str, flags: int) -> None:
    """mount(2)."""
    if LIBC.mount(source and source.encode(), target.encode(), None, flags, None) != 0:
        raise OSError(ctypes.get_errno(), "mount", target)


class Ends:
    """A call's three descriptors, of the kinds that the agent gave it; the same kind twice is one open file."""

    def __init__(self, kinds: dict[str, str], file: str):
        self.theirs: list[int] = []
        self.ours: dict[str, int] = {}
        self.files: dict[str, str] = {}
        self.terminal: int | None = None
        shared: dict[str, int] = {}
        for fd in ("0", "1", "2"):
            kind = kinds[fd]
            if kind.startswith(("/dev/pts/", "/tmp/")) and kind in shared:
                self.theirs.append(os.dup(shared[kind]))
                continue
            shared[kind] = self._open(fd, kind, file)
            self.theirs.append(shared[kind])

    def _open(self, fd: str, kind: str, file: str) -> int:
        if kind == "/dev/null":
            return os.open("/dev/null", os.O_RDWR)
        if kind == "socket:":
            ours, theirs = (end.detach() for end in socket.socketpair())
        elif kind == "pipe:":
            ends = os.pipe()
            ours, theirs = ends if fd != "0" else ends[::-1]
        elif kind.startswith("/dev/pts/"):
            self.terminal, theirs = pty.openpty()
            ours = self.terminal
        elif kind.endswith("(O_APPEND)"):
            self.files[fd] = file
            return os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        else:
            raise SystemExit(f"a recording with stdio of an unknown kind: {kind}")
        self.ours[fd] = ours
        return theirs

    def collect(self, seen: Seen) -> None:
        """Reads what the call writes until nobody holds the other ends any more."""
        for fd in self.theirs:
            os.close(fd)
        if "0" in self.ours and self.terminal is None:
            os.close(self.ours.pop("0"))
        open_ends = {end: fd for fd, end in self.ours.items()}
        seen.output.update({fd: b"" for fd in self.ours})
        until = time.monotonic() + GUARD
        while open_ends:
            ready = select.select(list(open_ends), [], [], max(0.0, until - time.monotonic()))[0]
            if not ready:
                seen.faults.append(f"no end of output within {GUARD:g} s")
                break
            for end in ready:
                try:
                    data = os.read(end, 65536)
                except OSError:
                    data = b""  # A terminal without anybody on it.
                seen.output[open_ends[end]] += data
                if not data:
                    del open_ends[end]
        for end in self.ours.values():
            os.close(end)


class Scene:
    """Where recordings are played."""

    def __init__(self, stage: Stage):
        self.stage = stage
        self.folder = f"{stage.folder}/scene"

    def play(self, record: dict, launcher: bool) -> Seen:
        """Runs a recording, under the launcher or under plain bash."""
        self._set_up(record)
        argv = record["argv"]
        name = os.path.basename(argv[0]).lstrip("-")
        program = f"{os.path.dirname(self.stage.bash)}/{name}" if launcher else REAL[name]
        ends = Ends(record["stdio"], f"{self.folder}/output")
        seen = Seen()
        process = subprocess.Popen(
            argv, executable=program, cwd=f"{self.folder}/work", stdin=ends.theirs[0], stdout=ends.theirs[1],
            stderr=ends.theirs[2], start_new_session=record["session_leader"],
            env={**self.stage.environment, "HOME": "/root", "TERM": "dumb", "SHELL": argv[0]},
            preexec_fn=lambda: self._enter(ends.terminal is not None))
        if ends.terminal is not None:
            os.write(ends.terminal, TYPED)
        ends.collect(seen)
        try:
            seen.status = process.wait(timeout=GUARD)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            seen.faults.append("it hangs")
        if ends.terminal is not None:
            self._of_terminal(seen)
        for fd, path in ends.files.items():
            with open(path, "rb") as file:
                seen.output[fd] = file.read()
        seen.files = self._files()
        return seen

    def log(self) -> list[dict]:
        """The log's records since the scene was set up."""
        try:
            with open(self.stage.log, encoding="utf-8") as file:
                return [json.loads(line) for line in file]
        except FileNotFoundError:
            return []

    def _set_up(self, record: dict) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        if os.path.exists(self.stage.log):
            os.unlink(self.stage.log)
        for name in ("root", "tmp", "work"):
            os.makedirs(f"{self.folder}/{name}")
        with open(f"{self.folder}/root/.bashrc", "w", encoding="ascii") as file:
            file.write("alias ll='ls -l'\ngreet() { echo \"hello $1\"; }\n")
        subprocess.run(["git", "init", "-q", "-b", "main", f"{self.folder}/work"], check=True, timeout=GUARD,
                       env={**self.stage.environment, "HOME": f"{self.folder}/root"})
        script = record["argv"][-1]
        for path in SNAPSHOT.findall(script):
            os.makedirs(os.path.dirname(self.folder + path), exist_ok=True)
            if not script.startswith("SNAPSHOT_FILE="):
                with open(self.folder + path, "w", encoding="ascii") as file:
                    file.write("# Snapshot file\nunalias -a 2>/dev/null || true\nshopt -s expand_aliases\n")
        for path in GEMINI_FOLDER.findall(script):
            os.makedirs(self.folder + path, exist_ok=True)

    def _enter(self, terminal: bool) -> None:
        if LIBC.unshare(CLONE_NEWNS) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        mount(None, "/", MS_REC | MS_PRIVATE)
        mount(f"{self.folder}/root", "/root", MS_BIND)
        mount(f"{self.folder}/tmp", "/tmp", MS_BIND)
        if terminal:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def _files(self) -> dict[str, bytes]:
        """What the call left in its /root, /tmp and working directory."""
        found = {}
        for name in ("root", "tmp", "work"):
            for folder, folders, files in os.walk(f"{self.folder}/{name}"):
                folders[:] = [entry for entry in folders if entry != ".git"]
                for path in (os.path.join(folder, file) for file in files):
                    with open(path, "rb") as file:
                        found[path.removeprefix(self.folder)] = file.read()
        return found

    @staticmethod
    def _of_terminal(seen: Seen) -> None:
        """Of what a terminal shows only the shell's answer: prompts and echoes come as they come."""
        shown = b"".join(seen.output.values())
        seen.output = {"terminal": b"".join(ANSWER.findall(shown)[:1])}
        if not seen.output["terminal"] or seen.status != 7:
            seen.faults.append(f"status {seen.status}, and the terminal shows {shown[-300:]!r}")
