"""A session in a runtime: a persistent shell into which the steps are typed, with agentsh or without."""

import json
import os
import re
import subprocess
import time

from conversation import Conversation
from persistent import ENOUGH, HOOK, WAYS, Way, lay_out
from runtimes import HERE, Runtime
from stage import GUARD, Stage
from typed import lay_out_hook

# What differs from run to run.
VARIES = (
    (re.compile(r"\[(\d)\] \d+"), r"[\1] @"),
)
# After which a step's time runs out, long enough for it to have begun; and what is waited for at most if nothing goes wrong.
TIME = 3.0
STEP_GUARD = 60.0
TRIES = 5
TOOLS = {"pytest": 'echo "tested $*"; [ "$1" != slow ] || sleep 31; exit 5', "npm": 'echo "npm did $1"; exit 6'}
# They, too, say first where they run.
TOOL = '#!/bin/sh\necho "${{0##*/}} $* $(grep ^0:: /proc/self/cgroup)" >>"$PLACES"\n{body}\n'


class Ground:
    """What all sessions share: tools, shims, the hook as it is installed, and the shells' originals where agentsh looks for them."""

    def __init__(self, stage: Stage, runtime: Runtime, agentshctl: str):
        self.stage, folder = stage, f"{stage.folder}/{runtime.name}"
        self.tools, self.shims, self.libexec = (f"{folder}/{name}" for name in ("tools", "shims", "libexec"))
        self.hook = lay_out_hook(f"{folder}/installed", f"{os.path.dirname(agentshctl)}/agentsh", agentshctl)
        os.makedirs(self.tools)
        for name, body in TOOLS.items():
            with open(f"{self.tools}/{name}", "w", encoding="ascii") as file:
                file.write(TOOL.format(body=body))
            os.chmod(f"{self.tools}/{name}", 0o755)
        os.symlink("/usr/bin/python3", f"{self.tools}/python")
        os.mkdir(self.libexec)
        os.symlink(f"{stage.folder}/real", f"{self.libexec}/agentsh")
        self.path = f"{self.tools}:/usr/bin:/bin"
        subprocess.run([agentshctl, "shims", "install", self.shims], check=True, timeout=GUARD, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, env={**stage.environment, "PATH": self.path})

    def mounts(self, way: Way) -> dict[str, str]:
        """What is to be mounted where."""
        if not way.mounted:
            return {}
        ours = os.path.dirname(self.stage.bash)
        return {os.path.realpath("/bin/bash"): f"{ours}/bash", os.path.realpath("/bin/sh"): f"{ours}/sh", "/usr/libexec": self.libexec}

    def startup(self, way: Way) -> str | None:
        """What the shell is told at its start."""
        if way is HOOK:
            return f". {self.hook}\n"
        return f"export PATH={self.shims}:$PATH\n" if way.mounted else None

    def environment(self, way: Way) -> dict[str, str]:
        """Of the runtime."""
        ours = os.path.dirname(self.stage.bash)
        if way.direct:
            return {"PATH": f"{self.shims}:{ours}:{self.path}", "SHELL": self.stage.bash}
        return {"PATH": self.path, "SHELL": "/bin/bash"}


class Session(Conversation):
    """Runs beside others."""

    def __init__(self, runtime: Runtime, backend: str, way: Way, ground: Ground, played_before: int):
        super().__init__(runtime, runtime.steps(backend), ground.stage, "/bin/bash", f"{backend}{way.name:_>8}{played_before}")
        self.backend, self.way, self.ground = backend, way, ground
        self.places = f"{self.folder}/places"
        # Results by the step's number: what the runtime's caller is told, and the status.
        self.results: dict[int, tuple[str, int | None]] = {}
        lay_out(self.work, self.places)

    def run(self) -> None:
        begun = time.monotonic()
        try:
            self._drive()
        except Exception as error:  # noqa: BLE001 (a thread's failure is told by whoever waits for it)
            self.told.faults.append(repr(error))
        finally:
            self._end_all()
        self.told.seconds = time.monotonic() - begun

    def said(self) -> list[str]:
        """What the programs said of themselves and their cgroup."""
        if not os.path.exists(self.places):
            return []
        with open(self.places, encoding="utf-8") as file:
            return file.read().splitlines()

    def lost_step(self) -> bool:
        """Has the runtime missed a deadline of its own?"""
        return any(self.client.lost_step(self.steps[number], *result) for number, result in self.results.items())

    def plain(self, text: str) -> str:
        """Without what is this session's own."""
        for own, token in ((self.work, "@WORK@"), (self.home, "@HOME@"), (self.folder, "@DIR@"), (self.ground.tools, "$TOOLS")):
            text = text.replace(own, token)
        for pattern, token in VARIES:
            text = pattern.sub(token, text)
        return text

    def _drive(self) -> None:
        output, results = f"{self.folder}/client.log", f"{self.folder}/results"
        with open(output, "wb") as log:
            argv = [self.client.installed(), f"{HERE}/{self.client.driver}", self._job(results)]
            process = subprocess.Popen(argv, cwd=self.work, env=self._environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       start_new_session=True, preexec_fn=lambda: self._enter(self.ground.mounts(self.way)))
            try:
                status = process.wait(timeout=len(self.steps) * GUARD)
            except subprocess.TimeoutExpired:
                process.kill()
                status = process.wait()
        if os.path.exists(results):
            with open(results, encoding="utf-8") as file:
                self.results = {number: (self.plain(text), status) for number, (text, status) in enumerate(map(json.loads, file))}
        if status != 0 or len(self.results) != len(self.steps):
            with open(output, encoding="utf-8", errors="replace") as file:
                self.told.faults.append(f"status {status} after {len(self.results)} of {len(self.steps)} steps: {file.read()[-2000:]}")
        self._settle()
        self.told.survivors = sorted({command.rstrip("\0").rsplit("\0", 1)[-1] for _, command in self._all() if "\0left.py\0" in command})
        self._let_go()

    def _job(self, results: str) -> str:
        startup = self.ground.startup(self.way)
        # SWE-ReX has a setting for it; for the other it is in a file that any bash reads.
        takes_file = self.client.name == "swe-rex"
        if startup:
            with open(f"{self.home}/startup" if takes_file else f"{self.home}/.bashrc", "a", encoding="utf-8") as file:
                file.write(startup)
        job = {"steps": [{"command": step.command, "how": step.how, "answer": step.answer} for step in self.steps], "results": results,
               "startup": [f"{self.home}/startup"] if startup and takes_file else [], "backend": self.backend,
               "time": TIME, "guard": STEP_GUARD}
        with open(f"{self.folder}/job", "w", encoding="utf-8") as file:
            json.dump(job, file)
        return f"{self.folder}/job"

    def _environment(self) -> dict[str, str]:
        mark, value = self.mark.split("=")
        # tmux keeps its socket in TMUX_TMPDIR, and says what libtmux reads in UTF-8 only; the last two keep OpenHands from greeting,
        # and from asking for a list of models.
        return {**self.stage.environment, "HOME": self.home, "TERM": "dumb", "LC_ALL": "C.UTF-8", mark: value,
                "AGENTSH_LOG": f"{self.folder}/calls.jsonl", "PLACES": self.places, "TOOLS": self.ground.tools,
                "TMUX_TMPDIR": self.folder, "AGENTSH_SHIMS": f"{self.folder}/shims", "OPENHANDS_SUPPRESS_BANNER": "1",
                "LITELLM_LOCAL_MODEL_COST_MAP": "True", **self.ground.environment(self.way)}

    def _let_go(self) -> None:
        """What is still there is told to end, and writes its lines."""
        with open(f"{self.work}/{ENOUGH}", "w", encoding="ascii"):
            pass
        end = time.monotonic() + GUARD
        while left := self._all():
            if time.monotonic() > end:
                self.told.faults.append(f"these don't end: {left}")
                return
            time.sleep(0.05)


def played(runtime: Runtime, backend: str, ground: Ground) -> list[Session]:
    """A session without agentsh, and one for each way in which it can come in; all beside each other. One in which the runtime loses
    step is played again: only if it does so each time it is agentsh's doing, or the machine's, and found fault with."""
    last: dict[Way, Session] = {}
    for number in range(TRIES):
        again = [way for way in WAYS if way not in last or last[way].lost_step()]
        if number > 0 and again:
            print(f"      {runtime.name} {backend}: the runtime lost step, once more: {', '.join(way.name for way in again)}", flush=True)
        sessions = {way: Session(runtime, backend, way, ground, number) for way in again}
        for session in sessions.values():
            session.start()
        for session in sessions.values():
            session.join()
        last |= sessions
    return [last[way] for way in WAYS]
