//! The slowest inputs seen so far, to be made slower still: a search guided by time.

use super::inputs::Random;
use std::time::Duration;

/// So many are kept.
const KEPT: usize = 48;

/// An input and the CPU time that it took.
pub struct Slow {
    pub took: Duration,
    pub input: Vec<u8>,
}

/// Slow inputs of different descent.
#[derive(Default)]
pub struct Slowest(pub Vec<Slow>);

impl Slowest {
    /// One of them, and its place.
    pub fn pick(&self, random: &mut Random) -> (usize, &Slow) {
        let place = random.below(self.0.len());
        (place, &self.0[place])
    }

    /// How slow an input must be to be kept.
    pub fn bar(&self, parent: Option<usize>) -> Duration {
        match parent {
            Some(place) => self.0[place].took,
            None if self.0.len() < KEPT => Duration::ZERO,
            None => self.0.iter().map(|slow| slow.took).min().unwrap_or_default(),
        }
    }

    /// Keeps an input. It takes its parent's place, so that no family drives out the others; without a parent that of
    /// the fastest.
    pub fn keep(&mut self, slow: Slow, parent: Option<usize>) {
        let fastest = || (0..self.0.len()).min_by_key(|&place| self.0[place].took).unwrap_or(0);
        match parent {
            Some(place) => self.0[place] = slow,
            None if self.0.len() < KEPT => self.0.push(slow),
            None => {
                let place = fastest();
                self.0[place] = slow;
            }
        }
    }

    /// The slowest of all.
    pub fn worst(&self) -> Option<&Slow> {
        self.0.iter().max_by_key(|slow| slow.took)
    }
}
