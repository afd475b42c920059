//! `agentshctl doctor`: what is enforced here, what isn't, and what to do about it.

mod check;
mod entrances;
mod kernel;
mod leaf;
mod policy;
mod sample;
mod sandbox;

use super::Outcome;
use crate::policy::compile::in_force;
use crate::policy::place::LoadEnv;
use anyhow::Result;
use check::{Check, State, Tier};
use serde::Serialize;
use std::io::Write;

/// Check what is enforced on this machine, for this user, in this folder. Everything is tried, not looked up: a leaf is
/// claimed and its knobs written, a sample call is made and its record read back.
///
/// The tiers: 0 classification, log and feedback (needs nothing); 1 a cgroup for each call with its limits; 2 the
/// scheduler (sched_ext); 3 memory hooks (memcg_bpf_ops); M events from tracepoints. Tiers 2, 3 and M are extras: they
/// are shown, and count as a finding only if they are loaded and not active.
///
/// Exit status: 0 all is enforced, 1 something isn't (each such line says what to do), 2 usage, 3 it can't be told.
#[derive(clap::Args)]
pub struct Args {
    /// Print one JSON object: {"v", "enforced", "checks": [{"tier", "name", "state", "detail", "remedy"}],
    /// "tiers": [{"tier", "active", "adds"}]}.
    #[arg(long)]
    json: bool,
    /// Print one row of Markdown instead: the kernel, then of limits, scheduler, holding, memory hooks and events whether
    /// they are in force.
    #[arg(long, conflicts_with = "json")]
    row: bool,
}

/// The columns of `--row`: checks, by their names.
const COLUMNS: [&str; 5] = ["limits", "scheduler", "holding", "memory hooks", "events"];

fn row(kernel: &str, checks: &[Check]) -> String {
    let word = |name: &str| match checks.iter().find(|check| check.name == name) {
        Some(check) if check.state == State::Ok => "yes",
        _ => "no",
    };
    let words = COLUMNS.map(word).join(" | ");
    format!("| {kernel} | {words} |")
}

#[derive(Serialize)]
struct Report<'a> {
    v: u8,
    enforced: bool,
    checks: &'a [Check],
    tiers: Vec<Standing>,
}

/// Is there anything of a tier, and what would that be?
#[derive(Serialize)]
struct Standing {
    tier: Tier,
    active: bool,
    adds: &'static str,
}

impl Standing {
    /// The first check of a tier is the one without which there is nothing of it.
    fn of(tier: Tier, checks: &[Check]) -> Standing {
        let first = checks.iter().find(|check| check.tier == tier);
        Standing { tier, active: first.is_some_and(|check| check.state == State::Ok), adds: tier.adds() }
    }
}

/// Does all checks and prints them.
pub fn run(args: &Args) -> Result<Outcome> {
    let env = LoadEnv::of_process();
    let loaded = in_force(&env);
    let mut checks = policy::check(&env, &loaded);
    let (leaf, place) = leaf::check(&loaded.policy);
    let (sample, shell) = sample::check(&loaded.policy.log, place);
    checks.push(shell);
    checks.extend(sample);
    checks.push(entrances::check());
    checks.extend(leaf);
    checks.extend(sandbox::check());
    checks.extend(kernel::checks());
    checks.sort_by_key(|check| check.tier); // stable: within a tier as above
    print(args, &checks)
}

fn print(args: &Args, checks: &[Check]) -> Result<Outcome> {
    let enforced = checks.iter().all(|check| check.state != State::Missing);
    let tiers: Vec<_> = Tier::ALL.into_iter().map(|tier| Standing::of(tier, checks)).collect();
    let mut out = std::io::stdout().lock();
    if args.row {
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
        writeln!(out, "{}", row(kernel.trim(), checks))?;
    } else if args.json {
        serde_json::to_writer(&mut out, &Report { v: 1, enforced, checks, tiers })?;
        writeln!(out)?;
    } else {
        for it in &tiers {
            writeln!(
                out,
                "tier {}{}: {}",
                it.tier.name(),
                if it.active { "" } else { ", not active" },
                it.adds
            )?;
            for check in checks.iter().filter(|check| check.tier == it.tier) {
                writeln!(out, "{check}")?;
            }
        }
        let missing = checks.iter().filter(|check| check.state == State::Missing).count();
        match missing {
            0 => writeln!(out, "\nAll of it is enforced.")?,
            1 => writeln!(out, "\n1 thing is not enforced; what to do stands behind the arrow.")?,
            n => writeln!(out, "\n{n} things are not enforced; what to do stands behind the arrows.")?,
        }
    }
    Ok(if enforced { Outcome::Fine } else { Outcome::Finding })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_of_each_column_whether_it_is_in_force() {
        let checks = [
            Check::ok(Tier::One, "limits", ""),
            Check::absent(Tier::Two, "scheduler", ""),
            Check::ok(Tier::M, "events", ""),
        ];
        assert_eq!(row("6.12.1", &checks), "| 6.12.1 | yes | no | no | no | yes |");
    }
}
