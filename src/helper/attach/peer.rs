//! A process of a container, as the kernel tells of it: held by its pidfd, so that whatever was read is known to be of it.

use crate::sys::capability::Capability;
use crate::sys::process;
use anyhow::{Context, Result, anyhow, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

/// With one of these a process gets past a mount: it may open any file of the file system by its handle, or mount it whole.
const PAST_MOUNTS: [Capability; 2] = [Capability::DacReadSearch, Capability::SysAdmin];

/// A process, for as long as this is kept.
pub struct Peer {
    /// Its pid.
    pub pid: i32,
    pidfd: OwnedFd,
    /// /proc/PID/cgroup, which can still be read where another /proc is seen.
    cgroup: File,
}

/// What /proc/PID/status says.
#[derive(Debug, PartialEq, Eq)]
pub struct Status {
    /// Its real uid, as we count.
    pub uid: u32,
    /// Its real gid.
    pub gid: u32,
    /// Its pid in each of its PID namespaces, ours first.
    pub pids: Vec<i32>,
    /// The most that it or what it starts can have of root's powers.
    bounding: u64,
    /// What it has.
    permitted: u64,
}

impl Peer {
    /// Takes hold of a process.
    pub fn of(pid: i32) -> Result<Peer> {
        let pidfd = process::pidfd(pid).with_context(|| format!("process {pid}"))?;
        Peer::held(pid, pidfd)
    }

    /// A process that is held already.
    pub fn held(pid: i32, pidfd: OwnedFd) -> Result<Peer> {
        let path = format!("/proc/{pid}/cgroup");
        let peer = Peer { pid, pidfd, cgroup: File::open(&path).context(path)? };
        peer.is_alive()?;
        Ok(peer)
    }

    /// Fails if it has ended: then what was read under its number since may be of another.
    pub fn is_alive(&self) -> Result<()> {
        let mut ended = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ended, PollTimeout::ZERO).context("poll")? {
            0 => Ok(()),
            _ => bail!("process {} has ended", self.pid),
        }
    }

    /// Its cgroup now, from the root of the tree.
    pub fn cgroup(&self) -> Result<PathBuf> {
        let mut bytes = vec![0; 8192];
        let len = self
            .cgroup
            .read_at(&mut bytes, 0)
            .with_context(|| format!("the cgroup of process {}", self.pid))?;
        self.is_alive()?;
        let text = String::from_utf8_lossy(&bytes[..len]);
        let own = text.lines().find_map(|line| line.strip_prefix("0::"));
        let own = own.ok_or_else(|| anyhow!("/proc/{}/cgroup has no cgroup v2 line", self.pid))?;
        // Above our own namespace's root: then ours is not the host's, and no path would be what it seems.
        match own.starts_with('/') && !own.starts_with("/..") && !own.ends_with(" (deleted)") {
            true => Ok(PathBuf::from(own)),
            false => bail!("process {} is in {own}: run this in the host's cgroup namespace", self.pid),
        }
    }

    /// Its ids and powers.
    pub fn status(&self) -> Result<Status> {
        Status::of(&self.read("status")?).ok_or_else(|| anyhow!("/proc/{}/status has another form", self.pid))
    }

    /// The mounts that it sees, as /proc/PID/mountinfo has them.
    pub fn mounts(&self) -> Result<String> {
        self.read("mountinfo")
    }

    /// Is it in the namespace of this kind (`mnt`, `pid`, `user` …) that we are in?
    pub fn shares(&self, kind: &str) -> Result<bool> {
        Ok(self.namespace(kind)? == namespace("self", kind)?)
    }

    /// Is it in the namespace of this kind that another process is in?
    pub fn shares_with(&self, pid: i32, kind: &str) -> Result<bool> {
        Ok(self.namespace(kind)? == namespace(&pid.to_string(), kind)?)
    }

    /// Its namespace of this kind, by its number.
    pub fn namespace(&self, kind: &str) -> Result<u64> {
        let number = namespace(&self.pid.to_string(), kind)?;
        self.is_alive()?;
        Ok(number)
    }

    /// Is what it runs a program of its own mount namespace? A container's first process is its engine's runtime up to there, and
    /// its cgroup must not be touched: the runtime is still at it.
    pub fn has_begun(&self) -> Result<bool> {
        let exe = File::options()
            .read(true)
            .custom_flags(libc::O_PATH)
            .open(format!("/proc/{}/exe", self.pid))
            .with_context(|| format!("the program of process {}", self.pid))?;
        let path = format!("/proc/self/fdinfo/{}", exe.as_raw_fd());
        let info = fs::read_to_string(&path).context(path)?;
        let mount = info.lines().find_map(|line| line.strip_prefix("mnt_id:")).map(str::trim);
        let mounts = self.mounts()?;
        Ok(mount.is_some_and(|id| mounts.lines().any(|line| line.split(' ').next() == Some(id))))
    }

    /// What sorts processes by when they began, the first one first. Of those that did within the same hundredth of a second that is
    /// the first of its PID namespace, and of several such the one of the outer namespace.
    pub fn age(&self) -> Result<(u64, bool, usize)> {
        let began =
            began(&self.read("stat")?).ok_or_else(|| anyhow!("/proc/{}/stat has another form", self.pid))?;
        let pids = self.status()?.pids;
        Ok((began, pids.last() != Some(&1), pids.len()))
    }

    /// Why no mount may be put where this process can reach it; none if it may. A read-only one (`strict`) whoever may mount
    /// at all could make writable.
    pub fn gets_past_mounts(&self, strict: bool) -> Result<Option<&'static str>> {
        let status = self.status()?;
        // In a user namespace of its own they say nothing about file systems that aren't that namespace's.
        Ok(if strict || self.shares("user")? { status.past_mounts() } else { None })
    }

    fn read(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.pid);
        let text = fs::read_to_string(&path).context(path)?;
        self.is_alive()?;
        Ok(text)
    }
}

/// Field 22 of proc_pid_stat(5), in clock ticks; the name may hold anything, but nothing behind it holds a parenthesis.
fn began(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

fn namespace(who: &str, kind: &str) -> Result<u64> {
    let path = format!("/proc/{who}/ns/{kind}");
    fs::metadata(&path).map(|meta| meta.ino()).context(path)
}

impl AsFd for Peer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl Status {
    fn of(text: &str) -> Option<Status> {
        let line = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        let first = |key: &str| line(key)?.split_whitespace().next()?.parse().ok();
        let set = |key: &str| u64::from_str_radix(line(key)?.trim(), 16).ok();
        Some(Status {
            uid: first("Uid")?,
            gid: first("Gid")?,
            pids: line("NSpid")?.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?,
            bounding: set("CapBnd")?,
            permitted: set("CapPrm")? | set("CapInh")?,
        })
    }

    fn past_mounts(&self) -> Option<&'static str> {
        let has = self.bounding | self.permitted;
        PAST_MOUNTS.iter().find(|one| has & one.bit() != 0).map(|one| one.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tx\nUid:\t1000\t0\t0\t0\nGid:\t100\t100\t100\t100\nNSpid:\t812\t1\n\
        CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t00000000800405fb\n";

    #[test]
    fn a_status_is_read_and_an_ordinary_container_may_have_the_mount() {
        let status = Status::of(STATUS).unwrap();
        assert_eq!((status.uid, status.gid, status.pids.as_slice()), (1000, 100, &[812, 1][..]));
        assert_eq!(status.past_mounts(), None);
        assert_eq!(Status::of("Uid:\t0\n"), None);
    }

    #[test]
    fn when_a_process_began_stands_behind_any_name() {
        assert_eq!(began("12 (a) b) S 34 1 1 0 -1 4194560 1 0 0 0 5 6 0 0 20 0 1 0 7890 1 2\n"), Some(7890));
        assert_eq!(began("12 (a) S 34"), None);
    }

    #[test]
    fn whoever_may_ever_mount_or_open_by_handle_may_not() {
        for (set, name) in
            [("00000000a80425ff", "CAP_DAC_READ_SEARCH"), ("0000000000200000", "CAP_SYS_ADMIN")]
        {
            let status = Status::of(&STATUS.replace("00000000800405fb", set)).unwrap();
            assert_eq!(status.past_mounts(), Some(name));
        }
        let inherited = STATUS.replace("CapInh:\t0000000000000000", "CapInh:\t0000000000200000");
        assert_eq!(Status::of(&inherited).unwrap().past_mounts(), Some("CAP_SYS_ADMIN"));
    }

    #[test]
    fn a_process_that_has_ended_is_noticed() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let peer = Peer::of(i32::try_from(child.id()).unwrap()).unwrap();
        assert!(peer.is_alive().is_ok());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(peer.is_alive().is_err() && peer.cgroup().is_err());
        let own = Peer::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(own.is_alive().is_ok() && own.shares("mnt").unwrap());
        assert!(own.has_begun().unwrap(), "we run a program that we see ourselves");
    }
}
