#!/usr/bin/env python3
"""What root of a container that was given calls/ can't do with it: reach anything outside, have more than the container's
limit, get into another session, or make the helper mount what it chooses."""
# kernels: newest
# mem: 2048
# timeout: 900

import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from driven import MEMORY, Running, refused  # noqa: E402
from roots import OPT, PLACE, USER, Podman, busybox, cgroup_of, delegated, opt  # noqa: E402
from sessions import MIB, POOL, equal, event, policy, program, read, report, run  # noqa: E402

HELPER = program("agentsh-helper")
SHELL = "/opt/agentsh/libexec/bash"
VICTIM = f"{POOL}/victim"
# The policy's, so that the end of it is soon reached.
LEAVES = 200


def attach(pid):
    """The helper, from outside."""
    return run(HELPER, "attach", str(pid))


class Attacker:
    """A container with calls/, and a shell of root's in it that isn't under test."""

    def __init__(self, what, podman, where, name, *options):
        self.what = what
        self.running = Running(podman, where, name, *options)
        self.tries = self.running.tries
        self.group = cgroup_of(self.running.pid)
        done = attach(self.running.pid)
        equal(f"{what}: the attacker has its calls/", done.returncode, 0)

    def ids(self):
        """What it would like to open: the whole tree, its own container, a session of another."""
        return [str(os.stat(path).st_ino) for path in ("/sys/fs/cgroup", self.group, VICTIM, f"{VICTIM}/calls")]


def by_handle(attacker):
    """open_by_handle_at."""
    what = attacker.what
    own = run(f"{OPT}/libexec/handles", "/sys/fs/cgroup", *attacker.ids()).stdout
    report(f"{what}: the handles are right: the host's root opens all four", own.count("itself") == 4 and own.count("opened") >= 4, own)
    directories = ("/run/agentsh/calls", "/")
    tried = attacker.tries(*(f"/opt/agentsh/libexec/handles {place} {' '.join(attacker.ids())}" for place in directories))
    for directory, said in zip(directories, tried):
        report(f"{what}: none is opened by a handle, from {directory}", said.count("itself") == 4 and "opened" not in said, said)


def upwards(attacker):
    """`..`, other paths, other mounts."""
    what, group = attacker.what, attacker.group
    before = {path: read(path) for path in (f"{group}/memory.max", f"{group}/cgroup.max.descendants", f"{VICTIM}/memory.max")}
    above = "cd /run/agentsh/calls/.. && pwd -P; /opt/agentsh/libexec/busybox cat memory.max cgroup.procs; echo max >memory.max; echo *"
    ways = (
        "BOX mount -o remount,rw /sys/fs/cgroup",
        "BOX mount -t cgroup2 none /tmp",
        "BOX umount /run/agentsh/calls",
        "BOX umount -l /run/agentsh",
        "BOX mount -o remount,bind,rw /run/agentsh",
        "echo 1 >/sys/fs/cgroup/cgroup.max.descendants",
        "echo max >/sys/fs/cgroup/memory.max",
        "BOX mkdir /sys/fs/cgroup/x",
        "echo max >/proc/1/root/run/agentsh/calls/../memory.max",
        "echo x >/run/agentsh/policy",
        "echo $$ >/sys/fs/cgroup/agent/cgroup.procs",
        "echo $$ >/run/agentsh/calls/../cgroup.procs",
        f"echo $$ >/run/agentsh/calls/../../../../..{VICTIM}/cgroup.procs",
        f"echo $$ >/proc/1/root{VICTIM}/calls/cgroup.procs",
        "BOX ln -s / /run/agentsh/calls/x",
    )
    inner = "BOX mount -t cgroup2 none /tmp && echo max >/tmp/memory.max"
    ways = (*ways, f"BOX unshare -r -m {SHELL} -c '{inner}'")
    said, *tried = attacker.tries(above, *(f"{way} && echo WENT".replace("BOX", "/opt/agentsh/libexec/busybox") for way in ways))
    report(f"{what}: .. of calls/ is the helper's folder, with nothing of a cgroup in it", "calls policy" in said and said.count("No such file") == 2, said)
    refused(what, ways, tried)
    equal(f"{what}: the limits outside are as they were", {path: read(path) for path in before}, before)


def budget(attacker):
    """calls/memory.max is the container's own to write; the container's limit is not."""
    what, group = attacker.what, attacker.group
    attacker.tries("for f in memory.max memory.high memory.swap.max pids.max; do echo max >/run/agentsh/calls/$f; done")
    print(f"# {what}: calls/memory.max is now {read(group, 'calls/memory.max')}", flush=True)
    before = event(group, "memory.events", "oom_kill")
    _, said, _ = attacker.running(["dd if=/dev/zero of=/dev/null bs=900M count=1; true # pytest", "echo alive"])
    equal(f"{what}: more than the container's limit isn't had", said[:1][0][:1], ["137"])
    equal(f"{what}: the container lives", said[1:2], [["0", "out: alive"]])
    report(f"{what}: it was the kernel that ended the call", event(group, "memory.events", "oom_kill") > before)
    report(f"{what}: the limit held", int(read(group, "memory.peak")) <= MEMORY * MIB, read(group, "memory.peak"))
    equal(f"{what}: attaching again sets the budget right", (attach(attacker.running.pid).returncode, read(group, "calls/memory.max")), (0, str(MEMORY // 2 * MIB)))


def other_sessions(attacker):
    """AGENTSH_SESSION, marks and moves."""
    what = attacker.what
    names = (VICTIM, "victim", "/agentsh/victim", "../../agentsh/victim", "/run/agentsh/calls/../..")
    attacker.tries(*(f"AGENTSH_SESSION={name} AGENTSH_LOG=/out/forged.jsonl /bin/{attacker.running.name} -c 'echo $AGENTSH_SESSION'" for name in names))
    with open(f"{attacker.running.out}/forged.jsonl", encoding="utf-8") as file:
        lines = file.read()
    equal(f"{what}: every call stays in the container's session", (lines.count('"session":"container"'), lines.count('"leaf":"')), (5, 5))
    seen = [name for name in os.listdir(f"{VICTIM}/calls") if os.path.isdir(f"{VICTIM}/calls/{name}")]
    equal(f"{what}: the other session has no leaf and no process", (seen, read(VICTIM, "cgroup.procs"), event(VICTIM, "cgroup.events", "populated")), ([], "", 0))


def marks(attacker):
    """agentsh's own marks, forged: on calls/, on a leaf, and on a cgroup that is to be taken for a session."""
    what, group = attacker.what, attacker.group
    inner = "/run/agentsh/calls/inner"
    said, _ = attacker.tries(
        f"/opt/agentsh/libexec/busybox mkdir -p {inner}/agent {inner}/calls && /opt/agentsh/libexec/marks /run/agentsh/calls /run/agentsh/calls/explore-0 {inner}",
        f"AGENTSH_SESSION={inner} AGENTSH_LOG=/out/inner.jsonl /bin/{attacker.running.name} -c 'echo x'",
    )
    seen = [line for line in said.splitlines() if line.endswith(" set")]
    report(f"{what}: it can set them, but not the trusted one", len(seen) == 27 and said.count("trusted.delegate Operation not permitted") == 3, said)
    _, said, log = attacker.running(["ls / >/dev/null; echo fine; exit 3", "echo again"])
    equal(f"{what}: with its marks forged a call does what it should", said, [["3", "out: fine"], ["0", "out: again"], ["end"]])
    equal(f"{what}: in the container's own leaves", [(r["session"], r["leaf"]) for r in log], [("container", "explore-0")] * 2)
    known = run(HELPER, "status", "--json").stdout
    ids = [str(os.stat(f"{group}/{name}").st_ino) for name in ("calls", "calls/inner", "calls/explore-0")]
    report(f"{what}: the helper knows of no session more", not any(f'"id":{number}' in known.replace(" ", "") for number in ids), known)
    equal(f"{what}: attaching again is as before", attach(attacker.running.pid).returncode, 0)
    attacker.tries(f"/opt/agentsh/libexec/busybox rmdir {inner}/agent {inner}/calls {inner}")


def flood(attacker):
    """As many cgroups as it can make."""
    what, group = attacker.what, attacker.group
    last = LEAVES + 50
    (said,) = attacker.tries(f"cd /run/agentsh/calls && /opt/agentsh/libexec/busybox mkdir x-{{1..{last}}} 2>&1 | /opt/agentsh/libexec/busybox tail -n 1")
    count = event(group, "cgroup.stat", "nr_descendants")
    report(f"{what}: cgroups come to an end", count == LEAVES + 2 and f"x-{last}" in said, (count, said))
    _, said, log = attacker.running(["echo fine; exit 3"])
    report(f"{what}: and a call does what it should also then", said[:1] == [["3", "out: fine"]], (said, log))
    attacker.tries("cd /run/agentsh/calls && /opt/agentsh/libexec/busybox rmdir x-*")


def paths(podman, root):
    """/run/agentsh turns from a folder into a link and back while the helper is at it."""
    flip = "while :; do rm -rf /run/agentsh; ln -s /etc /run/agentsh; rm /run/agentsh; mkdir /run/agentsh; done"
    container, pid = podman.start("--memory", "64m", "-v", f"{OPT}:/opt/agentsh:ro", "--rootfs", root, SHELL, "-c", flip)
    ended = [attach(pid).returncode for _ in range(6)]
    mounts = [line.split()[4] for line in (read("/proc", str(pid), "mountinfo") or "").splitlines() if "cgroup2" in line]
    print(f"# attached while paths change: {ended}, cgroup mounts at {mounts}", flush=True)
    report("paths that change: mounted there or nowhere", set(mounts) <= {"/sys/fs/cgroup", "/run/agentsh/calls", "/run/agentsh//deleted/calls"}, mounts)
    report("nothing was made in /etc", not os.path.exists(f"{root}/etc/calls") and not os.path.exists(f"{root}/etc/policy"))
    podman("rm", "-f", "-t", "0", container)


def main():
    """The case."""
    opt()
    for name in ("handles", "marks"):
        run("gcc", "-static", "-O1", "-o", f"{OPT}/libexec/{name}", f"{HERE}/{name}.c", seconds=120)
    small = busybox()
    policy(f"session:\n  max_leaves: {LEAVES}\n")
    run(HELPER, "session", "victim", "--memory-max", "100M")
    podman = Podman()
    attacker = Attacker("root", podman, ("--rootfs", small), "sh")
    by_handle(attacker)
    upwards(attacker)
    budget(attacker)
    other_sessions(attacker)
    flood(attacker)
    marks(attacker)
    attacker.running.end()
    run("cp", "-a", small, f"{small}-{USER}")
    run("chown", "-R", f"{USER}:{USER}", f"{small}-{USER}")
    mine = Attacker("root of a user's", Podman(USER, delegated()), ("--rootfs", f"{small}-{USER}"), "sh", "--cgroups", "split")
    by_handle(mine)
    upwards(mine)
    other_sessions(mine)
    mine.running.end()
    paths(podman, small)
    subprocess.run([HELPER, "session", "--remove", "victim"], timeout=60, check=False)


main()
