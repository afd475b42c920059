//! Self-delegation: the agent runs in a cgroup that is really ours to arrange (systemd's Delegate=yes, or a container
//! with a writable cgroup tree), so the first launcher makes a session of it.

use super::dir::Dir;
use super::mount::{self, Mount};
use super::session::{self, Spec};
use super::{mark, meminfo};
use crate::class::Class;
use crate::policy::compiled::SessionPolicy;
use nix::errno::Errno;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What was found on the way up from our own cgroup.
#[derive(Debug)]
pub enum Candidate {
    /// A leaf of ours, seen from inside a cgroup namespace that hides its name.
    Leaf(Class),
    /// A cgroup that is ours to arrange.
    Delegated {
        /// Its path from the namespace's root.
        cgroup: PathBuf,
        /// Its directory.
        dir: Dir,
    },
}

/// Processes are moved in so many rounds: each moves all that fork in between.
const ROUNDS: usize = 32;

/// The nearest delegated cgroup, from our own upwards. Never beyond a unit of systemd: below its user manager, which is
/// delegated, other units live that are not ours to arrange, and an ssh session's scope isn't either.
pub fn candidate(own: &Path, mounts: &[Mount]) -> Result<Option<Candidate>, String> {
    let mut why = Ok(None);
    for cgroup in own.ancestors() {
        for directory in mount::directories(mounts, cgroup) {
            let Ok(dir) = Dir::open(&directory) else { continue };
            if let Some(class) = leaf_class(&dir) {
                return Ok(Some(Candidate::Leaf(class)));
            }
            let namespace_root = || cgroup.parent().is_none() && in_own_namespace() && !is_root(&dir);
            if !(delegated_by_mark(&dir) || namespace_root()) {
                continue;
            }
            let free = dir.writable().and_then(|()| match dir.may_write("cgroup.subtree_control") {
                true => Ok(()),
                false => Err(Errno::EACCES),
            });
            match free {
                Ok(()) => return Ok(Some(Candidate::Delegated { cgroup: cgroup.to_owned(), dir })),
                Err(e) => why = Err(format!("{} is delegated, but: {}", directory.display(), e.desc())),
            }
        }
        if is_unit(cgroup) {
            break;
        }
    }
    why
}

/// The true root of the tree, which has no type: it is nobody's to delegate.
pub fn is_root(dir: &Dir) -> bool {
    !dir.has("cgroup.type")
}

/// Is it a unit of systemd's, by its name?
pub fn is_unit(cgroup: &Path) -> bool {
    cgroup.extension().is_some_and(|e| e == "scope" || e == "service" || e == "slice")
}

fn delegated_by_mark(dir: &Dir) -> bool {
    [mark::USER_DELEGATE, mark::TRUSTED_DELEGATE]
        .iter()
        .any(|name| dir.mark(name, &mut [0; 16]).is_ok_and(|value| value == b"1"))
}

fn leaf_class(dir: &Dir) -> Option<Class> {
    let mut buf = [0; 16];
    let class = dir.mark(mark::LEAF, &mut buf).ok()?.get(8..16)?;
    let class = usize::try_from(u64::from_ne_bytes(class.try_into().ok()?)).ok()?;
    Class::LEAVES.get(class).copied()
}

fn in_own_namespace() -> bool {
    mount::in_first_namespace() == Some(false)
}

/// Makes a session of a delegated cgroup, with the limits that its own leaves: see [`set_up_as`]. Others may be at it too: one
/// does it, the rest wait for it at most 200 ms. Says why it can't be done.
pub fn set_up(dir: &Dir, policy: Option<&SessionPolicy>) -> Result<(), String> {
    let mut tries = 0;
    while let Err(e) = dir.try_lock() {
        tries += 1;
        if e != Errno::EWOULDBLOCK || tries > 20 {
            return Err(format!("{} is being set up by another process: {}", dir.path().display(), e.desc()));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    // Its own limits are somebody else's to set; those of agent/ and calls/ follow from them.
    let own = dir.read_max("memory.max").unwrap_or(None);
    let result = set_up_as(dir, &Spec::of(policy, own, None, meminfo::available()));
    let _ = dir.unlock();
    result
}

/// Makes a session of a cgroup: `agent/` with all its processes, and `calls/`. Only with its lock. Says why it can't be done.
pub fn set_up_as(dir: &Dir, spec: &Spec) -> Result<(), String> {
    let agent =
        dir.ensure_child("agent").map_err(|e| format!("{}/agent: {}", dir.path().display(), e.desc()))?;
    for _ in 0..ROUNDS {
        empty_into(dir, &agent).map_err(|e| e.to_string())?;
        match session::furnish(dir, spec) {
            Ok(_) => return Ok(()),
            // A process was forked between the last look and the switch.
            Err(e) if e.errno == Errno::EBUSY => {}
            Err(e) => return Err(e.to_string()),
        }
    }
    Err(format!("{} does not get empty: its processes fork too fast", dir.path().display()))
}

/// Moves every process of a cgroup into a child of it; done when there is none left.
pub fn empty_into(dir: &Dir, child: &Dir) -> Result<(), super::Error> {
    use super::Error;
    for _ in 0..ROUNDS {
        let mut buf = [0; 4096];
        let text =
            dir.read("cgroup.procs", &mut buf).map_err(Error::of("read", dir.path(), "cgroup.procs"))?;
        if text.is_empty() {
            return Ok(());
        }
        // A full buffer may end within a number: that one is left for the next round.
        let whole = text.iter().rposition(|&b| b == b'\n').map_or(0, |end| end + 1);
        for pid in text[..whole].split(|&b| b == b'\n').filter(|p| !p.is_empty()) {
            if pid == b"0" {
                // It stands for a process of another PID namespace; written, it would mean ourselves.
                return Err(Error::of("move a process of another PID namespace from", dir.path(), "")(
                    Errno::ESRCH,
                ));
            }
            match child.write("cgroup.procs", pid) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(e) => {
                    let doing = format!("move process {} to", String::from_utf8_lossy(pid));
                    return Err(Error::of(&doing, child.path(), "")(e));
                }
            }
        }
    }
    Err(Error::of("empty", dir.path(), "")(Errno::EBUSY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_s_units_are_told_by_their_names() {
        for unit in ["/user.slice/user-0.slice/session-3.scope", "/system.slice/ssh.service", "/user.slice"] {
            assert!(is_unit(Path::new(unit)), "{unit}");
        }
        for other in ["/", "/x/claude-code-bash", "/docker/0123"] {
            assert!(!is_unit(Path::new(other)), "{other}");
        }
    }

    #[test]
    fn a_cgroup_without_a_delegation_mark_is_nobody_s_to_arrange() {
        let tmp = tempfile::tempdir().unwrap();
        let mounts = [Mount { root: "/".into(), point: tmp.path().into() }];
        assert!(candidate(Path::new("/user.slice/session-3.scope"), &mounts).unwrap().is_none());
    }
}
