//! One tool call's cgroup, from its claim to its release.

use super::dir::{Dir, Kept};
use super::limits::LeafLimits;
use super::place::Session;
use super::usage::{self, Counters, Usage};
use crate::class::Class;
use crate::policy::compiled::OnExit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

/// Leaves `<class>-0` to `<class>-15` are kept for the next calls; any further ones are removed after use. 8 classes of
/// these stay well below the 250 descendants that a pod under the kubelet may have.
pub const POOL_SIZE: u64 = 16;
/// A leaf that holds more than this when idle (page cache, tmpfs) isn't used again: 300 MB of left-over tmpfs have hung the
/// next call (architecture.md, section 3).
pub const IDLE_MAX: u64 = 16 << 20;

/// A claimed leaf. Dropping it lets the claim go; [`Leaf::release`] tidies up.
#[derive(Debug)]
pub struct Leaf {
    /// The leaf's directory, which also carries the claim's lock.
    pub dir: Dir,
    /// Its class.
    pub class: Class,
    /// Its number: the name is `<class>-<number>`.
    pub number: u64,
    /// The cgroup's id.
    pub id: u64,
    /// Tells this use of the leaf from earlier ones: CLOCK_BOOTTIME in ns at the claim.
    pub generation: u64,
    /// Had an earlier call used it?
    pub reused: bool,
    /// Knobs that could not be set: the kernel or the tree doesn't have them, or refused.
    pub lacks: Vec<&'static str>,
    /// What was written to it.
    pub limits: LeafLimits,
    /// The counters at the claim.
    pub start: Counters,
    /// memory.peak, reset for this descriptor (Linux 6.12).
    pub peak: Peak,
}

/// How the call's memory peak is known.
#[derive(Debug)]
pub enum Peak {
    /// The leaf is fresh: its memory.peak is the call's.
    Fresh,
    /// memory.peak was reset for this descriptor.
    Reset(Kept),
    /// Not resettable: it is the call's only if it is more than it was.
    Since(u64),
    /// No memory.peak.
    Unknown,
}

/// What became of a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// It is idle, for the next call of its class.
    Pooled,
    /// It was removed.
    Removed,
    /// Processes live on in it.
    Survivors,
    /// What lived on in it was killed, as the policy says.
    Killed,
}

impl Leaf {
    /// The leaf's name.
    pub fn name(&self) -> &str {
        self.dir.name()
    }

    /// For clone3(CLONE_INTO_CGROUP).
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// The descriptors that must stay open until the leaf is released.
    pub fn keep(&self, fds: &mut Vec<RawFd>) {
        fds.push(self.dir.as_fd().as_raw_fd());
        if let Peak::Reset(file) = &self.peak {
            fds.push(file.as_fd().as_raw_fd());
        }
    }

    /// What the call has used so far; to be asked when its shell has ended.
    pub fn finish(&self, session: &Session) -> Usage {
        let counters = Counters::read(&self.dir, &session.calls).since(&self.start);
        Usage {
            memory_peak: self.peak(),
            counters,
            populated_after: self.dir.populated().unwrap_or(false),
            oom_owner: usage::oom_owner(&counters, &self.dir, &session.calls),
        }
    }

    fn peak(&self) -> Option<u64> {
        match &self.peak {
            Peak::Fresh => self.dir.read_u64("memory.peak").ok(),
            Peak::Reset(file) => file.read_u64().ok(),
            Peak::Since(before) => self.dir.read_u64("memory.peak").ok().filter(|now| now > before),
            Peak::Unknown => None,
        }
    }

    /// Gives the leaf back: to the pool, or removes it; what lives on in it is left in peace, or killed if the policy
    /// says so.
    pub fn release(self, session: &Session, on_exit: OnExit) -> Released {
        if self.dir.populated().unwrap_or(false) {
            return self.leave(on_exit);
        }
        let full = self.dir.read_u64("memory.current").is_ok_and(|n| n >= IDLE_MAX);
        let used_up = self.dir.identity().is_ok_and(|i| i.children > 0 || i.killed);
        let frozen = self.dir.read_key("cgroup.events", "frozen").is_ok_and(|n| n != 0);
        if frozen {
            let _ = self.dir.write("cgroup.freeze", b"0");
        }
        if self.number >= POOL_SIZE || full || used_up {
            // A page cache that is left stays charged to the levels above until the kernel needs it back.
            if session.calls.remove_child(self.name()).is_ok() {
                return Released::Removed;
            }
        }
        Released::Pooled
    }

    fn leave(&self, on_exit: OnExit) -> Released {
        if on_exit == OnExit::Kill && self.dir.kill().is_ok() {
            return Released::Killed;
        }
        unhand(&self.dir);
        Released::Survivors
    }
}

/// Takes off whatever could make a leaf's processes stand still once nobody watches over them: a memory.high that nobody
/// would raise, and the freezer.
pub fn unhand(leaf: &Dir) {
    let _ = leaf.write_max("memory.high", None);
    let _ = leaf.write("cgroup.freeze", b"0");
}

/// Is the number of processes at (nine tenths of) its limit?
pub fn nearly_full(leaf: &Dir) -> bool {
    match (leaf.read_u64("pids.current"), leaf.read_max("pids.max")) {
        (Ok(now), Ok(Some(limit))) => now >= limit - limit / 10,
        _ => false,
    }
}
