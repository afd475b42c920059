#!/usr/bin/env python3
"""Agents under one pool that has too little memory: nobody dies if waiting helps, and the high one never does."""
# kernels: newest mid
# mem: 2560
# timeout: 600
# quiet: yes

import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from sessions import ROOT, program, report, run  # noqa: E402

# lts has no sched_ext.
SCHEDULER = os.path.exists("/sys/kernel/sched_ext")
ROUNDS, ROUNDS_UNFIT = 5, 1


def experiment(*arguments):
    """Runs tests/bench/tenants: what it found, by arm."""
    folder = os.path.dirname(program("agentsh"))
    arms = "tier1,tier2" if SCHEDULER else "tier1"
    command = [sys.executable, f"{ROOT}/tests/bench/tenants", "--bin", folder, "--arms", arms, "--no-alone", "--json", *arguments]
    done = run(*command, seconds=550)
    print(done.stderr, flush=True)
    if not done.stdout:
        raise SystemExit("the experiment came to no end")
    return {found["arm"]: found for found in json.loads(done.stdout)["findings"]}


def main():
    """The paper's mix in its tight pool, then the one that can't fit."""
    for arm, found in experiment("--rounds", str(ROUNDS), "--pool", "1100").items():
        report(f"{arm}: three of three live, in each of {found['runs']} runs", found["survived"] == found["of"], found)
    for arm, found in experiment("--rounds", str(ROUNDS_UNFIT), "--mix", "unfit").items():
        report(f"{arm}: where they can't all fit, the high one lives", found["high survived"] == found["runs"], found)
        report(f"{arm}: and who dies is killed by agentsh, and told so", not found["misses"], found)


main()
