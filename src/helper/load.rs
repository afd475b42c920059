//! `agentsh-helper load`, `reload` and `unload`: the BPF programs, pinned and from then on the kernel's.

use super::bpf::enums::Enums;
use super::bpf::hold::{self, HoldParams};
use super::bpf::monitor;
use super::bpf::pins::{self, Pins};
use super::bpf::probe::{self, Share};
use super::bpf::sched::{self, Settings};
use super::memory;
use super::power;
use super::system::{self, Wanted};
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use std::path::Path;
use std::time::Duration;

/// Whoever makes this file says that the machine is there for agents.
const DEDICATED: &str = "/etc/agentsh/dedicated";

/// Load what this kernel can run of the BPF programs and pin it under /sys/fs/bpf/agentsh; nothing stays resident.
///
/// Holding's parameters are those of the system's policy (section `holding` in /etc/agentsh/policy.d). Where the scheduler
/// runs already, `load` puts changed ones in force.
///
/// Needs CAP_BPF and CAP_PERFMON, and to be root for the folder of the pins; all other capabilities are given up first.
#[derive(clap::Args)]
pub struct LoadArgs {
    /// What the scheduler is given.
    #[arg(long, value_enum, default_value = "auto", value_name = "MODE")]
    scheduler: Mode,
    #[command(flatten)]
    options: Options,
}

/// Put programs of this version in the place of those that are loaded.
///
/// The monitor's are at work before the old ones go, and go on with what those have counted. Of schedulers the kernel
/// runs one at a time: for some milliseconds, which are printed, it schedules by itself. A scheduler that isn't loaded
/// isn't loaded by this either. Needs what `load` needs.
#[derive(clap::Args)]
pub struct ReloadArgs {
    #[command(flatten)]
    options: Options,
}

#[derive(clap::Args)]
struct Options {
    /// The longest that a runnable task may be kept waiting, in ms: by then the kernel has ended the scheduler and schedules
    /// by itself. Thousands of runnable tasks may wait for seconds and nothing is wrong.
    #[arg(long, value_name = "MS", default_value_t = sched::DEFAULT_TIMEOUT.as_millis() as u64,
          value_parser = clap::value_parser!(u64).range(2000..=46000))]
    timeout_ms: u64,
    /// For tests: tasks named agentsh-stall and agentsh-abort bring the scheduler down.
    #[arg(long, hide = true)]
    faults: bool,
    /// For tests: room for so many cgroups.
    #[arg(long, hide = true, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    groups: Option<u32>,
    /// Whether the scheduler holds calls that take memory which calls of higher priority still need; by default the policy
    /// says it.
    #[arg(long, value_enum)]
    holding: Option<hold::Mode>,
}

impl Options {
    fn settings(&self, replace: bool, wanted: &Wanted) -> Settings {
        let holding = HoldParams { patience_ms: hold::patience_ms(self.timeout()), ..wanted.params };
        Settings { timeout: self.timeout(), replace, faults: self.faults, groups: self.groups, holding }
    }

    fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    fn wanted(&self) -> Wanted {
        system::wanted(self.holding, self.timeout())
    }
}

/// How much of the machine the scheduler has.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// whole-machine if there is a file /etc/agentsh/dedicated and the kernel has sched_ext, else off
    Auto,
    /// Every task of the machine: for hosts that run agents and little else
    WholeMachine,
    /// Calls only, beside the kernel's own scheduler: tries whether they would get CPU there, and says why not
    Partial,
    /// Nothing: the kernel's own scheduler and its weights stay
    Off,
}

/// What is to be done about the scheduler.
#[derive(Debug, PartialEq, Eq)]
enum Choice {
    Load,
    Try,
    /// For this reason.
    Leave(&'static str),
}

fn choose(mode: Mode, is_dedicated: bool, state: &sched::State) -> Choice {
    match (mode, state) {
        (Mode::WholeMachine, _) => Choice::Load,
        (Mode::Partial, _) => Choice::Try,
        (Mode::Off, _) => Choice::Leave("--scheduler whole-machine loads it"),
        (Mode::Auto, _) if !is_dedicated => Choice::Leave(
            "it would have every task of the machine; a file /etc/agentsh/dedicated says that it may, or --scheduler \
             whole-machine",
        ),
        (Mode::Auto, sched::State::Lacking) => Choice::Leave("this kernel has no sched_ext"),
        (Mode::Auto, sched::State::Ours) => Choice::Leave("it runs already"),
        (Mode::Auto, sched::State::Other(_)) => Choice::Leave("another sched_ext scheduler runs"),
        (Mode::Auto, _) => Choice::Load,
    }
}

/// Loads and pins.
pub fn load(args: &LoadArgs) -> Result<()> {
    power::limit()?;
    let kernel = Enums::of_kernel()?;
    let pins = Pins::make()?;
    if monitor::is_pinned() && monitor::missing().is_empty() {
        println!("monitor: loaded already");
    } else {
        load_monitor(&kernel, &pins)?;
    }
    let (state, wanted) = (sched::state(), args.options.wanted());
    if state == sched::State::Ours {
        hold::renew(&wanted.params)?;
        println!("holding: {}", wanted.params);
    }
    match choose(args.scheduler, Path::new(DEDICATED).exists(), &state) {
        Choice::Load => {
            sched::load(&kernel, &pins, args.options.settings(false, &wanted))
                .context("the scheduler isn't loaded")?;
            println!("scheduler: loaded, whole machine");
        }
        Choice::Try => bail!("the scheduler isn't loaded: {}", refusal(try_partial(&kernel)?)),
        Choice::Leave(_) if state == sched::State::Ours => println!("scheduler: on, as before"),
        Choice::Leave(why) => println!("scheduler: off ({why})"),
    }
    println!("{}", memory::load(&pins)?);
    wanted.check()
}

/// Puts new ones in the place of what is loaded.
pub fn reload(args: &ReloadArgs) -> Result<()> {
    power::limit()?;
    if !pins::any() {
        bail!("nothing is loaded: agentsh-helper load");
    }
    let kernel = Enums::of_kernel()?;
    let pins = Pins::make()?;
    load_monitor(&kernel, &pins)?;
    if pins::link(sched::PART).exists() {
        let wanted = args.options.wanted();
        let gap = sched::load(&kernel, &pins, args.options.settings(true, &wanted))
            .context("the scheduler isn't loaded")?;
        match gap {
            Some(gap) => println!("scheduler: replaced; for {:.1} ms there was none", ms(gap)),
            None => println!("scheduler: loaded, whole machine; the one that was loaded before had ended"),
        }
        wanted.check()?;
    } else {
        println!("scheduler: off, as before");
    }
    Ok(())
}

fn load_monitor(kernel: &Enums<'_>, pins: &Pins) -> Result<()> {
    let loaded = monitor::load(kernel, pins).context("the monitor isn't loaded")?;
    match loaded.both {
        None => println!("monitor: loaded"),
        Some(both) => {
            println!("monitor: replaced; for {:.1} ms both counted", ms(both));
            if !loaded.keeps_counts {
                println!("  what was counted before is gone, as it had another form");
            }
        }
    }
    for lack in loaded.lacks {
        println!("  without {lack}");
    }
    Ok(())
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn try_partial(kernel: &Enums<'_>) -> Result<Share> {
    match sched::state() {
        sched::State::Disabled => probe::partial(kernel).context("partial mode can't be tried"),
        sched::State::Lacking => bail!("this kernel has no sched_ext (CONFIG_SCHED_CLASS_EXT)"),
        state => bail!("partial mode can't be tried while sched_ext is {}", state.name()),
    }
}

/// Why calls aren't put into SCHED_EXT beside the fair class.
fn refusal(share: Share) -> String {
    let seen = format!(
        "a SCHED_EXT task beside two of the fair class on one CPU got {:.1} % of it, where an equal gets {:.0} %",
        share.got * 100.0,
        Share::FAIR * 100.0
    );
    if share.is_enough() {
        format!(
            "{seen}. This kernel could do it, but agentsh can't: none that it was made on could. Use whole-machine"
        )
    } else {
        format!("{seen}: calls would starve. Use whole-machine, or off, where cpu.weight decides")
    }
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
    power::limit()?;
    let pins = Pins::make()?;
    let ended = sched::end();
    pins.remove()?;
    ended?;
    println!("unloaded");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sched::State;

    #[test]
    fn by_itself_it_takes_the_machine_only_where_that_was_allowed_and_is_possible() {
        let left = |choice| matches!(choice, Choice::Leave(_));
        assert!(left(choose(Mode::Auto, false, &State::Disabled)));
        assert_eq!(choose(Mode::Auto, true, &State::Disabled), Choice::Load);
        assert!(left(choose(Mode::Auto, true, &State::Lacking)));
        assert!(left(choose(Mode::Auto, true, &State::Other("rusty".into()))));
        // Who asks for it is told what is in the way.
        assert_eq!(choose(Mode::WholeMachine, false, &State::Lacking), Choice::Load);
    }

    #[test]
    fn a_refusal_has_the_figure() {
        assert!(
            refusal(Share { got: 0.05 })
                .contains("got 5.0 % of it, where an equal gets 33 %: calls would starve")
        );
        assert!(refusal(Share { got: 0.33 }).contains("could do it"));
    }
}
