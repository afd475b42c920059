#!/usr/bin/env python3
"""Docker, with and without a user namespace, containerd and runc: attached containers do as without agentsh, their calls are in leaves."""
# kernels: newest
# mem: 2048
# timeout: 600
# engines: trixie

import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from driven import MEMORY, Running, everything  # noqa: E402
from engine import CONTAINERD, ENVIRONMENT, Docker  # noqa: E402
from roots import OPT, PLACE, busybox, cgroup_of, debian, opt, records  # noqa: E402
from sessions import MIB, equal, program, read, report, run, until  # noqa: E402

HELPER = program("agentsh-helper")
# Where a user namespace's root is on the host.
SUBUIDS = 100000


def attached(what, running):
    """Attaches a container by the id that Docker knows it by."""
    group = cgroup_of(running.pid)
    done = run(HELPER, "attach", running.container)
    expected = f"{MEMORY // 2} MiB for calls, mounted at /run/agentsh from {group}/calls\n"
    equal(f"{what}: attached by its id", (done.returncode, done.stdout, done.stderr), (0, expected, ""))
    equal(f"{what}: its processes are in agent/", cgroup_of(running.pid), f"{group}/agent")


def before_attach(docker, image):
    """Bind-mounted only: commands do as without agentsh, and the log says what is missing."""
    running = Running(docker, (image,), "sh")
    log = everything("Docker, not attached", running, in_leaf=False)
    report("Docker, not attached: the log says why there is no leaf", all(r["degraded"] for r in log), log[:1])
    return running


def by_annotation(docker, image):
    """serve --watch finds a container by what it was started with: Docker hands annotations on since 24."""
    version = docker("version", "--format", "{{.Server.Version}}").stdout
    if int(version.split(".")[0]) < 24:
        print(f"# Docker {version.strip()} has no annotations", flush=True)
        return
    said = f"{PLACE}/said"
    with open(said, "wb") as file:
        server = subprocess.Popen([HELPER, "serve", "--watch"], stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    running = Running(docker, (image,), "sh", "--annotation", "agentsh=attach")
    there = until(lambda: cgroup_of(running.pid).endswith("/agent") and "attached" in (read(said) or ""), 60)
    report(f"Docker {version.strip()}, an annotation: attached by serve", there, read(said))
    equal("Docker, an annotation: a call is in a leaf of its class", [r["leaf"] for r in running(["ls"])[2]], ["explore-0"])
    running.end()
    server.terminate()
    server.wait(20)


def containerd(root):
    """containerd without Docker, by its own client: no name that could be looked for, so by the first process."""
    mounts = []
    for source, place, mode in ((OPT, "/opt/agentsh", "ro"), (f"{OPT}/bin/sh", "/bin/sh", "ro"), (f"{PLACE}/out", "/out", "rw")):
        mounts += ["--mount", f"type=bind,src={source},dst={place},options=rbind:{mode}"]
    os.makedirs(f"{PLACE}/out")
    ctr = ["ctr", "--address", CONTAINERD]
    more = ["--memory-limit", str(MEMORY * MIB), "--env", "AGENTSH_LOG=/out/calls.jsonl"]
    done = run(*ctr, "run", "-d", *more, *mounts, "--rootfs", root, "alone", "/opt/agentsh/libexec/busybox", "sleep", "3000", env=ENVIRONMENT)
    equal("containerd: a container starts", (done.returncode, done.stderr), (0, ""))
    pid = int(run(*ctr, "task", "ls", env=ENVIRONMENT).stdout.split("alone")[1].split()[0])
    done = run(HELPER, "attach", str(pid))
    report("containerd: it is attached by its first process", done.returncode == 0, done)
    said = run(*ctr, "task", "exec", "--exec-id", "one", "alone", "/bin/sh", "-c", "ls /; exit 3", env=ENVIRONMENT)
    equal("containerd: a call ends as it should", (said.returncode, "opt" in said.stdout.split()), (3, True))
    equal("containerd: and was in a leaf", [record["leaf"] for record in records(f"{PLACE}/out/calls.jsonl")], ["explore-0"])
    run(*ctr, "task", "delete", "--force", "alone", env=ENVIRONMENT)


def remapped(root):
    """A daemon whose containers have a user namespace: their root is nobody on the host."""
    for file, line in (("passwd", f"dockremap:x:{SUBUIDS}:{SUBUIDS}::/nonexistent:/usr/sbin/nologin"), ("group", f"dockremap:x:{SUBUIDS}:"),
                       ("subuid", f"dockremap:{SUBUIDS}:65536"), ("subgid", f"dockremap:{SUBUIDS}:65536")):
        with open(f"/etc/{file}", "a", encoding="utf-8") as out:
            out.write(line + "\n")
    docker = Docker("--userns-remap=default")
    try:
        what = "Docker, a user namespace"
        running = Running(docker, (docker.image("agentsh-remapped", root),), "sh")
        status = read(f"/proc/{running.pid}/status") or ""
        report(f"{what}: root in the container is another one outside", f"\nUid:\t{SUBUIDS}\t" in status, status)
        attached(what, running)
        everything(what, running)
        running.end()
    finally:
        docker.end()


def main():
    """The case."""
    opt()
    root = busybox()
    docker = Docker()
    try:
        small, large = docker.image("agentsh-busybox", root), docker.image("agentsh-debian", debian())
        running = before_attach(docker, small)
        attached("Docker, busybox without bash", running)
        everything("Docker, busybox without bash", running)
        running.end()
        running = Running(docker, (large,), "bash", "--read-only", "--tmpfs", "/run", "--user", "1000")
        group = cgroup_of(running.pid)
        done = run(HELPER, "attach", running.container, "--uid", "1000")
        equal("Docker, uid 1000, read-only root: attached", (done.returncode, cgroup_of(running.pid)), (0, f"{group}/agent"))
        everything("Docker, uid 1000, read-only root", running)
        running.end()
        by_annotation(docker, small)
        containerd(root)
    finally:
        docker.end()
    remapped(root)


main()
