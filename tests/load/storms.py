"""Calls at once and in a row."""

import itertools
import os
import select
import subprocess
import time
from dataclasses import dataclass

from ledger import Ledger
from stage import GUARD, Stage

AT_ONCE = 64
REAL = "/bin/bash"
# What decides the class doesn't have to run: the heaviest part of a command does.
CLASSES = ("false && pytest -q", "false && make", "false && npm install", "false && git status", "ls /proc/self >/dev/null",
           "false && ./program", "false && sed -i s/a/b/ x")


@dataclass
class Started:
    """A call that runs."""

    number: int
    status: int
    process: subprocess.Popen
    at: int


def text(number: int, status: int, part: str) -> str:
    """A command that says that it runs, waits for the end of its input, and tells what it was born with."""
    return f"echo ready; read -r _; {part}; echo mark-{number}- /proc/$$/fd/*; exit {status}"


def start(stage: Stage, number: int, command: str, stdin: int, program: str | None = None) -> subprocess.Popen:
    """Starts a command under the launcher, or under another shell."""
    return subprocess.Popen(["bash", "-c", command], executable=program or stage.bash, cwd=stage.work,
                            env=stage.environment, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            start_new_session=True)


def descriptors(output: bytes, number: int) -> list[str] | None:
    """The descriptors that a call says it has, from its output; None if the output is another."""
    lines = output.decode(errors="replace").split("\n")
    if len(lines) != 3 or lines[0] != "ready" or lines[2] or not lines[1].startswith(f"mark-{number}- "):
        return None
    return [path.rsplit("/", 1)[1] for path in lines[1].split(" ")[1:]]


def plain_descriptors(stage: Stage) -> list[str]:
    """What real bash has in the same place."""
    process = start(stage, 0, text(0, 0, "true"), subprocess.DEVNULL, REAL)
    found = descriptors(process.communicate(timeout=GUARD)[0], 0)
    if not found:
        raise SystemExit(f"{REAL} doesn't say what descriptors it has")
    return found


def end(call: Started, ledger: Ledger, plain: list[str]) -> list[str]:
    """Waits for a call; tells what isn't as with plain bash."""
    try:
        output, errors = call.process.communicate(timeout=GUARD)
    except subprocess.TimeoutExpired:
        call.process.kill()
        call.process.wait()
        ledger.was_killed(call.number)
        return [f"call {call.number} hangs"]
    ledger.ended(call.number, call.status)
    faults = []
    if call.process.returncode != call.status:
        faults.append(f"call {call.number}: status {call.process.returncode}, expected {call.status}")
    if errors:
        faults.append(f"call {call.number}: said {errors[:200]!r}")
    if descriptors(output, call.number) != plain:
        faults.append(f"call {call.number}: said {output[:200]!r}, expected descriptors {plain}")
    return faults


def begin(stage: Stage, ledger: Ledger, stdin: int, place: int) -> Started:
    """Starts the next call."""
    number, status = ledger.number(), place % 200
    process = start(stage, number, text(number, status, CLASSES[place % len(CLASSES)]), stdin)
    return Started(number, status, process, place)


def together(stage: Stage, ledger: Ledger, calls: int, report) -> None:
    """Rounds of 64 calls: all run at once, and end at once."""
    plain = plain_descriptors(stage)
    faults, crowd = [], []
    open_before = len(os.listdir("/proc/self/fd"))
    for first in range(0, calls, AT_ONCE):
        ours, theirs = os.pipe()[::-1]
        count = min(AT_ONCE, calls - first)
        running = [begin(stage, ledger, theirs, first + place) for place in range(count)]
        os.close(theirs)
        all_run = await_first_words(running)
        if not all_run:
            crowd.append(f"round {first // AT_ONCE}: not all calls began")
        elif stage.session and (populated := len(stage.populated())) != count:
            crowd.append(f"round {first // AT_ONCE}: {count} calls at once, and {populated} leaves in use")
        os.close(ours)
        faults += itertools.chain.from_iterable(end(call, ledger, plain) for call in running)
    report.check(f"{calls} calls, {AT_ONCE} at once, do as plain bash does", faults)
    report.check("while they run each has its own leaf" if stage.session else "they do run at once", crowd)
    left = len(os.listdir("/proc/self/fd")) - open_before
    report.check("their caller is left with no more descriptors", [f"{left} more"] if left else [])


def await_first_words(running: list[Started]) -> bool:
    """Waits until every shell says that it runs, without taking its words."""
    until = time.monotonic() + GUARD
    for call in running:
        if not select.select([call.process.stdout], [], [], max(0.0, until - time.monotonic()))[0]:
            return False
    return True


def in_a_row(stage: Stage, ledger: Ledger, calls: int, report) -> None:
    """One call after the other."""
    plain = plain_descriptors(stage)
    faults = []
    for place in range(calls):
        faults += end(begin(stage, ledger, subprocess.DEVNULL, place), ledger, plain)
    report.check(f"{calls} calls in a row do as plain bash does", faults)
