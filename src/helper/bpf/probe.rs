//! Partial mode (SCX_OPS_SWITCH_PARTIAL): would a task that asks for SCHED_EXT get CPU beside tasks of the kernel's own
//! fair class? Tried by doing: it is a matter of how the kernel ranks its classes, and of none of its version numbers.

use super::enums::Enums;
use super::sched;
use crate::sys::sched_ext;
use anyhow::{Context, Result, anyhow};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Tasks of the fair class that compete.
const HOGS: usize = 2;
/// What counts: shorter than any watchdog of the scheduler, longer than the period of the kernel's deadline servers (1 s).
const WINDOW: Duration = Duration::from_millis(1500);
/// The tasks start within milliseconds.
const START_WITHIN: Duration = Duration::from_secs(10);

/// What the task of sched_ext had of the CPU that it shared with the hogs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// Of 1.
    pub got: f64,
}

impl Share {
    /// What an equal among them would have.
    pub const FAIR: f64 = 1.0 / (HOGS + 1) as f64;

    /// Half of that is the least: a call that gets less is worse off than without us.
    pub fn is_enough(self) -> bool {
        self.got >= Self::FAIR / 2.0
    }

    fn of(ext: Duration, hogs: Duration) -> Option<Self> {
        let all = (ext + hogs).as_secs_f64();
        (all > 0.0).then(|| Share { got: ext.as_secs_f64() / all })
    }
}

/// Loads our scheduler in partial mode for the time of the trial, and takes it away again.
pub fn partial(kernel: &Enums<'_>) -> Result<Share> {
    sched::with_partial(kernel, trial)
}

#[derive(Default)]
struct Signals {
    ready: AtomicBool,
    go: AtomicBool,
    stop: AtomicBool,
}

fn trial() -> Result<Share> {
    let cpu = last_cpu()?;
    let signals = &Signals::default();
    thread::scope(|scope| {
        let ext = scope.spawn(move || {
            let entered =
                pin_to(cpu).and_then(|()| sched_ext::enter().context("SCHED_EXT is refused to a thread"));
            signals.ready.store(true, Ordering::Release);
            entered.map(|()| spin(signals))
        });
        let hogs: Vec<_> =
            (0..HOGS).map(|_| scope.spawn(move || pin_to(cpu).map(|()| spin(signals)))).collect();
        let began = Instant::now();
        while !signals.ready.load(Ordering::Acquire) && began.elapsed() < START_WITHIN {
            thread::sleep(Duration::from_millis(1));
        }
        signals.go.store(true, Ordering::Release);
        thread::sleep(WINDOW);
        signals.stop.store(true, Ordering::Release);
        let used = |thread: thread::ScopedJoinHandle<'_, Result<Duration>>| {
            thread.join().map_err(|_| anyhow!("a thread of the trial has failed"))?
        };
        let mut sum = Duration::ZERO;
        for hog in hogs {
            sum += used(hog)?;
        }
        Share::of(used(ext)?, sum).ok_or_else(|| anyhow!("nobody got any CPU in the trial"))
    })
}

/// The last CPU that we may run on: the first ones have most of the machine's own work.
fn last_cpu() -> Result<usize> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).context("sched_getaffinity")?;
    (0..CpuSet::count()).rev().find(|&cpu| allowed.is_set(cpu) == Ok(true)).context("no CPU is allowed to us")
}

fn pin_to(cpu: usize) -> Result<()> {
    let mut only = CpuSet::new();
    only.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &only).context("sched_setaffinity")
}

/// Uses CPU from `go` to `stop`; how much it got.
fn spin(signals: &Signals) -> Duration {
    while !signals.go.load(Ordering::Acquire) {
        thread::sleep(Duration::from_millis(1));
    }
    let before = own_time();
    while !signals.stop.load(Ordering::Acquire) {
        std::hint::spin_loop();
    }
    own_time().saturating_sub(before)
}

fn own_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(ext_ms: u64, hogs_ms: u64) -> Share {
        Share::of(Duration::from_millis(ext_ms), Duration::from_millis(hogs_ms)).expect("some CPU")
    }

    #[test]
    fn an_equal_share_is_enough_and_a_deadline_servers_twentieth_is_not() {
        assert!(share(500, 1000).is_enough());
        assert!(!share(75, 1425).is_enough());
        assert!(!share(0, 1500).is_enough());
        assert_eq!(Share::of(Duration::ZERO, Duration::ZERO), None, "nothing was measured");
    }
}
