#!/usr/bin/env python3
"""`agentsh-helper attach --strict`: calls are in leaves that the helper made, and not even root in the container can change
what a call may have. As root, as uid 1000 where clone3 isn't allowed, and as a user's own root."""
# kernels: mid
# mem: 2048
# timeout: 600

import json
import os
import shutil
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from driven import ALONE, MEMORY, OUT_OF_MEMORY, Running, refused  # noqa: E402
from roots import OPT, PLACE, USER, Podman, busybox, cgroup_of, debian, delegated, opt  # noqa: E402
from sessions import MIB, equal, program, read, report, run, until, write  # noqa: E402

HELPER = program("agentsh-helper")
BUDGET = MEMORY // 2 * MIB
KNOBS = ("memory.max", "memory.high", "memory.swap.max", "memory.oom.group", "pids.max", "cpu.weight")
CLASSES = ("test", "build", "install", "run", "git", "edit", "explore", "other")
# What the default policy gives: 1 GiB or what the container has, within the budget; nobody raises memory.high, so there is none.
LIMITS = {
    "explore-0": (str(ALONE * MIB), "max", "0", "1", "512", "300"),
    "test-1": (str(MEMORY * MIB), "max", "max", "1", "4096", "100"),
}
BOX = "/opt/agentsh/libexec/busybox"
CALLS = "/run/agentsh/calls"
WAYS = (
    *(f"echo max >{CALLS}/{where}{file}" for where in ("", "explore-0/") for file in ("memory.max", "memory.high", "pids.max")),
    f"echo 0 >{CALLS}/test-0/cpu.weight",
    f"echo 1 >{CALLS}/test-0/cgroup.freeze",
    f"echo 1 >{CALLS}/test-0/cgroup.kill",
    f"echo -memory >{CALLS}/cgroup.subtree_control",
    f"echo 9 >{CALLS}/cgroup.max.depth",
    "echo max >/sys/fs/cgroup/calls/explore-0/memory.max",
    f"{BOX} mkdir {CALLS}/test-9",
    f"{BOX} mkdir {CALLS}/test-0/below",
    f"{BOX} rmdir {CALLS}/test-0",
    f"{BOX} mv {CALLS}/test-0 {CALLS}/explore-9",
    f"{BOX} chmod 777 {CALLS}/test-0",
    f"{BOX} chown 1000 {CALLS}/test-0/memory.max",
    f"{BOX} mount -o remount,bind,rw {CALLS}",
    f"{BOX} mount -o remount,rw {CALLS}",
    f"{BOX} umount {CALLS}/test-0/cgroup.procs",
    f"{BOX} umount -l {CALLS}",
    f"{BOX} mount --bind {CALLS} /tmp",
    f"echo 1 >{CALLS}/test-0/cgroup.procs/../memory.max",
    f"{BOX} unshare -r -m {BOX} mount -o remount,bind,rw {CALLS}",
    f"{BOX} unshare -r -m {BOX} umount -l {CALLS}/test-0/cgroup.procs",
)
# By a mount of its own in namespaces of its own, whose root is the leaf that the call is in: nsdelegate is what holds there.
WITHIN = ("memory.max", "memory.high", "memory.swap.max", "pids.max", "cpu.weight", "cgroup.max.depth", "below/")
# Of class test, whether there is such a program or not.
PYTEST = "pytest 2>/dev/null || true"
NO_CLONE3 = f"{PLACE}/no-clone3.json"


class Strict(Running):
    """A container with leaves made ahead, two of each class."""

    def __init__(self, what, podman, where, name, *options):
        super().__init__(podman, where, name, *options)
        self.what = what
        self.group = cgroup_of(self.pid)
        done = run(HELPER, "attach", "--strict", "--leaves", "2", str(self.pid))
        expected = f"{MEMORY // 2} MiB for calls, mounted at /run/agentsh from {self.group}/calls\n"
        equal(f"{what}: attached", (done.returncode, done.stdout, done.stderr), (0, expected, ""))

    def state(self):
        """Every limit of calls/ and of each leaf, and which leaves there are."""
        calls = f"{self.group}/calls"
        leaves = sorted(name for name in os.listdir(calls) if os.path.isdir(f"{calls}/{name}"))
        limits = {name: tuple(read(calls, name, knob) for knob in KNOBS) for name in ("", *leaves)}
        return limits, read(calls, "cgroup.subtree_control"), read(calls, "cgroup.max.depth")


def limits(strict):
    """What the helper made."""
    made, controllers, depth = strict.state()
    leaves = sorted(f"{name}-{number}" for name in CLASSES for number in (0, 1))
    equal(f"{strict.what}: two leaves of each class", sorted(name for name in made if name), leaves)
    equal(f"{strict.what}: with their class's limits", {name: made[name] for name in LIMITS}, LIMITS)
    equal(f"{strict.what}: the budget is the limit less the reserve", made[""][0], str(BUDGET))
    equal(f"{strict.what}: nothing below a leaf", (depth, controllers), ("1", "cpu memory pids"))


def calls(strict):
    """Each call in a leaf of its class; memory that runs out takes the call, and who called is told."""
    what = strict.what
    commands = ["ls /; cat /proc/self/cgroup", PYTEST, OUT_OF_MEMORY, "echo alive >/out/alive", "kill -TERM $$"]
    _, said, log = strict(commands)
    equal(f"{what}: every command ends as it should", [part[0] for part in said], ["0", "0", "137", "0", "143", "end"])
    equal(f"{what}: each in a leaf of its class", [r["leaf"] for r in log], ["explore-0", "test-0", "edit-0", "edit-0", "other-0"])
    equal(f"{what}: and nothing is amiss", [r["degraded"] for r in log], [None] * len(commands))
    report(f"{what}: the process says so itself", any(line.endswith("/calls/explore-0") for line in said[0]), said[0])
    told = " ".join(line for line in said[2] if line.startswith("err: [agentsh]"))
    report(f"{what}: who called is told that it was memory, and how much there is", "Out of memory" in told and f"{ALONE} MiB" in told, said[2])
    equal(f"{what}: the log has the limits that are in force", [r["limits"]["memory_max"] for r in log[:2]], [ALONE * MIB, MEMORY * MIB])


def unchanged(strict, before):
    """Nothing that root in there does changes a limit."""
    refused(strict.what, WAYS, strict.tries(*(f"({way}) && echo WENT" for way in WAYS)))
    _, said, log = strict([f"/opt/agentsh/libexec/anew /tmp {' '.join(WITHIN)}; {PYTEST}"])
    text = [line.removeprefix("out: ") for line in said[0]]
    report(f"{strict.what}: a call mounts the tree anew, its leaf being the root there", log[0]["leaf"] == "test-0" and "mount: went" in text, (said, log))
    tried = [line for line in text if line.partition(":")[0] in WITHIN]
    kept = [line for line in tried if "not permitted" in line or "denied" in line or "unavailable" in line]
    equal(f"{strict.what}: and can change nothing of it, nor make a cgroup", kept, tried if len(tried) == len(WITHIN) else WITHIN)
    equal(f"{strict.what}: every limit is as it was", strict.state(), before)


def many(strict):
    """More calls of a class at once than it has leaves: the rest run all the same, and the log says why they have none."""
    script = "rm -f /out/go /out/up.*; for n in 1 2 3; do AGENTSH_LOG=/out/many.jsonl /bin/sh -c " \
        f"\": >/out/up.$n; until [ -e /out/go ]; do sleep 0.1; done; {PYTEST}; echo $n\" & done; " \
        f"until [ -e /out/up.1 ] && [ -e /out/up.2 ] && [ -e /out/up.3 ]; do {BOX} sleep 0.1; done; : >/out/go; wait"
    (said,) = strict.tries(script)
    equal(f"{strict.what}: three calls at once", sorted(said.split()), ["1", "2", "3"])
    with open(f"{strict.out}/many.jsonl", encoding="utf-8") as file:
        log = [json.loads(line) for line in file]
    equal(f"{strict.what}: two of them in the two leaves", sorted(r["leaf"] or "" for r in log), ["", "test-0", "test-1"])
    why = [r["degraded"] for r in log if not r["leaf"]]
    report(f"{strict.what}: the log says why the third has none", "all of this class are in use" in str(why), why)
    strict.tries(f"{BOX} sleep 300 >/dev/null 2>&1 </dev/null & echo $! >{CALLS}/test-0/cgroup.procs")
    held = read(strict.group, "calls/test-0/cgroup.procs")
    report(f"{strict.what}: a process can be put into a leaf by its cgroup.procs", bool(held), held)
    _, _, log = strict([PYTEST])
    equal(f"{strict.what}: and nobody else gets that leaf meanwhile", [r["leaf"] for r in log], ["test-1"])
    for pid in held.split():
        os.kill(int(pid), signal.SIGKILL)
    report(f"{strict.what}: the leaf is free again", until(lambda: not read(strict.group, "calls/test-0/cgroup.procs")))


def doctor(strict):
    """What doctor reads of a leaf in there is what stands on it."""
    def says():
        return strict.podman("exec", strict.container, "/opt/agentsh/bin/agentshctl", "doctor").stdout

    knobs = dict(zip(KNOBS, strict.state()[0]["other-0"], strict=True))
    expected = f"made ahead, with memory.max {int(knobs['memory.max']) // MIB} MiB, memory.swap.max max, pids.max {knobs['pids.max']}, cpu.weight {knobs['cpu.weight']}"
    told = says()
    report(f"{strict.what}: doctor tells the leaf's own limits", expected in told and "looser" not in told, (expected, told))
    for number in (0, 1):
        write(f"{strict.group}/calls/other-{number}/pids.max", "max")
    told = says()
    report(f"{strict.what}: and which of them is looser than the policy's", "pids.max max" in told and "looser than the policy's: pids.max" in told, told)


def again(strict, before):
    """A second time, and without --strict: it stays strict."""
    mounts = read("/proc", str(strict.pid), "mountinfo")
    for arguments in (("--strict",), ()):
        done = run(HELPER, "attach", *arguments, str(strict.pid))
        report(f"{strict.what}: attached again {arguments}: it is there", done.returncode == 0 and "mounted already" in done.stdout, done)
    equal(f"{strict.what}: as it was", (strict.state(), read("/proc", str(strict.pid), "mountinfo")), (before, mounts))


def too_late(podman, root):
    """A container in which a process has mounted the tree anew before: its root there is the container's cgroup, not a leaf."""
    early = Running(podman, ("--rootfs", root), "sh")
    group = cgroup_of(early.pid)
    podman("exec", "-d", early.container, "/opt/agentsh/libexec/anew", "/tmp")
    there = until(lambda: any("/tmp cgroup2" in (read("/proc", pid, "mounts") or "") for pid in read(group, "cgroup.procs").split()))
    report("a process of a container has a cgroup file system of its own", there, read(group, "cgroup.procs"))
    done = run(HELPER, "attach", "--strict", str(early.pid))
    report("then it is refused, and told why", done.returncode == 3 and "another mnt namespace" in done.stderr, done)
    report("before anything is done, too", not os.path.exists(f"{group}/calls"), os.listdir(group))
    for pid in read(group, "cgroup.procs").split():
        if int(pid) != early.pid:
            os.kill(int(pid), signal.SIGKILL)
    equal("when that has ended it is attached", run(HELPER, "attach", "--strict", str(early.pid)).returncode, 0)
    early.end()


def main():
    """The case."""
    opt()
    shutil.copy(program("agentshctl"), f"{OPT}/bin/agentshctl")
    run("gcc", "-static", "-O1", "-o", f"{OPT}/libexec/anew", f"{os.path.dirname(os.path.abspath(__file__))}/anew.c", seconds=120)
    small, large = busybox(), debian()
    podman = Podman()
    root = Strict("root", podman, ("--rootfs", small), "sh")
    limits(root)
    before = root.state()
    calls(root)
    unchanged(root, before)
    many(root)
    doctor(root)
    again(root, before)
    root.end()

    with open("/usr/share/containers/seccomp.json", encoding="utf-8") as file:
        profile = json.load(file)
    for rule in profile["syscalls"]:
        rule["names"] = [name for name in rule["names"] if name != "clone3"]
    profile["syscalls"].append({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38, "args": []})
    with open(NO_CLONE3, "w", encoding="utf-8") as file:
        json.dump(profile, file)
    user = Strict("uid 1000 without clone3", podman, ("--rootfs", small), "sh", "--user", "1000", "--security-opt", f"seccomp={NO_CLONE3}")
    calls(user)
    user.end()

    run("cp", "-a", large, f"{large}-{USER}")
    run("chown", "-R", f"{USER}:{USER}", f"{large}-{USER}")
    mine = Strict("a user's root", Podman(USER, delegated()), ("--rootfs", f"{large}-{USER}"), "bash", "--cgroups", "split")
    before = mine.state()
    calls(mine)
    unchanged(mine, before)
    mine.end()

    too_late(podman, small)
    writable = Running(podman, ("--rootfs", small), "sh", "--security-opt", "unmask=/sys/fs/cgroup")
    group = cgroup_of(writable.pid)
    done = run(HELPER, "attach", "--strict", str(writable.pid))
    report("a container that can write its cgroups is refused, and told why", done.returncode == 3 and "can write, at /sys/fs/cgroup" in done.stderr, done)
    report("before anything is done", cgroup_of(writable.pid) == group and not os.path.exists(f"{group}/calls"), os.listdir(group))
    writable.end()


main()
