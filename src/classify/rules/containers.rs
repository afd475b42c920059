//! Containers, clusters and virtual machines. What runs inside counts, as it is waited for.

use super::super::call::{Call, Found, is, one_of, say};
use super::super::entry::{Entry, all, by};
use crate::class::Class;

pub(super) const TABLE: &[Entry] = &[
    by(&["docker", "podman", "nerdctl", "finch", "com.docker.cli"], docker),
    by(&["docker-compose", "podman-compose"], |call| compose(call, 1)),
    all(
        Class::Build,
        &["buildah", "kaniko", "buildctl", "pack", "s2i", "img", "packer", "nixpacks", "depot"],
    ),
    by(&["skopeo", "crane", "regctl", "oras"], |call| match call.word(1) {
        b"copy" | b"sync" | b"pull" | b"cp" => is(Class::Install),
        b"inspect" | b"list-tags" | b"ls" | b"manifest" | b"digest" | b"config" => is(Class::Explore),
        _ => is(Class::Run),
    }),
    all(
        Class::Run,
        &[
            "vagrant",
            "virsh",
            "qemu-system-x86_64",
            "qemu-system-aarch64",
            "qemu-img",
            "multipass",
            "lima",
            "limactl",
            "colima",
            "lxc",
            "lxd",
            "incus",
            "machinectl",
            "apptainer",
            "singularity",
            "runc",
            "crun",
            "ctr",
            "crictl",
            "devcontainer",
            "act",
            "dagger",
            "earthly",
            "distrobox",
            "toolbox",
        ],
    ),
    by(&["kubectl", "oc", "k3s", "microk8s", "kubecolor"], kubectl),
];

fn docker(call: &Call<'_>) -> Found {
    let Some(index) = call.operand(1, &["-H", "--host", "-c", "--context", "--config", "-l", "--log-level"])
    else {
        return is(Class::Explore);
    };
    let next = index + 1;
    match call.word(index) {
        b"run" => in_container(call, next),
        b"create" | b"start" | b"restart" | b"stop" | b"kill" | b"rm" | b"rmi" | b"pause" | b"unpause"
        | b"wait" | b"attach" | b"rename" | b"update" | b"commit" | b"push" | b"login" | b"logout"
        | b"tag" | b"prune" | b"swarm" | b"stack" | b"service" | b"machine" | b"cp" | b"export" => {
            is(Class::Run)
        }
        b"exec" => in_container(call, next),
        b"build" => is(Class::Build),
        b"buildx" | b"builder" => is(match call.word(next) {
            b"ls" | b"inspect" | b"du" | b"version" => Class::Explore,
            b"build" | b"bake" => Class::Build,
            _ => Class::Run,
        }),
        b"pull" | b"load" | b"import" | b"plugin" => is(Class::Install),
        b"compose" => compose(call, next),
        b"image" | b"container" | b"volume" | b"network" | b"system" | b"context" | b"manifest" => {
            match call.word(next) {
                b"ls" | b"list" | b"inspect" | b"df" | b"info" | b"history" | b"show" | b"events"
                | b"logs" | b"top" | b"stats" | b"port" | b"diff" => is(Class::Explore),
                b"build" => is(Class::Build),
                b"pull" | b"load" | b"import" => is(Class::Install),
                b"run" | b"exec" => in_container(call, next + 1),
                _ => is(Class::Run),
            }
        }
        // ps, images, logs, inspect, info, version, top, stats, port, diff, history, search, events …
        _ => is(Class::Explore),
    }
}

/// `docker run IMAGE COMMAND` and `docker exec CONTAINER COMMAND`: at least run, and more if what is inside is.
fn in_container(call: &Call<'_>, from: usize) -> Found {
    const VALUES: &[&str] = &[
        "-e",
        "-v",
        "-w",
        "-u",
        "-p",
        "-h",
        "-l",
        "-m",
        "-c",
        "-a",
        "--name",
        "--env",
        "--volume",
        "--workdir",
        "--user",
        "--publish",
        "--network",
        "--net",
        "--entrypoint",
        "--env-file",
        "--mount",
        "--memory",
        "--cpus",
        "--platform",
        "--label",
        "--hostname",
        "--add-host",
        "--gpus",
        "--device",
        "--restart",
        "--shm-size",
        "--ulimit",
        "--tmpfs",
        "--cap-add",
        "--cap-drop",
        "--security-opt",
        "--pid",
        "--ipc",
        "--runtime",
        "--volumes-from",
        "--log-driver",
        "--log-opt",
        "--dns",
        "--ip",
        "--expose",
        "--link",
        "--index",
        "--detach-keys",
        "--pull",
        "--cidfile",
        "--stop-timeout",
        "-f",
        "--file",
        "--profile",
        "--project-name",
        "--scale",
        "--cgroup-parent",
        "--pids-limit",
        "--userns",
        "--cpuset-cpus",
        "--memory-swap",
    ];
    let inside =
        call.operand(from, VALUES).map(|image| image + 1).filter(|&inside| inside < call.words.len());
    match inside {
        Some(inside) => Found::AtLeast(inside, say(Class::Run)),
        None => is(Class::Run),
    }
}

fn compose(call: &Call<'_>, from: usize) -> Found {
    let with_value = &[
        "-f",
        "-p",
        "--file",
        "--project-name",
        "--profile",
        "--env-file",
        "--project-directory",
        "--ansi",
        "--progress",
    ];
    let Some(index) = call.operand(from, with_value) else {
        return is(Class::Explore);
    };
    match call.word(index) {
        b"run" | b"exec" => in_container(call, index + 1),
        b"build" => is(Class::Build),
        b"pull" => is(Class::Install),
        b"ps" | b"logs" | b"config" | b"images" | b"ls" | b"top" | b"port" | b"version" | b"events"
        | b"stats" | b"convert" => is(Class::Explore),
        _ => is(Class::Run),
    }
}

fn kubectl(call: &Call<'_>) -> Found {
    let with_value =
        &["-n", "--namespace", "--context", "--kubeconfig", "-s", "--server", "--cluster", "--user"];
    let verb = call.verb(with_value);
    if verb == b"exec" {
        return match call.words.iter().position(|word| *word.text == *b"--") {
            Some(dashes) if dashes + 1 < call.words.len() => Found::AtLeast(dashes + 1, say(Class::Run)),
            _ => is(Class::Run),
        };
    }
    let looks = [
        "get",
        "describe",
        "logs",
        "top",
        "explain",
        "version",
        "cluster-info",
        "api-resources",
        "api-versions",
        "config",
        "auth",
        "diff",
        "events",
        "",
    ];
    is(if one_of(verb, &looks) { Class::Explore } else { Class::Run })
}
