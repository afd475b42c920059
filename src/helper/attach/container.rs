//! Which cgroup is a container's, told by its path: pure.

use std::path::{Component, Path, PathBuf};

/// Shortest part of a container's id that may stand for it: what `docker ps` and `podman ps` show.
const SHORT_ID: usize = 12;
const WHOLE_ID: usize = 64;
/// What stands before the id, as container engines name their cgroups (and `.scope` behind it where systemd makes them).
const PREFIXES: [&str; 8] =
    ["docker-", "libpod-payload-", "libpod-", "crio-", "cri-containerd-", "nerdctl-", "crun-", "runc-"];
/// In a scope of systemd's crun makes one more, for the container's processes, unless it is told not to
/// (<https://github.com/containers/crun/issues/1766>).
pub const CRUN_S: &str = "container";
const SCOPE: &str = ".scope";
/// podman's own cgroup for its pods and containers, where there is no systemd.
const PODMAN_S: &str = "libpod_parent";
/// What a container's cgroup is called there; a pod's is an id alone.
const PODMAN_CONTAINER: &str = "libpod-";

/// The container's cgroup for a process whose cgroup is `own`, seen from the root of the tree: the topmost that an engine
/// named, as what lies below can have been made and named by the container itself. None if there is none, or if it would
/// be within a session's `calls/`, which is somebody's to write.
pub fn around(own: &Path) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    let mut parts = own.components().peekable();
    let mut above = None;
    while let Some(part) = parts.next() {
        path.push(part);
        let Component::Normal(name) = part else { continue };
        let name = name.to_str()?;
        if name == "calls" {
            return None;
        }
        let pod = above == Some(PODMAN_S)
            && parts
                .peek()
                .and_then(|p| p.as_os_str().to_str())
                .is_some_and(|below| below.starts_with(PODMAN_CONTAINER));
        if id(name).is_some() && !pod {
            if name.ends_with(SCOPE) && parts.peek().is_some_and(|part| part.as_os_str() == CRUN_S) {
                path.push(CRUN_S);
            }
            return Some(path);
        }
        above = Some(name);
    }
    None
}

/// Is the cgroup at this path, whose ancestors are none, a container's?
pub fn is_container(cgroup: &Path) -> bool {
    let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    let (own, above) = (name(cgroup), cgroup.parent().map(name).unwrap_or_default());
    let pod = above == PODMAN_S && !own.starts_with(PODMAN_CONTAINER);
    id(&own).is_some() && !pod
}

/// The container's id in the name that an engine gave to a cgroup.
pub fn id(name: &str) -> Option<&str> {
    let bare = name.strip_suffix(SCOPE).unwrap_or(name);
    let (prefix, id) = PREFIXES.iter().find_map(|p| Some((*p, bare.strip_prefix(p)?))).unwrap_or(("", bare));
    // crun and runc take any name, but then systemd is who makes the cgroup, and says so.
    let named_freely = matches!(prefix, "crun-" | "runc-") && bare != name && !id.is_empty();
    (named_freely || id.len() == WHOLE_ID && id.bytes().all(|b| b.is_ascii_hexdigit())).then_some(id)
}

/// Does this cgroup's name stand for the container that is asked for by its id, a beginning of it, or its name?
pub fn is_named(cgroup: &str, wanted: &str) -> bool {
    let short = wanted.len() >= SHORT_ID && wanted.bytes().all(|b| b.is_ascii_hexdigit());
    match id(cgroup) {
        Some(id) => id == wanted || short && id.starts_with(wanted),
        None => cgroup == wanted,
    }
}

/// Where in the container a process is: may its cgroup be arranged? Not if the container has arranged it already, other
/// than agentsh does.
pub fn is_plain(own: &Path, container: &Path) -> bool {
    own.strip_prefix(container).is_ok_and(|below| below.as_os_str().is_empty() || below.starts_with("agent"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "916bfafe72d02311a50ce7be997200e40a6ae85f9146d5f8e1670665ca4edc76";

    fn found(path: &str) -> Option<String> {
        around(Path::new(&path.replace("ID", ID))).map(|p| p.display().to_string().replace(ID, "ID"))
    }

    #[test]
    fn engines_name_their_containers_cgroups() {
        for (own, container) in [
            ("/docker/ID", "/docker/ID"),
            ("/system.slice/docker-ID.scope", "/system.slice/docker-ID.scope"),
            ("/libpod_parent/libpod-ID/agent", "/libpod_parent/libpod-ID"),
            ("/machine.slice/libpod-ID.scope/container", "/machine.slice/libpod-ID.scope/container"),
            ("/machine.slice/libpod-ID.scope/container/agent", "/machine.slice/libpod-ID.scope/container"),
            ("/machine.slice/libpod-ID.scope/containers", "/machine.slice/libpod-ID.scope"),
            ("/kubepods.slice/crio-ID.scope/container/calls/x", "/kubepods.slice/crio-ID.scope/container"),
            ("/user.slice/nerdctl-ID.scope", "/user.slice/nerdctl-ID.scope"),
            ("/docker/ID/container", "/docker/ID"),
            ("/user-1500/scope-1/libpod-payload-ID", "/user-1500/scope-1/libpod-payload-ID"),
            ("/kubepods/burstable/pod1/ID", "/kubepods/burstable/pod1/ID"),
            ("/kubepods.slice/cri-containerd-ID.scope", "/kubepods.slice/cri-containerd-ID.scope"),
            ("/user.slice/crun-mine.scope", "/user.slice/crun-mine.scope"),
            ("/libpod_parent/ID/libpod-ID", "/libpod_parent/ID/libpod-ID"),
        ] {
            assert_eq!(found(own).as_deref(), Some(container), "{own}");
        }
    }

    #[test]
    fn what_a_container_made_below_itself_is_not_taken_for_another() {
        assert_eq!(found("/docker/ID/x/docker-ID.scope").as_deref(), Some("/docker/ID"));
        assert_eq!(found("/docker/ID/libpod-ID").as_deref(), Some("/docker/ID"));
        assert_eq!(found("/docker/ID/calls/test-0").as_deref(), Some("/docker/ID"));
    }

    #[test]
    fn nothing_below_calls_and_nobody_s_shell_is_a_container() {
        for own in [
            "/agentsh/s/calls/test-0/docker-ID.scope",
            "/user.slice/user-0.slice/session-3.scope",
            "/",
            "/docker/12345",
            "/crun-mine",
            "/system.slice/docker.service",
        ] {
            assert_eq!(found(own), None, "{own}");
        }
    }

    #[test]
    fn a_container_is_asked_for_by_its_id_or_the_beginning_of_it() {
        let scope = format!("docker-{ID}.scope");
        assert!(is_named(&scope, ID) && is_named(&scope, &ID[..12]) && is_named("mine", "mine"));
        assert!(is_named("crun-mine.scope", "mine"));
        assert!(!is_named(&scope, &ID[..11]) && !is_named(&scope, "") && !is_named("mine", "min"));
    }

    #[test]
    fn a_pod_s_cgroup_is_no_container_s_and_neither_is_conmon_s() {
        for (path, is) in [
            ("/libpod_parent/ID", false),
            ("/libpod_parent/libpod-ID", true),
            ("/libpod_parent/ID/libpod-ID", true),
            ("/machine.slice/libpod-ID.scope", true),
            ("/machine.slice/libpod-conmon-ID.scope", false),
            ("/docker/ID", true),
            ("/docker", false),
            ("/", false),
        ] {
            assert_eq!(is_container(Path::new(&path.replace("ID", ID))), is, "{path}");
        }
    }

    #[test]
    fn a_container_that_arranges_its_cgroup_itself_is_left_alone() {
        let container = Path::new("/docker/x");
        assert!(
            is_plain(Path::new("/docker/x"), container)
                && is_plain(Path::new("/docker/x/agent/y"), container)
        );
        assert!(!is_plain(Path::new("/docker/x/init.scope"), container));
        assert!(!is_plain(Path::new("/docker/y"), container));
    }
}
