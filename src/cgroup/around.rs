//! What goes on around a call, as its launcher sees it: the room that the levels above leave, and who else is running there.

use super::claim::boottime;
use super::dir::Dir;
use super::peers::{self, Peer};
use super::room::{self, Levels, Room};
use super::strain::{self, Ahead, Strain};
use super::terms::Terms;
use super::usage::LimitOwner;

const MS: u64 = 1_000_000;
/// The room above is looked at so often while there is plenty, and while there isn't.
const ROOM_EVERY: (u64, u64) = (100 * MS, 20 * MS);
/// The limits of the levels above are read anew so often.
const LIMITS_EVERY: u64 = 1_000 * MS;
/// What is killed has given its memory back after this, at the latest: time enough for another critical look or two.
const KILL_LEAD: u64 = 150 * MS;
/// What is granted now is noticed at the next look, and stopped by the one after that.
const REACTION: u64 = 40 * MS;
/// So soon memory will have run out for a call that matters more: it still has to be looked at, and stopped.
const BRINK: u64 = 80 * MS;
/// Looking at all sessions' calls takes no more than one part in so many of a launcher's time.
const SURVEY_SHARE: u64 = 25;
/// Nearer to a memory.max, in bytes, who else is running is looked at seldom only: each file that is opened takes memory, of
/// that same level. It is us then who have the OOM killer choose, again and again, as what it chose still has its memory when
/// it no longer has its process: of three calls it took all, the one last that mattered most.
const NEAR_OOM: (u64, u64) = (strain::LAST, strain::WALL);
/// So seldom: often enough within the time for which a call is critical before it is killed, and hardly ever at the wall.
const SELDOM: (u64, u64) = (100 * MS, 1_000 * MS);

/// The levels above, and who is running there.
#[derive(Debug)]
pub struct Around {
    levels: Levels,
    /// What the tightest level leaves.
    room: Option<Room>,
    /// Of the session's own levels, and of those that it shares with other sessions.
    rooms: (Option<Room>, Option<Room>),
    room_at: u64,
    limits_at: u64,
    strain: Strain,
    /// Is it for other sessions' sake?
    by_others: bool,
    brink: bool,
    peers: Vec<Peer>,
    /// Of all sessions, and when they are worth another look.
    all_peers: Vec<Peer>,
    pool_due: u64,
    /// When who else is running was last looked at, and when in the session itself.
    surveyed_at: Option<u64>,
    session_at: Option<u64>,
}

/// The call that is looked around from.
#[derive(Clone, Copy, Debug)]
pub struct Mine<'a> {
    /// Its cgroup's number.
    pub id: u64,
    /// memory.current in bytes.
    pub current: u64,
    /// Can it give way by nothing, as its limits are as they are?
    pub fixed: bool,
    /// Its session's `calls/`.
    pub calls: &'a Dir,
    /// What it gives way on.
    pub terms: &'a Terms,
}

impl Around {
    /// With these levels above; nothing has been looked at yet.
    pub fn new(levels: Levels) -> Around {
        Around {
            levels,
            room: None,
            rooms: (None, None),
            room_at: 0,
            limits_at: 0,
            strain: Strain::None,
            by_others: false,
            brink: false,
            peers: Vec::new(),
            all_peers: Vec::new(),
            pool_due: 0,
            surveyed_at: None,
            session_at: None,
        }
    }

    /// Was there no descriptor left for one of the levels?
    pub fn is_cut(&self) -> bool {
        self.levels.cut
    }

    /// What the tightest level left at the last look.
    pub fn room(&self) -> Option<Room> {
        self.room
    }

    /// What it leaves now.
    pub fn room_now(&self) -> Option<Room> {
        self.levels.room()
    }

    /// Do others need the memory?
    pub fn strain(&self) -> Strain {
        self.strain
    }

    /// Is memory about to run out that others would give if they had the time?
    pub fn brink(&self) -> bool {
        self.brink
    }

    /// Whose limit is short, if others than the session's own calls need the memory.
    pub fn short(&self) -> Option<LimitOwner> {
        self.by_others.then(|| self.levels.scarcest_shared())
    }

    /// Judges whether others need the memory. Only where room is scarce are they looked at.
    pub fn look(&mut self, now: u64, mine: Mine) {
        let every = if self.room.is_none_or(|r| !r.scarce) { ROOM_EVERY.0 } else { ROOM_EVERY.1 };
        let passed = now.saturating_sub(self.room_at);
        if self.room.is_some() && passed < every {
            return;
        }
        if now - self.limits_at >= LIMITS_EVERY {
            self.levels.refresh();
            self.limits_at = now;
        }
        let before = self.rooms;
        self.room_at = now;
        self.rooms = self.levels.rooms();
        let (own, shared) = self.rooms;
        self.room = room::tightest(own.into_iter().chain(shared));
        (self.strain, self.by_others, self.brink) = (Strain::None, false, false);
        if mine.fixed {
            return;
        }
        let (own, shared) = (own.filter(|room| room.scarce), shared.filter(|room| room.scarce));
        let may_look = (own.is_some() || shared.is_some()) && self.may_look(now);
        if let Some(room) = own {
            if may_look {
                self.survey_session(now, mine);
            }
            self.strain = judge(&room, before.0, passed, mine, &self.peers);
            self.brink = brink(&room, before.0, passed, mine, &self.peers);
        }
        if let Some(room) = shared {
            if may_look && (now >= self.pool_due || room.left < strain::LAST) {
                let begun = boottime();
                peers::survey_pool(mine.calls, mine.terms, &mut self.all_peers);
                let took = boottime().saturating_sub(begun);
                self.pool_due = now.saturating_add(took.saturating_mul(SURVEY_SHARE));
            }
            let strain = judge(&room, before.1, passed, mine, &self.all_peers);
            self.brink |= brink(&room, before.1, passed, mine, &self.all_peers);
            self.by_others = strain > self.strain;
            self.strain = self.strain.max(strain);
        }
    }

    /// Is nothing else running in the session that is worth making room for? Not so where that can't be told.
    pub fn alone(&mut self, now: u64, mine: Mine) -> bool {
        // Twice in a moment says nothing of who stands still.
        if self.session_at != Some(now) && (self.surveyed_at == Some(now) || self.may_look(now)) {
            self.survey_session(now, mine);
        }
        self.peers.iter().any(|p| p.id == mine.id)
            && !self.peers.iter().any(|p| p.id != mine.id && p.current >= peers::WORTH_KILLING)
    }

    fn survey_session(&mut self, now: u64, mine: Mine) {
        peers::survey(mine.calls, mine.terms, &mut self.peers);
        self.session_at = Some(now);
    }

    /// May who else is running be looked at? Then it is.
    fn may_look(&mut self, now: u64) -> bool {
        let after = match self.room.map_or(u64::MAX, |room| room.until_oom) {
            left if left < NEAR_OOM.1 => SELDOM.1,
            left if left < NEAR_OOM.0 => SELDOM.0,
            _ => 0,
        };
        let may = self.surveyed_at.is_none_or(|at| now.saturating_sub(at) >= after);
        if may {
            self.surveyed_at = Some(now);
        }
        may
    }
}

fn brink(room: &Room, before: Option<Room>, passed: u64, mine: Mine, peers: &[Peer]) -> bool {
    let others_have = |me: &Peer| peers.iter().any(|p| me.outranks(p) && p.current >= peers::WORTH_KILLING);
    let near = room.until_oom < strain::LAST || room.after(BRINK, before, passed) == 0;
    near && peers.iter().find(|p| p.id == mine.id).is_some_and(others_have)
}

fn judge(room: &Room, before: Option<Room>, passed: u64, mine: Mine, peers: &[Peer]) -> Strain {
    let after = |ns| room.after(ns, before, passed);
    let (left, until_oom) = (room.left, room.until_oom);
    let ahead = Ahead { left, until_oom, next: after(REACTION), soon: after(KILL_LEAD) };
    let me = peers.iter().find(|p| p.id == mine.id);
    me.map_or(Strain::None, |me| {
        strain::judge(&ahead, &Peer { current: mine.current, ..*me }, peers, mine.terms)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::terms::tests::built_in;

    fn room(mib: u64) -> Room {
        let left = mib << 20;
        Room { bytes: left, left, until_oom: left, scarce: true, close: true, over_high: false }
    }

    fn peer(id: u64, session: u64, mib: u64) -> Peer {
        Peer { id, session, current: mib << 20, may_take: 100 << 20, ..Peer::default() }
    }

    #[test]
    fn on_the_brink_is_who_comes_first_where_what_is_left_lasts_for_four_looks_and_others_have_some() {
        let tmp = tempfile::tempdir().unwrap();
        let (calls, terms) = (Dir::open_anywhere(tmp.path()).unwrap(), built_in());
        let of = |id| Mine { id, current: 300 << 20, fixed: false, calls: &calls, terms: &terms };
        let all = [peer(1, 400, 300), peer(2, 25, 200)];
        let at = |mib, id, peers: &[Peer]| brink(&room(mib), Some(room(100)), 20 * MS, of(id), peers);
        assert!(at(80, 1, &all), "20 MiB in 20 ms: in 80 ms it is gone");
        assert!(!at(81, 1, &all));
        assert!(!at(80, 2, &all), "it gives way itself");
        assert!(!at(80, 1, &[peer(1, 400, 300), peer(2, 25, 2)]), "too small to be ended for it");
        let still = |mib| brink(&room(mib), Some(room(mib)), 20 * MS, of(1), &all);
        assert!(still(23), "the end is near, however slowly it comes");
        assert!(!still(24));
    }

    #[test]
    fn whether_it_is_alone_is_asked_of_its_session_though_only_the_pool_was_looked_at() {
        let tmp = tempfile::tempdir().unwrap();
        let (calls, terms) = (Dir::open_anywhere(tmp.path()).unwrap(), built_in());
        let mine = Mine { id: 1, current: 0, fixed: false, calls: &calls, terms: &terms };
        let mut around = Around::new(Levels::open(&calls, 0));
        (around.surveyed_at, around.peers) = (Some(7), vec![peer(1, 100, 300)]);
        assert!(!around.alone(7, mine), "it isn't there any more, as the look finds");
        around.peers = vec![peer(1, 100, 300)];
        assert!(around.alone(7, mine), "what has just been found stands");
        assert!(!around.alone(8, mine));
    }

    #[test]
    fn nobody_gives_way_for_what_is_left_to_others_out_of_courtesy() {
        let tmp = tempfile::tempdir().unwrap();
        let (calls, terms) = (Dir::open_anywhere(tmp.path()).unwrap(), built_in());
        let low = Mine { id: 2, current: 100 << 20, fixed: false, calls: &calls, terms: &terms };
        let at = |mib| {
            let courteous = Room { bytes: 0, ..room(mib) };
            judge(&courteous, None, 20 * MS, low, &[peer(1, 400, 200), peer(2, 25, 100)])
        };
        assert_eq!((at(6 << 10), at(120)), (Strain::None, Strain::Tight));
    }
}
