//! `agentsh-helper`: what needs root, done once at boot or once for each session, and never on the way of a call.

use clap::{Parser, Subcommand};
use std::process::ExitCode;

mod attach;
mod bpf;
mod descriptors;
mod load;
mod memory;
mod power;
mod rehearse;
mod root;
mod serve;
mod session;
mod status;
mod system;

/// Make the cgroups that agentsh's sessions live in, and load what the kernel does for them. Needs root.
#[derive(Parser)]
#[command(name = "agentsh-helper", version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Root(root::Args),
    Session(session::Args),
    Attach(attach::Args),
    Detach(attach::detach::Args),
    Serve(serve::Args),
    Load(load::LoadArgs),
    Reload(load::ReloadArgs),
    Unload(load::UnloadArgs),
    Status(status::StatusArgs),
    Stats(status::StatsArgs),
    #[command(hide = true)]
    Rehearse(rehearse::Args),
}

/// Reads the command line, runs the subcommand, reports its error. 0 is done, 2 usage, 3 the environment can't.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Root(args) => root::run(&args),
        Command::Session(args) => session::run(&args),
        Command::Attach(args) => attach::run(&args),
        Command::Detach(args) => attach::detach::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Load(args) => load::load(&args),
        Command::Reload(args) => load::reload(&args),
        Command::Unload(args) => load::unload(&args),
        Command::Status(args) => status::status(&args),
        Command::Stats(args) => status::stats(&args),
        Command::Rehearse(args) => rehearse::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("agentsh-helper: {error:#}");
            ExitCode::from(3)
        }
    }
}
