#!/usr/bin/env python3
"""Containers that can't write their cgroups, given calls/ by `agentsh-helper attach`: everything as in containers.py."""
# kernels: lts
# mem: 2048
# timeout: 900

import json
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from driven import MEMORY, Running, everything  # noqa: E402
from roots import PLACE, USER, Podman, busybox, cgroup_of, debian, delegated, opt  # noqa: E402
from sessions import MIB, equal, program, read, report, run, until, write  # noqa: E402
from sessions import policy as put_policy  # noqa: E402

HELPER = program("agentsh-helper")


def attach(*arguments):
    """The helper, from outside."""
    return run(HELPER, "attach", *map(str, arguments))


def attached(what, running, *arguments):
    """Gives a running container its calls/."""
    group = cgroup_of(running.pid)
    done = attach(running.pid, *arguments)
    expected = f"{MEMORY // 2} MiB for calls, mounted at /run/agentsh from {group}/calls\n"
    equal(f"{what}: attached, and says where", (done.returncode, done.stdout, done.stderr), (0, expected, ""))
    equal(f"{what}: the container's processes are in agent/", cgroup_of(running.pid), f"{group}/agent")
    equal(f"{what}: the budget is the limit less the reserve", read(group, "calls/memory.max"), str(MEMORY // 2 * MIB))
    equal(f"{what}: the container's own limit is as it was", read(group, "memory.max"), str(MEMORY * MIB))
    return group


def again(running):
    """A second time: nothing is made or mounted twice."""
    group = os.path.dirname(cgroup_of(running.pid))
    before = read("/proc", str(running.pid), "mountinfo")
    done = attach(running.container[:12])
    equal("by the beginning of its id, and again: it is there", done.stdout, f"{MEMORY // 2} MiB for calls, mounted already at /run/agentsh from {group}/calls\n")
    equal("nothing is mounted twice", read("/proc", str(running.pid), "mountinfo"), before)
    _, policy, _ = running(["cat /run/agentsh/policy | wc -c", "echo x >/run/agentsh/policy", "mkdir /run/agentsh/x"])
    report("the policy is there", int(policy[0][1].split()[1]) > 100, policy)
    equal("and can't be written, nor anything beside it", [said[0] for said in policy[1:3]], ["1", "1"])
    put_policy("session:\n  reserve: 64M\nclasses:\n  explore:\n    pids.max: 77\n", compiled=False)
    done = attach(running.pid)
    equal("attached again with another policy: it is renewed, and the budget is by that one", done.stdout, f"{MEMORY - 64} MiB for calls, mounted already, its policy renewed, at /run/agentsh from {group}/calls\n")
    equal("without a mount more", read("/proc", str(running.pid), "mountinfo"), before)
    look = 'cat "$CALLS/$(sed s,.*/,, /proc/self/cgroup)/pids.max"; ls /run/agentsh'
    equal("and in force at once", running([look])[1][:1], [["0", "out: 77", "out: calls", "out: policy"]])
    put_policy("")


def arranged(group):
    """What attaching changes of a container's cgroup."""
    folders = [name for name in os.listdir(group) if os.path.isdir(f"{group}/{name}")]
    files = ("cgroup.subtree_control", "cgroup.max.descendants", "memory.oom.group")
    return folders, [read(group, file) for file in files], os.listxattr(group)


def refusals(podman, root):
    """Who doesn't get it, and is told why."""
    equal("a process of the host is refused", attach(os.getpid()).returncode, 3)
    equal("and one that isn't there", attach(2**22 - 1).returncode, 3)
    equal("and a container that isn't there", attach("0123456789abcdef").returncode, 3)
    for power in ("SYS_ADMIN", "DAC_READ_SEARCH"):
        container, pid = podman.start("--cap-add", power, "--memory", "64m", "--rootfs", root, "/bin/busybox", "sleep", "600")
        group = cgroup_of(pid)
        done = attach(pid)
        report(f"a container with {power} is refused, and told why", done.returncode == 3 and power in done.stderr, done)
        report("before anything is done", cgroup_of(pid) == group and not os.path.exists(f"{group}/calls"), os.listdir(group))
        podman("rm", "-f", "-t", "0", container)
    linked = f"{root}-linked"
    run("cp", "-a", root, linked)
    shutil.rmtree(f"{linked}/run")
    os.symlink("/etc", f"{linked}/run")
    container, pid = podman.start("--memory", "64m", "--rootfs", linked, "/bin/busybox", "sleep", "600")
    group = cgroup_of(pid)
    before = arranged(group)
    done = attach(pid)
    report("nothing is mounted through a link of the container's", done.returncode == 3 and "symbolic link" in done.stderr, done)
    report("nor made", not os.path.exists(f"{linked}/etc/agentsh"), os.listdir(f"{linked}/etc"))
    equal("and its cgroup is as it was", (cgroup_of(pid), arranged(group)), (group, before))
    podman("rm", "-f", "-t", "0", container)
    process = subprocess.Popen(["unshare", "--mount", "sleep", "600"])
    report("a process with mounts of its own is no container", until(lambda: attach(process.pid).returncode == 3), process.pid)
    process.kill()
    process.wait(20)


def the_first_of_all(podman, root):
    """Pids begin anew when they are used up: who came later may have the lower one."""
    container, pid = podman.start("--memory", "64m", "--rootfs", root, "/bin/busybox", "sleep", "600")
    group = cgroup_of(pid)
    write("/proc/sys/kernel/ns_last_pid", "400")
    podman("exec", "-d", "--user", "1000", container, "/bin/busybox", "sleep", "600")
    pids = sorted(map(int, (read(group, "cgroup.procs") or "").split()))
    report("another user's process has a lower pid than the first one", len(pids) == 2 and pids[1] == pid, (pid, pids))
    equal("a container is attached by its id", attach(container[:12]).returncode, 0)
    equal("for the user of its first process, whatever the numbers", os.stat(f"{group}/calls").st_uid, 0)
    podman("rm", "-f", "-t", "0", container)


def by_annotation(root):
    """The engine's own hook."""
    hooks = f"{PLACE}/hooks"
    os.makedirs(hooks)
    hook = {"path": HELPER, "args": ["agentsh-helper", "attach", "--hook"]}
    with open(f"{hooks}/agentsh.json", "w", encoding="utf-8") as file:
        json.dump({"version": "1.0.0", "hook": hook, "when": {"annotations": {"^agentsh$": "^attach$"}}, "stages": ["poststart"]}, file)
    podman = Podman()
    podman.command += ["--hooks-dir", hooks]
    for annotation, there in ((("--annotation", "agentsh=attach"), True), ((), False)):
        running = Running(podman, ("--rootfs", root), "sh", *annotation)
        group = cgroup_of(running.pid)
        equal(f"started with {annotation}: it has calls/ or not", (group.endswith("/agent"), running(["true"])[2][0]["leaf"] is not None), (there, there))
        running.end()


def main():
    """The case."""
    opt()
    small, large = busybox(), debian()
    podman = Podman()
    debians = Running(podman, ("--rootfs", large), "bash")
    attached("Debian", debians)
    everything("Debian", debians)
    again(debians)
    debians.end()
    bare = Running(podman, ("--rootfs", small), "sh", "--security-opt", "mask=/sys/fs/cgroup")
    attached("busybox, no cgroup file system at all", bare)
    everything("busybox, no cgroup file system at all", bare)
    bare.end()
    frozen = Running(podman, ("--rootfs", large), "bash", "--read-only", "--user", "1000")
    attached("a read-only root, uid 1000", frozen)
    everything("a read-only root, uid 1000", frozen)
    frozen.end()
    run("cp", "-a", large, f"{large}-{USER}")
    run("chown", "-R", f"{USER}:{USER}", f"{large}-{USER}")
    rootless = Running(Podman(USER, delegated()), ("--rootfs", f"{large}-{USER}"), "bash", "--cgroups", "split")
    attached("rootless", rootless)
    everything("rootless", rootless)
    rootless.end()
    the_first_of_all(podman, small)
    by_annotation(small)
    refusals(podman, small)


main()
