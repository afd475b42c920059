//! `agentsh-helper load`, `unload` and `status`: the BPF programs, pinned and then the kernel's.

use super::bpf::enums::Enums;
use super::bpf::pins::{self, Pins};
use super::bpf::sched;
use anyhow::{Context, Result, bail};
use clap::ValueEnum;

/// Load what this kernel can run of the BPF programs and pin it under /sys/fs/bpf/agentsh; nothing stays resident.
#[derive(clap::Args)]
pub struct LoadArgs {
    /// What the scheduler is given.
    #[arg(long, value_enum, default_value = "off")]
    scheduler: Scheduler,
}

/// How much of the machine the scheduler has.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scheduler {
    /// Every task of the machine: for hosts that run agents and little else
    WholeMachine,
    /// Nothing: the kernel's own scheduler and its weights stay
    Off,
}

/// Loads and pins.
pub fn load(args: &LoadArgs) -> Result<()> {
    let kernel = Enums::of_kernel()?;
    let pins = Pins::make()?;
    match args.scheduler {
        Scheduler::WholeMachine => {
            sched::load(&kernel, &pins).context("the scheduler isn't loaded")?;
            println!("scheduler: loaded, whole machine");
        }
        Scheduler::Off => println!("scheduler: off (--scheduler whole-machine loads it)"),
    }
    Ok(())
}

/// End everything that was loaded, and remove every program, map, link and pin.
#[derive(clap::Args)]
pub struct UnloadArgs {}

/// Ends and unpins.
pub fn unload(_: &UnloadArgs) -> Result<()> {
    if !pins::any() {
        println!("nothing is loaded");
        return Ok(());
    }
    let pins = Pins::make()?;
    let ended = sched::end();
    pins.remove()?;
    ended?;
    println!("unloaded");
    Ok(())
}

/// Say what is loaded, and whether it is still at work.
#[derive(clap::Args)]
pub struct StatusArgs {
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

/// Prints it; an error if something that was loaded has ended.
pub fn status(args: &StatusArgs) -> Result<()> {
    let state = sched::state();
    let pinned = pins::link("sched").exists();
    let end = sched::last_end().filter(|_| state != sched::State::Ours);
    if args.json {
        let value = serde_json::json!({
            "scheduler": { "state": state.name(), "pinned": pinned, "ended": end },
        });
        println!("{value}");
    } else {
        println!("scheduler: {}{}", state.name(), if pinned { "" } else { ", not loaded by agentsh" });
        if let Some(end) = &end {
            println!("  ended: {} ({}): {}", end.reason, end.kind, end.message);
        }
    }
    if pinned && state != sched::State::Ours {
        bail!("the scheduler is pinned but doesn't run: agentsh-helper unload, then load");
    }
    Ok(())
}
