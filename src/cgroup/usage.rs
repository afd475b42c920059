//! What a call has used and what the kernel did to it: counters of its leaf, by difference.

use super::dir::{Dir, SHORT};
use super::files::{Files, Name};
use super::parse::{keyed, pressure};
use crate::sys::process::Used;
use std::path::PathBuf;
use std::time::Duration;

/// Counters that only grow; those of a reused leaf begin where the last call left them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // as the files' keys
pub struct Counters {
    pub low: u64,
    pub high: u64,
    pub max: u64,
    pub oom: u64,
    pub oom_kill: u64,
    pub oom_group_kill: u64,
    /// pids.events:max.
    pub pids_max: u64,
    pub cpu_user_us: u64,
    pub cpu_sys_us: u64,
}

impl Counters {
    /// Reads a leaf's counters; what isn't there (a controller, PSI, the leaf itself) stays 0. The CPU time, for which the kernel
    /// gathers all that the leaf's CPUs have counted, only where it is asked for.
    pub fn read(leaf: &Dir, files: &mut Files, with_cpu: bool) -> Counters {
        let mut counters = Counters::default();
        let mut buf = [0; SHORT];
        if let Ok(text) = files.read(leaf, Name::Events, &mut buf) {
            let key = |k: &[u8]| keyed(text, k).unwrap_or(0);
            counters.low = key(b"low");
            counters.high = key(b"high");
            counters.max = key(b"max");
            counters.oom = key(b"oom");
            counters.oom_kill = key(b"oom_kill");
            counters.oom_group_kill = key(b"oom_group_kill");
        }
        if let Ok(text) = files.read(leaf, Name::Pids, &mut buf) {
            counters.pids_max = keyed(text, b"max").unwrap_or(0);
        }
        if with_cpu && let Ok(text) = files.read(leaf, Name::Cpu, &mut buf) {
            counters.cpu_user_us = keyed(text, b"user_usec").unwrap_or(0);
            counters.cpu_sys_us = keyed(text, b"system_usec").unwrap_or(0);
        }
        counters
    }

    /// The CPU time, where it wasn't read: what was there at the start and what has been used since.
    pub fn add_cpu(&mut self, start: &Counters, used: &Used) {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.cpu_user_us = start.cpu_user_us.saturating_add(micros(used.user));
        self.cpu_sys_us = start.cpu_sys_us.saturating_add(micros(used.system));
    }

    /// All of them, in the order of the fields.
    pub fn words(&self) -> [u64; 9] {
        [
            self.low,
            self.high,
            self.max,
            self.oom,
            self.oom_kill,
            self.oom_group_kill,
            self.pids_max,
            self.cpu_user_us,
            self.cpu_sys_us,
        ]
    }

    /// The reverse of [`Counters::words`].
    pub fn of_words(words: [u64; 9]) -> Counters {
        let [low, high, max, oom, oom_kill, oom_group_kill, pids_max, cpu_user_us, cpu_sys_us] = words;
        Counters { low, high, max, oom, oom_kill, oom_group_kill, pids_max, cpu_user_us, cpu_sys_us }
    }

    /// What was added since `start`.
    pub fn since(&self, start: &Counters) -> Counters {
        let (now, then) = (self.words(), start.words());
        Counters::of_words(std::array::from_fn(|i| now[i].saturating_sub(then[i])))
    }
}

/// How long a leaf's processes stood still, in µs: the totals of its pressure files, which only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // as the log's fields
pub struct Stalls {
    pub memory_some_us: u64,
    pub memory_full_us: u64,
    pub cpu_some_us: u64,
    pub io_some_us: u64,
}

impl Stalls {
    /// Reads them; none without PSI.
    pub fn read(leaf: &Dir) -> Option<Stalls> {
        let total = |file| pressure(leaf.read(file, &mut [0; SHORT]).ok()?);
        let (memory_some_us, full) = total("memory.pressure")?;
        let some = |file| total(file).map_or(0, |(some, _)| some);
        let (cpu_some_us, io_some_us) = (some("cpu.pressure"), some("io.pressure"));
        Some(Stalls { memory_some_us, memory_full_us: full.unwrap_or(0), cpu_some_us, io_some_us })
    }

    /// What was added since `start`.
    pub fn since(&self, start: &Stalls) -> Stalls {
        Stalls {
            memory_some_us: self.memory_some_us.saturating_sub(start.memory_some_us),
            memory_full_us: self.memory_full_us.saturating_sub(start.memory_full_us),
            cpu_some_us: self.cpu_some_us.saturating_sub(start.cpu_some_us),
            io_some_us: self.io_some_us.saturating_sub(start.io_some_us),
        }
    }
}

/// What a call has used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The most memory it had at once, in bytes; none without the memory controller.
    pub memory_peak: Option<u64>,
    /// The counters' growth.
    pub counters: Counters,
    /// The stalls; none of a call that is over too soon for any, or without PSI.
    pub stalls: Option<Stalls>,
    /// Does anything live on in the leaf?
    pub populated_after: bool,
    /// Whose limit the OOM killer acted for, if it took a process of this call.
    pub oom_owner: Option<LimitOwner>,
}

/// Whose limit it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitOwner {
    /// The leaf's own memory.max, in bytes.
    Leaf(Option<u64>),
    /// The budget of all calls.
    Budget(Option<u64>),
    /// A cgroup above the session's `calls/`.
    Above {
        /// Its directory.
        path: PathBuf,
        /// Its memory.max.
        limit: Option<u64>,
    },
    /// None: the machine itself ran out of memory.
    Machine,
}

/// Levels above `calls/` that are looked at.
const LEVELS: usize = 16;

/// Whose limit an OOM kill in the leaf was for. A leaf that shows `oom_kill` but neither `max` nor `oom` did not reach its
/// own limit; then it is the nearest limited cgroup above that saw an OOM of its own. `ooms_before` is [`local_ooms`] of
/// `calls/` when the call began.
pub fn oom_owner(grown: &Counters, ooms_before: u64, leaf: &Dir, calls: &Dir) -> Option<LimitOwner> {
    if grown.oom_kill == 0 && grown.oom_group_kill == 0 {
        return None;
    }
    let budget_hit = local_ooms(calls) > ooms_before;
    if grown.oom > 0 || grown.max > 0 && !budget_hit {
        return Some(LimitOwner::Leaf(leaf.read_max("memory.max").unwrap_or(None)));
    }
    if budget_hit {
        return Some(LimitOwner::Budget(calls.read_max("memory.max").unwrap_or(None)));
    }
    for path in calls.path().ancestors().skip(1).take(LEVELS) {
        let Ok(dir) = Dir::open(path) else { break };
        let limit = dir.read_max("memory.max").unwrap_or(None);
        if limit.is_some() && local_ooms(&dir) > 0 {
            return Some(LimitOwner::Above { path: path.to_owned(), limit });
        }
    }
    Some(LimitOwner::Machine)
}

/// OOMs for this cgroup's own limit, not those of its children's.
pub fn local_ooms(dir: &Dir) -> u64 {
    dir.read_key("memory.events.local", "oom").unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn counters_are_read_from_a_leaf_s_files_and_missing_ones_are_zero() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = Dir::open_anywhere(tmp.path()).unwrap();
        assert_eq!(Counters::read(&dir, &mut Files::default(), true), Counters::default());
        let file = |name: &str, text: &str| fs::write(tmp.path().join(name), text).unwrap();
        file("memory.events", "low 0\nhigh 7\nmax 2\noom 1\noom_kill 3\noom_group_kill 1\n");
        file("pids.events", "max 4\n");
        file("cpu.stat", "usage_usec 9\nuser_usec 5\nsystem_usec 4\n");
        file(
            "memory.pressure",
            "some avg10=0.00 avg60=0.00 avg300=0.00 total=11\nfull avg10=0 avg60=0 avg300=0 total=6\n",
        );
        file("io.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=8\n");
        let read = Counters::read(&dir, &mut Files::default(), true);
        assert_eq!((read.high, read.max, read.oom, read.oom_kill, read.pids_max), (7, 2, 1, 3, 4));
        assert_eq!((read.cpu_user_us, read.cpu_sys_us), (5, 4));
        let stalls = Stalls { memory_some_us: 11, memory_full_us: 6, cpu_some_us: 0, io_some_us: 8 };
        assert_eq!(Stalls::read(&dir), Some(stalls));
        assert_eq!(
            stalls.since(&Stalls { io_some_us: 3, ..stalls }),
            Stalls { io_some_us: 5, ..Stalls::default() }
        );
        let earlier = Counters { high: 5, ..read };
        assert_eq!(read.since(&earlier), Counters { high: 2, ..Counters::default() });
        assert_eq!(Counters::of_words(read.words()), read);
    }

    #[test]
    fn the_limit_s_owner_is_the_leaf_if_it_hit_its_own_else_one_above() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = Dir::open_anywhere(tmp.path()).unwrap();
        fs::write(tmp.path().join("memory.max"), "1048576\n").unwrap();
        fs::write(tmp.path().join("memory.events.local"), "oom 4\n").unwrap();
        let owner = |counters: Counters, before: u64| oom_owner(&counters, before, &dir, &dir);
        let killed = Counters { oom_kill: 1, ..Counters::default() };
        assert_eq!(owner(Counters::default(), 3), None, "nothing was killed by the kernel");
        assert_eq!(owner(Counters { oom: 1, ..killed }, 4), Some(LimitOwner::Leaf(Some(1 << 20))));
        assert_eq!(owner(killed, 3), Some(LimitOwner::Budget(Some(1 << 20))));
        assert_eq!(owner(Counters { max: 9, ..killed }, 3), Some(LimitOwner::Budget(Some(1 << 20))));
        assert_eq!(owner(Counters { max: 9, ..killed }, 4), Some(LimitOwner::Leaf(Some(1 << 20))));
        assert_eq!(owner(killed, 4), Some(LimitOwner::Machine));
    }
}
