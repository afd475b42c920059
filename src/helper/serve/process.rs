//! A process as /proc shows it, held by a pidfd: what is read of its pid is its own as long as it lives.

use super::judge::Seen;
use crate::helper::bpf::direct::Process;
use crate::launcher::note::{self, Program};
use crate::sys::{fd, process};
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// In /proc/PID/stat, on every architecture: USER_HZ.
const TICK_NS: u64 = 10_000_000;
/// So much of a command line is read.
const COMMAND_LINE: u64 = 128 << 10;
const ENVIRONMENT: u64 = 1 << 20;

/// A process that was alive when it was looked at.
pub struct Held {
    /// Who it is.
    pub id: Process,
    pidfd: OwnedFd,
}

impl Held {
    /// Takes hold of it; none if it has ended, or if its pid is another one's by now.
    pub fn of(id: Process) -> Option<Held> {
        let pidfd = process::pidfd(i32::try_from(id.pid).ok()?).ok()?;
        let held = Held { id, pidfd };
        held.is_itself().then_some(held)
    }

    /// The process that has this pid now.
    pub fn by_pid(pid: u32) -> Option<Held> {
        let started_ns = stat(pid)?.started_ticks * TICK_NS;
        Held::of(Process { started_ns, pid })
    }

    /// Does it live, and does what /proc says under its pid tell of it? Times are compared as far as /proc has them.
    pub fn is_itself(&self) -> bool {
        stat(self.id.pid).is_some_and(|stat| stat.started_ticks == self.id.started_ns / TICK_NS)
            && !self.has_ended()
    }

    /// Has it ended?
    pub fn has_ended(&self) -> bool {
        self.wait(Duration::ZERO)
    }

    /// Waits for its end, for this time at most.
    pub fn wait(&self, time: Duration) -> bool {
        fd::wait(self.pidfd.as_raw_fd(), None, time).readable
    }

    /// Readable when it has ended.
    pub fn fd(&self) -> i32 {
        self.pidfd.as_raw_fd()
    }

    /// Its cgroup, as its path from the root of our namespace.
    pub fn cgroup(&self) -> Option<PathBuf> {
        let text = fs::read_to_string(self.file("cgroup")).ok()?;
        let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
        (path.starts_with('/') && !path.ends_with(" (deleted)")).then(|| PathBuf::from(path))
    }

    /// Its parent's pid.
    pub fn parent(&self) -> Option<u32> {
        Some(stat(self.id.pid)?.parent)
    }

    /// Its program and command line.
    pub fn seen(&self) -> Option<Seen> {
        let text = self.read("cmdline", COMMAND_LINE)?;
        let words = text.strip_suffix(b"\0").unwrap_or(&text).split(|&b| b == 0);
        let exe = fs::read_link(self.file("exe")).ok()?.into_os_string().into_vec();
        Some(Seen {
            argv: words.map(<[u8]>::to_vec).collect(),
            exe,
            is_agentsh: note::inspect(&self.file("exe")).program == Program::Ourselves,
        })
    }

    /// A variable of its environment, as it was when the program began.
    pub fn variable(&self, name: &[u8]) -> Option<Vec<u8>> {
        let text = self.read("environ", ENVIRONMENT)?;
        text.split(|&b| b == 0).find_map(|entry| Some(entry.strip_prefix(name)?.strip_prefix(b"=")?.to_vec()))
    }

    /// Its working directory.
    pub fn cwd(&self) -> Vec<u8> {
        fs::read_link(self.file("cwd")).map(|path| path.into_os_string().into_vec()).unwrap_or_default()
    }

    fn read(&self, name: &str, most: u64) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        File::open(self.file(name)).ok()?.take(most).read_to_end(&mut text).ok()?;
        Some(text)
    }

    fn file(&self, name: &str) -> PathBuf {
        Path::new("/proc").join(self.id.pid.to_string()).join(name)
    }
}

struct Stat {
    parent: u32,
    started_ticks: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Of proc_pid_stat(5) the fields 4 and 22; the name may hold anything, but nothing behind it holds a parenthesis.
fn parse(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    Some(Stat { parent: fields.get(1)?.parse().ok()?, started_ticks: fields.get(19)?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parent_and_start_are_found_behind_any_name() {
        let text = "12 (a) b) S 34 1 1 0 -1 4194560 1 0 0 0 5 6 0 0 20 0 1 0 7890 1 2\n";
        let stat = parse(text).expect("a stat line");
        assert_eq!((stat.parent, stat.started_ticks), (34, 7890));
    }

    #[test]
    fn we_are_ourselves_and_nobody_else_is() {
        let me = Held::by_pid(std::process::id()).expect("alive");
        assert!(me.is_itself() && !me.has_ended());
        assert!(me.seen().is_some_and(|seen| !seen.argv.is_empty() && !seen.is_agentsh));
        let earlier = Process { started_ns: me.id.started_ns.wrapping_sub(1_000_000_000), ..me.id };
        assert!(Held::of(earlier).is_none(), "one that had our pid before us");
    }
}
