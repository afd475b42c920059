#!/usr/bin/env python3
"""`agentsh-helper detach`: the container is as it was before attach, what runs goes on, and what begins meanwhile runs."""
# kernels: mid
# mem: 2048
# timeout: 400

import os
import signal
import stat
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from driven import Running  # noqa: E402
from roots import USER, Podman, busybox, cgroup_of, delegated, opt  # noqa: E402
from sessions import equal, program, read, report, run, until  # noqa: E402

HELPER = program("agentsh-helper")
# They tell what was used, or can't be read.
COUNTERS = ("cgroup.procs", "cgroup.threads", "memory.peak", "memory.swap.peak", "cgroup.kill", "memory.reclaim")
BOX = "/opt/agentsh/libexec/busybox"
# Calls one after another; each says that it ran, in a file of its own.
BUSY = f"n=0; while [ ! -e /out/end ]; do n=$((n+1)); /bin/sh -c \": >/out/ran.$n\" || echo $n >>/out/failed; done; echo $n >/out/asked"
LONG = ": >/out/long; while [ ! -e /out/go ]; do sleep 0.2; done; echo right; exit 7"


def settings(group):
    """All that can be set of a cgroup: each file's owner, mode and text; and its marks and children."""
    seen = {}
    for name in os.listdir(group):
        path = f"{group}/{name}"
        info = os.stat(path)
        if not os.path.isdir(path) and info.st_mode & stat.S_IWUSR and name not in COUNTERS and not name.endswith(".pressure"):
            seen[name] = (info.st_uid, info.st_gid, info.st_mode, read(path))
    children = sorted(name for name in os.listdir(group) if os.path.isdir(f"{group}/{name}"))
    return seen, {name: os.getxattr(group, name) for name in os.listxattr(group)}, children


def helper(verb, *arguments):
    """The helper, from outside."""
    return run(HELPER, verb, *map(str, arguments))


def begin(running, *script):
    """A process in the container that goes on by itself."""
    command = [*running.podman.command, "exec", *running.variables(), running.container, *script]
    joining = running.podman._joining()
    return subprocess.Popen([*joining, *command], env=running.podman.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def cpu_of(pid):
    """What a process has used, in clock ticks."""
    fields = (read("/proc", str(pid), "stat") or ") ").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12]) if len(fields) > 12 else 0


def busy(what, running, group, *how):
    """Detached while one call runs on and others come and go."""
    before = settings(group), read("/proc", str(running.pid), "mountinfo")
    equal(f"{what}: attached", helper("attach", *how, running.pid).returncode, 0)
    long = begin(running, "/bin/sh", "-c", LONG)
    report(f"{what}: a call runs", until(lambda: os.path.exists(f"{running.out}/long"), 60), os.listdir(running.out))
    leaves = [name for name in os.listdir(f"{group}/calls") if read(group, f"calls/{name}/cgroup.procs")]
    equal(f"{what}: in a leaf", len(leaves), 1)
    launchers = [pid for pid in (read(group, "agent/cgroup.procs") or "").split() if "/bin/sh" in (read("/proc", pid, "cmdline") or "")]
    others = begin(running, BOX, "sh", "-c", BUSY)
    report(f"{what}: and others", until(lambda: os.path.exists(f"{running.out}/ran.3"), 60), os.listdir(running.out))
    done = helper("detach", running.pid)
    report(f"{what}: detached", done.returncode == 0 and done.stdout.startswith("detached: ") and done.stdout.endswith(f" are back in {group}\n"), done)
    equal(f"{what}: the container's cgroup is as it was", settings(group), before[0])
    equal(f"{what}: its mounts are", read("/proc", str(running.pid), "mountinfo"), before[1])
    equal(f"{what}: its first process is back", cgroup_of(running.pid), group)
    ran = len(os.listdir(running.out))
    report(f"{what}: calls go on", until(lambda: len(os.listdir(running.out)) > ran + 2, 60))
    used = [cpu_of(pid) for pid in launchers]
    time.sleep(2)
    spent = [cpu_of(pid) - before for pid, before in zip(launchers, used)]
    report(f"{what}: the launcher of the one that runs waits quietly", launchers and max(spent) < 50, (launchers, spent))
    for name in ("end", "go"):
        open(f"{running.out}/{name}", "w", encoding="ascii").close()
    long.wait(60)
    others.wait(60)
    equal(f"{what}: the call that ran comes to its own end", (long.stdout.read(), long.returncode), ("right\n", 7))
    asked = int(read(running.out, "asked") or 0)
    equal(f"{what}: none of the others was lost", [n for n in range(1, asked + 1) if not os.path.exists(f"{running.out}/ran.{n}")], [])
    equal(f"{what}: and none failed", os.path.exists(f"{running.out}/failed"), False)
    again = helper("detach", running.pid)
    report(f"{what}: detached again: refused, and told why", again.returncode == 3 and "isn't attached" in again.stderr, again)
    return before


def interrupted(running, group, before):
    """Killed at some moment, and done once more: nothing of it is left."""
    for pause in (0.02, 0.08):
        equal("attached anew", helper("attach", running.pid).returncode, 0)
        with subprocess.Popen([HELPER, "detach", str(running.pid)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as one:
            time.sleep(pause)
            one.send_signal(signal.SIGKILL)
        done = helper("detach", running.container)
        report(f"killed after {pause} s, another one finishes it", done.returncode == 0 or "isn't attached" in done.stderr, done)
        equal("and the container is as it was", (settings(group), read("/proc", str(running.pid), "mountinfo")), before)
    # As one leaves it that comes no further than this: attach again must make it whole.
    helper("attach", running.pid)
    with open(f"{group}/calls/cgroup.max.descendants", "w", encoding="ascii") as file:
        file.write("0")
    helper("attach", running.pid)
    equal("attached after an interrupted detach: calls have leaves", [r["leaf"] for r in running(["ls"])[2]], ["explore-0"])
    equal("and detached", helper("detach", running.pid).returncode, 0)


def main():
    """The case."""
    opt()
    small, podman = busybox(), Podman()
    running = Running(podman, ("--rootfs", small), "sh")
    group = cgroup_of(running.pid)
    refused = helper("detach", running.pid)
    report("what was never attached is refused", refused.returncode == 3 and "isn't attached" in refused.stderr, refused)
    report("so is a process of the host", helper("detach", os.getpid()).returncode == 3)
    before = busy("root", running, group)
    interrupted(running, group, before)
    running.end()
    run("cp", "-a", small, f"{small}-{USER}")
    run("chown", "-R", f"{USER}:{USER}", f"{small}-{USER}")
    mine = Running(Podman(USER, delegated()), ("--rootfs", f"{small}-{USER}"), "sh", "--cgroups", "split")
    busy("a user's, strict", mine, cgroup_of(mine.pid), "--strict", "--leaves", "4")
    mine.end()


main()
