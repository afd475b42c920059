//! Loading, ending and asking after the scheduler, `bpf/agentsh_sched.bpf.c`.

use super::agentsh_sched::{AgentshSchedSkelBuilder, OpenAgentshSchedSkel, types};
use super::enums::Enums;
use super::held;
use super::hold::{self, HoldParams};
use super::pins::{self, Pins};
use super::shared::{SchedExit, SchedParams};
use crate::class::Class;
use crate::policy::builtin;
use anyhow::{Context, Result, anyhow, bail};
use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{Link, MapCore, MapFlags, MapHandle};
use std::collections::BTreeMap;
use std::fs::read_to_string;
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

/// The name of the part, which its pins begin with.
pub const PART: &str = "sched";
/// As `name` in the program's operations.
const NAME: &str = "agentsh";
/// Thousands of runnable tasks with slices of milliseconds may well wait for seconds, and nothing is wrong.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(20);
/// For the kernel to write its dump and take back every task of a slow and busy machine.
const TAKING_BACK: Duration = Duration::from_secs(1);
/// To give every task back to the kernel takes milliseconds.
const END_WITHIN: Duration = Duration::from_secs(20);
const PARAMS: SchedParams = SchedParams {
    slice: Duration::from_millis(4),
    credit_of_short: Duration::from_millis(100),
    credit: Duration::from_millis(4),
};
const DUMP_BYTES: u32 = 16384;
/// Where a task is stopped at its next page fault: without it holding's timer does that, which is late.
const FAULT: &str = "page_fault_user";

/// How it is to be loaded.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The longest that a runnable task may wait before the kernel ejects the scheduler.
    pub timeout: Duration,
    /// In the place of one of ours that runs, or not at all.
    pub replace: bool,
    /// For tests: tasks of certain names bring it down (`bpf/fault.h`).
    pub faults: bool,
    /// For tests: cgroups that it tells apart; `MAX_GROUPS` if none.
    pub groups: Option<u32>,
    /// When calls are held.
    pub holding: HoldParams,
}

/// How the kernel's sched_ext is.
#[derive(Debug, PartialEq, Eq)]
pub enum State {
    /// The kernel has no sched_ext.
    Lacking,
    /// No scheduler is loaded.
    Disabled,
    /// Ours runs.
    Ours,
    /// Another one runs; its name.
    Other(String),
    /// Between two of these.
    Changing(String),
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            timeout: DEFAULT_TIMEOUT,
            replace: false,
            faults: false,
            groups: None,
            holding: HoldParams::of(&builtin::policy().holding, None, DEFAULT_TIMEOUT),
        }
    }
}

impl State {
    /// For people.
    pub fn name(&self) -> String {
        match self {
            State::Lacking => "lacking in this kernel".to_string(),
            State::Disabled => "off".to_string(),
            State::Ours => "on".to_string(),
            State::Other(name) => format!("another one: {name}"),
            State::Changing(state) => state.clone(),
        }
    }
}

/// What else sysfs tells: whether every task is its, how often a scheduler was enabled, tasks that one refused.
pub fn sysfs() -> BTreeMap<&'static str, String> {
    let files = ["state", "switch_all", "enable_seq", "nr_rejected", "hotplug_seq"];
    let read = |file| read_to_string(format!("/sys/kernel/sched_ext/{file}")).ok();
    files.into_iter().filter_map(|file| Some((file, read(file)?.trim().to_string()))).collect()
}

/// Asks sysfs.
pub fn state() -> State {
    let Ok(state) = read_to_string("/sys/kernel/sched_ext/state") else { return State::Lacking };
    match state.trim() {
        "disabled" => State::Disabled,
        "enabled" => {
            let ops = read_to_string("/sys/kernel/sched_ext/root/ops").unwrap_or_default();
            match ops.trim() {
                NAME => State::Ours,
                other => State::Other(other.to_string()),
            }
        }
        other => State::Changing(other.to_string()),
    }
}

/// Loads and pins it. It schedules the whole machine from then on. If it took the place of one that ran: for how long
/// there was none, as sched_ext has one at a time.
pub fn load(kernel: &Enums<'_>, pins: &Pins, settings: Settings) -> Result<Option<Duration>> {
    let replaces = match state() {
        State::Disabled => false,
        State::Ours if settings.replace => true,
        State::Ours => bail!("it runs already: agentsh-helper reload puts a new one in its place"),
        State::Lacking => bail!("this kernel has no sched_ext (CONFIG_SCHED_CLASS_EXT)"),
        State::Other(name) => bail!("another sched_ext scheduler runs: {name}"),
        State::Changing(state) => bail!("sched_ext is {state}: try again"),
    };
    let mut storage = MaybeUninit::uninit();
    let mut open = AgentshSchedSkelBuilder::default().open(&mut storage).context("opening it")?;
    settle(&mut open, kernel, settings)?;
    held::take_over(&mut open.maps.hold_totals, &mut open.maps.hold_episodes)?;
    let mut skel = open.load().context("the kernel doesn't take it")?;
    skel.maps
        .sched_params
        .update(&0u32.to_ne_bytes(), &PARAMS.encode(), MapFlags::ANY)
        .context("writing its parameters")?;
    hold::set(&skel.maps.hold_params, &settings.holding)?;
    // It does nothing until the scheduler runs, and then it is there.
    let mut charge =
        skel.progs.hold_charge.attach().context("attaching holding to page_counter_try_charge")?;
    let mut fault = match kernel.has_tracepoint(FAULT) {
        true => Some(skel.progs.hold_fault.attach().context("attaching holding to page_fault_user")?),
        false => None,
    };
    // Only now, when all that takes time is done, does the old one end. The link of one that was ejected goes too: 6.18
    // ends whatever scheduler runs when it is freed, and that is some time after its pin has gone.
    let ended_at = Instant::now();
    end()?;
    // Only counts: no reason to leave the machine without a scheduler.
    if let Err(error) = held::close(&skel.maps.hold_totals, &skel.maps.hold_episodes) {
        eprintln!("agentsh-helper: what was held may be counted for too long: {error:#}");
    }
    pins.remove_part(PART)?;
    let mut link = skel.maps.agentsh_ops.attach_struct_ops().map_err(|error| {
        let why = ended(&skel.maps.sched_exit).map(|end| format!(": {}: {}", end.reason, end.message));
        let why = why.unwrap_or_default();
        anyhow!("the kernel doesn't start it: {error}{why}")
    })?;
    let gap = replaces.then(|| ended_at.elapsed());
    skel.maps.groups.pin(pins::map("sched_groups")).context("pinning its groups")?;
    skel.maps.sched_exit.pin(pins::map("sched_exit")).context("pinning its end")?;
    skel.maps.sched_params.pin(pins::map("sched_params")).context("pinning its parameters")?;
    skel.maps.hold_params.pin(pins::map("sched_hold_params")).context("pinning holding's parameters")?;
    skel.maps.hold_totals.pin(pins::map(held::TOTALS)).context("pinning holding's totals")?;
    skel.maps.hold_episodes.pin(pins::map(held::MAP)).context("pinning the last holds")?;
    // A timer ends with its map's last user.
    skel.maps.hold_timers.pin(pins::map("sched_hold_timers")).context("pinning holding's timer")?;
    charge.pin(pins::link("sched_charge")).context("pinning holding's link")?;
    if let Some(fault) = &mut fault {
        fault.pin(pins::link("sched_fault")).context("pinning holding's link to page faults")?;
    }
    // Last: without this pin it ends with us, so that nothing but the whole outlives us.
    link.pin(pins::link(PART)).context("pinning its link")?;
    Ok(gap)
}

/// Has it schedule, unpinned and for as long as `during` runs, only those tasks that ask for it.
pub fn with_partial<T>(kernel: &Enums<'_>, during: impl FnOnce() -> Result<T>) -> Result<T> {
    let mut storage = MaybeUninit::uninit();
    let mut open = AgentshSchedSkelBuilder::default().open(&mut storage).context("opening it")?;
    settle(&mut open, kernel, Settings::default())?;
    open.struct_ops.agentsh_ops_mut().flags |= kernel.value("scx_ops_flags", "SCX_OPS_SWITCH_PARTIAL")?;
    let mut skel = open.load().context("the kernel doesn't take it")?;
    skel.maps
        .sched_params
        .update(&0u32.to_ne_bytes(), &PARAMS.encode(), MapFlags::ANY)
        .context("writing its parameters")?;
    let link = skel.maps.agentsh_ops.attach_struct_ops().context("the kernel doesn't start it")?;
    let done = during();
    let _ = link.detach();
    done
}

/// What has to be said before loading: the kernel's numbers and the machine's.
fn settle(open: &mut OpenAgentshSchedSkel<'_>, kernel: &Enums<'_>, settings: Settings) -> Result<()> {
    let cpus = libbpf_rs::num_possible_cpus().context("counting CPUs")?;
    let rodata = open.maps.rodata_data.as_deref_mut().ok_or_else(|| anyhow!("the object has no .rodata"))?;
    rodata.nr_cpus = u32::try_from(cpus)?;
    rodata.memory_cgrp_id = u32::try_from(kernel.value("cgroup_subsys_id", "memory_cgrp_id")?)?;
    rodata.class_ranks = Class::LEAVES.map(Class::rank);
    rodata.faults = settings.faults;
    if let Some(groups) = settings.groups {
        rodata.max_groups = groups;
    }
    rodata.scx = types::scx_values {
        dsq_local: kernel.value("scx_dsq_id_flags", "SCX_DSQ_LOCAL")?,
        dsq_local_on: kernel.value("scx_dsq_id_flags", "SCX_DSQ_LOCAL_ON")?,
        enq_wakeup: kernel.value("scx_enq_flags", "SCX_ENQ_WAKEUP")?,
        enq_last: kernel.value("scx_enq_flags", "SCX_ENQ_LAST")?,
        enq_preempt: kernel.value("scx_enq_flags", "SCX_ENQ_PREEMPT")?,
        kick_idle: kernel.value("scx_kick_flags", "SCX_KICK_IDLE")?,
        task_queued: kernel.value("scx_ent_flags", "SCX_TASK_QUEUED")?,
        kick_preempt: kernel.value("scx_kick_flags", "SCX_KICK_PREEMPT")?,
    };
    open.progs.hold_fault.set_autoload(kernel.has_tracepoint(FAULT));
    let queued_wakeup = kernel.value("scx_ops_flags", "SCX_OPS_ALLOW_QUEUED_WAKEUP").unwrap_or(0);
    let ops = open.struct_ops.agentsh_ops_mut();
    // A held task must not run on only because its CPU has nothing else to do.
    ops.flags = queued_wakeup | kernel.value("scx_ops_flags", "SCX_OPS_ENQ_LAST")?;
    ops.timeout_ms = watchdog_ms(settings.timeout);
    ops.exit_dump_len = DUMP_BYTES;
    if let Some(groups) = settings.groups {
        open.maps.groups.set_max_entries(groups)?;
        open.maps.group_index.set_max_entries(groups)?;
        open.maps.free_groups.set_max_entries(groups)?;
    }
    Ok(())
}

/// What the kernel's watchdog is given, so that nothing waits longer than `timeout`: it looks only every half of its
/// time (scx_watchdog_workfn in kernel/sched/ext.c), so finds what hangs after one to one and a half of it, and has then
/// every task to take back.
fn watchdog_ms(timeout: Duration) -> u32 {
    let found_within = timeout.saturating_sub(TAKING_BACK);
    u32::try_from(found_within.as_millis() * 2 / 3).unwrap_or(u32::MAX)
}

/// How the last one ended, if it did.
pub fn last_end() -> Option<SchedExit> {
    ended(&MapHandle::from_pinned_path(pins::map("sched_exit")).ok()?)
}

fn ended(map: &impl MapCore) -> Option<SchedExit> {
    let value = map.lookup(&0u32.to_ne_bytes(), MapFlags::ANY).ok()??;
    SchedExit::decode(&value)
}

/// Ends it and waits until the kernel has taken every task back. Its pins stay.
pub fn end() -> Result<()> {
    let pin = pins::link(PART);
    if pin.exists() {
        let link = Link::open(&pin).with_context(|| format!("{} can't be opened", pin.display()))?;
        // One that was ejected is detached already.
        let _ = link.detach();
    }
    let deadline = Instant::now() + END_WITHIN;
    while matches!(state(), State::Ours | State::Changing(_)) {
        if Instant::now() > deadline {
            bail!("the scheduler still runs {} s after it was ended", END_WITHIN.as_secs());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
