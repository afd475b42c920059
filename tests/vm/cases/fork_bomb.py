#!/usr/bin/env python3
"""A fork bomb whose shell lives is contained, ended and explained; the session stays usable."""
# kernels: newest lts
# mem: 2048
# timeout: 240

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from sessions import calls, policy  # noqa: E402

SCRIPT = r"""
def populated():
    names = [n for n in os.listdir(SESSION + "/calls") if "-" in n]
    return [n for n in names if has(f"{SESSION}/calls/{n}/cgroup.events", "populated 1")]

# Its shell waits: the launcher itself watches it hit the limit again and again.
alive = call("b() { b | b; }; b", seconds=100)
report("a bomb whose shell lives is ended", alive.status not in (0, None), alive)
report("and explained", "process" in alive.told and "limit" in alive.told, alive)
report("nothing of it is left", until(lambda: not populated()), populated())

works = call("echo works")
report("the session works", (works.status, works.out) == (0, "works\n"), works)
"""

policy("classes:\n  all:\n    pids.max: 150\n  explore:\n    pids.max: 150\n  git:\n    pids.max: 150\n")
calls("--session", "s", script=SCRIPT, seconds=220)
