//! What a leaf's last user left written on the leaf itself (in [`mark::LEAF`]): the knobs as they are, what they were reckoned
//! from, and the counters as they stood, so that the next call needn't read and write all that before its command starts. A
//! leaf in use, or whose launcher was killed, has no such note.

use super::dir::Dir;
use super::limits::{self, Context, LeafLimits, Shown};
use super::mark;
use super::place::Session;
use super::usage::Counters;
use crate::class::Class;
use nix::errno::Errno;

/// Of the words below; another number is another version's, and says nothing.
const VERSION: u64 = 3;
/// Generation and class, which every leaf has; then the version, the knobs it lacks, the knobs, what they were reckoned from,
/// the counters.
const WORDS: usize = 4 + KNOBS + BASIS + COUNTERS;
const KNOBS: usize = limits::KNOBS.len();
const BASIS: usize = 4;
const COUNTERS: usize = 9;

/// An idle leaf as it was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idle {
    /// A bit for each of [`limits::KNOBS`] that could not be set.
    lacks: u64,
    knobs: [u64; KNOBS],
    basis: [u64; BASIS],
    /// The counters as they stood at the end.
    pub counters: Counters,
}

impl Idle {
    /// A leaf of this session with these knobs, but for those that it lacks, that is left with these counters.
    pub fn new(session: &Session, limits: &LeafLimits, lacks: &[&str], counters: Counters) -> Idle {
        let shown = session.shown();
        let basis = [session.origin, or_max(shown.high), or_max(shown.max), or_max(session.budget())];
        let bits = limits::KNOBS.iter().enumerate().filter(|(_, knob)| lacks.contains(knob));
        Idle { lacks: bits.fold(0, |all, (bit, _)| all | 1 << bit), knobs: knobs(limits), basis, counters }
    }

    /// As it was left before, but for the counters.
    pub fn with(self, counters: Counters) -> Idle {
        Idle { counters, ..self }
    }

    /// The knobs that it lacks.
    pub fn lacks(&self) -> impl Iterator<Item = &'static str> {
        let lacks = self.lacks;
        limits::KNOBS
            .into_iter()
            .enumerate()
            .filter(move |(bit, _)| lacks >> bit & 1 != 0)
            .map(|(_, knob)| knob)
    }

    /// What its last user found the limits around it to be; none if it was called from somewhere else. They seldom change, and
    /// the call that goes by them looks for itself once its command runs.
    pub fn context(&self, session: &Session) -> Option<Context> {
        let [origin, high, max, budget] = self.basis;
        let limit = |word: u64| (word != u64::MAX).then_some(word);
        let shown = Shown { high: limit(high), max: limit(max) };
        (origin == session.origin).then_some(Context { shown, budget: limit(budget), available: None })
    }

    /// Does it have these knobs already?
    pub fn has(&self, limits: &LeafLimits) -> bool {
        self.knobs == knobs(limits)
    }

    /// What stands on the leaf; none if it wasn't left in order.
    pub fn read(leaf: &Dir) -> Option<Idle> {
        let mut buf = [0; WORDS * 8];
        let bytes = leaf.mark(mark::LEAF, &mut buf).ok()?;
        let mut words = [0; WORDS];
        if bytes.len() != WORDS * 8 {
            return None;
        }
        for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::from_ne_bytes(bytes.try_into().ok()?);
        }
        let (head, rest) = words.split_at(4);
        let (knobs, rest) = rest.split_at(KNOBS);
        let (basis, counters) = rest.split_at(BASIS);
        (head[2] == VERSION).then_some(Idle {
            lacks: head[3],
            knobs: knobs.try_into().ok()?,
            basis: basis.try_into().ok()?,
            counters: Counters::of_words(counters.try_into().ok()?),
        })
    }

    /// Writes it on the leaf.
    pub fn write(&self, leaf: &Dir, generation: u64, class: Class) -> Result<(), Errno> {
        let mut bytes = [0; WORDS * 8];
        let words =
            [generation, class as u64, VERSION, self.lacks].into_iter().chain(self.knobs).chain(self.basis);
        for (place, word) in bytes.chunks_exact_mut(8).zip(words.chain(self.counters.words())) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        leaf.set_mark(mark::LEAF, &bytes)
    }
}

/// Marks a leaf as in use.
pub fn in_use(leaf: &Dir, generation: u64, class: Class) -> Result<(), Errno> {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&generation.to_ne_bytes());
    bytes[8..].copy_from_slice(&(class as u64).to_ne_bytes());
    leaf.set_mark(mark::LEAF, &bytes)
}

fn knobs(limits: &LeafLimits) -> [u64; KNOBS] {
    [
        or_max(limits.max),
        or_max(limits.high),
        or_max(limits.swap_max),
        u64::from(limits.oom_group),
        u64::from(limits.cpu_weight),
        or_max(limits.pids_max.map(u64::from)),
    ]
}

fn or_max(limit: Option<u64>) -> u64 {
    limit.unwrap_or(u64::MAX)
}
