#!/usr/bin/env python3
"""Containers in systemd's scopes, where crun puts their processes one cgroup further down (podman, CRI-O), and Kubernetes' memory.oom.group."""
# kernels: newest
# mem: 2048
# timeout: 300
# engines: own trixie

import json
import os
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from roots import OPT, PLACE, busybox, cgroup_of, opt, records  # noqa: E402
from sessions import MIB, equal, program, read, report, run, until, write  # noqa: E402

HELPER = program("agentsh-helper")
SAID = f"{PLACE}/said"
MEMORY = 256
# As podman and CRI-O name them with systemd, and crun's own cgroup below.
SCOPES = (("machine.slice", "libpod-", "a1"), ("kubepods.slice", "crio-", "b2"))


class Container:
    """A container that crun starts where it would with systemd, which there is none of here."""

    def __init__(self, root, slice_, prefix, id_, labelled):
        self.name = id_
        self.bundle, self.log = (tempfile.mkdtemp(prefix=kind, dir=PLACE) for kind in ("bundle-", "out-"))
        self.group = f"/sys/fs/cgroup/{slice_}/{prefix}{id_}.scope/container"
        run("crun", "spec", cwd=self.bundle)
        with open(f"{self.bundle}/config.json", encoding="utf-8") as file:
            config = json.load(file)
        config["root"] = {"path": root, "readonly": False}
        config["process"].update(terminal=False, args=["/opt/agentsh/libexec/busybox", "sleep", "3000"])
        config["process"]["env"].append("AGENTSH_LOG=/out/calls.jsonl")
        config["linux"]["resources"] = {"memory": {"limit": MEMORY * MIB}}
        config["linux"]["cgroupsPath"] = self.group.removeprefix("/sys/fs/cgroup")
        config["annotations"] = {"agentsh": "attach"} if labelled else {}
        for source, place, mode in ((OPT, "/opt/agentsh", "ro"), (f"{OPT}/bin/sh", "/bin/sh", "ro"), (self.log, "/out", "rw")):
            config["mounts"].append({"destination": place, "source": source, "type": "none", "options": ["bind", mode]})
        with open(f"{self.bundle}/config.json", "w", encoding="utf-8") as file:
            json.dump(config, file)
        done = self.crun("run", "-d", "-b", self.bundle, id_)
        report(f"{prefix}: crun starts it", done.returncode == 0, done)
        self.pid = int(json.loads(self.crun("state", id_).stdout)["pid"])

    def crun(self, *arguments):
        """crun, without systemd."""
        with open(f"{PLACE}/crun.out", "w+b") as out:
            # Not a pipe: the container would keep it open.
            done = subprocess.run(["crun", "--cgroup-manager", "cgroupfs", *arguments], stdin=subprocess.DEVNULL, stdout=out,
                                  stderr=subprocess.STDOUT, timeout=100, check=False)
            out.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, out.read().decode())

    def call(self, command):
        """A command in it, by its /bin/sh, which is agentsh: what it says, and the log's line."""
        said = self.crun("exec", self.name, "/bin/sh", "-c", command)
        return said.stdout, (records(f"{self.log}/calls.jsonl") or [{}])[-1]

    def end(self):
        """Ends it; nothing of its cgroup stays."""
        self.crun("delete", "-f", self.name)
        report(f"{os.path.dirname(self.group)}: crun removes it with all that is in it", until(lambda: not os.path.exists(self.group), 20), os.listdir("/sys/fs/cgroup"))


def attached(what, container):
    """It has calls/, and a call of its has a leaf in there."""
    equal(f"{what}: its processes are in agent/", cgroup_of(container.pid), f"{container.group}/agent")
    equal(f"{what}: the budget is of the limit", read(container.group, "calls/memory.max"), str(MEMORY // 2 * MIB))
    said, line = container.call("ls /")
    equal(f"{what}: a call is in a leaf of its class", ("opt" in said, line.get("leaf")), (True, "explore-0"))
    said, _ = container.call("cat /proc/self/cgroup")
    report(f"{what}: which is in calls/", said.startswith("0::/calls/explore-"), said)


def by_hand(root):
    """By its id, its pid; and all is put back."""
    slice_, prefix, letter = SCOPES[0]
    one = Container(root, slice_, prefix, letter * 32, labelled=False)
    write(f"{one.group}/memory.oom.group", "1")
    done = run(HELPER, "attach", one.name[:12])
    equal("by its id: attached", (done.returncode, done.stderr), (0, ""))
    attached("by its id", one)
    equal("its memory running out doesn't take all of it, as Kubernetes would have it", read(one.group, "memory.oom.group"), "0")
    report("by its pid, again: it is there", "mounted already" in run(HELPER, "attach", str(one.pid)).stdout)
    done = run(HELPER, "detach", one.name)
    equal("detached by its name", (done.returncode, cgroup_of(one.pid), os.path.exists(f"{one.group}/calls")), (0, one.group, False))
    equal("memory.oom.group is what it was", read(one.group, "memory.oom.group"), "1")
    one.end()


def by_annotation(root):
    """serve --watch finds it."""
    with open(SAID, "wb") as file:
        server = subprocess.Popen([HELPER, "serve", "--watch"], stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    report("serve watches", until(lambda: "serving" in (read(SAID) or "")), read(SAID))
    for slice_, prefix, letter in SCOPES:
        one = Container(root, slice_, prefix, letter * 32, labelled=True)
        there = until(lambda: cgroup_of(one.pid).endswith("/agent") and "attached" in (read(SAID) or ""), 60)
        report(f"{prefix}: attached by its annotation", there, read(SAID))
        attached(f"{prefix}, by its annotation", one)
        one.end()
    server.send_signal(signal.SIGTERM)
    server.wait(20)


def main():
    """The case."""
    opt()
    root = busybox()
    by_hand(root)
    by_annotation(root)
    for slice_, _, _ in SCOPES:
        for folder, _, _ in os.walk(f"/sys/fs/cgroup/{slice_}", topdown=False):
            os.rmdir(folder)


main()
