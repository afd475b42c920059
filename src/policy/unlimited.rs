//! The policy that limits nothing: what layers are laid upon.

use super::compiled::{
    Amount, Hints, Knobs, Layer, Limits, LogPolicy, OnExit, Oom, Origin, Policy, SessionPolicy, Set, Source,
};

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
    }
}

fn set<T>(value: T) -> Set<T> {
    Set { value, origin: Origin { source: 0, line: 1 } }
}
