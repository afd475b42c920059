#!/usr/bin/env python3
"""When memory runs out a call dies, and never the agent or another call; the agent is told what happened."""
# kernels: newest mid lts
# mem: 2048
# timeout: 400

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from sessions import POOL, calls, policy, program, run, write  # noqa: E402

# `dd bs=N` takes N bytes at once; with a reader that doesn't read it keeps them.
BOUND = r"""
report("the agent is in its session", SESSION.endswith("/s"), SESSION)
other = start("sleep 300")
ballast = bytearray(120 << 20)
ballast[::4096] = b"x" * len(ballast[::4096])

big = call("dd if=/dev/zero of=/dev/null bs=1G count=1")
report("a call beyond its limit is killed", big.status in (-9, 137), big)
report("its leaf had the limit, a sixteenth below the budget", big.record.get("limits", {}).get("memory_max") == 360 << 20, big)
report("the agent is told that it was memory", "memory" in big.told and "360 MiB" in big.told, big)
report("and the peak, whose limit, and what to do", all(w in big.told for w in ("peak", "limit of", "no more to give")), big)
report("the kernel's count is in the log", big.record.get("events", {}).get("oom_kill", 0) >= 1, big)

many = call("for i in $(seq 16); do dd if=/dev/zero bs=40M count=1 | sleep 30 & done; wait")
report("16 workers, each smaller than the agent, die together", many.status in (-9, 137), many)
report("which is explained", "memory" in many.told, many)

budget = call("python3 -c 'b\"x\" * (600 << 20)'")
report("a call that is born with the session's limit ends at the budget", budget.status in (-9, 137), budget)
report("and is told that it was the budget of all calls", "all calls of this session" in budget.told, budget)

report("another call lives on", other.poll() is None)
report("the agent lives and has its memory", ballast[4096] == ord("x"))
plain = call("kill -9 $$")
report("a plain kill -9 is not explained", (plain.status, plain.told) == (-9, ""), plain)
plain = call("exit 137")
report("nor is exit 137", (plain.status, plain.told) == (137, ""), plain)
other.kill()
"""

PROCESS = r"""
one = call("dd if=/dev/zero of=/dev/null bs=1G count=1; echo the shell lives")
report("with oom: process the shell lives", one.out == "the shell lives\n" and one.status == 0, one)
report("and the agent is told of the one process", "one process" in one.told, one)
"""

calls("--session", "s", "--memory-max", "768M", script=BOUND, seconds=150)

run(program("agentsh-helper"), "session", "group", "--memory-max", "768M")
for above in (f"{POOL}/group", POOL):
    print(f"# oom.group above: {write(f'{above}/memory.oom.group', '1') or 'set'}")
calls("--session", "group", "--memory-max", "768M", script=BOUND.replace("/s\"", "/group\""), seconds=150)

policy("classes:\n  edit:\n    oom: process\n")
calls("--session", "process", "--memory-max", "768M", script=PROCESS, seconds=60)
