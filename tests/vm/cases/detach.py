#!/usr/bin/env python3
"""`agentsh-helper detach`: the container is as it was before attach, what runs goes on, and what begins meanwhile runs."""
# kernels: mid
# mem: 2048
# timeout: 400

import fcntl
import os
import signal
import stat
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from driven import Running  # noqa: E402
from roots import Podman, busybox, cgroup_of, opt  # noqa: E402
from sessions import equal, program, read, report, run, until  # noqa: E402

HELPER = program("agentsh-helper")
# They tell what was used, or can't be read.
COUNTERS = ("cgroup.procs", "cgroup.threads", "memory.peak", "memory.swap.peak", "cgroup.kill", "memory.reclaim")
BOX = "/opt/agentsh/libexec/busybox"
CALLS = "/run/agentsh/calls"
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


def busy(running, group):
    """Detached while one call runs on and others come and go."""
    before = settings(group), read("/proc", str(running.pid), "mountinfo")
    equal("attached", helper("attach", running.pid).returncode, 0)
    long = begin(running, "/bin/sh", "-c", LONG)
    report("a call runs", until(lambda: os.path.exists(f"{running.out}/long"), 60), os.listdir(running.out))
    leaves = [name for name in os.listdir(f"{group}/calls") if read(group, f"calls/{name}/cgroup.procs")]
    equal("in a leaf", len(leaves), 1)
    launchers = [pid for pid in (read(group, "agent/cgroup.procs") or "").split() if "/bin/sh" in (read("/proc", pid, "cmdline") or "")]
    others = begin(running, BOX, "sh", "-c", BUSY)
    report("and others", until(lambda: os.path.exists(f"{running.out}/ran.3"), 60), os.listdir(running.out))
    done = helper("detach", running.pid)
    report("detached", done.returncode == 0 and done.stdout.startswith("detached: ") and done.stdout.endswith(f" are back in {group}\n"), done)
    equal("the container's cgroup is as it was", settings(group), before[0])
    equal("its mounts are", read("/proc", str(running.pid), "mountinfo"), before[1])
    equal("its first process is back", cgroup_of(running.pid), group)
    ran = len(os.listdir(running.out))
    report("calls go on", until(lambda: len(os.listdir(running.out)) > ran + 2, 60))
    used = [cpu_of(pid) for pid in launchers]
    time.sleep(2)
    spent = [cpu_of(pid) - before for pid, before in zip(launchers, used)]
    report("the launcher of the one that runs waits quietly", launchers and max(spent) < 50, (launchers, spent))
    for name in ("end", "go"):
        open(f"{running.out}/{name}", "w", encoding="ascii").close()
    long.wait(60)
    others.wait(60)
    equal("the call that ran comes to its own end", (long.stdout.read(), long.returncode), ("right\n", 7))
    asked = int(read(running.out, "asked") or 0)
    equal("none of the others was lost", [n for n in range(1, asked + 1) if not os.path.exists(f"{running.out}/ran.{n}")], [])
    equal("and none failed", os.path.exists(f"{running.out}/failed"), False)
    again = helper("detach", running.pid)
    report("detached again: refused, and told why", again.returncode == 3 and "isn't attached" in again.stderr, again)
    return before


def interrupted(running, group, before):
    """Killed at some moment, and done once more: nothing of it is left. Another time with all that --strict changes."""
    equal("attached anew", helper("attach", running.pid).returncode, 0)
    with subprocess.Popen([HELPER, "detach", str(running.pid)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as one:
        time.sleep(0.05)
        one.send_signal(signal.SIGKILL)
    done = helper("detach", running.container)
    report("killed in the middle, another one finishes it", done.returncode == 0 or "isn't attached" in done.stderr, done)
    equal("and the container is as it was", (settings(group), read("/proc", str(running.pid), "mountinfo")), before)
    # As one leaves it that comes no further than this: attach again must make it whole.
    helper("attach", "--strict", "--leaves", "2", "--uid", "1000", running.pid)
    with open(f"{group}/calls/cgroup.max.descendants", "w", encoding="ascii") as file:
        file.write("0")
    equal("attached after one that was interrupted", helper("attach", "--uid", "1000", running.pid).returncode, 0)
    equal("calls can be made again, and are another user's", (read(group, "calls/cgroup.max.descendants"), os.stat(f"{group}/cgroup.procs").st_uid), ("max", 1000))
    equal("strict, and detached", helper("detach", running.pid).returncode, 0)
    equal("the container is as it was then, too", (settings(group), read("/proc", str(running.pid), "mountinfo")), before)


def locked(running, group):
    """The container's cgroup is locked by what the container, too, can open: its read-only mount. That keeps nobody out."""
    seen = os.open(f"/proc/{running.pid}/root/sys/fs/cgroup", os.O_RDONLY)
    equal("the container can open its own cgroup", (os.fstat(seen).st_ino, os.fstatvfs(seen).f_flag & os.ST_RDONLY), (os.stat(group).st_ino, os.ST_RDONLY))
    fcntl.flock(seen, fcntl.LOCK_EX | fcntl.LOCK_NB)
    for verb in ("attach", "detach"):
        done = helper(verb, running.pid)
        report(f"{verb} goes on although it keeps that locked", done.returncode == 0, done)
    os.close(seen)


def crowded(running, group, before):
    """More cgroups than descriptors, which the container's root makes to keep what it was given."""
    equal("attached once more", helper("attach", running.pid).returncode, 0)
    running.tries(f"cd {CALLS} && {BOX} mkdir x-{{1..400}} && {BOX} mkdir -p $(printf 'y/%.0s' {{1..50}})")
    made = [name for name in os.listdir(f"{group}/calls") if os.path.isdir(f"{group}/calls/{name}")]
    report("it makes many cgroups", len(made) > 400, len(made))
    few = ("prlimit", "--nofile=256:256", "setpriv", "--bounding-set=-sys_resource")
    done = run(*few, HELPER, "detach", str(running.pid))
    equal("detached all the same", (done.returncode, done.stderr), (0, ""))
    equal("and the container is as it was before", (settings(group), read("/proc", str(running.pid), "mountinfo")), before)


def main():
    """The case."""
    opt()
    running = Running(Podman(), ("--rootfs", busybox()), "sh")
    group = cgroup_of(running.pid)
    refused = helper("detach", running.pid)
    report("what was never attached is refused", refused.returncode == 3 and "isn't attached" in refused.stderr, refused)
    report("so is a process of the host", helper("detach", os.getpid()).returncode == 3)
    before = busy(running, group)
    interrupted(running, group, before)
    locked(running, group)
    crowded(running, group, before)
    running.end()


main()
