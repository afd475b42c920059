//! One program that an agent has started by itself, from the moment that the monitor names it.
//!
//! A pid is another process's as soon as its own has ended and been waited for, and a cgroup takes pids only. So the process
//! is held by a pidfd, and is looked at once more right before it is moved; between that look and the kernel's there are
//! microseconds, in which all pids of the machine would have to be used up.

use super::judge::{self, Starter};
use super::process::Held;
use crate::cgroup::claim::Wish;
use crate::cgroup::dir::Dir;
use crate::cgroup::governor::Governor;
use crate::cgroup::leaf::{Leaf, unhand};
use crate::cgroup::{mark, mount, place::Session, sweep};
use crate::class::Class;
use crate::classify::{self, Context, Kind, Verdict};
use crate::helper::bpf::direct::{self, DirectExec, Process};
use crate::launcher::report;
use crate::log::record::{LeafName, Placement, Record};
use crate::log::writer;
use crate::policy::compile;
use crate::policy::compiled::{HoldingPolicy, Knobs, Policy};
use crate::policy::place::LoadEnv;
use crate::policy::resolve::{self, Request};
use crate::sys::{fd, process};
use nix::unistd::{Gid, Uid, setfsgid, setfsuid};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What ends within this time, or becomes another program, isn't worth a leaf, or isn't yet what it will be.
const SETTLE: Duration = Duration::from_millis(5);
/// Who started whom is followed for so many levels.
const LEVELS: usize = 16;
/// How often those that were started meanwhile are looked for.
const ROUNDS: usize = 3;
/// The longest that is waited without a look whether the process has ended.
const SLOWEST: Duration = Duration::from_millis(500);

/// Where a process is.
struct Whereabouts {
    /// The session.
    base: Dir,
    /// The path of its agent/ from the root of the tree.
    agent: PathBuf,
}

/// Sees to one process, from now to its end. Whatever fails leaves it where it is.
pub fn attend(id: Process) {
    let Some(held) = Held::of(id) else { return };
    if held.wait(SETTLE) {
        return;
    }
    // Agentsh has been forgotten by now, as it has started its call.
    let Some(exec) = direct::of(id).filter(|exec| exec.ended_ns == 0) else { return };
    let Some(at) = whereabouts(&held, &exec) else { return };
    let Some(seen) = held.seen() else { return };
    // Compiled here if a file has changed: where only users make calls nobody else keeps root's up to date.
    let policy = compile::in_force(&LoadEnv::bare(0)).policy;
    let command = seen.command(exec.file.as_bytes());
    let verdict = classify::classify_argv(&command, &Context { rules: &policy.overrides });
    let by = starter(&exec, &at);
    if verdict.class == Class::Agent || judge::judge(&seen, &verdict, by.as_ref()).is_err() {
        return;
    }
    let Ok(session) = Session::of(&at.base) else { return };
    let knobs = knobs(&policy, &verdict, &held, &session);
    let Some(mut leaf) = claim(&session, verdict.class, &knobs) else { return };
    if !enter(&held, &at, &leaf) {
        leaf.release(&session, knobs.on_exit.value);
        return;
    }
    followers(&held, &at, &leaf);
    leaf.prepare(&session);
    leaf.settle(&session.limits(&knobs));
    let mut record = record(&verdict, &seen.argv, &held, &at);
    let identity = LeafName { name: leaf.name().into(), cgroup_id: leaf.id, generation: leaf.generation };
    record.leaf = Some(identity);
    let (ended, has_ended) = watch(&held, &leaf, &session, &policy.holding);
    if !has_ended {
        // Whoever looks after it from now on finds it as any other that nobody looks after.
        unhand(&leaf.dir);
        record.degraded = record.degraded.map(|why| format!("{why}; agentsh-helper serve ended before it"));
    }
    record.duration = since(exec.process.started_ns);
    let usage = leaf.finish(&session, ended.high, record.duration, None);
    report::used_by(&mut record, &leaf, &usage, &ended);
    if has_ended {
        leaf.release(&session, knobs.on_exit.value);
    }
    write(&record, &policy);
}

/// Claims a leaf as whoever the session was handed over to: it is made as theirs, so that their launchers, too, can let go
/// what lives in it when we are gone.
fn claim(session: &Session, class: Class, knobs: &Knobs) -> Option<Leaf> {
    let owner = std::fs::metadata(session.calls.path()).ok()?;
    // Of this thread alone; they tell who we were.
    let group = setfsgid(Gid::from_raw(owner.gid()));
    let user = setfsuid(Uid::from_raw(owner.uid()));
    let leaf = session.claim(class, Wish::Knobs(knobs));
    setfsuid(user);
    setfsgid(group);
    leaf.ok()
}

/// The session in whose agent/ the process is: the very cgroups that the monitor saw it in.
fn whereabouts(held: &Held, exec: &DirectExec) -> Option<Whereabouts> {
    let cgroup = held.cgroup()?;
    let mounts = mount::all().ok()?;
    cgroup.ancestors().filter(|path| path.ends_with("agent")).find_map(|agent| {
        let base = mount::directories(&mounts, agent.parent()?).find_map(|path| Dir::open(&path).ok())?;
        let is_it = base.identity().ok()?.id == exec.session_id
            && base.child("agent").ok()?.identity().ok()?.id == exec.agent_id
            && base.mark(mark::SESSION, &mut [0; 16]).is_ok();
        is_it.then(|| Whereabouts { base, agent: agent.to_owned() })
    })
}

/// Who started it, if that lives and is in the same agent/.
fn starter(exec: &DirectExec, at: &Whereabouts) -> Option<Starter> {
    let parent = Held::of(exec.parent)?;
    let inside = |it: &Held| it.cgroup().is_some_and(|cgroup| cgroup.starts_with(&at.agent));
    if !inside(&parent) {
        return None;
    }
    let seen = parent.seen()?;
    let file = direct::of(exec.parent).map(|parent| parent.file).unwrap_or_default();
    let command = seen.command(file.as_bytes());
    let is_known = classify::classify_argv(&command, &Context { rules: &[] }).kind == Kind::Agent;
    let came_in = parent.parent().and_then(Held::by_pid).is_none_or(|above| !inside(&above));
    parent.is_itself().then(|| Starter { seen, has_called: direct::is_agent(exec.parent), came_in, is_known })
}

/// What the leaf gets: as for a call of the same command.
fn knobs(policy: &Policy, verdict: &Verdict, held: &Held, session: &Session) -> Knobs {
    let context = session.context(policy.class(verdict.class));
    let hint = verdict.hint.clone().or_else(|| held.variable(b"AGENT_RESOURCE_HINT"));
    let request = Request {
        class: verdict.class,
        overrides: &verdict.overrides,
        hooks: verdict.hooks,
        hint: hint.as_deref(),
        budget: context.budget.or(context.shown.max).or(context.shown.high).or(context.available),
    };
    resolve::resolve(policy, &request).knobs
}

/// Moves a process into a leaf of the session that it is in.
fn enter(held: &Held, at: &Whereabouts, leaf: &Leaf) -> bool {
    let still_there = held.cgroup().is_some_and(|cgroup| cgroup.starts_with(&at.agent));
    still_there
        && held.is_itself()
        && leaf.dir.write("cgroup.procs", held.id.pid.to_string().as_bytes()).is_ok()
        && !held.has_ended()
}

/// Moves what it has started before it was moved, as far as that is its own; what it starts from now on is born in the leaf.
fn followers(of: &Held, at: &Whereabouts, leaf: &Leaf) {
    for _ in 0..ROUNDS {
        let mut moved = false;
        for pid in pids(&at.base.path().join("agent")) {
            if let Some(held) = Held::by_pid(pid).filter(|held| follows(held, of.id.pid)) {
                moved |= enter(&held, at, leaf);
            }
        }
        if !moved {
            return;
        }
    }
}

/// Does it descend from this process, and is nothing on the way there that stays, itself included?
fn follows(held: &Held, from: u32) -> bool {
    let mut line = Vec::new();
    let mut parent = held.parent();
    while parent != Some(from) {
        let above = parent.filter(|&pid| pid > 1 && line.len() < LEVELS).and_then(Held::by_pid);
        let Some(above) = above else { return false };
        parent = above.parent();
        line.push(above);
    }
    line.iter().chain([held]).all(goes)
}

fn goes(held: &Held) -> bool {
    let Some(seen) = held.seen() else { return false };
    let file = direct::of(held.id).map(|exec| exec.file).unwrap_or_default();
    let verdict = classify::classify_argv(&seen.command(file.as_bytes()), &Context { rules: &[] });
    judge::follows(&seen, &verdict).is_ok()
}

fn pids(cgroup: &Path) -> Vec<u32> {
    let text = std::fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|pid| pid.parse().ok()).collect()
}

/// Watches over the leaf as a launcher does, until the process has ended: true; or until serve has to end.
fn watch(
    held: &Held,
    leaf: &Leaf,
    session: &Session,
    holding: &HoldingPolicy,
) -> (crate::cgroup::Verdict, bool) {
    let mut governor = Governor::new(leaf, session, holding, sweep::sweep(session));
    loop {
        let next = governor.tick(process::monotonic_ns()).min(SLOWEST);
        let woken = fd::wait(held.fd(), governor.events().map(|it| it.as_raw_fd()), next);
        if woken.urgent {
            governor.throttled();
        }
        if woken.readable || super::has_to_end() {
            return (governor.verdict(), woken.readable);
        }
    }
}

fn record(verdict: &Verdict, argv: &[Vec<u8>], held: &Held, at: &Whereabouts) -> Record {
    let lived = since(held.id.started_ns);
    let mut record =
        Record::begin(SystemTime::now().checked_sub(lived).unwrap_or_else(SystemTime::now), verdict.class);
    record.session = Some(at.base.name().to_owned());
    record.placement = Placement::Leaf;
    record.command = argv.join(&b' ');
    record.argv0 = argv.first().cloned().unwrap_or_default();
    record.cwd = held.cwd();
    record.degraded = Some(format!(
        "started past the shell, and put into its leaf {} ms later: what it had charged by then stays with the agent",
        lived.as_millis()
    ));
    record
}

/// The time since then, on the clock that processes' starts are told by.
fn since(boottime_ns: u64) -> Duration {
    Duration::from_nanos(crate::cgroup::claim::boottime().saturating_sub(boottime_ns))
}

/// Writes it into root's log.
fn write(record: &Record, policy: &Policy) {
    if !policy.log.enabled.value {
        return;
    }
    if let Ok(path) = writer::place(&policy.log, true, |name| std::env::var_os(name)) {
        let _ = writer::write(record, &policy.log, &path);
    }
}
