//! How often a call is looked at: so often that no burst gets from here to a limit unseen, and hardly ever where nothing
//! grows. Pure.

const MS: u64 = 1_000_000;
/// The fastest growth that is reckoned with before any is seen, in bytes/ns: what one core's page faults can do at most with
/// huge pages, and a little more.
const FASTEST: u64 = 12;
/// No look is further away than this; none is nearer than that.
const SLOWEST_NS: u64 = 250 * MS;
const SOONEST_NS: u64 = MS;
/// The room above is watched no closer than this.
const ROOM_SOONEST_NS: u64 = 20 * MS;
/// While it gives way to others.
const RESTLESS_NS: u64 = 20 * MS;
/// While its stalls or its forks are being counted.
const WATCHED_NS: u64 = 100 * MS;
/// What hasn't grown for some time is next looked at after a quarter of that time.
const BACK_OFF: u64 = 4;

/// What the pace goes by.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    /// memory.high in bytes, where it may be raised.
    pub high: Option<u64>,
    /// What the call has that can't simply be dropped, in bytes.
    pub work: u64,
    /// Its growth in bytes/s.
    pub rate: u64,
    /// For how long it hasn't grown, in ns.
    pub quiet_ns: u64,
    /// Does the kernel wake us when high is reached? Its penalty begins a hundredth beyond, so that a look is still in time; not
    /// in time enough to rely on where it grows anyway.
    pub told: bool,
    /// How much the level with the least room can still take, in bytes; none without any limit.
    pub room: Option<u64>,
    /// Does it give way to others?
    pub restless: bool,
    /// Are its stalls or its forks being counted?
    pub watched: bool,
}

impl Pace {
    /// The time to the next look, in ns.
    pub fn interval(&self) -> u64 {
        let mut next = self.high_nears().min(self.room_shrinks());
        if self.rate > 0
            && let Some(high) = self.high
        {
            // Half of what is left at the present rate.
            let left = u128::from(high.saturating_sub(self.work)) * 500_000_000 / u128::from(self.rate);
            next = next.min(left.min(u128::from(u64::MAX)) as u64).max(SOONEST_NS);
        }
        if self.restless {
            next = next.min(RESTLESS_NS);
        }
        if self.watched {
            next = next.min(WATCHED_NS);
        }
        next
    }

    /// The fastest burst can't get from here to high unseen. Where the kernel tells of it, only a call that grew lately is
    /// worth that many looks.
    fn high_nears(&self) -> u64 {
        let Some(high) = self.high else { return SLOWEST_NS };
        let unseen = (high.saturating_sub(self.work) / FASTEST).max(5 * MS);
        let backed_off = if self.told { self.quiet_ns / BACK_OFF } else { 0 };
        unseen.max(backed_off).min(SLOWEST_NS)
    }

    /// A leaf without high has none to reach, but may take others' room.
    fn room_shrinks(&self) -> u64 {
        self.room.map_or(SLOWEST_NS, |room| (room / 4).clamp(ROOM_SOONEST_NS, SLOWEST_NS))
    }
}

/// What that many bytes/s come to in so many ns.
pub fn at_rate(rate: u64, ns: u64) -> u64 {
    (u128::from(rate) * u128::from(ns) / 1_000_000_000).min(u128::from(u64::MAX)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn explore() -> Pace {
        Pace { high: Some(256 * MIB), work: 4 * MIB, told: true, ..Pace::default() }
    }

    #[test]
    fn a_young_call_is_looked_at_before_the_fastest_burst_could_reach_its_high() {
        assert_eq!(explore().interval(), 252 * MIB / FASTEST);
        assert_eq!(Pace { work: 255 * MIB, ..explore() }.interval(), 5 * MS);
    }

    #[test]
    fn what_does_not_grow_is_looked_at_ever_less_often_but_never_seldom() {
        let after = |ms: u64| Pace { quiet_ns: ms * MS, ..explore() }.interval();
        assert_eq!(after(50), 252 * MIB / FASTEST);
        assert_eq!((after(400), after(1_000), after(60_000)), (100 * MS, 250 * MS, 250 * MS));
    }

    #[test]
    fn where_the_kernel_would_not_tell_of_a_burst_nothing_is_put_off() {
        let deaf = Pace { quiet_ns: 60_000 * MS, told: false, ..explore() };
        assert_eq!(deaf.interval(), 252 * MIB / FASTEST);
    }

    #[test]
    fn growth_and_little_room_and_giving_way_bring_the_next_look_near() {
        let quiet = Pace { quiet_ns: 60_000 * MS, ..explore() };
        assert_eq!(Pace { rate: 10_000 * MIB, ..quiet }.interval(), 12_600_000);
        assert_eq!(Pace { rate: u64::MAX, ..quiet }.interval(), SOONEST_NS);
        assert_eq!(Pace { room: Some(100 * MIB), ..quiet }.interval(), 100 * MIB / 4);
        assert_eq!(Pace { room: Some(0), ..quiet }.interval(), ROOM_SOONEST_NS);
        assert_eq!(Pace { restless: true, ..quiet }.interval(), RESTLESS_NS);
        assert_eq!(Pace { watched: true, ..quiet }.interval(), WATCHED_NS);
        let open = Pace { high: None, rate: u64::MAX, ..quiet };
        assert_eq!(open.interval(), SLOWEST_NS);
    }
}
