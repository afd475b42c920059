#!/usr/bin/env python3
"""The monitor: what calls did is counted in the kernel, by nobody who stays, and is gone when unloaded."""
# kernels: newest mid lts
# mem: 1024
# timeout: 200

import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from bpf_objects import objects  # noqa: E402
from sessions import calls, equal, policy, program, report, run, until  # noqa: E402

HELPER = program("agentsh-helper")
LOG = "/tmp/monitored.jsonl"

CALLS = r"""
subprocess.run(["/usr/bin/env", "sleep", "0.1"])
call("for i in 1 2 3 4 5; do /bin/true; done")
call("head -c 40M /dev/zero | tail -n 1 | wc -c")
call("python3 -c 'import threading; [t.start() for t in [threading.Thread(target=int) for i in range(9)]]'")
crowd = [start("sleep 0.2; git --version >/dev/null; true") for i in range(20)]
for each in crowd:
    each.wait()
import shutil
shutil.copy(LOG, "%s")
""" % LOG


def stats():
    """What the helper shows."""
    shown = run(HELPER, "stats", "--json")
    return [json.loads(line) for line in shown.stdout.splitlines()]


def main():
    """Loads, makes calls, looks."""
    before = objects()
    loaded = run(HELPER, "load")
    said = [line.split(" (")[0] for line in loaded.stdout.splitlines()]
    equal("the monitor loads, and nothing of it is lacking", said[:2], ["monitor: loaded", "scheduler: off"])
    equal("loading twice is no failure", run(HELPER, "load").returncode, 0)
    report("no process of ours stays", not run("pgrep", "-f", "agentsh-helper").stdout)
    # tail keeps the line that it may have to show: 40 MB are too much for this class.
    policy("classes:\n  explore:\n    memory.high: 24M\n    memory.max: 64M\n    raise: false\n    throttle_timeout: 3s\n")
    calls("--session", "m", script=CALLS, seconds=150)
    with open(LOG, encoding="utf-8") as file:
        log = [json.loads(line) for line in file]
    seen = stats()
    ended = [call for call in seen if call["ended_ns"]]

    def of(record):
        """What the kernel counted of a call of the log: of its cgroup, and begun next after it was claimed."""
        later = [c for c in ended if c["cgroup_id"] == record["cgroup_id"] and c["began_ns"] >= record["generation"]]
        return min(later, key=lambda call: call["began_ns"], default=None)

    found = [of(record) for record in log if "leaf" in record]
    equal("every call of the log has its counts", (len(found), found.count(None)), (23, 0))
    equal("and each its own", len({(c["cgroup_id"], c["began_ns"]) for c in found if c}), 23)
    loop, search, threads = found[:3]
    counts = [loop[key] for key in ("forks", "execs", "exits")]
    equal("a shell with five children is six processes and six programs", counts, [6, 6, 6])
    equal("the session and the leaf have their names", (loop["session"], loop["name"]), ("m", log[0]["leaf"]))
    equal("threads aren't counted as processes", (threads["exits"] - threads["forks"]), 0)
    print(f"# {search['fastest'] / 1e6:.0f} MB/s at most, {search['throttled_ns'] / 1e9:.2f} s throttled")
    report("what a call grew by is seen", search["fastest"] > 1_000_000, search)
    report("and the time it was throttled", search["throttled_ns"] > 1_000_000, search)
    joined = run(program("agentshctl"), "log", "--join", "--json", "--file", LOG)
    together = [json.loads(line) for line in joined.stdout.splitlines()]
    equal("the log is joined with the counts", [r["kernel"] and r["kernel"]["forks"] for r in together],
          [counts["forks"] for counts in found])
    shown = run(program("agentshctl"), "log", "--join", "--file", LOG).stdout.splitlines()
    report("for people too", "6 processes, 6 programs" in shown[1], shown[:2])
    direct = [json.loads(line) for line in run(HELPER, "stats", "--direct", "--json").stdout.splitlines()]
    past = [it for it in direct if it["comm"] == "sleep"]
    report("what the agent starts by itself is noticed", len(past) == 1 and past[0]["ended_ns"], direct)
    report("and agentsh, which it starts for every call, isn't", not [it for it in direct if it["file"].endswith("agentsh")],
           direct)
    agents = [call for call in seen if call["name"] == "agent" and call["session"] == "m"]
    report("the agent itself has started its calls", agents and agents[0]["execs"] >= 1, agents)

    equal("unloading is a success", run(HELPER, "unload").returncode, 0)
    report("no pin is left", not os.path.exists("/sys/fs/bpf/agentsh"))
    # The kernel frees them a moment after the last reference has gone.
    report("no program, map or link is left", until(lambda: objects() == before), (before, objects()))
    equal("without it there are no counts", run(HELPER, "stats").returncode, 3)
    kernel = run("dmesg").stdout
    report("the kernel had nothing to complain of", "WARNING" not in kernel and "BUG" not in kernel, kernel[-2000:])


main()
