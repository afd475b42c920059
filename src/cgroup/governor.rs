//! A launcher's own graduated response: samples its call's leaf, and does what the [`control`] law says.
//!
//! Each launcher restrains only its own leaf, from what it can read of the others. Everything is opened at the first
//! sample, so a short call pays nothing; no error stops it, as a call without a governor is still a call.

use super::around::{Around, Mine};
use super::control::{Law, Reason};
use super::dir::{BUFFER, Dir, Kept, for_now};
use super::leaf::{Leaf, nearly_full};
use super::leftover::{self, Leftover};
use super::news::Killed;
use super::oom;
use super::parse;
use super::peers;
use super::place::Session;
use super::reserve::{Turn, Wish};
use super::room::Levels;
use super::sample::Sample;
use super::scheduler::Scheduler;
use super::session::Priority;
use super::strain::Strain;
use super::sweep::Swept;
use super::terms::Terms;
use super::usage::LimitOwner;
use crate::policy::compiled::HoldingPolicy;
use nix::fcntl::OFlag;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// What a governor did and saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// How often memory.high was raised.
    pub raised: u32,
    /// The highest it was raised to, in bytes; 0 if never.
    pub raised_to: u64,
    /// memory.high in force at last, in bytes; none is `max`.
    pub high: Option<u64>,
    /// Time that processes stood still over memory.high.
    pub slowed: Duration,
    /// How much of that was so that others got their memory.
    pub gave_way: Duration,
    /// Time that the call was frozen so that others got their memory.
    pub held: Duration,
    /// Why the call was killed, if we killed it.
    pub killed: Option<Reason>,
    /// Whose limit it made room under, if that is none of the session's own.
    pub short: Option<LimitOwner>,
    /// Leftovers of earlier calls that kept forking and were killed, and of which nobody has been told yet.
    pub bombs: Vec<Killed>,
}

/// Watches over one call's leaf.
#[derive(Debug)]
pub struct Governor<'a> {
    leaf: &'a Leaf,
    session: &'a Session,
    terms: Terms,
    law: Law,
    files: Option<Files>,
    due: Option<u64>,
    seen: Seen,
    /// Were we woken by memory.events, and is it of no use to be woken by it again?
    woken: bool,
    deaf: bool,
    short: Option<LimitOwner>,
    scheduler: Scheduler,
    turn: Turn,
    bombs: Vec<Killed>,
    suspects: Vec<Leftover>,
}

#[derive(Debug)]
struct Files {
    current: Option<Kept>,
    stat: Option<Kept>,
    events: Option<Kept>,
    pressure: Option<Kept>,
    cpu: Option<Kept>,
    pids_events: Option<Kept>,
    /// To be written when there may be no memory left to open it.
    kill: Option<Kept>,
    /// Was there no descriptor left for one of these?
    cut: bool,
    around: Around,
    opened_at: u64,
}

impl Files {
    fn is_worth_another_try(&self, now: u64) -> bool {
        (self.cut || self.around.is_cut()) && now.saturating_sub(self.opened_at) >= AGAIN
    }
}

/// What was read last: not every file is worth reading at every look.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// memory.current when memory.stat was read, and what that said.
    current: u64,
    work: u64,
    high_events: u64,
    oom_kills: u64,
    stalled_us: Option<u64>,
    cpu_us: u64,
    refused_forks: u64,
    pids_full: bool,
    pids_at: Option<u64>,
}

const MS: u64 = 1_000_000;
/// What there was no descriptor for is tried again so often.
const AGAIN: u64 = 500 * MS;
/// Refused forks are looked for so often.
const FORKS_EVERY: u64 = 100 * MS;
/// Percent of the levels above the session that a session of low priority leaves to others.
const LOW_CUSHION: u64 = 10;
/// While the kernel ends a call its memory is still there, but no longer its process for the OOM killer to choose: what we read
/// then, which takes a page for each file, has it choose another, and that can be an agent that lives beneath.
const WHILE_IT_DIES: Duration = Duration::from_millis(250);
/// Where nothing can be sampled, only forks are watched.
const WITHOUT_MEMORY: Duration = Duration::from_millis(500);

impl<'a> Governor<'a> {
    /// A governor for a leaf in which a call has just started, that gives way on the terms of this policy, and has to be told
    /// what was found left over by others.
    pub fn new(leaf: &'a Leaf, session: &'a Session, holding: &HoldingPolicy, swept: Swept) -> Governor<'a> {
        let terms = Terms::of(holding);
        Governor {
            leaf,
            session,
            terms,
            law: Law::new(&leaf.limits, terms),
            files: None,
            due: None,
            seen: Seen {
                stalled_us: leaf.stalls.map(|stalls| stalls.memory_some_us),
                oom_kills: leaf.start.oom_kill,
                ..Seen::default()
            },
            woken: false,
            deaf: false,
            short: None,
            scheduler: Scheduler::default(),
            turn: Turn::default(),
            bombs: swept.news,
            suspects: swept.suspects,
        }
    }

    /// Looks, acts, and says when to look next. `now` is a monotonic clock in ns; earlier than asked for is harmless.
    pub fn tick(&mut self, now: u64) -> Duration {
        match self.due {
            None => self.due = Some(now.saturating_add(nanos(self.law.first()))),
            Some(due) if now < due => {}
            Some(_) => {
                let next = self.look(now);
                self.due = Some(now.saturating_add(nanos(next)));
            }
        }
        Duration::from_nanos(self.due.unwrap_or(now).saturating_sub(now))
    }

    /// memory.events, readable as POLLPRI when the kernel has throttled the call: from the first sample on. To be polled
    /// beside the timer, as the backstop of raising ahead. Not where it would only tell of dropped page cache, a hundred
    /// times a second.
    pub fn events(&self) -> Option<BorrowedFd<'_>> {
        self.files.as_ref()?.events.as_ref().filter(|_| !self.deaf).map(AsFd::as_fd)
    }

    /// POLLPRI came: look at once.
    pub fn throttled(&mut self) {
        self.woken = true;
        self.due = self.due.map(|_| 0);
    }

    /// A signal is about to be sent to the call: it must be able to run.
    pub fn signalled(&mut self, now: u64) {
        if self.law.frozen() {
            let _ = self.leaf.dir.write("cgroup.freeze", b"0");
        }
        self.law.signalled(now);
    }

    /// What was done.
    pub fn verdict(&self) -> Verdict {
        let totals = self.law.totals();
        Verdict {
            raised: totals.raised,
            raised_to: totals.raised_to,
            high: self.law.high(),
            slowed: Duration::from_nanos(totals.slowed_ns),
            gave_way: Duration::from_nanos(totals.gave_way_ns),
            held: Duration::from_nanos(totals.held_ns),
            killed: totals.killed,
            short: self.short.clone(),
            bombs: self.bombs.clone(),
        }
    }

    /// What still has to be watched when the call has ended.
    pub fn suspects(&mut self) -> Vec<Leftover> {
        std::mem::take(&mut self.suspects)
    }

    #[inline(never)]
    fn look(&mut self, now: u64) -> Duration {
        if !self.suspects.is_empty() {
            let killed = leftover::watch(&mut self.suspects);
            self.bombs.extend(killed.iter().map(|b| Killed { class: b.class, limit: b.limit }));
        }
        // All anew, as nobody raises the memory.high of a call that isn't seen, and it would stand still over it for good.
        if self.files.as_ref().is_none_or(|files| files.is_worth_another_try(now)) {
            self.files = None;
            self.files = Some(self.open(now));
        }
        if self.woken && self.oom_killed() {
            return WHILE_IT_DIES;
        }
        let events_before = self.seen.high_events;
        let Some(sample) = self.sample(now) else { return WITHOUT_MEMORY };
        let page_cache = self.law.high().is_some_and(|high| sample.work < high / 2);
        self.deaf = page_cache && sample.high_events > events_before && sample.strain == Strain::None;
        let sample = Sample { told: sample.told && !self.deaf, ..sample };
        let step = self.law.step(&sample);
        if let Some(high) = step.set_high {
            let _ = self.leaf.dir.write_max("memory.high", high);
        }
        // From what has just been put back: it is the later word.
        if let Some(wanted) = step.raise {
            self.raise(wanted, &sample);
        }
        if let Some(freeze) = step.freeze {
            let _ = self.leaf.dir.write("cgroup.freeze", if freeze { b"1" } else { b"0" });
        }
        if let Some(reason) = step.kill {
            let kept = self.files.as_ref().and_then(|files| files.kill.as_ref());
            let _ = self.leaf.dir.kill_by(kept);
            if reason == Reason::MadeRoom {
                self.short = self.files.as_ref().and_then(|files| files.around.short());
            }
        }
        step.next
    }

    /// Has the kernel killed something of the call since this was asked last?
    fn oom_killed(&mut self) -> bool {
        let Some(events) = self.files.as_ref().and_then(|files| files.events.as_ref()) else { return false };
        let kills =
            events.read(&mut [0; BUFFER]).ok().and_then(|text| parse::keyed(text, b"oom_kill")).unwrap_or(0);
        std::mem::replace(&mut self.seen.oom_kills, kills) < kills
    }

    fn open(&self, now: u64) -> Files {
        // A nested agent's calls have the priority of the session that it is in itself.
        let outermost = peers::outermost(self.session.calls.path()).parent();
        let low =
            outermost.and_then(|p| Dir::open(p).ok()).is_some_and(|s| Priority::of(&s) == Priority::Low);
        if low {
            oom::goes_first(&self.leaf.dir);
        }
        let mut cut = false;
        let mut keep = |file, flags| {
            let kept = self.leaf.dir.keep(file, flags);
            cut |= kept.as_ref().is_err_and(|&errno| for_now(errno));
            kept.ok()
        };
        Files {
            current: keep("memory.current", OFlag::O_RDONLY),
            stat: keep("memory.stat", OFlag::O_RDONLY),
            events: keep("memory.events", OFlag::O_RDONLY),
            pressure: keep("memory.pressure", OFlag::O_RDONLY),
            cpu: keep("cpu.stat", OFlag::O_RDONLY),
            pids_events: keep("pids.events", OFlag::O_RDONLY),
            kill: keep("cgroup.kill", OFlag::O_WRONLY),
            cut,
            around: Around::new(Levels::open(&self.session.calls, if low { LOW_CUSHION } else { 0 })),
            opened_at: now,
        }
    }

    fn sample(&mut self, now: u64) -> Option<Sample> {
        let files = self.files.as_mut()?;
        let seen = &mut self.seen;
        let mut buf = [0; BUFFER];
        let current = files.current.as_ref().and_then(|f| f.read_u64().ok()).unwrap_or(0);
        let beyond = |quarters: u64| self.law.high().is_some_and(|high| current > high / 4 * quarters);
        // memory.stat makes the kernel gather its per-CPU counts: only where there is something to tell apart.
        let strained = files.around.strain() != Strain::None;
        let worth = current.abs_diff(seen.current) > 1 << 20 || beyond(3) || strained;
        if worth && let Some(text) = files.stat.as_ref().and_then(|f| f.read(&mut buf).ok()) {
            (seen.work, seen.current) = (work(text), current);
        }
        let mut key =
            |file: &Option<Kept>, key: &[u8]| parse::keyed(file.as_ref()?.read(&mut buf).ok()?, key);
        // Far below its high, and with nobody in need, a call can't be standing still over it.
        let above_full = files.around.room().is_some_and(|r| r.over_high);
        let close = beyond(2) || above_full || self.law.frozen() || strained;
        if close || self.woken || self.deaf || seen.pids_at.is_none() {
            match key(&files.events, b"high") {
                Some(count) => seen.high_events = count,
                // The leaf is gone, or its controller: then this file wakes for ever, and tells nothing.
                None => files.events = None,
            }
        }
        if close {
            seen.cpu_us = key(&files.cpu, b"usage_usec").unwrap_or(0);
        }
        if seen.pids_at.is_none_or(|at| now.saturating_sub(at) >= FORKS_EVERY) {
            seen.pids_at = Some(now);
            seen.refused_forks =
                key(&files.pids_events, b"max").unwrap_or(0).saturating_sub(self.leaf.start.pids_max);
            seen.pids_full = seen.refused_forks > 0 && nearly_full(&self.leaf.dir);
        }
        if close {
            let pressure = files.pressure.as_ref().and_then(|f| parse::pressure(f.read(&mut buf).ok()?));
            seen.stalled_us = pressure.map(|(some, _)| some);
        }
        self.woken = false;
        let (seen, told) = (self.seen, files.events.is_some());
        if files.current.is_some() {
            files.around.look(now, mine(self.leaf, self.session, &self.terms, current));
        }
        let (room, strain, brink) = (files.around.room(), files.around.strain(), files.around.brink());
        Some(Sample {
            now,
            current,
            work: seen.work.min(current),
            high_events: seen.high_events,
            told,
            stalled_us: seen.stalled_us,
            cpu_us: seen.cpu_us,
            refused_forks: seen.refused_forks,
            pids_full: seen.pids_full,
            above_full,
            room: room.map(|r| r.bytes),
            until_oom: room.map(|r| r.until_oom),
            strain,
            brink,
            held_by_kernel: strain != Strain::None && self.leaf.limits.freeze && self.scheduler.is_ours(now),
        })
    }

    fn raise(&mut self, wanted: u64, sample: &Sample) {
        let Some(high) = self.law.high() else { return };
        let Some(files) = &mut self.files else { return };
        let room = files.around.room_now();
        let leaf = self.leaf.class as u64 | self.leaf.number << 8;
        let enough = room.is_none_or(|r| r.bytes >= wanted.saturating_sub(sample.current));
        let alone = !enough
            && files.around.alone(sample.now, mine(self.leaf, self.session, &self.terms, sample.current));
        let wish = Wish { id: self.leaf.id, leaf, current: sample.current, high, wanted, alone };
        let to = match room {
            Some(room) => self.turn.raise(&self.session.calls, &wish, room.bytes, sample.now),
            None => wanted,
        };
        if to > high && self.leaf.dir.write_max("memory.high", Some(to)).is_ok() {
            self.law.raised(to);
        }
    }
}

fn mine<'a>(leaf: &Leaf, session: &'a Session, terms: &'a Terms, current: u64) -> Mine<'a> {
    Mine { id: leaf.id, current, fixed: leaf.ahead, calls: &session.calls, terms }
}

/// What can't simply be dropped: page cache is not growth.
fn work(stat: &[u8]) -> u64 {
    let key = |k: &[u8]| parse::keyed(stat, k).unwrap_or(0);
    key(b"anon") + key(b"shmem") + key(b"slab_unreclaimable") + key(b"slab_reclaimable")
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
