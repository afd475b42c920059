#!/usr/bin/env python3
"""What is held stops at its next page fault: from the charge that shows too little is left, hardly a page more is charged."""
# kernels: newest mid
# mem: 2048
# timeout: 300

import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from sessions import ROOT, program, report, run  # noqa: E402

EPISODES = 20


def main():
    """The first arm of tests/bench/reaction, without its times."""
    bench = [sys.executable, f"{ROOT}/tests/bench/reaction", "--bin", program("agentsh")]
    done = run(*bench, "--episodes", str(EPISODES), "--arms", "hold", "--json", seconds=250)
    print(done.stderr, flush=True)
    found = json.loads(done.stdout or "{}")
    hold, limits = found.get("arms", {}).get("hold", {}), found.get("limits", {})
    report("each low call was held", hold.get("episodes") == EPISODES and not hold["not_noticed"], found)
    report("the task that crosses charges no more than it had in stock", hold.get("p99_pages_crosser", 1e9) <= limits.get("pages_crosser", 0), found)
    report("and the others of its call hardly any", hold.get("p99_mib_others", 1e9) <= limits.get("mib_others", 0), found)


main()
