//! The other calls, of this session and of those that share its pool, as far as their leaves show them.

use super::ahead;
use super::beneath;
use super::claim::boottime;
use super::depends;
use super::dir::Dir;
use super::mark;
use super::parse;
use super::recent::Recent;
use super::session::Priority;
use super::terms::{Terms, share};
use crate::class::{Class, Classes};
use std::path::Path;

/// A running call, as its leaf shows it to everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The cgroup's id.
    pub id: u64,
    /// Its session's cpu.weight: the priority that it was given.
    pub session: u64,
    /// By the leaf's name.
    pub class: Class,
    /// The class's; not cpu.weight, which a session's owner may write.
    pub rank: u32,
    /// The classes of the calls that it needs.
    pub depends: Classes,
    /// When it was claimed: of equals the younger gives way.
    pub generation: u64,
    /// memory.current in bytes.
    pub current: u64,
    /// What it lately had, as far as it was looked at.
    pub recent: Recent,
    /// How much it may still take, in bytes: see [`may_take`].
    pub may_take: u64,
    /// cpu.stat:usage_usec: what hasn't run for a while takes nothing …
    pub cpu_us: u64,
    /// … unless it only waits for memory: memory.pressure's total of `some` in µs; none without PSI.
    pub stalled_us: Option<u64>,
    /// CLOCK_BOOTTIME in ns of the look that saw one of both grow.
    pub ran_at: u64,
    /// The same of the last look.
    pub looked_at: u64,
    /// Has it stood still on memory since the look before?
    pub stands: bool,
    /// Does nobody set it a memory.high? Then it stands still only when it is too late: it may well.
    pub unattended: bool,
}

impl Default for Peer {
    fn default() -> Peer {
        Peer {
            id: 0,
            session: 100,
            class: Class::Other,
            rank: Class::Other.rank(),
            depends: Classes::default(),
            generation: 0,
            current: 0,
            recent: Recent::default(),
            may_take: 0,
            cpu_us: 0,
            stalled_us: Some(0),
            ran_at: 0,
            looked_at: 0,
            stands: false,
            unattended: false,
        }
    }
}

impl Peer {
    /// As it was at `now` by what was found at the last look.
    fn since(self, before: &[Peer], now: u64, terms: &Terms) -> Peer {
        let same = |b: &&Peer| (b.id, b.cpu_us, b.stalled_us) == (self.id, self.cpu_us, self.stalled_us);
        let ran_at = before.iter().find(same).map_or(now, |b| b.ran_at);
        let asleep = self.cpu_us > 0 && now.saturating_sub(ran_at) >= terms.awake_ns;
        let last = before.iter().find(|b| (b.id, b.generation) == (self.id, self.generation));
        let stands = match (self.stalled_us, last.and_then(|last| Some((last.looked_at, last.stalled_us?)))) {
            // Without PSI it may well.
            (None, None) => true,
            (None, Some(_)) | (Some(_), None) => false,
            (Some(stalled_us), Some((at, before))) => {
                let stalled = stalled_us.saturating_sub(before).saturating_mul(1000);
                now > at && stalled >= (now - at) / STANDS
            }
        };
        let may_take = if asleep { 0 } else { self.may_take };
        Peer { ran_at, may_take, looked_at: now, stands, ..self }
    }

    /// Does it go first when there isn't enough for both?
    pub fn outranks(&self, other: &Peer) -> bool {
        (self.session, self.rank, other.generation) > (other.session, other.rank, self.generation)
    }
}

const MIB: u64 = 1 << 20;
/// What stalled for one part in so many of the time stands still. The kernel takes a mean over the CPUs that are busy: of a
/// build on eight of them, one part in eight is one that waits.
const STANDS: u64 = 8;
/// Sessions of a pool that are looked at.
const SESSIONS: usize = 128;
/// Killing anything smaller, in bytes, would help nobody; nor does it need much.
pub const WORTH_KILLING: u64 = 16 * MIB;

/// What a call may still take: up to the most that it lately had, or so much more of what it has now as the terms say, if it
/// lately rose by as much; but never beyond its own limit: memory.max, as memory.high may be raised.
pub fn may_take(current: u64, recent: &Recent, limit: Option<u64>, terms: &Terms) -> u64 {
    let again = recent.most().saturating_sub(current);
    let more = again.max(share(current, terms.growth).min(recent.rise())).max(terms.least);
    more.min(limit.map_or(u64::MAX, |l| l.saturating_sub(current)))
}

/// The running calls of a session. Reads the whole of `calls/`: only for when memory is short. `found` is the last survey: a
/// call that hasn't run since then sleeps, and isn't reckoned to take anything.
pub fn survey(calls: &Dir, terms: &Terms, found: &mut Vec<Peer>) {
    let before = std::mem::take(found);
    add(calls, terms, &before, found);
}

/// The running calls of all sessions beside this one and in it, as far as they can be read: only for when the memory is
/// short that they share. `found` as with [`survey`].
pub fn survey_pool(calls: &Dir, terms: &Terms, found: &mut Vec<Peer>) {
    let before = std::mem::take(found);
    let outermost = outermost(calls.path());
    let opened = (outermost != calls.path()).then(|| Dir::open(outermost).ok()).flatten();
    let calls = opened.as_ref().unwrap_or(calls);
    let Some(pool) = calls.path().ancestors().nth(2).and_then(|path| Dir::open(path).ok()) else {
        return add(calls, terms, &before, found);
    };
    add(calls, terms, &before, found);
    let ours = calls.path().parent().and_then(Path::file_name);
    for session in pool.children(SESSIONS).unwrap_or_default() {
        if Some(session.as_ref()) == ours {
            continue;
        }
        let theirs = pool.child(&session).and_then(|session| session.child("calls"));
        if let Ok(theirs) = theirs
            && theirs.populated() != Ok(false)
        {
            let first = found.len();
            add(&theirs, terms, &before, found);
            within(theirs.read_max("memory.max").unwrap_or(None), &mut found[first..]);
        }
    }
}

/// A session's calls can't take more than their budget leaves them together, whatever each has had before.
fn within(budget: Option<u64>, calls: &mut [Peer]) {
    let Some(budget) = budget else { return };
    let mut left = budget.saturating_sub(calls.iter().map(|call| call.current).sum());
    for call in calls {
        call.may_take = call.may_take.min(left);
        left -= call.may_take;
    }
}

/// The `calls/` that holds this one, if it is of an agent's session among another's calls, and so on outwards.
pub fn outermost(calls: &Path) -> &Path {
    match calls.ancestors().nth(2).filter(|path| path.ends_with("calls")) {
        Some(outer) => outermost(outer),
        None => calls,
    }
}

fn add(calls: &Dir, terms: &Terms, before: &[Peer], found: &mut Vec<Peer>) {
    let session = calls.path().parent().and_then(|path| Dir::open(path).ok());
    // Without the cpu controller the mark still says it.
    let weight = |dir: Dir| dir.read_u64("cpu.weight").unwrap_or_else(|_| Priority::of(&dir).cpu_weight());
    add_of(calls, session.map_or(100, weight), terms, before, found);
}

/// With the weight of the outermost session: that of one among its calls is its owner's to write.
fn add_of(calls: &Dir, session: u64, terms: &Terms, before: &[Peer], found: &mut Vec<Peer>) {
    let (first, mut sessions) = (found.len(), Vec::new());
    let unattended = ahead::leaves(calls).is_some();
    for name in calls.children(512).unwrap_or_default() {
        if beneath::is_name(&name) {
            sessions.extend(beneath::calls_of(calls, &name));
            continue;
        }
        if Class::of_leaf(&name).is_none() {
            continue;
        }
        let Ok(leaf) = calls.child(&name) else { continue };
        if leaf.populated() == Ok(true) {
            let peer = look(&leaf, terms, before).map(|peer| Peer { session, ..peer });
            let peer = peer.map(|peer| peer.since(before, boottime(), terms));
            found.extend(peer.map(|peer| Peer { stands: peer.stands || unattended, unattended, ..peer }));
        }
    }
    // What a call needs is of its own session.
    depends::lift(&mut found[first..]);
    for theirs in sessions {
        add_of(&theirs, session, terms, before, found);
    }
}

/// A leaf's standing, in a session of normal priority. `before` is what was found at the last look.
pub fn look(leaf: &Dir, terms: &Terms, before: &[Peer]) -> Option<Peer> {
    let current = leaf.read_u64("memory.current").ok()?;
    let class = Class::of_leaf(leaf.name())?;
    let limit = leaf.read_max("memory.max").unwrap_or(None);
    let mut pressure = [0; 256];
    let pressure = leaf.read("memory.pressure", &mut pressure).ok().and_then(parse::pressure);
    let mut buf = [0; 16];
    let mark = leaf.mark(mark::LEAF, &mut buf).ok().and_then(|m| m.get(..8)?.try_into().ok());
    let (id, generation) = (leaf.identity().ok()?.id, mark.map_or(0, u64::from_ne_bytes));
    let peak = leaf.read_u64("memory.peak").unwrap_or(0);
    let now = boottime();
    let seen = before.iter().find(|b| (b.id, b.generation) == (id, generation));
    let mut recent = seen.map_or_else(|| Recent::first(now, current, peak), |b| b.recent);
    recent.look(now, now.saturating_sub(generation), terms.recent_ns, current, peak);
    Some(Peer {
        id,
        class,
        rank: class.rank(),
        depends: depends::of_leaf(leaf.name()),
        generation,
        current,
        recent,
        may_take: may_take(current, &recent, limit, terms),
        cpu_us: leaf.read_key("cpu.stat", "usage_usec").unwrap_or(0),
        stalled_us: pressure.map(|(some, _)| some),
        ran_at: now,
        ..Peer::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::terms::tests::built_in;

    fn may_take(current: u64, peak: Option<u64>, limit: Option<u64>) -> u64 {
        super::may_take(current, &Recent::first(0, current, peak.unwrap_or(0)), limit, &built_in())
    }

    fn peer(id: u64, rank: u32, current_mib: u64) -> Peer {
        let current = current_mib * MIB;
        let may_take = may_take(current, None, None);
        Peer { id, session: 100, rank, generation: id, current, may_take, cpu_us: 5, ..Peer::default() }
    }

    #[test]
    fn the_calls_of_an_agent_s_agent_are_reckoned_among_the_outermost_s() {
        let calls = Path::new("/cg/agentsh/s/calls");
        assert_eq!(outermost(calls), calls);
        assert_eq!(outermost(Path::new("/cg/agentsh/s/calls/agent-0/calls/agent-1/calls")), calls);
    }

    #[test]
    fn calls_take_no_more_together_than_their_budget_leaves_them() {
        let mut calls = [peer(1, 100, 100), peer(2, 100, 300), peer(3, 100, 40)];
        within(Some(600 * MIB), &mut calls);
        assert_eq!(calls.map(|call| call.may_take / MIB), [50, 110, 0]);
        within(None, &mut calls);
        assert_eq!(calls[0].may_take, 50 * MIB);
        within(Some(0), &mut calls);
        assert_eq!(calls.map(|call| call.may_take), [0; 3]);
    }

    #[test]
    fn what_stalled_for_an_eighth_of_the_time_since_the_last_look_stands_still() {
        let at = |ms: u64, stalled_ms: u64, before: &[Peer]| {
            Peer { stalled_us: Some(stalled_ms * 1000), ..peer(1, 300, 200) }.since(
                before,
                ms * 1_000_000,
                &built_in(),
            )
        };
        let first = at(1000, 500, &[]);
        assert!(!first.stands, "who knows since when");
        assert!(!at(1100, 512, &[first]).stands);
        assert!(at(1100, 513, &[first]).stands);
        let reused = Peer { generation: 7, ..first };
        assert!(!at(1100, 900, &[reused]).stands, "that was another call's");
        let unknown = Peer { stalled_us: None, ..peer(1, 300, 200) };
        assert!(unknown.since(&[], 1, &built_in()).stands, "without PSI nobody knows");
        assert!(!unknown.since(&[first], 1, &built_in()).stands, "it only couldn't be read");
    }

    #[test]
    fn a_call_that_has_not_run_for_half_a_second_takes_nothing() {
        let (sleeper, low) = (peer(1, 300, 200), peer(2, 100, 400));
        let at = |ms: u64, now: Peer, before: &[Peer]| now.since(before, ms * 1_000_000, &built_in());
        let first = at(1000, sleeper, &[]);
        let later = at(1490, sleeper, &[first, low]);
        assert_eq!(
            (first.may_take, later.may_take),
            (100 * MIB, 100 * MIB),
            "it may only have waited for a disk"
        );
        let asleep = at(1510, sleeper, &[later, low]);
        assert_eq!(asleep.may_take, 0);
        assert_eq!(at(1510, Peer { cpu_us: 6, ..sleeper }, &[later]).may_take, 100 * MIB);
        let waits_for_memory = Peer { stalled_us: Some(9), ..sleeper };
        assert_eq!(at(1510, waits_for_memory, &[later]).may_take, 100 * MIB);
    }

    #[test]
    fn the_class_decides_who_goes_first_and_of_equals_the_older() {
        assert!(peer(9, 300, 1).outranks(&peer(1, 100, 1)));
        assert!(peer(1, 100, 1).outranks(&peer(2, 100, 1)));
        assert!(!peer(2, 100, 1).outranks(&peer(1, 100, 1)));
        assert!(!peer(1, 100, 1).outranks(&peer(1, 100, 1)));
        let high = Peer { session: 400, ..peer(9, 50, 1) };
        assert!(high.outranks(&peer(1, 300, 1)), "the session's priority comes first");
    }

    #[test]
    fn what_has_not_grown_lately_is_taken_to_grow_by_little() {
        const S: u64 = 1_000_000_000;
        let mut recent = Recent::first(0, 100 * MIB, 500 * MIB);
        for second in 1..=10 {
            recent.look(second * S, second * S, 2 * S, (100 + second) * MIB, 500 * MIB);
        }
        assert_eq!(super::may_take(110 * MIB, &recent, None, &built_in()), 16 * MIB);
        recent.look(11 * S, 11 * S, 2 * S, 140 * MIB, 500 * MIB);
        let risen = super::may_take(140 * MIB, &recent, None, &built_in());
        assert!((30 * MIB..40 * MIB).contains(&risen), "{risen}");
    }

    #[test]
    fn a_call_may_take_its_leaf_s_past_peak_or_half_of_what_it_has_but_not_beyond_its_limit() {
        assert_eq!(may_take(10 * MIB, Some(100 * MIB), None), 90 * MIB);
        assert_eq!(may_take(100 * MIB, Some(100 * MIB), None), 50 * MIB);
        assert_eq!(may_take(4 * MIB, None, None), 16 * MIB);
        assert_eq!(may_take(250 * MIB, None, Some(256 * MIB)), 6 * MIB);
        assert_eq!(may_take(300 * MIB, None, Some(256 * MIB)), 0);
    }
}
