//! Claiming a leaf: an idle one of the class's pool, or a fresh one. No directory is read: slots are tried by name.

use super::ahead;
use super::depends;
use super::dir::Dir;
use super::files::Files;
use super::idle::{self, Idle};
use super::leaf::{IDLE_MAX, Leaf, POOL_SIZE, Peak, unhand};
use super::limits::{Context, LeafLimits};
use super::place::Session;
use super::usage::Counters;
use super::{mark, meminfo};
use crate::class::{Class, Classes};
use crate::policy::compiled::{Amount, Knobs};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::gettid;
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::PathBuf;

/// Names tried for a leaf beyond the pool.
const TRIES_BEYOND: u64 = 4;

/// Why no leaf could be claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimError {
    /// The session's `calls/`.
    pub calls: PathBuf,
    /// The last thing the kernel said.
    pub errno: Errno,
}

impl fmt::Display for ClaimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let advice = match self.errno {
            Errno::EAGAIN => ": too many leaves, see cgroup.max.descendants of the session and above",
            Errno::EACCES | Errno::EPERM => ": the session isn't handed over to this user",
            Errno::EROFS => ": it is mounted read-only",
            Errno::EBUSY => ": all of this class are in use",
            _ => "",
        };
        write!(f, "no leaf in {} ({}){advice}", self.calls.display(), self.errno.desc())
    }
}

impl std::error::Error for ClaimError {}

/// What a leaf is to have.
#[derive(Clone, Copy, Debug)]
pub enum Wish<'a> {
    /// These limits.
    Limits(&'a LeafLimits),
    /// What these knobs come to here.
    Knobs(&'a Knobs),
}

impl Wish<'_> {
    fn may_be_held(self) -> bool {
        match self {
            Wish::Limits(limits) => limits.freeze,
            Wish::Knobs(knobs) => knobs.freeze.value,
        }
    }

    fn depends(self) -> Classes {
        match self {
            Wish::Limits(limits) => limits.depends,
            Wish::Knobs(knobs) => knobs.depends.value,
        }
    }

    /// In bytes; where the leaf's last user left what it reckoned with, and the same comes out again, by that.
    pub(super) fn limits(self, session: &Session, left: Option<&Idle>) -> LeafLimits {
        match self {
            Wish::Limits(limits) => *limits,
            Wish::Knobs(knobs) => left
                .and_then(|left| Some(LeafLimits::of(knobs, &left.context(session)?)).filter(|l| left.has(l)))
                .unwrap_or_else(|| session.limits(knobs)),
        }
    }
}

impl Session {
    /// The limits of a leaf with these knobs, here and now.
    pub fn limits(&self, knobs: &Knobs) -> LeafLimits {
        LeafLimits::of(knobs, &self.context(knobs))
    }

    /// What the amounts in these knobs are taken of: read only as far as they need it.
    pub fn context(&self, knobs: &Knobs) -> Context {
        let budget = self.budget();
        let amounts = [knobs.memory_high.value, knobs.memory_max.value, knobs.swap_max.value];
        let shares = amounts.iter().any(|a| matches!(a, Amount::Permille(_)));
        let shown = self.shown();
        let nothing_above = budget.is_none() && shown.max.is_none() && shown.high.is_none();
        let available = (shares && nothing_above).then(|| self.available_at_start()).flatten();
        Context { shown, budget, available }
    }

    fn available_at_start(&self) -> Option<u64> {
        let mut buf = [0; 8];
        let kept = self.calls.mark(mark::AVAILABLE, &mut buf).ok().and_then(|b| b.try_into().ok());
        kept.map(u64::from_ne_bytes).or_else(meminfo::available)
    }

    /// The descriptors that must stay open while a leaf of this session is in use.
    pub fn keep(&self, fds: &mut Vec<RawFd>) {
        fds.push(self.calls.as_fd().as_raw_fd());
    }

    /// Claims a leaf: an idle one that nothing is left in, or a fresh one. Every knob is written anew: now, or, where the leaf's
    /// last user left them as they are wanted, when it settles.
    pub fn claim(&self, class: Class, wish: Wish) -> Result<Leaf, ClaimError> {
        let class = if class == Class::Agent { Class::Other } else { class };
        if let Some(count) = self.ahead {
            return ahead::claim(self, class, wish, count).map_err(|e| self.refused(e));
        }
        let mut last = Errno::EBUSY;
        let first = depends::first_number(wish.may_be_held(), wish.depends());
        let pooled = if first == POOL_SIZE { POOL_SIZE } else { 0 };
        for number in 0..pooled {
            match self.slot(class, number, wish) {
                Ok(leaf) => return Ok(leaf),
                Err(e @ (Errno::EACCES | Errno::EROFS | Errno::EPERM)) => return Err(self.refused(e)),
                Err(e) => last = if last == Errno::EAGAIN { last } else { e },
            }
        }
        if last == Errno::EAGAIN {
            return Err(self.refused(last));
        }
        // The thread's: serve claims for many programs in one process.
        let seed = u64::try_from(gettid().as_raw()).unwrap_or(0);
        for try_number in 0..TRIES_BEYOND {
            match self.fresh(class, first + seed * TRIES_BEYOND + try_number, wish) {
                Ok(leaf) => return Ok(leaf),
                Err(e) => last = e,
            }
        }
        Err(self.refused(last))
    }

    fn refused(&self, errno: Errno) -> ClaimError {
        ClaimError { calls: self.calls.path().to_owned(), errno }
    }

    fn slot(&self, class: Class, number: u64, wish: Wish) -> Result<Leaf, Errno> {
        let name = format!("{class}-{number}");
        let dir = match self.calls.child(&name) {
            Err(Errno::ENOENT) => return self.fresh(class, number, wish),
            other => other?,
        };
        lock(&dir)?;
        let left = Idle::read(&dir);
        let mut files = Files::default();
        match use_of(&dir, &mut files, left.is_some())? {
            Use::Clean => {}
            Use::Leftover => {
                // Its launcher may have been killed: nothing of ours may make it stand still.
                unhand(&dir);
                return Err(Errno::EBUSY);
            }
            Use::Dirty => {
                self.calls.remove_child(&name)?;
                return self.fresh(class, number, wish);
            }
        }
        let start = left.map_or_else(|| Counters::read(&dir, &mut files, true), |left| left.counters);
        let limits = wish.limits(self, left.as_ref());
        let mut leaf = self.adopt(dir, class, number, &limits, left.filter(|left| left.has(&limits)))?;
        (leaf.reused, leaf.start, leaf.files) = (true, start, files);
        if !leaf.lacks.contains(&"memory.max") {
            leaf.peak = reset_peak(&leaf.dir);
        }
        Ok(leaf)
    }

    fn fresh(&self, class: Class, number: u64, wish: Wish) -> Result<Leaf, Errno> {
        let dir = self.calls.make_child(&format!("{class}-{number}"))?;
        lock(&dir)?;
        self.adopt(dir, class, number, &wish.limits(self, None), None)
    }

    /// Takes a leaf that we hold the lock of and writes every knob, if it wasn't left with them.
    fn adopt(
        &self,
        dir: Dir,
        class: Class,
        number: u64,
        limits: &LeafLimits,
        left: Option<Idle>,
    ) -> Result<Leaf, Errno> {
        let generation = boottime();
        let marked = idle::in_use(&dir, generation, class);
        let mut lacks = Vec::new();
        if marked.is_err() {
            lacks.push("user.agentsh.leaf");
        }
        let left = left.filter(|_| marked.is_ok());
        if let Some(left) = &left {
            lacks.extend(left.lacks());
        } else {
            // Somebody else's leaf (root's, from an earlier call as root) is not ours to use: try the next one. One whose
            // last user removed it between our opening it and our lock has no files any more.
            let more = limits.write(&dir).map_err(|e| if e == Errno::ENODEV { e } else { Errno::EBUSY })?;
            lacks.extend(more);
        }
        let id = dir.identity()?.id;
        let peak = if lacks.contains(&"memory.max") { Peak::Unknown } else { Peak::Fresh };
        Ok(Leaf {
            dir,
            class,
            number,
            id,
            generation,
            reused: false,
            lacks,
            left,
            ahead: false,
            limits: *limits,
            start: Counters::default(),
            stalls: None,
            refused: false,
            budget_ooms: 0,
            files: Files::default(),
            end: None,
            peak,
            little: false,
        })
    }
}

/// A lock that somebody else has gives `EWOULDBLOCK`, which is the same number as mkdir's `EAGAIN` for too many cgroups.
pub(super) fn lock(dir: &Dir) -> Result<(), Errno> {
    dir.try_lock().map_err(|_| Errno::EBUSY)
}

enum Use {
    Clean,
    /// Somebody lives in it, and its launcher is gone.
    Leftover,
    /// Memory or cgroups are left in it, or it was killed.
    Dirty,
}

/// Who left it in order has seen to its memory and its type, and nothing comes into an empty cgroup by itself.
fn use_of(dir: &Dir, files: &mut Files, left_in_order: bool) -> Result<Use, Errno> {
    let state = files.state(dir)?;
    if state.populated {
        return Ok(Use::Leftover);
    }
    if state.frozen {
        dir.write("cgroup.freeze", b"0")?;
    }
    let identity = dir.identity()?;
    if identity.children > 0 || identity.killed {
        return Ok(Use::Dirty);
    }
    if left_in_order {
        return Ok(Use::Clean);
    }
    let full = files.current(dir).is_some_and(|n| n >= IDLE_MAX);
    if full || dir.read("cgroup.type", &mut [0; 32])? != b"domain\n" {
        return Ok(Use::Dirty);
    }
    Ok(Use::Clean)
}

fn reset_peak(dir: &Dir) -> Peak {
    if let Ok(file) = dir.keep("memory.peak", OFlag::O_RDWR)
        && file.write(b"reset\n").is_ok()
    {
        return Peak::Reset(file);
    }
    dir.read_u64("memory.peak").map_or(Peak::Unknown, Peak::Since)
}

/// CLOCK_BOOTTIME in ns: never the same twice for one leaf, as claims are made one after the other under its lock.
pub fn boottime() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map(std::time::Duration::from);
    now.map_or(0, |t| u64::try_from(t.as_nanos()).unwrap_or(u64::MAX))
}
