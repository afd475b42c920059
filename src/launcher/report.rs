//! After the call: what the agent is told, and what the log gets.

use super::call::{Call, note};
use super::env::Env;
use super::survivors;
use super::voice::Voice;
use crate::cgroup::control::Reason;
use crate::cgroup::governor::Verdict;
use crate::cgroup::leaf::Leaf;
use crate::cgroup::limits;
use crate::cgroup::usage::{LimitOwner, Usage};
use crate::log::feedback::{self, Facts, Limit, Whose, Why};
use crate::log::record::{Events, Limits, Outcome, Peak, Pressure, Record};
use crate::log::writer;
use crate::policy::compiled::{LogPolicy, OnExit};
use crate::sys::process::{self, Change, Used};
use crate::sys::signal;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How a call ended, as the log has it.
pub fn outcome(change: Change) -> Outcome {
    match change {
        Change::Exited(status) => Outcome::Exited(status as u8),
        Change::Killed(signal) => Outcome::Signaled(signal),
        Change::Stopped(_) | Change::Continued => Outcome::Replaced,
    }
}

/// What is known of the ended call; completes its record and gives its leaf back, unless what lives on in it is to be feared.
pub fn facts(call: &mut Call, leaf: Option<(Leaf, Verdict)>, used: &Used) -> (Facts, Option<Leaf>) {
    let record = &mut call.record;
    let mut facts = Facts::quiet(call.verdict.class, record.duration);
    (record.cpu_user, record.cpu_sys) = (used.user, used.system);
    record.memory_peak = (used.max_rss > 0).then_some(Peak::Rusage(used.max_rss));
    let (Some(session), Some((mut leaf, governed))) = (&call.session, leaf) else { return (facts, None) };
    if !leaf.lacks.is_empty() {
        note(record, Some(format!("not in force here: {}", leaf.lacks.join(", "))));
    }
    let usage = leaf.finish(session, governed.high, record.duration, Some(used));
    let counted = usage.counters;
    // Known already of a call that has settled; of another one only where it will be told of.
    let budget = if leaf.left.is_none() || counted.oom_kill > 0 { call.budget() } else { None };
    let record = &mut call.record;
    used_by(record, &leaf, &usage, &governed);
    facts.peak = usage.memory_peak;
    facts.oom_kills = counted.oom_kill;
    facts.oom_group = leaf.limits.oom_group;
    let of_budget = Limit { whose: Whose::Budget, knob: "memory.max", amount: budget };
    facts.limit = usage.oom_owner.map(limit_hit).or(Some(match governed.killed {
        Some(Reason::MadeRoom) => governed.short.clone().map_or(of_budget, limit_hit),
        _ => Limit { whose: Whose::Call, knob: "memory.high", amount: governed.high },
    }));
    facts.hint_room = budget.map(limits::for_one_call);
    (facts.slowed, facts.gave_way, facts.held) = (governed.slowed, governed.gave_way, governed.held);
    facts.killed = record.killed;
    facts.earlier = governed.bombs.iter().map(|bomb| (bomb.class, bomb.limit)).collect();
    if counted.pids_max > 0 || governed.killed == Some(Reason::ForkedOn) {
        let amount = leaf.limits.pids_max.map(u64::from);
        facts.pids = Some(Limit { whose: Whose::Call, knob: "pids.max", amount });
    }
    let on_exit = call.resolved.knobs.on_exit.value;
    if usage.populated_after && on_exit == OnExit::Keep && survivors::fear(&leaf, counted.pids_max) {
        return (facts, Some(leaf));
    }
    leaf.release(session, on_exit);
    (facts, None)
}

/// What the leaf and its governor tell, into the record.
pub fn used_by(record: &mut Record, leaf: &Leaf, usage: &Usage, governed: &Verdict) {
    let counted = usage.counters;
    if counted.cpu_user_us + counted.cpu_sys_us > 0 {
        record.cpu_user = Duration::from_micros(counted.cpu_user_us);
        record.cpu_sys = Duration::from_micros(counted.cpu_sys_us);
    }
    if let Some(peak) = usage.memory_peak {
        record.memory_peak = Some(Peak::Leaf(peak));
    }
    record.limits = Some(limits(leaf, governed.high));
    (record.slowed, record.held) = (governed.slowed, governed.held);
    record.raised_to = (governed.raised > 0).then_some(governed.raised_to);
    record.events = Some(Events {
        low: counted.low,
        high: counted.high,
        max: counted.max,
        oom: counted.oom,
        oom_kill: counted.oom_kill,
        oom_group_kill: counted.oom_group_kill,
        pids: counted.pids_max,
    });
    record.pressure = usage.stalls.map(|stalls| Pressure {
        memory_some_us: stalls.memory_some_us,
        memory_full_us: stalls.memory_full_us,
        cpu_some_us: stalls.cpu_some_us,
        io_some_us: stalls.io_some_us,
    });
    record.killed = governed.killed.map(|reason| match reason {
        Reason::Stalled(time) => Why::Stalled(time),
        Reason::HeldUp(time) => Why::HeldUp(time),
        Reason::MadeRoom => Why::MadeRoom,
        Reason::ForkedOn => Why::ForkedOn,
    });
}

fn limit_hit(owner: LimitOwner) -> Limit {
    let (whose, amount) = match owner {
        LimitOwner::Leaf(amount) => (Whose::Call, amount),
        LimitOwner::Budget(amount) => (Whose::Budget, amount),
        LimitOwner::Above { path, limit } => (Whose::Above(path.display().to_string()), limit),
        LimitOwner::Machine => (Whose::Machine, None),
    };
    Limit { whose, knob: "memory.max", amount }
}

fn limits(leaf: &Leaf, memory_high: Option<u64>) -> Limits {
    Limits {
        memory_high,
        memory_max: leaf.limits.max,
        swap_max: leaf.limits.swap_max,
        pids_max: leaf.limits.pids_max.map(u64::from),
        cpu_weight: Some(leaf.limits.cpu_weight),
    }
}

/// Tells the agent what happened, if something did.
pub fn tell(voice: &Voice, facts: &Facts, record: &mut Record) {
    let Some(text) = feedback::text(facts) else { return };
    if !voice.say(&text) {
        note(record, Some("the message could not be delivered: standard error is closed or full".into()));
    }
    record.feedback = Some(text);
}

/// Writes the record. A log that can't be written is `agentshctl doctor`'s to tell of, never the command's.
pub fn log(record: &Record, policy: &LogPolicy, env: &Env) {
    if let Some(path) = log_path(policy, env) {
        write(record, policy, &path);
    }
}

/// Where the log is; none if there is to be none.
pub fn log_path(policy: &LogPolicy, env: &Env) -> Option<PathBuf> {
    if !policy.enabled.value {
        return None;
    }
    let variable = |name: &str| -> Option<OsString> {
        let value = match name {
            "AGENTSH_LOG" => env.log,
            "XDG_STATE_HOME" => env.state_home,
            "HOME" => env.home,
            _ => None,
        };
        value.map(|v| OsStr::from_bytes(v).to_owned())
    };
    writer::place(policy, process::euid() == 0, variable).ok()
}

/// Writes the record there.
pub fn write(record: &Record, policy: &LogPolicy, path: &Path) {
    if writer::write(record, policy, path).is_err() {
        // A file limit, a reader that has left: in place, the shell would die of what is still pending. A signal is raised only
        // where the write fails.
        [libc::SIGXFSZ, libc::SIGPIPE].into_iter().for_each(signal::take);
    }
}
