#!/usr/bin/env python3
"""memory.high alone can stall a process for minutes: no call, survivor or leftover of ours may hang on it."""
# kernels: newest lts
# mem: 2048
# timeout: 300

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from sessions import calls, policy  # noqa: E402

SCRIPT = r"""
def leaf_of(process):
    return SESSION + "/calls/" + open(f"/proc/{process}/cgroup").read().strip().rsplit("/", 1)[1]
def the_child(process):
    path = f"/proc/{process.pid}/task/{process.pid}/children"
    until(lambda: (read(path) or "").split())
    return int(read(path).split()[0])
def write(path, text):
    with open(path, "w") as file: file.write(text)

# Over high, no swap, and no raise allowed: nothing but the watchdog ends it.
# By faults of its own: what one long read() takes is hardly throttled, on 6.12 300 MiB came in 10 s.
stuck = call("python3 -c 'bytearray(300 << 20)'", seconds=90)
report("a call that stands still over high is ended", stuck.status == -9, stuck)
report("after its timeout and not long after", stuck.record.get("slowed_us", 0) >= 4_000_000, stuck)
report("and is told so", "stood still" in stuck.told and "64 MiB" in stuck.told, stuck)
report("it was not the OOM killer", stuck.record.get("events", {}).get("oom_kill") == 0, stuck)

# A sleeper over high: it peaked a little over, as more could not get there; the watchdog's timeout passes while it sleeps.
sleeper = start("dd if=/dev/zero bs=63M count=1 | { sleep 14; echo woke; } # sleeper")
leaf = leaf_of(the_child(sleeper))
over = lambda: int(read(leaf, "memory.current") or 0) >= int(read(leaf, "memory.high")) // 64 * 63
report("the sleeper is at its high", until(over, 40), (read(leaf, "memory.current"), read(leaf, "memory.high")))
slept = Call(sleeper, 60)
report("a sleeping process over high is left alone", (slept.status, slept.out) == (0, "woke\n"), slept)
report("and nobody is told that it was killed", "Killed" not in slept.told, slept)

# What outlives its call has no launcher that would raise its high.
over = call("setsid sleep 1000 >/dev/null 2>&1 & echo $!")
survivor = int(over.out)
leaf = leaf_of(survivor)
report("a survivor's leaf has no high", read(leaf, "memory.high") == "max", read(leaf, "memory.high"))
report("and the next call gets another leaf", call("true # after").record.get("leaf") != os.path.basename(leaf))
os.kill(survivor, 9)

# A launcher killed while its call is lowered and frozen: the next call of the session puts that right.
held = start("setsid sleep 1000 >/dev/null 2>&1 & echo $!; sleep 1000")
survivor = int(held.stdout.readline())
leaf = leaf_of(survivor)
write(leaf + "/memory.high", str(32 << 20))
write(leaf + "/cgroup.freeze", "1")
report("the call is frozen", until(lambda: has(leaf + "/cgroup.events", "frozen 1")))
shell = the_child(held)
held.kill()
held.wait()
time.sleep(1.2)
call("true # sweeps")
report("a killed launcher's leaf is thawed by the next call", until(lambda: has(leaf + "/cgroup.events", "frozen 0")))
report("and its high is taken off", read(leaf, "memory.high") == "max", read(leaf, "memory.high"))
report("its shell is gone", until(lambda: not os.path.exists(f"/proc/{shell}/exe") or read(f"/proc/{shell}/stat").split(")")[1].split()[0] == "Z"))
os.kill(survivor, 9)

# Memory that is left behind when a call is over.
for kind, command in (
    ("tmpfs", "dd if=/dev/zero of=/dev/shm/left bs=1M count=48 2>/dev/null"),
    ("page cache", "dd if=/dev/zero of=/tmp/left bs=1M count=48 2>/dev/null"),
):
    left = call(command)
    again = call(command.replace("count=48", "count=1"))
    report(f"a leaf with {kind} left in it is not used again", left.record["cgroup_id"] != again.record["cgroup_id"], (left, again))
    report(f"the call after that is not the poorer for {kind}", again.status == 0 and again.record["memory_peak"] < 40 << 20, again)
os.unlink("/dev/shm/left")
report("leaves do not pile up", len([n for n in os.listdir(SESSION + "/calls") if "-" in n]) <= 8, os.listdir(SESSION + "/calls"))
"""

STUCK = """
overrides:
  - match: [python3, -c]
    memory.high: 64M
    memory.max: 512M
    limits: birth
    raise: false
    throttle_timeout: 5s
  - match: [dd]
    memory.high: 64M
    memory.max: 512M
    limits: birth
    raise: false
    throttle_timeout: 5s
  - match: [dd, "if=/dev/zero", "bs=63M", "count=1"]
    memory.high: 64M
    throttle_timeout: 9s
"""

policy(STUCK)
calls("--session", "s", script=SCRIPT, seconds=280)
