#!/usr/bin/env python3
"""The scheduler holds what matters less while others need the memory: within a session, and between sessions of a pool."""
# kernels: newest mid
# mem: 2048
# timeout: 700

import json
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from sessions import CGROUPS, HERE, MIB, POOL, calls, equal, event, policy, program, read, report, run, until, write  # noqa: E402

HELPER = program("agentsh-helper")
# `hog` is what a search, an installation or a build is in this case: only its memory counts. Weights: 300, 50, 100.
# Of the newer of two kernels.
CAPS = "/sys/kernel/sched_ext/root/caps"
POLICY = """
session:
  reserve: 64M
overrides:
  - match: [hog, "look*"]
    class: explore
    memory.max: max
  - match: [hog, "install*"]
    class: install
    # A slow machine takes its time.
    throttle_timeout: 100s
  - match: [hog, "install-never"]
    freeze: never
  - match: [hog, "look-w"]
    depends: [install]
# So that who waits does so until the other has ended, on a slow machine too.
holding:
  recent: 10m
"""

# What an agent's script begins with: `holding` is what the scheduler has done so far.
WATCH = r"""
import signal
MIB = 1 << 20
HELPER = os.environ["CASE_HELPER"]
def holding():
    return json.loads(subprocess.run([HELPER, "status", "--json"], capture_output=True, text=True).stdout)["holding"]
def leaves():
    return [l for l in os.listdir(SESSION + "/calls") if has(f"{SESSION}/calls/{l}/cgroup.events", "populated 1")]
def usage(word):
    return sum(int(read(SESSION, "calls", l, "memory.current") or 0) for l in os.listdir(SESSION + "/calls") if l.startswith(word))
def grown(word, mib):
    report(f"{word}: {mib} MiB are there", until(lambda: usage(word) >= mib * MIB, 60), usage(word) // MIB)
def show(call):
    r = call.record
    print(f"# {r.get('command')}: status {call.status}, slowed {r.get('slowed_us', 0) / 1e6:.1f} s, held by its launcher "
          f"{r.get('held_us', 0) / 1e6:.1f} s, killed {r.get('killed')}, oom {(r.get('events') or {}).get('oom_kill')}", flush=True)
    if call.told: print("#   " + call.told.replace("\n", "\n#   "), flush=True)
    return call
def ended(process, seconds=100):
    return show(Call(process, seconds))
def whole(name, call, word):
    report(f"{name}: {word} comes to its end", (call.status, call.out) == (0, word + " whole\n"), call)
def untouched(name, call, word):
    whole(name, call, word)
    report(f"{name}: {word} was never held up", not call.record["held_us"] and not call.record["killed"], call)
"""

# The budget is 600 MiB: the search is busy, and so may take more, until it is let go.
WITHIN = r"""
before = holding()
low = start("hog install-a 340 60")
grown("install", 180)
high = start("hog look-a 230 100 /tmp/hold-go-a 1 busy")
report("within: the low call is held", until(lambda: holding()["holds"] > before["holds"], 60), holding())
time.sleep(1)
after = usage("install")
time.sleep(1)
report("within: and hardly grows", usage("install") < after + 16 * MIB, (after // MIB, usage("install") // MIB))
print("# within:", after // MIB, usage("install") // MIB, usage("explore") // MIB, flush=True)
open("/tmp/hold-go-a", "w").close()
untouched("within", ended(high), "look-a")
whole("within", ended(low), "install-a")
print("# within:", holding(), flush=True)
"""

ENDED = r"""
before = holding()
low = start("hog install-b 340 60")
grown("install", 180)
high = start("hog look-b 230 100 /tmp/hold-go-b 1 busy")
report("kill: the low call is held", until(lambda: holding()["holds"] > before["holds"], 60), holding())
leaf = next(l for l in leaves() if l.startswith("install"))
victims = [int(pid) for pid in read(SESSION, "calls", leaf, "cgroup.procs").split()]
begun = time.monotonic()
for victim in victims: os.kill(victim, signal.SIGKILL)
gone = until(lambda: leaf not in leaves(), 20)
report("kill: a held call dies of SIGKILL", gone, victims)
print(f"# killed within {time.monotonic() - begun:.3f} s", flush=True)
ended(low)
before = holding()
low = start("hog install-c 340 60")
report("unload: the low call is held", until(lambda: holding()["holds"] > before["holds"], 60), (holding(), usage("install") // MIB))
unloaded = subprocess.run([HELPER, "unload"], capture_output=True, text=True)
report("unload: while a call is held", unloaded.returncode == 0, unloaded)
open("/tmp/hold-go-b", "w").close()
untouched("unload", ended(high), "look-b")
whole("unload", ended(low), "install-c")
"""

# A task that may run on CPU 1 alone stands still when that goes; and many stand still at once.
PINNED = r"""
before = holding()
low = start("hog install-e 340 60")
grown("install", 180)
leaf = next(l for l in leaves() if l.startswith("install"))
for pid in read(SESSION, "calls", leaf, "cgroup.procs").split(): os.sched_setaffinity(int(pid), {1})
high = start("hog look-e 230 100 /tmp/hold-go-e 1 busy")
report("hotplug: the low call is held", until(lambda: holding()["now"] > 0, 60), holding())
online = "/sys/devices/system/cpu/cpu1/online"
begun = time.monotonic()
with open(online, "w") as file: file.write("0")
took = time.monotonic() - begun
report("hotplug: CPU 1 goes, though what is held may run there alone", read(online) == "0", read(online))
report("hotplug: the scheduler stays", read("/sys/kernel/sched_ext/state") == "enabled", read("/sys/kernel/sched_ext/state"))
print(f"# CPU 1 was gone after {took:.1f} s", flush=True)
open("/tmp/hold-go-e", "w").close()
whole("hotplug", ended(high), "look-e")
whole("hotplug", ended(low), "install-e")
with open(online, "w") as file: file.write("1")
low = start("hog install-f 400 60 /tmp/hold-go-f 100")
grown("install", 180)
high = start("hog look-f 230 100 /tmp/hold-go-f 1 busy")
report("many: the low call is held", until(lambda: holding()["now"] > 0, 60), holding())
leaf = next(l for l in leaves() if l.startswith("install"))
with open(f"{SESSION}/calls/{leaf}/cgroup.kill", "w") as file: file.write("1")
report("many: all of them die of SIGKILL", until(lambda: leaf not in leaves(), 20), read(SESSION, "calls", leaf, "cgroup.procs"))
ended(low)
report("many: and nothing is held any more", until(lambda: holding()["now"] == 0), holding())
open("/tmp/hold-go-f", "w").close()
whole("many", ended(high), "look-f")
report("no call is reckoned with at the end", until(lambda: holding()["calls"] == 0), holding())
"""

NEVER = r"""
before = holding()
low = start("hog install-never 340 60")
grown("install", 180)
high = start("hog look-d 230 100 /tmp/hold-go-d 1 busy")
report("freeze: never: the search has what it needs", until(lambda: usage("explore") > 220 * MIB, 60), usage("explore") // MIB)
time.sleep(1)
report("freeze: never is obeyed", holding()["holds"] == before["holds"], (before, holding()))
open("/tmp/hold-go-d", "w").close()
whole("freeze: never", ended(high), "look-d")
whole("freeze: never", ended(low), "install-never")
"""

# What a call doesn't need for a while isn't kept for it for ever. With both there is more left of the 600 MiB than what is kept
# for who doesn't grow, and what a hold leaves: 60 MiB of 44.
LATELY = r"""
before = holding()
high = start("hog look-l 230 100 /tmp/hold-go-l 1 busy")
grown("explore", 230)
low = ended(start("hog install-l 310 60"))
whole("lately", low, "install-l")
waited = holding()["holds"] > before["holds"] or (low.record.get("slowed_us") or 0) > 0
report("lately: the low call had to wait, be it for its launcher or for the scheduler", waited, (holding(), low.record))
report("lately: while the other, which has long stopped to grow, goes on", high.poll() is None)
open("/tmp/hold-go-l", "w").close()
untouched("lately", ended(high), "look-l")
"""

# Parameters are the policy's: with another one the kernel holds the same call that it let pass; and so does another
# scheduler, which finds the calls there.
TERMS = r"""
import re
FILE = "/etc/agentsh/policy.d/case.yaml"
rest = open(FILE).read()
def obey(more, command="load"):
    with open(FILE, "w") as file: file.write(rest + more)
    return subprocess.run([HELPER, command], capture_output=True, text=True)
def terms():
    return json.loads(subprocess.run([HELPER, "status", "--json"], capture_output=True, text=True).stdout)["holding_parameters"]
before, usual = holding(), terms()
high = start("hog look-t 150 100 /tmp/hold-go-t 1 busy")
grown("explore", 150)
whole("terms", ended(start("hog install-t 200 100")), "install-t")
report("terms: by the built-in ones there is room for both", holding()["holds"] == before["holds"], (before, holding()))
changed = obey("  creep: 400M\n")
report("terms: load puts changed ones in force", (changed.returncode, terms()["creep"]) == (0, 400 * MIB), (changed, terms()))
low = start("hog install-u 200 100 /tmp/hold-u-1 && hog install-u 200 100 /tmp/hold-u-2 && hog install-u 200 100")
report("terms: the kernel goes by them: such a call is held", until(lambda: holding()["holds"] > before["holds"], 60), holding())
refused = obey("  creep: 1K\n")
place = re.search(r"case\.yaml:\d+:10: error: creep: `1K` is out of range", refused.stderr)
report("terms: an impossible one is refused with its place", refused.returncode == 3 and place, refused)
report("terms: and those in force stay", terms()["creep"] == 400 * MIB, terms())
report("terms: the usual ones are back", obey("").returncode == 0 and terms() == usual, (terms(), usual))
# Of two kernels on the one that has this part of sched_ext: it loads twice, which is slow under emulation.
if os.path.exists(os.environ["CASE_CAPS"]):
    grown("install", 200)
    before = holding()
    replaced = obey("  creep: 401M\n", "reload")
    print("#", replaced.stdout.replace("\n", "; "), flush=True)
    report("reload: changed ones are in force", (replaced.returncode, terms()["creep"]) == (0, 401 * MIB), (replaced, terms()))
    report("reload: the new scheduler has found both calls", until(lambda: holding()["calls"] == 2), holding())
    goes_on = all(holding()[what] >= before[what] > 0 for what in ("holds", "held_ns"))
    report("reload: what was counted is still there", goes_on, (before, holding()))
    before = holding()
    open("/tmp/hold-u-1", "w").close()
    report("reload: and holds the one that the old one had let go", until(lambda: holding()["holds"] > before["holds"], 60), holding())
    refused = obey("  creep: 1K\n", "reload")
    report("reload: of an impossible one it says so", refused.returncode == 3 and "out of range" in refused.stderr, refused)
    report("reload: and those in force stay", terms()["creep"] == 401 * MIB, terms())
    before = holding()
    open("/tmp/hold-u-2", "w").close()
    report("reload: for a call that was held meanwhile, too", until(lambda: holding()["holds"] > before["holds"], 60), holding())
    report("reload: the usual ones are back", obey("").returncode == 0 and terms() == usual, (terms(), usual))
for n in (1, 2): open(f"/tmp/hold-u-{n}", "w").close()
low = ended(low)
report("terms: no call is lost", (low.status, low.out) == (0, "install-u whole\n" * 3), low)
open("/tmp/hold-go-t", "w").close()
whole("terms", ended(high), "look-t")
shown = subprocess.run([HELPER, "status"], capture_output=True, text=True).stdout
report("terms: status shows them", "parameters: on; creep 24M, chunk 4M, release 40M, growth 50%" in shown, shown)
"""

# The search comes before an installation, as `within` shows; but not before one that it needs.
NEEDED = r"""
low = start("hog install-w 340 60")
grown("install", 180)
high = start("hog look-w 230 100 /tmp/hold-go-w 1 busy")
low = ended(low)
untouched("depends", low, "install-w")
report("depends: nor slowed down", not low.record["slowed_us"], low)
open("/tmp/hold-go-w", "w").close()
whole("depends", ended(high), "look-w")
said = subprocess.run([HELPER, "stats", "--json"], capture_output=True, text=True).stdout.splitlines()
held = {c["name"]: c["held_ns"] for c in map(json.loads, said) if c["session"] == os.path.basename(SESSION)}
report("depends: the kernel didn't hold it either", [ns for name, ns in held.items() if name.startswith("install")] == [0], held)
report("depends: the leaf's number says what its call needs", any(len(name) == 15 and name.startswith("explore-") for name in held), held)
"""

ONE = r"""
word, mib, rate, begin, file = os.environ["CASE_CALL"].split()
open(f"/tmp/{word}.ready", "w").close()
until(lambda: os.path.exists(begin), 90)
call = ended(start(f"hog {word} {mib} {rate} {file} 1 busy"))
json.dump({"status": call.status, "out": call.out, "told": call.told, "record": call.record}, open(f"/tmp/{word}.json", "w"))
"""


def session(name, priority, *call):
    """An agent in a session of its own that makes one call."""
    environment = dict(os.environ, CASE_CALL=" ".join(map(str, call)), AGENTSH_LOG=f"/tmp/{name}-{time.monotonic_ns()}.jsonl")
    command = [program("agentshctl"), "run", "--session", name, "--priority", priority, "--", "/usr/bin/python3", "-c"]
    from sessions import CALLS
    return subprocess.Popen([*command, CALLS + WATCH + ONE], env=environment)


def ended(word, agent):
    """What became of a session's call."""
    agent.wait(timeout=120)
    with open(f"/tmp/{word}.json", encoding="utf-8") as file:
        return json.load(file)


def holds():
    """How often calls were held."""
    return json.loads(run(HELPER, "status", "--json").stdout)["holding"]["holds"]


def both(low, high):
    """Two sessions, the low one's call and the high one's, begun at the same time."""
    begin = f"/tmp/begin-{low[0]}"
    agents = [session("low", "low", *low[:3], begin, low[3]), session("high", "high", *high[:3], begin, high[3])]
    ready = [f"/tmp/{call[0]}.ready" for call in (low, high)]
    report(f"{low[0]} and {high[0]} are ready", until(lambda: all(map(os.path.exists, ready)), 60))
    write(begin, "")
    return agents


def between():
    """Two sessions share a pool that is too small for both at once. The low one grows faster, and must have the CPU for it."""
    os.makedirs(POOL, exist_ok=True)
    write(f"{POOL}/memory.max", str(700 * MIB))
    before = holds()
    used = lambda: int(read(POOL, "memory.current") or 0) // MIB  # noqa: E731
    low, high = both(("install-p", 340, 50, "/tmp"), ("look-p", 300, 40, "/tmp/hold-go-p"))
    report("between: the low call is held for the other session's", until(lambda: holds() > before, 60), used())
    time.sleep(1)
    print(f"# between: the pool has {used()} MiB of 700", flush=True)
    write("/tmp/hold-go-p", "")
    for word, agent in (("look-p", high), ("install-p", low)):
        call = ended(word, agent)
        equal(f"between: {word} comes to its end", (call["status"], call["out"]), (0, f"{word} whole\n"))
    equal("between: nobody was killed", event(POOL, "memory.events", "oom_kill"), 0)
    print(f"# between: {run(HELPER, 'status').stdout}", flush=True)
    # What can't fit: the low one is killed by us, and told so.
    low, high = both(("install-q", 330, 300, "/tmp/never"), ("look-q", 450, 50, "/tmp"))
    call = ended("look-q", high)
    equal("too much: the high one is whole", (call["status"], call["out"]), (0, "look-q whole\n"))
    call = ended("install-q", low)
    equal("too much: the low one is killed to make room", (call["status"], call["record"]["killed"]), (-9, "made_room"))
    report("too much: and is told so", "memory ran out" in call["told"], call["told"])
    report("too much: and that it was the pool's limit", "above this session, 700 MiB" in call["told"], call["told"])
    equal("too much: the kernel's OOM killer had nothing to do", event(POOL, "memory.events", "oom_kill"), 0)
    write(f"{POOL}/memory.max", "max")


def in_cgroup(path, command):
    """Starts a command there, as a call without a launcher: what is looked at is the kernel's part alone."""
    enter = f"echo 0 >{path}/cgroup.procs && exec {command}"
    return subprocess.Popen(["/bin/sh", "-c", enter], stdout=subprocess.PIPE, text=True)


def beneath():
    """Who is in a session may make one beneath it, of any name and weight, as deep as may be. That comes no sooner for it."""
    pool, forged = f"{CGROUPS}/holding-pool", "x/y/z/calls/test-0"
    write(f"{CGROUPS}/cgroup.subtree_control", "+memory +cpu")
    for leaf in ("meek/calls/" + forged, "proud/calls/explore-0"):
        path = pool
        for name in ("", *leaf.split("/")):
            path = os.path.join(path, name).rstrip("/")
            os.makedirs(path, exist_ok=True)
            if not path.endswith("-0"):
                write(f"{path}/cgroup.subtree_control", "+memory +cpu")
            if name in ("x", "y", "z", "meek", "proud"):
                write(f"{path}/cpu.weight", {"meek": "25", "proud": "400"}.get(name, "10000"))
    write(f"{pool}/memory.max", str(320 * MIB))
    first, forged = f"{pool}/proud/calls/explore-0", f"{pool}/meek/calls/{forged}"
    high = in_cgroup(first, "hog look-x 100 200 /tmp/hold-go-x 1 busy")
    report("beneath: the high session's call is there", until(lambda: int(read(first, "memory.current")) >= 100 * MIB, 60))
    before = holds()
    low = in_cgroup(forged, "hog test-x 190 100")
    report("beneath: the low session's call is held, though it lies in a forged one of the highest weight",
           until(lambda: holds() > before, 30), (before, read(forged, "memory.current")))
    write("/tmp/hold-go-x", "")
    said = [process.communicate(timeout=60)[0] for process in (high, low)]
    equal("beneath: both come to their end", said, ["look-x whole\n", "test-x whole\n"])
    stats = map(json.loads, run(HELPER, "stats", "--json").stdout.splitlines())
    held = {call["session"]: call["held_ns"] > 0 for call in stats if call["session"] in ("z", "proud")}
    equal("beneath: only that one was held", held, {"z": True, "proud": False})
    write(f"{pool}/cgroup.kill", "1")
    subprocess.run(["find", pool, "-depth", "-type", "d", "-exec", "rmdir", "{}", "+"], check=False)


def main():
    """The first word of the case's arguments chooses a part."""
    policy(POLICY)
    loaded = run(HELPER, "load", "--scheduler", "whole-machine")
    equal("the scheduler loads", (loaded.returncode, loaded.stderr), (0, ""))
    os.environ.update(CASE_CAPS=CAPS, CASE_HELPER=HELPER, CASE_AGENTSH=program("agentsh"))
    # Some on one of two kernels, as it all takes minutes: those that the terms' reload is not on.
    once = [] if os.path.exists(CAPS) else ["beneath", "lately"]
    parts = sys.argv[1:] or ["within", "never", "needed", "terms", "pinned", "between", *once, "ended"]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["gcc", "-O2", "-static", "-o", f"{folder}/hog", f"{HERE}/hog.c"], check=True)
        os.chmod(folder, 0o755)
        os.environ["PATH"] = f"{folder}:{os.environ['PATH']}"
        for part in parts:
            if part in ("between", "beneath"):
                {"between": between, "beneath": beneath}[part]()
                continue
            if part in ("lately", "ended"):
                recent = "3s" if part == "lately" else "10m"
                policy(POLICY.replace("10m", recent))
                equal(f"{part}: lately is {recent}", run(HELPER, "load").returncode, 0)
            script = {"within": WITHIN, "lately": LATELY, "never": NEVER, "needed": NEEDED, "terms": TERMS, "pinned": PINNED, "ended": ENDED}[part]
            calls("--session", part, "--memory-max", "664M", script=WATCH + script, seconds=240)
    status = run(HELPER, "status")
    ejected = "ended:" in status.stdout and "unregistered" not in status.stdout
    report("the kernel didn't eject the scheduler", not ejected, status.stdout)
    run(HELPER, "unload")
    kernel = run("dmesg").stdout
    report("the kernel had nothing to complain of", "WARNING" not in kernel and "BUG" not in kernel, kernel[-2000:])


main()
