//! Loading, ending and asking after the scheduler, `bpf/agentsh_sched.bpf.c`.

use super::agentsh_sched::{AgentshSchedSkelBuilder, OpenAgentshSchedSkel, types};
use super::enums::Enums;
use super::pins::{self, Pins};
use super::shared::{SchedExit, SchedParams};
use anyhow::{Context, Result, anyhow, bail};
use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{Link, MapCore, MapFlags, MapHandle};
use std::fs::read_to_string;
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

/// The name of the part, which its pins begin with.
const PART: &str = "sched";
/// As `name` in the program's operations.
const NAME: &str = "agentsh";
/// Runnable and not run for so long: the kernel ejects the scheduler. Its own limit is 30 s.
const TIMEOUT: Duration = Duration::from_secs(5);
/// To give every task back to the kernel takes milliseconds.
const END_WITHIN: Duration = Duration::from_secs(20);
const PARAMS: SchedParams = SchedParams {
    slice: Duration::from_millis(4),
    credit_of_short: Duration::from_millis(100),
    credit: Duration::from_millis(4),
};
const DUMP_BYTES: u32 = 16384;

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

/// Loads and pins it. It schedules the whole machine from then on.
pub fn load(kernel: &Enums<'_>, pins: &Pins) -> Result<()> {
    match state() {
        State::Disabled => {}
        State::Lacking => bail!("this kernel has no sched_ext (CONFIG_SCHED_CLASS_EXT)"),
        State::Ours => bail!("it runs already"),
        State::Other(name) => bail!("another sched_ext scheduler runs: {name}"),
        State::Changing(state) => bail!("sched_ext is {state}: try again"),
    }
    pins.remove_part(PART)?;
    let mut storage = MaybeUninit::uninit();
    let mut open = AgentshSchedSkelBuilder::default().open(&mut storage).context("opening it")?;
    settle(&mut open, kernel)?;
    let mut skel = open.load().context("the kernel doesn't take it")?;
    skel.maps
        .sched_params
        .update(&0u32.to_ne_bytes(), &PARAMS.encode(), MapFlags::ANY)
        .context("writing its parameters")?;
    let mut link = skel.maps.agentsh_ops.attach_struct_ops().map_err(|error| {
        let why = ended(&skel.maps.sched_exit).map(|end| format!(": {}: {}", end.reason, end.message));
        let why = why.unwrap_or_default();
        anyhow!("the kernel doesn't start it: {error}{why}")
    })?;
    skel.maps.groups.pin(pins::map("sched_groups")).context("pinning its groups")?;
    skel.maps.sched_exit.pin(pins::map("sched_exit")).context("pinning its end")?;
    skel.maps.sched_params.pin(pins::map("sched_params")).context("pinning its parameters")?;
    link.pin(pins::link(PART)).context("pinning its link")?;
    Ok(())
}

/// What has to be said before loading: the kernel's numbers and the machine's.
fn settle(open: &mut OpenAgentshSchedSkel<'_>, kernel: &Enums<'_>) -> Result<()> {
    let cpus = libbpf_rs::num_possible_cpus().context("counting CPUs")?;
    let rodata = open.maps.rodata_data.as_deref_mut().ok_or_else(|| anyhow!("the object has no .rodata"))?;
    rodata.nr_cpus = u32::try_from(cpus)?;
    rodata.scx = types::scx_values {
        dsq_local: kernel.value("scx_dsq_id_flags", "SCX_DSQ_LOCAL")?,
        enq_wakeup: kernel.value("scx_enq_flags", "SCX_ENQ_WAKEUP")?,
        enq_preempt: kernel.value("scx_enq_flags", "SCX_ENQ_PREEMPT")?,
        kick_idle: kernel.value("scx_kick_flags", "SCX_KICK_IDLE")?,
        task_queued: kernel.value("scx_ent_flags", "SCX_TASK_QUEUED")?,
        kick_preempt: kernel.value("scx_kick_flags", "SCX_KICK_PREEMPT")?,
    };
    let queued_wakeup = kernel.value("scx_ops_flags", "SCX_OPS_ALLOW_QUEUED_WAKEUP").unwrap_or(0);
    let ops = open.struct_ops.agentsh_ops_mut();
    ops.flags = queued_wakeup;
    ops.timeout_ms = u32::try_from(TIMEOUT.as_millis())?;
    ops.exit_dump_len = DUMP_BYTES;
    Ok(())
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
