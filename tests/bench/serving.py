"""agentsh-helper serve alive and killed in turns, and what the calls of a container take meanwhile."""

import signal
import statistics
import subprocess
import sys
import time

from pairs import ratio

ARMS = ("alive", "killed")
# After serve has begun to listen or has ended: what comes and goes with a process is over.
SETTLE_SECONDS = 0.5
BLOCK_SECONDS = 120


class Serve:
    """agentsh-helper serve, as long as it is wanted."""

    def __init__(self, program: str) -> None:
        self.program, self.process = program, None

    def set(self, alive: bool) -> None:
        """Starts it, and waits until it listens; or kills it, and waits for its end. Does nothing if that is so already."""
        if alive == (self.process is not None):
            return
        if alive:
            self.process = subprocess.Popen([self.program, "serve"], stdout=subprocess.PIPE, text=True)
            if self.process.stdout.readline() != "serving\n":
                sys.exit("serve doesn't serve")
        else:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(30)
            self.process = None
        time.sleep(SETTLE_SECONDS)

    def lives(self) -> bool:
        """Hasn't it ended by itself?"""
        return self.process is not None and self.process.poll() is None


def in_turns(serve: Serve, callers, pairs: int, calls: int, seconds: float) -> tuple[dict[str, list[list[float]]], int]:
    """Pairs of blocks of so many calls, one with serve alive and one with it killed: the milliseconds of the calls, block by
    block, and how many ended wrong. Ends early when so many seconds are over.

    The second block of a pair is what the next pair begins with, so that serve is started or killed once a pair, and each
    arm comes right behind that equally often."""
    took: dict[str, list[list[float]]] = {arm: [] for arm in ARMS}
    wrong, end = 0, time.monotonic() + seconds
    for pair in range(pairs):
        if time.monotonic() > end:
            break
        for arm in ARMS if pair % 2 == 0 else reversed(ARMS):
            serve.set(arm == "alive")
            block, amiss = callers.play(calls, BLOCK_SECONDS)
            if serve.lives() != (arm == "alive"):
                sys.exit("serve has ended by itself")
            took[arm].append(block)
            wrong += amiss
    return took, wrong


def medians(took: dict[str, list[list[float]]]) -> dict[str, list[float]]:
    """Each block's median."""
    return {arm: [statistics.median(block) for block in blocks] for arm, blocks in took.items()}


def compared(took: dict[str, list[list[float]]]) -> tuple[float, float, float]:
    """What a call takes with serve alive in times of what it takes with serve killed: the median of the pairs, and its 95 % interval."""
    of = medians(took)
    return ratio(of["alive"], of["killed"])
