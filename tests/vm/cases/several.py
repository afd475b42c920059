#!/usr/bin/env python3
"""Several agents in one pool (`agentshctl run --count`): what is guaranteed fits or nobody starts, the rest is shared, places get free."""
# kernels: newest
# mem: 1536
# timeout: 120

import os
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from sessions import MIB, POOL, PYTHON, equal, policy, program, read, report, run, until  # noqa: E402

PLACE = "/tmp/several"
AGENT = r"""
import os, subprocess, sys, time
place, number, what = sys.argv[1:]
session = "/sys/fs/cgroup" + open("/proc/self/cgroup").read().strip().split("::")[1].removesuffix("/agent")
read = lambda file: open(session + "/" + file).read().strip()
live = lambda: [name for name in os.listdir(place) if name.startswith("live-")]
def until(done):
    end = time.monotonic() + 40
    while not done() and time.monotonic() < end: time.sleep(0.02)
def say(text):
    open(f"{place}/said-{number}-", "w").write(text)
    os.rename(f"{place}/said-{number}-", f"{place}/said-{number}")
open(f"{place}/live-{number}", "w").close()
if what == "burst":
    until(lambda: len(live()) == 4)
    big = ""
    if number == "1":
        command = f"{sys.executable} -c 'print(len(bytearray(350 << 20)))'"
        big = subprocess.run([os.environ["CASE_AGENTSH"], "-c", command], capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout.strip()
    say(" ".join([os.path.basename(session), read("memory.min"), read("memory.low"), read("calls/memory.low"), read("calls/memory.max"), big]))
    until(lambda: len([name for name in os.listdir(place) if name.startswith("said-") and not name.endswith("-")]) == 4)
elif what == "queue":
    time.sleep(1)
    say(str(len(live())))
elif what == "status":
    sys.exit(7 if number == "2" else 0)
elif what == "stay":
    time.sleep(60)
os.unlink(f"{place}/live-{number}")
"""

LOCKER = """
import fcntl, os, sys, time
os.setuid(65534)
fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
print("locked", flush=True)
time.sleep(60)
"""


def command(*options, what="burst"):
    """agentshctl run with these options, and the agent above."""
    shutil.rmtree(PLACE, ignore_errors=True)
    os.makedirs(PLACE)
    words = [program("agentshctl"), "run", "--number-as", "NR", *options, "--"]
    return [*words, PYTHON, "-c", AGENT, PLACE, "NR", what]


def said():
    """What the agents have said, by number."""
    return [read(PLACE, name) for name in sorted(os.listdir(PLACE)) if name.startswith("said-")]


def agents():
    """The command lines of all processes that are one of several, or wait for a place to be it."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        words = (read("/proc", pid, "cmdline") or "").split("\0")
        if PLACE in words and "--count" not in words:
            found.append([word for word in words if word != AGENT])
    return found


def sessions(start):
    """The names of the sessions that begin so."""
    return sorted(name for name in os.listdir(POOL) if name.startswith(start))


def main():
    """The case."""
    policy("session:\n  reserve: 100M\n", compiled=False)
    os.environ["CASE_AGENTSH"] = program("agentsh")
    os.environ["AGENTSH_LOG"] = "/tmp/several.jsonl"
    fits = ("--session", "crowd", "--pool", "600M", "--guarantee", "150M")

    done = run(*command("--count", "5", *fits))
    equal("more than fit are refused", (done.returncode, said(), os.listdir(PLACE)), (3, [], []))
    report("with the numbers", "4 agents of 150M would fit, not 5" in done.stderr, done.stderr)
    done = run(*command("--count", "1", "--pool", "600M", "--guarantee", "700M", "--wait"))
    report("who would never fit doesn't wait", done.returncode == 3 and "even an empty pool" in done.stderr, done)

    done = run(*command("--count", "4", *fits))
    report("as many as fit run", done.returncode == 0, done)
    limits = f"{100 * MIB} {150 * MIB} {50 * MIB} {500 * MIB}"
    expected = [f"crowd-{n} {limits}" for n in (2, 3, 4)]
    equal("each in a session of its own, with what it is guaranteed", said()[1:], expected)
    equal("one bursts beyond its own while others leave theirs", said()[:1], [f"crowd-1 {limits} {350 * MIB}"])
    equal("the pool has its limit", read(POOL, "memory.max"), str(600 * MIB))

    done = run(*command("--count", "3", "--wait", "--session", "queue", "--guarantee", "250M", what="queue"))
    report("whom there is no place for waits until another has ended", done.returncode == 0 and len(said()) == 3, done)
    report("so that no more are there at once than fit", sorted(said())[-1:] == ["2"], said())

    done = run(*command("--count", "3", "--session", "status", what="status"))
    report("the first status that isn't 0 is all's", done.returncode == 7 and "agent 2 of 3 (status-2) ended with 7" in done.stderr, done)

    waiting = command("--count", "3", "--wait", "--session", "stay", "--guarantee", "250M", what="stay")
    with subprocess.Popen(waiting) as all_of_them:
        report("two stay, and a third waits", until(lambda: len(os.listdir(PLACE)) == 2 and len(agents()) == 3), agents())
        places = sessions("stay-")
        equal("the pool protects what they are guaranteed", [read(POOL, file) for file in ("memory.min", "memory.low")], [str(200 * MIB), str(500 * MIB)])
        done = run(*command_for_one("--guarantee", "250M"))
        report("another one is refused while they stay", done.returncode == 3 and "no place" in done.stderr, done)
        done = run(*command_for_one("--pool", "400M"))
        report("nor is their pool made too small for them", done.returncode == 3 and "500M are guaranteed" in done.stderr, done)
        all_of_them.send_signal(signal.SIGTERM)
        all_of_them.wait(20)
    report("agents end with what has started them", until(lambda: not agents()), agents())
    equal("and who waited hasn't taken a place before", (len(places), sessions("stay-")), (2, places))
    done = run(*command_for_one("--guarantee", "250M"))
    equal("and leave their places", (done.returncode, done.stderr), (0, ""))
    run("sh", "-c", f"echo max >{POOL}/memory.max")

    with subprocess.Popen([PYTHON, "-c", LOCKER, POOL], stdout=subprocess.PIPE) as locker:
        equal("any user can lock the pool's directory", locker.stdout.readline(), b"locked\n")
        done = run(*command_for_one())
        equal("and keeps no session from being made", (done.returncode, done.stderr), (0, ""))
        locker.kill()


def command_for_one(*options):
    """One agent that ends at once."""
    return [program("agentshctl"), "run", *options, "--", "true"]


main()
