#!/usr/bin/env python3
"""Whatever happens to the scheduler and the monitor, under load: no call is lost, and nothing is left behind."""
# kernels: newest mid lts
# mem: 2048
# timeout: 900

import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from bpf_objects import objects  # noqa: E402
from sessions import CGROUPS, POOL, PYTHON, equal, event, program, read, report, run, until, write  # noqa: E402
from under_load import HELPER, PINS, RECOVERY_SECONDS, STATE, TIMEOUT_MS, Load, goes_first, load, nothing_is_left, unload  # noqa: E402

CPU1 = "/sys/devices/system/cpu/cpu1/online"
LEAVES = 10000


def ended():
    """How the status says that the scheduler has ended."""
    shown = run(HELPER, "status", "--json")
    equal("the status is that of an error", shown.returncode, 3)
    return json.loads(shown.stdout)["scheduler"]["ended"] or {}


def as_program(name):
    """Starts something that ends by itself, under a name."""
    os.path.exists(f"/tmp/{name}") or os.symlink("/bin/true", f"/tmp/{name}")
    return subprocess.Popen([f"/tmp/{name}"])


def stall():
    """The scheduler queues no program any more."""
    load("--timeout-ms", str(TIMEOUT_MS), "--faults")
    began = time.monotonic()
    process = as_program("agentsh-stall")
    report("a stalled scheduler is ended by the kernel", until(lambda: read(STATE) == "disabled", 60), read(STATE))
    took = time.monotonic() - began
    print(f"# it took {took:.1f} s")
    report("within 6 s, where 5 s were asked for", took <= RECOVERY_SECONDS, f"{took:.1f} s")
    equal("and what it kept waiting has run", process.wait(timeout=30), 0)
    how = ended()
    report("the status says that it was a stall", "stall" in how.get("reason", ""), how.get("reason"))
    report("with the kernel's dump", "agentsh-stall" in how.get("dump", "") or "CPU states" in how.get("dump", ""),
           how.get("dump", "")[:200])


def aborts(calls):
    """The scheduler gives up, by itself and by the administrator's key."""
    load("--faults", name="where one was ejected another loads")
    process = as_program("agentsh-abort")
    report("a scheduler that finds an error ends", until(lambda: read(STATE) == "disabled"), read(STATE))
    equal("the status has its words", ended().get("message"), "a test asked for it")
    equal("and the program has run", process.wait(timeout=30), 0)
    calls.goes_on("calls go on without it")
    equal("reloading loads it again", (run(HELPER, "reload").returncode, read(STATE)), (0, "enabled"))
    write("/proc/sysrq-trigger", "S")
    report("SysRq-S ends it", until(lambda: read(STATE) == "disabled"), read(STATE))
    report("and the status says so", "sysrq" in ended().get("reason", "").lower(), ended().get("reason"))
    unload("what was ejected is cleared away")


def reload(calls):
    """The scheduler is replaced by another one."""
    load()
    done = run(HELPER, "reload", "--timeout-ms", str(TIMEOUT_MS))
    print("# " + "; ".join(done.stdout.splitlines()))
    equal("a reload under load", (done.returncode, done.stderr, read(STATE)), (0, "", "enabled"))
    calls.goes_on("calls go on after all that")
    unload()


def hotplug(calls):
    """A CPU goes and comes back."""
    pinned = subprocess.Popen([PYTHON, "-c", "while True: pass"])
    os.sched_setaffinity(pinned.pid, {1})
    # Not first, as this case is.
    write(f"{CGROUPS}/cgroup.procs", str(pinned.pid))
    for value in ("0", "1"):
        equal(f"CPU 1 is switched to {value}", (write(CPU1, value), read(CPU1)), ("", value))
        calls.goes_on("and calls go on")
        report("under the scheduler", read(STATE) == "enabled", run(HELPER, "status").stdout[:3000])
    equal("a process that was bound to it lives", pinned.poll(), None)
    pinned.kill()
    pinned.wait()


def removed_session(calls):
    """A session is killed and removed while its calls wait for CPU."""
    command = [program("agentshctl"), "run", "--session", "gone", "--", PYTHON, "-c",
               "import subprocess, sys; [subprocess.Popen([sys.argv[1], '-c', 'while :; do :; done']) for _ in range(20)];"
               "sys.stdin.read()", program("agentsh")]
    agent = subprocess.Popen(command, stdin=subprocess.PIPE, env=dict(os.environ, AGENTSH_LOG="/dev/null"))
    session = f"{POOL}/gone"
    leaves = lambda: [event(leaf.path, "cgroup.events", "populated") for leaf in os.scandir(f"{session}/calls") if leaf.is_dir()]  # noqa: E731
    busy = until(lambda: os.path.isdir(f"{session}/calls") and sum(leaves()) == 20, 60)
    report("a session has twenty calls that want CPU", busy, busy or leaves())
    write(f"{session}/cgroup.kill", "1")
    agent.wait(timeout=30)
    gone = until(lambda: run(HELPER, "session", "--remove", "gone").returncode == 0 or not os.path.exists(session))
    report("killed, it can be removed at once", gone)
    calls.goes_on("the others' calls go on")
    equal("with the scheduler", read(STATE), "enabled")
    unload()


def full_map(calls):
    """More cgroups than the maps have room for."""
    load("--groups", "16", name="it loads with room for 16 cgroups")
    made = [f"{CGROUPS}/many/{n}" for n in range(40)]
    for path in [f"{CGROUPS}/many", *made]:
        os.mkdir(path)
    inside = [subprocess.Popen(["sh", "-c", f"echo 0 >{path}/cgroup.procs && exec head -c 1M /dev/zero"],
                               stdout=subprocess.DEVNULL) for path in made[-5:]]
    equal("programs run in cgroups that found no place", [process.wait(timeout=60) for process in inside], [0] * 5)
    for path in reversed([f"{CGROUPS}/many", *made]):
        os.rmdir(path)
    calls.goes_on("and calls do")
    equal("the scheduler stays", read(STATE), "enabled")
    unload()


def many_leaves(calls):
    """Ten thousand cgroups: some there when it is loaded, the others made later."""
    calls_dir = f"{CGROUPS}/crowd/calls"
    os.makedirs(calls_dir)
    write(f"{CGROUPS}/crowd/cgroup.subtree_control", "+cpu")
    write(f"{calls_dir}/cgroup.subtree_control", "+cpu")
    began = time.monotonic()
    for n in range(LEAVES // 2):
        os.mkdir(f"{calls_dir}/run-{n}")
    load(name=f"it loads with {LEAVES // 2} leaves there")
    for n in range(LEAVES // 2, LEAVES):
        os.mkdir(f"{calls_dir}/run-{n}")
    calls.goes_on(f"calls go on beside {LEAVES} leaves")
    equal("and the scheduler stays", read(STATE), "enabled")
    for n in range(LEAVES):
        os.rmdir(f"{calls_dir}/run-{n}")
    os.rmdir(calls_dir)
    os.rmdir(f"{CGROUPS}/crowd")
    print(f"# {LEAVES} leaves made and removed: {time.monotonic() - began:.0f} s")


def triggers():
    """Pressure triggers there when it is loaded, and made while it is: a kernel that locks in two orders would hang."""
    held = []
    for place in ("/proc/pressure/cpu", "/proc/pressure/memory", f"{POOL}/load/calls/memory.pressure", f"{POOL}/cpu.pressure"):
        file = os.open(place, os.O_RDWR | os.O_NONBLOCK)
        os.write(file, b"some 150000 1000000\0")
        held.append(file)
    making = subprocess.Popen([PYTHON, "-c", MAKE_TRIGGERS, f"{POOL}/load/calls/cpu.pressure"])
    for _ in range(3):
        load(name="it loads while pressure triggers are there and made")
        unload()
    making.terminate()
    making.wait(timeout=30)
    for file in held:
        os.close(file)


MAKE_TRIGGERS = r"""
import os, sys
while True:
    file = os.open(sys.argv[1], os.O_RDWR | os.O_NONBLOCK)
    os.write(file, b"some 150000 1000000\0")
    os.close(file)
"""

# What uid 1000 tries, and how it ended.
STRANGER = r"""
import ctypes, os, sys
os.setgid(1000), os.setuid(1000)
def attempt(name, what):
    try:
        what()
        print("forbidden", name, "done")
    except OSError as error:
        print("forbidden", name, error.strerror)
libc = ctypes.CDLL(None, use_errno=True)
def bpf(command, *words):
    attributes = (ctypes.c_uint64 * 16)(*words)
    if libc.syscall({"x86_64": 321, "aarch64": 280}[os.uname().machine], command, attributes, ctypes.sizeof(attributes)) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
for pin in sys.argv[1:]:
    path = ctypes.create_string_buffer(pin.encode())
    attempt("open " + pin, lambda: bpf(7, ctypes.addressof(path)))
    attempt("unlink " + pin, lambda: os.unlink(pin))
    attempt("rename " + pin, lambda: os.rename(pin, pin + "_"))
attempt("list the pins", lambda: os.listdir("/sys/fs/bpf/agentsh"))
attempt("make a pin", lambda: os.mkdir("/sys/fs/bpf/agentsh/mine"))
attempt("find maps by number", lambda: bpf(14, 1))
attempt("find links by number", lambda: bpf(30, 1))
leaves = "/sys/fs/cgroup/agentsh/load/calls"
for leaf in os.listdir(leaves):
    for file, text in (("cgroup.procs", "0"), ("cpu.weight", "1"), ("cgroup.kill", "1"), ("memory.max", "max")):
        attempt(leaf + "/" + file, lambda: open(leaves + "/" + leaf + "/" + file, "w").write(text))
"""


def stranger():
    """Another user can't touch any of it."""
    pins = [os.path.join(folder, name) for folder, _, names in os.walk(PINS) for name in names]
    report("there are pins to try", len(pins) > 5, pins)
    tried = run(PYTHON, "-c", STRANGER, *pins)
    lines = [line for line in tried.stdout.splitlines() if line.startswith("forbidden ")]
    allowed = [line for line in lines if line.endswith(" done")]
    report("another user can't touch pins, maps or a session's leaves",
           not tried.returncode and len(lines) > 3 * len(pins) + 8 and not allowed, (allowed, tried.stderr))
    for command in ("load", "reload", "unload", "status"):
        done = run("setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", HELPER, command)
        report(f"nor {command}", done.returncode == 3 and "root" in done.stderr, done.stdout + done.stderr)


def nobody_stays(calls):
    """With every process of agentsh killed, it goes on working."""
    before = len(json.loads("[" + ",".join(run(HELPER, "stats", "--json").stdout.splitlines()) + "]"))
    calls.end()
    run("pkill", "-KILL", "agentsh")
    report("no process of agentsh is left", not run("pgrep", "agentsh").stdout, run("pgrep", "-a", "agentsh").stdout)
    fresh = Load()
    equal("the scheduler goes on", run(HELPER, "status").returncode, 0)
    after = len(run(HELPER, "stats", "--json").stdout.splitlines())
    report("and calls are counted", after > before, (before, after))
    return fresh


def powers():
    """What of root's capabilities it takes: each of the two, and nothing else."""
    for bounds, good in (("+bpf,+perfmon", True), ("+bpf", False), ("+perfmon", False)):
        done = run("setpriv", f"--bounding-set=-all,{bounds}", HELPER, "load", "--scheduler", "whole-machine")
        report(f"with {bounds} alone it {'loads' if good else 'says what is lacking'}",
               (done.returncode == 0) if good else "lacking CAP_" in done.stderr, done.stderr)


def main():
    """All of it, one after another, under one load."""
    goes_first()
    before = objects()
    refused = run(HELPER, "load", "--scheduler", "partial")
    print("# " + refused.stderr.strip())
    equal("partial mode is refused", refused.returncode, 3)
    run(HELPER, "unload")
    if not os.path.exists(STATE):
        report("as the kernel has no sched_ext", "no sched_ext" in refused.stderr, refused.stderr)
        powers_without = run("setpriv", "--bounding-set=-all,+bpf,+perfmon", HELPER, "load")
        equal("the rest loads with two capabilities", powers_without.returncode, 0)
        equal("and is replaced", run(HELPER, "reload").returncode, 0)
        equal("and unloaded", run(HELPER, "unload").returncode, 0)
    else:
        report("with the figure", "% of it" in refused.stderr, refused.stderr)
        under_load()
    nothing_is_left(before)


def timed(part, *arguments):
    """Runs a part, and says how long it took."""
    began = time.monotonic()
    result = part(*arguments)
    print(f"# {part.__name__}: {time.monotonic() - began:.0f} s", flush=True)
    return result


def under_load():
    """The part that has a scheduler."""
    calls = Load()
    timed(stall)
    calls.goes_on("calls go on after a stall")
    timed(aborts, calls)
    timed(powers)
    calls = timed(nobody_stays, calls)
    timed(hotplug, calls)
    timed(stranger)
    timed(removed_session, calls)
    timed(full_map, calls)
    timed(many_leaves, calls)
    unload("it unloads under load")
    timed(reload, calls)
    timed(triggers)
    calls.end()


main()
