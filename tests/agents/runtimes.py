"""Runtimes that keep a shell: how each is installed, what drives it, and what it runs for itself."""

import glob
import os
import re
import shutil
import subprocess
import sys

from clients import CACHE, INSTALL_GUARD, Client
from persistent import EXECUTED, STEPS, Line, Typed, Way

HERE = os.path.dirname(os.path.abspath(__file__))
NEWEST_PYTHON = 20


class Runtime(Client):
    """A library, which a program of ours drives: no model is needed, as it does what it is told."""

    # A file that says that all of it is there.
    program = "complete"
    # The oldest Python that it runs with, and our program.
    python = (3, 9)
    driver = ""
    # Its ways of keeping a shell.
    backends: tuple[str, ...] = ("",)

    def installed(self) -> str | None:
        """The Python that has it, if it is there."""
        return self._program("python") if os.path.exists(f"{CACHE}/{self.folder}/{self.program}") else None

    def version(self) -> str:
        """What the registry gave."""
        found = glob.glob(f"{CACHE}/{self.folder}/lib/python*/site-packages/{self.package.replace('-', '_')}-*.dist-info")
        return os.path.basename(found[0]).removesuffix(".dist-info").rpartition("-")[2] if found else "unknown"

    def install(self) -> None:
        """Into a virtual environment of a Python that is new enough."""
        folder = f"{CACHE}/{self.folder}"
        shutil.rmtree(folder, ignore_errors=True)
        self._do(self._python(), "-m", "venv", folder)
        self._pip(self.package)
        with open(f"{folder}/{self.program}", "w", encoding="ascii"):
            pass

    def _pip(self, *words: str) -> None:
        self._do(self._program("pip"), "install", "-q", *words)

    def _program(self, name: str) -> str:
        return f"{CACHE}/{self.folder}/bin/{name}"

    @staticmethod
    def _do(*words: str) -> None:
        subprocess.run(words, check=True, timeout=INSTALL_GUARD, capture_output=True, stdin=subprocess.DEVNULL)

    def _python(self) -> str:
        major, least = self.python
        names = [f"python{major}.{minor}" for minor in range(least, NEWEST_PYTHON)]
        kept = [path for name in names for path in glob.glob(os.path.expanduser(f"~/.pyenv/versions/*/bin/{name}"))]
        for python in (sys.executable, *filter(None, map(shutil.which, names)), *kept):
            asked = [python, "-c", f"import ensurepip, sys; sys.exit(sys.version_info[:2] < {self.python})"]
            if subprocess.run(asked, capture_output=True, timeout=INSTALL_GUARD, check=False).returncode == 0:
                return python
        raise OSError(f"no Python here is {major}.{least} or newer")

    def steps(self, backend: str) -> list[Typed]:
        """What it is to do."""
        return STEPS

    def own(self, backend: str, way: Way) -> list[Line]:
        """What it runs for itself that the log has, in its order."""
        return []

    def is_own(self, record: dict) -> bool:
        """Is a record of that?"""
        return False

    def lost_step(self, step: Typed, text: str, status: int | None) -> bool:
        """Is that the result of a runtime that was too slow for its own deadlines, as it is without agentsh on a busy machine?"""
        return False


class SweRex(Runtime):
    """The runtime of SWE-agent: a bash under pexpect, found in PATH; /bin/sh for what it does without a session."""

    name, folder, package = "swe-rex", "swe-rex", "swe-rex"
    python, driver = (3, 10), "drive_swe_rex.py"
    _CHECK = re.compile(r"/usr/bin/env bash -n << '(\w+)'\n(.*)\n\1", re.DOTALL)

    def steps(self, backend: str) -> list[Typed]:
        """It also does things without a session."""
        return STEPS[:-2] + EXECUTED + STEPS[-2:]

    def own(self, backend: str, way: Way) -> list[Line]:
        """Before it types a command it has a bash look at its grammar."""
        checked = [step.command for step in self.steps(backend) if step.how in ("type", "cut", "kill")]
        return [Line(command, "explore", through_shim=False) for command in checked] if "/bin/sh" in way.shells else []

    def lost_step(self, step: Typed, text: str, status: int | None) -> bool:
        """It gives the shell a second to say its status, and 0.1 s for the prompt behind that; else it knows none."""
        return step.how == "type" and status is None

    def is_own(self, record: dict) -> bool:
        """It is by the words around the command; they are taken away."""
        if found := self._CHECK.fullmatch(record["command"]):
            record["command"] = found.group(2)
        return found is not None


class OpenHands(Runtime):
    """OpenHands' terminal tool: a /bin/bash in tmux, or the bash in PATH under a terminal of its own."""

    name, folder, package = "openhands", "openhands", "openhands-tools"
    python, driver = (3, 12), "drive_openhands.py"
    backends = ("tmux", "subprocess")
    _NICE = re.compile(r"\S*nice -n \d+ /bin/bash")

    def _pip(self, *words: str) -> None:
        """With the kit of the same version: it needs that, but asks for any, and pip would rather take an old one."""
        super()._pip(*words)
        super()._pip(*(f"{package}=={self.version()}" for package in (self.package, "openhands-sdk")))

    def steps(self, backend: str) -> list[Typed]:
        """In tmux it has several panes, and whatever is at work in one gets Ctrl-C before the next command: nothing can be answered."""
        return [step for step in STEPS if backend != "tmux" or step.how not in ("ask", "kill")]

    def lost_step(self, step: Typed, text: str, status: int | None) -> bool:
        """It gives the terminal 10 ms to echo a command; else it takes the prompt before the command for the one behind it."""
        return "[Previous command outputs are truncated." in text

    def own(self, backend: str, way: Way) -> list[Line]:
        """tmux has the shell started by a shell: the one over /bin/bash, or that in SHELL."""
        return [Line("nice", "agent", None, through_shim=False)] if backend == "tmux" and way.shells else []

    def is_own(self, record: dict) -> bool:
        """It is by its whole text."""
        if found := self._NICE.fullmatch(record["command"]):
            record["command"] = "nice"
        return found is not None


RUNTIMES: dict[str, Runtime] = {runtime.name: runtime for runtime in (SweRex(), OpenHands())}
