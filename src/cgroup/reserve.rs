//! Raises of memory.high are reserved, so that 64 launchers don't each spend the same room: a small table in an extended
//! attribute of `calls/`, changed under its lock. It needs no file, and goes with the session.

use super::claim::boottime;
use super::dir::Dir;
use super::mark;
use nix::errno::Errno;

/// An entry counts for so long without being renewed: its launcher may have been killed.
const VALID_NS: u64 = 3_000_000_000;
/// Less than this isn't worth a raise, in bytes.
const LEAST: u64 = 4 << 20;
/// Entries in the table: far more than raises can be in force at once.
const ENTRIES: usize = 128;
const ENTRY: usize = 32;
/// The table is waited for so long, by tries that are no further apart than this (twice the slowest look of
/// [`super::pace`]).
const PATIENCE_NS: u64 = 200_000_000;
const APART_NS: u64 = 500_000_000;

/// A raise in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The leaf's cgroup id.
    pub id: u64,
    /// The number behind its class (the low byte) and its number: where to look at what it uses.
    pub leaf: u64,
    /// Its memory.high in bytes.
    pub high: u64,
    /// CLOCK_BOOTTIME in ns when it was granted.
    pub granted: u64,
}

impl Entry {
    /// Does it still count? One from the future doesn't: whoever may write the table could make it count for ever.
    fn is_in_force(&self, now: u64) -> bool {
        now.checked_sub(self.granted).is_some_and(|age| age < VALID_NS)
    }
}

/// A wish to raise a leaf's memory.high.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// The leaf's cgroup id.
    pub id: u64,
    /// Its class's number and its own: `class + 256 * number`.
    pub leaf: u64,
    /// What it uses, in bytes.
    pub current: u64,
    /// The high it has, in bytes.
    pub high: u64,
    /// The high it wants, in bytes.
    pub wanted: u64,
    /// Does no other call need the room? Then it may go to the end of it, where the OOM killer decides at once: a call that
    /// is held up just before that would only stand still, with nobody to wait for.
    pub alone: bool,
}

/// A launcher's turn at the table.
#[derive(Debug, Default)]
pub struct Turn {
    /// When it was first refused, and when last.
    refused: Option<(u64, u64)>,
}

impl Turn {
    /// As [`raise`], and without the table if that can't be had for too long: whoever may open `calls/` can lock it, and a call
    /// mustn't stand still for that. Then others may be granted the same room, but each no more than is left right now. `now` is
    /// a monotonic clock in ns.
    pub fn raise(&mut self, calls: &Dir, wish: &Wish, room: u64, now: u64) -> u64 {
        match raise(calls, wish, room) {
            Ok(to) => {
                self.refused = None;
                to
            }
            Err(_) if self.has_waited(now) => granted(wish, room, 0),
            Err(_) => wish.high,
        }
    }

    fn has_waited(&mut self, now: u64) -> bool {
        let lately = self.refused.filter(|(_, last)| now.saturating_sub(*last) < APART_NS);
        let since = lately.map_or(now, |(since, _)| since);
        self.refused = Some((since, now));
        now.saturating_sub(since) >= PATIENCE_NS
    }
}

/// Grants a wish as far as the room goes that is left when all raises in force are used up; gives the new high. `EWOULDBLOCK`:
/// somebody else is at the table, try again at the next tick.
fn raise(calls: &Dir, wish: &Wish, room: u64) -> Result<u64, Errno> {
    calls.try_lock()?;
    // Asked for under the lock: whatever others wrote was granted before this, by the same clock.
    let result = raise_locked(calls, wish, room, boottime());
    let _ = calls.unlock();
    result
}

fn raise_locked(calls: &Dir, wish: &Wish, room: u64, now: u64) -> Result<u64, Errno> {
    let mut buf = [0; ENTRIES * ENTRY];
    let mut table = match calls.mark(mark::RESERVE, &mut buf) {
        Ok(bytes) => read(bytes),
        Err(_) => Vec::new(),
    };
    table.retain(|e| e.id != wish.id && e.is_in_force(now));
    let unused = table.iter().map(|e| outstanding(calls, e)).fold(0, u64::saturating_add);
    let to = granted(wish, room, unused);
    if table.len() >= ENTRIES {
        return Ok(wish.high);
    }
    table.push(Entry { id: wish.id, leaf: wish.leaf, high: to, granted: now });
    // Where the table can't be written (no such attributes) each raise still stays within what is left now.
    let _ = calls.set_mark(mark::RESERVE, &written(&table));
    Ok(to)
}

/// How far a wish is granted: `unused` is what others were granted and haven't taken yet.
fn granted(wish: &Wish, room: u64, unused: u64) -> u64 {
    if wish.alone && unused == 0 {
        return wish.wanted;
    }
    let free = room.saturating_sub(unused);
    // What the leaf may take already under its present high is its own.
    let reach = wish.current.max(wish.high.min(wish.current.saturating_add(room))).saturating_add(free);
    let to = wish.wanted.min(reach.max(wish.high));
    if to < wish.high.saturating_add(LEAST).min(wish.wanted) { wish.high } else { to }
}

fn outstanding(calls: &Dir, entry: &Entry) -> u64 {
    let class = crate::class::Class::LEAVES.get((entry.leaf & 0xff) as usize);
    let current = class.and_then(|c| calls.read_u64(&format!("{c}-{}/memory.current", entry.leaf >> 8)).ok());
    // A leaf that is gone takes nothing any more.
    current.map_or(0, |current| entry.high.saturating_sub(current))
}

fn read(bytes: &[u8]) -> Vec<Entry> {
    let field = |entry: &[u8], n: usize| {
        entry.get(n * 8..n * 8 + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_ne_bytes)
    };
    let entries = bytes.chunks_exact(ENTRY);
    entries
        .map(|e| Entry { id: field(e, 0), leaf: field(e, 1), high: field(e, 2), granted: field(e, 3) })
        .collect()
}

fn written(table: &[Entry]) -> Vec<u8> {
    table.iter().flat_map(|e| [e.id, e.leaf, e.high, e.granted]).flat_map(u64::to_ne_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn wish(current: u64, high: u64, wanted: u64) -> Wish {
        Wish { id: 1, leaf: 6, current: current * MIB, high: high * MIB, wanted: wanted * MIB, alone: false }
    }

    #[test]
    fn a_raise_is_granted_whole_where_there_is_room_and_as_far_as_it_goes_elsewhere() {
        let w = wish(250, 256, 512);
        assert_eq!(granted(&w, 4096 * MIB, 0), 512 * MIB);
        assert_eq!(granted(&w, 100 * MIB, 0), (256 + 100) * MIB);
        assert_eq!(granted(&w, 4096 * MIB, 4090 * MIB), (256 + 6) * MIB);
        assert_eq!(granted(&w, 2 * MIB, 0), 256 * MIB, "too little to be worth it");
        assert_eq!(granted(&w, 100 * MIB, 100 * MIB), 256 * MIB, "all of it is promised to others");
    }

    #[test]
    fn a_call_alone_is_not_held_up_before_the_end_of_the_room() {
        let alone = Wish { alone: true, ..wish(250, 256, 512) };
        assert_eq!(granted(&alone, 2 * MIB, 0), 512 * MIB);
        assert_eq!(granted(&alone, 2 * MIB, MIB), 256 * MIB, "what is promised to others is kept");
        assert_eq!(
            granted(&wish(510, 511, 512), 100 * MIB, 0),
            512 * MIB,
            "a last small step to the ceiling is one"
        );
    }

    #[test]
    fn the_table_is_read_as_it_was_written_and_a_broken_one_is_harmless() {
        let table = [Entry { id: 7, leaf: 6 + 256 * 3, high: 1 << 30, granted: 42 }; 3];
        assert_eq!(read(&written(&table)), table);
        assert_eq!(read(b"short"), []);
    }

    #[test]
    fn a_raise_counts_for_a_while_and_one_from_the_future_not_at_all() {
        let entry = |granted| Entry { id: 1, leaf: 6, high: 1 << 40, granted };
        let now = 10 * VALID_NS;
        for (granted, counts) in [
            (now, true),
            (now - VALID_NS + 1, true),
            (now - VALID_NS, false),
            (0, false),
            (now + 1, false),
            (u64::MAX, false),
        ] {
            assert_eq!(entry(granted).is_in_force(now), counts, "{granted}");
        }
    }

    #[test]
    fn who_is_kept_from_the_table_is_raised_without_it_after_a_while() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = || Dir::open_anywhere(tmp.path()).unwrap();
        let (calls, by_anybody) = (dir(), dir());
        by_anybody.try_lock().unwrap();
        let mut turn = Turn::default();
        let mut high_at = |ms: u64| turn.raise(&calls, &wish(250, 256, 512), 100 * MIB, ms * 1_000_000) / MIB;
        assert_eq!([0, 100, 199].map(&mut high_at), [256; 3], "others are waited for");
        assert_eq!(high_at(200), 356, "no further than there is room");
        assert_eq!([900, 1000].map(&mut high_at), [256; 2], "that was another time");
        by_anybody.unlock().unwrap();
        assert_eq!(high_at(1050), 356);
        by_anybody.try_lock().unwrap();
        assert_eq!(high_at(1110), 256, "it has had its turn meanwhile");
    }

    #[test]
    fn many_raises_at_once_do_not_spend_the_same_room() {
        // 64 launchers want 256 MiB more each, and there are 2,048 MiB.
        let (room, mut unused) = (2048 * MIB, 0);
        for _ in 0..64 {
            let w = wish(256, 256, 512);
            unused += granted(&w, room, unused) - w.high;
        }
        assert!(unused <= room, "{unused}");
        assert_eq!(unused, room);
    }
}
