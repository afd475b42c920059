//! Leaves that the helper made ahead (`agentsh-helper attach --strict`): their limits are nobody's to change in the container,
//! so a launcher there makes none and writes nothing. It chooses an idle one of the call's class by its lock, and has the
//! command born in it; the kernel allows that where it would allow cgroup.procs to be written (kernel/cgroup/cgroup.c,
//! cgroup_css_set_fork), and asks about the file, not about the mount.

use super::claim::{Wish, boottime, lock};
use super::dir::{BUFFER, Dir};
use super::files::Files;
use super::leaf::{IDLE_MAX, Leaf, POOL_SIZE, Peak};
use super::limits::LeafLimits;
use super::place::Session;
use super::usage::Counters;
use super::{mark, parse};
use crate::class::Class;
use nix::errno::Errno;

/// How many leaves of each class there are in a `calls/` that the helper has furnished; none where launchers make them.
pub fn leaves(calls: &Dir) -> Option<u64> {
    let mut buf = [0; 8];
    let count = calls.mark(mark::AHEAD, &mut buf).ok()?.try_into().ok()?;
    Some(u64::from_ne_bytes(count).min(POOL_SIZE))
}

/// The limits of a leaf that nobody looks after: without a memory.high, as one that nobody raises ahead of a burst can hold a
/// program up for good.
pub fn unattended(limits: &LeafLimits) -> LeafLimits {
    LeafLimits {
        high: None,
        contended_high: None,
        ceiling: limits.max,
        raise: false,
        freeze: false,
        ..*limits
    }
}

/// Takes an idle leaf of the class, of `count` that there are. `EBUSY` if none is idle, `ENOENT` if there are none.
pub(super) fn claim(session: &Session, class: Class, wish: Wish, count: u64) -> Result<Leaf, Errno> {
    let mut last = Errno::ENOENT;
    for number in 0..count {
        match take(session, class, number, wish) {
            Ok(leaf) => return Ok(leaf),
            Err(Errno::ENOENT) => break,
            Err(e) => last = e,
        }
    }
    Err(last)
}

fn take(session: &Session, class: Class, number: u64, wish: Wish) -> Result<Leaf, Errno> {
    let dir = session.calls.child(&format!("{class}-{number}"))?;
    lock(&dir)?;
    let mut files = Files::default();
    let (state, identity) = (files.state(&dir)?, dir.identity()?);
    if state.populated || state.frozen || identity.killed || identity.children > 0 {
        return Err(Errno::EBUSY);
    }
    // It can't be removed for what is left in it. Page cache goes when the next call needs the room; the rest stays.
    if files.current(&dir).is_some_and(|n| n >= IDLE_MAX) && lasting(&dir) >= IDLE_MAX {
        return Err(Errno::EBUSY);
    }
    let start = Counters::read(&dir, &mut files, true);
    let peak = dir.read_u64("memory.peak").map_or(Peak::Unknown, Peak::Since);
    Ok(Leaf {
        id: identity.id,
        dir,
        class,
        number,
        generation: boottime(),
        reused: true,
        lacks: Vec::new(),
        left: None,
        ahead: true,
        limits: unattended(&wish.limits(session, None)),
        start,
        stalls: None,
        refused: false,
        budget_ooms: 0,
        files,
        end: None,
        peak,
        little: false,
    })
}

/// What is charged to an empty leaf, in bytes, and not simply dropped.
fn lasting(leaf: &Dir) -> u64 {
    let mut buf = [0; BUFFER];
    let Ok(stat) = leaf.read("memory.stat", &mut buf) else { return 0 };
    let key = |key: &[u8]| parse::keyed(stat, key).unwrap_or(0);
    key(b"anon") + key(b"shmem") + key(b"slab_unreclaimable")
}

/// The limits that the leaf has, and which of those wished for it has only looser.
pub(super) fn in_force(leaf: &Dir, wished: &LeafLimits) -> (LeafLimits, Vec<&'static str>) {
    let mut lacks = Vec::new();
    let mut limit = |file: &'static str, wished: Option<u64>| match leaf.read_max(file) {
        Ok(has) => {
            if wished.is_some_and(|wished| has.is_none_or(|has| has > wished)) {
                lacks.push(file);
            }
            has
        }
        Err(_) => {
            lacks.push(file);
            wished
        }
    };
    let (max, swap_max) = (limit("memory.max", wished.max), limit("memory.swap.max", wished.swap_max));
    let pids_max = limit("pids.max", wished.pids_max.map(u64::from)).and_then(|n| u32::try_from(n).ok());
    let weight = leaf.read_u64("cpu.weight").ok().and_then(|n| u16::try_from(n).ok());
    let oom_group = leaf.read_u64("memory.oom.group").map_or(wished.oom_group, |n| n != 0);
    let has = LeafLimits {
        max,
        ceiling: max,
        swap_max,
        pids_max,
        oom_group,
        cpu_weight: weight.unwrap_or(wished.cpu_weight),
        ..*wished
    };
    (has, lacks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::limits::Context;
    use crate::cgroup::limits::tests::explore;
    use std::fs;

    fn leaf(files: &[(&str, &str)]) -> (tempfile::TempDir, Dir) {
        let tmp = tempfile::tempdir().unwrap();
        for (file, text) in files {
            fs::write(tmp.path().join(file), text).unwrap();
        }
        let dir = Dir::open_anywhere(tmp.path()).unwrap();
        (tmp, dir)
    }

    #[test]
    fn nothing_that_has_to_be_looked_after_is_in_force() {
        let limits = unattended(&LeafLimits::of(&explore(), &Context::default()));
        assert_eq!(
            (limits.high, limits.contended_high, limits.raise, limits.freeze),
            (None, None, false, false)
        );
        assert_eq!(limits.max, Some(1 << 30), "the class's own limit stays");
    }

    #[test]
    fn what_stands_on_the_leaf_counts_and_what_is_looser_than_wished_is_named() {
        let wished = unattended(&LeafLimits::of(&explore(), &Context::default()));
        let (_tmp, dir) = leaf(&[
            ("memory.max", "max\n"),
            ("memory.swap.max", "0\n"),
            ("pids.max", "100\n"),
            ("cpu.weight", "7\n"),
            ("memory.oom.group", "0\n"),
        ]);
        let (has, lacks) = in_force(&dir, &wished);
        assert_eq!(lacks, ["memory.max"]);
        assert_eq!((has.max, has.pids_max, has.cpu_weight, has.oom_group), (None, Some(100), 7, false));
    }

    #[test]
    fn a_leaf_without_a_controller_lacks_its_knobs() {
        let (_tmp, dir) = leaf(&[]);
        let wished = unattended(&LeafLimits::of(&explore(), &Context::default()));
        assert_eq!(in_force(&dir, &wished), (wished, vec!["memory.max", "memory.swap.max", "pids.max"]));
    }

    #[test]
    fn page_cache_is_not_what_lasts() {
        let (_tmp, dir) =
            leaf(&[("memory.stat", "anon 4096\nfile 900000000\nshmem 8192\nslab_unreclaimable 1\n")]);
        assert_eq!(lasting(&dir), 4096 + 8192 + 1);
    }
}
