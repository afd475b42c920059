//! Leaves whose launcher is gone (SIGKILLed, or left with survivors): whatever lives in them must not stand still, and
//! what is empty must not pile up. Launchers sweep while their command runs, at most once a second a session.

use super::claim::boottime;
use super::dir::Dir;
use super::leaf::{IDLE_MAX, POOL_SIZE, kill, nearly_full, unhand};
use super::mark;
use super::place::Session;
use crate::class::Class;
use nix::errno::Errno;

/// Leaves looked at in one sweep.
const BOUND: usize = 256;
const EVERY_NS: u64 = 1_000_000_000;

/// What a sweep did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Leaves with survivors.
    pub survivors: usize,
    /// Empty leaves removed.
    pub removed: usize,
    /// Leaves whose leftovers kept forking against their limit, and were killed: their names.
    pub bombs: Vec<String>,
}

/// Sweeps, unless somebody has within the last second.
pub fn sweep(session: &Session) -> Swept {
    let now = boottime();
    let mut buf = [0; 8];
    let last = session.calls.mark(mark::SWEPT, &mut buf).ok().and_then(|b| b.try_into().ok());
    if last.is_some_and(|l| now.saturating_sub(u64::from_ne_bytes(l)) < EVERY_NS) {
        return Swept::default();
    }
    let _ = session.calls.set_mark(mark::SWEPT, &now.to_ne_bytes());
    sweep_now(&session.calls)
}

/// Sweeps at once.
pub fn sweep_now(calls: &Dir) -> Swept {
    let mut swept = Swept::default();
    for name in calls.children(BOUND).unwrap_or_default() {
        let Some(number) = number_of(&name) else { continue };
        let Ok(leaf) = calls.child(&name) else { continue };
        if leaf.try_lock().is_err() {
            continue;
        }
        match leaf.populated() {
            Ok(true) => {
                swept.survivors += 1;
                if leftover(&leaf) {
                    swept.bombs.push(name);
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

/// Treats a populated leaf that nobody watches over: nothing of ours may make it stand still, and a fork bomb that is still
/// running against its limit ends. Was it one?
pub fn leftover(leaf: &Dir) -> bool {
    unhand(leaf);
    // Full, and still refused forks while we look: a server with many workers is full at most.
    if !nearly_full(leaf) {
        return false;
    }
    let refused = || leaf.read_key("pids.events", "max").unwrap_or(0);
    let before = refused();
    std::thread::sleep(std::time::Duration::from_millis(5));
    refused() > before && kill(leaf) == Ok::<(), Errno>(())
}

fn number_of(name: &str) -> Option<u64> {
    Class::of_leaf(name)?;
    name.rsplit_once('-')?.1.parse().ok()
}
