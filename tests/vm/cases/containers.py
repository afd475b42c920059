#!/usr/bin/env python3
"""agentsh bind-mounted over the shell of real containers (podman, crun): commands do as without it, calls are in leaves of
their class, memory that runs out takes the call, and who called is told."""
# kernels: newest
# mem: 2048
# timeout: 900

import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from driven import ALONE, LEAF, MEMORY, Fresh, everything  # noqa: E402
from roots import OPT, PLACE, USER, Podman, busybox, debian, delegated, opt  # noqa: E402
from sessions import MIB, equal, report, run  # noqa: E402

WRITABLE = ("--security-opt", "unmask=/sys/fs/cgroup")

def crun(root):
    """crun by itself, with a configuration of our own."""
    bundle = f"{PLACE}/bundle"
    os.makedirs(bundle)
    run("crun", "spec", cwd=bundle)
    with open(f"{bundle}/config.json", encoding="utf-8") as file:
        config = json.load(file)
    config["root"] = {"path": root, "readonly": False}
    config["process"].update(terminal=False, args=["/bin/sh", "-c", f"CALLS=/sys/fs/cgroup/calls; cat /proc/self/cgroup; {LEAF}"])
    config["linux"]["resources"] = {"memory": {"limit": MEMORY * MIB}}
    for mount in config["mounts"]:
        if mount["type"] == "cgroup":
            mount["options"].remove("ro")
    for source, place in ((OPT, "/opt/agentsh"), (f"{OPT}/bin/sh", "/bin/sh")):
        config["mounts"].append({"destination": place, "source": source, "type": "none", "options": ["bind", "ro"]})
    with open(f"{bundle}/config.json", "w", encoding="utf-8") as file:
        json.dump(config, file)
    done = run("crun", "--cgroup-manager", "cgroupfs", "run", "-b", bundle, "alone", stdin=-3)
    lines = done.stdout.split()
    report("crun alone: the first process's call is in its leaf", lines[:1] == ["0::/calls/explore-0"], done)
    equal("crun alone: with its limits", lines[1:], [str(n) for n in (ALONE * MIB, ALONE * MIB, 512, 300)])


def main():
    """The case."""
    opt()
    small, large = busybox(), debian()
    podman = Podman()
    archive = f"{PLACE}/busybox.tar"
    run("tar", "-c", "-C", small, "-f", archive, ".")
    imported = podman("import", archive, "agentsh-busybox")
    report("an image is made of the busybox root", imported.returncode == 0, imported)

    in_debian, in_image = ("--rootfs", large), ("agentsh-busybox",)
    debians, images = Fresh(podman, in_debian, "bash", *WRITABLE), Fresh(podman, in_image, "sh", *WRITABLE)
    debians.apart = images.apart = True
    everything("Debian", debians)
    everything("busybox without bash", images)
    everything("a read-only root", Fresh(podman, in_debian, "bash", *WRITABLE, "--read-only"))
    log = everything("uid 1000", Fresh(podman, in_debian, "bash", *WRITABLE, "--user", "1000"), in_leaf=False)
    report("uid 1000 in root's container has no leaf, and the log says why", all(r["degraded"] for r in log), log[:1])
    rootless = Podman(USER, delegated())
    run("cp", "-a", large, f"{large}-{USER}")
    run("chown", "-R", f"{USER}:{USER}", f"{large}-{USER}")
    everything("rootless", Fresh(rootless, ("--rootfs", f"{large}-{USER}"), "bash", *WRITABLE, "--cgroups", "split"))
    crun(small)


main()
