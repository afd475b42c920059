//! For how long a call was held by the scheduler: summed over the holds that its map still knows (`struct hold_episode` of
//! bpf/agentsh.h, the last 1,024).

use super::pins;
use super::stats::CallStats;
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// The pin of the map; it is there while the scheduler is loaded.
const MAP: &str = "sched_hold_episodes";

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
        let word =
            |at: usize| -> Option<u64> { Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?)) };
        let (cgroup_id, began, ended) = (word(0)?, word(8)?, word(16)?);
        let ended_ns = if ended == 0 { 0 } else { ended + behind_ns };
        (cgroup_id != 0 && began != 0).then_some(Hold { cgroup_id, began_ns: began + behind_ns, ended_ns })
    }
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
    fn an_empty_place_of_the_map_is_no_hold() {
        let mut bytes = [0; 56];
        assert_eq!(Hold::decode(&bytes, 5), None);
        (bytes[0], bytes[8]) = (1, 2);
        assert_eq!(Hold::decode(&bytes, 5), Some(Hold { cgroup_id: 1, began_ns: 7, ended_ns: 0 }));
        assert_eq!(Hold::decode(&bytes[..20], 5), None);
    }
}
