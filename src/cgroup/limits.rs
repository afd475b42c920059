//! From the policy's knobs to the numbers that are written to a leaf: pure, so that `agentshctl explain` shows what the
//! launcher does.

use super::dir::{self, Dir};
use crate::class::Classes;
use crate::policy::compiled::{Amount, Knobs, Limits, Oom};
use nix::errno::Errno;
use std::path::Path;
use std::time::Duration;

/// One part in so many of the budget, or so many bytes, no single call may have that is limited from birth: what it takes
/// too much is then its own limit's affair. At the budget the kernel, while it ends the one, also takes others that begin.
const SPARE: (u64, u64) = (16, 24 << 20);

/// Limits in bytes; none is `max`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// memory.high.
    pub high: Option<u64>,
    /// memory.max.
    pub max: Option<u64>,
}

impl Shown {
    /// Lowers these limits to those of a cgroup, where it has any. A cgroup without the memory controller has none.
    pub fn under(&mut self, cgroup: &Path) {
        self.high = least(self.high, dir::read_max(&cgroup.join("memory.high")).unwrap_or(None));
        self.max = least(self.max, dir::read_max(&cgroup.join("memory.max")).unwrap_or(None));
    }
}

/// What percentages and bounds are taken of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// What the command would have seen without agentsh, and a leaf elsewhere in the tree must not escape.
    pub shown: Shown,
    /// memory.max of `calls/` in bytes.
    pub budget: Option<u64>,
    /// MemAvailable in bytes when the session was made.
    pub available: Option<u64>,
}

impl Context {
    /// An amount in bytes; none is no limit. Percentages are of the budget, else of the nearest finite limit, else of what
    /// was available when the session was made.
    pub fn bytes(&self, amount: Amount) -> Option<u64> {
        match amount {
            Amount::Bytes(n) => Some(n),
            Amount::Max => None,
            Amount::Permille(share) => {
                let whole = self.budget.or(self.shown.max).or(self.shown.high).or(self.available)?;
                Some((u128::from(whole) * u128::from(share) / 1000).min(u128::from(u64::MAX)) as u64)
            }
        }
    }
}

/// Everything that is written to a leaf, and what its governor goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeafLimits {
    /// memory.high that the leaf is born with, in bytes; none is `max`.
    pub high: Option<u64>,
    /// memory.max that the leaf is born with, in bytes.
    pub max: Option<u64>,
    /// memory.high while others need the memory more: at most 0.7 of max, so that the throttle comes well before the kill.
    pub contended_high: Option<u64>,
    /// memory.high is raised no further than this.
    pub ceiling: Option<u64>,
    /// Born with what the program would have seen without agentsh.
    pub born_open: bool,
    /// memory.swap.max in bytes.
    pub swap_max: Option<u64>,
    /// cpu.weight, 1 to 10,000.
    pub cpu_weight: u16,
    /// pids.max.
    pub pids_max: Option<u32>,
    /// memory.oom.group.
    pub oom_group: bool,
    /// May high be raised?
    pub raise: bool,
    /// May the leaf be frozen?
    pub freeze: bool,
    /// It may be stalled over memory.high for so long.
    pub throttle_timeout: Duration,
    /// Classes of calls of its session that it needs.
    pub depends: Classes,
}

impl LeafLimits {
    /// The limits of a leaf with these knobs.
    pub fn of(knobs: &Knobs, context: &Context) -> LeafLimits {
        let alone = context.budget.map(for_one_call);
        let within = |amount| least(least(context.bytes(amount), alone), context.shown.max);
        let (high, max) = (within(knobs.memory_high.value), within(knobs.memory_max.value));
        let born_open = knobs.limits.value == Limits::Contended;
        let born = match born_open {
            true => context.shown,
            false => Shown { high: least(high, context.shown.high), max },
        };
        LeafLimits {
            high: born.high,
            max: born.max,
            contended_high: least(high, max.map(|m| m / 10 * 7)),
            ceiling: least(max, context.shown.high),
            born_open,
            swap_max: context.bytes(knobs.swap_max.value),
            cpu_weight: knobs.cpu_weight.value.clamp(1, 10_000),
            pids_max: knobs.pids_max.value,
            oom_group: knobs.oom.value == Oom::Call,
            raise: knobs.raise.value,
            freeze: knobs.freeze.value,
            throttle_timeout: Duration::from_millis(u64::from(knobs.throttle_timeout_ms.value)),
            depends: knobs.depends.value,
        }
    }
}

/// What a single call that is limited from birth may have of this budget, in bytes.
pub fn for_one_call(budget: u64) -> u64 {
    budget - (budget / SPARE.0).min(SPARE.1)
}

/// A leaf's knobs, in the order in which they are written.
pub const KNOBS: [&str; 6] =
    ["memory.max", "memory.high", "memory.swap.max", "memory.oom.group", "cpu.weight", "pids.max"];

impl LeafLimits {
    /// Writes them to a leaf. Gives the knobs that it lacks: the kernel or the tree doesn't have them. An error if the leaf
    /// isn't ours to write (`EACCES`, `EPERM`) or is gone (`ENODEV`).
    pub fn write(&self, leaf: &Dir) -> Result<Vec<&'static str>, Errno> {
        let mut lacks = Vec::new();
        let mut note = |file: &'static str, result: Result<(), Errno>| match result {
            Ok(()) => Ok(()),
            Err(e @ (Errno::EACCES | Errno::EPERM | Errno::ENODEV)) => Err(e),
            Err(_) => {
                lacks.push(file);
                Ok(())
            }
        };
        let [max, high, swap_max, oom_group, cpu_weight, pids_max] = KNOBS;
        note(max, leaf.write_max(max, self.max))?;
        note(high, leaf.write_max(high, self.high))?;
        note(swap_max, leaf.write_max(swap_max, self.swap_max))?;
        note(oom_group, leaf.write_u64(oom_group, u64::from(self.oom_group)))?;
        note(cpu_weight, leaf.write_u64(cpu_weight, u64::from(self.cpu_weight)))?;
        note(pids_max, leaf.write_max(pids_max, self.pids_max.map(u64::from)))?;
        Ok(lacks)
    }
}

/// The lower of two limits, where none is no limit.
pub fn least(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::policy::compiled::{OnExit, Origin, Set};

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    pub(crate) fn set<T>(value: T) -> Set<T> {
        Set { value, origin: Origin { source: 0, line: 1 } }
    }

    /// The starting values of explore, git and edit.
    pub(crate) fn explore() -> Knobs {
        Knobs {
            memory_high: set(Amount::Bytes(256 * MIB)),
            memory_max: set(Amount::Bytes(GIB)),
            swap_max: set(Amount::Bytes(0)),
            limits: set(Limits::Birth),
            raise: set(true),
            cpu_weight: set(300),
            pids_max: set(Some(512)),
            oom: set(Oom::Call),
            oom_score_adj: set(0),
            on_exit: set(OnExit::Keep),
            freeze: set(true),
            throttle_timeout_ms: set(30_000),
            depends: set(Classes::default()),
        }
    }

    /// The starting values of test and build.
    pub(crate) fn test() -> Knobs {
        Knobs {
            memory_high: set(Amount::Bytes(2 * GIB)),
            memory_max: set(Amount::Max),
            limits: set(Limits::Contended),
            cpu_weight: set(100),
            pids_max: set(Some(4096)),
            ..explore()
        }
    }

    #[test]
    fn an_explore_call_is_born_with_its_class_s_limits() {
        let limits = LeafLimits::of(&explore(), &Context::default());
        assert_eq!((limits.high, limits.max), (Some(256 * MIB), Some(GIB)));
        assert_eq!((limits.ceiling, limits.contended_high), (Some(GIB), Some(256 * MIB)));
        assert!(limits.oom_group && !limits.born_open);
    }

    #[test]
    fn a_test_call_is_born_with_what_it_would_have_seen_without_agentsh() {
        let open = LeafLimits::of(&test(), &Context::default());
        assert_eq!((open.high, open.max, open.contended_high), (None, None, Some(2 * GIB)));
        let shown = Shown { high: None, max: Some(4 * GIB) };
        let context = Context { shown, budget: Some(3 * GIB), available: None };
        let container = LeafLimits::of(&test(), &context);
        assert_eq!((container.high, container.max), (None, Some(4 * GIB)));
        assert_eq!(container.contended_high, Some(2 * GIB));
    }

    #[test]
    fn nothing_goes_beyond_the_budget_or_a_limit_that_was_skipped() {
        let mut knobs = explore();
        knobs.memory_high = set(Amount::Bytes(3 * GIB));
        knobs.memory_max = set(Amount::Bytes(8 * GIB));
        let context = Context { budget: Some(2 * GIB), ..Context::default() };
        let limits = LeafLimits::of(&knobs, &context);
        let alone = Some(2 * GIB - 24 * MIB);
        assert_eq!(
            (limits.high, limits.max, limits.ceiling),
            (alone, alone, alone),
            "others begin meanwhile"
        );
        let small = Context { budget: Some(32 * MIB), ..context };
        assert_eq!(LeafLimits::of(&knobs, &small).max, Some(30 * MIB));
        let skipped = Shown { high: Some(64 * MIB), max: Some(128 * MIB) };
        let limits = LeafLimits::of(&knobs, &Context { shown: skipped, ..context });
        assert_eq!(
            (limits.high, limits.max, limits.ceiling),
            (Some(64 * MIB), Some(128 * MIB), Some(64 * MIB))
        );
    }

    #[test]
    fn under_contention_high_is_well_below_max() {
        let mut knobs = explore();
        knobs.memory_high = set(Amount::Bytes(GIB));
        assert_eq!(LeafLimits::of(&knobs, &Context::default()).contended_high, Some(GIB / 10 * 7));
    }

    #[test]
    fn percentages_are_of_the_budget_else_of_the_limit_above_else_of_what_was_available() {
        let half = Amount::Permille(500);
        let mut context = Context { available: Some(8 * GIB), ..Context::default() };
        assert_eq!(context.bytes(half), Some(4 * GIB));
        context.shown.max = Some(4 * GIB);
        assert_eq!(context.bytes(half), Some(2 * GIB));
        context.budget = Some(2 * GIB);
        assert_eq!(context.bytes(half), Some(GIB));
        assert_eq!(Context::default().bytes(half), None);
        assert_eq!(
            Context { budget: Some(u64::MAX), ..context }.bytes(Amount::Permille(1000)),
            Some(u64::MAX)
        );
    }
}
