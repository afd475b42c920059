//! The control law: what a launcher does about its call's memory, decided from one sample after the other. Pure; the
//! [`super::governor`] samples and acts, and `control_tests` runs it against the kernel's own penalty formula.
//!
//! While nobody else needs the memory, memory.high is raised *ahead of* growth, so that the kernel never throttles the call.
//! While others do, the call gives way in steps: its high goes down to the contended value, and a little below what it has if
//! it grows; if it grows on, it is frozen (5 s at a stretch); if one that matters more stands still for want of memory all the
//! same, stopped by the [`super::brake`] before memory runs out, it is killed. A call that has stood still over its high for too
//! long is helped or ended, never left.

use super::brake::{Brake, Hold};
use super::forks::Forks;
use super::limits::{LeafLimits, least};
use super::pace::{Pace, at_rate};
use super::sample::Sample;
use super::strain::Strain;
use super::terms::Terms;
use std::time::Duration;

/// Why the call is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It stood still over memory.high for so long.
    Stalled(Duration),
    /// It was held up for so long for calls that matter more.
    HeldUp(Duration),
    /// Calls that matter more needed the memory.
    MadeRoom,
    /// It kept forking against its limit of processes.
    ForkedOn,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Raise memory.high to this, as far as there is room: answered by [`Law::raised`].
    pub raise: Option<u64>,
    /// Write this to memory.high; none is `max`.
    pub set_high: Option<Option<u64>>,
    /// Freeze or thaw.
    pub freeze: Option<bool>,
    /// Kill the call.
    pub kill: Option<Reason>,
    /// Sample again after this.
    pub next: Duration,
}

/// What has been done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// How often high was raised.
    pub raised: u32,
    /// The highest it was raised to, in bytes.
    pub raised_to: u64,
    /// Time that processes stood still over high, in ns.
    pub slowed_ns: u64,
    /// How much of that was so that others got their memory, in ns.
    pub gave_way_ns: u64,
    /// Time frozen, in ns.
    pub held_ns: u64,
    /// What the call was killed for.
    pub killed: Option<Reason>,
}

const MS: u64 = 1_000_000;
const MIB: u64 = 1 << 20;
/// A raise covers the growth of this time at the present rate.
const LEAD_NS: u64 = 60 * MS;
/// The least that is raised by, in bytes.
const LEAD_MIN: u64 = 48 * MIB;
/// Growth in bytes/s that throttling should have stopped.
const GROWING: u64 = 4 * MIB;
/// Throttled for so long before it is frozen.
const THROTTLE_FIRST_NS: u64 = 500 * MS;
/// The kernel's penalty grows with the square of what is beyond high, and is none in the first hundredth: at a 45th beyond it
/// is some 30 ms for each 64 pages and 250 ms for a huge page, at a 16th eight times that. It is slept to its end even if high
/// is put back meanwhile, so a light grip lets go sooner; what the call takes all the same tightens it.
const GRIP: u64 = 45;
/// Frozen no longer than this at a stretch.
const FREEZE_MAX_NS: u64 = 5_000 * MS;
/// Then left running for at least this.
const THAW_MIN_NS: u64 = 250 * MS;
/// After a signal, so that the call can act on it.
const THAW_SIGNAL_NS: u64 = 2_000 * MS;
/// What was critical so lately still is: who comes first may run and stand still by turns.
const AGAIN_NS: u64 = 200 * MS;
/// Strain is over when there was none for so long.
const CALM_NS: u64 = 200 * MS;
/// Without growth for so long, a raised high comes down again.
const QUIET_NS: u64 = 2_000 * MS;
/// A raise is waited for so long beyond the timeout.
const RAISE_LAST_NS: u64 = 500 * MS;
/// The share of the time that counts as standing still.
const STALLED_PERCENT: u64 = 70;

/// The law's state for one call.
#[derive(Clone, Debug)]
pub struct Law {
    terms: Terms,
    born_high: Option<u64>,
    contended_high: Option<u64>,
    ceiling: Option<u64>,
    raise: bool,
    may_freeze: bool,
    timeout_ns: u64,
    high: Option<u64>,
    last: Option<Sample>,
    /// Growth in bytes/s.
    rate: u64,
    /// The same since the last look alone.
    fresh: u64,
    strained_since: Option<u64>,
    /// Since when it has been throttled for others without being frozen, and what it had then.
    throttled_from: Option<(u64, u64)>,
    /// Since when it has been critical, and when it last was.
    critical: Option<(u64, u64)>,
    calm_since: Option<u64>,
    grew_at: u64,
    frozen_since: Option<u64>,
    no_freeze_before: u64,
    /// Since when it has stood still, and for how much of that time.
    stall: Option<(u64, u64)>,
    forks: Forks,
    pids_max: Option<u64>,
    brake: Brake,
    totals: Totals,
}

impl Law {
    /// The law for a leaf born with these limits, which gives way on these terms.
    pub fn new(limits: &LeafLimits, terms: Terms) -> Law {
        Law {
            terms,
            born_high: limits.high,
            contended_high: limits.contended_high,
            ceiling: limits.ceiling,
            raise: limits.raise,
            may_freeze: limits.freeze,
            timeout_ns: nanos(limits.throttle_timeout),
            high: limits.high,
            last: None,
            rate: 0,
            fresh: 0,
            strained_since: None,
            throttled_from: None,
            critical: None,
            calm_since: None,
            grew_at: 0,
            frozen_since: None,
            no_freeze_before: 0,
            stall: None,
            forks: Forks::default(),
            pids_max: limits.pids_max.map(u64::from),
            brake: Brake::new(terms.critical_ns),
            totals: Totals::default(),
        }
    }

    /// When to take the first sample.
    pub fn first(&self) -> Duration {
        Duration::from_nanos(self.pace(&Sample::default()).interval())
    }

    /// What has been done so far.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// memory.high in force.
    pub fn high(&self) -> Option<u64> {
        self.high
    }

    /// Is the call frozen?
    pub fn frozen(&self) -> bool {
        self.frozen_since.is_some()
    }

    /// A raise was granted up to this (not at all, if it is what high was before).
    pub fn raised(&mut self, to: u64) {
        if self.high.is_some_and(|high| to > high) {
            self.high = Some(to);
            self.totals.raised += 1;
            self.totals.raised_to = self.totals.raised_to.max(to);
        }
    }

    /// A signal is on its way to the call: it is thawed by the caller, and not frozen again at once.
    pub fn signalled(&mut self, now: u64) {
        self.thaw(now, THAW_SIGNAL_NS);
    }

    /// Decides.
    pub fn step(&mut self, sample: &Sample) -> Step {
        let now = sample.now;
        let last = self.last.replace(*sample).unwrap_or_else(|| {
            self.grew_at = now;
            *sample
        });
        let passed = now.saturating_sub(last.now);
        self.measure(sample, &last, passed);
        let mut step = Step { raise: None, set_high: None, freeze: None, kill: None, next: Duration::ZERO };
        self.give_way(sample, &mut step);
        if self.strained_since.is_none() && !self.wait_for_room(sample, &mut step) {
            step.raise = self.wanted_high(sample, &last);
            if step.raise.is_none() {
                self.come_down(sample, &mut step);
            }
        }
        self.watch_stall(sample, &last, passed, &mut step);
        self.watch_forks(sample, &mut step);
        if self.frozen_since.is_some_and(|since| now - since >= FREEZE_MAX_NS) {
            self.thaw(now, THAW_MIN_NS);
            step.freeze = Some(false);
        }
        if step.kill.is_some() {
            self.totals.killed = step.kill;
        }
        step.next = Duration::from_nanos(self.pace(sample).interval());
        step
    }

    fn measure(&mut self, sample: &Sample, last: &Sample, passed: u64) {
        if self.frozen() {
            self.totals.held_ns += passed;
        }
        if passed == 0 {
            return;
        }
        let grown = sample.work.saturating_sub(last.work);
        let rate = (u128::from(grown) * 1_000_000_000 / u128::from(passed)).min(u128::from(u64::MAX)) as u64;
        (self.rate, self.fresh) = (rate.max(self.rate / 2), rate);
        if grown > MIB {
            self.grew_at = sample.now;
        }
    }

    /// Others need the memory: lower, freeze, kill; or no longer: thaw and put back.
    fn give_way(&mut self, sample: &Sample, step: &mut Step) {
        let now = sample.now;
        if sample.strain == Strain::None {
            self.critical = None;
            let calm = *self.calm_since.get_or_insert(now);
            if self.strained_since.is_some() && now - calm >= CALM_NS {
                self.strained_since = None;
                self.throttled_from = None;
                self.put_high(self.born_high.map(|born| born.max(sample.work)), step);
                if self.frozen() {
                    self.thaw(now, 0);
                    step.freeze = Some(false);
                }
            }
            return;
        }
        self.calm_since = None;
        // From here on its high is what giving way makes of it.
        self.brake.forget();
        let since = *self.strained_since.get_or_insert(now);
        let critical = sample.strain == Strain::Critical;
        if sample.held_by_kernel && !critical && !self.frozen() && now - since < self.terms.hand_over_ns {
            self.critical = None;
            return;
        }
        // The kernel's throttle is the one means that no program can see (tests/vm/cases/freezing.py). So what still grows is
        // stopped where it is by memory.high, and frozen only if it gets around that.
        let here = (self.rate > GROWING).then(|| (sample.current - sample.current / GRIP).max(LEAD_MIN));
        let lower =
            least(self.contended_high, here).filter(|lower| self.high.is_none_or(|high| high > *lower));
        if lower.is_some() {
            self.put_high(lower, step);
            self.throttled_from = None;
        }
        // What doesn't grow takes nothing from anybody: a sleeper isn't frozen, however large it is. What has just been lowered is
        // counted from the next look on, by figures that are fresh then.
        let last = sample.strain == Strain::Last && self.fresh > GROWING;
        if (critical || lower.is_none() && (self.grows_on(sample) || last))
            && self.may_freeze
            && !self.frozen()
            && now >= self.no_freeze_before
        {
            self.frozen_since = Some(now);
            step.freeze = Some(true);
        }
        self.critical = self.critical.filter(|(_, at)| now - at < AGAIN_NS);
        if critical {
            let since = self.critical.map_or(now, |(since, _)| since);
            self.critical = Some((since, now));
            if now - since >= self.terms.critical_ns {
                step.kill = Some(Reason::MadeRoom);
            }
        }
    }

    /// Is it stopped short of where memory runs out, as memory that others have to give is on its way?
    fn wait_for_room(&mut self, sample: &Sample, step: &mut Step) -> bool {
        match self.brake.step(sample, self.rate, self.high) {
            Hold::At(high) => self.put_high(Some(high), step),
            Hold::Still => {}
            Hold::Off(high) => self.put_high(high, step),
            Hold::No => return false,
        }
        true
    }

    /// Has it grown all the same while it was throttled, for as long as is waited before it is frozen?
    fn grows_on(&mut self, sample: &Sample) -> bool {
        let (since, work) = *self.throttled_from.get_or_insert((sample.now, sample.work));
        let passed = sample.now - since;
        if passed < THROTTLE_FIRST_NS {
            return false;
        }
        self.throttled_from = Some((sample.now, sample.work));
        sample.work.saturating_sub(work) > at_rate(GROWING, passed)
    }

    /// The high that covers the growth to come, if the present one doesn't.
    fn wanted_high(&self, sample: &Sample, last: &Sample) -> Option<u64> {
        let high = self.high.filter(|_| self.raise)?;
        let coming = at_rate(self.rate, LEAD_NS);
        let reached = sample.high_events > last.high_events && sample.work >= high - high / 8;
        if !reached && high.saturating_sub(sample.work) > coming.max(LEAD_MIN / 3) {
            return None;
        }
        let lead = coming.saturating_mul(2).max(sample.work / 2).max(LEAD_MIN);
        let wanted = least(Some(sample.work.max(high / 2).saturating_add(lead)), self.ceiling)?;
        (wanted > high).then_some(wanted)
    }

    /// What was raised and isn't used is given back, as it counts against others' raises.
    fn come_down(&mut self, sample: &Sample, step: &mut Step) {
        let (Some(born), Some(high)) = (self.born_high, self.high) else { return };
        let enough = born.max(sample.work + (sample.work / 4).max(LEAD_MIN));
        let quiet = sample.now.saturating_sub(self.grew_at) >= QUIET_NS;
        if quiet && high > born && enough < high - high / 4 && sample.current < enough {
            self.put_high(Some(enough), step);
        }
    }

    /// Standing still over high: the processes stall on memory, or we froze them, for most of the time.
    fn watch_stall(&mut self, sample: &Sample, last: &Sample, passed: u64, step: &mut Step) {
        let full = |high: u64| sample.current >= high - high / 64;
        let over = self.high.is_some_and(full) || sample.above_full;
        if !over && !self.frozen() {
            self.stall = None;
            return;
        }
        let stalled = match (sample.stalled_us, last.stalled_us) {
            (Some(now), Some(before)) => now.saturating_sub(before).saturating_mul(1000),
            // Without PSI: the kernel throttles, and hardly anything runs.
            _ => {
                let ran = sample.cpu_us.saturating_sub(last.cpu_us).saturating_mul(1000);
                let throttled = sample.high_events > last.high_events && ran < passed / 3;
                if throttled { passed } else { 0 }
            }
        };
        let stalled = stalled.min(passed);
        if !self.frozen() {
            self.totals.slowed_ns += stalled;
            self.totals.gave_way_ns += if self.strained_since.is_some() { stalled } else { 0 };
        }
        let added = if self.frozen() { passed } else { stalled };
        let (since, sum) = self.stall.unwrap_or((sample.now - passed.min(sample.now), 0));
        let (lasted, sum) = (sample.now.saturating_sub(since), sum + added);
        if sum.saturating_mul(100) < lasted.saturating_mul(STALLED_PERCENT) {
            self.stall = None;
            return;
        }
        self.stall = Some((since, sum));
        // A raise may help yet; if it isn't granted, the next look finds the call standing still again.
        let patience = self.timeout_ns.saturating_add(if step.raise.is_some() { RAISE_LAST_NS } else { 0 });
        if lasted >= patience && step.kill.is_none() {
            let lasted = Duration::from_nanos(lasted);
            let for_others = self.strained_since.is_some();
            step.kill = Some(if for_others { Reason::HeldUp(lasted) } else { Reason::Stalled(lasted) });
        }
    }

    /// A fork bomb whose shell still lives: it forks on although its forks fail.
    fn watch_forks(&mut self, sample: &Sample, step: &mut Step) {
        let Some(limit) = self.pids_max else { return };
        if self.forks.is_bomb(sample.now, sample.refused_forks, limit, sample.pids_full)
            && step.kill.is_none()
        {
            step.kill = Some(Reason::ForkedOn);
        }
    }

    fn put_high(&mut self, to: Option<u64>, step: &mut Step) {
        if self.high != to {
            self.high = to;
            step.set_high = Some(to);
        }
    }

    fn thaw(&mut self, now: u64, pause: u64) {
        self.frozen_since = None;
        self.throttled_from = None;
        self.no_freeze_before = now + pause;
    }

    fn pace(&self, sample: &Sample) -> Pace {
        Pace {
            high: self.high.filter(|_| self.raise),
            work: sample.work,
            rate: self.rate,
            quiet_ns: sample.now.saturating_sub(self.grew_at),
            told: sample.told,
            room: sample.room,
            restless: self.frozen() || self.brake.on() || sample.strain != Strain::None,
            watched: self.stall.is_some() || self.forks.recent(),
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "control_tests.rs"]
mod tests;
