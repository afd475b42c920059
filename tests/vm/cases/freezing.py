#!/usr/bin/env python3
"""What a program sees of being frozen, which agentsh does to a call before it kills one: what README says of it is so.

The kernel's freezer sends its tasks through the path of signals, exactly as SIGSTOP and SIGCONT do: what waits is begun
again and sees nothing, but for the few system calls that signal(7) names, which return EINTR although no handler has
run; and what was in the middle of its work returns what it has done so far. A memory.high that is too low, with which
agentsh begins, does nothing of the kind.
"""
# kernels: newest
# mem: 2048
# timeout: 700

import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from sessions import CGROUPS, HERE, report, run  # noqa: E402

LEAF = f"{CGROUPS}/freezing"

# Everything not named here sees nothing.
INTERRUPTED = {"epoll_wait", "semop", "sigtimedwait", "io_getevents", "recv with SO_RCVTIMEO"}
CUT_SHORT = {
    "write of 1 MiB to a pipe",
    "send of 4 MiB to a socket",
    "recv of all, half there",
    "sendfile of 4 MiB to a socket",
    "read of 256 MiB of /dev/zero",
    "read of 64 MiB of /dev/urandom",
    "getrandom of 64 MiB",
}


def seen(program, how):
    """What each system call returned."""
    result = run(program, LEAF, how, seconds=300)
    if result.returncode:
        print(f"# freezing {how}: status {result.returncode}, {result.stderr.strip()}")
    return dict(line.split(": ") for line in result.stdout.splitlines())


def disturbed(results):
    """How those were disturbed that were: EINTR or short."""
    return {name: how.split(" ")[0] for name, how in results.items() if how != "whole"}


def main():
    """Compiles the program and compares."""
    os.mkdir(LEAF)
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/freezing"
        subprocess.run(["gcc", "-O2", "-static", "-o", program, f"{HERE}/freezing.c"], check=True)
        frozen, stopped, throttled = (seen(program, how) for how in ("freeze", "stop", "throttle"))
    os.rmdir(LEAF)
    for name, how in frozen.items():
        print(f"# {name}: frozen: {how}, stopped: {stopped.get(name)}, throttled: {throttled.get(name)}")
    expected = dict.fromkeys(INTERRUPTED, "EINTR") | dict.fromkeys(CUT_SHORT, "short")
    names = INTERRUPTED | CUT_SHORT
    report("every system call was tried in each way", len(frozen) == len(stopped) == len(throttled) == 27)
    report("what is frozen sees EINTR and short results where it is known, and nowhere else",
           disturbed(frozen) == expected, {n: frozen.get(n) for n in names ^ set(disturbed(frozen))})
    report("being stopped and continued looks the same", disturbed(stopped) == disturbed(frozen), disturbed(stopped))
    report("being throttled is not seen", not disturbed(throttled) and throttled, disturbed(throttled))


if __name__ == "__main__":
    main()
