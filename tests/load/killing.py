"""SIGKILL of launchers: the shell ends with them, and the next calls clean up."""

import os
import random
import statistics
import subprocess
import time

from ledger import Ledger
from stage import GUARD, POOL_SIZE, Stage, wait_until

# As in src/cgroup/sweep.rs: leaves are swept at most so often, in seconds; and some more.
SWEEP_EVERY = 1.2
CLASSES = ("false && pytest -q", "false && make", "true && ls /", "false && git status")
QUIET = "</dev/null >/dev/null 2>&1"


def waiting(number: int, part: str) -> str:
    """Never ends by itself; its background child does, after a while, whatever becomes of the shell."""
    return f"sleep 3 {QUIET} & echo began; {part} {QUIET}; read -r _; : mark-{number}-"


def ending(number: int, part: str) -> str:
    """Ends soon by itself, so that a random moment may also be its end."""
    return f"sleep 0.2 {QUIET} & echo began; {part} {QUIET}; sleep 0.02; : mark-{number}-"


def start(stage: Stage, command: str) -> subprocess.Popen:
    """Starts a command whose input stays open for as long as we keep it so."""
    return subprocess.Popen(["bash", "-c", command], executable=stage.bash, cwd=stage.work, env=stage.environment,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                            start_new_session=True)


def usual_duration(stage: Stage, ledger: Ledger) -> float:
    """How long a call that ends by itself takes here and now, in seconds."""
    durations = []
    for _ in range(9):
        number, begun = ledger.number(), time.monotonic()
        with start(stage, ending(number, CLASSES[0])) as process:
            status = process.wait(timeout=GUARD)
        ledger.ended(number, status)
        durations.append(time.monotonic() - begun)
    return statistics.median(durations)


def at_random_moments(stage: Stage, ledger: Ledger, kills: int, report) -> None:
    """Kills launchers from right after their start to after their end."""
    usual = usual_duration(stage, ledger)
    counts = {"before their shell ran": 0, "while it ran": 0, "after it had ended": 0}
    orphans = []
    for place in range(kills):
        number = ledger.number()
        shape = waiting if place % 2 else ending
        process = start(stage, shape(number, CLASSES[place // 2 % len(CLASSES)]))
        # Dense where things happen: around the start and around the end.
        time.sleep(random.uniform(0, usual * 1.3))
        process.kill()
        status = process.wait(timeout=GUARD)
        orphans += orphans_of(stage, number)
        began = has_spoken(process)
        process.stdin.close()
        process.stdout.close()
        if status == -9:
            ledger.was_killed(number)
            counts["while it ran" if began else "before their shell ran"] += 1
        else:
            ledger.ended(number, status)
            counts["after it had ended"] += 1
    text = ", ".join(f"{count} {when}" for when, count in counts.items())
    report.check(f"no shell outlives its launcher's SIGKILL ({kills} launchers: {text})", orphans)
    lacking = [f"none {when}" for when, count in counts.items() if not count and kills >= 100]
    report.check("the moments were all of a call's life", lacking)
    report.check("the background children of killed calls end by themselves",
                 [] if wait_until(lambda: not stage.processes()) else stage.processes())
    clean_up(stage, ledger, report)


def has_spoken(process: subprocess.Popen) -> bool:
    """Has the call said anything?"""
    os.set_blocking(process.stdout.fileno(), False)
    try:
        return os.read(process.stdout.fileno(), 64) != b""
    except BlockingIOError:
        return False


def orphans_of(stage: Stage, number: int) -> list[str]:
    """Shells (and helpers) of a call that live on. What bash forks for a background command soon is that command."""
    word = f"mark-{number}-".encode()
    if wait_until(lambda: not stage.processes(word)):
        return []
    return stage.processes(word)


def call(stage: Stage, ledger: Ledger, part: str) -> list[str]:
    """An ordinary call, as the agent makes next."""
    number = ledger.number()
    done = subprocess.run(["bash", "-c", f"{part} {QUIET}; echo mark-{number}-; cat /proc/self/cgroup"], executable=stage.bash,
                          cwd=stage.work, env=stage.environment, stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=GUARD, check=False)
    ledger.ended(number, done.returncode)
    lines = done.stdout.decode().split("\n")
    faults = [] if done.returncode == 0 and lines[0] == f"mark-{number}-" else [f"call {number}: {done}"]
    if stage.session:
        leaf = next((line.rsplit("/", 1)[1] for line in lines if line.startswith("0::")), "")
        if not leaf.rpartition("-")[2].isdigit() or int(leaf.rpartition("-")[2]) >= POOL_SIZE:
            faults.append(f"call {number} ran in {leaf!r}, not in a leaf of the pool")
    return faults


def clean_up(stage: Stage, ledger: Ledger, report) -> None:
    """What the next calls find is what they need, and they sweep the rest."""
    faults = []
    for _ in range(2):
        time.sleep(SWEEP_EVERY)
        for part in CLASSES:
            faults += call(stage, ledger, part)
    report.check("the next calls get a leaf of the pool" if stage.session else "the next calls run", faults)


def survivors_are_let_run(stage: Stage, ledger: Ledger, report) -> None:
    """A SIGKILLed launcher's survivors, throttled and frozen: the next call's sweep lets them go on."""
    if stage.session is None:
        return
    number = ledger.number()
    process = start(stage, f"sleep 300 {QUIET} & echo began; ls / {QUIET}; read -r _; : mark-{number}-")
    process.stdout.readline()
    leaf = next(iter(stage.populated()), "none")
    process.kill()
    process.wait(timeout=GUARD)
    ledger.was_killed(number)
    orphans = orphans_of(stage, number)
    process.stdin.close()
    process.stdout.close()
    # As if its launcher had been killed while it held the call back.
    with open(f"{stage.session.path}/calls/{leaf}/cgroup.freeze", "w", encoding="ascii") as file:
        file.write("1")
    frozen = wait_until(lambda: "frozen 1" in stage.read(leaf, "cgroup.events"))
    faults = clean_up_after(stage, ledger, leaf)
    report.check("survivors that a killed launcher left frozen are thawed and no longer limited by memory.high",
                 orphans + faults + ([] if frozen else [f"{leaf} couldn't be frozen"]))
    with open(f"{stage.session.path}/calls/{leaf}/cgroup.kill", "w", encoding="ascii") as file:
        file.write("1")
    report.check("and can be ended", [] if wait_until(lambda: not stage.populated()) else stage.processes())


def clean_up_after(stage: Stage, ledger: Ledger, leaf: str) -> list[str]:
    """The next calls, and what is still wrong with the leaf after them."""
    time.sleep(SWEEP_EVERY)
    faults = call(stage, ledger, "ls /")
    if stage.read(leaf, "cgroup.freeze") != "0":
        faults.append(f"{leaf} is still frozen")
    if (high := stage.read(leaf, "memory.high")) not in ("max", ""):
        faults.append(f"{leaf} still has memory.high {high}")
    if leaf not in stage.populated():
        faults.append(f"nobody survived in {leaf}: there was nothing to show")
    return faults
