#!/usr/bin/env python3
"""An agent that a tool call starts: a session beneath, leaves for its calls, and the outer budget over all of it."""
# kernels: newest
# mem: 1024
# timeout: 150

import os
import shutil
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from sessions import CALLS, PYTHON, agent, program, report, write  # noqa: E402

PLACE = "/tmp/nested_agents"
# What the inner agent does: a call, one that takes more than there is after it has lifted its own limits, an agent of its own.
INNER = r"""
who, is_first = sys.argv[2], sys.argv[3] == "1"
own = open("/proc/self/cgroup").read().strip().removeprefix("0::")
base = own.removesuffix("/agent")
report(who + ": its own processes are in a session beneath", own == OUTER + "/calls/agent-0" * (1 if is_first else 2) + "/agent", own)
one = call("cat /proc/self/cgroup")
report(who + ": its call is in a leaf of its class there", one.out.strip() == "0::" + base + "/calls/explore-0", one)
report(who + ": and logged under its session", one.record.get("session") == (NAME if is_first else "agent-0") + "/agent-0", one.record)
if is_first:
    for file in ("memory.max", "calls/memory.max", "agent/memory.max"):
        open(SESSION + "/" + file, "w").write("max")
    big = call(sys.executable + " -c 'x = bytearray(400 << 20); print(len(x))'")
    report(who + ": a call beyond the outer budget is killed, whatever the inner limits are", big.status == -9 and not big.out, big)
    report(who + ": and it is told why", "emory" in big.told, big)
    report(who + ": the inner agent goes on", call("echo on").out == "on\n")
    peak, budget = (int(read("/sys/fs/cgroup" + OUTER, "calls", file)) for file in ("memory.peak", "memory.max"))
    report(who + ": all of it stayed within the outer budget", 64 << 20 < peak <= budget, (peak, budget))
    deeper = call(f"{sys.argv[0]} -p {who}-deeper 0")
    print(deeper.out, end="")
    report(who + ": an agent of the inner agent gets one too", deeper.out.count("ok ") == 3, deeper)
"""
OUTER = r"""
who, own = os.environ["WHO"], open("/proc/self/cgroup").read()
before = read(SESSION, "calls/memory.max")
it = call(os.environ["PLACE"] + "/claude -p " + who + " 1")
print(it.out, end="")
report(who + ": the inner agent ran to its end", it.status == 0 and it.out.count("ok ") == 11, it)
report(who + ": it is logged as an agent, without a leaf", (it.record.get("class"), it.record.get("placement")) == ("agent", "in_place"), it.record)
report(who + ": and where it went", "in a session of its own: agent-0" in (it.record.get("degraded") or ""), it.record)
report(who + ": the outer budget is what it was", read(SESSION, "calls/memory.max") == before, before)
report(who + ": the outer agent is where it was", open("/proc/self/cgroup").read() == own)
time.sleep(1.1)
call("sleep 0.3")
report(who + ": the session beneath goes when nobody lives in it", not os.path.exists(SESSION + "/calls/agent-0"), os.listdir(SESSION + "/calls"))
"""


def main():
    """As root, and as a user that the session was handed over to."""
    shutil.rmtree(PLACE, ignore_errors=True)
    os.makedirs(PLACE)
    for name in ("agentsh", "agentshctl"):
        shutil.copy(program(name), f"{PLACE}/{name}")
    for who, options in (("root", ()), ("user", ("--uid", "1000"))):
        name = f"nested-{who}"
        write(f"{PLACE}/claude", f"#!{PYTHON}\n{CALLS}\nOUTER, NAME = '/agentsh/{name}', '{name}'\n{INNER}")
        os.chmod(f"{PLACE}/claude", 0o755)
        os.environ.update(CASE_AGENTSH=f"{PLACE}/agentsh", AGENTSH_LOG=f"/tmp/{name}.jsonl", PLACE=PLACE, WHO=who)
        said = agent("--session", name, "--memory-max", "400M", *options, script=CALLS + OUTER, seconds=120)
        print(said, flush=True)
        report(f"{who}: all of it was tried", said.count("ok ") == 17, said.count("ok "))


main()
