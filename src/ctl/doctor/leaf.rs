//! Tier 1: finds the session as a call would, claims a leaf in it and looks which of its knobs the kernel took.

use super::check::{Check, Tier};
use crate::cgroup::claim::Wish;
use crate::cgroup::limits::LeafLimits;
use crate::cgroup::{self, Env, Place, Session, own};
use crate::class::Class;
use crate::policy::compiled::{OnExit, Policy};
use nix::unistd::geteuid;

/// Where a sample call made now should find itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// In a leaf of its own.
    Leaf,
    /// In the leaf that doctor itself runs in.
    OurLeaf,
    /// In none.
    None,
}

/// Tries a leaf.
pub fn check(policy: &Policy) -> (Vec<Check>, Expected) {
    let mut buf = [0; own::LONG];
    let named = std::env::var_os("AGENTSH_SESSION");
    let env = Env {
        own: own::read(&mut buf).ok(),
        session: named.as_deref(),
        uid: geteuid().as_raw(),
        policy: Some(&policy.session),
    };
    match cgroup::locate(&env) {
        Place::InLeaf { class } => {
            let cgroup = String::from_utf8_lossy(env.own.unwrap_or_default()).into_owned();
            let detail = format!("this doctor is itself part of a {class} call, in {cgroup}");
            (vec![Check::ok(Tier::One, "leaf", detail)], Expected::OurLeaf)
        }
        Place::None(why) => {
            let check = Check::missing(Tier::One, "leaf", format!("no leaf: {why}"), remedy(&why));
            (vec![check], Expected::None)
        }
        Place::Session(session) => {
            let checks = in_session(&session, policy);
            let expected =
                if checks.iter().any(|c| c.name == "leaf") { Expected::Leaf } else { Expected::None };
            (checks, expected)
        }
    }
}

fn remedy(why: &str) -> String {
    if why.contains("v2") || why.contains("/proc") {
        "use a machine or container with cgroup v2 (boot with cgroup_no_v1=all, or systemd's unified hierarchy)".into()
    } else if geteuid().is_root() {
        "start the agent with `agentshctl run -- COMMAND`".into()
    } else {
        "start the agent with `systemd-run --user --scope -p Delegate=yes COMMAND`, or as root with `agentshctl run \
         -- COMMAND`"
            .into()
    }
}

fn in_session(session: &Session, policy: &Policy) -> Vec<Check> {
    let knobs = policy.class(Class::Other);
    let limits = session.limits(knobs);
    let mut leaf = match session.claim(Class::Other, Wish::Limits(&limits)) {
        Ok(leaf) => leaf,
        Err(error) => {
            let remedy = "start the agent in a session of its own: `agentshctl run -- COMMAND`";
            return vec![Check::missing(Tier::One, "leaf of its own", error.to_string(), remedy)];
        }
    };
    let found = format!("claimed {} in {}", leaf.name(), session.calls.path().display());
    // Of a leaf that was made ahead its limits are read, as they aren't ours to write.
    leaf.prepare(session);
    leaf.settle(&limits);
    let (has, lacks) = (leaf.limits, leaf.lacks.clone());
    leaf.release(session, OnExit::Keep);

    let limits = if session.ahead.is_some() { made_ahead(&has, &lacks) } else { written(&lacks) };
    let mut checks = vec![Check::ok(Tier::One, "leaf", found), limits];
    // Without the memory controller nothing else of memory can be in force: said once.
    if !lacks.contains(&"memory.max") {
        checks.push(budget(session));
        checks.extend(agent(session));
    }
    checks.push(pressure(session));
    checks
}

/// The limits that were written to the leaf.
fn written(lacks: &[&str]) -> Check {
    if lacks.is_empty() {
        return Check::ok(Tier::One, "limits", "every knob of the leaf was taken by the kernel");
    }
    Check::missing(
        Tier::One,
        "limits",
        format!("not in force: {}", lacks.join(", ")),
        "give the session the controllers memory, cpu and pids: enable them in cgroup.subtree_control of every \
         level above it; on a host whose controllers are on cgroup v1, boot with cgroup_no_v1=all",
    )
}

/// The limits that a leaf has which the helper made (`attach --strict`).
fn made_ahead(has: &LeafLimits, lacks: &[&str]) -> Check {
    let mib = |limit: Option<u64>| limit.map_or("max".to_string(), |bytes| format!("{} MiB", bytes >> 20));
    let pids = has.pids_max.map_or("max".to_string(), |most| most.to_string());
    let detail = format!(
        "the leaf was made ahead, with memory.max {}, memory.swap.max {}, pids.max {pids}, cpu.weight {}",
        mib(has.max),
        mib(has.swap_max),
        has.cpu_weight
    );
    if lacks.is_empty() {
        return Check::ok(Tier::One, "limits", detail);
    }
    Check::missing(
        Tier::One,
        "limits",
        format!("{detail}; looser than the policy's: {}", lacks.join(", ")),
        "renew them from the host: `agentsh-helper attach CONTAINER`",
    )
}

/// Does anything bound all calls together?
fn budget(session: &Session) -> Check {
    let own = session.calls.read_max("memory.max").ok().flatten();
    match own.or(session.shown().max) {
        Some(bytes) => {
            let whose = if own.is_some() { "calls/" } else { "a level above" };
            Check::ok(Tier::One, "budget", format!("memory.max of {whose} is {} MiB", bytes >> 20))
        }
        None => Check::missing(
            Tier::One,
            "budget",
            "no level has a memory.max: all calls together may take the whole machine",
            "start the agent with `agentshctl run --memory-max SIZE`, or set `session: budget:` in a policy",
        ),
    }
}

/// Is the agent's own memory protected? Only where its cgroup can be seen.
fn agent(session: &Session) -> Option<Check> {
    let agent = session.base()?.child("agent").ok()?;
    let min = agent.read_u64("memory.min").unwrap_or(0);
    let low = agent.read_u64("memory.low").unwrap_or(0);
    Some(match min.max(low) {
        0 => Check::missing(
            Tier::One,
            "agent",
            format!("{} has neither memory.min nor memory.low", agent.path().display()),
            "start the agent with `agentshctl run`, which protects its memory",
        ),
        bytes => Check::ok(Tier::One, "agent", format!("{} MiB of its memory are protected", bytes >> 20)),
    })
}

fn pressure(session: &Session) -> Check {
    let mut buf = [0; 256];
    match session.calls.read("memory.pressure", &mut buf) {
        Ok(_) => Check::ok(Tier::One, "pressure", "memory.pressure can be read"),
        Err(errno) => Check::missing(
            Tier::One,
            "pressure",
            format!("memory.pressure: {}; a stalled call is told by its events instead, later", errno.desc()),
            "boot with psi=1",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::State;
    use super::*;

    #[test]
    fn a_leaf_made_ahead_is_described_by_what_it_has_and_a_looser_limit_is_a_finding() {
        let has = LeafLimits {
            max: Some(128 << 20),
            swap_max: Some(0),
            pids_max: None,
            cpu_weight: 300,
            ..LeafLimits::of(crate::policy::builtin::policy().class(Class::Other), &Default::default())
        };
        let check = made_ahead(&has, &[]);
        assert_eq!(check.state, State::Ok);
        for part in ["memory.max 128 MiB", "memory.swap.max 0 MiB", "pids.max max", "cpu.weight 300"] {
            assert!(check.detail.contains(part), "{part}: {}", check.detail);
        }
        let loose = made_ahead(&has, &["pids.max"]);
        assert_eq!(loose.state, State::Missing);
        assert!(loose.detail.contains("looser than the policy's: pids.max"), "{}", loose.detail);
    }
}
