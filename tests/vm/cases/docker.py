#!/usr/bin/env python3
"""Docker, with and without a user namespace, containerd and runc: attached containers do as without agentsh, their calls are in leaves."""
# kernels: newest
# mem: 2048
# timeout: 600
# engines: own trixie

import contextlib
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from driven import MEMORY, Running, everything  # noqa: E402
from roots import OPT, PLACE, SECONDS, busybox, cgroup_of, debian, opt, records  # noqa: E402
from sessions import MIB, equal, program, read, report, run, until  # noqa: E402

HELPER = program("agentsh-helper")
SOCKET, CONTAINERD = f"{PLACE}/docker.sock", f"{PLACE}/containerd.sock"
# Where a user namespace's root is on the host.
SUBUIDS = 100000
# Debian's, not one that somebody has put before it.
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": PLACE}


class Docker:
    """Docker's daemon with containerd and runc, on this machine's own cgroups: there is no systemd here."""

    def __init__(self, *options):
        self.said = f"{PLACE}/dockerd.log"
        containerd = ["containerd", "--address", CONTAINERD, "--root", f"{PLACE}/containerd", "--state", f"{PLACE}/containerd-state"]
        dockerd = ["dockerd", "-H", f"unix://{SOCKET}", "--containerd", CONTAINERD, "--data-root", f"{PLACE}/docker"]
        dockerd += ["--exec-root", f"{PLACE}/docker-exec", "--pidfile", f"{PLACE}/docker.pid", "--storage-driver", "vfs"]
        dockerd += ["--iptables=false", "--ip6tables=false", "--bridge", "none", *options]
        self.daemons = []
        for command, socket in ((containerd, CONTAINERD), (dockerd, SOCKET)):
            with open(self.said, "ab") as out:
                self.daemons.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=ENVIRONMENT))
            report(f"{command[0]} is there", until(lambda: os.path.exists(socket), 60), (read(self.said) or "")[-600:])
        up = until(lambda: self("info").returncode == 0, 60)
        report("Docker answers", up, (read(self.said) or "")[-600:])

    def __call__(self, *arguments, seconds=SECONDS, **options):
        return run("/usr/bin/docker", "-H", f"unix://{SOCKET}", *arguments, env=ENVIRONMENT, seconds=seconds, **options)

    def start(self, *arguments):
        """Starts a container in the background: its id, and the pid of its first process."""
        done = self("run", "-d", "--network", "none", *arguments)
        if done.returncode:
            print(f"# docker run: {done.stderr.strip()}", flush=True)
            return None, 0
        container = done.stdout.strip()
        return container, int(self("inspect", "--format", "{{.State.Pid}}", container).stdout or 0)

    def image(self, name, root):
        """Makes an image of a folder."""
        archive = f"{PLACE}/{name}.tar"
        run("tar", "-c", "-C", root, "-f", archive, ".")
        done = self("import", archive, name)
        os.unlink(archive)
        report(f"an image is made: {name}", done.returncode == 0, done)
        return name

    def end(self):
        """Ends the daemons."""
        for daemon in reversed(self.daemons):
            daemon.terminate()
            daemon.wait(30)
        for socket in (SOCKET, CONTAINERD):
            with contextlib.suppress(OSError):
                os.unlink(socket)
        for parent in ("docker", "default"):
            # They leave those of their containers behind.
            for folder, _, _ in os.walk(f"/sys/fs/cgroup/{parent}", topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)


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
        containerd(root)
    finally:
        docker.end()
    remapped(root)


main()
