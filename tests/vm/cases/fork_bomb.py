#!/usr/bin/env python3
"""A fork bomb is contained, ended and explained, whoever has gone meanwhile: its shell, its launcher, its reader."""
# kernels: newest lts
# mem: 2048
# timeout: 560

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from sessions import calls, policy  # noqa: E402

SCRIPT = r"""
BOMB = "b() { b | b & }; "
def leaves():
    return [n for n in os.listdir(SESSION + "/calls") if "-" in n]
def populated():
    return [n for n in leaves() if has(f"{SESSION}/calls/{n}/cgroup.events", "populated 1")]
def tasks(leaf):
    return int(read(SESSION, "calls", leaf, "pids.current") or 0)
def caretakers():
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if (read("/proc", pid, "comm") or "").startswith("agentsh-caret") and " Z " not in (read("/proc", pid, "stat") or " Z "):
            found.append(pid)
    return found
def the_end(of):
    # The caretaker's own record, of the same use of the same leaf as the call's.
    same = lambda r: (r.get("cgroup_id"), r.get("generation")) == (of["cgroup_id"], of["generation"])
    return [r for r in records() if same(r) and r.get("signal") == 9 and "kept forking" in (r.get("degraded") or "")]
def works(name, **options):
    seen = call("echo works", **options)
    report(name, (seen.status, seen.out) == (0, "works\n") and seen.record.get("leaf"), seen)
    return seen
def nothing_is_left(name):
    report(name, until(lambda: not populated() and not caretakers(), 60), (populated(), caretakers()))

# Its shell waits: the launcher itself watches it hit the limit again and again.
alive = call("b() { b | b; }; b", seconds=100)
report("a bomb whose shell lives is ended", alive.status not in (0, None), alive)
report("and explained", "process" in alive.told and "limit" in alive.told, alive)
nothing_is_left("nothing of it is left")
works("the session works")

# Its shell exits at once, and the agent reads to the end of the output, which the bomb holds open.
bomb = start(BOMB + "b >/dev/null 2>&1; exit 7")
bomb.wait(60)
its = records()[-1]
report("its shell's exit comes at once", bomb.returncode == 7, its)
leaf = its["leaf"]
during = works("another call of the session works meanwhile")
report("in another leaf", during.record.get("leaf") != leaf, during)
report("a bomb whose shell has exited meets its limit", until(lambda: tasks(leaf) >= 135, 60), tasks(leaf))
full = works("another call works while the bomb is at its limit")
report("the bomb is no larger than its limit", tasks(leaf) <= 150, tasks(leaf))
out, err = bomb.communicate(timeout=100)
report("it is ended, and the reader gets its end", out == "", out)
report("and the agent is told in the same output", "[agentsh] Killed" in err and "150 processes (pids.max)" in err, err)
nothing_is_left("nothing of it is left, nor a caretaker")
report("its end is in the log, once", len(the_end(its)) == 1, the_end(its))
report("with the command that did it", BOMB in the_end(its)[0]["command"], the_end(its))
after = works("the session works after it")
report("and is not told again", not after.told, after)

# The same as people write it. Its words go into the output, too.
classic = call(":(){ :|:& };:", seconds=100)
report("the classic bomb ends", "[agentsh] Killed" in classic.err, classic.told)
nothing_is_left("nothing of it is left either")

# One that is no shell, and begins only when its shell has gone. With the caller's output in its hands …
open("/tmp/bomb.py", "w").write("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass\n")
other = call("python3 /tmp/bomb.py & exit 3", seconds=100)
report("a bomb that is no shell ends, too", other.status == 3 and "[agentsh] Killed" in other.err, other)
nothing_is_left("and nothing is left of it")
# … and without it, where the caller goes on.
call("python3 /tmp/bomb.py >/dev/null 2>&1 & exit 3")
report("it fills its leaf", until(lambda: any(tasks(leaf) >= 135 for leaf in populated()), 60), populated())
time.sleep(1.2)
works("the call after it works")
nothing_is_left("and has it ended")

# Nobody listens any more: the next call's agent is told.
null = subprocess.DEVNULL
subprocess.run([AGENTSH, "-c", BOMB + "b; exit 0"], stdin=null, stdout=null, stderr=null, timeout=60)
its = records()[-1]
report("a bomb that nobody listens to is ended too", until(lambda: the_end(its), 100))
nothing_is_left("and nothing is left")
told = works("the next call works")
report("and tells of it", "earlier" in told.told and "150 processes" in told.told, told)
report("of this one only", "more.)" not in told.told, told)
report("the one after it does not", not works("the one after it works").told)

# Its launcher is killed: whoever comes next deals with it.
killed = subprocess.Popen([AGENTSH, "-c", BOMB + "b; sleep 1000"], stdin=null, stdout=null, stderr=null, start_new_session=True)
before = set(populated())
report("its call has begun", until(lambda: set(populated()) - before, 60))
leaf = (set(populated()) - before).pop()
report("the bomb is running", until(lambda: tasks(leaf) >= 20, 60), tasks(leaf))
killed.kill()
killed.wait()
quiet = start("sleep 1000 & echo $!; sleep 1000")
server = int(quiet.stdout.readline())
server_leaf = read(f"/proc/{server}/cgroup").rsplit("/", 1)[1]
quiet.kill()
quiet.wait()
report("it meets its limit without a launcher", until(lambda: tasks(leaf) >= 135, 60), tasks(leaf))
time.sleep(1.2)
deals = works("the next call works beside it")
report("and has it ended", until(lambda: tasks(leaf) == 0, 100), tasks(leaf))
nothing = lambda: populated() == [server_leaf] and not caretakers()
report("what else a killed launcher left lives on", until(nothing, 60) and tasks(server_leaf) == 1, (populated(), server_leaf))
after = works("the session works after that")
report("it was told of once", (deals.told + deals.err + after.told).count("earlier") >= 1, (deals, after))
os.kill(server, 9)

# What is no bomb: no caretaker for a server, a pool of workers as large as the limit lives on.
server = call("sleep 1000 >/dev/null 2>&1 & until read name </proc/$!/comm; [ $name = sleep ]; do :; done; echo $!")
report("a server that is left behind gets no caretaker", not caretakers(), caretakers())
os.kill(int(server.out), 9)
loop = call("while :; do sleep 0.2; done >/dev/null 2>&1 & echo $!")
report("a loop that is left behind may have one for some seconds", until(lambda: not caretakers(), 60), caretakers())
report("and lives on", os.path.exists(f"/proc/{loop.out.strip()}"))
os.kill(int(loop.out), 9)
pool = call("for i in {1..145}; do sleep 1000 & done >/dev/null 2>&1; echo done", seconds=100)
leaf = pool.record["leaf"]
count = tasks(leaf)
report("a pool of workers near the limit is left in peace", until(lambda: not caretakers(), 100) and tasks(leaf) == count >= 140, (count, tasks(leaf)))
open(f"{SESSION}/calls/{leaf}/cgroup.kill", "w").write("1")
nothing_is_left("nothing is left at the end")
"""

policy("classes:\n  all:\n    pids.max: 150\n  explore:\n    pids.max: 150\n  git:\n    pids.max: 150\n")
calls("--session", "s", script=SCRIPT, seconds=540)
