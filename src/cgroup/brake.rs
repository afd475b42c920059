//! The one moment at which a call that matters more is stopped: when memory is about to run out that others are giving up. What
//! is killed gives it back only after a while, and the kernel's OOM killer doesn't wait for that: it chooses again, until the
//! biggest is left. What is left it may take, only not the last of it; so it notices nothing of this unless it needs more than
//! there is, and by that, standing still, it shows the others that it does. Pure.

use super::pace::at_rate;
use super::sample::Sample;

const MS: u64 = 1_000_000;
const MIB: u64 = 1 << 20;
/// It is let stand still for so long: by then the first of the others has been ended (policy: holding, critical) and its memory
/// is back.
const LONGEST: u64 = 600 * MS;
/// And after that it isn't stopped again for so long: whatever happens then isn't helped by waiting.
const PAUSE: u64 = 2_000 * MS;
/// With so much room again, in bytes, it goes on.
const ENOUGH: u64 = 24 * MIB;
/// The kernel's penalty stops what is so much of it over memory.high: at a 45th each 64 pages take some 30 ms.
const RAMP: u64 = 45;
/// So far from the end, in bytes, it is stopped: what is slipped past the penalty while the others are ended.
const SPARE: u64 = 3 * MIB;
/// What it grows by within this it takes before it is stopped: two looks.
const GRASP: u64 = 40 * MS;
/// The high isn't written anew for less, in bytes.
const STEP: u64 = MIB;

/// Is the call stopped, and since when?
#[derive(Clone, Debug, Default)]
pub struct Brake {
    on: Option<On>,
    not_before: u64,
}

#[derive(Clone, Copy, Debug)]
struct On {
    /// When that was, in ns, and for how long it had stood still by then, in µs.
    since: u64,
    stalled_us: Option<u64>,
    /// memory.high now, and what it was before.
    high: u64,
    before: Option<u64>,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// It isn't stopped.
    No,
    /// Stop it there: put memory.high to this.
    At(u64),
    /// It stays as it is.
    Still,
    /// Let it go on, with this memory.high.
    Off(Option<u64>),
}

impl Brake {
    /// Is it stopped?
    pub fn on(&self) -> bool {
        self.on.is_some()
    }

    /// Decides; `rate` is its growth in bytes/s, `high` memory.high in force.
    pub fn step(&mut self, sample: &Sample, rate: u64, high: Option<u64>) -> Hold {
        let coming = at_rate(rate, GRASP);
        let ramp = sample.current / RAMP;
        let left = sample.until_oom.unwrap_or(u64::MAX);
        let end = sample.current.saturating_add(left);
        // No lower than where it is; what it creeps on by doesn't loosen the grip.
        let on_high = self.on.map_or(u64::MAX, |on| on.high);
        let here =
            end.saturating_sub(ramp + SPARE).saturating_sub(coming).max(on_high.min(sample.current - ramp));
        let Some(on) = &mut self.on else {
            if !sample.brink || sample.now < self.not_before || high.is_some_and(|high| high <= here) {
                return Hold::No;
            }
            let (since, stalled_us) = (sample.now, sample.stalled_us);
            self.on = Some(On { since, stalled_us, high: here, before: high });
            return Hold::At(here);
        };
        on.stalled_us = on.stalled_us.or(sample.stalled_us);
        let stood = match (sample.stalled_us, on.stalled_us) {
            (Some(now), Some(before)) => now.saturating_sub(before).saturating_mul(1000),
            // Without PSI all of the time counts.
            _ => sample.now - on.since,
        };
        let over = stood >= LONGEST;
        if over || left >= ENOUGH {
            if over {
                self.not_before = sample.now + PAUSE;
            }
            let before = on.before;
            self.on = None;
            return Hold::Off(before);
        }
        if on.high.abs_diff(here) < STEP {
            return Hold::Still;
        }
        on.high = here;
        Hold::At(here)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64, left: u64, brink: bool) -> Sample {
        let (current, stalled_us) = (450 * MIB, Some(0));
        Sample { now: ms * MS, current, until_oom: Some(left * MIB), brink, stalled_us, ..Sample::default() }
    }

    fn stalled(ms: u64, left: u64, stalled_ms: u64) -> Sample {
        Sample { stalled_us: Some(stalled_ms * 1000), ..at(ms, left, true) }
    }

    #[test]
    fn it_is_stopped_where_memory_ends_until_there_is_room_again_and_then_has_the_high_that_it_had() {
        let mut brake = Brake::default();
        assert_eq!(brake.step(&at(0, 20, false), 0, Some(600 * MIB)), Hold::No);
        assert_eq!(
            brake.step(&at(20, 20, true), 0, Some(450 * MIB)),
            Hold::No,
            "its own high stops it before that"
        );
        assert_eq!(brake.step(&at(40, 20, true), 0, Some(600 * MIB)), Hold::At(457 * MIB));
        assert_eq!(brake.step(&at(60, 20, false), 0, Some(457 * MIB)), Hold::Still);
        assert_eq!(
            brake.step(&at(80, 10, true), 0, Some(457 * MIB)),
            Hold::At(447 * MIB),
            "others took some"
        );
        assert_eq!(brake.step(&at(900, 200, true), 0, Some(447 * MIB)), Hold::Off(Some(600 * MIB)));
        assert_eq!(brake.step(&at(920, 5, true), 0, None), Hold::At(442 * MIB));
    }

    #[test]
    fn a_rush_is_stopped_so_much_earlier_but_never_by_more_than_the_kernel_s_lightest_grip() {
        let rush = |coming: u64| Brake::default().step(&at(0, 40, true), coming * MIB * 25, None);
        assert_eq!(rush(0), Hold::At(477 * MIB));
        assert_eq!(rush(20), Hold::At(457 * MIB));
        assert_eq!(rush(100), Hold::At(440 * MIB));
    }

    #[test]
    fn without_psi_all_of_the_time_counts() {
        let unknown = |ms| Sample { stalled_us: None, ..at(ms, 13, true) };
        let mut brake = Brake::default();
        assert_eq!(brake.step(&unknown(0), 0, None), Hold::At(450 * MIB));
        assert_eq!(brake.step(&unknown(599), 0, None), Hold::Still);
        assert_eq!(brake.step(&unknown(600), 0, None), Hold::Off(None));
    }

    #[test]
    fn it_stands_still_no_longer_than_others_take_to_be_ended_and_not_again_at_once() {
        let mut brake = Brake::default();
        assert_eq!(brake.step(&at(0, 13, true), 0, None), Hold::At(450 * MIB));
        assert_eq!(
            brake.step(&stalled(5_000, 13, 0), 0, None),
            Hold::Still,
            "it needs no more: nobody waits for anything"
        );
        assert_eq!(brake.step(&stalled(5_620, 13, 599), 0, None), Hold::Still);
        assert_eq!(brake.step(&stalled(5_640, 13, 600), 0, None), Hold::Off(None));
        assert_eq!(brake.step(&stalled(7_600, 13, 600), 0, None), Hold::No);
        assert_eq!(brake.step(&stalled(7_640, 13, 600), 0, None), Hold::At(450 * MIB));
    }
}
