//! What the agent is told on stderr: only when something happened, in plain language, with what to do next.
//!
//! Pure: from [`Facts`] to text. An agent reads it as part of the command's output, so each text says first what
//! happened, then that the environment did it and not the code under test, then the one next step that fits.

use crate::class::Class;
use std::fmt::Write as _;
use std::time::Duration;

/// No text is longer: all of it must go into a pipe with one write (PIPE_BUF is 4,096) beside other output.
pub const MAX_BYTES: usize = 1200;
/// What an agent need not be told of: a call that was slowed or held for less than this, or for less than a tenth
/// of its time. Agents' own timeouts begin at tens of seconds; below 2 s nobody changes a plan.
const WORTH_TELLING: Duration = Duration::from_secs(2);

/// What is known of a call when it has ended.
#[derive(Clone, Debug)]
pub struct Facts {
    /// What the call was for: decides the advice.
    pub class: Class,
    /// Wall time of the call.
    pub duration: Duration,
    /// Processes that the kernel's OOM killer took from this leaf (memory.events:oom_kill, by difference).
    pub oom_kills: u64,
    /// Did it take the whole call (memory.oom.group), or single processes?
    pub oom_group: bool,
    /// Whose limit was hit, by the OOM killer or by throttling. The leaf's own `memory.events:oom` (or `max`) being
    /// 0 while `oom_kill` isn't means an ancestor's.
    pub limit: Option<Limit>,
    /// The most memory that the call had at once, in bytes.
    pub peak: Option<u64>,
    /// What agentsh itself killed the call for, if it did.
    pub killed: Option<Why>,
    /// Time throttled over memory.high.
    pub slowed: Duration,
    /// How much of that was so that others got their memory.
    pub gave_way: Duration,
    /// Time frozen or held so that others got their memory.
    pub held: Duration,
    /// The limit of processes that a fork failed at (pids.events:max grew).
    pub pids: Option<Limit>,
    /// Leftovers of earlier calls that kept forking and were killed: their classes and limits of processes.
    pub earlier: Vec<(Class, u64)>,
    /// The most memory that this call could be given by a hint, in bytes: what its session's budget leaves.
    pub hint_room: Option<u64>,
}

/// A limit that was hit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Whose it is.
    pub whose: Whose,
    /// The knob's file name, such as `memory.max`.
    pub knob: &'static str,
    /// Bytes, or processes for pids.max; none if it couldn't be read.
    pub amount: Option<u64>,
}

/// Whose limit it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// This call's own leaf.
    Call,
    /// The budget that all calls of the session share.
    Budget,
    /// Another level above, such as the container's: its cgroup's path.
    Above(String),
    /// No cgroup's: the machine itself ran out of memory.
    Machine,
}

/// Why agentsh killed a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It stood still over memory.high for so long.
    Stalled(Duration),
    /// It was held up for so long for calls that matter more.
    HeldUp(Duration),
    /// Calls that matter more needed the memory.
    MadeRoom,
    /// It forked on and on, though its forks failed.
    ForkedOn,
}

impl Why {
    /// As it stands in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Why::Stalled(_) => "stalled",
            Why::HeldUp(_) => "held_up",
            Why::MadeRoom => "made_room",
            Why::ForkedOn => "forked_on",
        }
    }
}

impl Facts {
    /// The facts of a call to which nothing has happened.
    pub fn quiet(class: Class, duration: Duration) -> Facts {
        Facts {
            class,
            duration,
            oom_kills: 0,
            oom_group: true,
            limit: None,
            peak: None,
            killed: None,
            slowed: Duration::ZERO,
            gave_way: Duration::ZERO,
            held: Duration::ZERO,
            pids: None,
            earlier: Vec::new(),
            hint_room: None,
        }
    }
}

/// The text to print, lines prefixed with `[agentsh] `; none if nothing happened that the environment did.
/// An exit status of 137 or a `kill -9` is the command's own business and isn't looked at.
pub fn text(facts: &Facts) -> Option<String> {
    let mut lines: Vec<String> = Vec::new();
    if facts.oom_kills > 0 {
        lines.push(out_of_memory(facts));
        lines.push(NOT_THE_CODE.into());
        lines.push(more_memory(facts));
    } else if let Some(why) = facts.killed {
        lines.push(killed(facts, why));
        lines.push(NOT_THE_CODE.into());
        lines.push(match why {
            Why::ForkedOn => fewer_processes(facts.class),
            Why::HeldUp(_) | Why::MadeRoom => later(facts.class),
            Why::Stalled(_) => more_memory(facts),
        });
    } else if let Some(limit) = &facts.pids {
        lines.push(no_more_processes(limit));
        lines.push(NOT_THE_CODE.into());
        lines.push(fewer_processes(facts.class));
    } else if is_long(facts.slowed.saturating_sub(facts.gave_way), facts.duration) {
        lines.push(slowed(facts));
        lines.push(more_memory(facts));
    } else if is_long(for_others(facts), facts.duration) {
        lines.push(format!(
            "Slowed, not killed: this {} call was held up for {} so that calls that matter more got their memory.",
            facts.class,
            seconds(for_others(facts))
        ));
        lines.push(
            "Its result is complete. If it ran into a timeout, run it again when less is going on.".into(),
        );
    }
    if let Some((class, limit)) = facts.earlier.first() {
        let others = match facts.earlier.len() - 1 {
            0 => String::new(),
            n => format!(" (And those of {n} more.)"),
        };
        lines.push(format!(
            "Killed: processes left behind by an earlier {class} call kept forking at the process limit of that \
             call, {limit} processes (pids.max).{others} The present call is none the worse for it."
        ));
        if lines.len() == 1 {
            lines.push(fewer_processes(*class));
        }
    }
    (!lines.is_empty()).then(|| prefixed(&lines))
}

const NOT_THE_CODE: &str = "This is a limit of the environment, not a fault of the code under test.";

#[cold]
fn out_of_memory(facts: &Facts) -> String {
    let what = if facts.oom_group {
        format!("this {} call was killed", facts.class)
    } else if facts.oom_kills == 1 {
        format!("one process of this {} call was killed", facts.class)
    } else {
        format!("{} processes of this {} call were killed", facts.oom_kills, facts.class)
    };
    let peak = facts.peak.map(|peak| format!(" Its peak was {}.", bytes(peak))).unwrap_or_default();
    format!("Out of memory: {what} at {}.{peak}", limit(facts.limit.as_ref()))
}

#[cold]
fn killed(facts: &Facts, why: Why) -> String {
    let peak = facts.peak.map(|peak| format!(" Its peak was {}.", bytes(peak))).unwrap_or_default();
    let class = facts.class;
    match why {
        Why::Stalled(time) => format!(
            "Killed: this {class} call stood still for {} at {}.{peak}",
            seconds(time),
            limit(facts.limit.as_ref())
        ),
        Why::HeldUp(time) => format!(
            "Killed: calls that matter more than this {class} call needed the memory for {}, and it could not go on.{peak}",
            seconds(time)
        ),
        Why::MadeRoom => format!(
            "Killed: memory ran out at {}, and calls that matter more than this {class} call needed it.{peak}",
            limit(facts.limit.as_ref())
        ),
        Why::ForkedOn => format!(
            "Killed: processes of this {class} call kept forking, though forks failed, at {}.",
            limit(facts.pids.as_ref())
        ),
    }
}

#[cold]
fn slowed(facts: &Facts) -> String {
    let peak = facts.peak.map(|peak| format!(" Its peak was {}.", bytes(peak))).unwrap_or_default();
    format!(
        "Slowed, not killed: this {} call was slowed for {} of {} at {}, a limit of the environment.{peak}",
        facts.class,
        seconds(facts.slowed),
        seconds(facts.duration),
        limit(facts.limit.as_ref())
    )
}

#[cold]
fn no_more_processes(hit: &Limit) -> String {
    format!("A fork failed (\"Resource temporarily unavailable\") at {}.", limit(Some(hit)))
}

/// `the memory limit of this call, 2 GiB (memory.max)`.
fn limit(limit: Option<&Limit>) -> String {
    let Some(limit) = limit else {
        return "a memory limit".into();
    };
    let processes = limit.knob.starts_with("pids");
    let amount = match limit.amount {
        Some(count) if processes => format!(", {count} processes"),
        Some(amount) => format!(", {}", bytes(amount)),
        None => String::new(),
    };
    let what = if processes { "process limit" } else { "memory limit" };
    let whose = match &limit.whose {
        Whose::Call => "this call",
        Whose::Budget => "all calls of this session together",
        Whose::Above(cgroup) => &format!("the cgroup {} above this session", shortened(cgroup)),
        Whose::Machine => return "the end of the machine's own memory".into(),
    };
    format!("the {what} of {whose}{amount} ({})", limit.knob)
}

/// How to get more, if there is more; else how to need less.
#[cold]
fn more_memory(facts: &Facts) -> String {
    match suggestion(facts) {
        Some(amount) if facts.class != Class::Explore => format!(
            "If it needs more, ask for it: AGENT_RESOURCE_HINT=memory:{} COMMAND. Or {}.",
            hint(amount),
            narrower(facts.class)
        ),
        Some(amount) => format!(
            "Retry narrower: {}. If that can't be: AGENT_RESOURCE_HINT=memory:{} COMMAND.",
            narrower(facts.class),
            hint(amount)
        ),
        None => format!("The budget has no more to give: {}.", narrower(facts.class)),
    }
}

/// What there is too little of is shared with other calls: no hint helps.
#[cold]
fn later(class: Class) -> String {
    format!("Run it again when less is going on, or {}.", narrower(class))
}

/// Twice the limit (or the peak, if another's limit was hit), in steps of 512 MiB, as far as the budget goes;
/// none if that isn't a quarter more than what wasn't enough.
fn suggestion(facts: &Facts) -> Option<u64> {
    const STEP: u64 = 512 << 20;
    let not_enough = match &facts.limit {
        Some(Limit { whose: Whose::Call, amount, .. }) => (*amount).or(facts.peak)?,
        // A hint raises the call's own limit; it can't raise anybody else's.
        _ => return None,
    };
    let room = facts.hint_room? / STEP * STEP;
    let wish = not_enough.saturating_mul(2).div_ceil(STEP).saturating_mul(STEP).min(room);
    (wish >= not_enough.saturating_add(not_enough / 4) && wish > 0).then_some(wish)
}

/// The same work in less memory.
fn narrower(class: Class) -> &'static str {
    match class {
        Class::Test => {
            "run less at a time: one test file, or fewer workers (pytest -n 2, jest --maxWorkers=2, go test -p 1)"
        }
        Class::Build => "build with fewer jobs (make -j2, cargo build -j1, ninja -j2), or one target only",
        Class::Install => "install less at a time, and ready-made packages (wheels) instead of building them",
        Class::Git => "do less at a time: --depth 1, a single path, or git -c pack.threads=1",
        Class::Explore => {
            "search one subdirectory or file pattern, leave out node_modules, .git and build output, and pipe into head"
        }
        Class::Edit => "edit fewer files at a time",
        Class::Run | Class::Other | Class::Agent => {
            "work on less data at a time (a sample, a stream, chunks), or with fewer workers"
        }
    }
}

#[cold]
fn fewer_processes(class: Class) -> String {
    let how = match class {
        Class::Test => "fewer workers (pytest -n 2, jest --maxWorkers=2)",
        Class::Build => "fewer jobs (make -j2)",
        _ => "fewer processes or threads at a time, and check that no script starts itself again and again",
    };
    format!("Retry with {how}.")
}

/// Time that the call was slowed or frozen for the sake of others.
fn for_others(facts: &Facts) -> Duration {
    facts.held.saturating_add(facts.gave_way)
}

fn is_long(time: Duration, of: Duration) -> bool {
    time >= WORTH_TELLING && time.saturating_mul(10) >= of
}

fn prefixed(lines: &[String]) -> String {
    let mut text = String::new();
    for line in lines {
        // Writing to a String can't fail.
        let _ = writeln!(text, "[agentsh] {line}");
    }
    if text.len() > MAX_BYTES {
        text.truncate(text.floor_char_boundary(MAX_BYTES - 1));
        text.push('\n');
    }
    text
}

/// The end of a long path is what tells it apart.
fn shortened(path: &str) -> String {
    const LONGEST: usize = 160;
    if path.len() <= LONGEST {
        return path.into();
    }
    format!("…{}", &path[path.ceil_char_boundary(path.len() - LONGEST)..])
}

/// `512 MiB`, `1.5 GiB`, as a person says it.
fn bytes(amount: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let Some((unit, name)) = UNITS.into_iter().find(|(unit, _)| amount >= *unit) else {
        return format!("{amount} bytes");
    };
    let tenths = (u128::from(amount) * 10 + u128::from(unit) / 2) / u128::from(unit);
    match tenths % 10 {
        0 => format!("{} {name}", tenths / 10),
        tenth => format!("{}.{tenth} {name}", tenths / 10),
    }
}

/// `4g`, `1536m`: an amount as a hint has it.
fn hint(amount: u64) -> String {
    if amount.is_multiple_of(1 << 30) { format!("{}g", amount >> 30) } else { format!("{}m", amount >> 20) }
}

fn seconds(time: Duration) -> String {
    if time < Duration::from_secs(10) {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} s", time.as_secs())
    }
}

#[cfg(test)]
#[path = "feedback_tests.rs"]
mod tests;
