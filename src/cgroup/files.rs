//! The files of a leaf that tell of its call: opened once, most of them while the command runs, and read when it has ended.

use super::dir::{Dir, Kept};
use super::parse;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use std::os::fd::{AsFd, AsRawFd, RawFd};

/// One of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // as their names
pub enum Name {
    State,
    Events,
    Pids,
    Current,
    Cpu,
}

/// In the order of [`Name`].
const NAMES: [&str; 5] = ["cgroup.events", "memory.events", "pids.events", "memory.current", "cpu.stat"];

#[derive(Debug, Default)]
enum File {
    #[default]
    Unopened,
    Open(Kept),
    /// The tree doesn't have it.
    Missing,
}

/// A leaf's files.
#[derive(Debug, Default)]
pub struct Files([File; NAMES.len()]);

/// What cgroup.events tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Are there processes in it or below?
    pub populated: bool,
    /// Does it stand still?
    pub frozen: bool,
}

impl Files {
    /// Opens those that aren't open yet and that every call needs.
    pub fn open(&mut self, leaf: &Dir) {
        for (file, name) in self.0.iter_mut().zip(NAMES).take(Name::Current as usize) {
            file.open(leaf, name);
        }
    }

    /// Reads one; one that couldn't be opened before (no descriptor left) is tried again.
    pub fn read<'b>(&mut self, leaf: &Dir, name: Name, buf: &'b mut [u8]) -> Result<&'b [u8], Errno> {
        match self.0[name as usize].open(leaf, NAMES[name as usize]) {
            Some(kept) => kept.read(buf),
            None => Err(Errno::ENOENT),
        }
    }

    /// Who is in the leaf, and whether it is frozen.
    pub fn state(&mut self, leaf: &Dir) -> Result<State, Errno> {
        let mut buf = [0; 256];
        let text = self.read(leaf, Name::State, &mut buf)?;
        let populated = parse::keyed(text, b"populated").ok_or(Errno::EBADMSG)? != 0;
        Ok(State { populated, frozen: parse::keyed(text, b"frozen") == Some(1) })
    }

    /// memory.current in bytes.
    pub fn current(&mut self, leaf: &Dir) -> Option<u64> {
        parse::number(self.read(leaf, Name::Current, &mut [0; 32]).ok()?)
    }

    /// The descriptors of those that are open.
    pub fn keep(&self, fds: &mut Vec<RawFd>) {
        fds.extend(self.0.iter().filter_map(|file| match file {
            File::Open(kept) => Some(kept.as_fd().as_raw_fd()),
            File::Unopened | File::Missing => None,
        }));
    }
}

impl File {
    fn open(&mut self, leaf: &Dir, name: &str) -> Option<&Kept> {
        if let File::Unopened = self {
            match leaf.keep(name, OFlag::O_RDONLY) {
                Ok(kept) => *self = File::Open(kept),
                Err(Errno::ENOENT) => *self = File::Missing,
                Err(_) => {}
            }
        }
        match self {
            File::Open(kept) => Some(kept),
            File::Unopened | File::Missing => None,
        }
    }
}
