#!/usr/bin/env python3
"""Sessions as `agentshctl run` and `agentsh-helper` make them: layout, limits, what a user can do in one and can't."""
# kernels: newest lts
# mem: 1024
# timeout: 180

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from sessions import CALLS, CGROUPS, MIB, POOL, agent, equal, policy, program, read, report, run, write  # noqa: E402

OWN = "print(open('/proc/self/cgroup').read().strip())"


def layout():
    """A session's limits."""
    equal("the agent runs in the session's agent/", agent("--session", "a", script=OWN), "0::/agentsh/a/agent")
    unlimited = [read(POOL, "a", file) for file in ("memory.max", "calls/memory.max", "calls/memory.high")]
    equal("without a limit asked for there is none", unlimited, ["max"] * 3)
    equal("memory is kept for the agent", read(POOL, "a/agent/memory.min"), str(512 * MIB))
    equal("and granted all the way down", [read(POOL, f) for f in ("a/memory.min", "memory.min")], [str(512 * MIB)] * 2)

    agent("--session", "b", "--memory-max", "768M", "--priority", "high", script=OWN)
    equal("the session's limit is its memory.max", read(POOL, "b/memory.max"), str(768 * MIB))
    equal("the session has no memory.high", read(POOL, "b/memory.high"), "max")
    equal("half of a small session is the calls' budget", read(POOL, "b/calls/memory.max"), str(384 * MIB))
    equal("the agent sees the session's limit", read(POOL, "b/agent/memory.max"), str(768 * MIB))
    equal("a high priority has four times the weight", read(POOL, "b/cpu.weight"), "400")
    controllers = set(read(POOL, "b/calls/cgroup.subtree_control").split())
    report("leaves get their controllers", {"memory", "cpu", "pids"} <= controllers, controllers)
    equal("one call's OOM is not everybody's", read(POOL, "b/calls/memory.oom.group"), "0")
    report("a session nobody lives in goes with the next", not os.path.exists(f"{POOL}/a"))
    equal("and its protection with it", read(POOL, "memory.min"), str(384 * MIB))

    os.environ.update(CASE_AGENTSH=program("agentsh"), AGENTSH_LOG="/tmp/session_layout.jsonl")
    # By the first look at it that the call's launcher takes.
    mine = "print(open('/proc/self/oom_score_adj').read().strip(), call('sleep 1; cat /proc/self/oom_score_adj').out)"
    low = agent("--session", "low", "--memory-max", "768M", "--priority", "low", script=CALLS + mine)
    equal("what an agent of low priority calls goes before all others when memory has run out, not the agent", low.split(), ["0", "1000"])
    normal = agent("--session", "normal", "--memory-max", "768M", script=CALLS + mine)
    equal("a call of normal priority has its caller's", normal.split(), ["0", "0"])

    status = run(program("agentshctl"), "run", "--", "/nonexistent/agent").returncode
    equal("an agent that isn't there is 127", status, 127)
    equal("a bad amount is a usage error", run(program("agentshctl"), "run", "--memory-max", "4Q", "--", "true").returncode, 2)


def helper():
    """The helper's own subcommands."""
    made = run(program("agentsh-helper"), "root", "--memory-max", "900M")
    equal("the helper makes the pool and says where", made.stdout.strip(), POOL)
    equal("with its limit", read(POOL, "memory.max"), str(900 * MIB))
    made = run(program("agentsh-helper"), "session", "kept")
    equal("the helper makes a session and says where", made.stdout.strip(), f"{POOL}/kept")
    equal("a session's budget is within the pool", read(POOL, "kept/calls/memory.max"), str(450 * MIB))
    policy("session:\n  reserve: 100M\n", compiled=False)
    run(program("agentsh-helper"), "session", "kept")
    equal("a policy counts as soon as its file is there", read(POOL, "kept/calls/memory.max"), str(800 * MIB))
    policy("", compiled=False)
    agent("--session", "other", script=OWN)
    report("it stays while others come and go", os.path.isdir(f"{POOL}/kept"))
    equal("until it is removed", run(program("agentsh-helper"), "session", "--remove", "kept").returncode, 0)
    report("which it then is", not os.path.exists(f"{POOL}/kept"))
    write(f"{POOL}/memory.max", "max")


# What uid 1000 tries in its session: everything that it needs, then everything that it must not do.
TRY = r"""
import os
session, calls = "/sys/fs/cgroup/agentsh/mine", "/sys/fs/cgroup/agentsh/mine/calls"
def write(path, text):
    try:
        with open(path, "w") as file: file.write(text)
        return "done"
    except OSError as error:
        return error.strerror
os.mkdir(calls + "/test-0")
print("limit", write(calls + "/test-0/memory.high", "64M"), flush=True)
child = os.fork()
if child == 0:
    print("enter", write(calls + "/test-0/cgroup.procs", "0"), open("/proc/self/cgroup").read().strip(), flush=True)
    os._exit(0)
os.waitpid(child, 0)
while "populated 1" in open(calls + "/test-0/cgroup.events").read(): pass
os.rmdir(calls + "/test-0")
print("uid", os.getuid(), os.getgid())
for path, text in (
    (calls + "/cgroup.subtree_control", "-memory"), (session + "/cgroup.subtree_control", "-memory"),
    (calls + "/memory.max", "max"), (calls + "/memory.high", "max"), (calls + "/memory.swap.max", "max"),
    (calls + "/pids.max", "max"), (session + "/memory.max", "max"), (session + "/cgroup.max.descendants", "max"),
    (session + "/../memory.max", "max"), (session + "/../foreign/calls/cgroup.procs", "0"),
    (session + "/../foreign/agent/cgroup.procs", "0"), (session + "/../cgroup.procs", "0"),
    (calls + "/cgroup.procs", "0"), (session + "/agent/memory.min", "0"),
):
    print("forbidden", os.path.relpath(path, session), write(path, text))
for path in (session + "/x", session + "/../x", session + "/../foreign/calls/test-0"):
    try:
        os.mkdir(path)
        print("forbidden", path, "done")
    except OSError as error:
        print("forbidden", os.path.relpath(path, session), error.strerror)
deep = calls
try:
    for level in range(10):
        deep += "/deep"
        os.mkdir(deep)
    print("forbidden", "depth", "done")
except OSError as error:
    print("forbidden", "depth", error.strerror)
"""


def delegation():
    """What uid 1000 may do in a session that was handed over to it."""
    run(program("agentsh-helper"), "session", "foreign")
    lines = agent("--session", "mine", "--memory-max", "512M", "--uid", "1000", script=TRY).splitlines()
    equal("a user can limit a leaf of its session", lines[:1], ["limit done"])
    equal("and put its own process into it", lines[1:2], ["enter done 0::/agentsh/mine/calls/test-0"])
    report("the agent runs as the user asked for", any(line.startswith("uid 1000 ") for line in lines), lines)
    forbidden = [line.split(" ", 2)[1:] for line in lines if line.startswith("forbidden")]
    equal("all attempts were made", len(forbidden), 18)
    for what, how in forbidden:
        # Processes can't be put into calls/ itself, whoever asks: it has controllers for its children (EBUSY).
        report(f"a user can't change {what}", how != "done", how)
    equal("the controllers are still on", "memory" in read(POOL, "mine/calls/cgroup.subtree_control"), True)


# As uid 1000 in a cgroup that was delegated to it, like systemd's user manager does.
DELEGATED = r"""
import os, subprocess, sys
os.setgid(1000), os.setuid(1000)
command = [sys.argv[1], "run", "--session", "own", "--memory-max", "256M", "--", "cat", "/proc/self/cgroup"]
for _ in range(2):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    print(done.stdout.strip(), done.stderr.strip())
print(open("/proc/self/cgroup").read().strip())
"""


def self_delegated():
    """The same without root, in a delegated cgroup."""
    scope = f"{CGROUPS}/run-7.scope"
    os.mkdir(scope)
    for path in (scope, f"{scope}/cgroup.procs", f"{scope}/cgroup.subtree_control", f"{scope}/cgroup.threads"):
        os.chown(path, 1000, 1000)
    os.setxattr(scope, "user.delegate", b"1")
    write(f"{scope}/memory.max", str(512 * MIB))
    enter = f"echo $$ >{scope}/cgroup.procs && exec \"$@\""
    done = run("sh", "-c", enter, "sh", sys.executable, "-c", DELEGATED, program("agentshctl"))
    lines = done.stdout.splitlines()
    equal("a user makes a session in a delegated cgroup", lines[:1], ["0::/run-7.scope/own/agent "])
    equal("and a second time", lines[1:2], ["0::/run-7.scope/own/agent "])
    equal("who started it stays outside", lines[2:3], ["0::/run-7.scope/outside"])
    equal("its limit is set", read(scope, "own/memory.max"), str(256 * MIB))
    equal("and its budget", read(scope, "own/calls/memory.max"), str(128 * MIB))
    equal("the cgroup's own limit is as it was", read(scope, "memory.max"), str(512 * MIB))

    plain = f"{CGROUPS}/session-3.scope"
    os.mkdir(plain)
    enter = f"echo $$ >{plain}/cgroup.procs && exec setpriv --reuid=1000 --regid=1000 --clear-groups \"$@\""
    refused = run("sh", "-c", enter, "sh", program("agentshctl"), "run", "--", "true")
    equal("without delegation a user is told what to do", refused.returncode, 3)
    report("by name", "systemd-run --user" in refused.stderr, refused.stderr)


layout()
helper()
delegation()
self_delegated()
