//! The cgroup that this process is in: one open, one read.

use crate::class::Class;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use std::path::Path;

/// Long enough for most: an untouched page less is a page fault less for every nested shell.
pub const SHORT: usize = 1024;
/// Long enough for a path of /proc/self/cgroup with all of cgroup v1's lines before ours.
pub const LONG: usize = 8192;

/// Reads this process's cgroup v2 path, from its namespace's root: the `0::` line of /proc/self/cgroup, without the
/// `0::`. `ENOENT` if there is no such line (no cgroup v2) or no /proc; `EOVERFLOW` if the buffer is too short.
pub fn read(buf: &mut [u8]) -> Result<&[u8], Errno> {
    read_from(Path::new("/proc/self/cgroup"), buf)
}

fn read_from<'b>(file: &Path, buf: &'b mut [u8]) -> Result<&'b [u8], Errno> {
    let fd = openat(nix::fcntl::AT_FDCWD, file, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut len = 0;
    // The kernel gives the file a page at a time, and the v2 line is the last one.
    while !is_whole(&buf[..len]) {
        if len == buf.len() {
            return Err(Errno::EOVERFLOW);
        }
        match nix::unistd::read(&fd, &mut buf[len..]) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(Errno::EINTR) => {}
            Err(e) => return Err(e),
        }
    }
    path_in(&buf[..len]).ok_or(Errno::ENOENT)
}

/// Is the v2 line there, to its end? No path has a newline in it: cgroups can't be named so.
fn is_whole(text: &[u8]) -> bool {
    let Some((b'\n', lines)) = text.split_last() else { return false };
    lines.rsplit(|&b| b == b'\n').next().is_some_and(|last| last.starts_with(b"0::"))
}

/// The v2 path in the text of a /proc/PID/cgroup file. ` (deleted)` stays on it: no directory will match.
fn path_in(text: &[u8]) -> Option<&[u8]> {
    text.split(|&b| b == b'\n').find_map(|line| line.strip_prefix(b"0::")).filter(|p| p.starts_with(b"/"))
}

/// The class of the leaf that a process at this path (see [`read`]) is in: at or below `…/calls/<class>-<n>`. No system
/// call: this decides whether a nested shell is simply exec'd, which is by far the most frequent case.
pub fn in_leaf(own: &[u8]) -> Option<Class> {
    let mut below_calls = false;
    for component in own.split(|&b| b == b'/') {
        if below_calls && let Some(class) = std::str::from_utf8(component).ok().and_then(Class::of_leaf) {
            return Some(class);
        }
        below_calls = component == b"calls";
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_v2_line_is_found_among_those_of_v1() {
        assert_eq!(path_in(b"9:name=systemd:/\n1:cpu:/x\n0::/a/b\n"), Some(&b"/a/b"[..]));
        assert_eq!(path_in(b"0::/\n"), Some(&b"/"[..]));
        assert_eq!(path_in(b"9:name=systemd:/\n10::/x\n"), None);
        assert_eq!(path_in(b""), None);
    }

    #[test]
    fn reading_ends_with_the_whole_v2_line() {
        for (text, whole) in [
            (&b"0::/a\n"[..], true),
            (b"1:cpu:/x\n0::/a\n", true),
            (b"0::/a", false),
            (b"1:cpu:/x\n", false),
            (b"10::/x\n", false),
            (b"", false),
        ] {
            assert_eq!(is_whole(text), whole, "{text:?}");
        }
    }

    #[test]
    fn a_process_is_in_a_leaf_only_below_calls() {
        assert_eq!(in_leaf(b"/agentsh/s1/calls/test-3"), Some(Class::Test));
        assert_eq!(in_leaf(b"/calls/explore-12/sub/deeper"), Some(Class::Explore));
        assert_eq!(in_leaf(b"/calls/x/calls/git-0"), Some(Class::Git));
        for no in [&b"/agentsh/s1/agent"[..], b"/agentsh/s1/calls", b"/", b"", b"/calls/x/test-3", b"/test-3"]
        {
            assert_eq!(in_leaf(no), None, "{no:?}");
        }
    }

    #[test]
    fn this_process_has_a_cgroup() {
        let mut buf = [0; LONG];
        assert!(read(&mut buf).is_ok_and(|p| p.starts_with(b"/")));
        assert_eq!(read(&mut [0; 4]), Err(Errno::EOVERFLOW));
        assert_eq!(read_from(Path::new("/nonexistent"), &mut buf), Err(Errno::ENOENT));
    }
}
