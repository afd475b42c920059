//! Must a call give way, and how far: judged from what is left and from who else is running. Pure.

use super::peers::{Peer, WORTH_KILLING};
use super::terms::{Terms, share};

const MIB: u64 = 1 << 20;
/// So little is left that the kernel's OOM killer is next.
pub const LAST: u64 = 24 * MIB;
/// And here those who come first have taken what they may, so that who stands still does so for want of memory. Further away it
/// sleeps off the kernel's penalty for a rush, as long as it must, though what it needs is there.
pub const VERGE: u64 = 6 * MIB;
/// And here nobody can be looked at any more: each file that is opened takes some.
pub const WALL: u64 = 2 * MIB;

/// Do calls of higher priority need the memory?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strain {
    /// There is enough for all.
    #[default]
    None,
    /// What is left can't cover what they may still take.
    Tight,
    /// And it is so little that nobody who gives way may take any of it.
    Last,
    /// They stand still for want of it, and this call is the first to give way.
    Critical,
}

/// What is left, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Ahead {
    /// Now.
    pub left: u64,
    /// To the nearest memory.max.
    pub until_oom: u64,
    /// When whoever is to stop has been stopped.
    pub next: u64,
    /// When a kill has had its effect.
    pub soon: u64,
}

/// Must this call give way, given what is left and who else is running? What it leaves to others out of courtesy bounds its
/// raises only: what they may take is reckoned here, one by one.
///
/// That little is left is no reason to kill, as long as those who come first do without more (the [`super::brake`] has them
/// show it): of two calls stopped near their peaks beside a third that needs no more than it has, one would end for nothing.
pub fn judge(ahead: &Ahead, mine: &Peer, peers: &[Peer], terms: &Terms) -> Strain {
    let need = claims_on(mine, peers, terms);
    let covered = |need: u64| need == 0 || ahead.next >= need.saturating_add(terms.creep);
    if covered(need) {
        return Strain::None;
    }
    if ahead.soon.min(ahead.left) >= LAST || ahead.left >= need {
        return Strain::Tight;
    }
    let mut others = peers.iter().filter(|p| p.id != mine.id);
    let first = !others.clone().any(|p| mine.outranks(p) && p.current >= WORTH_KILLING);
    // Who gives way itself stands still for that; unless this call, which matters less, holds what it would go on with.
    let freed = ahead.next.saturating_add(mine.current);
    let more = |p: &Peer| (p.session, p.rank) > (mine.session, mine.rank);
    let in_want = |p: &Peer| {
        let need = claims_on(p, peers, terms);
        let for_want = match covered(need) {
            true => ahead.left < VERGE || p.unattended,
            false => more(p) && freed >= need.saturating_add(terms.creep),
        };
        p.stands && claim(p, mine, terms) > 0 && for_want
    };
    let wanted = ahead.until_oom < WALL || others.any(in_want);
    if wanted && first && mine.current >= WORTH_KILLING { Strain::Critical } else { Strain::Last }
}

/// What the others must be left by this one, in bytes.
fn claims_on(mine: &Peer, peers: &[Peer], terms: &Terms) -> u64 {
    let others = peers.iter().filter(|p| p.id != mine.id);
    others.fold(0, |sum, p| sum.saturating_add(claim(p, mine, terms)))
}

/// What `from` must leave to this call: all that it may still take; but little if it only is the older, as two of a kind that
/// each kept room for the other's growth would mostly wait for each other.
fn claim(of: &Peer, from: &Peer, terms: &Terms) -> u64 {
    match of.outranks(from) {
        false => 0,
        true if (of.session, of.rank) == (from.session, from.rank) => {
            of.may_take.min(share(of.current, terms.equals).max(terms.least))
        }
        true => of.may_take,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::peers;
    use crate::cgroup::recent::Recent;
    use crate::cgroup::terms::tests::built_in;

    fn peer(id: u64, rank: u32, current_mib: u64) -> Peer {
        let current = current_mib * MIB;
        let may_take = peers::may_take(current, &Recent::first(0, current, 0), None, &built_in());
        Peer { id, session: 100, rank, generation: id, current, may_take, cpu_us: 5, ..Peer::default() }
    }

    fn in_want(peer: Peer) -> Peer {
        Peer { stands: true, ..peer }
    }

    /// With so many MiB left, now and later.
    fn judged(mib: u64, mine: &Peer, peers: &[Peer]) -> Strain {
        let left = mib * MIB;
        judge(&Ahead { left, until_oom: left, next: left, soon: left }, mine, peers, &built_in())
    }

    #[test]
    fn a_call_alone_never_gives_way() {
        let alone = peer(1, 100, 1000);
        assert_eq!(judged(0, &alone, &[alone]), Strain::None);
        assert_eq!(judged(0, &alone, &[]), Strain::None);
    }

    #[test]
    fn of_two_of_a_kind_the_younger_leaves_the_older_an_eighth_of_what_it_has() {
        let (older, younger) = (peer(1, 100, 400), peer(2, 100, 400));
        let all = [older, younger];
        assert_eq!(judged(80, &younger, &all), Strain::None);
        assert_eq!(judged(70, &younger, &all), Strain::Tight);
        assert_eq!(judged(70, &older, &all), Strain::None);
        let of_low_priority = Peer { session: 50, ..younger };
        assert_eq!(judged(80, &of_low_priority, &[older, of_low_priority]), Strain::Tight);
    }

    #[test]
    fn only_what_is_outranked_gives_way_and_stops_for_good_near_the_end() {
        let (high, low) = (peer(1, 300, 200), peer(2, 100, 400));
        let all = [high, low];
        assert_eq!(judged(50, &high, &all), Strain::None);
        assert_eq!(judged(50, &low, &all), Strain::Tight);
        assert_eq!(judged(200, &low, &all), Strain::None);
        assert_eq!(judged(10, &low, &all), Strain::Last);
    }

    #[test]
    fn what_is_coming_is_seen() {
        let (high, low) = (peer(1, 300, 200), peer(2, 100, 400));
        let at = |left: u64, next: u64, soon: u64| {
            let left = left * MIB;
            let ahead = Ahead { left, until_oom: left, next: next * MIB, soon: soon * MIB };
            judge(&ahead, &low, &[high, low], &built_in())
        };
        assert_eq!(at(200, 130, 10), Strain::None, "it can still be stopped when it is due");
        assert_eq!(at(200, 120, 10), Strain::Tight, "it lasts for what is needed");
        assert_eq!(at(90, 60, 10), Strain::Last, "it will have run out in a moment");
    }

    #[test]
    fn that_little_is_left_is_no_reason_to_kill_but_that_who_comes_first_stands_still_is() {
        let (high, low) = (peer(1, 300, 200), peer(2, 100, 400));
        assert_eq!(judged(10, &low, &[high, low]), Strain::Last);
        assert_eq!(judged(5, &low, &[in_want(high), low]), Strain::Critical);
        assert_eq!(
            judged(10, &low, &[in_want(high), low]),
            Strain::Last,
            "it sleeps off a rush: what it may take it hasn't taken yet"
        );
        let unattended = Peer { unattended: true, ..in_want(high) };
        assert_eq!(
            judged(10, &low, &[unattended, low]),
            Strain::Critical,
            "nothing stops it short of the end"
        );
        assert_eq!(
            judged(30, &low, &[in_want(high), low]),
            Strain::Tight,
            "it stands still for something else"
        );
        assert_eq!(judged(1, &low, &[high, low]), Strain::Critical, "there it can't be seen any more");
        let (older, younger) = (peer(1, 100, 400), peer(2, 100, 400));
        assert_eq!(judged(5, &younger, &[in_want(older), younger]), Strain::Critical);
        let first = peer(9, 300, 200);
        assert_eq!(
            judged(5, &younger, &[first, in_want(older), younger]),
            Strain::Last,
            "the older one stands still for the high one"
        );
        let least = Peer { session: 25, ..younger };
        assert_eq!(
            judged(10, &least, &[first, in_want(older), least]),
            Strain::Critical,
            "but it doesn't stand still for what matters less"
        );
        assert_eq!(
            judged(10, &Peer { current: 20 * MIB, ..least }, &[peer(9, 300, 400), in_want(older), least]),
            Strain::Last,
            "that would be too little for it to go on with"
        );
        let at_high = Ahead { left: MIB, until_oom: 100 * MIB, next: MIB, soon: MIB };
        assert_eq!(judge(&at_high, &low, &[high, low], &built_in()), Strain::Last, "no OOM killer there");
    }

    #[test]
    fn only_the_lowest_that_is_worth_it_is_killed() {
        let (high, middle, low) = (in_want(peer(1, 300, 200)), peer(2, 100, 400), peer(3, 50, 100));
        let all = [high, middle, low];
        assert_eq!(judged(5, &middle, &all), Strain::Last);
        assert_eq!(judged(5, &low, &all), Strain::Critical);
        let tiny = peer(3, 50, 2);
        assert_eq!(judged(5, &middle, &[high, middle, tiny]), Strain::Critical);
        assert_eq!(judged(5, &tiny, &[high, middle, tiny]), Strain::Last);
    }
}
