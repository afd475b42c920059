//! The keys outside of classes: `hints:`, `log:`, `session:` and `holding:`; what [`super::knob`] is for a class.

use super::compiled::{Policy, Set};
use super::knob::{Kind, Value};

/// Which field of [`Policy`] a setting is, and which kind of value is in it.
macro_rules! settings {
    ($($setting:ident $section:ident . $field:ident $value:ident $path:literal $kind:expr, $about:literal;)*) => {
        /// A key outside of classes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs)] // each is described in Setting::about
        pub enum Setting { LogPath, $($setting),* }

        impl Setting {
            /// All, in the order in which they are shown.
            pub const ALL: &[Setting] = &[$(Setting::$setting,)* Setting::LogPath];

            /// Section and keys below it, with slashes: `hints/memory/low`.
            pub const fn path(self) -> &'static str {
                match self { Setting::LogPath => "log/path", $(Setting::$setting => $path),* }
            }

            /// What its value may be.
            pub const fn kind(self) -> Kind {
                match self { Setting::LogPath => Kind::Path, $(Setting::$setting => $kind),* }
            }

            /// What it is, in a sentence.
            pub const fn about(self) -> &'static str {
                match self {
                    Setting::LogPath =>
                        "The log's file; by default $XDG_STATE_HOME/agentsh/calls.jsonl (root: /var/log/agentsh/calls.jsonl)",
                    $(Setting::$setting => $about),*
                }
            }
        }

        impl Policy {
            /// A setting's value and where it was set; none only for a log's path that isn't set.
            pub fn setting(&self, setting: Setting) -> Option<Set<Value>> {
                Some(match setting {
                    Setting::LogPath => {
                        let path = self.log.path.as_ref()?;
                        Set { value: Value::Text(path.value.clone()), origin: path.origin }
                    }
                    $(Setting::$setting => {
                        let set = self.$section.$field;
                        Set { value: Value::$value(set.value), origin: set.origin }
                    })*
                })
            }

            /// Changes a setting; a value of another kind changes nothing.
            pub fn set(&mut self, setting: Setting, set: &Set<Value>) {
                match (setting, &set.value) {
                    (Setting::LogPath, Value::Text(path)) => {
                        self.log.path = Some(Set { value: path.clone(), origin: set.origin });
                    }
                    $((Setting::$setting, &Value::$value(value)) => {
                        self.$section.$field = Set { value, origin: set.origin };
                    })*
                    _ => {}
                }
            }
        }
    };
}

const MEMORY: Kind = Kind::Amount { least: 1 << 20 };
const MEMORY_OR_NONE: Kind = Kind::Amount { least: 0 };
/// What calls take of each other: from nothing worth mentioning up to what no machine has.
const SPARE: Kind = Kind::Bytes { least: 64 << 10, most: 64 << 30 };

settings! {
    HintsEnabled hints.enabled Flag "hints/enabled" Kind::Flag,
        "Is AGENT_RESOURCE_HINT obeyed?";
    HintMemoryLow hints.memory_low Amount "hints/memory/low" MEMORY,
        "What memory:low stands for";
    HintMemoryMedium hints.memory_medium Amount "hints/memory/medium" MEMORY,
        "What memory:medium stands for";
    HintMemoryHigh hints.memory_high Amount "hints/memory/high" MEMORY,
        "What memory:high stands for";
    HintCpuLow hints.cpu_low Weight "hints/cpu/low" Kind::Weight,
        "The cpu.weight that cpu:low stands for";
    HintCpuHigh hints.cpu_high Weight "hints/cpu/high" Kind::Weight,
        "The cpu.weight that cpu:high stands for";
    LogEnabled log.enabled Flag "log/enabled" Kind::Flag,
        "Is a log written?";
    LogCommand log.command_bytes Length "log/command" Kind::Length(128 << 10),
        "How much of each command is logged; 0 logs none of it";
    LogRedact log.redact Flag "log/redact" Kind::Flag,
        "Are the values of variables named *KEY*, *TOKEN*, *SECRET* or *PASS* replaced?";
    LogRotate log.rotate_bytes Bytes "log/rotate" Kind::Bytes { least: 64 << 10, most: 1 << 40 },
        "The log is rotated when it is this large";
    LogKeep log.keep Few "log/keep" Kind::Few,
        "How many rotated logs are kept";
    SessionReserve session.reserve Amount "session/reserve" MEMORY_OR_NONE,
        "What the agent itself is kept alive with: memory.min of agent/, and what calls/ leaves of the session's limit";
    SessionBudget session.budget Amount "session/budget" MEMORY,
        "memory.max of calls/; `max` for the session's own limit less the reserve";
    SessionSwap session.swap_max Amount "session/memory.swap.max" MEMORY_OR_NONE,
        "memory.swap.max of calls/";
    SessionPids session.pids_max Pids "session/pids.max" Kind::Pids,
        "pids.max of calls/: of all calls of the session together";
    SessionLeaves session.max_leaves Count "session/max_leaves" Kind::Count(100_000),
        "cgroup.max.descendants of the session";
    HoldingEnabled holding.enabled Flag "holding/enabled" Kind::Flag,
        "Does the scheduler hold calls whose memory those before them may need?";
    HoldingCreep holding.creep Bytes "holding/creep" SPARE,
        "What a call that gives way may take until it stands still";
    HoldingChunk holding.chunk Bytes "holding/chunk" SPARE,
        "What one charge may take beyond that";
    HoldingRelease holding.release Bytes "holding/release" SPARE,
        "A hold ends when so much more than needed is left";
    HoldingGrowth holding.growth Share "holding/growth" Kind::Share,
        "A call that comes first may soon have so much more, of what it has now";
    HoldingLeast holding.least Bytes "holding/least" SPARE,
        "It may soon have at least so much more";
    HoldingEquals holding.equals Share "holding/equals" Kind::Share,
        "Of two of a kind the younger leaves the older so much, of what that has now";
    HoldingRecent holding.recent_ms Millis "holding/recent" Kind::Time { least: 100, most: 3_600_000 },
        "What a call hasn't had for so long, nor for a quarter of its life, it is taken not to need soon";
    HoldingAwake holding.awake_ms Millis "holding/awake" Kind::Time { least: 10, most: 60_000 },
        "A call that has slept for so long is taken to need nothing";
    HoldingWait holding.wait_ms Millis "holding/wait" Kind::Time { least: 10, most: 5_000 },
        "A held task waits so long for a turn, which ends with its next charge";
    HoldingRound holding.round_ms Millis "holding/round" Kind::Time { least: 100, most: 5_000 },
        "All held tasks have had a turn in this time, however many they are; an eighth of the scheduler's timeout at most";
    HoldingTick holding.tick_ms Millis "holding/tick" Kind::Time { least: 1, most: 100 },
        "What is held is looked at so often";
    HoldingHandOver holding.hand_over_ms Millis "holding/hand_over" Kind::Time { least: 10, most: 30_000 },
        "The scheduler alone holds a call for so long; then its launcher slows and freezes it";
    HoldingCritical holding.critical_ms Millis "holding/critical" Kind::Time { least: 10, most: 30_000 },
        "Memory has been about to run out for so long before the call that comes last is killed";
}

impl Setting {
    /// The setting at a path of keys.
    pub fn at(path: &str) -> Option<Setting> {
        Setting::ALL.iter().copied().find(|s| s.path() == path)
    }

    /// The keys that can follow `prefix` (`hints`, `hints/memory`), each once and in order.
    pub fn keys_below(prefix: &str) -> Vec<&'static str> {
        let mut keys: Vec<&str> = Vec::new();
        for path in Setting::ALL.iter().map(|s| s.path()) {
            let Some(rest) = path.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('/')) else {
                continue;
            };
            let key = rest.split('/').next().unwrap_or(rest);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }
}
