//! Where cgroup v2 is mounted: read from /proc/self/mountinfo, as it may be anywhere (hybrid hosts have it at
//! /sys/fs/cgroup/unified) and in containers shows only a part of the tree.

use super::path;
use nix::sys::stat::stat;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// A mount of cgroup v2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The cgroup that is mounted, seen from our cgroup namespace: `/`, or `/docker/x`, or `/..` if it is above.
    pub root: PathBuf,
    /// The directory it is mounted on.
    pub point: PathBuf,
}

impl Mount {
    /// The directory of a cgroup given by its path from the namespace's root; none if this mount doesn't show it.
    pub fn directory(&self, cgroup: &Path) -> Option<PathBuf> {
        let below = path::below(cgroup, &self.root)?;
        (!path::climbs(below))
            .then(|| if below.as_os_str().is_empty() { self.point.clone() } else { self.point.join(below) })
    }
}

/// All mounts of cgroup v2 that this process sees, in the order in which they were mounted.
pub fn all() -> io::Result<Vec<Mount>> {
    // Room for an ordinary machine's at once: the kernel writes the text anew for each piece that is read.
    let mut text = Vec::with_capacity(16 << 10);
    File::open("/proc/self/mountinfo")?.read_to_end(&mut text)?;
    Ok(parse(&text))
}

/// Where the whole tree usually is mounted: on hosts, and on those that have cgroup v1 beside it.
pub const USUAL: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
/// The number of the tree's own root (kernfs counts from 1).
const ROOT: u64 = 1;
/// The first cgroup namespace: its inode is PROC_CGROUP_INIT_INO, 0xEFFFFFFB, of include/linux/proc_ns.h.
const FIRST_NAMESPACE: &[u8] = b"cgroup:[4026531835]";

/// The whole tree at one of its usual places, if it is there: whoever opens something in it sees whether it is a cgroup.
pub fn usual(point: &str) -> Option<Mount> {
    let whole = stat(point).is_ok_and(|root| root.st_ino == ROOT);
    whole.then(|| Mount { root: "/".into(), point: point.into() })
}

/// Are we in the first cgroup namespace? None without /proc.
pub fn in_first_namespace() -> Option<bool> {
    // Read, not followed: that takes the kernel less.
    Some(std::fs::read_link("/proc/self/ns/cgroup").ok()?.as_os_str().as_bytes() == FIRST_NAMESPACE)
}

/// The mounts in the text of a mountinfo file (proc_pid_mountinfo(5)).
pub fn parse(mountinfo: &[u8]) -> Vec<Mount> {
    mountinfo.split(|&b| b == b'\n').filter_map(mount_in).collect()
}

/// The directories of a cgroup, one for each mount that shows it: some may be read-only or covered by other mounts.
pub fn directories<'m>(mounts: &'m [Mount], cgroup: &'m Path) -> impl Iterator<Item = PathBuf> + 'm {
    mounts.iter().filter_map(move |m| m.directory(cgroup))
}

/// The cgroup that a directory is, if it lies on one of the mounts.
pub fn cgroup_of(mounts: &[Mount], directory: &Path) -> Option<PathBuf> {
    let showing = mounts.iter().filter(|m| directory.starts_with(&m.point));
    // Of equally deep ones the last: it covers the others.
    let mount = showing.max_by_key(|m| m.point.components().count())?;
    Some(mount.root.join(directory.strip_prefix(&mount.point).ok()?))
}

fn mount_in(line: &[u8]) -> Option<Mount> {
    // 41 31 0:38 ROOT POINT OPTIONS [TAGS…] - TYPE SOURCE SUPEROPTIONS
    let separator = line.windows(3).position(|w| w == b" - ")?;
    if line[separator + 3..].split(|&b| b == b' ').next() != Some(b"cgroup2") {
        return None;
    }
    let mut fields = line[..separator].split(|&b| b == b' ').skip(3);
    Some(Mount { root: unescape(fields.next()?), point: unescape(fields.next()?) })
}

/// Undoes the kernel's `\040` for blanks, tabs, newlines and backslashes.
fn unescape(field: &[u8]) -> PathBuf {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let octal = tail.get(..3).filter(|d| first == b'\\' && d.iter().all(|b| (b'0'..=b'7').contains(b)));
        match octal {
            Some(d) => {
                out.push(d.iter().fold(0u8, |n, b| n.wrapping_mul(8).wrapping_add(b - b'0')));
                rest = &tail[3..];
            }
            None => {
                out.push(first);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &[u8] = b"31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
        35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 master:1 - cgroup2 cgroup2 rw\n";

    fn first(mounts: &[Mount], cgroup: &str) -> Option<PathBuf> {
        directories(mounts, Path::new(cgroup)).next()
    }

    #[test]
    fn the_unified_tree_of_a_hybrid_host_is_found_and_v1_is_not() {
        let mounts = parse(HYBRID);
        assert_eq!(mounts, [Mount { root: "/".into(), point: "/sys/fs/cgroup/unified".into() }]);
        assert_eq!(first(&mounts, "/a/b"), Some("/sys/fs/cgroup/unified/a/b".into()));
        assert_eq!(first(&mounts, "/"), Some("/sys/fs/cgroup/unified".into()));
    }

    #[test]
    fn a_container_s_mount_shows_only_what_is_below_its_root() {
        let mounts = parse(b"1 2 0:3 /docker/c1 /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
        assert_eq!(first(&mounts, "/docker/c1/agent"), Some("/sys/fs/cgroup/agent".into()));
        assert_eq!(first(&mounts, "/docker/c1"), Some("/sys/fs/cgroup".into()));
        assert_eq!(first(&mounts, "/docker/c10"), None);
        assert_eq!(first(&mounts, "/"), None);
    }

    #[test]
    fn cgroups_outside_our_namespace_have_no_directory() {
        let mounts = parse(b"1 2 0:3 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
        assert_eq!(first(&mounts, "/../other"), None);
        let above = parse(b"1 2 0:3 /.. /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
        assert_eq!(first(&above, "/"), None);
    }

    #[test]
    fn of_several_mounts_each_that_shows_the_cgroup_is_offered() {
        let mounts = parse(
            b"1 2 0:3 /c/calls /run/agentsh/calls rw - cgroup2 cgroup rw\n1 2 0:3 /c /with\\040blank ro - cgroup2 x rw\n",
        );
        let both: Vec<_> = directories(&mounts, Path::new("/c/calls/test-0")).collect();
        assert_eq!(both, [Path::new("/run/agentsh/calls/test-0"), Path::new("/with blank/calls/test-0")]);
        assert_eq!(cgroup_of(&mounts, Path::new("/run/agentsh/calls/x")), Some("/c/calls/x".into()));
        assert_eq!(cgroup_of(&mounts, Path::new("/with blank")), Some("/c".into()));
        assert_eq!(cgroup_of(&mounts, Path::new("/home")), None);
        assert_eq!(first(&mounts, "/c/agent"), Some("/with blank/agent".into()));
    }

    #[test]
    fn malformed_lines_are_no_mounts() {
        for line in [&b""[..], b" - cgroup2", b"1 2 3 - cgroup2 a b", b"1 2 0:3 / /x rw cgroup2"] {
            assert_eq!(parse(line), []);
        }
    }
}
