//! Noticing that the program we become starts us again, and so on for ever.
//!
//! What counts how often must outlive exec and fork without being an environment variable: the timer slack's last digits
//! do. They are in ns, and nobody sets it finer than in µs, so the caller's own slack stays what it was.

use crate::sys::process;
use std::time::Duration;

/// Slacks that end in this many ns, and up to [`MOST`] more, are ours.
const MARK: u64 = 613;
/// A program may come back so often before we take it for a circle: scripts that start each other are nested less deeply.
const MOST: u64 = 100;
/// The digits that are ours to use.
const MICROSECOND: u64 = 1000;
/// A process that has used so much and only now becomes agentsh may have done so ten thousands of times before. Less would
/// hit scripts that execute themselves, hundreds of times.
const SUSPICIOUS: Duration = Duration::from_secs(30);

/// What [`enter`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entered {
    /// It has not come back too often yet.
    Again,
    /// It has.
    TooOften,
}

/// Has this process gone in circles for a while, by the CPU time it has used?
pub fn is_suspected() -> bool {
    process::cpu_time() > SUSPICIOUS
}

/// Counts. None where that isn't possible (a sandbox that refuses, a real-time policy, which has no slack): then only
/// a program that surely doesn't come back can be trusted.
pub fn enter() -> Option<Entered> {
    let next = match count(process::timer_slack()) {
        Some(next) => next,
        None => return Some(Entered::TooOften),
    };
    process::set_timer_slack(next);
    (process::timer_slack() == next).then_some(Entered::Again)
}

/// What was taken for a circle has been left: what the program starts is counted anew. Not where it goes on for long already, so that
/// two circles in one end, too.
pub fn leave() {
    let slack = process::timer_slack();
    if !is_suspected() && slack % MICROSECOND >= MARK {
        process::set_timer_slack(slack - slack % MICROSECOND);
    }
}

/// The slack with one more counted; none if it was the last one.
fn count(slack: u64) -> Option<u64> {
    let digits = slack % MICROSECOND;
    match digits.checked_sub(MARK) {
        Some(MOST) => None,
        Some(so_far) if so_far < MOST => Some(slack + 1),
        _ => Some(slack - digits + MARK),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_ends_whatever_slack_the_caller_had() {
        for start in [0, 1, 50_000, 50_064, 123_456, 5_000_000, 999, u64::MAX / 2] {
            let mut slack = start;
            let mut rounds = 0;
            while let Some(next) = count(slack) {
                assert_eq!(next / MICROSECOND, start / MICROSECOND);
                (slack, rounds) = (next, rounds + 1);
            }
            assert_eq!(rounds, MOST + 1);
        }
    }
}
