//! What a call has left behind, watched for a while: it may be a server, which is left in peace, or a fork bomb whose shell
//! has ended, which is ended too.
//!
//! The law ([`Watch`]) is pure; [`Leftover`] looks and acts. Whoever watches holds the leaf's lock.

use super::claim::boottime;
use super::dir::{Dir, Kept};
use super::forks::Forks;
use super::{mark, parse};
use crate::class::Class;
use nix::fcntl::OFlag;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::{Duration, Instant};

const MS: u64 = 1_000_000;
/// The first look comes after this; each further one after twice the time.
const SOONEST: Duration = Duration::from_millis(20);
/// Not later than this, once nothing seems to happen.
const SLOWEST: Duration = Duration::from_millis(500);
/// And no later than this once forks are refused.
const REFUSING: Duration = Duration::from_millis(200);
/// Neither more processes nor a refused fork for so long: it is left in peace. A program may be slow to start on a busy
/// machine, and what is full may be waiting for its next try, which comes after 8 s at the latest.
const QUIET_NS: u64 = super::forks::WINDOW_NS;
/// Nobody is watched for longer, unless forks are being refused …
const LONG_NS: u64 = 60_000 * MS;
/// … and nobody at all for longer than this.
const LONGEST_NS: u64 = 120_000 * MS;
/// What was killed is gone within this time, or will be without us.
const GONE: Duration = Duration::from_secs(10);

/// What is seen of a leaf at one look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// A clock in ns.
    pub now: u64,
    /// Does anybody live in it?
    pub populated: bool,
    /// pids.current.
    pub tasks: u64,
    /// pids.max.
    pub limit: u64,
    /// pids.events:max.
    pub refused: u64,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Look again after this time.
    Wait(Duration),
    /// Nobody is left, or nothing to fear.
    Leave,
    /// It is a bomb.
    Kill,
}

/// The law of watching: pure.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    forks: Forks,
    begun: Option<u64>,
    most: u64,
    /// When there were last more processes than ever before.
    grew: u64,
    wait: Duration,
}

impl Watch {
    /// Decides.
    pub fn step(&mut self, seen: &Seen) -> Step {
        if !seen.populated {
            return Step::Leave;
        }
        let begun = *self.begun.get_or_insert(seen.now);
        if seen.tasks > self.most {
            (self.most, self.grew) = (seen.tasks, seen.now);
        }
        let full = seen.tasks >= seen.limit - seen.limit / 10;
        if self.forks.is_bomb(seen.now, seen.refused, seen.limit, full) {
            return Step::Kill;
        }
        let refusing = self.forks.recent();
        let watched = seen.now.saturating_sub(begun);
        let quiet = !refusing && seen.now.saturating_sub(self.grew) >= QUIET_NS;
        if quiet || watched >= LONG_NS && !refusing || watched >= LONGEST_NS {
            return Step::Leave;
        }
        self.wait = (self.wait * 2).clamp(SOONEST, if refusing { REFUSING } else { SLOWEST });
        Step::Wait(self.wait)
    }
}

/// A populated leaf without a launcher, locked by us.
#[derive(Debug)]
pub struct Leftover {
    dir: Dir,
    /// Its class: what the call was.
    pub class: Class,
    /// pids.max.
    pub limit: u64,
    watch: Watch,
    due: u64,
    files: Option<(Kept, Kept, Kept)>,
}

impl Leftover {
    /// What lives in this leaf, which the caller has locked; none where nothing counts its processes or limits them.
    pub fn of(dir: Dir) -> Option<Leftover> {
        let limit = dir.read_max("pids.max").ok()??;
        let class = Class::of_leaf(dir.name())?;
        Some(Leftover { dir, class, limit, watch: Watch::default(), due: 0, files: None })
    }

    /// The leaf's name.
    pub fn name(&self) -> &str {
        self.dir.name()
    }

    /// The leaf.
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// The cgroup's id and the generation of its last use, as the log has them.
    pub fn identity(&self) -> (u64, u64) {
        let id = self.dir.identity().map_or(0, |i| i.id);
        let mut buf = [0; 16];
        let generation = self.dir.mark(mark::LEAF, &mut buf).ok().and_then(|m| m.get(..8)?.try_into().ok());
        (id, generation.map_or(0, u64::from_ne_bytes))
    }

    /// Looks, if it is time to.
    pub fn look(&mut self, now: u64) -> Step {
        if now < self.due {
            return Step::Wait(Duration::from_nanos(self.due - now));
        }
        let Some(seen) = self.see(now) else { return Step::Leave };
        let step = self.watch.step(&seen);
        if let Step::Wait(time) = step {
            self.due = now.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        }
        step
    }

    /// cgroup.events, which POLLPRI tells of: somebody may have become nobody. From the first look on.
    pub fn events(&self) -> Option<RawFd> {
        self.files.as_ref().map(|(events, ..)| events.as_fd().as_raw_fd())
    }

    /// POLLPRI came: the next look is due.
    pub fn hurry(&mut self) {
        self.due = 0;
    }

    /// The descriptors that must stay open for it.
    pub fn keep(&self, fds: &mut Vec<RawFd>) {
        fds.push(self.dir.as_fd().as_raw_fd());
        if let Some((events, current, refused)) = &self.files {
            fds.extend([events, current, refused].map(|file| file.as_fd().as_raw_fd()));
        }
    }

    /// Ends every process of it, and sees to it that they are gone. Are they?
    pub fn end(&self) -> bool {
        if self.dir.kill().is_err() {
            return false;
        }
        let end = Instant::now() + GONE;
        while self.dir.populated() == Ok(true) {
            if Instant::now() >= end {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }

    /// None if it has been removed underneath.
    fn see(&mut self, now: u64) -> Option<Seen> {
        if self.files.is_none() {
            let keep = |file| self.dir.keep(file, OFlag::O_RDONLY).ok();
            self.files = Some((keep("cgroup.events")?, keep("pids.current")?, keep("pids.events")?));
        }
        let (events, current, refused) = self.files.as_ref()?;
        let mut buf = [0; 256];
        let populated = parse::keyed(events.read(&mut buf).ok()?, b"populated")? != 0;
        let tasks = current.read_u64().ok()?;
        let refused = parse::keyed(refused.read(&mut buf).ok()?, b"max")?;
        Some(Seen { now, populated, tasks, limit: self.limit, refused })
    }
}

/// Looks at some leaves in turn; those that turn out to be bombs are ended and given back.
pub fn watch(all: &mut Vec<Leftover>) -> Vec<Leftover> {
    let (now, mut bombs, mut at) = (boottime(), Vec::new(), 0);
    while at < all.len() {
        match all[at].look(now) {
            Step::Wait(_) => at += 1,
            Step::Leave => drop(all.swap_remove(at)),
            Step::Kill => {
                let bomb = all.swap_remove(at);
                if bomb.dir().kill().is_ok() {
                    bombs.push(bomb);
                }
            }
        }
    }
    bombs
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks as often as asked for; gives the step that ended it and after how many ms.
    fn watched(see: impl Fn(u64) -> (u64, u64)) -> (Step, u64) {
        let mut watch = Watch::default();
        let mut ms = 0;
        loop {
            let (tasks, refused) = see(ms);
            let seen = Seen { now: ms * MS, populated: tasks > 0, tasks, limit: 150, refused };
            match watch.step(&seen) {
                Step::Wait(time) => ms += u64::try_from(time.as_millis()).unwrap(),
                step => return (step, ms),
            }
        }
    }

    #[test]
    fn a_bomb_is_ended_a_few_seconds_after_it_has_met_the_limit() {
        // As seen in the virtual machine: 24 processes at its shell's end, full 2 s later, and then bursts.
        let (step, ms) = watched(|ms| ((24 + ms * 70 / 1000).min(150), ms.saturating_sub(2000) / 10));
        assert_eq!(step, Step::Kill);
        assert!((5000..=6000).contains(&ms), "{ms}");
    }

    #[test]
    fn a_quiet_server_is_watched_for_ten_seconds() {
        let (step, ms) = watched(|ms| (1 + ms.min(900) / 100, 0));
        assert_eq!(step, Step::Leave);
        assert!((10_800..=11_500).contains(&ms), "{ms}");
    }

    #[test]
    fn what_ends_is_left_at_once() {
        let (step, ms) = watched(|ms| (u64::from(ms < 1000), 0));
        assert_eq!(step, Step::Leave);
        assert!(ms <= 1500, "{ms}");
    }

    #[test]
    fn a_pool_as_large_as_the_limit_is_left_in_peace() {
        let (step, ms) = watched(|ms| (150, ms.min(900) / 10));
        assert_eq!(step, Step::Leave);
        assert!(ms <= 15_000, "{ms}");
    }

    #[test]
    fn nothing_is_watched_for_longer_than_two_minutes() {
        assert!(matches!(watched(|ms| (1 + ms / 1000, 0)), (Step::Leave, 60_000..=61_000)));
        assert!(matches!(watched(|ms| (100, ms)), (Step::Leave, 120_000..=121_000)));
    }
}
