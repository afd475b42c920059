"""Calls of /bin/sh in a container, played by a program that stays there (calls.c): an exec of the engine's own takes longer than
fifty calls in the virtual machine."""

import os
import select
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent


def build(folder: str) -> None:
    """Puts the program into a folder that is /opt/agentsh in the container."""
    subprocess.run(["gcc", "-O2", "-static", "-o", f"{folder}/libexec/calls", HERE / "calls.c"], check=True, timeout=300)


class Callers:
    """The program, running."""

    def __init__(self, podman, container: str, listed: str, side_by_side: int = 1, times: bool = False) -> None:
        """`listed` is the path within the container of what is to be played; the log is /out/calls.jsonl there."""
        program = ["/opt/agentsh/libexec/calls", str(side_by_side), listed, *(["times"] if times else [])]
        command = [*podman.command, "exec", "-i", "-e", "AGENTSH_LOG=/out/calls.jsonl", container, *program]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=podman.environment)
        self.rest = b""

    def play(self, count: int, seconds: float) -> tuple[list[float], int]:
        """So many calls: the milliseconds of each, if those are told, and how many ended otherwise than they should."""
        self.process.stdin.write(b"%d\n" % count)
        self.process.stdin.flush()
        end = time.monotonic() + seconds
        took: list[float] = []
        while True:
            line = self._line(end)
            if line.startswith("done "):
                return took, int(line.split()[1])
            took.append(int(line.split()[1]) / 1e6)

    def _line(self, end: float) -> str:
        while b"\n" not in self.rest:
            descriptor = self.process.stdout.fileno()
            if not select.select([descriptor], [], [], max(0, end - time.monotonic()))[0]:
                sys.exit("the calls hang: `podman exec` says nothing any more")
            read = os.read(descriptor, 65536)
            if not read:
                sys.exit(f"the calls have ended before their time, with status {self.process.wait(60)}")
            self.rest += read
        line, _, self.rest = self.rest.partition(b"\n")
        return line.decode()

    def end(self) -> None:
        """No more calls."""
        self.process.stdin.close()
        self.process.wait(60)
