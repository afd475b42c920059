#!/usr/bin/env python3
"""Which calls the scheduler reckons with when memory is short: each that lives, from its first process to that one's end."""
# kernels: newest mid
# mem: 1024
# timeout: 150

import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from sessions import CGROUPS, calls, equal, program, read, report, run, until, write  # noqa: E402

HELPER = program("agentsh-helper")
# As in bpf/agentsh.h.
OF_SESSION, OF_USER = 64, 128

# `reckoned` is how many calls have a place now.
AGENT = r"""
HELPER = os.environ["CASE_HELPER"]
def reckoned():
    return json.loads(subprocess.run([HELPER, "status", "--json"], capture_output=True, text=True).stdout)["holding"]["calls"]
def child(process):
    path = f"/proc/{process.pid}/task/{process.pid}/children"
    until(lambda: any("/calls/" in (read(f"/proc/{it}/cgroup") or "") for it in (read(path) or "").split()))
    return (read(path) or "?").split()[-1]
def begin(command):
    process = subprocess.Popen([AGENTSH, "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    return process, child(process)
def end(process):
    process.stdin.close()
    process.wait(timeout=60)
"""

# One leaf serves them all: where a kernel forgets the dead late, the place of the last one must be free in time.
CALLS = AGENT + r"""
seen, leaves = [], set()
for _ in range(8):
    subprocess.run([AGENTSH, "-c", "cat </dev/null"], check=True)
    process, pid = begin("cat")
    leaves.add((read(f"/proc/{pid}/cgroup") or "").rpartition("/")[2])
    seen.append(reckoned())
    end(process)
    seen.append(reckoned())
report("each of the calls in one leaf, one right after the other, is reckoned with, and only while it lives",
       seen == [1, 0] * 8 and len(leaves) == 1, (seen, leaves))

process, pid = begin("sleep 300 >/dev/null 2>&1 & cat")
report("a call is one", reckoned() == 1, reckoned())
end(process)
report("what it leaves behind is none", reckoned() == 0, reckoned())

process, pid = begin("cat")
open(SESSION + "/agent/cgroup.procs", "w").write(pid)
report("whose first process goes elsewhere isn't one any more", reckoned() == 0, reckoned())
end(process)

process, pid = begin("exec /usr/bin/python3 -c '" + FIRST_ENDS + "'")
until(lambda: "Z" in (read(f"/proc/{pid}/stat") or "").rpartition(")")[2])
report("a call goes on when its first thread has ended", reckoned() == 1, (reckoned(), read(f"/proc/{pid}/stat")))
end(process)
report("until the last one has", reckoned() == 0, reckoned())

process, pid = begin("cat")
reloaded = subprocess.run([HELPER, "reload"], capture_output=True, text=True)
report("a call that lives when the scheduler is replaced is one of the new one's", reckoned() == 1, (reckoned(), reloaded))
end(process)
report("to its end", reckoned() == 0, reckoned())
open(SESSION + "/calls/cgroup.kill", "w").write("1")
"""

FIRST_ENDS = """
import ctypes, os, sys, threading
threading.Thread(target=sys.stdin.read).start()
ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[os.uname().machine], 0)"""


def holding():
    """What the scheduler says of calls."""
    return json.loads(run(HELPER, "status", "--json").stdout)["holding"]


def crowd(name, number, uid=0):
    """Makes a session's folders with so many leaves, and has a process come into each, all at once."""
    base = f"{CGROUPS}/{name}"
    os.makedirs(f"{base}/calls")
    failed = [write(f"{folder}/cgroup.subtree_control", "+cpu +memory") for folder in (CGROUPS, base, f"{base}/calls")]
    equal(f"{base} has the controllers", failed, [""] * 3)
    gate, hold = os.pipe()
    inside = []
    for n in range(number):
        os.mkdir(f"{base}/calls/run-{n}")
        pid = os.fork()
        if not pid:
            # The kernel asks for the permission of who has opened it.
            procs = os.open(f"{base}/calls/run-{n}/cgroup.procs", os.O_WRONLY)
            os.setuid(uid)
            os.close(hold)
            os.read(gate, 1)
            os.write(procs, b"0")
            os.execv("/bin/sleep", ["sleep", "300"])
        inside.append(pid)
    os.close(gate)
    os.close(hold)
    leaf = lambda pid: "/calls/run-" in (read(f"/proc/{pid}/cgroup") or "")  # noqa: E731
    report(f"{number} processes are in their leaves in {base}", until(lambda: all(map(leaf, inside)), 60))
    return base, inside


def gone(crowds):
    """Ends them all and removes the folders."""
    for base, inside in crowds:
        write(f"{base}/cgroup.kill", "1")
        for pid in inside:
            os.waitpid(pid, 0)
    equal("when all have ended, every place is free", holding()["calls"], 0)
    for base, inside in crowds:
        for folder in [*(f"calls/run-{n}" for n in range(len(inside))), "calls", ""]:
            if not until(lambda path=f"{base}/{folder}": removed(path)):
                report(f"{base}/{folder} can be removed", False)


def removed(folder):
    """Removes it. Is it gone?"""
    try:
        os.rmdir(folder)
        return True
    except OSError:
        return False


def main():
    """Calls as agents make them, and crowds of them."""
    loaded = run(HELPER, "load", "--scheduler", "whole-machine")
    equal("the scheduler loads", (loaded.returncode, loaded.stderr), (0, ""))
    os.environ["CASE_HELPER"] = HELPER
    calls("--session", "places", script=f"FIRST_ENDS = {FIRST_ENDS!r}\n" + CALLS)

    crowds = [crowd("crowd-a", OF_SESSION + 6)]
    now = holding()
    equal("a session has so many places and no more", (now["calls"], now["refused"]), (OF_SESSION, 6))
    crowds += [crowd(f"crowd-{name}", OF_SESSION - 10, uid=1000) for name in "bcd"]
    equal("and a user, in all sessions", holding()["calls"], OF_SESSION + OF_USER)
    crowds.append(crowd("crowd-e", 1))
    equal("another session's call has one all the same", holding()["calls"], OF_SESSION + OF_USER + 1)
    gone(crowds)

    equal("unloading", run(HELPER, "unload").returncode, 0)
    kernel = run("dmesg").stdout
    report("the kernel had nothing to complain of", "WARNING" not in kernel and "BUG" not in kernel, kernel[-2000:])


main()
