//! `serve --watch`: containers that carry the annotation are attached when they start.
//!
//! What every engine does in the same way is to make a cgroup named after the container, so that is what is watched: the
//! folders of the cgroup tree, down to the containers and never into one, by inotify ([`tree`](super::tree)). Nobody is asked,
//! and nothing is polled but a container that is just starting. Whether it carries the annotation a process of its own finds
//! out (`attach --labelled`), as that reads files of others, which may take as long as they like; and the same process
//! attaches it. Whatever becomes of us, it ends by itself.

use super::tree::{Told, Tree};
use crate::helper::attach::Found;
use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Processes at work at once: one that doesn't come back keeps its place.
const MOST_WORKERS: usize = 6;
/// Of those for the containers of one user, and of all users but root: whoever may make cgroups may make some that look like
/// containers, and files that are read slowly.
const OF_USER: usize = 2;
const OF_USERS: usize = 4;
/// For one look at a container and attaching it; it takes milliseconds.
const LONGEST: Duration = Duration::from_secs(10);
/// Containers that are starting at once, of all and of one user, with any more left to themselves.
const MOST_WAITING: usize = 4096;
const MOST_WAITING_OF_USER: usize = 256;
/// The first look at one that isn't ready comes again after this, each further one after twice the time …
const SOONEST: Duration = Duration::from_millis(50);
/// … but no later.
const LATEST: Duration = Duration::from_secs(5);
/// Whose bundle isn't found for so long isn't looked for any more.
const UNKNOWN_FOR: Duration = Duration::from_secs(30);
/// Who never runs a program of its own is no container: a sandbox with a kernel of its own, a virtual machine.
const STARTING_FOR: Duration = Duration::from_secs(600);
/// Nothing is looked at again sooner.
const LEAST: Duration = Duration::from_millis(5);
/// Out of descriptors or memory: as long until it is tried again.
const TROUBLED: Duration = Duration::from_secs(1);

/// A container that is to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Turn {
    since: Instant,
    due: Instant,
    wait: Duration,
    /// Who the container's cgroup belongs to.
    owner: u32,
}

impl Turn {
    fn now(now: Instant, owner: u32) -> Turn {
        Turn { since: now, due: now, wait: SOONEST, owner }
    }

    /// When it is to be looked at once more, after what was found; none if that is all.
    fn after(self, found: Option<Found>, now: Instant) -> Option<Turn> {
        let again = match found {
            Some(Found::Starting) => now.duration_since(self.since) < STARTING_FOR,
            Some(Found::Unknown) => now.duration_since(self.since) < UNKNOWN_FOR,
            // Done, not wanted, or refused: which has been said.
            Some(Found::Wanted | Found::Unwanted) | None => false,
        };
        again.then_some(Turn { due: now + self.wait, wait: (self.wait * 2).min(LATEST), ..self })
    }
}

/// A process that looks at a container.
struct Work {
    cgroup: PathBuf,
    turn: Turn,
    begun: Instant,
    killed: bool,
    child: Child,
}

/// Is there a place for the work on another container of this owner, beside those of these owners?
fn has_place(owner: u32, at_work: impl Iterator<Item = u32> + Clone) -> bool {
    let of_users = at_work.clone().filter(|&it| it != 0).count();
    let of_user = at_work.clone().filter(|&it| it == owner).count();
    at_work.count() < MOST_WORKERS && (owner == 0 || of_users < OF_USERS && of_user < OF_USER)
}

/// All of it.
pub struct Watch {
    tree: Tree,
    waiting: HashMap<PathBuf, Turn>,
    work: Vec<Work>,
    /// Of whom it has been said that containers are left out.
    left_out: HashSet<u32>,
}

impl Watch {
    /// Begins to watch; what is there already is looked at as well.
    pub fn begin() -> Result<Watch> {
        let tree = Tree::of_host().context("--watch")?;
        Ok(Watch { tree, waiting: HashMap::new(), work: Vec::new(), left_out: HashSet::new() })
    }

    /// Watches for as long as the process lives.
    pub fn keep(mut self) {
        loop {
            self.listen();
            self.finish();
            self.start();
            self.wait();
        }
    }

    fn listen(&mut self) {
        let now = Instant::now();
        for told in self.tree.news() {
            match told {
                Told::Populated(cgroup) => {
                    let owner = self.tree.owner(&cgroup);
                    if self.may_wait(owner) {
                        self.waiting.entry(cgroup).or_insert(Turn::now(now, owner));
                    } else if self.left_out.insert(owner) {
                        // Nobody may be reading.
                        let _ = writeln!(
                            std::io::stderr(),
                            "agentsh-helper: too many containers are starting: {} and perhaps others of uid {owner} aren't looked at: attach them by hand",
                            cgroup.display()
                        );
                    }
                }
                Told::Empty(cgroup) => drop(self.waiting.remove(&cgroup)),
            }
        }
        if self.waiting.is_empty() {
            self.left_out.clear();
        }
    }

    fn may_wait(&self, owner: u32) -> bool {
        let of_user = || self.waiting.values().filter(|turn| turn.owner == owner).count();
        match owner {
            0 => self.waiting.len() < MOST_WAITING,
            // Users leave half of it to root.
            _ => self.waiting.len() < MOST_WAITING / 2 && of_user() < MOST_WAITING_OF_USER,
        }
    }

    /// May a container be looked at now, as far as others are?
    fn is_free(&self, cgroup: &Path, turn: &Turn) -> bool {
        has_place(turn.owner, self.work.iter().map(|work| work.turn.owner))
            && !self.work.iter().any(|work| work.cgroup == cgroup)
    }

    /// Takes what those at work have found.
    fn finish(&mut self) {
        let now = Instant::now();
        let mut at = 0;
        while let Some(work) = self.work.get_mut(at) {
            match work.child.try_wait() {
                Ok(None) => {
                    if !work.killed && now.duration_since(work.begun) >= LONGEST {
                        // It keeps its place until it is gone.
                        let _ = work.child.kill();
                        work.killed = true;
                    }
                    at += 1;
                }
                _ => {
                    let mut done = self.work.swap_remove(at);
                    let found = said(&mut done);
                    let why = match (done.turn.after(found, now), found) {
                        (Some(turn), _) => {
                            self.waiting.entry(done.cgroup).or_insert(turn);
                            continue;
                        }
                        (None, Some(Found::Starting)) => "it runs no program of its own",
                        (None, Some(Found::Unknown)) => {
                            "its OCI bundle, where its annotations are, isn't found"
                        }
                        (None, _) => continue,
                    };
                    // Its owner may have named it, and it may have come to its end.
                    if self.tree.is_populated(&done.cgroup) {
                        let shown = done.cgroup.display().to_string();
                        let shown = shown.escape_debug();
                        let _ = writeln!(
                            std::io::stderr(),
                            "agentsh-helper: {shown} isn't looked at any more: {why}"
                        );
                    }
                }
            }
        }
    }

    /// Has those looked at whose turn it is, the earliest first.
    fn start(&mut self) {
        loop {
            let now = Instant::now();
            let next =
                self.waiting.iter().filter(|(cgroup, turn)| turn.due <= now && self.is_free(cgroup, turn));
            let Some((cgroup, &turn)) = next.min_by_key(|(_, turn)| turn.due) else { return };
            let cgroup = cgroup.clone();
            match look(&cgroup) {
                Ok(child) => {
                    self.waiting.remove(&cgroup);
                    self.work.push(Work { cgroup, turn, begun: now, killed: false, child });
                }
                Err(_) => {
                    self.waiting.insert(cgroup, Turn { due: now + TROUBLED, ..turn });
                    return;
                }
            }
        }
    }

    /// Until something happens in the tree, somebody at work has an end, or somebody's turn comes.
    fn wait(&self) {
        let now = Instant::now();
        let turns = self.waiting.iter().filter(|(cgroup, turn)| self.is_free(cgroup, turn));
        let ends = self.work.iter().filter(|work| !work.killed).map(|work| work.begun + LONGEST);
        let next = turns.map(|(_, turn)| turn.due).chain(ends).min();
        let time = next.map(|at| at.saturating_duration_since(now).max(LEAST));
        let time =
            time.map_or(PollTimeout::NONE, |time| PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX));
        let mut fds = vec![PollFd::new(self.tree.as_fd(), PollFlags::POLLIN)];
        // Not what they say, but that they hang up.
        let outputs = self.work.iter().filter_map(|work| work.child.stdout.as_ref());
        fds.extend(outputs.map(|output| PollFd::new(output.as_fd(), PollFlags::empty())));
        // Interrupted or out of memory: the next round looks anyway.
        let _ = poll(&mut fds, time);
        if fds.iter().skip(1).any(|fd| fd.any() == Some(true)) {
            // Who hangs up is about to end.
            std::thread::sleep(LEAST);
        }
    }
}

/// Begins to look at a container.
fn look(cgroup: &Path) -> std::io::Result<Child> {
    let own = std::env::current_exe()?;
    let mut command = Command::new(own);
    command.args(["attach", "--labelled"]).arg(cgroup).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()
}

/// What was found; none if it was refused, or didn't come to an end. What was done is passed on.
fn said(work: &mut Work) -> Option<Found> {
    let mut text = String::new();
    if let Some(output) = work.child.stdout.take() {
        // It has ended, and says little.
        output.take(4096).read_to_string(&mut text).ok()?;
    }
    let found = Found::of_word(&text)?;
    if let Some(how) = text.lines().nth(1).filter(|_| found == Found::Wanted) {
        // Nobody may be reading.
        let _ = writeln!(std::io::stdout(), "attached {}: {how}", work.cgroup.display());
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_starting_is_looked_at_ever_less_often_and_what_is_known_no_more() {
        let begun = Instant::now();
        let mut turn = Turn::now(begun, 0);
        let mut waits = Vec::new();
        for _ in 0..10 {
            let now = turn.due;
            let Some(next) = turn.after(Some(Found::Starting), now) else { panic!("given up") };
            waits.push(next.due - now);
            turn = next;
        }
        assert_eq!(turn.after(Some(Found::Starting), begun + STARTING_FOR), None, "for ever");
        assert_eq!((waits[0], waits[1], waits[9]), (SOONEST, SOONEST * 2, LATEST));
        for found in [Some(Found::Wanted), Some(Found::Unwanted), None] {
            assert_eq!(turn.after(found, turn.due), None, "{found:?}");
        }
    }

    #[test]
    fn no_user_and_not_all_users_together_have_all_places() {
        let place = |owner: u32, at_work: &[u32]| has_place(owner, at_work.iter().copied());
        assert!(place(7, &[]) && place(7, &[7]) && !place(7, &[7, 7]));
        assert!(place(8, &[7, 7]) && !place(9, &[7, 7, 8, 8]));
        assert!(place(0, &[7, 7, 8, 8]) && place(0, &[7, 7, 8, 8, 0]));
        assert!(!place(0, &[7, 7, 8, 8, 0, 0]) && !place(0, &[0; MOST_WORKERS]));
        assert!(place(7, &[0; MOST_WORKERS - 1]) && !place(7, &[0; MOST_WORKERS]));
    }

    #[test]
    fn who_never_says_where_its_bundle_is_is_left_to_itself() {
        let begun = Instant::now();
        let (mut turn, mut looks) = (Turn::now(begun, 0), 0);
        while let Some(next) = turn.after(Some(Found::Unknown), turn.due) {
            (turn, looks) = (next, looks + 1);
        }
        assert!(turn.due - begun >= UNKNOWN_FOR && looks < 20, "{looks}");
    }
}
