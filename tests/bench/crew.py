"""Several agents with memory of their own and tool calls that replay traces: how they are started, and what became of them."""

import contextlib
import csv
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tenancy import HERE, MIB, POOL, Arena, Tenant, keyed, plain

AGENT = HERE / "agent.py"
# What a model thinks about a call that was killed before it runs it again, in seconds of the trace.
AGAIN_SECONDS = 5
# Until all agents of an arm have started, have their own memory and wait for the beginning.
READY_SECONDS = 240
# What hangs is killed after so many times the length of the longest trace, and so many seconds.
PATIENCE = (5, 180)


@dataclass(frozen=True)
class Task:
    """A trace, taken apart: the agent itself and its calls. Times are in seconds of the trace, memory in its MB."""

    name: str
    # What the agent has all the time.
    own: float
    # Pauses before a call, and the call's own rows: seconds since it began, MB beyond what the agent has.
    steps: tuple[tuple[float, tuple[tuple[float, float], ...]], ...]
    last_pause: float
    peak: float
    seconds: float


def task(trace: str) -> Task:
    """The median is taken for the agent's own memory; what is beyond that, for as long as it is, for a call."""
    with open(HERE / "traces" / trace, encoding="ascii") as file:
        rows = [(float(row["t_s"]), float(row["mem_mb"])) for row in csv.DictReader(file)]
    own = statistics.median(has for _, has in rows)
    steps, free_since, call = [], 0.0, []
    for at, has in [*rows, (rows[-1][0], 0.0)]:
        if has > own:
            call.append((at, has - own))
        elif call:
            begun = call[0][0]
            # The last row is where it ends.
            shifted = tuple((t - begun, more) for t, more in [*call, (at, 0.0)])
            steps.append((begun - free_since, shifted))
            free_since, call = at, []
    return Task(trace, own, tuple(steps), rows[-1][0] - free_since, max(has for _, has in rows), rows[-1][0])


@dataclass(frozen=True)
class Crew:
    """The agents, and how their traces are replayed."""

    tasks: tuple[Task, ...]
    speed: float
    # Bytes for each MB of a trace.
    unit: int

    @property
    def peaks(self) -> int:
        """The sum of all agents' peaks, in bytes."""
        return int(sum(task.peak for task in self.tasks) * self.unit)

    def plan(self, ground: Arena, folder: Path, shell: list[str], offsets: list[float]) -> None:
        """Writes each agent's plan and the traces of its calls."""
        for number, (each, offset) in enumerate(zip(self.tasks, offsets, strict=True), 1):
            steps = []
            for place, (pause, rows) in enumerate(each.steps):
                trace = folder / f"{number}-{place}.csv"
                trace.write_text("t_s,mem_mb\n" + "".join(f"{at:.3f},{more:.3f}\n" for at, more in rows))
                words = [ground.replay, trace, self.speed, 4096, self.unit, 0, 1e9, 0, folder / f"{number}-{place}.out"]
                steps.append((pause / self.speed, " ".join(map(str, words))))
            plan = {"own": int(each.own * self.unit), "offset": offset, "shell": shell, "steps": steps}
            plan |= {"last_pause": each.last_pause / self.speed, "again": AGAIN_SECONDS / self.speed}
            (folder / f"plan-{number}").write_text(json.dumps(plan))


@dataclass
class Life:
    """How it went with one agent."""

    task: str
    # It came to its end; calls of it may have been killed.
    lived: bool
    # From its own beginning to its end, and when the last call was done, both in seconds, the latter from the beginning of all.
    seconds: float
    until: float
    killed_by_us: int
    # Processes that the kernel's OOM killer took from it.
    killed_by_kernel: int
    # Calls that were killed and then run again to their end, each time; and steps that never came to theirs.
    again: int
    failed: int
    told: list[str]
    slowed: float
    held: float

    @property
    def survived(self) -> bool:
        """It has done all of its work, be it at the second try."""
        return self.lived and self.failed == 0

    def __str__(self) -> str:
        again = f" (+{self.again} again)" if self.again else ""
        return f"{self.task.partition('__')[0]} {self.seconds:.1f}{again}{'' if self.survived else ' LOST'}"


class Run:
    """All agents of one arm, once."""

    def __init__(self, ground: Arena, crew: Crew, offsets: list[float]) -> None:
        self.ground, self.crew, self.offsets = ground, crew, offsets
        ground.count += 1
        self.name = f"crew{ground.count}"
        self.folder = ground.folder / self.name
        self.folder.mkdir()
        self.log = self.folder / "calls.jsonl"
        self.numbers = range(1, len(crew.tasks) + 1)
        self.most = 0

    def plain(self, most: int | None) -> list[Life]:
        """Without agentsh: a cgroup for each agent, with this memory.max."""
        self.crew.plan(self.ground, self.folder, ["/bin/bash"], self.offsets)
        start = plain(most=most)
        begun = []
        for number in self.numbers:
            command = f"{sys.executable} -S -E {AGENT} {self.folder} {number}"
            begun.append(start(self.ground, Tenant(f"{self.name}-{number}", "", "normal"), command))
        groups = [POOL / f"plain-{self.ground.count}-{self.name}-{number}" for number in self.numbers]
        beginning = self._go([process for process, _ in begun], groups)
        lives = [self._life(number, group, beginning) for number, group in zip(self.numbers, groups, strict=True)]
        for (process, _), group in zip(begun, groups, strict=True):
            process.communicate()
            with contextlib.suppress(OSError):
                group.rmdir()
        return lives

    def agentsh(self, pool: int) -> list[Life]:
        """As `agentshctl run --count` has them: a session each, in a pool that guarantees its share to each."""
        self.crew.plan(self.ground, self.folder, [str(self.ground.binaries / "agentsh")], self.offsets)
        count = len(self.crew.tasks)
        words = [self.ground.binaries / "agentshctl", "run", "--session", self.name, "--count", count, "--number-as", "NUMBER"]
        words += ["--pool", f"{pool // MIB}M", "--guarantee", f"{pool // MIB // count}M"]
        words += ["--", sys.executable, "-S", "-E", AGENT, self.folder, "NUMBER"]
        environment = {**self.ground.environment, "AGENTSH_LOG": str(self.log)}
        with open(self.folder / "said", "wb") as said:
            process = subprocess.Popen([str(word) for word in words], stdin=subprocess.DEVNULL, stderr=said, env=environment)
        groups = [POOL / f"{self.name}-{number}" for number in self.numbers]
        beginning = self._go([process], groups)
        lives = [self._life(number, group, beginning) for number, group in zip(self.numbers, groups, strict=True)]
        text = (self.folder / "said").read_text(errors="replace").strip()
        if text:
            print("#   " + text.replace("\n", "\n#   "), file=sys.stderr, flush=True)
        return lives

    def _go(self, processes: list[subprocess.Popen], groups: list[Path]) -> float:
        """Lets all begin at one moment, which it gives, and waits for their end; whoever hangs is killed."""
        try:
            end = time.monotonic() + READY_SECONDS
            while any(not (self.folder / f"ready-{number}").exists() for number in self.numbers):
                if time.monotonic() > end or any(process.poll() is not None for process in processes):
                    said = self.folder / "said"
                    raise SystemExit(f"agents: not all have begun: {said.read_text() if said.exists() else groups[0]}")
                time.sleep(0.2)
            beginning = time.monotonic_ns() + 1_000_000_000
            (self.folder / ".go").write_text(str(beginning))
            os.rename(self.folder / ".go", self.folder / "go")
            longest = max(task.seconds for task in self.crew.tasks) / self.crew.speed
            end = time.monotonic() + longest * PATIENCE[0] + PATIENCE[1]
            while any(process.poll() is None for process in processes) and time.monotonic() < end:
                with contextlib.suppress(OSError, ValueError):
                    self.most = max(self.most, int((POOL / "memory.current").read_text()))
                time.sleep(0.1)
            return beginning / 1e9
        finally:
            for process in processes:
                if process.poll() is None:
                    print("#   hung, and is killed", file=sys.stderr, flush=True)
                    process.send_signal(signal.SIGTERM)
            for group in groups:
                # What an agent left behind, if it was killed.
                with contextlib.suppress(OSError):
                    (group / "cgroup.kill").write_text("1")
            for process in processes:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(20)

    def _life(self, number: int, group: Path, beginning: float) -> Life:
        path = self.folder / f"result-{number}"
        result = json.loads(path.read_text()) if path.exists() else {"seconds": 0.0, "ended": beginning, "calls": []}
        pids = {call["pid"] for call in result["calls"]}
        records = [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []
        mine = [record for record in records if int(record["id"].rpartition("-")[2], 16) in pids]
        if any(record["placement"] != "leaf" for record in mine):
            raise SystemExit(f"agents: a call had no leaf, so nothing of this counts: {mine}")
        failed = [call for call in result["calls"] if call["status"] != 0]
        done = {call["step"] for call in result["calls"] if call["status"] == 0}
        return Life(
            task=self.crew.tasks[number - 1].name,
            lived=path.exists(),
            seconds=result["seconds"],
            until=result["ended"] - beginning,
            killed_by_us=sum(1 for record in mine if record["killed"]),
            killed_by_kernel=keyed(group / "memory.events").get("oom_kill", 0),
            again=sum(call["step"] in done for call in failed),
            failed=len({call["step"] for call in failed} - done),
            told=[call["told"] for call in failed],
            slowed=sum(record.get("slowed_us") or 0 for record in mine) / 1e6,
            held=sum(record.get("held_us") or 0 for record in mine) / 1e6,
        )
