"""One conversation: a real agent, the scripted model, and a shell, either plain bash or agentsh."""

import os
import re
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field

from clients import Client
from model import Model, Script
from scene import CLONE_NEWNS, LIBC, MS_BIND, MS_PRIVATE, MS_REC, mount
from script import ABORTED, Step
from stage import GUARD, Stage

# What differs from run to run in what the agents themselves add to a result.
VARIES = (
    (re.compile(r"Chunk ID: \w+"), "Chunk ID: @"),
    (re.compile(r"line 1: +\d+ Killed"), "line 1: @ Killed"),
    (re.compile(r"Wall time: [\d.]+ seconds"), "Wall time: @ seconds"),
    (re.compile(r"session ID \d+"), "session ID @"),
    # It counts the length of paths that are tokens here.
    (re.compile(r"Original token count: \d+"), "Original token count: @"),
    (re.compile(r"ID: \w+|[\w-]+\.output\b"), "@"),
    (re.compile(r"/tmp/claude-\S+"), "@"),
    (re.compile(r"saved to: \S+"), "saved to: @"),
)

# The process of the command that is to be aborted.
AT_WORK = "\0".join(ABORTED.split()[-2:]).encode()


@dataclass
class Told:
    """What a conversation came to."""

    results: dict[int, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    # Of the aborted command: which of its processes outlived the agent.
    survivors: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Conversation(threading.Thread):
    """Runs beside others."""

    def __init__(self, client: Client, steps: list[Step], stage: Stage, shell: str, word: str, guard: float = GUARD):
        super().__init__(daemon=True)
        self.client, self.steps, self.stage, self.shell, self.guard = client, steps, stage, shell, guard
        self.told = Told()
        # By which the agent's calls are limited, if not by that of the stage.
        self.policy = stage.environment["AGENTSH_POLICY"]
        self.mark = f"AGENT_RUN={word}-{client.name}-{os.urandom(4).hex()}"
        self.folder = f"{stage.folder}/{client.name}-{word}"
        self.home, self.work = f"{self.folder}/home", f"{self.folder}/work"
        for folder in (self.home, self.work):
            os.makedirs(folder)
        with open(f"{self.home}/.bashrc", "w", encoding="ascii") as file:
            file.write("alias ll='ls -l'\n")

    def run(self) -> None:
        begun = time.monotonic()
        script = Script([step.call(self.client) for step in self.steps])
        model = Model(script)
        try:
            self._talk(model, script)
        except Exception as error:  # noqa: BLE001 (a thread's failure is told by whoever waits for it)
            self.told.faults.append(repr(error))
        finally:
            model.close()
            self._end_all()
        self.told.faults += script.strange
        self.told.results = {number: self._plain(result) for number, result in script.results.items()}
        self.told.seconds = time.monotonic() - begun

    def _talk(self, model: Model, script: Script) -> None:
        argv, more, mounts = self.client.start(model.url, self.shell, self.home)
        environment = {**self.stage.environment, "HOME": self.home, "AGENTSH_LOG": f"{self.folder}/calls.jsonl", "TERM": "dumb", "AGENTSH_POLICY": self.policy,
                       "AGENTSH_REAL_SHELL": f"{self.stage.folder}/real/{'sh' if 'sh' in map(os.path.basename, mounts.values()) else 'bash'}",
                       "PATH": ":".join([*([os.path.dirname(self.shell)] if self.client.by_path else []),
                                         os.path.dirname(shutil.which("node") or "/usr/bin/node"), "/usr/local/bin:/usr/bin:/bin"]), **more}
        environment.update([self.mark.split("=")])
        with open(f"{self.folder}/client.log", "wb") as output:
            process = subprocess.Popen(argv, cwd=self.work, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                       start_new_session=True, preexec_fn=lambda: self._enter(mounts))
            end = time.monotonic() + self.guard
            aborted = not any(step.command == ABORTED for step in self.steps)
            while process.poll() is None and time.monotonic() < end:
                if not aborted and script.asked.is_set() and self._processes(AT_WORK):
                    process.send_signal(signal.SIGINT)
                    aborted = True
                time.sleep(0.05)
        if process.poll() is None:
            self.told.faults.append(f"{self.client.name} doesn't end within {self.guard:g} s")
            process.kill()
            process.wait()
        if not aborted:
            self.told.faults.append(f"{self.client.name} never came to the command that was to be aborted")
        if self.told.faults or len(script.results) < len([step for step in self.steps if step.command != ABORTED]):
            with open(f"{self.folder}/client.log", encoding="utf-8", errors="replace") as file:
                self.told.faults.append(f"it did {len(script.results)} of {len(self.steps)} calls and said: {file.read()[-1500:]}")
        self._settle()

    def _settle(self) -> None:
        """Waits until what the agent left behind doesn't change any more: its kills take a while to be seen."""
        before, since = None, time.monotonic()
        while time.monotonic() - since < 2.0:
            now = sorted(command for _, command in self._all())
            if now != before:
                before, since = now, time.monotonic()
            time.sleep(0.1)
        self.told.survivors = sorted({command.split("\0")[0].rsplit("/", 1)[-1] for command in before or [] if command.startswith("sleep\0")})

    def _enter(self, mounts: dict[str, str]) -> None:
        """In the child: a mount namespace in which the shell is where this agent takes it from."""
        if mounts:
            if LIBC.unshare(CLONE_NEWNS) != 0:
                raise OSError("unshare")
            mount(None, "/", MS_REC | MS_PRIVATE)
        for target, source in mounts.items():
            mount(source, target, MS_BIND)

    def _all(self) -> list[tuple[int, str]]:
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/environ", "rb") as file:
                    if self.mark.encode() not in file.read().split(b"\0"):
                        continue
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    found.append((int(pid), file.read().decode(errors="replace")))
            except OSError:
                continue  # It has ended meanwhile.
        return found

    def _processes(self, word: bytes) -> list[int]:
        return [pid for pid, command in self._all() if word.decode() in command]

    def _end_all(self) -> None:
        # What was aborted and lives on is ended softly, so that it has its line in the log; all the rest by force.
        end = time.monotonic() + 5
        for pid in self._processes(AT_WORK):
            os.kill(pid, signal.SIGTERM)
        while self._processes(ABORTED.encode()) and time.monotonic() < end:
            time.sleep(0.05)
        end = time.monotonic() + 20
        while (left := self._all()) and time.monotonic() < end:
            for pid, _ in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.05)

    def _plain(self, result: str) -> str:
        for own, token in ((self.work, "@WORK@"), (self.home, "@HOME@"), (self.folder, "@DIR@"), (self.shell, "@SHELL@")):
            result = result.replace(own, token)
        for pattern, token in (*VARIES, *self.client.varies):
            result = re.sub(pattern, token, result)
        return result
