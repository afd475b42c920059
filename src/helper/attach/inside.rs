//! Putting `calls/` and the policy where the container's programs see them: /run/agentsh, in its mount namespace.
//!
//! A child process does it, as whoever enters another mount namespace has that one's files from then on. Those are the
//! container's own, and it may change them meanwhile: no link is followed, no file of it is read or written, and what is
//! mounted was opened before.

use super::peer::Peer;
use super::strict::Opening;
use crate::cgroup::dir::Dir;
use crate::sys::capability::{Capability, keep_only};
use crate::sys::mounting::{self, INERT, READ_ONLY};
use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::mount::{MntFlags, umount2};
use nix::sys::stat::{Mode, fstat, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchdir, read, setfsgid, setfsuid, unlinkat, write};
use std::ffi::CStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};

/// What of root's powers is needed in there, once it is entered: mounting, and making the folder as its owner would.
const NEEDED: [Capability; 4] =
    [Capability::SysAdmin, Capability::DacOverride, Capability::Setuid, Capability::Setgid];
/// The child's exit status if everything was there already, or all but the policy's latest.
const THERE: u8 = 1;
const FAILED: u8 = 2;
const RENEWED: u8 = 3;
/// By this source a folder of ours is known in the list of mounts. Who can't mount can't make another of that name.
const OURS: &CStr = c"agentsh";
/// More folders of ours over one another than interrupted attaching leaves.
const MOST_LAYERS: usize = 16;

/// What was done in the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// It has been mounted.
    Mounted,
    /// It was there.
    There,
    /// It was there, with another policy.
    Renewed,
}

/// What is put into a container.
pub struct Parcel {
    folder: OwnedFd,
    calls: OwnedFd,
    /// What of a `calls/` that is read-only can be written: none where all of it can.
    openings: Vec<Opening>,
    /// The id of `calls/`.
    id: u64,
    policy: Vec<u8>,
}

impl Parcel {
    /// A folder in memory with the policy and `calls/`'s place in it, and a mount of `calls/` alone. `..` of that one is
    /// itself: nothing above it can be reached from it. With openings it is read-only but for these.
    pub fn of(calls: &Dir, policy: &[u8], openings: Vec<Opening>) -> Result<Parcel> {
        let options = [(c"source", OURS), (c"mode", c"0755"), (c"size", c"1m"), (c"nr_inodes", c"16")];
        let folder = mounting::tmpfs(&options).context("a file system in memory can't be had")?;
        mkdirat(&folder, "calls", Mode::from_bits_truncate(0o755)).context("calls, in memory")?;
        put(&folder, "policy", policy)?;
        mounting::restrict(&folder, READ_ONLY | INERT).context("mount_setattr")?;
        let mount = mounting::detached(calls).context("open_tree of calls/")?;
        let attributes = if openings.is_empty() { INERT } else { READ_ONLY | INERT };
        mounting::restrict(&mount, attributes).context("mount_setattr")?;
        let id = calls.identity().context("calls/")?.id;
        Ok(Parcel { folder, calls: mount, openings, id, policy: policy.to_vec() })
    }

    /// Mounts it in the peer's mount namespace, if it isn't there. `still` is asked last, just before the mount.
    pub fn deliver(&self, peer: &Peer, still: impl Fn() -> Result<()>) -> Result<Delivered> {
        let (status, said) = mounting::in_child(|| match self.inside(peer, still) {
            Ok(Delivered::Mounted) => (0, String::new()),
            Ok(Delivered::There) => (THERE, String::new()),
            Ok(Delivered::Renewed) => (RENEWED, String::new()),
            Err(error) => (FAILED, format!("{error:#}")),
        })
        .context("no process for the mount can be had")?;
        match status {
            0 => Ok(Delivered::Mounted),
            THERE => Ok(Delivered::There),
            RENEWED => Ok(Delivered::Renewed),
            FAILED => bail!("in the container: {said}"),
            _ => bail!("the process that mounts came to an end by itself ({status})"),
        }
    }

    fn inside(&self, peer: &Peer, still: impl Fn() -> Result<()>) -> Result<Delivered> {
        mounting::enter_mounts(peer).context("its mount namespace can't be entered")?;
        let root = File::open("/").context("its /")?;
        let run = folder(&root, c"run")?;
        let place = folder(&run, c"agentsh")?;
        if self.is_at(&place) {
            return Ok(if self.renew(&place)? { Delivered::Renewed } else { Delivered::There });
        }
        still()?;
        keep_only(&NEEDED).context("capabilities can't be given up")?;
        mounting::mount_onto(&self.folder, &place).context("/run/agentsh can't be mounted")?;
        // Seen from the mount itself, so whatever happened to the path meanwhile.
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let inner = openat(&self.folder, "calls", flags, Mode::empty()).context("/run/agentsh/calls")?;
        mounting::mount_onto(&self.calls, &inner).context("/run/agentsh/calls can't be mounted")?;
        for opening in &self.openings {
            let shown = || format!("/run/agentsh/calls/{}", opening.place.to_string_lossy());
            let place = openat(
                &self.calls,
                opening.place.as_c_str(),
                OFlag::O_PATH | OFlag::O_CLOEXEC,
                Mode::empty(),
            );
            mounting::mount_onto(&opening.mount, place.with_context(shown)?).with_context(shown)?;
        }
        Ok(Delivered::Mounted)
    }

    /// Puts the policy in place of another one; launchers see one of the two. True if it was another.
    fn renew(&self, place: &OwnedFd) -> Result<bool> {
        let shown = "/run/agentsh/policy";
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let mut there = vec![0; self.policy.len() + 1];
        let mut have = 0;
        let file = openat(place, "policy", flags, Mode::empty()).context(shown)?;
        while let n @ 1.. = read(&file, &mut there[have..]).context(shown)? {
            have += n;
        }
        if there[..have] == self.policy {
            return Ok(false);
        }
        let folder = mounting::writable(place).context("a writable mount of /run/agentsh")?;
        // Of one that was interrupted.
        let _ = unlinkat(&folder, "policy.new", UnlinkatFlags::NoRemoveDir);
        put(&folder, "policy.new", &self.policy)?;
        renameat(&folder, "policy.new", &folder, "policy").context(shown)?;
        Ok(true)
    }

    /// Is our `calls/` mounted there already?
    fn is_at(&self, place: &OwnedFd) -> bool {
        let Ok(calls) = mounting::open_beneath(place, c"calls") else { return false };
        let ours = fstat(&self.calls).map(|s| (s.st_dev, s.st_ino));
        ours.is_ok_and(|(_, id)| id == self.id) && fstat(&calls).map(|s| (s.st_dev, s.st_ino)) == ours
    }
}

/// Takes everything away again in the peer's mount namespace, as often as it is there.
pub fn withdraw(peer: &Peer) -> Result<()> {
    let proc = File::open("/proc").context("/proc")?;
    let (status, said) = mounting::in_child(|| match unmount(peer, &proc) {
        Ok(()) => (0, String::new()),
        Err(error) => (FAILED, format!("{error:#}")),
    })
    .context("no process for unmounting can be had")?;
    match status {
        0 => Ok(()),
        FAILED => bail!("in the container: {said}"),
        _ => bail!("the process that unmounts came to an end by itself ({status})"),
    }
}

fn unmount(peer: &Peer, proc: &File) -> Result<()> {
    mounting::enter_mounts(peer).context("its mount namespace can't be entered")?;
    let root = File::open("/").context("its /")?;
    keep_only(&NEEDED).context("capabilities can't be given up")?;
    for _ in 0..MOST_LAYERS {
        let place = mounting::open_beneath(&root, c"run/agentsh");
        // Not there, or a link: then nothing of ours is.
        let Ok(place) = place else { return Ok(()) };
        if !is_ours(&place, proc)? {
            return Ok(());
        }
        // By the folder itself, whatever the path may lead to meanwhile. Who uses it keeps it until then.
        fchdir(&place).context("/run/agentsh")?;
        umount2(".", MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)
            .context("/run/agentsh can't be unmounted")?;
    }
    bail!("/run/agentsh has been mounted more than {MOST_LAYERS} times")
}

/// Is this open folder a mount of ours? `proc` is our own, as another's may show nothing of us.
fn is_ours(place: &OwnedFd, proc: &File) -> Result<bool> {
    let text = |path: &str| -> Result<String> {
        let file = openat(proc, path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty());
        let mut text = String::new();
        File::from(file.with_context(|| format!("/proc/{path}"))?).read_to_string(&mut text)?;
        Ok(text)
    };
    let info = text(&format!("self/fdinfo/{}", place.as_raw_fd()))?;
    let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:")).map(str::trim);
    Ok(id.is_some_and(|id| is_mount_of_ours(&text("self/mountinfo").unwrap_or_default(), id)))
}

fn is_mount_of_ours(mountinfo: &str, id: &str) -> bool {
    let line = mountinfo.lines().find(|line| line.split(' ').next() == Some(id));
    let system = line.and_then(|line| line.split_once(" - ")).map(|(_, system)| system);
    let mut words = system.unwrap_or_default().split(' ');
    words.next() == Some("tmpfs") && words.next().map(str::as_bytes) == Some(OURS.to_bytes())
}

/// Makes a file in a folder of ours.
fn put(folder: &OwnedFd, name: &str, bytes: &[u8]) -> Result<()> {
    let shown = || format!("{name}, in memory");
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    let file = openat(folder, name, flags, Mode::from_bits_truncate(0o644)).with_context(shown)?;
    let mut left = bytes;
    while !left.is_empty() {
        left = &left[write(&file, left).with_context(shown)?..];
    }
    Ok(())
}

/// Opens a folder of the container, made if need be: as root, or as whoever owns the one that it lies in, where root is
/// nobody (user namespaces).
fn folder(parent: impl std::os::fd::AsFd, name: &CStr) -> Result<OwnedFd> {
    let shown = name.to_string_lossy();
    match mounting::open_beneath(&parent, name) {
        Ok(there) => return Ok(there),
        Err(Errno::ENOENT) => {}
        Err(Errno::ELOOP) => bail!("{shown} is a symbolic link: nothing is mounted through one"),
        Err(errno) => return Err(errno).with_context(|| format!("its {shown} can't be opened")),
    }
    let make = || mkdirat(&parent, name, Mode::from_bits_truncate(0o755));
    let made = match make() {
        Err(Errno::EOVERFLOW | Errno::EACCES | Errno::EPERM) => {
            let owner = fstat(&parent).context("fstat")?;
            setfsgid(Gid::from_raw(owner.st_gid));
            setfsuid(Uid::from_raw(owner.st_uid));
            let made = make();
            setfsuid(Uid::from_raw(0));
            setfsgid(Gid::from_raw(0));
            made
        }
        other => other,
    };
    match made {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(Errno::EROFS) => bail!(
            "its file system is read-only: start it with --tmpfs /run, or with /run/agentsh in its image"
        ),
        Err(errno) => return Err(errno).with_context(|| format!("its {shown} can't be made")),
    }
    mounting::open_beneath(&parent, name).with_context(|| format!("its {shown} can't be opened"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_ours_is_told_from_an_engine_s_by_its_source() {
        let mounts = "41 30 0:55 / /run/agentsh ro,nosuid - tmpfs agentsh ro,size=1024k\n\
            42 30 0:56 / /run/agentsh rw,nosuid - tmpfs tmpfs rw\n43 30 0:57 / /x rw - ext4 agentsh rw\n";
        assert!(is_mount_of_ours(mounts, "41"));
        for other in ["42", "43", "4", "44"] {
            assert!(!is_mount_of_ours(mounts, other), "{other}");
        }
    }
}
