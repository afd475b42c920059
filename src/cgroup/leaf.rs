//! One tool call's cgroup, from its claim to its release.

use super::ahead;
use super::dir::{Dir, Kept};
use super::files::{Files, State};
use super::idle::Idle;
use super::limits::LeafLimits;
use super::place::Session;
use super::usage::{self, Counters, Stalls, Usage};
use crate::class::Class;
use crate::policy::compiled::OnExit;
use crate::sys::process::Used;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

/// Leaves `<class>-0` to `<class>-15` are kept for the next calls; any further ones are removed after use. 8 classes of
/// these stay well below the 250 descendants that a pod under the kubelet may have.
pub const POOL_SIZE: u64 = 16;
/// A leaf that holds more than this when idle (page cache, tmpfs) isn't used again: 300 MB of left-over tmpfs have hung the
/// next call (architecture.md, section 3).
pub const IDLE_MAX: u64 = 16 << 20;

/// The stalls of a call that is over sooner aren't asked for: it hasn't waited for anything that would be worth telling. Nor is
/// cpu.stat: what its shell and those that this waited for have used is all but what it left running.
const BRIEF: Duration = Duration::from_millis(100);

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
    /// How the leaf's last user left it, where its knobs are still as they were left then and not written anew yet.
    pub left: Option<Idle>,
    /// Did the helper make it, with knobs that aren't ours to write?
    pub ahead: bool,
    /// What was written to it.
    pub limits: LeafLimits,
    /// The counters at the claim.
    pub start: Counters,
    /// The stalls before this call, once it has settled.
    pub stalls: Option<Stalls>,
    /// OOMs for the budget of all calls before this one.
    pub budget_ooms: u64,
    /// Its files, as far as they are open.
    pub files: Files,
    /// How it was when the call had ended: to be left to the next one if nothing of this one lives on.
    pub end: Option<(State, Idle)>,
    /// memory.peak, reset for this descriptor (Linux 6.12).
    pub peak: Peak,
    /// Did the call never have as much as an idle leaf may keep? Then what it left needn't be read.
    pub little: bool,
    /// Did the kernel refuse to start a process in it? Then nobody should try again.
    pub refused: bool,
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
        self.files.keep(fds);
    }

    /// What is done while the command starts: what its end will be told by.
    pub fn prepare(&mut self, session: &Session) {
        if self.ahead {
            (self.limits, self.lacks) = ahead::in_force(&self.dir, &self.limits);
        }
        self.budget_ooms = usage::local_ooms(&session.calls);
        self.files.open(&self.dir);
    }

    /// What only a command needs that doesn't end at once. `limits` are those of here and now.
    pub fn settle(&mut self, limits: &LeafLimits) {
        if self.left.take().is_some() {
            // The limits around it may have changed since its last use, and a program its own leaf's knobs.
            self.limits = *limits;
            self.lacks = self.limits.write(&self.dir).unwrap_or_default();
        }
        // Nearly as they were when the command started: for the first stall it takes longer than that.
        self.stalls = Stalls::read(&self.dir);
    }

    /// What the call has used so far; to be asked when its shell has ended, after it has run for so long and used so much, if
    /// that is known. `high` is memory.high as it is now.
    pub fn finish(
        &mut self,
        session: &Session,
        high: Option<u64>,
        lasted: Duration,
        used: Option<&Used>,
    ) -> Usage {
        let brief = used.filter(|_| lasted < BRIEF);
        // Asked first: what is empty counts no further.
        let mut state = self.files.state(&self.dir);
        let mut now = Counters::read(&self.dir, &mut self.files, brief.is_none());
        if state.is_ok_and(|state| state.populated) {
            // What has ended may take a moment more to leave (Linux 6.19).
            state = self.files.state(&self.dir);
            now = Counters::read(&self.dir, &mut self.files, brief.is_none());
        }
        if let Some(used) = brief {
            now.add_cpu(&self.start, used);
        }
        if let Ok(state) = state {
            let limits = LeafLimits { high, ..self.limits };
            let idle = match self.left {
                Some(left) => left.with(now),
                None => Idle::new(session, &limits, &self.lacks, now),
            };
            self.end = Some((state, idle));
        }
        let counters = now.since(&self.start);
        let oom_owner = usage::oom_owner(&counters, self.budget_ooms, &self.dir, &session.calls);
        let populated_after = state.is_ok_and(|state| state.populated);
        // The kernel takes longer to write these three than all the others together.
        let now = (lasted >= BRIEF).then(|| Stalls::read(&self.dir)).flatten();
        let stalls = now.zip(self.stalls).map(|(now, start)| now.since(&start));
        let memory_peak = self.peak();
        self.little = memory_peak.is_some_and(|peak| peak < IDLE_MAX);
        Usage { memory_peak, counters, stalls, populated_after, oom_owner }
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
    pub fn release(mut self, session: &Session, on_exit: OnExit) -> Released {
        let idle = self.end.filter(|(state, _)| !state.populated);
        let state = idle.map(|(state, _)| state).or_else(|| self.files.state(&self.dir).ok());
        if state.is_some_and(|state| state.populated) {
            return self.leave(on_exit);
        }
        if self.ahead {
            // Nothing of it is ours to change.
            std::mem::forget((self.files, self.peak));
            return Released::Pooled;
        }
        let full = !self.little && self.files.current(&self.dir).is_some_and(|n| n >= IDLE_MAX);
        let used_up = self.dir.identity().is_ok_and(|i| i.children > 0 || i.killed);
        if state.is_some_and(|state| state.frozen) {
            let _ = self.dir.write("cgroup.freeze", b"0");
        }
        if self.number >= POOL_SIZE || full || used_up || self.refused {
            // A page cache that is left stays charged to the levels above until the kernel needs it back.
            if session.calls.remove_child(self.name()).is_ok() {
                return Released::Removed;
            }
        } else if let Some((_, idle)) = idle {
            // Without it the next call looks for itself.
            let _ = idle.write(&self.dir, self.generation, self.class);
        }
        // The lock goes now; what else is open closes with us, as one by one would keep the caller waiting.
        std::mem::forget((self.files, self.peak));
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
