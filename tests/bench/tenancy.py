"""Several agents' memory traces replayed at once under one pool, each as one tool call: how they are started, and what became of them."""

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
POOL = Path("/sys/fs/cgroup/agentsh")
MIB = 1 << 20
# All are started, then begin at the same moment: so long does it take in the VM until the last of them waits for that.
LEAD_SECONDS = 3.0
# What hangs is killed after so many times its length, and so many seconds.
PATIENCE = (4, 60)


@dataclass(frozen=True)
class Tenant:
    """An agent: the trace that its call replays, and how much it matters."""

    name: str
    trace: str
    priority: str


@dataclass(frozen=True)
class Mix:
    """Who shares a pool, and how the traces are read."""

    tenants: tuple[Tenant, ...]
    speed: float
    base: int
    unit: int
    first: float = 0
    last: float = 1e9
    # A policy beside the built-in one.
    policy: str = ""

    def seconds(self) -> float:
        """How long the longest of it takes when nobody is in its way."""
        ends = []
        for tenant in self.tenants:
            rows = (HERE / "traces" / tenant.trace).read_text().split()[1:]
            ends.append(max(t for t in (float(row.split(",")[0]) for row in rows) if t <= self.last))
        return (max(ends) - self.first) / self.speed


@dataclass
class Outcome:
    """How one replay went."""

    name: str
    status: int
    seconds: float | None = None
    steps: list[float] = field(default_factory=list)
    events: dict = field(default_factory=dict)
    # Who ended it: "us" (and said so), "kernel", "hung" (it had to be), or "" if nobody did.
    killer: str = ""
    told: str = ""
    record: dict = field(default_factory=dict)

    @property
    def survived(self) -> bool:
        """It came to its end and left its result."""
        return self.status == 0 and self.seconds is not None


def keyed(path: Path) -> dict:
    """A flat keyed file of a cgroup."""
    try:
        return {key: int(value) for key, value in (line.split() for line in path.read_text().splitlines())}
    except OSError:
        return {}


class Arena:
    """The pool and the programs."""

    def __init__(self, folder: Path, binaries: Path) -> None:
        self.folder = folder
        self.binaries = binaries
        self.count = 0
        self.replay = folder / "replay"
        subprocess.run(["gcc", "-O2", "-static", "-o", self.replay, HERE / "replay.c"], check=True)
        self.helper("root")
        (POOL / "memory.swap.max").write_text("0")
        self.environment = dict(os.environ)

    def obey(self, policy: str) -> None:
        """Lets sessions and calls have this policy over the built-in one."""
        source, compiled = self.folder / "policy.yaml", self.folder / "policy"
        source.write_text("version: 1\n" + policy)
        command = [self.binaries / "agentshctl", "policy", "compile", "--out", compiled]
        subprocess.run(command, env={**os.environ, "AGENTSH_POLICY": str(source)}, check=True, timeout=60)
        self.environment["AGENTSH_POLICY"] = str(compiled)

    def helper(self, *arguments: str) -> None:
        """Runs agentsh-helper; ends everything if that fails."""
        command = [self.binaries / "agentsh-helper", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            raise SystemExit(f"agentsh-helper {' '.join(arguments)}: {done.stdout}{done.stderr}")

    def limit(self, mib: int) -> None:
        """The pool's memory.max."""
        (POOL / "memory.max").write_text(str(mib * MIB))

    def play(self, mix: Mix, start, tenants=None) -> list[Outcome]:
        """Replays the traces together. `start` starts one call and gives its process, and what reads its outcome."""
        self.count += 1
        at = time.monotonic_ns() + int(LEAD_SECONDS * 1e9)
        begun = []
        for tenant in tenants or mix.tenants:
            result = self.folder / f"{self.count}-{tenant.name}"
            words = [self.replay, HERE / "traces" / tenant.trace, mix.speed, mix.base, mix.unit, mix.first, mix.last, at, result]
            begun.append((tenant, result, *start(self, tenant, " ".join(map(str, words)))))
        last = time.monotonic() + LEAD_SECONDS + mix.seconds() * PATIENCE[0] + PATIENCE[1]
        return [self._outcome(last, *each) for each in begun]

    def _outcome(self, last: float, tenant: Tenant, result: Path, process, read) -> Outcome:
        try:
            told = process.communicate(timeout=max(1, last - time.monotonic()))[1]
            hung = False
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()
            told, hung = process.communicate()[1], True
        outcome = Outcome(tenant.name, process.returncode, told=told.strip())
        if result.exists():
            first, _, steps = result.read_text().partition("\n")
            outcome.seconds = float(first.split()[0])
            outcome.steps = [float(step) for step in steps.split()]
        read(outcome)
        if hung:
            outcome.killer = "hung"
        return outcome


def plain(low_high: str = "max", most: int | None = None):
    """Without agentsh: a cgroup each, with these limits; how to start one."""

    def start(arena: Arena, tenant: Tenant, command: str):
        group = POOL / f"plain-{arena.count}-{tenant.name}"
        group.mkdir()
        if most is not None:
            (group / "memory.max").write_text(str(most))
        if tenant.priority == "low":
            (group / "memory.high").write_text(low_high)
        enter = f"echo 0 >{group}/cgroup.procs && exec {command}"
        process = subprocess.Popen(["/bin/bash", "-c", enter], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

        def read(outcome: Outcome) -> None:
            outcome.events = keyed(group / "memory.events")
            outcome.killer = "kernel" if outcome.events.get("oom_kill") else ""
            with contextlib.suppress(OSError):
                group.rmdir()

        return process, read

    return start


def agentsh(arena: Arena, tenant: Tenant, command: str):
    """As a tool call of an agent in a session of its own; a new one each time, so that nothing is known of the trace."""
    log = arena.folder / f"{arena.count}-{tenant.name}.jsonl"
    session = ["--session", f"{tenant.name}-{arena.count}", "--priority", tenant.priority]
    words = [arena.binaries / "agentshctl", "run", *session, "--", arena.binaries / "agentsh", "-c", command]
    environment = {**arena.environment, "AGENTSH_LOG": str(log)}
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)

    def read(outcome: Outcome) -> None:
        # A launcher that was killed has written nothing.
        if not log.exists():
            outcome.killer = outcome.killer or "kernel"
            return
        outcome.record = json.loads(log.read_text().splitlines()[-1])
        outcome.events = outcome.record["events"] or {}
        if outcome.record["placement"] != "leaf":
            raise SystemExit(f"tenants: a call had no leaf, so it doesn't count: {outcome.record}")
        if outcome.record["killed"]:
            outcome.killer = "us" if "[agentsh] Killed" in outcome.told else "us, who didn't tell"
        elif outcome.events.get("oom_kill"):
            outcome.killer = "kernel"

    return process, read


@contextlib.contextmanager
def arena(binaries: Path):
    """A pool to play in; without limit afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        ground = Arena(Path(folder), binaries)
        try:
            yield ground
        finally:
            (POOL / "memory.max").write_text("max")
