//! `agentsh-helper status` and `stats`: what is loaded and at work, and what the monitor has counted.

use super::bpf::direct::{self, DirectExec};
use super::bpf::stats::CallStats;
use super::bpf::{hold, monitor, pins, sched};
use super::memory;
use anyhow::{Result, bail};
use nix::unistd::geteuid;
use serde_json::json;

/// Say what is loaded, and whether it is still at work. 3 if something that was loaded has ended.
#[derive(clap::Args)]
pub struct StatusArgs {
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

/// Prints it.
pub fn status(args: &StatusArgs) -> Result<()> {
    if pins::any() && !geteuid().is_root() {
        bail!("the pins can be read by root only; agentshctl doctor says what it can to everybody");
    }
    let state = sched::state();
    let pinned = pins::link(sched::PART).exists();
    let end = sched::last_end().filter(|_| state != sched::State::Ours);
    let hooks = memory::status();
    let mut links: Vec<String> = pins::links().collect();
    links.sort_unstable();
    let at_work = |name: &str| pins::is_at_work(name) && (name != sched::PART || state == sched::State::Ours);
    let monitor = monitor::is_pinned().then(monitor::missing);
    if args.json {
        let links = links.iter().map(|name| json!({ "name": name, "at_work": at_work(name) }));
        let value = json!({
            "scheduler": { "state": state.name(), "pinned": pinned, "ended": end, "kernel": sched::sysfs() },
            "monitor": { "pinned": monitor.is_some(), "missing": monitor.as_deref().unwrap_or_default() },
            "links": links.collect::<Vec<_>>(),
            "holding": hold::totals(),
            "holding_parameters": hold::params(),
            "memory_hooks": hooks.1,
        });
        println!("{value}");
    } else {
        println!("scheduler: {}{}", state.name(), if pinned { "" } else { ", not loaded by agentsh" });
        if let Some(end) = &end {
            println!("  ended: {} ({}): {}", end.reason, end.kind, end.message);
            for line in end.dump.lines() {
                println!("  | {line}");
            }
        }
        if let Some(holding) = hold::totals() {
            println!("holding: {holding}");
        }
        if let Some(params) = hold::params() {
            println!("  parameters: {params}");
        }
        let monitor = match monitor.as_deref() {
            None => "not loaded".to_string(),
            Some([]) => "on".to_string(),
            Some(missing) => format!("without {}", missing.join(", ")),
        };
        println!("monitor: {monitor}");
        println!("{}", hooks.0);
        let work = links.iter().filter(|name| at_work(name)).count();
        println!("links: {} pinned, {work} at work", links.len());
    }
    if pinned && state != sched::State::Ours {
        bail!(
            "the scheduler is pinned but doesn't run: agentsh-helper reload loads it again, unload clears it away"
        );
    }
    if monitor.is_some_and(|missing| !missing.is_empty()) {
        bail!("the monitor isn't whole: agentsh-helper reload");
    }
    Ok(())
}

/// Show what the kernel has counted of every call: those that live, and the last 16,384 that have ended.
///
/// From Linux 7 on the kernel leaves out what comes while another task was interrupted in being counted on the same CPU:
/// under load a few forks, programs and ends may be missing.
#[derive(clap::Args)]
pub struct StatsArgs {
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// Instead, the programs that agents have started by themselves, past the shell: the last 4,096
    #[arg(long)]
    direct: bool,
}

/// Prints it.
pub fn stats(args: &StatsArgs) -> Result<()> {
    let calls = monitor::calls()?;
    if args.direct {
        return started_directly(args, &calls);
    }
    if args.json {
        for call in &calls {
            println!("{}", serde_json::to_string(call)?);
        }
        return Ok(());
    }
    println!(
        "session           call          seconds  forks  execs  exits  fastest MB/s  throttled s  held s"
    );
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
        "{:<17} {:<12} {:>8} {:>6} {:>6} {:>6} {:>13.0} {:>12.2} {:>7}",
        call.session,
        call.name,
        seconds,
        call.forks,
        call.execs,
        call.exits,
        call.fastest as f64 / 1e6,
        call.throttled_ns as f64 / 1e9,
        call.held_ns.map_or("-".to_string(), |ns| format!("{:.2}", ns as f64 / 1e9))
    )
}

fn started_directly(args: &StatsArgs, calls: &[CallStats]) -> Result<()> {
    let all = direct::all()?;
    if args.json {
        for it in &all {
            println!("{}", serde_json::to_string(it)?);
        }
        return Ok(());
    }
    println!("session               pid   parent  seconds  comm             file");
    for it in &all {
        let session = calls.iter().rev().find(|call| call.cgroup_id == it.agent_id);
        println!("{}", direct_line(it, session.map_or("-", |call| &call.session)));
    }
    Ok(())
}

fn direct_line(it: &DirectExec, session: &str) -> String {
    let seconds = match it.ended_ns {
        0 => "lives".to_string(),
        ended => format!("{:.2}", ended.saturating_sub(it.began_ns) as f64 / 1e9),
    };
    // A file's name may hold anything.
    let visible = |text: &str| text.replace(char::is_control, "?");
    format!(
        "{session:<17} {:>7}  {:>7} {seconds:>8}  {:<15}  {}",
        it.process.pid,
        it.parent.pid,
        visible(&it.comm),
        visible(&it.file)
    )
}
