//! `--strict`: not even root in the container can change what a call may have.
//!
//! The leaves are made here, once, so many of each class, with their limits. `calls/` is mounted read-only, but for each
//! leaf's cgroup.procs, so that launchers can choose a leaf and do nothing else to it. That wall is made of mounts, as root in
//! a container that has no user namespace of its own is the owner of all files that root made.

use super::peer::Peer;
use super::{MOST_PEERS, descendants, find};
use crate::cgroup::dir::Dir;
use crate::cgroup::leaf::POOL_SIZE;
use crate::cgroup::limits::{Context as Around, LeafLimits};
use crate::cgroup::{ahead, idle, mark};
use crate::class::Class;
use crate::policy::compiled::Policy;
use crate::sys::mounting::{self, INERT};
use anyhow::{Context, Result, bail};
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, fchownat};
use std::ffi::CString;
use std::os::fd::OwnedFd;

/// Leaves of each class if nothing else is said: more calls of one class at once than an agent is seen to make.
pub const LEAVES: u64 = 8;
/// At most: what launchers look for.
pub const MOST: u64 = POOL_SIZE;
/// Below calls/ there are leaves, and below these nothing: whoever may make cgroups there could keep them from being used.
const DEPTH: u64 = 1;

/// A leaf's cgroup.procs, and where it goes below the mounted `calls/`.
pub struct Opening {
    /// `<leaf>/cgroup.procs`.
    pub place: CString,
    /// The file as a mount of its own.
    pub mount: OwnedFd,
}

/// The leaves: made, limited, and handed over to a user as far as a process must be to go into one.
pub fn furnish(
    calls: &Dir,
    policy: &Policy,
    around: &Around,
    wanted: u64,
    user: Option<(Uid, Gid)>,
) -> Result<Vec<Opening>> {
    // As many as there were: launchers may be using them.
    let count = ahead::leaves(calls).unwrap_or(wanted).clamp(1, MOST);
    let mut openings = Vec::new();
    for class in Class::LEAVES {
        let limits = ahead::unattended(&LeafLimits::of(policy.class(class), around));
        for number in 0..count {
            openings.push(leaf(calls, class, number, &limits, user)?);
        }
    }
    calls.write_u64("cgroup.max.depth", DEPTH).context("cgroup.max.depth of calls/")?;
    calls.set_mark(mark::AHEAD, &count.to_ne_bytes()).context("user.agentsh.ahead")?;
    Ok(openings)
}

fn leaf(
    calls: &Dir,
    class: Class,
    number: u64,
    limits: &LeafLimits,
    user: Option<(Uid, Gid)>,
) -> Result<Opening> {
    let name = format!("{class}-{number}");
    let leaf = calls.ensure_child(&name).with_context(|| format!("{}/{name}", calls.path().display()))?;
    let shown = || leaf.path().display().to_string();
    let lacks = limits.write(&leaf).with_context(shown)?;
    if !lacks.is_empty() {
        bail!("{}: {} can't be set, and nothing less is strict", shown(), lacks.join(", "));
    }
    // By that it is told from inside a namespace that hides its name; no use of it has a number here.
    idle::in_use(&leaf, 0, class).with_context(shown)?;
    if let Some((uid, gid)) = user {
        fchownat(&leaf, "cgroup.procs", Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)
            .with_context(shown)?;
    }
    let procs = openat(&leaf, "cgroup.procs", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty());
    let mount = mounting::detached(procs.with_context(shown)?).context("open_tree of cgroup.procs")?;
    mounting::restrict(&mount, INERT).context("mount_setattr")?;
    let place = CString::new(format!("{name}/cgroup.procs")).context("a leaf's name")?;
    Ok(Opening { place, mount })
}

/// For a user, beside its leaves: what a process that goes from `agent/` to a leaf needs on the level above both.
pub fn hand_over(base: &Dir, uid: Uid, gid: Gid) -> Result<()> {
    fchownat(base, "cgroup.procs", Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)
        .with_context(|| format!("{}/cgroup.procs", base.path().display()))
}

/// Would it hold? Not where the container sees a cgroup file system that it can write, or could make one.
pub fn refuse_what_does_not_hold(peer: &Peer, own_mounts: &str) -> Result<()> {
    if !bounded_by_namespaces(own_mounts) {
        bail!(
            "the cgroup file system is mounted without nsdelegate: a call could mount it anew, in a namespace of its own, and change its leaf's limits there"
        );
    }
    if let Some(place) = writable(&peer.mounts()?) {
        bail!(
            "the container has a cgroup file system that it can write, at {place}: start it anew without that, and attach it with --strict at once"
        );
    }
    Ok(())
}

/// Nor where a process has namespaces of its own, in which it may have mounted the tree anew: made before, its cgroup namespace
/// has the container's cgroup as its root, and all of `calls/` is below that. What is made later has a leaf or `agent/`.
/// What somebody has opened before nobody can see.
pub fn refuse_namespaces_of_their_own(base: &Dir) -> Result<()> {
    let Some(first) = find::first(base)? else { return Ok(()) };
    let pids = descendants::processes(base)?;
    if pids.len() > MOST_PEERS {
        bail!(
            "the container has {} processes already: attach it with --strict before it starts any",
            pids.len()
        );
    }
    for kind in ["mnt", "user", "cgroup"] {
        let usual = first.namespace(kind)?;
        for &pid in &pids {
            // It may have ended meanwhile.
            let Ok(own) = Peer::of(pid).and_then(|peer| peer.namespace(kind)) else { continue };
            if own != usual {
                bail!(
                    "process {pid} of the container has another {kind} namespace than its first process, from which it might write limits later: \
                     end it (or try again, if an engine was just starting it), or start the container anew and attach it with --strict at once"
                );
            }
        }
    }
    Ok(())
}

/// Is a cgroup namespace's root kept from being written from inside? An option of the file system as a whole.
fn bounded_by_namespaces(mountinfo: &str) -> bool {
    cgroup2(mountinfo).any(|(_, _, options)| options.split(',').any(|one| one == "nsdelegate"))
}

/// Where cgroup v2 is mounted writably, but for single files, which are ours.
fn writable(mountinfo: &str) -> Option<&str> {
    let whole = |root: &str| !root.ends_with("/cgroup.procs");
    cgroup2(mountinfo).find_map(|(fields, options, _)| {
        let writable = options.split(',').any(|one| one == "rw");
        (writable && whole(fields.0)).then_some(fields.1)
    })
}

/// Each mount of cgroup v2: its root and place, its own options, and those of the file system.
fn cgroup2(mountinfo: &str) -> impl Iterator<Item = ((&str, &str), &str, &str)> {
    mountinfo.lines().filter_map(|line| {
        let (mount, system) = line.split_once(" - ")?;
        let mut system = system.split(' ');
        if system.next() != Some("cgroup2") {
            return None;
        }
        let mut mount = mount.split(' ').skip(3);
        Some(((mount.next()?, mount.next()?), mount.next()?, system.nth(1).unwrap_or("")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n";

    #[test]
    fn without_nsdelegate_nothing_is_strict() {
        assert!(bounded_by_namespaces(HOST));
        assert!(!bounded_by_namespaces(&HOST.replace(",nsdelegate", "")));
        assert!(!bounded_by_namespaces(""));
    }

    #[test]
    fn a_writable_cgroup_file_system_is_found_wherever_it_is() {
        let strict = "1 2 0:26 /c /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw,nsdelegate\n\
            2 2 0:26 /c/calls /run/agentsh/calls ro - cgroup2 cgroup rw\n\
            3 2 0:26 /c/calls/test-0/cgroup.procs /run/agentsh/calls/test-0/cgroup.procs rw - cgroup2 cgroup rw\n\
            4 2 0:27 / /tmp rw - tmpfs tmpfs rw\n";
        assert_eq!(writable(strict), None);
        let cooperative = strict.replace("/run/agentsh/calls ro", "/run/agentsh/calls rw");
        assert_eq!(writable(&cooperative), Some("/run/agentsh/calls"));
    }
}
