"""Containers of rendered pods, run as the kubelet would have them run, but by podman: command, powers, mounts and limits as they stand."""

import json
import os
import shutil

from roots import OPT, PLACE
from sessions import MIB, ROOT, program

UNITS = {"Mi": MIB, "Gi": 1024 * MIB}


def rendered(name):
    """What tests/fleet/check has seen helm render."""
    with open(f"{ROOT}/tests/fleet/rendered/{name}.json", encoding="utf-8") as file:
        return json.load(file)


def of_kind(things, kind):
    """The one of this kind."""
    return next(it for it in things if it["kind"] == kind)


def image():
    """A root with /opt/agentsh and nothing else, as deploy/Dockerfile makes it."""
    root = f"{PLACE}/image"
    shutil.copytree(OPT, f"{root}/opt/agentsh")
    shutil.copy(program("agentsh-helper"), f"{root}/opt/agentsh/libexec/agentsh-helper")
    shutil.copy(program("agentshctl"), f"{root}/opt/agentsh/bin/agentshctl")
    return root


class Pod:
    """A pod's volumes, and its containers by name."""

    def __init__(self, podman, name, spec, things):
        self.podman, self.spec, self.place = podman, spec, f"{PLACE}/pod-{name}"
        self.files = {volume["name"]: self.volume(volume, things) for volume in spec["volumes"]}

    def volume(self, volume, things):
        """Where it is here."""
        if "hostPath" in volume:
            path = volume["hostPath"]["path"]
            if volume["hostPath"]["type"] == "DirectoryOrCreate":
                os.makedirs(path, exist_ok=True)
            return path
        path = f"{self.place}/{volume['name']}"
        os.makedirs(path)
        if "configMap" in volume:
            for name, text in of_kind(things, "ConfigMap")["data"].items():
                with open(f"{path}/{name}", "w", encoding="utf-8") as file:
                    file.write(text)
        return path

    def container(self, name):
        """Its description."""
        return next(it for it in [*self.spec["initContainers"], *self.spec["containers"]] if it["name"] == name)

    def words(self, name, root):
        """podman's arguments for it."""
        it = self.container(name)
        context = it.get("securityContext", {})
        words = ["--pid", "host"] if self.spec.get("hostPID") else []
        words += [part for power in context.get("capabilities", {}).get("drop", []) for part in ("--cap-drop", power.lower())]
        words += [part for power in context.get("capabilities", {}).get("add", []) for part in ("--cap-add", power)]
        words += ["--security-opt", "no-new-privileges"] if context.get("allowPrivilegeEscalation") is False else []
        words += ["--security-opt", "seccomp=unconfined"] if context.get("seccompProfile", {}).get("type") == "Unconfined" else []
        words += ["--read-only", "--read-only-tmpfs=false"] if context.get("readOnlyRootFilesystem") else []
        words += [part for it_is in it.get("env", []) for part in ("-e", f"{it_is['name']}={it_is['value']}")]
        limit = it.get("resources", {}).get("limits", {}).get("memory")
        words += ["--memory", str(int(limit[:-2]) * UNITS[limit[-2:]])] if limit else []
        for mount in it["volumeMounts"]:
            source = os.path.join(self.files[mount["name"]], mount.get("subPath", ""))
            words += ["-v", f"{source.rstrip('/')}:{mount['mountPath']}" + (":ro" if mount.get("readOnly") else "")]
        return [*words, "--rootfs", root, *it["command"], *it.get("args", [])]

    def run(self, name, root):
        """Runs it to its end."""
        return self.podman("run", "--rm", "--network", "none", *self.words(name, root))

    def start(self, name, root):
        """Starts it: its id and its first process."""
        return self.podman.start(*self.words(name, root))
