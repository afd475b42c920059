#!/usr/bin/env python3
"""Containers whose cgroups systemd makes, as podman and Docker have them by default: attached by hand and by annotation, and put back."""
# kernels: newest
# mem: 2048
# timeout: 600
# engines: trixie

import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from driven import MEMORY, Running, everything  # noqa: E402
from engine import Docker, Systemd  # noqa: E402
from roots import PLACE, Podman, busybox, cgroup_of, opt  # noqa: E402
from sessions import equal, program, read, report, run, until  # noqa: E402

HELPER = program("agentsh-helper")
SAID = f"{PLACE}/said"


class SystemdsPodman(Podman):
    """podman that asks systemd for its cgroups."""

    def __init__(self, systemd):
        super().__init__()
        self.systemd = systemd
        self.command[self.command.index("--cgroup-manager") + 1] = "systemd"

    def _joining(self):
        return self.systemd.within

    def start(self, *arguments, seconds=200):
        container, _ = super().start(*arguments, seconds=seconds)
        return container, self.systemd.first_of(container)


class SystemdsDocker(Docker):
    """Docker that does."""

    def __init__(self, systemd):
        self.systemd = systemd
        super().__init__("--exec-opt", "native.cgroupdriver=systemd", within=systemd.within)

    def start(self, *arguments):
        container, _ = super().start(*arguments)
        return container, self.systemd.first_of(container)


def by_hand(what, running, within):
    """By its id; all as without agentsh; and detached."""
    group = cgroup_of(running.pid)
    report(f"{what}: its cgroup is {within} in a scope", group.endswith(f".scope{within}") and group.startswith(Systemd.group), group)
    done = run(HELPER, "attach", running.container)
    expected = f"{MEMORY // 2} MiB for calls, mounted at /run/agentsh from {group}/calls\n"
    equal(f"{what}: attached by its id", (done.returncode, done.stdout, done.stderr), (0, expected, ""))
    everything(what, running)
    done = run(HELPER, "detach", running.container)
    equal(f"{what}: detached", (done.returncode, cgroup_of(running.pid), os.path.exists(f"{group}/calls")), (0, group, False))
    running.end()


def by_annotation(what, engine, where):
    """serve --watch finds it."""
    with open(SAID, "wb") as file:
        server = subprocess.Popen([HELPER, "serve", "--watch"], stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    running = Running(engine, where, "sh", "--annotation", "agentsh=attach")
    there = until(lambda: cgroup_of(running.pid).endswith("/agent") and "attached" in (read(SAID) or ""), 60)
    report(f"{what}: attached by its annotation", there, read(SAID))
    equal(f"{what}: a call is in a leaf of its class", [r["leaf"] for r in running(["ls"])[2]], ["explore-0"])
    running.end()
    server.terminate()
    server.wait(20)


def main():
    """The case."""
    opt()
    root = busybox()
    systemd = Systemd()
    podman = SystemdsPodman(systemd)
    by_hand("podman", Running(podman, ("--rootfs", root), "sh"), "/container")
    by_annotation("podman", podman, ("--rootfs", root))
    docker = SystemdsDocker(systemd)
    try:
        image = docker.image("agentsh-busybox", root)
        by_hand("Docker", Running(docker, (image,), "sh"), "")
        by_annotation("Docker", docker, (image,))
    finally:
        docker.end()
        systemd.end()


main()
