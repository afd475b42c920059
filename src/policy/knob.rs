//! The one table of what a class, or an override, can set: reading, layering, tightening, the schema and
//! `explain` all go by it.

use super::compiled::{Amount, Knobs, Limits, OnExit, Oom, Origin, Partial, Set};
use super::units;
use crate::class::{Class, Classes};
use std::fmt;

/// A knob of a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // each is described in Knob::about
pub enum Knob {
    MemoryHigh,
    MemoryMax,
    SwapMax,
    Limits,
    Raise,
    CpuWeight,
    PidsMax,
    Oom,
    OomScoreAdj,
    OnExit,
    Freeze,
    ThrottleTimeout,
    Depends,
}

/// The value of any key of a policy.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // one for each Kind
pub enum Value {
    Amount(Amount),
    Bytes(u64),
    Length(u32),
    Limits(Limits),
    Oom(Oom),
    OnExit(OnExit),
    Class(Class),
    Classes(Classes),
    Flag(bool),
    Freeze(bool),
    Weight(u16),
    Pids(Option<u32>),
    Adj(i16),
    Count(u32),
    Few(u8),
    Millis(u32),
    Share(u16),
    Text(String),
}

/// What a key's value may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// An amount of memory of at least so many bytes, a share of the budget, or `max`.
    Amount {
        /// The least that makes sense, in bytes.
        least: u64,
    },
    /// The size of a file, in bytes, within these bounds.
    Bytes {
        /// From.
        least: u64,
        /// To, inclusive.
        most: u64,
    },
    /// The length of a part of a line, in bytes, from 0 up to this.
    Length(u32),
    /// `birth` or `contended`.
    Limits,
    /// `call` or `process`.
    Oom,
    /// `keep` or `kill`.
    OnExit,
    /// `allow` or `never`.
    Freeze,
    /// The name of a class.
    Class,
    /// A list of names of classes.
    Classes,
    /// `true` or `false`.
    Flag,
    /// 1 to 10,000: what cpu.weight takes.
    Weight,
    /// 1 to 4,194,304 (the kernel's PID_MAX_LIMIT), or `max`.
    Pids,
    /// 0 to 1,000.
    Adj,
    /// A whole number of at least 1 and at most this.
    Count(u32),
    /// 0 to 100.
    Few,
    /// 1 ms to 1 h.
    Millis,
    /// A time within these bounds.
    Time {
        /// From, in ms.
        least: u32,
        /// To, inclusive.
        most: u32,
    },
    /// 0.1 % to 100 % of something that the key names.
    Share,
    /// An absolute path.
    Path,
}

/// In which direction a knob may be moved by a workspace's file, which nobody has vouched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tighter {
    /// Towards less.
    Smaller,
    /// Towards more.
    Larger,
    /// Only to this word.
    Word(&'static str),
    /// Not at all: it is an error there.
    Never,
}

impl Knob {
    /// All, in the order in which they are shown.
    pub const ALL: [Knob; 13] = [
        Knob::MemoryHigh,
        Knob::MemoryMax,
        Knob::SwapMax,
        Knob::Limits,
        Knob::Raise,
        Knob::CpuWeight,
        Knob::PidsMax,
        Knob::Oom,
        Knob::OomScoreAdj,
        Knob::OnExit,
        Knob::Freeze,
        Knob::ThrottleTimeout,
        Knob::Depends,
    ];

    /// The least memory that anything can be run in: an exec of a static program alone charges some 100 KiB.
    const LEAST_MEMORY: u64 = 1 << 20;

    /// Key, kind, how a workspace may move it, and what it is.
    const fn row(self) -> (&'static str, Kind, Tighter, &'static str) {
        use Tighter::{Larger, Never, Smaller, Word};
        let memory = Kind::Amount { least: Self::LEAST_MEMORY };
        match self {
            Knob::MemoryHigh => (
                "memory.high",
                memory,
                Smaller,
                "Above this the call is slowed down and its memory is reclaimed",
            ),
            Knob::MemoryMax => {
                ("memory.max", memory, Smaller, "Above this the kernel's OOM killer ends the call")
            }
            Knob::SwapMax => (
                "memory.swap.max",
                Kind::Amount { least: 0 },
                Smaller,
                "How much of the call may be swapped out",
            ),
            Knob::Limits => (
                "limits",
                Kind::Limits,
                Word("birth"),
                "When memory.high and memory.max apply: from birth, or only while memory is contended",
            ),
            Knob::Raise => (
                "raise",
                Kind::Flag,
                Word("false"),
                "May memory.high be raised, up to memory.max, while nobody else needs the memory?",
            ),
            Knob::CpuWeight => (
                "cpu.weight",
                Kind::Weight,
                Smaller,
                "Share of the CPU against other calls; the kernel's default is 100",
            ),
            Knob::PidsMax => {
                ("pids.max", Kind::Pids, Smaller, "How many processes and threads the call may have")
            }
            Knob::Oom => (
                "oom",
                Kind::Oom,
                Word("call"),
                "What the OOM killer takes: the whole call, or one process of it",
            ),
            Knob::OomScoreAdj => (
                "oom_score_adj",
                Kind::Adj,
                Larger,
                "Added to the caller's oom_score_adj: a positive one makes the call go before others",
            ),
            Knob::OnExit => {
                ("on_exit", Kind::OnExit, Never, "What becomes of processes that outlive the call")
            }
            Knob::Freeze => (
                "freeze",
                Kind::Freeze,
                Never,
                "May the call be frozen for some seconds while others need the memory?",
            ),
            Knob::ThrottleTimeout => (
                "throttle_timeout",
                Kind::Millis,
                Smaller,
                "How long the call may be stalled over memory.high before it is ended",
            ),
            Knob::Depends => (
                "depends",
                Kind::Classes,
                Never,
                "Classes of calls of the same session that it needs: they give way to others no sooner than it does",
            ),
        }
    }

    /// The key in YAML: the kernel's own name where there is one.
    pub const fn name(self) -> &'static str {
        self.row().0
    }

    /// What its value may be.
    pub const fn kind(self) -> Kind {
        self.row().1
    }

    /// How a workspace may move it.
    pub const fn tighter(self) -> Tighter {
        self.row().2
    }

    /// What it is, in a sentence.
    pub const fn about(self) -> &'static str {
        self.row().3
    }

    /// The knob of a key.
    pub fn named(name: &str) -> Option<Knob> {
        Knob::ALL.into_iter().find(|k| k.name() == name)
    }

    /// May a workspace put `new` in the place of `old`? A share of the budget and a fixed amount are compared
    /// by the budget; without one they can't be, and the answer is no.
    pub fn tightens(self, old: &Value, new: &Value, budget: Option<u64>) -> bool {
        match self.tighter() {
            Tighter::Never => false,
            Tighter::Word(word) => new.to_string() == word,
            Tighter::Smaller => less(new, old, budget),
            Tighter::Larger => less(old, new, budget),
        }
    }
}

/// Is `a` at most `b`? No if that can't be told.
fn less(a: &Value, b: &Value, budget: Option<u64>) -> bool {
    match (a, b) {
        (Value::Amount(a), Value::Amount(b)) => match (a, b) {
            (_, Amount::Max) => true,
            (Amount::Max, _) => false,
            (Amount::Permille(a), Amount::Permille(b)) => a <= b,
            (a, b) => matches!((a.bytes(budget), b.bytes(budget)), (Some(a), Some(b)) if a <= b),
        },
        (Value::Pids(a), Value::Pids(b)) => a.unwrap_or(u32::MAX) <= b.unwrap_or(u32::MAX),
        (Value::Weight(a), Value::Weight(b)) => a <= b,
        (Value::Adj(a), Value::Adj(b)) => a <= b,
        (Value::Millis(a), Value::Millis(b)) => a <= b,
        _ => false,
    }
}

/// Which field of [`Knobs`] and [`Partial`] a knob is, and which kind of value is in it.
macro_rules! fields {
    ($($knob:ident $field:ident $value:ident),* $(,)?) => {
        impl Knobs {
            /// A knob's value and where it was set.
            pub fn get(&self, knob: Knob) -> Set<Value> {
                match knob {
                    $(Knob::$knob => Set { value: Value::$value(self.$field.value), origin: self.$field.origin },)*
                }
            }

            /// Sets a knob; a value of another kind changes nothing.
            pub fn put(&mut self, knob: Knob, set: &Set<Value>) {
                match (knob, &set.value) {
                    $((Knob::$knob, &Value::$value(value)) => self.$field = Set { value, origin: set.origin },)*
                    _ => {}
                }
            }

            /// Where its values were set. (Without a [`Value`] for each: this is looked at whenever a policy is read.)
            pub fn origins(&self) -> impl Iterator<Item = Origin> {
                [$(self.$field.origin),*].into_iter()
            }
        }

        impl Partial {
            /// A knob's value and where it was set, if it was.
            pub fn get(&self, knob: Knob) -> Option<Set<Value>> {
                match knob {
                    $(Knob::$knob => self.$field.map(|s| Set { value: Value::$value(s.value), origin: s.origin }),)*
                }
            }

            /// Sets a knob; a value of another kind changes nothing.
            pub fn put(&mut self, knob: Knob, set: &Set<Value>) {
                match (knob, &set.value) {
                    $((Knob::$knob, &Value::$value(value)) => self.$field = Some(Set { value, origin: set.origin }),)*
                    _ => {}
                }
            }

            /// Where its values were set.
            pub fn origins(&self) -> impl Iterator<Item = Origin> {
                [$(self.$field.map(|set| set.origin)),*].into_iter().flatten()
            }
        }
    };
}

fields! {
    MemoryHigh memory_high Amount,
    MemoryMax memory_max Amount,
    SwapMax swap_max Amount,
    Limits limits Limits,
    Raise raise Flag,
    CpuWeight cpu_weight Weight,
    PidsMax pids_max Pids,
    Oom oom Oom,
    OomScoreAdj oom_score_adj Adj,
    OnExit on_exit OnExit,
    Freeze freeze Freeze,
    ThrottleTimeout throttle_timeout_ms Millis,
    Depends depends Classes,
}

impl Partial {
    /// The knobs that are set.
    pub fn iter(&self) -> impl Iterator<Item = (Knob, Set<Value>)> {
        Knob::ALL.into_iter().filter_map(|k| Some((k, self.get(k)?)))
    }
}

impl fmt::Display for Value {
    /// As it stands in YAML.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Amount(v) => v.fmt(f),
            Value::Bytes(v) => f.pad(&units::show_bytes(*v)),
            Value::Length(v) => f.pad(&units::show_bytes(u64::from(*v))),
            Value::Limits(Limits::Birth) => f.pad("birth"),
            Value::Limits(Limits::Contended) => f.pad("contended"),
            Value::Oom(Oom::Call) => f.pad("call"),
            Value::Oom(Oom::Process) => f.pad("process"),
            Value::OnExit(OnExit::Keep) => f.pad("keep"),
            Value::OnExit(OnExit::Kill) => f.pad("kill"),
            Value::Class(v) => v.fmt(f),
            Value::Classes(v) => v.fmt(f),
            Value::Flag(v) => v.fmt(f),
            Value::Freeze(true) => f.pad("allow"),
            Value::Freeze(false) => f.pad("never"),
            Value::Weight(v) => v.fmt(f),
            Value::Pids(Some(v)) => v.fmt(f),
            Value::Pids(None) => f.pad("max"),
            Value::Adj(v) => v.fmt(f),
            Value::Count(v) => v.fmt(f),
            Value::Few(v) => v.fmt(f),
            Value::Millis(v) => f.pad(&units::show_duration(*v)),
            Value::Share(v) => Amount::Permille(*v).fmt(f),
            Value::Text(v) => f.pad(v),
        }
    }
}
