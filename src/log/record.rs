//! One tool call as the log has it.
//!
//! The schema, version 1. Times are whole microseconds, memory is in bytes, a field that isn't known is null,
//! and readers ignore fields that they don't know; a change that breaks a reader raises `v`.
//!
//! | field | what |
//! |---|---|
//! | `v` | 1 |
//! | `ts` | when the call began, RFC 3339 in UTC with ms |
//! | `id` | the call's own name, unique on this host: see [`unique_id`] |
//! | `session` | the session's cgroup, as a path below the cgroup2 mount |
//! | `leaf` | name of the leaf (`test-17`) |
//! | `cgroup_id`, `generation` | what BPF's events are keyed on; a leaf is used again and again |
//! | `class` | as in [`Class::name`] |
//! | `placement` | `leaf`, `in_place` (plain exec) or `degraded` (supervised without a leaf) |
//! | `command`, `command_bytes` | redacted and cut by policy; its full length |
//! | `cwd`, `argv0` | as the caller gave them |
//! | `shim` | the name of the shim that the command came through; missing where it came through a shell |
//! | `exit`, `signal` | one of the two; both null if the command replaced the launcher |
//! | `duration_us`, `cpu_user_us`, `cpu_sys_us` | wall time; CPU of the leaf (of the shell and what it waited for, if there is none or it took less than 100 ms) |
//! | `memory_peak`, `peak_source` | `leaf` (memory.peak, all processes) or `rusage` (the largest process) |
//! | `limits` | `memory_high`, `memory_max`, `swap_max`, `pids_max`: null is no limit; `cpu_weight` |
//! | `events` | what memory.events and pids.events counted during the call |
//! | `pressure` | µs of stall during the call, the `total=` of `some` and `full`; null for one of less than 100 ms |
//! | `slowed_us`, `held_us` | time throttled over memory.high; time frozen or held |
//! | `raised_to` | the highest that memory.high was raised to ahead of growth |
//! | `killed` | why agentsh killed it: `stalled`, `held_up`, `made_room`, `forked_on` |
//! | `hint` | `AGENT_RESOURCE_HINT` as it was given |
//! | `feedback` | what was printed on the caller's stderr |
//! | `degraded` | why there was no leaf, or why a part of its limits is not in force |
//!
//! What a call has left behind and what was killed as a fork bomb has a record of its own, with signal 9, the call's `ts`,
//! leaf and generation, and `degraded` naming the call.

use super::feedback::Why;
use super::{json::Object, redact, timestamp};
use crate::class::Class;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The version of the schema above.
pub const VERSION: u8 = 1;
/// No record is longer than this many bytes, newline included.
pub const MAX_BYTES: usize = 64 * 1024;

/// A tool call.
#[derive(Clone, Debug)]
pub struct Record {
    /// When the call began.
    pub start: SystemTime,
    /// See [`unique_id`].
    pub id: String,
    /// The session's cgroup below the cgroup2 mount.
    pub session: Option<String>,
    /// The leaf that the call ran in.
    pub leaf: Option<LeafName>,
    /// What the call was for.
    pub class: Class,
    /// How it was run.
    pub placement: Placement,
    /// The command as it came: the argument of `-c`, the script's path, a shim's argv. Redacted on the way out.
    pub command: Vec<u8>,
    /// The caller's working directory.
    pub cwd: Vec<u8>,
    /// The caller's argv\[0\].
    pub argv0: Vec<u8>,
    /// The shim that it came through.
    pub shim: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// Wall time.
    pub duration: Duration,
    /// CPU time in user mode.
    pub cpu_user: Duration,
    /// CPU time in the kernel.
    pub cpu_sys: Duration,
    /// The most memory it had at once, in bytes, and who says so.
    pub memory_peak: Option<Peak>,
    /// The limits in force when it ended.
    pub limits: Option<Limits>,
    /// What the kernel counted meanwhile.
    pub events: Option<Events>,
    /// Stall times meanwhile.
    pub pressure: Option<Pressure>,
    /// Time throttled over memory.high.
    pub slowed: Duration,
    /// Time frozen or held for the sake of others.
    pub held: Duration,
    /// The highest that memory.high was raised to, in bytes; none if it wasn't.
    pub raised_to: Option<u64>,
    /// Why agentsh itself killed the call, if it did.
    pub killed: Option<Why>,
    /// `AGENT_RESOURCE_HINT` as it was given.
    pub hint: Option<String>,
    /// What the agent was told.
    pub feedback: Option<String>,
    /// Why a part of the enforcement is missing.
    pub degraded: Option<String>,
}

/// A leaf's name and what tells its uses apart.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // as in the schema
pub struct LeafName {
    pub name: String,
    pub cgroup_id: u64,
    pub generation: u64,
}

/// How a command was run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// In a leaf of its own.
    Leaf,
    /// By plain exec in the launcher's place.
    InPlace,
    /// Supervised, without a leaf.
    Degraded,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With this exit status.
    Exited(u8),
    /// By this signal.
    Signaled(i32),
    /// Not known: it took the launcher's place.
    Replaced,
}

/// Peak memory in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peak {
    /// memory.peak of the leaf.
    Leaf(u64),
    /// ru_maxrss of the largest process, where there is no leaf.
    Rusage(u64),
}

/// Limits; none is `max`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Limits {
    pub memory_high: Option<u64>,
    pub memory_max: Option<u64>,
    pub swap_max: Option<u64>,
    pub pids_max: Option<u64>,
    pub cpu_weight: Option<u16>,
}

/// Counts of memory.events and of pids.events:max (`pids`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Events {
    pub low: u64,
    pub high: u64,
    pub max: u64,
    pub oom: u64,
    pub oom_kill: u64,
    pub oom_group_kill: u64,
    pub pids: u64,
}

/// Stall times in µs, from memory.pressure, cpu.pressure and io.pressure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Pressure {
    pub memory_some_us: u64,
    pub memory_full_us: u64,
    pub cpu_some_us: u64,
    pub io_some_us: u64,
}

impl Record {
    /// A record of a call that has just begun, and of which nothing more is known.
    pub fn begin(start: SystemTime, class: Class) -> Record {
        Record {
            start,
            id: unique_id(start, std::process::id()),
            session: None,
            leaf: None,
            class,
            placement: Placement::Degraded,
            command: Vec::new(),
            cwd: Vec::new(),
            argv0: Vec::new(),
            shim: None,
            outcome: Outcome::Replaced,
            duration: Duration::ZERO,
            cpu_user: Duration::ZERO,
            cpu_sys: Duration::ZERO,
            memory_peak: None,
            limits: None,
            events: None,
            pressure: None,
            slowed: Duration::ZERO,
            held: Duration::ZERO,
            raised_to: None,
            killed: None,
            hint: None,
            feedback: None,
            degraded: None,
        }
    }

    /// The record as one line of JSON, newline included, of at most `max_bytes` (and [`MAX_BYTES`]); the
    /// command is what gives way. `command_bytes` and `redact` are the policy's.
    pub fn line(&self, command_bytes: usize, redact: bool, max_bytes: usize) -> String {
        let max_bytes = max_bytes.min(MAX_BYTES);
        let mut text_bytes = command_bytes;
        loop {
            let line = self.render(text_bytes, redact);
            if line.len() <= max_bytes {
                return line;
            }
            if text_bytes == 0 {
                // Not even without the command: another text must be absurdly long. What is left names the call.
                return self.short().render(0, redact);
            }
            // Scaled to fit, as if all of the line were the command; the last part ends it soon if much of it isn't.
            let kept = text_bytes.min(self.command.len());
            text_bytes = (kept * max_bytes / line.len()).min(kept - kept.div_ceil(16));
        }
    }

    fn render(&self, command_bytes: usize, redact: bool) -> String {
        let (exit, signal) = match self.outcome {
            Outcome::Exited(code) => (Some(code), None),
            Outcome::Signaled(signal) => (None, Some(signal)),
            Outcome::Replaced => (None, None),
        };
        let (peak, peak_source) = match self.memory_peak {
            Some(Peak::Leaf(bytes)) => (Some(bytes), Some("leaf")),
            Some(Peak::Rusage(bytes)) => (Some(bytes), Some("rusage")),
            None => (None, None),
        };
        let hint = self.hint.as_ref().map(|hint| redact::command(hint.as_bytes(), 256, redact));
        let mut line = Object::new()
            .number("v", VERSION)
            .text("ts", timestamp::rfc3339(self.start))
            .text("id", &self.id)
            .maybe_text("session", self.session.as_ref())
            .maybe_text("leaf", self.leaf.as_ref().map(|leaf| &leaf.name))
            .maybe_number("cgroup_id", self.leaf.as_ref().map(|leaf| leaf.cgroup_id))
            .maybe_number("generation", self.leaf.as_ref().map(|leaf| leaf.generation))
            .text("class", self.class.name())
            .text("placement", self.placement.name())
            .text("command", redact::command(&self.command, command_bytes, redact))
            .number("command_bytes", self.command.len() as u64)
            .text("cwd", &self.cwd)
            .text("argv0", &self.argv0)
            .text_if("shim", self.shim.as_ref())
            .maybe_number("exit", exit)
            .maybe_number("signal", signal)
            .number("duration_us", micros(self.duration))
            .number("cpu_user_us", micros(self.cpu_user))
            .number("cpu_sys_us", micros(self.cpu_sys))
            .maybe_number("memory_peak", peak)
            .maybe_text("peak_source", peak_source)
            .maybe_object("limits", self.limits.map(Limits::object))
            .maybe_object("events", self.events.map(Events::object))
            .maybe_object("pressure", self.pressure.map(Pressure::object))
            .number("slowed_us", micros(self.slowed))
            .number("held_us", micros(self.held))
            .maybe_number("raised_to", self.raised_to)
            .maybe_text("killed", self.killed.map(Why::name))
            .maybe_text("hint", hint)
            .maybe_text("feedback", self.feedback.as_ref())
            .maybe_text("degraded", self.degraded.as_ref())
            .close();
        line.push('\n');
        line
    }

    /// The same call with every text cut to a length that fits PIPE_BUF together.
    fn short(&self) -> Record {
        let cut = |text: &[u8]| redact::command(text, 100, false).into_bytes();
        let cut_text = |text: &String| redact::command(text.as_bytes(), 100, false);
        Record {
            id: cut_text(&self.id),
            session: self.session.as_ref().map(cut_text),
            leaf: self.leaf.as_ref().map(|leaf| LeafName { name: cut_text(&leaf.name), ..leaf.clone() }),
            cwd: cut(&self.cwd),
            argv0: cut(&self.argv0),
            hint: self.hint.as_ref().map(cut_text),
            feedback: self.feedback.as_ref().map(cut_text),
            degraded: self.degraded.as_ref().map(cut_text),
            ..self.clone()
        }
    }
}

impl Placement {
    /// As it stands in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Placement::Leaf => "leaf",
            Placement::InPlace => "in_place",
            Placement::Degraded => "degraded",
        }
    }
}

impl Limits {
    fn object(self) -> Object {
        Object::new()
            .maybe_number("memory_high", self.memory_high)
            .maybe_number("memory_max", self.memory_max)
            .maybe_number("swap_max", self.swap_max)
            .maybe_number("pids_max", self.pids_max)
            .maybe_number("cpu_weight", self.cpu_weight)
    }
}

impl Events {
    fn object(self) -> Object {
        Object::new()
            .number("low", self.low)
            .number("high", self.high)
            .number("max", self.max)
            .number("oom", self.oom)
            .number("oom_kill", self.oom_kill)
            .number("oom_group_kill", self.oom_group_kill)
            .number("pids_max", self.pids)
    }
}

impl Pressure {
    fn object(self) -> Object {
        Object::new()
            .number("memory_some_us", self.memory_some_us)
            .number("memory_full_us", self.memory_full_us)
            .number("cpu_some_us", self.cpu_some_us)
            .number("io_some_us", self.io_some_us)
    }
}

/// A call's name: its start in ns since the epoch and the launcher's pid, both in hex. A pid isn't used twice
/// within one ns, so no two calls of a host (or of a pid namespace) share it, and names sort by time.
pub fn unique_id(start: SystemTime, pid: u32) -> String {
    let since = start.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    format!("{:016x}-{pid:x}", since.as_nanos() as u64)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
