#!/usr/bin/env python3
"""Fifty times load and unload of the scheduler and the monitor, under load: no call is lost, and nothing is left behind."""
# kernels: newest mid
# mem: 2048
# timeout: 900
# one-thread: yes

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from bpf_objects import objects  # noqa: E402
from sessions import report, run  # noqa: E402
from under_load import HELPER, Load, goes_first, nothing_is_left  # noqa: E402

ROUNDS = 50


def main():
    """All of it."""
    goes_first()
    before = objects()
    calls = Load()
    began, failed = time.monotonic(), []
    for number in range(ROUNDS):
        for command in (("load", "--scheduler", "whole-machine"), ("unload",)):
            done = run(HELPER, *command)
            if done.returncode:
                failed.append((number, command, done.stderr))
    print(f"# {ROUNDS} times load and unload: {time.monotonic() - began:.0f} s")
    report(f"{ROUNDS} times load and unload", not failed, failed[:2])
    calls.goes_on("calls go on after all that")
    calls.end()
    nothing_is_left(before)


main()
