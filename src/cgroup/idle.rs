//! What a leaf's last user left written on the leaf itself (in [`mark::LEAF`]): the knobs as they are and the counters as they
//! stood, so that the next call needn't write and read all that before its command starts. A leaf in use, or whose launcher
//! was killed, has no such note.

use super::dir::Dir;
use super::limits::LeafLimits;
use super::mark;
use super::usage::Counters;
use crate::class::Class;
use nix::errno::Errno;

/// Of the words below; another number is another version's, and says nothing.
const VERSION: u64 = 1;
/// Generation and class, which every leaf has; then the version, the knobs, the counters.
const WORDS: usize = 3 + KNOBS + COUNTERS;
const KNOBS: usize = 6;
const COUNTERS: usize = 13;

/// An idle leaf as it was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idle {
    knobs: [u64; KNOBS],
    /// The counters as they stood at the end.
    pub counters: Counters,
}

impl Idle {
    /// A leaf with these knobs that is left with these counters.
    pub fn new(limits: &LeafLimits, counters: Counters) -> Idle {
        Idle { knobs: knobs(limits), counters }
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
        let (head, rest) = words.split_at(3);
        let (knobs, counters) = rest.split_at(KNOBS);
        (head[2] == VERSION).then_some(Idle {
            knobs: knobs.try_into().ok()?,
            counters: Counters::of_words(counters.try_into().ok()?),
        })
    }

    /// Writes it on the leaf.
    pub fn write(&self, leaf: &Dir, generation: u64, class: Class) -> Result<(), Errno> {
        let mut bytes = [0; WORDS * 8];
        let words = [generation, class as u64, VERSION].into_iter().chain(self.knobs);
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
    let or_max = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
    [
        or_max(limits.max),
        or_max(limits.high),
        or_max(limits.swap_max),
        u64::from(limits.oom_group),
        u64::from(limits.cpu_weight),
        or_max(limits.pids_max.map(u64::from)),
    ]
}
