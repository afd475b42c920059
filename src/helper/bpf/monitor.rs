//! Loading and reading the monitor, `bpf/agentsh_monitor.bpf.c`.

use super::agentsh_monitor::AgentshMonitorSkelBuilder;
use super::direct;
use super::enums::Enums;
use super::held;
use super::keep;
use super::pins::{self, Pins};
use super::stats::CallStats;
use anyhow::{Context, Result, bail};
use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{Link, MapCore, MapFlags, MapHandle, ProgramMut};
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

/// The name of the part, which its pins begin with.
pub const PART: &str = "monitor";
const CALLS: &str = "monitor_calls";
const FINISHED: &str = "monitor_finished";
const NEEDED: [&str; 4] = ["populated", "fork", "exec", "exit"];

/// What came of loading it.
pub struct Loaded {
    /// What of it this kernel can't do.
    pub lacks: Vec<String>,
    /// If it took the place of another: for how long both counted.
    pub both: Option<Duration>,
    /// What that one had counted is still there.
    pub keeps_counts: bool,
}

/// Loads and pins it. One that is there already goes on counting, into the same maps, until the new one does.
pub fn load(kernel: &Enums<'_>, pins: &Pins) -> Result<Loaded> {
    let replaces = is_pinned();
    let mut storage = MaybeUninit::uninit();
    let mut open = AgentshMonitorSkelBuilder::default().open(&mut storage).context("opening it")?;
    // One of two names of the same function.
    let new = kernel.has_function("__mem_cgroup_handle_over_high");
    open.progs.monitor_throttle_begins.set_autoload(new);
    open.progs.monitor_throttle_ends.set_autoload(new);
    let old = !new && kernel.has_function("mem_cgroup_handle_over_high");
    open.progs.monitor_throttle_begins_old.set_autoload(old);
    open.progs.monitor_throttle_ends_old.set_autoload(old);
    let has_calls = keep::take_over(&mut open.maps.calls, CALLS)?;
    let has_finished = keep::take_over(&mut open.maps.finished, FINISHED)?;
    let has_direct = keep::take_over(&mut open.maps.direct, direct::MAP)?;
    let has_news = keep::take_over(&mut open.maps.direct_news, direct::NEWS)?;
    let has_agents = keep::take_over(&mut open.maps.agents, direct::AGENTS)?;
    let mut skel = open.load().context("the kernel doesn't take it")?;
    let progs = &mut skel.progs;
    let began = Instant::now();
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
        pins.keep_link(link, &pin_of(name))?;
    }
    let both = replaces.then(|| began.elapsed());
    pins.keep_map(&mut skel.maps.calls, CALLS, has_calls)?;
    pins.keep_map(&mut skel.maps.finished, FINISHED, has_finished)?;
    pins.keep_map(&mut skel.maps.direct, direct::MAP, has_direct)?;
    pins.keep_map(&mut skel.maps.direct_news, direct::NEWS, has_news)?;
    pins.keep_map(&mut skel.maps.agents, direct::AGENTS, has_agents)?;
    let names: Vec<String> = links.iter().map(|(name, _)| pin_of(name)).collect();
    pins.keep_links_only(PART, &names)?;
    Ok(Loaded { lacks, both, keeps_counts: has_calls && has_finished })
}

fn pin_of(link: &str) -> String {
    format!("{PART}_{link}")
}

fn attach(name: &'static str, prog: &mut ProgramMut<'_>) -> Result<(&'static str, Link)> {
    let link = prog.attach().with_context(|| format!("attaching {name}"))?;
    Ok((name, link))
}

/// Whether anything of it is there.
pub fn is_pinned() -> bool {
    pins::map(CALLS).exists()
}

/// Those of the links without which it isn't whole that aren't at work.
pub fn missing() -> Vec<&'static str> {
    NEEDED.into_iter().filter(|name| !pins::is_at_work(&pin_of(name))).collect()
}

/// All calls that it knows, those that live first, each kind in the order of their beginning.
pub fn calls() -> Result<Vec<CallStats>> {
    if !is_pinned() {
        bail!("the monitor isn't loaded: agentsh-helper load");
    }
    let mut all = Vec::new();
    for name in [CALLS, FINISHED] {
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
