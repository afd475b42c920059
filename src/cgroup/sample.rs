//! What a launcher sees of its call at one look, for the [`super::control`] law to decide on.

use super::strain::Strain;

/// What is seen of a call and around it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// A monotonic clock in ns.
    pub now: u64,
    /// memory.current in bytes.
    pub current: u64,
    /// anon + shmem + slab in bytes: what can't simply be dropped. Page cache is not growth.
    pub work: u64,
    /// memory.events:high.
    pub high_events: u64,
    /// Does the kernel wake us when that grows?
    pub told: bool,
    /// memory.pressure's total of `some` in µs; none without PSI.
    pub stalled_us: Option<u64>,
    /// cpu.stat:usage_usec.
    pub cpu_us: u64,
    /// pids.events:max.
    pub refused_forks: u64,
    /// Is pids.current at its limit?
    pub pids_full: bool,
    /// Is a cgroup above over its memory.high?
    pub above_full: bool,
    /// How much the level with the least room can still take, in bytes; none without any limit.
    pub room: Option<u64>,
    /// Bytes to the nearest memory.max above, where the OOM killer acts.
    pub until_oom: Option<u64>,
    /// Do others need the memory?
    pub strain: Strain,
    /// Is memory about to run out that calls which matter less would give, if they had the time to be ended?
    pub brink: bool,
    /// Does the scheduler hold calls while they do?
    pub held_by_kernel: bool,
}
