#!/usr/bin/env python3
"""The DaemonSet of deploy/helm, as helm renders it: its own command lines, powers and mounts, and a pod of agents beside it."""
# kernels: newest
# mem: 2048
# timeout: 400

import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from pods import Pod, image, of_kind, rendered  # noqa: E402
from roots import Podman, busybox, cgroup_of, opt, records  # noqa: E402
from sessions import equal, program, read, report, run, until  # noqa: E402

DOOR = "/run/agentsh/helper.sock"
HELPER = "/opt/agentsh/libexec/agentsh-helper"


def begin(podman, name, root):
    """Runs the init containers one after another, then starts the helper: its container."""
    things = rendered(name)
    pod = Pod(podman, name, of_kind(things, "DaemonSet")["spec"]["template"]["spec"], things)
    for it in pod.spec["initContainers"]:
        done = pod.run(it["name"], root)
        report(f"{name}: init container {it['name']} ends well", done.returncode == 0, done)
    if os.path.exists(DOOR):
        os.unlink(DOOR)
    container, _ = pod.start("serve", root)
    served = until(lambda: os.path.exists(DOOR), 60)
    report(f"{name}: the helper serves", served, podman("logs", container).stderr)
    return container


def end(podman, name, container):
    """Asks it to end, as the kubelet does."""
    podman("stop", "-t", "15", container)
    equal(f"{name}: it ends cleanly on SIGTERM", podman("inspect", "--format", "{{.State.ExitCode}}", container).stdout.strip(), "0")
    podman("rm", "-f", container)


def renewed(podman, root, small):
    """The node's agentsh is put there anew, another version, while a pod has it by hostPath."""
    container, _ = podman.start("-v", "/opt/agentsh:/opt/agentsh:ro", "-v", "/opt/agentsh/bin/bash:/bin/bash:ro", "--rootfs", small, "/bin/busybox", "sleep", "600")
    with open(f"{root}/opt/agentsh/share-of-another-version", "w", encoding="ascii") as file:
        file.write("another\n")
    things = rendered("dedicated")
    again = Pod(podman, "again", of_kind(things, "DaemonSet")["spec"]["template"]["spec"], things).run("install", root)
    seen = podman("exec", container, "/bin/bash", "-c", "read -r version </opt/agentsh/share-of-another-version; echo $0 $version")
    equal("dedicated: agentsh is renewed beneath a pod that has it by hostPath", (again.returncode, seen.returncode, seen.stdout), (0, 0, "/bin/bash another\n"))
    equal("and nothing else is left there", sorted(it for it in os.listdir("/opt") if "agentsh" in it), ["agentsh"])
    podman("rm", "-f", "-t", "0", container)


def scheduler():
    """What is loaded, as JSON."""
    return json.loads(run(program("agentsh-helper"), "status", "--json").stdout or "{}")


def agents(podman, root, small):
    """The pod of the example: what its container gets by asking. Its calls, as a function."""
    things = rendered("dedicated")
    pod = Pod(podman, "agents", of_kind(things, "Pod")["spec"], things)
    report("the pod brings agentsh along", pod.run("agentsh", root).returncode == 0)
    container, pid = pod.start("agent", small)
    base = cgroup_of(pid)
    asked = podman("exec", container, *pod.container("agent")["lifecycle"]["postStart"]["exec"]["command"])
    # 4 GiB less the 300 MiB that the fleet's policy keeps for the agent.
    equal("its container asks and gets calls/, by the fleet's policy", (asked.returncode, asked.stdout), (0, "3796 MiB for calls\n"))
    equal("of no more cgroups than the chart says", read(base, "cgroup.max.descendants"), "122")
    equal("beside its own processes", cgroup_of(pid), f"{base}/agent")

    def call():
        done = podman("exec", "-e", "AGENTSH_LOG=/tmp/calls.jsonl", container, "/bin/bash", "-c", "echo $0 of $SHELL; ls /opt")
        leaf = [it["leaf"] for it in records(f"/proc/{pid}/root/tmp/calls.jsonl")][-1:]
        return done.stdout.split("\n")[0], leaf

    return container, call


def main():
    """Both kinds of nodes."""
    opt()
    root, podman, small = image(), Podman(), busybox()
    # The rest of it does as on dedicated nodes.
    things = rendered("default")
    pod = Pod(podman, "default", of_kind(things, "DaemonSet")["spec"]["template"]["spec"], things)
    report("default: init container load ends well", pod.run("load", root).returncode == 0)
    equal("default: the monitor is loaded, the scheduler isn't", [scheduler()["monitor"]["pinned"], scheduler()["scheduler"]["pinned"]], [True, False])

    container = begin(podman, "dedicated", root)
    equal("dedicated: the scheduler has the machine", scheduler()["scheduler"]["state"], "on")
    report("dedicated: the node has agentsh", os.access("/opt/agentsh/bin/agentsh", os.X_OK))
    renewed(podman, root, small)
    first, call = agents(podman, root, small)
    expected = ("/bin/bash of /opt/agentsh/bin/bash", ["explore-0"])
    equal("a call of its is in a leaf", call(), expected)
    seen = podman("exec", container, "/opt/agentsh/libexec/busybox", "wget", "-qO-", "http://127.0.0.1:9753/metrics").stdout.splitlines()
    lines = [f'agentsh_at_work{{part="{part}"}} 1' for part in ("monitor", "scheduler")]
    report("who scrapes sees what is at work", all(line in seen for line in lines), seen)
    report("and the calls by class", 'agentsh_calls_live{class="test"} 0' in seen and "agentsh_holds_total 0" in seen, seen)
    wanted, pid = podman.start("--annotation", "agentsh=attach", "--memory", "64m", "--rootfs", small, "/bin/busybox", "sleep", "600")
    report("a container with the annotation is attached as it starts", until(lambda: cgroup_of(pid).endswith("/agent"), 60), podman("logs", container).stderr)
    podman("rm", "-f", "-t", "0", wanted)
    unloaded = podman("exec", container, HELPER, "unload")
    equal("what NOTES.txt says takes it all away", (unloaded.stdout, scheduler()["links"]), ("unloaded\n", []))
    end(podman, "dedicated", container)
    equal("without the helper calls go on as before", call(), expected)
    podman("rm", "-f", "-t", "0", first)
    run("rm", "-rf", "/opt/agentsh", DOOR)


main()
