//! The one moment at which a call that matters more is stopped: when memory is about to run out that others are giving up. What
//! is killed gives it back only after a while, and the kernel's OOM killer doesn't wait for that: it chooses again, until the
//! biggest is left. Pure.

use super::sample::Sample;

const MS: u64 = 1_000_000;
/// Others are given so long: by then the first of them has been ended (policy: holding, critical) and its memory is back.
const LONGEST: u64 = 600 * MS;
/// And after that it isn't stopped again for so long: whatever happens then isn't helped by waiting.
const PAUSE: u64 = 2_000 * MS;
/// With so much room again, in bytes, it goes on.
const ENOUGH: u64 = 24 << 20;

/// Is the call stopped, since when, and what was its memory.high before?
#[derive(Clone, Debug, Default)]
pub struct Brake {
    on: Option<(u64, Option<u64>)>,
    not_before: u64,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// It isn't stopped.
    No,
    /// Stop it.
    On,
    /// It stays stopped.
    Still,
    /// Let it go on, with this memory.high.
    Off(Option<u64>),
}

impl Brake {
    /// Is it stopped?
    pub fn on(&self) -> bool {
        self.on.is_some()
    }

    /// Decides. `may` says whether stopping it is of use, `high` is memory.high in force.
    pub fn step(&mut self, sample: &Sample, may: bool, high: Option<u64>) -> Hold {
        match self.on {
            Some((since, before)) => {
                let over = sample.now.saturating_sub(since) >= LONGEST;
                if !over && sample.room.is_some_and(|room| room < ENOUGH) {
                    return Hold::Still;
                }
                self.on = None;
                if over {
                    self.not_before = sample.now + PAUSE;
                }
                Hold::Off(before)
            }
            None if sample.brink && may && sample.now >= self.not_before => {
                self.on = Some((sample.now, high));
                Hold::On
            }
            None => Hold::No,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64, room: u64, brink: bool) -> Sample {
        Sample { now: ms * MS, room: Some(room << 20), brink, ..Sample::default() }
    }

    #[test]
    fn it_stands_still_until_there_is_room_again_and_then_has_the_high_that_it_had() {
        let mut brake = Brake::default();
        assert_eq!(brake.step(&at(0, 10, false), true, Some(7)), Hold::No);
        assert_eq!(brake.step(&at(20, 5, true), false, Some(7)), Hold::No);
        assert_eq!(brake.step(&at(40, 5, true), true, Some(7)), Hold::On);
        assert_eq!(brake.step(&at(60, 5, false), true, Some(3)), Hold::Still);
        assert_eq!(brake.step(&at(80, 200, false), true, Some(3)), Hold::Off(Some(7)));
        assert_eq!(brake.step(&at(100, 5, true), true, None), Hold::On);
    }

    #[test]
    fn it_waits_no_longer_than_others_take_to_be_ended_and_not_again_at_once() {
        let mut brake = Brake::default();
        assert_eq!(brake.step(&at(0, 5, true), true, None), Hold::On);
        assert_eq!(brake.step(&at(599, 5, true), true, None), Hold::Still);
        assert_eq!(brake.step(&at(600, 5, true), true, None), Hold::Off(None));
        assert_eq!(brake.step(&at(2_500, 5, true), true, None), Hold::No);
        assert_eq!(brake.step(&at(2_600, 5, true), true, None), Hold::On);
    }
}
