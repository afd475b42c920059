//! When refused forks make a bomb. Pure, and one law for all: for a call whose shell still lives ([`super::control`]) and
//! for what a call has left behind ([`super::leftover`]).
//!
//! Reaching pids.max is no crime: a pool of workers may be as large as the limit, and a shell that was refused a fork waits
//! and tries again. What tells a bomb is that its processes, many of them, go on and on. They do so in bursts: bash waits 1,
//! 2, 4 and 8 s between its tries (jobs.c, make_child), and processes that have met the limit together try again together.

use std::collections::VecDeque;

/// Refusals are counted over this time: longer than bash's longest wait.
pub const WINDOW_NS: u64 = 10_000_000_000;
/// From the first of them to the latest it must be so long: no build system goes on like that.
pub const LASTING_NS: u64 = 3_000_000_000;
/// Refusals within this time are one entry.
const GRAIN_NS: u64 = 250_000_000;
/// With fewer refusals it is never a bomb, however low the limit.
const FEWEST: u64 = 16;

/// So many refused forks within the window are more than a pool of workers or a waiting shell comes to: a quarter of the
/// limit. (Bash's `:(){ :|:& };:` has all of its processes refused again within the window.)
pub fn enough(limit: u64) -> u64 {
    (limit / 4).max(FEWEST)
}

/// The refused forks of one leaf.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forks {
    total: Option<u64>,
    /// When, and how many since the entry before.
    rises: VecDeque<(u64, u64)>,
}

impl Forks {
    /// Takes in one look: the time in ns, pids.events:max (what it is at the first look doesn't count) and pids.max; `full`
    /// is asked whether the leaf is at its limit. Is it a bomb?
    pub fn is_bomb(&mut self, now: u64, total: u64, limit: u64, full: bool) -> bool {
        let rise = total.saturating_sub(self.total.replace(total).unwrap_or(total));
        while self.rises.front().is_some_and(|(at, _)| now.saturating_sub(*at) > WINDOW_NS) {
            self.rises.pop_front();
        }
        if rise == 0 {
            return false;
        }
        match self.rises.back_mut() {
            Some((at, count)) if now.saturating_sub(*at) < GRAIN_NS => *count += rise,
            _ => self.rises.push_back((now, rise)),
        }
        let refused: u64 = self.rises.iter().map(|(_, count)| count).sum();
        let lasted = self.rises.front().map_or(0, |(at, _)| now.saturating_sub(*at));
        full && lasted >= LASTING_NS && refused >= enough(limit)
    }

    /// Has a fork been refused within the window?
    pub fn recent(&self) -> bool {
        !self.rises.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Looks every 100 ms, as pids.events:max is after so many ms by `total`; gives when a bomb was seen.
    fn judged(limit: u64, ms: u64, total: impl Fn(u64) -> u64) -> Option<u64> {
        let mut forks = Forks::default();
        (0..ms).step_by(100).find(|&at| forks.is_bomb(at * MS, total(at), limit, true))
    }

    #[test]
    fn a_bomb_of_shells_that_all_wait_before_they_try_again_is_one() {
        // Half of the processes want to fork, and meet the limit within half a second: bash's waits between its tries.
        for limit in [150, 512, 4096] {
            let bursts = |at: u64| {
                let tries = [1000, 2000, 4000, 8000, 16_000, 31_000, 32_000, 34_000];
                tries.iter().map(|&t| at.saturating_sub(t).min(500) * (limit / 2) / 500).sum()
            };
            let at = judged(limit, 40_000, bursts);
            assert!(at.is_some_and(|at| at <= 9000), "pids.max {limit}: {at:?}");
        }
    }

    #[test]
    fn forks_refused_by_the_thousand_are_one_after_three_seconds() {
        assert_eq!(judged(4096, 20_000, |at| at * 1000), Some(3100));
    }

    #[test]
    fn what_was_refused_before_the_first_look_does_not_count() {
        assert_eq!(judged(150, 60_000, |_| 1_000_000), None);
    }

    #[test]
    fn one_shell_that_starts_more_jobs_than_it_may_is_none() {
        // `for i in …; do sleep 5 & done`: refused, waits 1 s, is refused again, for hours.
        assert_eq!(judged(150, 3_600_000, |at| at / 1000), None);
        assert_eq!(judged(20, 3_600_000, |at| at / 1000), None);
    }

    #[test]
    fn a_pool_that_runs_into_the_limit_when_it_starts_is_none() {
        assert_eq!(judged(150, 60_000, |at| at.min(2000)), None);
    }

    #[test]
    fn refusals_below_the_limit_are_another_s() {
        let mut forks = Forks::default();
        assert!((0..20_000).step_by(100).all(|at| !forks.is_bomb(at * MS, at * 100, 150, false)));
    }

    #[test]
    fn a_refusal_is_recent_for_as_long_as_the_window() {
        let mut forks = Forks::default();
        forks.is_bomb(0, 5, 150, true);
        assert!(!forks.recent());
        forks.is_bomb(MS, 6, 150, true);
        assert!(forks.recent());
        forks.is_bomb(2 * MS + WINDOW_NS, 6, 150, true);
        assert!(!forks.recent());
    }
}
