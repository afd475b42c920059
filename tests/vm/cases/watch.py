#!/usr/bin/env python3
"""`agentsh-helper serve --watch`: containers with the annotation get their calls/ when they start, others are left as they are."""
# kernels: newest
# mem: 2048
# timeout: 400
# engines: own trixie

import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from driven import Running  # noqa: E402
from roots import PLACE, USER, Podman, busybox, cgroup_of, delegated, opt  # noqa: E402
from sessions import equal, program, read, report, run, until  # noqa: E402

HELPER = program("agentsh-helper")
LABEL = ("--annotation", "agentsh=attach")
SAID = f"{PLACE}/said"


def serve():
    """Begins serving; what it says is appended to a file."""
    with open(SAID, "a", encoding="utf-8") as file:
        process = subprocess.Popen([HELPER, "serve", "--watch"], stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    begun = said().count("serving")
    report("serve watches", until(lambda: said().count("serving") > begun), said())
    return process


def said():
    """What serve has said so far."""
    return read(SAID) or ""


def group_of(running):
    """The container's own cgroup, whether it is attached or not."""
    return cgroup_of(running.pid).removesuffix("/agent")


def attached(what, running, in_leaf=True):
    """Is it attached, or will it be in a moment? Then its calls have leaves."""
    group = group_of(running)
    there = until(lambda: f"attached {group.removeprefix('/sys/fs/cgroup')}: " in said(), 60)
    report(f"{what}: it is attached, and serve says so", there and cgroup_of(running.pid) == f"{group}/agent", said())
    if in_leaf:
        equal(f"{what}: a call is in a leaf of its class", [r["leaf"] for r in running(["ls"])[2]], ["explore-0"])


def cpu_of(pid):
    """What a process has used, in clock ticks."""
    fields = read("/proc", str(pid), "stat").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def main():
    """The case."""
    opt()
    small, podman = busybox(), Podman()
    run("cp", "-a", small, f"{small}-{USER}")
    run("chown", "-R", f"{USER}:{USER}", f"{small}-{USER}")
    server = serve()
    plain = Running(podman, ("--rootfs", small), "sh", "--annotation", "agentsh=no")
    mine = Running(Podman(USER, delegated()), ("--rootfs", f"{small}-{USER}"), "sh", "--cgroups", "split", *LABEL)
    attached("a user's own with the annotation", mine)
    group = group_of(plain)
    marks = [name for name in os.listxattr(group) if "agentsh" in name]
    equal("one with another value is untouched", (cgroup_of(plain.pid), os.path.exists(f"{group}/calls"), marks), (group, False, []))
    plain.end()

    equal("detached by hand", run(HELPER, "detach", str(mine.pid)).returncode, 0)
    used = cpu_of(server.pid)
    time.sleep(2)
    report("who has nothing to do does nothing", cpu_of(server.pid) - used < 20, cpu_of(server.pid) - used)
    equal("and leaves alone what was detached", cgroup_of(mine.pid), group_of(mine))
    mine.end()

    server.send_signal(signal.SIGKILL)
    server.wait(20)
    missed = Running(podman, ("--rootfs", small), "sh", *LABEL)
    equal("while nobody watches nothing is done", cgroup_of(missed.pid), group_of(missed))
    server = serve()
    attached("who was missed", missed, in_leaf=False)
    mounts = read("/proc", str(missed.pid), "mountinfo")
    server.send_signal(signal.SIGTERM)
    equal("asked to end, it does", server.wait(20), 0)
    before = said().count("mounted already")
    server = serve()
    report("a new one finds what is attached", until(lambda: said().count("mounted already") > before, 60), said())
    equal("and mounts nothing twice", read("/proc", str(missed.pid), "mountinfo"), mounts)
    server.kill()
    server.wait(20)
    missed.end()


main()
