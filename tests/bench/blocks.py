"""Interleaved blocks with agentsh's scheduler loaded and with the kernel's fair class, for the benchmarks that compare them."""

import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

SCHEDULERS = ("fair", "agentsh")
# After a change of schedulers, before anything is measured.
SETTLE_SECONDS = 1.0


def helper(program: Path, *arguments: str) -> None:
    """Runs agentsh-helper; its failure ends the benchmark."""
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        sys.exit(f"{program} {' '.join(arguments)}: {done.stderr.strip()}")


def switch_to(scheduler: str, program: Path) -> None:
    """Loads agentsh's scheduler or leaves the machine to the kernel's, and looks whether that is so."""
    helper(program, *(("load", "--scheduler", "whole-machine") if scheduler == "agentsh" else ("unload",)))
    expected = "enabled" if scheduler == "agentsh" else "disabled"
    state = Path("/sys/kernel/sched_ext/state").read_text(encoding="ascii").strip()
    if state != expected:
        sys.exit(f"sched_ext is {state}, and should be {expected}")
    time.sleep(SETTLE_SECONDS)


def interleaved(program: Path, blocks: int, measure: Callable[[str], list[float]]) -> dict[str, list[list[float]]]:
    """`measure` in each of so many blocks for both schedulers, which begin in turn: the values, block by block."""
    values: dict[str, list[list[float]]] = {scheduler: [] for scheduler in SCHEDULERS}
    helper(program, "unload")
    try:
        for block in range(blocks):
            for scheduler in SCHEDULERS if block % 2 == 0 else reversed(SCHEDULERS):
                switch_to(scheduler, program)
                values[scheduler].append(measure(scheduler))
                state = Path("/sys/kernel/sched_ext/state").read_text(encoding="ascii").strip()
                if (state == "enabled") != (scheduler == "agentsh"):
                    sys.exit(f"block {block}: the scheduler was {state} at the end: agentsh-helper status")
                helper(program, "unload")
    finally:
        subprocess.run([program, "unload"], capture_output=True, timeout=300, check=False)
    return values


def ratio_of(statistic: Callable[[list[float]], float], values: dict[str, list[list[float]]]) -> tuple[float, float, float]:
    """agentsh / fair of a statistic of all values, and its 95 % interval by bootstrap of pairs of blocks."""
    pairs = list(zip(values["agentsh"], values["fair"], strict=True))

    def ratio(chosen: list[tuple[list[float], list[float]]]) -> float:
        return statistic(sum((a for a, _ in chosen), [])) / statistic(sum((f for _, f in chosen), []))

    rng = random.Random(1)
    resampled = sorted(ratio(rng.choices(pairs, k=len(pairs))) for _ in range(1000))
    return ratio(pairs), resampled[25], resampled[974]


def p95(values: list[float]) -> float:
    """The 95th percentile; the largest of fewer than 20."""
    return sorted(values)[min(len(values) - 1, int(0.95 * len(values)))]


def machine() -> dict[str, object]:
    """Where and when this was measured."""
    return {
        "date": time.strftime("%F"),
        "kernel": platform.release(),
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0],
    }


def summary(values: dict[str, list[list[float]]]) -> dict[str, dict[str, float]]:
    """Median and 95th percentile of both."""
    flat = {scheduler: sum(blocks, []) for scheduler, blocks in values.items()}
    return {name: {"n": len(all_), "median": statistics.median(all_), "p95": p95(all_)} for name, all_ in flat.items()}
