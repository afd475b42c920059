//! Loading and reading the monitor, `bpf/agentsh_monitor.bpf.c`.

use super::agentsh_monitor::AgentshMonitorSkelBuilder;
use super::direct;
use super::held;
use super::pins::{self, Pins};
use super::stats::CallStats;
use anyhow::{Context, Result, bail};
use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{Link, MapCore, MapFlags, MapHandle, ProgramMut};
use std::mem::MaybeUninit;

/// The name of the part, which its pins begin with.
pub const PART: &str = "monitor";

/// Loads and pins it. Gives what of it this kernel can't do.
pub fn load(pins: &Pins) -> Result<Vec<String>> {
    pins.remove_part(PART)?;
    let mut storage = MaybeUninit::uninit();
    let mut open = AgentshMonitorSkelBuilder::default().open(&mut storage).context("opening it")?;
    // One of two names of the same function.
    let new = has_function("__mem_cgroup_handle_over_high");
    open.progs.monitor_throttle_begins.set_autoload(new);
    open.progs.monitor_throttle_ends.set_autoload(new);
    let old = !new && has_function("mem_cgroup_handle_over_high");
    open.progs.monitor_throttle_begins_old.set_autoload(old);
    open.progs.monitor_throttle_ends_old.set_autoload(old);
    let mut skel = open.load().context("the kernel doesn't take it")?;
    skel.maps.calls.pin(pins::map("monitor_calls")).context("pinning its calls")?;
    skel.maps.finished.pin(pins::map("monitor_finished")).context("pinning its finished calls")?;
    skel.maps.direct.pin(pins::map(direct::MAP)).context("pinning what agents start")?;
    skel.maps.direct_news.pin(pins::map(direct::NEWS)).context("pinning its news")?;
    skel.maps.agents.pin(pins::map(direct::AGENTS)).context("pinning who is an agent")?;
    let progs = &mut skel.progs;
    // Without these there is nothing to tell.
    let mut links = vec![
        attach("populated", &mut progs.monitor_populated)?,
        attach("fork", &mut progs.monitor_fork)?,
        attach("exec", &mut progs.monitor_exec)?,
        attach("exit", &mut progs.monitor_exit)?,
    ];
    let mut lacks = Vec::new();
    let mut optional = |name: &'static str, prog: &mut ProgramMut<'_>| match attach(name, prog) {
        Ok(link) => links.push(link),
        Err(error) => lacks.push(format!("{error:#}")),
    };
    optional("charge", &mut progs.monitor_charge);
    if new {
        optional("throttle_begins", &mut progs.monitor_throttle_begins);
        optional("throttle_ends", &mut progs.monitor_throttle_ends);
    } else if old {
        optional("throttle_begins", &mut progs.monitor_throttle_begins_old);
        optional("throttle_ends", &mut progs.monitor_throttle_ends_old);
    } else {
        lacks.push("time throttled: this kernel has no mem_cgroup_handle_over_high to look at".to_string());
    }
    for (name, link) in &mut links {
        link.pin(pins::link(&format!("{PART}_{name}"))).with_context(|| format!("pinning {name}"))?;
    }
    Ok(lacks)
}

fn attach(name: &'static str, prog: &mut ProgramMut<'_>) -> Result<(&'static str, Link)> {
    let link = prog.attach().with_context(|| format!("attaching {name}"))?;
    Ok((name, link))
}

/// Whether the kernel has a function of this name that a program can be attached to.
fn has_function(name: &str) -> bool {
    std::fs::read_to_string("/proc/kallsyms")
        .is_ok_and(|symbols| symbols.lines().any(|line| line.split_ascii_whitespace().nth(2) == Some(name)))
}

/// Whether its pins are there.
pub fn is_pinned() -> bool {
    pins::map("monitor_calls").exists()
}

/// All calls that it knows, those that live first, each kind in the order of their beginning.
pub fn calls() -> Result<Vec<CallStats>> {
    if !is_pinned() {
        bail!("the monitor isn't loaded: agentsh-helper load");
    }
    let mut all = Vec::new();
    for name in ["monitor_calls", "monitor_finished"] {
        let path = pins::map(name);
        let map = MapHandle::from_pinned_path(&path)
            .with_context(|| format!("{} can't be opened", path.display()))?;
        let mut some: Vec<CallStats> = map
            .keys()
            .filter_map(|key| map.lookup(&key, MapFlags::ANY).ok().flatten())
            .filter_map(|value| CallStats::decode(&value))
            .collect();
        some.sort_by_key(|call| call.began_ns);
        all.append(&mut some);
    }
    held::add_to(&mut all);
    Ok(all)
}
