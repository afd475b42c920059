use super::*;
use crate::cgroup::limits::tests::{explore, set, test};
use crate::cgroup::limits::{Context, LeafLimits};
use crate::cgroup::terms::tests::built_in;

const GIB: u64 = 1 << 30;
const PAGE_BATCH: u64 = 64 * 4096;

fn limits(max: u64) -> LeafLimits {
    let mut knobs = explore();
    knobs.memory_max = set(crate::policy::compiled::Amount::Bytes(max));
    LeafLimits::of(&knobs, &Context::default())
}

/// The kernel's side of memory.high for one process that allocates anonymous memory without swap: mm/memcontrol.c,
/// calculate_high_delay and __mem_cgroup_handle_over_high (Linux 6.12 to 7.3).
struct Kernel {
    hz: u64,
    usage: u64,
    high: u64,
    high_events: u64,
    stalled_ns: u64,
}

impl Kernel {
    /// Charges a batch of 64 pages; gives the time that the process then sleeps.
    fn charge(&mut self) -> u64 {
        self.usage += PAGE_BATCH;
        if self.usage <= self.high {
            return 0;
        }
        self.high_events += 1;
        let overage = ((self.usage - self.high) << 20) / self.high;
        let jiffies = ((u128::from(overage) * u128::from(overage) * u128::from(self.hz)) >> (20 + 14)) as u64;
        let jiffies = jiffies.min(2 * self.hz);
        // Reclaim is tried first; it finds nothing, 16 times over.
        let reclaim = 50_000;
        let slept = if jiffies <= self.hz / 100 { 0 } else { jiffies * 1_000_000_000 / self.hz };
        self.stalled_ns += reclaim + slept;
        reclaim + slept
    }
}

/// The kernel tells of memory.events no more often than this (CGROUP_FILE_NOTIFY_MIN_INTV).
const NOTIFY_NS: u64 = 10 * MS;

/// The time in ns that a burst takes which begins so long after the call did, under the law. Every look comes `late`.
fn burst(law: &mut Law, kernel: &mut Kernel, bytes: u64, bytes_per_s: u64, begins: u64, late: u64) -> u64 {
    let per_batch = PAGE_BATCH * 1_000_000_000 / bytes_per_s;
    let (mut now, mut tick) = (begins, nanos(law.first()) + late);
    let mut look = |now: u64, kernel: &mut Kernel| {
        let step = law.step(&Sample {
            now,
            current: kernel.usage,
            work: kernel.usage,
            high_events: kernel.high_events,
            told: true,
            stalled_us: Some(kernel.stalled_ns / 1000),
            ..Sample::default()
        });
        if let Some(to) = step.set_high {
            kernel.high = to.unwrap_or(u64::MAX);
        }
        if let Some(to) = step.raise {
            law.raised(to);
            kernel.high = to;
        }
        assert_eq!((step.kill, step.freeze), (None, None));
        now + nanos(step.next) + late
    };
    while tick <= begins {
        tick = look(tick, kernel);
    }
    let (end, mut told) = (kernel.usage + bytes, 0);
    while kernel.usage < end {
        now += per_batch;
        let events = kernel.high_events;
        let slept = kernel.charge();
        if kernel.high_events > events && now >= told + NOTIFY_NS {
            told = now;
            tick = tick.min(now + late);
        }
        now += slept;
        while tick <= now {
            tick = look(tick, kernel);
        }
    }
    now - begins
}

#[test]
fn an_uncontended_burst_of_a_gib_takes_no_more_than_a_twentieth_longer_than_without_limits() {
    for hz in [100, 250, 1000] {
        for gb_per_s in [1, 2, 3, 5, 7, 10] {
            for (idle, phase) in [100, 3_000, 60_000].into_iter().flat_map(|i| (0..40).map(move |p| (i, p))) {
                let rate = gb_per_s * 1_000_000_000;
                let limits = limits(2 * GIB);
                let high = limits.high.unwrap();
                let mut kernel = Kernel { hz, usage: 4 * MIB, high, high_events: 0, stalled_ns: 0 };
                let begins = idle * MS + phase * 6_300_000;
                let took = burst(&mut Law::new(&limits, built_in()), &mut kernel, GIB, rate, begins, 300_000);
                let free = GIB * 1000 / (rate / 1_000_000);
                assert!(
                    took <= free + free / 20,
                    "HZ {hz}, {gb_per_s} GB/s after {idle} ms, phase {phase}: {took} ns, {free} without limits"
                );
            }
        }
    }
}

#[test]
fn the_simulated_kernel_throttles_a_burst_that_nobody_raises_for() {
    let mut fixed = limits(2 * GIB);
    fixed.raise = false;
    let mut kernel = Kernel { hz: 250, usage: 0, high: fixed.high.unwrap(), high_events: 0, stalled_ns: 0 };
    let took = burst(&mut Law::new(&fixed, built_in()), &mut kernel, 300 * MIB, 1_000_000_000, MS, 300_000);
    assert!(took > 5_000_000_000, "{took} ns: the check above could not fail");
}

/// Steps a law through samples at a fixed interval, and collects what it does.
struct Run {
    law: Law,
    now: u64,
    sample: Sample,
    did: Vec<(u64, Step)>,
}

impl Run {
    fn new(limits: &LeafLimits) -> Run {
        Run {
            law: Law::new(limits, built_in()),
            now: 0,
            sample: Sample { stalled_us: Some(0), ..Sample::default() },
            did: vec![],
        }
    }

    fn go(&mut self, ms: u64, mut each: impl FnMut(&mut Sample)) -> &mut Run {
        for _ in 0..ms / 10 {
            self.now += 10 * MS;
            each(&mut self.sample);
            self.sample.now = self.now;
            let step = self.law.step(&self.sample);
            if step.raise.is_some() || step.set_high.is_some() || step.freeze.is_some() || step.kill.is_some()
            {
                self.did.push((self.now / MS, step));
            }
        }
        self
    }

    fn first(&self, what: impl Fn(&Step) -> bool) -> Option<u64> {
        self.did.iter().find(|(_, step)| what(step)).map(|(at, _)| *at)
    }

    fn killed(&self) -> Option<(u64, Reason)> {
        self.did.iter().find_map(|(at, step)| step.kill.map(|why| (*at, why)))
    }
}

fn born_open() -> LeafLimits {
    LeafLimits::of(&test(), &Context::default())
}

fn usage(bytes: u64) -> impl FnMut(&mut Sample) {
    move |s| (s.current, s.work) = (bytes, bytes)
}

#[test]
fn a_call_that_stays_small_is_left_alone() {
    for limits in [limits(GIB), born_open()] {
        let mut run = Run::new(&limits);
        run.go(60_000, usage(20 * MIB));
        assert_eq!(run.did, []);
    }
}

#[test]
fn page_cache_is_not_growth() {
    let mut run = Run::new(&limits(GIB));
    run.go(1000, |s| (s.current, s.work, s.high_events) = (256 * MIB, 10 * MIB, s.high_events + 1));
    assert_eq!(run.did, []);
}

#[test]
fn high_is_raised_to_the_ceiling_and_no_further() {
    let mut run = Run::new(&limits(GIB));
    for mib in (0..1000).step_by(50) {
        run.go(10, usage(mib * MIB));
        if let Some((_, Step { raise: Some(to), .. })) = run.did.last() {
            assert!(*to <= GIB);
            let to = *to;
            run.law.raised(to);
        }
    }
    assert_eq!(run.law.high(), Some(GIB));
    assert!(run.law.totals().raised >= 2);
}

#[test]
fn a_raise_that_is_not_used_any_more_comes_down() {
    let mut run = Run::new(&limits(GIB));
    run.go(10, usage(240 * MIB));
    run.law.raised(900 * MIB);
    run.go(3000, usage(100 * MIB));
    assert_eq!(run.law.high(), Some(256 * MIB));
    assert!(run.first(|s| s.set_high == Some(Some(256 * MIB))).is_some());
}

#[test]
fn a_call_that_stands_still_over_high_is_killed_after_the_timeout_and_not_before() {
    let mut no_raise = limits(GIB);
    no_raise.raise = false;
    let mut run = Run::new(&no_raise);
    run.go(40_000, |s| {
        (s.current, s.work) = (257 * MIB, 257 * MIB);
        s.stalled_us = s.stalled_us.map(|us| us + 9_000);
    });
    let (at, why) = run.killed().unwrap();
    assert!((30_000..=32_000).contains(&at), "{at}");
    assert!(matches!(why, Reason::Stalled(time) if time >= Duration::from_secs(30)));
    assert!(run.law.totals().slowed_ns > 25_000 * MS);
}

#[test]
fn a_denied_raise_does_not_save_a_stalled_call_but_a_granted_one_does() {
    let stall = |s: &mut Sample| {
        (s.current, s.work) = (257 * MIB, 257 * MIB);
        s.stalled_us = s.stalled_us.map(|us| us + 9_000);
    };
    let mut denied = Run::new(&limits(GIB));
    denied.go(33_000, stall);
    assert!(denied.first(|s| s.raise.is_some()).is_some());
    assert!(denied.killed().is_some_and(|(at, _)| at <= 32_000));
    let mut granted = Run::new(&limits(GIB));
    granted.go(20_000, stall);
    granted.law.raised(512 * MIB);
    granted.go(40_000, usage(257 * MIB));
    assert_eq!(granted.killed(), None);
}

#[test]
fn without_psi_a_throttled_call_that_hardly_runs_counts_as_standing_still() {
    let mut no_raise = limits(GIB);
    no_raise.raise = false;
    for (ran_us, killed) in [(100, true), (9_000, false)] {
        let mut run = Run::new(&no_raise);
        run.sample.stalled_us = None;
        run.go(32_000, |s| {
            (s.current, s.work) = (257 * MIB, 257 * MIB);
            s.high_events += 1;
            s.cpu_us += ran_us;
        });
        assert_eq!(run.killed().is_some(), killed, "{ran_us} us of 10 ms");
    }
}

#[test]
fn a_signal_thaws_and_keeps_the_freezer_off_for_a_while() {
    let mut run = Run::new(&born_open());
    run.sample.strain = Strain::Tight;
    let mut size = 0;
    let mut grow = |s: &mut Sample| {
        size += MIB;
        (s.current, s.work) = (size, size);
    };
    run.go(600, &mut grow);
    assert!(run.law.frozen());
    run.law.signalled(run.now);
    run.did.clear();
    run.go(3000, &mut grow);
    assert_eq!(run.first(|s| s.freeze == Some(true)), Some(2610));
}

#[test]
fn forks_refused_on_and_on_end_the_call_and_a_few_do_not() {
    let mut bomb = Run::new(&born_open());
    bomb.go(4000, |s| (s.pids_full, s.refused_forks) = (true, s.now / MS));
    assert!(matches!(bomb.killed(), Some((3000..=3100, Reason::ForkedOn))));
    let mut restless = Run::new(&born_open());
    let come_and_go = |s: &mut Sample| {
        (s.pids_full, s.refused_forks) = (!s.now.is_multiple_of(50 * MS), s.now / MS);
    };
    restless.go(4000, come_and_go);
    assert_eq!(restless.killed().map(|(_, why)| why), Some(Reason::ForkedOn));
    let mut pauses = Run::new(&born_open());
    pauses.go(20_000, |s| {
        s.pids_full = true;
        s.refused_forks += u64::from(s.now % (2000 * MS) < 500 * MS);
    });
    assert_eq!(pauses.killed(), None);
    let mut below = Run::new(&born_open());
    below.go(10_000, |s| (s.pids_full, s.refused_forks) = (false, s.now / MS));
    assert_eq!(below.killed(), None, "refused by another limit than its own");
}

#[test]
fn samples_are_taken_more_often_the_faster_it_grows_and_never_without_a_pause() {
    let mut law = Law::new(&limits(GIB), built_in());
    let next = |law: &mut Law, now_ms: u64, mib: u64| {
        law.step(&Sample { now: now_ms * MS, current: mib * MIB, work: mib * MIB, ..Sample::default() }).next
    };
    let calm = next(&mut law, 10, 10);
    let growing = next(&mut law, 20, 100);
    let faster = next(&mut law, 30, 230);
    assert!(calm > growing && growing > faster, "{calm:?} {growing:?} {faster:?}");
    assert!(faster >= Duration::from_millis(1));
}

#[path = "control_strain_tests.rs"]
mod strain;
