//! The one moment at which a call that matters more is stopped: when memory is about to run out that others are giving up. What
//! is killed gives it back only after a while, and the kernel's OOM killer doesn't wait for that: it chooses again, until the
//! biggest is left. What is left it may take, only not the last of it; so it notices nothing of this unless it needs more than
//! there is, and by that, standing still, it shows the others that it does. (A call of some GiB is held by a grip that is wider
//! than what is left, and slowed there whatever it needs.) Pure.

use super::pace::at_rate;
use super::sample::Sample;
use super::strain::VERGE;

const MS: u64 = 1_000_000;
const MIB: u64 = 1 << 20;
/// It is let stand still at the end for so much longer than others are let be critical (policy: holding): that it does is seen
/// after 125 ms at the latest, a look is 20 ms late, and 150 ms after a kill the memory is back.
const BEYOND_CRITICAL: u64 = 400 * MS;
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
/// Without anybody to wait for so long it goes on.
const ALONE: u64 = 500 * MS;
/// The high isn't written anew for less, in bytes.
const STEP: u64 = MIB;

/// Is the call stopped, and since when?
#[derive(Clone, Debug)]
pub struct Brake {
    on: Option<On>,
    longest: u64,
    not_before: u64,
}

#[derive(Clone, Copy, Debug)]
struct On {
    /// When there last was somebody to wait for, in ns.
    brink_at: u64,
    /// For how long it has stood still at the very end, in ns: what it sleeps off elsewhere is no sign of want.
    stood: u64,
    /// When it was last looked at, and for how long it had stood still then, in µs; what was known before may be of long ago.
    looked_at: u64,
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
    /// Others are let be critical for so many ns before one of them is ended.
    pub fn new(critical_ns: u64) -> Brake {
        Brake { on: None, longest: critical_ns.saturating_add(BEYOND_CRITICAL), not_before: 0 }
    }

    /// Its high is somebody else's from now on.
    pub fn forget(&mut self) {
        self.on = None;
    }

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
        let enough = left >= ENOUGH.saturating_add(coming);
        let Some(on) = &mut self.on else {
            let may = sample.brink && sample.now >= self.not_before;
            if !may || enough || high.is_some_and(|high| high <= here) {
                return Hold::No;
            }
            let brink_at = sample.now;
            let (looked_at, stalled_us) = (sample.now, None);
            self.on = Some(On { stood: 0, looked_at, stalled_us, brink_at, high: here, before: high });
            return Hold::At(here);
        };
        if sample.brink {
            on.brink_at = sample.now;
        }
        let here = here.min(on.before.unwrap_or(u64::MAX));
        if left < VERGE {
            on.stood += match (sample.stalled_us, on.stalled_us) {
                (Some(now), Some(before)) => now.saturating_sub(before).saturating_mul(1000),
                (Some(_), None) => 0,
                // Without PSI all of the time counts.
                (None, _) => sample.now - on.looked_at,
            };
        }
        (on.looked_at, on.stalled_us) = (sample.now, sample.stalled_us);
        let over = on.stood >= self.longest;
        if over || enough || sample.now - on.brink_at >= ALONE {
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

    const CRITICAL: u64 = 300 * MS;
    const LONGEST: u64 = (CRITICAL + BEYOND_CRITICAL) / MS;

    fn brake() -> Brake {
        Brake::new(CRITICAL)
    }

    fn at(ms: u64, left: u64, brink: bool) -> Sample {
        let (current, stalled_us) = (450 * MIB, Some(0));
        Sample { now: ms * MS, current, until_oom: Some(left * MIB), brink, stalled_us, ..Sample::default() }
    }

    fn stalled(ms: u64, left: u64, stalled_ms: u64) -> Sample {
        Sample { stalled_us: Some(stalled_ms * 1000), ..at(ms, left, true) }
    }

    #[test]
    fn it_is_stopped_where_memory_ends_until_there_is_room_again_and_then_has_the_high_that_it_had() {
        let (mut brake, high) = (brake(), Some(600 * MIB));
        assert_eq!(brake.step(&at(0, 20, false), 0, high), Hold::No);
        let own = brake.step(&at(20, 20, true), 0, Some(450 * MIB));
        assert_eq!(own, Hold::No, "its own high stops it before that");
        assert_eq!(brake.step(&at(40, 20, true), 0, high), Hold::At(457 * MIB));
        assert_eq!(brake.step(&at(60, 20, false), 0, Some(457 * MIB)), Hold::Still);
        assert_eq!(
            brake.step(&at(80, 10, true), 0, Some(457 * MIB)),
            Hold::At(447 * MIB),
            "others took some"
        );
        assert_eq!(brake.step(&at(900, 200, true), 0, Some(447 * MIB)), Hold::Off(high));
        assert_eq!(brake.step(&at(920, 5, true), 0, None), Hold::At(442 * MIB));
    }

    #[test]
    fn it_never_gets_more_than_it_had() {
        let (mut brake, high) = (brake(), Some(452 * MIB));
        assert_eq!(brake.step(&at(0, 10, true), 0, high), Hold::At(447 * MIB));
        assert_eq!(brake.step(&at(20, 23, true), 0, Some(447 * MIB)), Hold::At(452 * MIB));
    }

    #[test]
    fn a_rush_is_stopped_so_much_earlier_and_until_it_has_ended_but_by_no_more_than_the_lightest_grip() {
        let rush = |left: u64, coming: u64| brake().step(&at(0, left, true), coming * MIB * 25, None);
        assert_eq!(rush(23, 0), Hold::At(460 * MIB));
        assert_eq!(rush(40, 0), Hold::No, "there is no hurry");
        assert_eq!(rush(40, 20), Hold::At(457 * MIB));
        assert_eq!(rush(40, 100), Hold::At(440 * MIB));
        let mut brake = brake();
        assert_eq!(brake.step(&at(0, 75, true), 100 * MIB * 25, None), Hold::At(440 * MIB));
        assert_eq!(brake.step(&at(20, 73, true), 51 * MIB * 25, None), Hold::At(459 * MIB));
        assert_eq!(brake.step(&at(40, 73, true), 25 * MIB * 25, None), Hold::Off(None));
    }

    #[test]
    fn what_it_creeps_on_by_does_not_loosen_the_grip() {
        let mut brake = brake();
        assert_eq!(brake.step(&at(0, 4, true), 0, None), Hold::At(441 * MIB));
        let crept = Sample { current: 454 * MIB, ..at(20, 0, true) };
        assert_eq!(brake.step(&crept, 0, None), Hold::Still);
    }

    #[test]
    fn it_stands_still_no_longer_than_others_take_to_be_ended_and_not_again_at_once() {
        let mut brake = brake();
        assert_eq!(brake.step(&at(0, 5, true), 0, None), Hold::At(442 * MIB));
        assert_eq!(brake.step(&stalled(20, 5, 9_000), 0, None), Hold::Still, "that was before");
        let needs_no_more = brake.step(&stalled(5_000, 5, 9_000), 0, None);
        assert_eq!(needs_no_more, Hold::Still, "nobody waits for anything");
        assert_eq!(brake.step(&stalled(5_720, 5, 8_999 + LONGEST), 0, None), Hold::Still);
        assert_eq!(brake.step(&stalled(5_740, 5, 9_000 + LONGEST), 0, None), Hold::Off(None));
        assert_eq!(brake.step(&stalled(7_720, 5, 9_000 + LONGEST), 0, None), Hold::No);
        assert_eq!(brake.step(&stalled(7_740, 5, 9_000 + LONGEST), 0, None), Hold::At(442 * MIB));
    }

    #[test]
    fn what_it_sleeps_off_before_the_end_is_not_counted() {
        let mut brake = brake();
        assert_eq!(brake.step(&at(0, 13, true), 0, None), Hold::At(450 * MIB));
        assert_eq!(brake.step(&stalled(20, 13, 0), 0, None), Hold::Still);
        assert_eq!(brake.step(&stalled(900, 13, 880), 0, None), Hold::Still);
        assert_eq!(brake.step(&stalled(920, 5, 900), 0, None), Hold::At(442 * MIB));
        assert_eq!(brake.step(&stalled(1_590, 5, 879 + LONGEST), 0, None), Hold::Still);
        assert_eq!(brake.step(&stalled(1_600, 5, 880 + LONGEST), 0, None), Hold::Off(None));
    }

    #[test]
    fn it_goes_on_when_there_is_nobody_left_to_wait_for() {
        let mut brake = brake();
        assert_eq!(brake.step(&at(0, 13, true), 0, None), Hold::At(450 * MIB));
        assert_eq!(brake.step(&at(400, 13, true), 0, None), Hold::Still);
        assert_eq!(brake.step(&at(899, 13, false), 0, None), Hold::Still);
        assert_eq!(brake.step(&at(900, 13, false), 0, None), Hold::Off(None));
    }

    #[test]
    fn without_psi_all_of_the_time_counts() {
        let unknown = |ms| Sample { stalled_us: None, ..at(ms, 5, true) };
        let mut brake = brake();
        assert_eq!(brake.step(&unknown(0), 0, None), Hold::At(442 * MIB));
        assert_eq!(brake.step(&unknown(LONGEST - 1), 0, None), Hold::Still);
        assert_eq!(brake.step(&unknown(LONGEST), 0, None), Hold::Off(None));
    }
}
