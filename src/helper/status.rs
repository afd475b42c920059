//! `agentsh-helper status` and `stats`: what is loaded and at work, and what the monitor has counted.

use super::bpf::stats::CallStats;
use super::bpf::{monitor, pins, sched};
use anyhow::{Result, bail};

/// Say what is loaded, and whether it is still at work. 3 if something that was loaded has ended.
#[derive(clap::Args)]
pub struct StatusArgs {
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

/// Prints it.
pub fn status(args: &StatusArgs) -> Result<()> {
    let state = sched::state();
    let pinned = pins::link("sched").exists();
    let end = sched::last_end().filter(|_| state != sched::State::Ours);
    if args.json {
        let value = serde_json::json!({
            "scheduler": { "state": state.name(), "pinned": pinned, "ended": end },
            "monitor": { "pinned": monitor::is_pinned() },
        });
        println!("{value}");
    } else {
        println!("scheduler: {}{}", state.name(), if pinned { "" } else { ", not loaded by agentsh" });
        if let Some(end) = &end {
            println!("  ended: {} ({}): {}", end.reason, end.kind, end.message);
        }
        println!("monitor: {}", if monitor::is_pinned() { "on" } else { "not loaded" });
    }
    if pinned && state != sched::State::Ours {
        bail!("the scheduler is pinned but doesn't run: agentsh-helper unload, then load");
    }
    Ok(())
}

/// Show what the kernel has counted of every call: those that live, and the last 16,384 that have ended.
#[derive(clap::Args)]
pub struct StatsArgs {
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// Prints it.
pub fn stats(args: &StatsArgs) -> Result<()> {
    let calls = monitor::calls()?;
    if args.json {
        for call in &calls {
            println!("{}", serde_json::to_string(call)?);
        }
        return Ok(());
    }
    println!("session           call          seconds  forks  execs  exits  fastest MB/s  throttled s");
    for call in &calls {
        println!("{}", line(call));
    }
    Ok(())
}

fn line(call: &CallStats) -> String {
    let seconds = match call.ended_ns {
        0 => "lives".to_string(),
        ended => format!("{:.2}", ended.saturating_sub(call.began_ns) as f64 / 1e9),
    };
    format!(
        "{:<17} {:<12} {:>8} {:>6} {:>6} {:>6} {:>13.0} {:>12.2}",
        call.session,
        call.name,
        seconds,
        call.forks,
        call.execs,
        call.exits,
        call.fastest as f64 / 1e6,
        call.throttled_ns as f64 / 1e9
    )
}
