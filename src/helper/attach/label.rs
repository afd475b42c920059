//! Does a container carry the annotation by which it is attached? Read from its OCI bundle (OCI runtime specification,
//! "Annotations"), which whoever started it names: conmon and the runtimes in their command lines, containerd's shim by its working
//! directory, crun and runc in the state that they keep. So no engine's daemon is asked, and none needs to run.
//!
//! Of a user's own engine all of that is the user's to write: it can but say that its own container is to be attached, which
//! it may ask for anyway. Nothing but a regular file is opened for reading.

use super::peer::Peer;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The annotation, as it is in README.md and in hooks.
const NAME: &str = "agentsh";
const VALUE: &str = "attach";
/// Kubernetes' engines put a pod's annotations on its sandbox, too, in which nothing runs: as containerd and CRI-O mark that one.
const SANDBOX: [&str; 2] = ["io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType"];
/// The host's files, where we ourselves are in a container.
const HOST: &str = "/proc/1/root";
/// Levels from a container's first process to the one that watches over it: the runtime is in between while it starts.
const LEVELS: usize = 4;
/// A config.json has some 30 KiB; a state.json has it all once more.
const MOST: u64 = 4 << 20;

/// Is this process's container to be attached, by its annotation? None while its bundle isn't known.
fn is_wanted(peer: &Peer, id: &str) -> Option<bool> {
    bundles(peer.pid, id).iter().find_map(|bundle| json(&bundle.join("config.json"))).map(|it| asks(&it))
}

fn asks(config: &Value) -> bool {
    let text = |name: &str| config.get("annotations")?.get(name)?.as_str();
    text(NAME) == Some(VALUE) && !SANDBOX.iter().any(|name| text(name) == Some("sandbox"))
}

/// Where its bundle may be, as paths of ours: first by who is above it.
fn bundles(pid: i32, id: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut above = parent(pid);
    for _ in 0..LEVELS {
        let Some(pid) = above.filter(|&pid| pid > 1) else { break };
        let proc = PathBuf::from(format!("/proc/{pid}"));
        let words = words(&proc.join("cmdline"));
        let cwd = fs::read_link(proc.join("cwd")).unwrap_or_default();
        let root = proc.join("root");
        found.extend(named_by(&words, &cwd, id).iter().filter_map(|path| below(&root, path)));
        above = parent(pid);
    }
    let state = |path: String| json(&Path::new(HOST).join(path));
    let by_state = [
        state(format!("run/crun/{id}/status")).and_then(|it| by_crun(&it)),
        state(format!("run/runc/{id}/state.json")).and_then(|it| by_runc(&it)),
    ];
    found.extend(by_state.iter().flatten().filter_map(|path| below(Path::new(HOST), path)));
    found
}

/// The bundles that a process above a container names.
fn named_by(words: &[String], cwd: &Path, id: &str) -> Vec<PathBuf> {
    let name = words.first().and_then(|word| Path::new(word).file_name()?.to_str()).unwrap_or_default();
    if name.starts_with("containerd-shim") {
        // Of one container it is in that one's bundle, of a pod's in the sandbox's, with the others beside it.
        let beside = cwd.parent().map(|all| all.join(id));
        return beside.into_iter().collect();
    }
    if !matches!(name, "conmon" | "crun" | "runc") {
        return Vec::new();
    }
    let mut rest = words.iter().skip(1);
    while let Some(word) = rest.next() {
        let value = match word.as_str() {
            "-b" | "--bundle" => rest.next().map(String::as_str),
            _ => word.strip_prefix("--bundle="),
        };
        if let Some(bundle) = value {
            return vec![cwd.join(bundle)];
        }
    }
    // As the runtimes have it by default.
    if name == "conmon" { Vec::new() } else { vec![cwd.to_owned()] }
}

/// As crun writes its status.
fn by_crun(status: &Value) -> Option<PathBuf> {
    status.get("bundle")?.as_str().map(PathBuf::from)
}

/// As runc writes its state: among the labels that it gives to a container.
fn by_runc(state: &Value) -> Option<PathBuf> {
    let labels = state.get("config")?.get("labels")?.as_array()?;
    labels.iter().filter_map(Value::as_str).find_map(|label| label.strip_prefix("bundle=")).map(PathBuf::from)
}

/// A path of somebody else's, from that one's root.
fn below(root: &Path, path: &Path) -> Option<PathBuf> {
    Some(root.join(path.strip_prefix("/").ok()?))
}

/// What a file of JSON says; none if it isn't there, or isn't one. What isn't a regular file isn't opened at all, nor what a link
/// stands for: some of the kernel's own regular files may be read without an end.
fn json(path: &Path) -> Option<Value> {
    let found = File::options().read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW).open(path).ok()?;
    if !found.metadata().ok()?.is_file() {
        return None;
    }
    let file = File::open(format!("/proc/self/fd/{}", found.as_raw_fd())).ok()?;
    // Whole, as parsing while it is read takes a system call a byte.
    let mut text = Vec::new();
    file.take(MOST).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

fn words(path: &Path) -> Vec<String> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MOST).read_to_end(&mut text));
    let words = read.is_ok().then(|| text.split(|&b| b == 0)).into_iter().flatten();
    words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

fn parent(pid: i32) -> Option<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

/// What serve is told about a container that it noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is to be attached, and has begun.
    Wanted,
    /// It doesn't carry the annotation.
    Unwanted,
    /// It is to be attached, once it has begun.
    Starting,
    /// Nobody is in it yet, or who started it hasn't said where its bundle is.
    Unknown,
}

impl Found {
    /// The word for it on stdout.
    pub fn word(self) -> &'static str {
        match self {
            Found::Wanted => "wanted",
            Found::Unwanted => "unwanted",
            Found::Starting => "starting",
            Found::Unknown => "unknown",
        }
    }

    /// The reverse of [`Found::word`], of the first line of what was said.
    pub fn of_word(said: &str) -> Option<Found> {
        let all = [Found::Wanted, Found::Unwanted, Found::Starting, Found::Unknown];
        all.into_iter().find(|found| said.lines().next() == Some(found.word()))
    }
}

/// Is it still in the mount namespace of who started it? An engine may have one other than ours (rootless, in a container, in a unit
/// with PrivateMounts; or we have), and its runtime begins there, with all of its powers.
fn is_engines_still(peer: &Peer) -> bool {
    match parent(peer.pid) {
        // Who started it may have gone.
        Some(above @ 1..) => peer.shares_with(above, "mnt").unwrap_or(false),
        _ => false,
    }
}

/// Looks at a container by its first process.
pub fn look(peer: &Peer, id: &str) -> Result<Found> {
    Ok(match is_wanted(peer, id) {
        None => Found::Unknown,
        Some(false) => Found::Unwanted,
        Some(true) if peer.shares("mnt")? || is_engines_still(peer) || !peer.has_begun()? => Found::Starting,
        Some(true) => Found::Wanted,
    })
}

/// The id in the path of a container's cgroup, which must be one by its name.
pub fn id_of(cgroup: &Path) -> Result<&str> {
    let name = cgroup.file_name().and_then(|name| name.to_str()).context("a cgroup's path")?;
    match super::container::id(name) {
        Some(id) => Ok(id),
        None => bail!("{} isn't named as engines name containers", cgroup.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(words: &[&str], cwd: &str) -> Vec<String> {
        let words: Vec<_> = words.iter().map(|word| (*word).to_string()).collect();
        named_by(&words, Path::new(cwd), "916b").iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn who_watches_over_a_container_names_its_bundle() {
        assert_eq!(
            named(&["/usr/bin/conmon", "--api-version", "1", "-c", "916b", "-b", "/s/916b/userdata"], "/"),
            ["/s/916b/userdata"]
        );
        assert_eq!(
            named(&["/usr/bin/crun", "--systemd-cgroup", "create", "--bundle", "/b", "916b"], "/x"),
            ["/b"]
        );
        assert_eq!(named(&["runc", "run", "--bundle=b", "916b"], "/x"), ["/x/b"]);
        assert_eq!(named(&["crun", "run", "916b"], "/x"), ["/x"]);
        assert_eq!(
            named(
                &["/usr/bin/containerd-shim-runc-v2", "-namespace", "k8s.io", "-id", "a1"],
                "/run/t/k8s.io/a1"
            ),
            ["/run/t/k8s.io/916b"]
        );
        assert!(
            named(&["conmon"], "/").is_empty()
                && named(&["bash", "-b", "/x"], "/").is_empty()
                && named(&[], "/").is_empty()
        );
    }

    #[test]
    fn runtimes_keep_the_bundle_in_their_state() {
        let crun = serde_json::json!({"pid": 7, "bundle": "/b", "cgroup-path": "/x"});
        assert_eq!(by_crun(&crun), Some("/b".into()));
        let runc = serde_json::json!({"config": {"labels": ["agentsh=attach", "bundle=/b"]}});
        assert_eq!(by_runc(&runc), Some("/b".into()));
        assert_eq!((by_crun(&runc), by_runc(&crun)), (None, None));
    }

    #[test]
    fn a_container_asks_by_its_annotation_and_a_pod_s_sandbox_does_not() {
        let asks = |annotations: Value| asks(&serde_json::json!({ "annotations": annotations }));
        assert!(asks(serde_json::json!({"agentsh": "attach"})));
        assert!(asks(
            serde_json::json!({"agentsh": "attach", "io.kubernetes.cri.container-type": "container"})
        ));
        assert!(!asks(
            serde_json::json!({"agentsh": "attach", "io.kubernetes.cri.container-type": "sandbox"})
        ));
        assert!(!asks(
            serde_json::json!({"agentsh": "attach", "io.kubernetes.cri-o.ContainerType": "sandbox"})
        ));
        for other in [serde_json::json!({"agentsh": true}), serde_json::json!({"x": "attach"}), Value::Null] {
            assert!(!asks(other));
        }
    }

    #[test]
    fn nothing_but_a_regular_file_is_read() {
        let tmp = tempfile::tempdir().unwrap();
        nix::unistd::mkfifo(&tmp.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        fs::write(tmp.path().join("file"), "{}").unwrap();
        assert!(json(&tmp.path().join("fifo")).is_none() && json(tmp.path()).is_none());
        assert!(json(&tmp.path().join("none")).is_none());
        std::os::unix::fs::symlink("file", tmp.path().join("link")).unwrap();
        assert!(json(&tmp.path().join("link")).is_none());
        assert_eq!(json(&tmp.path().join("file")), Some(serde_json::json!({})));
    }

    #[test]
    fn what_is_said_is_understood() {
        for found in [Found::Wanted, Found::Unwanted, Found::Starting, Found::Unknown] {
            assert_eq!(Found::of_word(&format!("{}\nmore\n", found.word())), Some(found));
        }
        assert_eq!(Found::of_word(""), None);
    }
}
