//! The policy that limits nothing: what layers are laid upon.

use super::compiled::{
    Amount, Hints, HoldingPolicy, Knobs, Layer, Limits, LogPolicy, OnExit, Oom, Origin, Policy,
    SessionPolicy, Set, Source,
};
use crate::class::Classes;

/// A policy that limits nothing: what layers are laid upon.
pub fn policy() -> Policy {
    let knobs = Knobs {
        memory_high: set(Amount::Max),
        memory_max: set(Amount::Max),
        swap_max: set(Amount::Max),
        limits: set(Limits::Contended),
        raise: set(true),
        cpu_weight: set(100),
        pids_max: set(None),
        oom: set(Oom::Call),
        oom_score_adj: set(0),
        on_exit: set(OnExit::Keep),
        freeze: set(false),
        throttle_timeout_ms: set(30_000),
        depends: set(Classes::default()),
    };
    Policy {
        sources: vec![Source { path: super::BUILTIN_PATH.into(), layer: Layer::Builtin, stamp: None }],
        classes: std::array::from_fn(|_| knobs.clone()),
        overrides: Vec::new(),
        hints: Hints {
            enabled: set(false),
            memory_low: set(Amount::Max),
            memory_medium: set(Amount::Max),
            memory_high: set(Amount::Max),
            cpu_low: set(100),
            cpu_high: set(100),
        },
        log: LogPolicy {
            enabled: set(true),
            path: None,
            command_bytes: set(4096),
            redact: set(true),
            rotate_bytes: set(16 << 20),
            keep: set(2),
        },
        session: SessionPolicy {
            reserve: set(Amount::Bytes(0)),
            budget: set(Amount::Max),
            swap_max: set(Amount::Max),
            pids_max: set(None),
            max_leaves: set(1024),
        },
        holding: HoldingPolicy {
            enabled: set(false),
            creep: set(24 << 20),
            chunk: set(4 << 20),
            release: set(40 << 20),
            growth: set(500),
            least: set(16 << 20),
            equals: set(125),
            recent_ms: set(2000),
            awake_ms: set(500),
            wait_ms: set(200),
            round_ms: set(2000),
            tick_ms: set(4),
            hand_over_ms: set(200),
            critical_ms: set(300),
        },
    }
}

fn set<T>(value: T) -> Set<T> {
    Set { value, origin: Origin { source: 0, line: 1 } }
}
