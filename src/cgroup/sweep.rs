//! Leaves whose launcher is gone (SIGKILLed, or left with survivors): whatever lives in them must not stand still, and
//! what is empty must not pile up. Launchers sweep while their command runs, at most once a second a session.

use super::beneath;
use super::claim::boottime;
use super::dir::Dir;
use super::leaf::{IDLE_MAX, POOL_SIZE, nearly_full, unhand};
use super::leftover::Leftover;
use super::news::{self, Killed};
use super::place::Session;
use crate::class::Class;

/// Leaves looked at in one sweep of a launcher.
const BOUND: usize = 256;
const EVERY_NS: u64 = 1_000_000_000;
/// So many leaves at their limit of processes are watched at once.
const SUSPECTS: usize = 4;

/// What a sweep did.
#[derive(Debug, Default)]
pub struct Swept {
    /// Leaves with survivors.
    pub survivors: usize,
    /// Empty leaves removed.
    pub removed: usize,
    /// Leaves at their limit of processes: it may be a server with many workers, or a fork bomb. Locked.
    pub suspects: Vec<Leftover>,
    /// What has been killed meanwhile, and nobody has been told of yet.
    pub news: Vec<Killed>,
}

/// Sweeps, unless somebody has within the last second.
pub fn sweep(session: &Session) -> Swept {
    if session.ahead.is_some() {
        // Nothing can be taken off, removed, or noted there.
        return Swept::default();
    }
    let now = boottime();
    let (last, has_news) = news::swept(&session.calls);
    // A time in the future isn't one of ours, and must not keep us from sweeping for ever.
    let recently = last.and_then(|last| now.checked_sub(last)).is_some_and(|passed| passed < EVERY_NS);
    if !has_news && recently {
        return Swept::default();
    }
    let news = if has_news { news::take(&session.calls) } else { Vec::new() };
    news::set_swept(&session.calls, now);
    Swept { news, ..sweep_some(&session.calls, BOUND) }
}

/// Sweeps at once, and all of it.
pub fn sweep_now(calls: &Dir) -> Swept {
    sweep_some(calls, usize::MAX)
}

fn sweep_some(calls: &Dir, most: usize) -> Swept {
    let mut swept = Swept::default();
    for name in some_of(calls.children(usize::MAX).unwrap_or_default(), most, boottime()) {
        if beneath::is_name(&name) {
            beneath_it(calls, &name, most, &mut swept);
            continue;
        }
        let Some(number) = number_of(&name) else { continue };
        let Ok(leaf) = calls.child(&name) else { continue };
        if leaf.try_lock().is_err() {
            continue;
        }
        match leaf.populated() {
            Ok(true) => {
                swept.survivors += 1;
                unhand(&leaf);
                if swept.suspects.len() < SUSPECTS && nearly_full(&leaf) {
                    swept.suspects.extend(Leftover::of(leaf));
                }
            }
            Ok(false) => {
                let full = leaf.read_u64("memory.current").is_ok_and(|n| n >= IDLE_MAX);
                if (number >= POOL_SIZE || full) && calls.remove_child(&name).is_ok() {
                    swept.removed += 1;
                }
            }
            Err(_) => {}
        }
    }
    swept
}

/// So many of them, from some place on. The kernel lists cgroups in an order that stays: behind those that stay, too, the others
/// would never be looked at.
fn some_of(mut names: Vec<String>, most: usize, place: u64) -> Vec<String> {
    if names.len() > most {
        let place = place % names.len() as u64;
        names.rotate_left(place as usize);
        names.truncate(most);
    }
    names
}

/// Of an agent that a call has started: its session goes when nobody lives in it, and its leaves are swept as ours.
fn beneath_it(calls: &Dir, name: &str, most: usize, swept: &mut Swept) {
    let Some(theirs) = beneath::sweep(calls, name) else { return };
    // As deep as cgroup.max.depth lets them lie.
    let theirs = sweep_some(&theirs, most);
    swept.survivors += theirs.survivors;
    swept.removed += theirs.removed;
    swept.suspects.extend(theirs.suspects);
    swept.suspects.truncate(SUSPECTS);
}

fn number_of(name: &str) -> Option<u64> {
    Class::of_leaf(name)?;
    name.rsplit_once('-')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_leaves_each_is_among_those_looked_at_sooner_or_later() {
        let names: Vec<String> = (0..10).map(|n| format!("test-{n}")).collect();
        assert_eq!(some_of(names.clone(), 10, 3), names);
        assert_eq!(some_of(names.clone(), 3, 29), ["test-9", "test-0", "test-1"]);
        for name in &names {
            let seen = (0..10).filter(|&place| some_of(names.clone(), 3, place).contains(name));
            assert_eq!(seen.count(), 3, "{name}");
        }
    }
}
