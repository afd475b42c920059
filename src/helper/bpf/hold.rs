//! What `bpf/hold.h` is told, and what it has done: memory-aware holding, a part of the scheduler.

use super::{held, pins};
use crate::policy::compiled::{Amount, HoldingPolicy};
use crate::policy::units::{show_bytes, show_duration};
use anyhow::{Context, Result};
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use serde::Serialize;
use std::fmt;
use std::time::Duration;

const PAGE: u64 = 4096;
const NS_PER_MS: u64 = 1_000_000;
/// The pin of the map.
const PARAMS: &str = "sched_hold_params";

/// Whether calls are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Nothing is looked at
    Off,
    /// They are held
    On,
    /// What would have been held is only recorded: to compare with other means
    Record,
}

/// `struct hold_params`: the policy's section `holding` ([`HoldingPolicy`] says what each is). Memory in bytes, shares in
/// thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs)] // as in HoldingPolicy
pub struct HoldParams {
    pub mode: Mode,
    pub creep: u64,
    pub chunk: u64,
    pub release: u64,
    pub growth_permille: u16,
    pub least: u64,
    pub equals_permille: u16,
    pub recent_ms: u32,
    pub awake_ms: u32,
    pub wait_ms: u32,
    pub round_ms: u32,
    pub tick_ms: u32,
    /// All held tasks have a turn in this time too: whoever is held must have had one long before the kernel takes it to
    /// hang.
    pub patience_ms: u32,
}

/// The part of the kernel's patience with a scheduler in which all held tasks have a turn.
const OF_PATIENCE: u32 = 8;
const WORDS: usize = 13;

impl HoldParams {
    /// Those of a policy; `mode` instead of what it says. A scheduler with this timeout is ended by the kernel when a task
    /// has waited so long.
    pub fn of(policy: &HoldingPolicy, mode: Option<Mode>, timeout: Duration) -> Self {
        let by_policy = if policy.enabled.value { Mode::On } else { Mode::Off };
        Self {
            mode: mode.unwrap_or(by_policy),
            creep: policy.creep.value,
            chunk: policy.chunk.value,
            release: policy.release.value,
            growth_permille: policy.growth.value,
            least: policy.least.value,
            equals_permille: policy.equals.value,
            recent_ms: policy.recent_ms.value,
            awake_ms: policy.awake_ms.value,
            wait_ms: policy.wait_ms.value,
            round_ms: policy.round_ms.value,
            tick_ms: policy.tick_ms.value,
            patience_ms: patience_ms(timeout),
        }
    }

    /// As the map's value.
    pub fn encode(&self) -> Vec<u8> {
        let nanos = |ms: u32| u64::from(ms) * NS_PER_MS;
        let fields: [u64; WORDS] = [
            self.creep / PAGE,
            self.chunk / PAGE,
            self.release / PAGE,
            self.growth_permille.into(),
            self.least / PAGE,
            self.equals_permille.into(),
            nanos(self.recent_ms),
            nanos(self.awake_ms),
            nanos(self.wait_ms),
            nanos(self.round_ms),
            nanos(self.patience_ms),
            nanos(self.tick_ms),
            self.mode as u64,
        ];
        fields.into_iter().flat_map(u64::to_ne_bytes).collect()
    }

    /// From the map's value; none if these are other bytes.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != WORDS * 8 {
            return None;
        }
        let word = |at: usize| Some(u64::from_ne_bytes(bytes.get(at * 8..at * 8 + 8)?.try_into().ok()?));
        let ms = |at: usize| u32::try_from(word(at)? / NS_PER_MS).ok();
        Some(Self {
            creep: word(0)? * PAGE,
            chunk: word(1)? * PAGE,
            release: word(2)? * PAGE,
            growth_permille: u16::try_from(word(3)?).ok()?,
            least: word(4)? * PAGE,
            equals_permille: u16::try_from(word(5)?).ok()?,
            recent_ms: ms(6)?,
            awake_ms: ms(7)?,
            wait_ms: ms(8)?,
            round_ms: ms(9)?,
            patience_ms: ms(10)?,
            tick_ms: ms(11)?,
            mode: [Mode::Off, Mode::On, Mode::Record]
                .into_iter()
                .find(|mode| word(12) == Some(*mode as u64))?,
        })
    }
}

/// The part of this timeout in which all held tasks have a turn.
pub fn patience_ms(timeout: Duration) -> u32 {
    u32::try_from((timeout / OF_PATIENCE).as_millis()).unwrap_or(u32::MAX)
}

impl fmt::Display for HoldParams {
    /// As the policy writes them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.mode {
            Mode::Off => "off",
            Mode::On => "on",
            Mode::Record => "record",
        };
        let times = [
            ("recent", self.recent_ms),
            ("awake", self.awake_ms),
            ("wait", self.wait_ms),
            ("round", self.round_ms.min(self.patience_ms)),
            ("tick", self.tick_ms),
        ];
        let times = times.map(|(name, ms)| format!("{name} {}", show_duration(ms)));
        write!(
            f,
            "{mode}; creep {}, chunk {}, release {}, growth {}, least {}, equals {}, {}",
            show_bytes(self.creep),
            show_bytes(self.chunk),
            show_bytes(self.release),
            Amount::Permille(self.growth_permille),
            show_bytes(self.least),
            Amount::Permille(self.equals_permille),
            times.join(", ")
        )
    }
}

/// `struct hold_totals`: all that holding has done, under the scheduler that is loaded and those that it has replaced.
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
    let map = MapHandle::from_pinned_path(pins::map(held::TOTALS)).ok()?;
    HoldTotals::decode(&map.lookup(&0u32.to_ne_bytes(), MapFlags::ANY).ok()??)
}

/// The parameters in force; none if the scheduler isn't loaded.
pub fn params() -> Option<HoldParams> {
    HoldParams::decode(&pinned()?.lookup(&0u32.to_ne_bytes(), MapFlags::ANY).ok()??)
}

/// Puts parameters in force while the scheduler runs, all but its patience.
pub fn renew(params: &HoldParams) -> Result<()> {
    let in_force = self::params().context("what is loaded has other parameters: agentsh-helper reload")?;
    let map = pinned().context("holding's parameters aren't pinned")?;
    set(&map, &HoldParams { patience_ms: in_force.patience_ms, ..*params })
}

fn pinned() -> Option<MapHandle> {
    // Asked first, as libbpf prints what it can't open.
    pins::map(PARAMS).exists().then(|| MapHandle::from_pinned_path(pins::map(PARAMS)).ok())?
}

/// Writes parameters.
pub fn set(map: &impl MapCore, params: &HoldParams) -> Result<()> {
    map.update(&0u32.to_ne_bytes(), &params.encode(), MapFlags::ANY).context("writing holding's parameters")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::helper::bpf::shared::tests::layout;
    use crate::policy::builtin;

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
                "growth_share",
                "least_pages",
                "equals_share",
                "recent_ns",
                "awake_ns",
                "wait_ns",
                "round_ns",
                "patience_ns",
                "tick_ns",
                "mode"
            ]
        );
        let built_in = HoldParams::of(&builtin::policy().holding, None, Duration::from_secs(20));
        let params = HoldParams { mode: Mode::Record, ..built_in };
        let bytes = params.encode();
        assert_eq!((bytes.len(), bytes[size - 8]), (size, 2));
        assert_eq!(bytes[..8], (24u64 << 20 >> 12).to_ne_bytes());
        assert_eq!(HoldParams::decode(&bytes), Some(params), "and read back");
        assert_eq!(HoldParams::decode(&bytes[8..]), None);
        assert_eq!(
            built_in.to_string(),
            "on; creep 24M, chunk 4M, release 40M, growth 50%, least 16M, equals 12.5%, recent 2s, awake 500ms, wait 200ms, \
             round 2s, tick 4ms"
        );
        let (members, size) = layout("agentsh_sched", "hold_totals");
        let names: Vec<_> = members.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["holds", "held_ns", "turns", "must_run", "calls", "now", "refused"]);
        let mut bytes = vec![0; size];
        bytes[8] = 7;
        assert_eq!(HoldTotals::decode(&bytes), Some(HoldTotals { held_ns: 7, ..HoldTotals::default() }));
        assert_eq!(HoldTotals::decode(&bytes[..9]), None);
    }
}
