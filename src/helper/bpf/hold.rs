//! What `bpf/hold.h` is told, and what it has done: memory-aware holding, a part of the scheduler.

use super::pins;
use anyhow::{Context, Result};
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use serde::Serialize;
use std::fmt;
use std::time::Duration;

const MIB: u64 = 1 << 20;
const PAGE: u64 = 4096;

/// Whether calls are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// Nothing is looked at
    Off,
    /// They are held
    On,
    /// What would have been held is only recorded: to compare with other means
    Record,
}

/// `struct hold_params`.
#[derive(Clone, Copy, Debug)]
pub struct HoldParams {
    /// What a call that gives way may take until it stands still, in bytes.
    pub creep: u64,
    /// What one charge may take beyond that, in bytes: a huge page for each of two CPUs.
    pub chunk: u64,
    /// So many bytes more must be left before a hold ends.
    pub release: u64,
    /// A call that has slept for so long needs nothing.
    pub awake: Duration,
    /// A held task waits so long for a turn …
    pub wait: Duration,
    /// … and all held tasks have one in this time: well within the kernel's patience with a scheduler.
    pub round: Duration,
    /// How often what is held is looked at.
    pub tick: Duration,
    /// Whether calls are held.
    pub mode: Mode,
}

impl Default for HoldParams {
    fn default() -> Self {
        Self {
            creep: 24 * MIB,
            chunk: 4 * MIB,
            release: 40 * MIB,
            awake: Duration::from_millis(500),
            wait: Duration::from_millis(200),
            round: Duration::from_secs(2),
            tick: Duration::from_millis(4),
            mode: Mode::On,
        }
    }
}

impl HoldParams {
    /// As the map's value.
    pub fn encode(&self) -> Vec<u8> {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let pages = |bytes: u64| bytes / PAGE;
        let fields = [
            pages(self.creep),
            pages(self.chunk),
            pages(self.release),
            nanos(self.awake),
            nanos(self.wait),
            nanos(self.round),
            nanos(self.tick),
            self.mode as u64,
        ];
        fields.into_iter().flat_map(u64::to_ne_bytes).collect()
    }
}

/// `struct hold_totals`: all that holding has done since the scheduler was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HoldTotals {
    /// Calls held.
    pub holds: u64,
    /// For how long, in ns.
    pub held_ns: u64,
    /// Turns that held tasks had.
    pub turns: u64,
    /// Tasks let go because they had to end or to freeze.
    pub must_run: u64,
    /// Calls that live and are reckoned with.
    pub calls: u64,
    /// Of those the ones that are held.
    pub now: u64,
    /// Calls that found no place, as too many live: neither held nor held for.
    pub refused: u64,
}

impl HoldTotals {
    fn decode(bytes: &[u8]) -> Option<Self> {
        let number = |index: usize| -> Option<u64> {
            Some(u64::from_ne_bytes(bytes.get(index * 8..index * 8 + 8)?.try_into().ok()?))
        };
        Some(Self {
            holds: number(0)?,
            held_ns: number(1)?,
            turns: number(2)?,
            must_run: number(3)?,
            calls: number(4)?,
            now: number(5)?,
            refused: number(6)?,
        })
    }
}

impl fmt::Display for HoldTotals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.held_ns as f64 / 1e9;
        write!(
            f,
            "{} of {} calls held now; {} so far, {seconds:.2} s, {} turns, {} let go to end, {} calls left out",
            self.now, self.calls, self.holds, self.turns, self.must_run, self.refused
        )
    }
}

/// What holding has done; none if the scheduler isn't loaded.
pub fn totals() -> Option<HoldTotals> {
    let map = MapHandle::from_pinned_path(pins::map("sched_hold_totals")).ok()?;
    HoldTotals::decode(&map.lookup(&0u32.to_ne_bytes(), MapFlags::ANY).ok()??)
}

/// Writes parameters.
pub fn set(map: &impl MapCore, params: &HoldParams) -> Result<()> {
    map.update(&0u32.to_ne_bytes(), &params.encode(), MapFlags::ANY).context("writing holding's parameters")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::helper::bpf::shared::tests::layout;

    #[test]
    fn parameters_and_totals_are_laid_out_as_the_program_has_them() {
        let (members, size) = layout("agentsh_sched", "hold_params");
        let names: Vec<_> = members.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "creep_pages",
                "chunk_pages",
                "release_pages",
                "awake_ns",
                "wait_ns",
                "round_ns",
                "tick_ns",
                "mode"
            ]
        );
        let params = HoldParams { mode: Mode::Record, ..HoldParams::default() };
        let bytes = params.encode();
        assert_eq!((bytes.len(), bytes[size - 8]), (size, 2));
        assert_eq!(bytes[..8], (24 * MIB / PAGE).to_ne_bytes());
        let (members, size) = layout("agentsh_sched", "hold_totals");
        let names: Vec<_> = members.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["holds", "held_ns", "turns", "must_run", "calls", "now", "refused"]);
        let mut bytes = vec![0; size];
        bytes[8] = 7;
        assert_eq!(HoldTotals::decode(&bytes), Some(HoldTotals { held_ns: 7, ..HoldTotals::default() }));
        assert_eq!(HoldTotals::decode(&bytes[..9]), None);
    }
}
