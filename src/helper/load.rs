//! `agentsh-helper load` and `unload`: the BPF programs, pinned and from then on the kernel's.

use super::bpf::enums::Enums;
use super::bpf::pins::{self, Pins};
use super::bpf::{monitor, sched};
use super::memory;
use anyhow::{Context, Result};
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
    if monitor::is_pinned() {
        println!("monitor: loaded already");
    } else {
        let lacks = monitor::load(&pins).context("the monitor isn't loaded")?;
        println!("monitor: loaded");
        for lack in lacks {
            println!("  without {lack}");
        }
    }
    match args.scheduler {
        Scheduler::WholeMachine => {
            sched::load(&kernel, &pins).context("the scheduler isn't loaded")?;
            println!("scheduler: loaded, whole machine");
        }
        Scheduler::Off => println!("scheduler: off (--scheduler whole-machine loads it)"),
    }
    println!("{}", memory::load(&pins)?);
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
