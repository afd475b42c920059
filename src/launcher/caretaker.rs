//! The caretaker: a process that goes on for a while when the launcher has ended, because what the call has left behind
//! may be a fork bomb.
//!
//! An agent reads the call's output to its end, which a bomb holds open, so there may be no further call that could clean up:
//! somebody has to stay. It is a stranger to the caller: no child of it, in a session of its own, with none of its files
//! (standard error is only remembered, see [`super::voice`]), under a name of its own. It holds the lock of each leaf
//! that it watches, so that nobody else claims or sweeps it, and ends with the last process in them, when they have been
//! quiet for some seconds, or after two minutes. Quiet survivors get none ([`super::survivors`]).

use super::call::Call;
use super::env::Env;
use super::report;
use super::voice::{Remembered, Voice};
use crate::cgroup::claim::boottime;
use crate::cgroup::leaf::{Leaf, unhand};
use crate::cgroup::leftover::{Leftover, Step};
use crate::cgroup::news::{self, Killed};
use crate::cgroup::place::Session;
use crate::log::feedback::{self, Facts, Limit, Whose, Why};
use crate::log::record::{Events, LeafName, Outcome, Placement, Record};
use crate::policy::compiled::OnExit;
use crate::sys::args::Args;
use crate::sys::{aside, fd};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// As it is seen by `ps`.
const NAME: &std::ffi::CStr = c"agentsh-caretaker";
/// It ends by SIGALRM then, wherever it may be stuck: later than it would by itself.
const LIFETIME: Duration = Duration::from_secs(150);
/// Where no file tells of an end, it is looked for so often.
const SEVERAL: Duration = Duration::from_millis(100);

/// What one caretaker has to do.
struct Caretaker<'a> {
    call: &'a Call,
    session: &'a Session,
    /// The leaf of the call itself, and the law that watches it.
    own: Option<(Leaf, Leftover)>,
    /// Leaves of earlier calls, whose launchers were killed.
    suspects: Vec<Leftover>,
    voice: Option<Remembered>,
    log: Option<PathBuf>,
}

/// Sends a caretaker for the leaf of this call and for those of earlier ones. Without one they are left as they are.
pub fn send(call: &Call, own: Option<Leaf>, suspects: Vec<Leftover>, voice: Voice, args: &Args, env: &Env) {
    let Some(session) = &call.session else { return };
    let own = own.and_then(|leaf| {
        // Nothing of ours may make it stand still from now on.
        unhand(&leaf.dir);
        let watched = leaf.dir.again().ok().and_then(Leftover::of)?;
        Some((leaf, watched))
    });
    let mut keep = Vec::new();
    session.keep(&mut keep);
    for watched in own.iter().map(|(_, watched)| watched).chain(&suspects) {
        watched.keep(&mut keep);
    }
    if let Some((leaf, _)) = &own {
        leaf.keep(&mut keep);
    }
    let voice = voice.remember();
    keep.extend(voice.as_ref().map(Remembered::keep));
    // Relative to where the caller is, as that of the call.
    let log = report::log_path(&call.policy.log, env).and_then(|path| std::path::absolute(path).ok());
    let caretaker = Caretaker { call, session, own, suspects, voice, log };
    aside::detach(&mut keep, NAME, args, LIFETIME, move || caretaker.watch());
}

impl Caretaker<'_> {
    fn watch(mut self) {
        loop {
            let now = boottime();
            let mut next = self.look_at_own(now);
            let (mut at, mut killed) = (0, Vec::new());
            while at < self.suspects.len() {
                match self.suspects[at].look(now) {
                    Step::Wait(time) => {
                        next = Some(next.map_or(time, |next| next.min(time)));
                        at += 1;
                    }
                    Step::Leave => drop(self.suspects.swap_remove(at)),
                    Step::Kill => killed.push(self.suspects.swap_remove(at)),
                }
            }
            for bomb in killed {
                self.end(&bomb, None);
            }
            let Some(next) = next else { return };
            let one = match (&mut self.own, &mut self.suspects[..]) {
                (Some((_, one)), []) | (None, [one]) => Some(one),
                _ => None,
            };
            let events = one.as_ref().and_then(|one| one.events());
            let woken = fd::wait(-1, events, if events.is_some() { next } else { next.min(SEVERAL) });
            if let Some(one) = one.filter(|_| woken.urgent) {
                one.hurry();
            }
        }
    }

    /// Looks at the call's own leaf; says when to look again.
    fn look_at_own(&mut self, now: u64) -> Option<Duration> {
        let (leaf, mut watched) = self.own.take()?;
        let step = watched.look(now);
        if let Step::Wait(time) = step {
            self.own = Some((leaf, watched));
            return Some(time);
        }
        if step == Step::Kill {
            self.end(&watched, Some(&leaf));
        }
        // An empty one goes back to the pool, or away; what is still there is left in peace.
        leaf.release(self.session, OnExit::Keep);
        None
    }

    /// Ends a bomb, says so where somebody may read it, and writes it down.
    fn end(&mut self, bomb: &Leftover, own: Option<&Leaf>) {
        // Opened before the last process goes: its reader would see the end, and close.
        let voice = self.voice.as_ref().and_then(Remembered::open);
        if !bomb.end() {
            return;
        }
        let text = feedback::text(&self.facts(bomb, own.is_some()));
        let told = text.as_ref().zip(voice).is_some_and(|(text, voice)| voice.say(text));
        if let Some(log) = &self.log {
            report::write(&self.record(bomb, own, text), &self.call.policy.log, log);
        }
        if !told {
            news::leave(&self.session.calls, Killed { class: bomb.class, limit: bomb.limit });
        }
    }

    fn facts(&self, bomb: &Leftover, own: bool) -> Facts {
        let mut facts = Facts::quiet(bomb.class, Duration::ZERO);
        if own {
            facts.killed = Some(Why::ForkedOn);
            facts.pids = Some(Limit { whose: Whose::Call, knob: "pids.max", amount: Some(bomb.limit) });
        } else {
            facts.earlier = vec![(bomb.class, bomb.limit)];
        }
        facts
    }

    /// A record of its own: that of the call was written when its shell had ended.
    fn record(&self, bomb: &Leftover, own: Option<&Leaf>, feedback: Option<String>) -> Record {
        let mut record = Record::begin(SystemTime::now(), bomb.class);
        let (cgroup_id, generation) = bomb.identity();
        record.session = self.call.record.session.clone();
        record.leaf = Some(LeafName { name: bomb.name().to_owned(), cgroup_id, generation });
        record.placement = Placement::Leaf;
        record.outcome = Outcome::Signaled(libc::SIGKILL);
        record.feedback = feedback;
        let mut whose = "an earlier call".to_owned();
        if let Some(leaf) = own {
            let call = &self.call.record;
            (record.command, record.cwd) = (call.command.clone(), call.cwd.clone());
            record.argv0 = call.argv0.clone();
            record.start = call.start;
            record.duration = call.start.elapsed().unwrap_or_default();
            let total = leaf.dir.read_key("pids.events", "max").unwrap_or(0);
            let pids = total.saturating_sub(leaf.start.pids_max);
            record.events = Some(Events { pids, ..Events::default() });
            whose = format!("call {}", call.id);
        }
        record.degraded = Some(format!("what {whose} left behind kept forking and was killed"));
        record
    }
}
