#!/usr/bin/env python3
"""The scheduler, loaded for the whole machine: CPU by the weights of calls and sessions, and nobody left out."""
# kernels: newest mid lts
# mem: 1024
# timeout: 400

import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from sessions import POOL, PYTHON, equal, event, program, read, report, run, until, write  # noqa: E402

STATE = "/sys/kernel/sched_ext/state"
HELPER = program("agentsh-helper")
# Classes by what agents would run: both use a whole CPU each for as long as they are let.
EXPLORE, RUN = "wc -l /dev/zero", f"{PYTHON} -c 'while True: pass'"
SECONDS = 8
TOLERANCE = 0.1

AGENT = r"""
import os, subprocess, sys
calls = [subprocess.Popen([os.environ["CASE_AGENTSH"], "-c", command]) for command in sys.argv[1:]]
sys.stdin.read()
for call in calls:
    call.wait()
"""


class Session:
    """An agent whose calls run until `end`."""

    def __init__(self, name, *commands, cpu=None):
        self.name = name
        pinned = ["taskset", "-c", str(cpu)] if cpu is not None else []
        command = [program("agentshctl"), "run", "--session", name, "--", *pinned, PYTHON, "-c", AGENT, *commands]
        environment = dict(os.environ, CASE_AGENTSH=program("agentsh"), AGENTSH_LOG="/dev/null")
        self.agent = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment)
        if not until(lambda: len(self.leaves()) == len(commands)):
            report(f"the calls of session {name} start", False, self.leaves())

    def leaves(self):
        """The leaves with somebody in them."""
        calls = f"{POOL}/{self.name}/calls"
        leaves = os.listdir(calls) if os.path.isdir(calls) else []
        return sorted(leaf for leaf in leaves if event(f"{calls}/{leaf}", "cgroup.events", "populated"))

    def used(self):
        """CPU seconds of each leaf."""
        return [event(f"{POOL}/{self.name}/calls/{leaf}", "cpu.stat", "usage_usec") / 1e6 for leaf in self.leaves()]

    def end(self):
        """Ends the calls, then the agent."""
        self.agent.stdin.close()
        write(f"{POOL}/{self.name}/calls/cgroup.kill", "1")
        self.agent.wait(timeout=30)


def measured(sessions, seconds=SECONDS):
    """CPU seconds that each leaf of each session got."""
    time.sleep(1)
    before = [session.used() for session in sessions]
    time.sleep(seconds)
    after = [session.used() for session in sessions]
    return [[b - a for a, b in zip(*pair)] for pair in zip(before, after)]


def ratio(name, expected, sessions, of):
    """The ratio of two amounts of CPU is as expected; another try is allowed, as the host has other work too."""
    for last in (False, True):
        used = measured(sessions)
        first, second = of(used)
        found = first / second if second else float("inf")
        good = abs(found / expected - 1) <= TOLERANCE
        if good or last:
            break
    for session in sessions:
        session.end()
    print(f"# {name}: {found:.2f}, of {[[round(u, 2) for u in leaves] for leaves in used]}")
    report(name, good, f"expected {expected} within {TOLERANCE:.0%}, saw {found:.2f}")


def weights():
    """Calls by their weights, sessions before calls."""
    # The leaves are in the order of their names: explore, run.
    one = Session("a", EXPLORE, RUN, cpu=1)
    ratio("two calls on one CPU get it by their weights, 3:1", 3, [one], lambda used: used[0])
    four = Session("a", " & ".join([EXPLORE] * 4 + ["wait"]), " & ".join([RUN] * 4 + ["wait"]))
    ratio("two calls of four threads each get two CPUs 3:1", 3, [four], lambda used: used[0])
    few, many = Session("a", RUN, cpu=1), Session("b", *[RUN] * 9, cpu=1)
    ratio("one call of a session has as much as nine of another", 1, [few, many], lambda used: map(sum, used))
    nested = [Session("a", EXPLORE, RUN, cpu=1), Session("b", RUN, cpu=1)]
    write(f"{POOL}/a/cpu.weight", "200")
    time.sleep(1)
    both = lambda used: (used[0][0] + used[0][1], used[1][0])  # noqa: E731
    ratio("a session of twice the weight has twice the CPU", 2, nested, both)
    nested = [Session("a", EXPLORE, RUN, cpu=1), Session("b", RUN, cpu=1)]
    write(f"{POOL}/a/cpu.weight", "200")
    time.sleep(1)
    ratio("and its calls share that by theirs", 3, nested, lambda used: used[0])


def hogs():
    """Four hogs on every CPU for a minute: calls go on, and the kernel keeps the scheduler."""
    hog = [subprocess.Popen(["taskset", "-c", str(n % os.cpu_count()), PYTHON, "-c", "while True: pass"])
           for n in range(4 * os.cpu_count())]
    # By weight they have two ninths of two CPUs: the root's tasks weigh as much as a group each.
    session = Session("a", RUN, RUN)
    used = measured([session], 60)[0]
    least = min(used) / 60
    print(f"# beside {len(hog)} hogs two calls got {[round(u / 60, 3) for u in used]} of a CPU")
    report("every call has 5 % of a CPU beside four hogs on each", least >= 0.05, f"{least:.1%}")
    status = run(HELPER, "status")
    report("the kernel didn't eject the scheduler", status.returncode == 0, status.stdout + status.stderr)
    session.end()
    for process in hog:
        process.kill()
        process.wait()


def leftovers():
    """What a call leaves behind is scheduled as its caller was."""
    agent = [program("agentshctl"), "run", "--session", "c", "--", program("agentsh"), "-c"]
    left = int(run(*agent, "sleep 60 >/dev/null 2>&1 & echo $!").stdout)
    try:
        equal("what a call leaves behind has the caller's scheduling policy",
              os.sched_getscheduler(left), os.sched_getscheduler(0))
    finally:
        os.kill(left, signal.SIGKILL)


def main():
    """Loads, tries, unloads."""
    loaded = run(HELPER, "load", "--scheduler", "whole-machine")
    if not os.path.exists(STATE):
        report("a kernel without sched_ext says so", "no sched_ext" in loaded.stderr, loaded.stderr)
        equal("and that is not a success", loaded.returncode, 3)
        equal("unloading what isn't loaded is none", run(HELPER, "unload").returncode, 0)
        report("nothing is left pinned", not os.path.exists("/sys/fs/bpf/agentsh"))
        return
    equal("the scheduler loads", (loaded.returncode, loaded.stderr, read(STATE)), (0, "", "enabled"))
    equal("the status says that it runs", run(HELPER, "status").returncode, 0)
    report("loading it again is refused", "runs already" in run(HELPER, "load", "--scheduler", "whole-machine").stderr)
    weights()
    leftovers()
    hogs()
    equal("unloading is a success", run(HELPER, "unload").returncode, 0)
    equal("and the kernel has its tasks back", read(STATE), "disabled")
    report("nothing is left pinned", not os.path.exists("/sys/fs/bpf/agentsh"))
    kernel = run("dmesg").stdout
    report("the kernel had nothing to complain of", "WARNING" not in kernel and "BUG" not in kernel, kernel[-2000:])


main()
