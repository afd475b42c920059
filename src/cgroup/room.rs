//! How much memory the levels above a leaf can still take.

use super::dir::{BUFFER, Dir, Kept, for_now};
use super::limits::least;
use super::meminfo::Meminfo;
use super::parse;
use super::usage::LimitOwner;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use std::path::{Path, PathBuf};

/// Levels looked at above `calls/`.
const LEVELS: usize = 8;
/// MemAvailable that is left to the machine itself, in bytes.
const MACHINE_RESERVE: u64 = 64 << 20;

/// The levels that limit a session's calls: `calls/` first, then upwards as far as they can be read.
#[derive(Debug)]
pub struct Levels {
    levels: Vec<Level>,
    meminfo: Option<Meminfo>,
    /// Is there another one, for which no descriptor was left?
    pub cut: bool,
}

#[derive(Debug)]
struct Level {
    path: PathBuf,
    current: Kept,
    max: Kept,
    high: Kept,
    stat: Kept,
    /// memory.max and memory.high as last read: an operator changes them seldom.
    limits: (Option<u64>, Option<u64>),
    /// Bytes that the session leaves to others at this level.
    cushion_percent: u64,
}

/// What is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes that can still be taken at the tightest level: with the page cache that the kernel can drop counted as free.
    pub bytes: u64,
    /// The same with what is left to others out of courtesy counted too: when this ends, memory has run out.
    pub left: u64,
    /// Bytes to the nearest memory.max, where the OOM killer acts; page cache that can be dropped counted as free.
    pub until_oom: u64,
    /// Is it little, so that it should be looked at closely?
    pub scarce: bool,
    /// Was page cache counted as free? Only where without it little would be left.
    pub close: bool,
    /// Is a level over its memory.high?
    pub over_high: bool,
}

impl Room {
    /// What will be left after so many ns if it goes on as since `before`, which was `passed` ns ago.
    pub fn after(&self, ns: u64, before: Option<Room>, passed: u64) -> u64 {
        // What little room there is, is reckoned otherwise than plenty: the two can't be compared.
        let before = before.filter(|b| b.close == self.close).map_or(self.left, |b| b.left);
        let lost = u128::from(before.saturating_sub(self.left));
        let will_lose = lost * u128::from(ns) / u128::from(passed.max(1));
        self.left.saturating_sub(will_lose.min(u128::from(u64::MAX)) as u64)
    }
}

impl Levels {
    /// Opens the levels. `cushion_percent` of the levels above the session are left to other sessions.
    pub fn open(calls: &Dir, cushion_percent: u64) -> Levels {
        let own = [calls.path()].into_iter();
        let above = calls.path().ancestors().skip(1).take(LEVELS);
        let (mut levels, mut cut) = (Vec::new(), false);
        for (depth, path) in own.chain(above).enumerate() {
            let cushion_percent = if depth < 2 { 0 } else { cushion_percent };
            match Level::open(path, cushion_percent) {
                Ok(level) => levels.push(level),
                Err(errno) => {
                    cut = for_now(errno);
                    break;
                }
            }
        }
        Levels { levels, meminfo: Meminfo::open(), cut }
    }

    /// Reads the limits anew.
    pub fn refresh(&mut self) {
        for level in &mut self.levels {
            level.limits = limits(&level.max, &level.high);
        }
    }

    /// What the tightest level, or the machine, can still take; none if neither can be read.
    pub fn room(&self) -> Option<Room> {
        let (own, shared) = self.rooms();
        tightest(own.into_iter().chain(shared))
    }

    /// The same of the session's own levels, and of those that it shares with other sessions.
    pub fn rooms(&self) -> (Option<Room>, Option<Room>) {
        let (own, shared) = self.levels.split_at(self.levels.len().min(2));
        (
            tightest(own.iter().filter_map(Level::room)),
            tightest(shared.iter().filter_map(Level::room).chain(self.machine())),
        )
    }

    /// Whose limit leaves the least of those that the session shares with others.
    pub fn scarcest_shared(&self) -> LimitOwner {
        let left = |level: &Level| {
            Some((level.room()?.left, level.path.clone(), least(level.limits.0, level.limits.1)))
        };
        let level = self.levels.iter().skip(2).filter_map(left).min_by_key(|(left, ..)| *left);
        let machine = self.machine().map_or(u64::MAX, |room| room.left);
        match level {
            Some((left, path, limit)) if left <= machine => LimitOwner::Above { path, limit },
            _ => LimitOwner::Machine,
        }
    }

    fn machine(&self) -> Option<Room> {
        let bytes = self.meminfo.as_ref()?.available()?.saturating_sub(MACHINE_RESERVE);
        Some(Room {
            bytes,
            left: bytes,
            until_oom: bytes,
            scarce: bytes < 512 << 20,
            close: true,
            over_high: false,
        })
    }
}

/// The least of several, and whatever is worth knowing of any.
pub fn tightest(rooms: impl Iterator<Item = Room>) -> Option<Room> {
    rooms.reduce(|a, b| Room {
        bytes: a.bytes.min(b.bytes),
        left: a.left.min(b.left),
        until_oom: a.until_oom.min(b.until_oom),
        scarce: a.scarce || b.scarce,
        close: if a.left <= b.left { a.close } else { b.close },
        over_high: a.over_high || b.over_high,
    })
}

impl Level {
    fn open(path: &Path, cushion_percent: u64) -> Result<Level, Errno> {
        let dir = Dir::open(path)?;
        let keep = |file| dir.keep(file, OFlag::O_RDONLY);
        let (max, high) = (keep("memory.max")?, keep("memory.high")?);
        Ok(Level {
            path: path.to_owned(),
            limits: limits(&max, &high),
            current: keep("memory.current")?,
            max,
            high,
            stat: keep("memory.stat")?,
            cushion_percent,
        })
    }

    fn room(&self) -> Option<Room> {
        let (max, high) = self.limits;
        let limit = least(max, high)?;
        let current = self.current.read_u64().ok()?;
        let mut left = limit.saturating_sub(current);
        let close = left < limit / 4;
        if close {
            let mut buf = [0; BUFFER];
            left = limit.saturating_sub(current.saturating_sub(droppable(self.stat.read(&mut buf).ok()?)));
        }
        let cushion = limit / 100 * self.cushion_percent;
        let over_high = high.is_some_and(|h| current >= h - h / 64);
        let bytes = left.saturating_sub(cushion);
        let until_oom = max.map_or(u64::MAX, |max| max.saturating_sub(limit).saturating_add(left));
        Some(Room { bytes, left, until_oom, scarce: bytes < limit / 4, close, over_high })
    }
}

fn limits(max: &Kept, high: &Kept) -> (Option<u64>, Option<u64>) {
    let limit = |file: &Kept| parse::number_or_max(file.read(&mut [0; 32]).ok()?)?;
    (limit(max), limit(high))
}

/// Page cache that can be dropped without hurting much: all that is inactive, and half of the rest.
fn droppable(stat: &[u8]) -> u64 {
    let key = |k: &[u8]| parse::keyed(stat, k).unwrap_or(0);
    key(b"inactive_file") + key(b"active_file") / 2 + key(b"slab_reclaimable") / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_foreseen_to_shrink_as_it_did() {
        let room =
            |left| Room { bytes: 0, left, until_oom: left, scarce: true, close: true, over_high: false };
        assert_eq!(room(100).after(150, None, 20), 100);
        assert_eq!(room(100).after(150, Some(room(110)), 20), 25);
        assert_eq!(room(100).after(150, Some(room(90)), 20), 100);
        assert_eq!(room(100).after(150, Some(room(190)), 0), 0);
        assert_eq!(room(100).after(150, Some(Room { close: false, ..room(500) }), 20), 100);
    }

    #[test]
    fn page_cache_counts_as_mostly_free() {
        let stat = b"anon 100\nfile 900\nactive_file 200\ninactive_file 500\nslab_reclaimable 20\n";
        assert_eq!(droppable(stat), 500 + 100 + 10);
        assert_eq!(droppable(b""), 0);
    }
}
