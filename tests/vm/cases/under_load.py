"""For cases that load and unload the scheduler under load: an agent that makes calls all the time, and the two commands."""

import json
import os
import subprocess
import time

from bpf_objects import objects
from sessions import CGROUPS, POOL, PYTHON, equal, program, read, report, run, until, write

STATE = "/sys/kernel/sched_ext/state"
PINS = "/sys/fs/bpf/agentsh"
HELPER = program("agentsh-helper")
TIMEOUT_MS = 5000
# From the stall to the machine's tasks being back with the kernel: the bound of the acceptance line.
RECOVERY_SECONDS = 6

# Calls one after another in each of three threads, beside two that use a CPU each; told of on standard output.
AGENT = r"""
import json, os, subprocess, sys, threading, time
agentsh, over = os.environ["CASE_AGENTSH"], threading.Event()
commands = ["ls / >/dev/null; echo said", "awk 'BEGIN { for (;n<200000;n++); print \"said\" }'", "git --version | sed 's/.*/said/'"]
def loop(command):
    while not over.is_set():
        began = time.monotonic()
        done = subprocess.run([agentsh, "-c", command], capture_output=True, text=True)
        print(json.dumps([began, time.monotonic(), done.returncode, done.stdout, done.stderr]), flush=True)
threads = [threading.Thread(target=loop, args=[command]) for command in commands]
hogs = [subprocess.Popen([agentsh, "-c", "python3 -c 'while True: pass'"]) for _ in range(2)]
for thread in threads:
    thread.start()
sys.stdin.read()
over.set()
for thread in threads:
    thread.join()
for hog in hogs:
    print(json.dumps(hog.poll()), flush=True)
    hog.kill()
"""


class Load:
    """An agent that makes calls until `end`."""

    def __init__(self):
        self.log = f"/tmp/load-{time.monotonic_ns()}"
        command = [program("agentshctl"), "run", "--session", "load", "--", PYTHON, "-c", AGENT]
        environment = dict(os.environ, CASE_AGENTSH=program("agentsh"), AGENTSH_LOG="/dev/null")
        with open(self.log, "w", encoding="utf-8") as out:
            self.agent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, env=environment)
        self.goes_on("the calls start")

    def calls(self):
        """All that have ended."""
        with open(self.log, encoding="utf-8") as file:
            return [call for call in map(json.loads, file.read().splitlines()) if isinstance(call, list)]

    def goes_on(self, name):
        """Are calls made that began after now?"""
        now = time.monotonic()
        good = until(lambda: sum(call[0] >= now for call in self.calls()) >= 3, 60)
        report(name, good, f"{len(self.calls())} calls, none since")

    def end(self):
        """Ends it and says how it went."""
        self.agent.stdin.close()
        self.agent.wait(timeout=60)
        with open(self.log, encoding="utf-8") as file:
            hogs = [line for line in map(json.loads, file.read().splitlines()) if not isinstance(line, list)]
        write(f"{POOL}/load/calls/cgroup.kill", "1")
        calls = self.calls()
        took = sorted(call[1] - call[0] for call in calls) or [0]
        longest, usual = took[-1], took[len(took) // 2]
        bad = [call for call in calls if call[2:] != [0, "said\n", ""]]
        print(f"# {len(calls)} calls, half of them within {usual:.1f} s, the longest {longest:.1f} s")
        report("no call was lost or ended otherwise", calls and not bad, bad[:3])
        equal("those that never end still ran", hogs, [None, None])
        # What waits is let go within the watchdog's time; a call is several processes, and the machine may be slow.
        most = RECOVERY_SECONDS + max(2 * RECOVERY_SECONDS, 4 * usual)
        report("none was stuck for longer", longest <= most, f"{longest:.1f} s of {most:.1f} s")


def load(*options, name="it loads"):
    """Loads for the whole machine."""
    done = run(HELPER, "load", "--scheduler", "whole-machine", *options)
    equal(name, (done.returncode, done.stderr, read(STATE)), (0, "", "enabled"))


def unload(name="it unloads"):
    """And ends it."""
    done = run(HELPER, "unload")
    equal(name, (done.returncode, done.stderr, read(STATE), os.path.exists(PINS)), (0, "", "disabled", False))


def goes_first():
    """The case itself goes first: what it does competes with the load that it makes."""
    os.mkdir(f"{CGROUPS}/case")
    write(f"{CGROUPS}/case/cpu.weight", "10000")
    write(f"{CGROUPS}/case/cgroup.procs", "0")


def nothing_is_left(before):
    """What has to be so at the end: no more BPF objects than before, and a kernel without complaints."""
    report("no program, map or link is left", until(lambda: objects() == before), (before, objects()))
    report("and no pin", not os.path.exists(PINS))
    kernel = run("dmesg").stdout
    bad = [line for line in kernel.splitlines() if "WARNING" in line or "BUG" in line or "hung" in line]
    report("the kernel had nothing to complain of", not bad, kernel[-2000:])
