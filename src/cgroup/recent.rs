//! What a call has lately had at most and at least, for guessing what it may soon take. Pure; bpf/calls.h has the same.
//!
//! Lately is the last quarter of its life, or the time that the policy says if that is longer: what a call hasn't needed for
//! that long it is taken not to need soon, be it one of seconds or of hours. As it is counted in halves of that time, some is
//! forgotten after the first half already.

/// The most and the least of two spans of time, the present one and the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recent {
    /// When the present span began, in ns.
    since: u64,
    now: Span,
    before: Span,
    /// memory.peak as last read: what is more was reached since then.
    peak: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Span {
    most: u64,
    least: u64,
}

/// Spans in a call's life: two of them are its last quarter.
const SPANS: u64 = 8;

impl Recent {
    /// At the first look: its leaf's peak may be an earlier call's, which is the best guess there is.
    pub fn first(at: u64, current: u64, peak: u64) -> Recent {
        let span = Span { most: peak.max(current), least: 0 };
        Recent { since: at, now: span, before: span, peak }
    }

    /// At a later look at a call of this age, in ns. What is `lately` ns old is forgotten, nothing of the last half of them.
    pub fn look(&mut self, at: u64, age: u64, lately: u64, current: u64, peak: u64) {
        if at.saturating_sub(self.since) >= (lately / 2).max(age / SPANS) {
            self.before = self.now;
            self.now = Span { most: current, least: current };
            self.since = at;
        }
        let reached = if peak > self.peak { peak } else { current };
        self.now.most = self.now.most.max(reached);
        self.now.least = self.now.least.min(current);
        self.peak = peak;
    }

    /// The most it lately had, in bytes.
    pub fn most(&self) -> u64 {
        self.now.most.max(self.before.most)
    }

    /// By how much it lately rose, in bytes.
    pub fn rise(&self) -> u64 {
        self.most() - self.now.least.min(self.before.least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn what_was_not_needed_for_a_quarter_of_a_call_s_life_is_forgotten() {
        let mut recent = Recent::first(0, 10, 400);
        assert_eq!((recent.most(), recent.rise()), (400, 400));
        let mut forgotten = None;
        for tenth in 1..600 {
            let at = tenth * S / 10;
            recent.look(at, at, 2 * S, 100, 400);
            if forgotten.is_none() && recent.most() < 400 {
                forgotten = Some(at);
            }
        }
        assert!(forgotten.is_some_and(|at| (2 * S..=3 * S).contains(&at)), "{forgotten:?}");
        assert_eq!((recent.most(), recent.rise()), (100, 0));
        recent.look(60 * S, 60 * S, 2 * S, 300, 400);
        let mut forgotten = None;
        for tenth in 601..900 {
            recent.look(tenth * S / 10, tenth * S / 10, 2 * S, 100, 400);
            if forgotten.is_none() && recent.most() < 300 {
                forgotten = Some(tenth);
            }
        }
        assert!(forgotten.is_some_and(|tenth| (675..=800).contains(&tenth)), "{forgotten:?}");
    }

    #[test]
    fn a_peak_between_two_looks_is_seen() {
        let mut recent = Recent::first(0, 10, 100);
        recent.look(S, S, 2 * S, 20, 100);
        recent.look(3 * S, 3 * S, 2 * S, 20, 100);
        recent.look(5 * S, 5 * S, 2 * S, 20, 100);
        assert_eq!(recent.most(), 20);
        recent.look(6 * S, 6 * S, 2 * S, 20, 500);
        assert_eq!((recent.most(), recent.rise()), (500, 480));
    }
}
