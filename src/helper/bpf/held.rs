//! For how long a call was held by the scheduler: summed over the holds that its map still knows (`struct hold_episode` of
//! bpf/agentsh.h, the last 1,024).

use super::keep;
use super::pins;
use super::stats::CallStats;
use anyhow::{Context, Result};
use libbpf_rs::{MapCore, MapFlags, MapHandle, OpenMapMut};
use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// The pin of the map; it is there while the scheduler is loaded.
pub const MAP: &str = "sched_hold_episodes";
/// The pin of what all of them come to, `struct hold_totals`.
pub const TOTALS: &str = "sched_hold_totals";
/// Places in these structs, in bytes.
const EPISODE_BEGAN: usize = 8;
const EPISODE_ENDED: usize = 16;
const TOTALS_HOLDS: usize = 0;
const TOTALS_HELD: usize = 8;
/// How many calls there are and are held: what a scheduler that comes counts anew.
const TOTALS_NOW: std::ops::Range<usize> = 32..48;

/// One hold; its times are CLOCK_BOOTTIME in ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hold {
    cgroup_id: u64,
    began_ns: u64,
    /// 0 while it lasts.
    ended_ns: u64,
}

impl Hold {
    /// From the map's value, whose times are CLOCK_MONOTONIC; none if nothing stands there.
    fn decode(bytes: &[u8], behind_ns: u64) -> Option<Hold> {
        let (cgroup_id, began, ended) =
            (word(bytes, 0)?, word(bytes, EPISODE_BEGAN)?, word(bytes, EPISODE_ENDED)?);
        let ended_ns = if ended == 0 { 0 } else { ended + behind_ns };
        (cgroup_id != 0 && began != 0).then_some(Hold { cgroup_id, began_ns: began + behind_ns, ended_ns })
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn put(bytes: &mut [u8], at: usize, value: u64) {
    if let Some(place) = bytes.get_mut(at..at + 8) {
        place.copy_from_slice(&value.to_ne_bytes());
    }
}

/// Has a scheduler that isn't loaded yet go on with what the one before has counted.
pub fn take_over(totals: &mut OpenMapMut<'_>, episodes: &mut OpenMapMut<'_>) -> Result<()> {
    keep::take_over(totals, TOTALS)?;
    keep::take_over(episodes, MAP)?;
    Ok(())
}

/// Ends, in those counts, what was going on when the scheduler before ended: it held nobody from then on.
pub fn close(totals: &impl MapCore, episodes: &impl MapCore) -> Result<()> {
    let (first, ended) = (0u32.to_ne_bytes(), now(ClockId::CLOCK_MONOTONIC));
    let Some(mut all) = totals.lookup(&first, MapFlags::ANY).context("reading holding's totals")? else {
        return Ok(());
    };
    let used = word(&all, TOTALS_HOLDS).unwrap_or(0).min(episodes.max_entries().into());
    let mut held = word(&all, TOTALS_HELD).unwrap_or(0);
    for index in 0..u32::try_from(used)? {
        let key = index.to_ne_bytes();
        let Some(mut episode) = episodes.lookup(&key, MapFlags::ANY).context("reading a hold")? else {
            continue;
        };
        if let Some(lasted) = end(&mut episode, ended) {
            held += lasted;
            episodes.update(&key, &episode, MapFlags::ANY).context("ending a hold")?;
        }
    }
    put(&mut all, TOTALS_HELD, held);
    all.get_mut(TOTALS_NOW).unwrap_or_default().fill(0);
    totals.update(&first, &all, MapFlags::ANY).context("writing holding's totals")
}

/// Ends a hold that lasts: for how long it did, in ns. None if it had ended, or is none.
fn end(episode: &mut [u8], at: u64) -> Option<u64> {
    let (began, ended) = (word(episode, EPISODE_BEGAN)?, word(episode, EPISODE_ENDED)?);
    if began == 0 || ended != 0 {
        return None;
    }
    put(episode, EPISODE_ENDED, at);
    Some(at.saturating_sub(began))
}

/// Adds to each call how long it was held. Where nothing holds they are left as they are.
pub fn add_to(calls: &mut [CallStats]) {
    let Ok(map) = MapHandle::from_pinned_path(pins::map(MAP)) else { return };
    let (monotonic, boottime) = (now(ClockId::CLOCK_MONOTONIC), now(ClockId::CLOCK_BOOTTIME));
    let behind = boottime.saturating_sub(monotonic);
    let holds: Vec<Hold> =
        map.keys().filter_map(|key| Hold::decode(&map.lookup(&key, MapFlags::ANY).ok()??, behind)).collect();
    for call in calls {
        call.held_ns = Some(held(call, &holds, boottime));
    }
}

/// The holds of a call, all together, until now at most. Another use of the same leaf began later, or ended before.
fn held(call: &CallStats, holds: &[Hold], now: u64) -> u64 {
    let end = if call.ended_ns == 0 { now } else { call.ended_ns };
    let of_call = holds.iter().filter(|hold| hold.cgroup_id == call.cgroup_id);
    let during = of_call.filter(|hold| (call.began_ns..=end).contains(&hold.began_ns));
    during
        .map(|hold| {
            if hold.ended_ns == 0 { end } else { hold.ended_ns.min(end) }.saturating_sub(hold.began_ns)
        })
        .sum()
}

fn now(clock: ClockId) -> u64 {
    let now = clock_gettime(clock).map(Duration::from).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::helper::bpf::shared::tests::layout;

    #[test]
    fn a_call_was_held_for_as_long_as_its_own_holds_lasted() {
        let hold = |cgroup_id, began_ns, ended_ns| Hold { cgroup_id, began_ns, ended_ns };
        let holds = [hold(7, 150, 160), hold(7, 170, 0), hold(8, 150, 199), hold(7, 320, 0), hold(7, 50, 90)];
        let call =
            |began_ns, ended_ns| CallStats { cgroup_id: 7, began_ns, ended_ns, ..CallStats::default() };
        assert_eq!(
            held(&call(100, 200), &holds, 1000),
            10 + 30,
            "the one without an end ended with the call"
        );
        assert_eq!(held(&call(300, 0), &holds, 1000), 680);
        assert_eq!(held(&call(400, 500), &holds, 1000), 0);
    }

    #[test]
    fn a_hold_that_lasts_when_the_scheduler_ends_has_ended_then() {
        let mut episode = [0; 56];
        assert_eq!(end(&mut episode, 500), None, "an empty place");
        (episode[0], episode[EPISODE_BEGAN]) = (1, 100);
        assert_eq!(end(&mut episode, 500), Some(400));
        assert_eq!(Hold::decode(&episode, 0), Some(Hold { cgroup_id: 1, began_ns: 100, ended_ns: 500 }));
        assert_eq!(end(&mut episode, 600), None, "once");
    }

    #[test]
    fn counts_are_where_the_program_has_them() {
        let place = |of: &str, name: &str| {
            let (members, _) = layout("agentsh_sched", of);
            members.iter().find(|(member, _)| member == name).map(|(_, at)| *at)
        };
        assert_eq!(place("hold_episode", "began_ns"), Some(EPISODE_BEGAN));
        assert_eq!(place("hold_episode", "ended_ns"), Some(EPISODE_ENDED));
        assert_eq!(place("hold_totals", "holds"), Some(TOTALS_HOLDS));
        assert_eq!(place("hold_totals", "held_ns"), Some(TOTALS_HELD));
        assert_eq!(place("hold_totals", "calls"), Some(TOTALS_NOW.start));
        assert_eq!(place("hold_totals", "now"), Some(TOTALS_NOW.end - 8));
    }

    #[test]
    fn an_empty_place_of_the_map_is_no_hold() {
        let mut bytes = [0; 56];
        assert_eq!(Hold::decode(&bytes, 5), None);
        (bytes[0], bytes[8]) = (1, 2);
        assert_eq!(Hold::decode(&bytes, 5), Some(Hold { cgroup_id: 1, began_ns: 7, ended_ns: 0 }));
        assert_eq!(Hold::decode(&bytes[..20], 5), None);
    }
}
