#!/usr/bin/env python3
"""Containers that can't write their cgroups, given calls/ by `agentsh-helper attach`: everything as in containers.py; and
once that is done no helper is needed."""
# kernels: lts
# mem: 2048
# timeout: 900

import json
import os
import shutil
import signal
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from driven import MEMORY, Running, leaf, same  # noqa: E402
from roots import PLACE, USER, Podman, busybox, cgroup_of, debian, delegated, opt  # noqa: E402
from sessions import MIB, equal, program, read, report, run, until  # noqa: E402

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


def everything(what, running, *arguments):
    """One container: attached, the same results, leaves, limits, feedback."""
    attached(what, running, *arguments)
    log = same(what, running)
    report(f"{what}: every call was in a leaf", all(r["leaf"] for r in log), [r["degraded"] for r in log])
    leaf(what, running)


def again(running):
    """A second time: nothing is made or mounted twice."""
    group = os.path.dirname(cgroup_of(running.pid))
    before = read("/proc", str(running.pid), "mountinfo")
    done = attach(running.container[:12])
    equal("by the beginning of its id, and again: it is there", done.stdout, f"{MEMORY // 2} MiB for calls, mounted already at /run/agentsh from {group}/calls\n")
    equal("nothing is mounted twice", read("/proc", str(running.pid), "mountinfo"), before)
    policy = running(False, ["cat /run/agentsh/policy | wc -c", "echo x >/run/agentsh/policy", "mkdir /run/agentsh/x"])[0]
    report("the policy is there", int(policy[0][1].split()[1]) > 100, policy)
    equal("and can't be written, nor anything beside it", [said[0] for said in policy[1:3]], ["1", "1"])


def without_helper(running):
    """200 calls, and every helper that runs is killed in the middle of them."""
    commands = [f"echo {n}; exit {n % 7}" for n in range(200)]
    helpers = [subprocess.Popen([HELPER, "serve"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)]
    helpers.append(subprocess.Popen([HELPER, "attach", str(running.pid)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    marker = "touch /out/half"
    commands.insert(100, marker)

    def kill():
        report("the calls came to their middle", until(lambda: os.path.exists(f"{running.out}/half"), 200))
        for helper in helpers:
            helper.send_signal(signal.SIGKILL)
            helper.wait(20)

    killer = threading.Thread(target=kill)
    killer.start()
    said, log = running(False, commands)
    killer.join(30)
    expected = [["0"] if c == marker else [str(int(c.split()[-1])), f"out: {c.split()[1][:-1]}"] for c in commands] + [["end"]]
    wrong = [(a, b) for a, b in zip(said, expected) if a != b]
    report("200 calls, helpers killed in the middle: every command right", said == expected, wrong[:3])
    equal("and in a leaf", sum(1 for r in log if r["leaf"]), len(commands))
    halves = [sorted(r["duration_us"] for r in part)[len(part) // 2] for part in (log[:100], log[101:])]
    print(f"# median of a call: {halves[0]} us before, {halves[1]} us after", flush=True)


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
    done = attach(pid)
    report("nothing is mounted through a link of the container's", done.returncode == 3 and "symbolic link" in done.stderr, done)
    report("nor made", not os.path.exists(f"{linked}/etc/agentsh"), os.listdir(f"{linked}/etc"))
    podman("rm", "-f", "-t", "0", container)
    process = subprocess.Popen(["unshare", "--mount", "sleep", "600"])
    report("a process with mounts of its own is no container", until(lambda: attach(process.pid).returncode == 3), process.pid)
    process.kill()
    process.wait(20)


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
        equal(f"started with {annotation}: it has calls/ or not", (group.endswith("/agent"), running(False, ["true"])[1][0]["leaf"] is not None), (there, there))
        running.end()


def main():
    """The case."""
    opt()
    small, large = busybox(), debian()
    podman = Podman()
    debians = Running(podman, ("--rootfs", large), "bash")
    everything("Debian", debians)
    again(debians)
    without_helper(debians)
    debians.end()
    bare = Running(podman, ("--rootfs", small), "sh", "--security-opt", "mask=/sys/fs/cgroup")
    everything("busybox, no cgroup file system at all", bare)
    bare.end()
    frozen = Running(podman, ("--rootfs", large), "bash", "--read-only", "--user", "1000")
    everything("a read-only root, uid 1000", frozen)
    frozen.end()
    run("cp", "-a", large, f"{large}-{USER}")
    run("chown", "-R", f"{USER}:{USER}", f"{large}-{USER}")
    rootless = Running(Podman(USER, delegated()), ("--rootfs", f"{large}-{USER}"), "bash", "--cgroups", "split")
    everything("rootless", rootless)
    rootless.end()
    by_annotation(small)
    refusals(podman, small)


main()
