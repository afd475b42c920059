//! Makes and removes sessions: one agent's cgroup with `agent/` and `calls/` in it (architecture.md, section 3).

use super::dir::Dir;
use super::error::Error;
use super::limits::{Context, Shown, least};
use super::mark;
use crate::policy::compiled::SessionPolicy;
use nix::errno::Errno;
use nix::unistd::{Gid, Uid, fchownat};
use std::path::PathBuf;

/// Who gives way first when memory is short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Gives way first.
    Low,
    /// The default.
    #[default]
    Normal,
    /// Gives way last.
    High,
}

impl Priority {
    /// Its name, as it stands in the session's mark.
    pub const fn name(self) -> &'static str {
        match self {
            Priority::Low => "low",
            Priority::Normal => "normal",
            Priority::High => "high",
        }
    }

    /// cpu.weight of a session: four times the next lower one's.
    pub const fn cpu_weight(self) -> u64 {
        match self {
            Priority::Low => 25,
            Priority::Normal => 100,
            Priority::High => 400,
        }
    }

    /// A session's priority by its mark.
    pub fn of(session: &Dir) -> Priority {
        let all = [Priority::Low, Priority::Normal, Priority::High];
        let mut buf = [0; 16];
        let name = session.mark(mark::PRIORITY, &mut buf).unwrap_or_default();
        all.into_iter().find(|p| p.name().as_bytes() == name).unwrap_or_default()
    }
}

/// A session's limits, in bytes; none is `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// memory.max of the session (and of `agent/`, so that the agent sees it as it would in a container).
    pub max: Option<u64>,
    /// memory.max of `calls/`.
    pub budget: Option<u64>,
    /// memory.min of `agent/`.
    pub reserve: u64,
    /// memory.swap.max of `calls/`.
    pub swap_max: Option<u64>,
    /// pids.max of `calls/`.
    pub pids_max: Option<u32>,
    /// cgroup.max.descendants of the session.
    pub max_leaves: u32,
    /// Who gives way first.
    pub priority: Priority,
    /// MemAvailable now, kept for percentages.
    pub available: Option<u64>,
}

/// What the agent is kept alive with if no policy says otherwise: its baseline is about 185 MB (arXiv 2602.09345).
pub const RESERVE: u64 = 256 << 20;
/// Levels below a session: `calls/<leaf>` and what a program makes below its leaf, or `agent/…` likewise; and for an agent that
/// an agent has started `calls/agent-<n>/calls/<leaf>`, twice.
const MAX_DEPTH: u64 = 6;
/// Names that cgroups beside sessions have.
const TAKEN: [&str; 3] = ["agent", "calls", "outside"];
/// The controllers that a leaf needs.
const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];

impl Spec {
    /// A session's limits by policy: `wish` is the limit asked for (or the one that its cgroup has already), `above` the
    /// nearest finite one over it, `available` MemAvailable.
    pub fn of(
        policy: Option<&SessionPolicy>,
        wish: Option<u64>,
        above: Option<u64>,
        available: Option<u64>,
    ) -> Spec {
        let limit = least(wish, above);
        let context = Context { shown: Shown { high: None, max: limit }, budget: None, available };
        // A session smaller than twice the reserve is shared evenly: a reserve as large as the limit would leave no budget.
        let asked = policy.map_or(Some(RESERVE), |p| context.bytes(p.reserve.value)).unwrap_or(RESERVE);
        let reserve = asked.min(limit.map_or(u64::MAX, |l| l / 2));
        let wanted = policy.and_then(|p| context.bytes(p.budget.value));
        let budget = least(wanted, limit.map(|l| l - reserve));
        Spec {
            max: wish.or(budget.map(|b| b.saturating_add(reserve))),
            budget,
            reserve,
            swap_max: policy.and_then(|p| context.bytes(p.swap_max.value)),
            pids_max: policy.and_then(|p| p.pids_max.value),
            max_leaves: policy.map_or(250, |p| p.max_leaves.value),
            priority: Priority::Normal,
            available,
        }
    }
}

/// Makes the session `name` in the pool (or renews its limits) and marks it as made by `maker` ([`mark::BY_RUN`] …). Returns it, and what it
/// lacks: knobs that the kernel, or the tree above, doesn't offer.
pub fn make(pool: &Dir, name: &str, maker: &[u8], spec: &Spec) -> Result<(Dir, Vec<String>), Error> {
    if name.is_empty() || name.starts_with('.') || name.contains('/') || TAKEN.contains(&name) {
        return Err(Error::of("use as a session's name", pool.path(), name)(Errno::EINVAL));
    }
    let base = pool.ensure_child(name).map_err(Error::of("make", pool.path(), name))?;
    base.set_mark(mark::SESSION, maker).map_err(Error::of("mark", base.path(), ""))?;
    let mut lacks = furnish(&base, spec)?;
    let mut knob = |file, result: Result<(), Errno>| lack(&mut lacks, &base, file, result);
    knob("memory.max", base.write_max("memory.max", spec.max))?;
    knob("memory.min", base.write_u64("memory.min", spec.reserve))?;
    knob("cpu.weight", base.write_u64("cpu.weight", spec.priority.cpu_weight()))?;
    knob("cgroup.max.descendants", base.write_u64("cgroup.max.descendants", u64::from(spec.max_leaves) + 2))?;
    knob("cgroup.max.depth", base.write_u64("cgroup.max.depth", MAX_DEPTH))?;
    base.set_mark(mark::PRIORITY, spec.priority.name().as_bytes()).map_err(Error::of(
        "mark",
        base.path(),
        "",
    ))?;
    Ok((base, lacks))
}

/// Makes `agent/` and `calls/` in a cgroup without processes and gives them their limits; the cgroup's own are left alone.
pub fn furnish(base: &Dir, spec: &Spec) -> Result<Vec<String>, Error> {
    let agent = base.ensure_child("agent").map_err(Error::of("make", base.path(), "agent"))?;
    let calls = base.ensure_child("calls").map_err(Error::of("make", base.path(), "calls"))?;
    enable(base)?;
    enable(&calls)?;
    let mut lacks = Vec::new();
    let mut knob = |dir, file, result: Result<(), Errno>| lack(&mut lacks, dir, file, result);
    // Never oom.group here: one call's OOM would take all calls.
    knob(&calls, "memory.oom.group", calls.write_u64("memory.oom.group", 0))?;
    knob(&calls, "memory.high", calls.write_max("memory.high", None))?;
    knob(&calls, "memory.max", calls.write_max("memory.max", spec.budget))?;
    knob(&calls, "memory.swap.max", calls.write_max("memory.swap.max", spec.swap_max))?;
    knob(&calls, "pids.max", calls.write_max("pids.max", spec.pids_max.map(u64::from)))?;
    knob(&agent, "memory.max", agent.write_max("memory.max", spec.max))?;
    knob(&agent, "memory.min", agent.write_u64("memory.min", spec.reserve))?;
    if let Some(available) = spec.available {
        // Only percentages without any limit above need it; they then fall back to what is available at each call.
        let _ = calls.set_mark(mark::AVAILABLE, &available.to_ne_bytes());
    }
    Ok(lacks)
}

/// Protects what a session is guaranteed beyond its agent's reserve, for its calls: memory.low, so that a call that nobody can
/// make room for otherwise still may take of it. In bytes; gives what it lacks.
pub fn guarantee(base: &Dir, bytes: u64, spec: &Spec) -> Result<Vec<String>, Error> {
    let mut lacks = Vec::new();
    let calls = base.child("calls").map_err(Error::of("open", base.path(), "calls"))?;
    lack(&mut lacks, base, "memory.low", base.write_u64("memory.low", bytes))?;
    let for_calls = bytes.saturating_sub(spec.reserve);
    lack(&mut lacks, &calls, "memory.low", calls.write_u64("memory.low", for_calls))?;
    Ok(lacks)
}

/// Hands a session over to a user: leaves in `calls/`, and moving processes between `agent/` and them. Not
/// `calls/cgroup.subtree_control`, whose owner could switch every limit off, and no limit of `calls/` itself.
pub fn hand_over(base: &Dir, uid: Uid, gid: Gid) -> Result<(), Error> {
    for file in ["calls", "calls/cgroup.procs", "cgroup.procs"] {
        fchownat(base, file, Some(uid), Some(gid), nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW)
            .map_err(Error::of("chown", base.path(), file))?;
    }
    Ok(())
}

/// Removes a session without processes; `EBUSY` if it has any.
pub fn remove(pool: &Dir, name: &str) -> Result<(), Error> {
    let base = pool.child(name).map_err(Error::of("open", pool.path(), name))?;
    if base.populated() == Ok(true) {
        return Err(Error::of("remove", base.path(), "")(Errno::EBUSY));
    }
    if let Ok(identity) = base.identity() {
        // A link must not outlive its cgroup (memcg_bpf_ops up to version 6). Mostly there is none.
        let _ = std::fs::remove_file(memory_link(identity.id));
    }
    remove_below(&base, MAX_DEPTH + 2)?;
    pool.remove_child(name).map_err(Error::of("remove", pool.path(), name))
}

/// The pin of the link by which the kernel's memory hooks are attached to a session.
pub fn memory_link(id: u64) -> PathBuf {
    PathBuf::from(format!("/sys/fs/bpf/agentsh/links/memcg_{id}"))
}

fn remove_below(dir: &Dir, depth: u64) -> Result<(), Error> {
    if depth == 0 {
        return Err(Error::of("remove", dir.path(), "")(Errno::ELOOP));
    }
    for name in dir.children(usize::MAX).map_err(Error::of("list", dir.path(), ""))? {
        let child = dir.child(&name).map_err(Error::of("open", dir.path(), &name))?;
        remove_below(&child, depth - 1)?;
        dir.remove_child(&name).map_err(Error::of("remove", dir.path(), &name))?;
    }
    Ok(())
}

/// Switches the leaves' controllers on for a cgroup's children, as far as it has them.
pub fn enable(dir: &Dir) -> Result<(), Error> {
    let mut buf = [0; 256];
    let available = dir.read("cgroup.controllers", &mut buf).map_err(Error::of(
        "read",
        dir.path(),
        "cgroup.controllers",
    ))?;
    let mut enabled = [0; 256];
    let enabled = dir.read("cgroup.subtree_control", &mut enabled).unwrap_or_default();
    for name in CONTROLLERS {
        let listed = |text: &[u8]| text.split(|b| b.is_ascii_whitespace()).any(|w| w == name.as_bytes());
        if listed(available) && !listed(enabled) {
            let file = "cgroup.subtree_control";
            dir.write(file, format!("+{name}").as_bytes()).map_err(Error::of("write", dir.path(), file))?;
        }
    }
    Ok(())
}

/// A knob that isn't there is named, and one that refuses is an error.
fn lack(lacks: &mut Vec<String>, dir: &Dir, file: &str, result: Result<(), Errno>) -> Result<(), Error> {
    match result {
        Ok(()) => Ok(()),
        Err(Errno::ENOENT) => {
            lacks.push(format!("{}/{file}", dir.name()));
            Ok(())
        }
        Err(e) => Err(Error::of("write", dir.path(), file)(e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::limits::tests::set;
    use crate::policy::compiled::Amount;

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    fn policy() -> SessionPolicy {
        SessionPolicy {
            reserve: set(Amount::Bytes(512 * MIB)),
            budget: set(Amount::Max),
            swap_max: set(Amount::Bytes(0)),
            pids_max: set(Some(8192)),
            max_leaves: set(200),
        }
    }

    #[test]
    fn the_budget_is_what_the_session_s_limit_leaves_beside_the_reserve() {
        let spec = Spec::of(Some(&policy()), Some(4 * GIB), None, Some(16 * GIB));
        assert_eq!((spec.max, spec.budget), (Some(4 * GIB), Some(4 * GIB - 512 * MIB)));
        assert_eq!((spec.reserve, spec.pids_max, spec.max_leaves), (512 * MIB, Some(8192), 200));
    }

    #[test]
    fn without_any_limit_a_session_has_none() {
        let spec = Spec::of(Some(&policy()), None, None, Some(16 * GIB));
        assert_eq!((spec.max, spec.budget, spec.reserve), (None, None, 512 * MIB));
    }

    #[test]
    fn a_budget_of_its_own_makes_the_session_larger_by_the_reserve() {
        let mut p = policy();
        p.budget = set(Amount::Permille(500));
        let spec = Spec::of(Some(&p), None, None, Some(8 * GIB));
        assert_eq!((spec.max, spec.budget), (Some(4 * GIB + 512 * MIB), Some(4 * GIB)));
        let below = Spec::of(Some(&p), None, Some(2 * GIB), Some(8 * GIB));
        assert_eq!((below.max, below.budget), (Some(GIB + 512 * MIB), Some(GIB)));
    }

    #[test]
    fn a_small_session_is_shared_evenly_rather_than_all_reserved() {
        let spec = Spec::of(Some(&policy()), Some(600 * MIB), None, None);
        assert_eq!((spec.reserve, spec.budget), (300 * MIB, Some(300 * MIB)));
    }

    #[test]
    fn names_that_lead_elsewhere_are_no_sessions() {
        let tmp = tempfile::tempdir().unwrap();
        let pool = Dir::open_anywhere(tmp.path()).unwrap();
        let spec = Spec::of(None, None, None, None);
        for name in ["", ".", "..", "a/b", ".hidden", "calls", "agent"] {
            assert_eq!(make(&pool, name, mark::BY_RUN, &spec).unwrap_err().errno, Errno::EINVAL, "{name}");
        }
    }
}
