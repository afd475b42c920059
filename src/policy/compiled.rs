//! The policy as the launcher reads it: already validated, layered and resolved, each value with the place it
//! was set at, so that `agentshctl explain` tells of exactly what the launcher does.

use crate::class::{Class, Classes};
use serde::{Deserialize, Serialize};

/// Everything that the launcher needs to know of the policies in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// The files (and folders) that this was compiled from, in order of layer; [`Origin::source`] is an index here.
    pub sources: Vec<Source>,
    /// The knobs of each class with a leaf, by its discriminant.
    pub classes: [Knobs; 8],
    /// Knobs for single commands; of several that match, the last one wins for each knob that it sets.
    pub overrides: Vec<Override>,
    /// What the words of `AGENT_RESOURCE_HINT` stand for.
    pub hints: Hints,
    /// What is logged, where, and how much of it.
    pub log: LogPolicy,
    /// What a session gets when agentsh makes it.
    pub session: SessionPolicy,
    /// When calls give way to others for their memory.
    pub holding: HoldingPolicy,
}

impl Policy {
    /// The knobs of a class; an agent has no leaf, and is planned as `other` where one asks all the same.
    pub fn class(&self, class: Class) -> &Knobs {
        &self.classes[if class == Class::Agent { Class::Other } else { class } as usize]
    }

    /// Whose word a value is.
    pub fn layer(&self, origin: Origin) -> Layer {
        self.sources.get(usize::from(origin.source)).map_or(Layer::Hint, |s| s.layer)
    }

    /// `FILE:LINE` of a value, or `AGENT_RESOURCE_HINT`.
    pub fn place(&self, origin: Origin) -> String {
        match self.sources.get(usize::from(origin.source)) {
            Some(source) => format!("{}:{}", source.path, origin.line),
            None => "AGENT_RESOURCE_HINT".into(),
        }
    }
}

/// A file or folder that the policy depends on. A folder stands for "a file was added or removed".
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// An absolute path, or `<built-in>/default.yaml`.
    pub path: String,
    /// Whose word it is.
    pub layer: Layer,
    /// How it looked when it was compiled; none if it did not exist (or is built in). Differs: compile again.
    pub stamp: Option<Stamp>,
}

/// Layers, least specific first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Layer {
    /// policies/default.yaml, compiled into the binaries.
    Builtin,
    /// /etc/agentsh/policy.d/*.yaml: the operator's.
    System,
    /// `.agentsh.yaml` of the workspace: untrusted, may only tighten.
    Workspace,
    /// `AGENT_RESOURCE_HINT`: applied per call, never compiled.
    Hint,
}

/// What tells whether a file has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Device.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
    /// Modification time in ns since the epoch.
    pub mtime_ns: i64,
    /// Bytes.
    pub size: u64,
}

/// A value, and where it was set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Set<T> {
    /// The value.
    pub value: T,
    /// Where it was set.
    pub origin: Origin,
}

/// A line of a policy file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Index into [`Policy::sources`]; `u16::MAX` for a hint.
    pub source: u16,
    /// From 1.
    pub line: u32,
}

/// An amount of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Amount {
    /// Bytes, as given.
    Bytes(u64),
    /// Thousandths of the session's budget (`calls/`), else of the nearest finite ancestor's limit, else of
    /// MemAvailable at the session's start.
    Permille(u16),
    /// No limit (`max`).
    Max,
}

/// A contended memory.high above this share of memory.max kills before it has slowed (architecture, section 6).
pub const HIGH_OF_MAX_PERCENT: u64 = 70;

impl Amount {
    /// The memory.high that leaves a call time to be slowed below this memory.max: 70 % of it, in whole pages.
    pub fn high_below(self) -> Amount {
        let share =
            |max: u64| u64::try_from(u128::from(max) * u128::from(HIGH_OF_MAX_PERCENT) / 100).unwrap_or(max);
        match self {
            Amount::Bytes(max) => Amount::Bytes(share(max) & !0xfff),
            Amount::Permille(max) => Amount::Permille(u16::try_from(share(max.into())).unwrap_or(max)),
            Amount::Max => Amount::Max,
        }
    }
}

/// The knobs of one leaf.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Knobs {
    /// memory.high.
    pub memory_high: Set<Amount>,
    /// memory.max.
    pub memory_max: Set<Amount>,
    /// memory.swap.max.
    pub swap_max: Set<Amount>,
    /// When `memory_high` and `memory_max` apply.
    pub limits: Set<Limits>,
    /// May high be raised, up to memory.max, while nobody else needs the memory?
    pub raise: Set<bool>,
    /// cpu.weight, 1 to 10,000.
    pub cpu_weight: Set<u16>,
    /// pids.max; none for `max`.
    pub pids_max: Set<Option<u32>>,
    /// What the kernel's OOM killer takes.
    pub oom: Set<Oom>,
    /// Added to the caller's oom_score_adj (and never below the caller's), -1000 to 1000.
    pub oom_score_adj: Set<i16>,
    /// What becomes of processes that outlive the call.
    pub on_exit: Set<OnExit>,
    /// May the call be frozen while others need the memory?
    pub freeze: Set<bool>,
    /// How long it may be stalled over memory.high before it is killed, in ms.
    pub throttle_timeout_ms: Set<u32>,
    /// Classes of calls of the same session that the call needs, such as a server that its test asks: they give way to others
    /// no sooner than it does, and not to it.
    pub depends: Set<Classes>,
}

/// When a class's memory limits apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Limits {
    /// From birth.
    Birth,
    /// Only under contention; born with what the program would have seen without agentsh, as programs size
    /// themselves by their limits.
    Contended,
}

/// What the OOM killer takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Oom {
    /// The whole call (memory.oom.group=1).
    Call,
    /// One process of it (memory.oom.group=0).
    Process,
}

/// What becomes of processes that outlive the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnExit {
    /// They live on.
    Keep,
    /// They are killed with the call.
    Kill,
}

/// Knobs for the commands that match.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Override {
    /// Globs, one for each word of the command's argv from its first; words behind the last glob don't matter.
    pub pattern: Vec<String>,
    /// Where the override begins.
    pub origin: Origin,
    /// The class that it gives the command, if it does.
    pub class: Option<Set<Class>>,
    /// The knobs that it sets.
    pub knobs: Partial,
}

/// Some of the knobs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // as in Knobs
pub struct Partial {
    pub memory_high: Option<Set<Amount>>,
    pub memory_max: Option<Set<Amount>>,
    pub swap_max: Option<Set<Amount>>,
    pub limits: Option<Set<Limits>>,
    pub raise: Option<Set<bool>>,
    pub cpu_weight: Option<Set<u16>>,
    pub pids_max: Option<Set<Option<u32>>>,
    pub oom: Option<Set<Oom>>,
    pub oom_score_adj: Option<Set<i16>>,
    pub on_exit: Option<Set<OnExit>>,
    pub freeze: Option<Set<bool>>,
    pub throttle_timeout_ms: Option<Set<u32>>,
    pub depends: Option<Set<Classes>>,
}

/// What the words of a hint stand for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Hints {
    pub enabled: Set<bool>,
    pub memory_low: Set<Amount>,
    pub memory_medium: Set<Amount>,
    pub memory_high: Set<Amount>,
    pub cpu_low: Set<u16>,
    pub cpu_high: Set<u16>,
}

/// What is logged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogPolicy {
    /// Write a log at all?
    pub enabled: Set<bool>,
    /// Its file; none for the default place.
    pub path: Option<Set<String>>,
    /// Commands are cut at so many bytes; 0 logs none of them.
    pub command_bytes: Set<u32>,
    /// Replace the values of variables named *KEY*, *TOKEN*, *SECRET*, *PASS*?
    pub redact: Set<bool>,
    /// The log is rotated at so many bytes.
    pub rotate_bytes: Set<u64>,
    /// So many old logs are kept.
    pub keep: Set<u8>,
}

/// What a session gets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionPolicy {
    /// What the agent itself is kept alive with: memory.min of `agent/`, and what `calls/` leaves of the session's limit.
    pub reserve: Set<Amount>,
    /// memory.max of `calls/`, before the session's own limit; `max` for that limit less the reserve.
    pub budget: Set<Amount>,
    /// memory.swap.max of `calls/`.
    pub swap_max: Set<Amount>,
    /// pids.max of `calls/`.
    pub pids_max: Set<Option<u32>>,
    /// cgroup.max.descendants of the session.
    pub max_leaves: Set<u32>,
}

/// When calls give way to others for their memory, and how: for the kernel's side (bpf/agentsh.h, `struct hold_params`) and
/// the launcher's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HoldingPolicy {
    /// Does the scheduler hold calls?
    pub enabled: Set<bool>,
    /// What a call that gives way may take until it stands still, in bytes.
    pub creep: Set<u64>,
    /// What one charge may take beyond that, in bytes.
    pub chunk: Set<u64>,
    /// A hold ends when so many bytes more than needed are left.
    pub release: Set<u64>,
    /// A call that comes first may soon have so much more, in thousandths of what it has …
    pub growth: Set<u16>,
    /// … or so many bytes.
    pub least: Set<u64>,
    /// Of two of a kind the younger leaves the older so much, in thousandths of what that has.
    pub equals: Set<u16>,
    /// What a call hasn't had for so long, nor for a quarter of its life, it needs no more, in ms.
    pub recent_ms: Set<u32>,
    /// A call that has slept for so long needs nothing, in ms.
    pub awake_ms: Set<u32>,
    /// A held task waits so long for a turn, in ms.
    pub wait_ms: Set<u32>,
    /// All held tasks have a turn in this time, in ms.
    pub round_ms: Set<u32>,
    /// What is held is looked at so often, in ms.
    pub tick_ms: Set<u32>,
    /// The scheduler alone holds a call for so long, in ms.
    pub hand_over_ms: Set<u32>,
    /// Memory has been about to run out for so long before a call is killed, in ms.
    pub critical_ms: Set<u32>,
}

impl HoldingPolicy {
    /// What is wrong with these times together, as a sentence; each by itself is within its bounds.
    pub fn fault(&self) -> Option<String> {
        let times = [("tick", self.tick_ms), ("wait", self.wait_ms), ("round", self.round_ms)];
        times.windows(2).find_map(|pair| {
            let ((less, a), (more, b)) = (pair[0], pair[1]);
            (a.value > b.value).then(|| {
                format!(
                    "{less} {} ms is longer than {more} {} ms; valid: tick <= wait <= round",
                    a.value, b.value
                )
            })
        })
    }
}
