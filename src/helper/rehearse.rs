//! `agentsh-helper rehearse`: what the memory hooks would do, on a kernel that doesn't have them. For tests.

use super::bpf::memcg;
use super::memory::sessions;
use anyhow::{Context, Result};
use std::io::{BufRead, Write};

/// Count what the memory hooks would do, at every charge of memory; obey none of it. A line on stdin: print the counts.
/// Goes on until stdin ends.
#[derive(clap::Args)]
pub struct Args {}

/// Loads, counts, unloads.
pub fn run(_: &Args) -> Result<()> {
    let rehearsal = memcg::Rehearsal::start()?;
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        line.context("stdin")?;
        for session in sessions()? {
            rehearsal.enter(&session)?;
        }
        println!("{}", serde_json::to_string(&rehearsal.known())?);
        std::io::stdout().flush()?;
    }
    Ok(())
}
