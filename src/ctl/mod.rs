//! `agentshctl`, the operator's tool: one file for each subcommand, and here only the list of them.
//!
//! A subcommand is a struct of arguments (its doc comments are the manual) and a `run` that says how it went in
//! an [`Outcome`]; an error that it returns is printed and ends the program with 3.

use clap::{Parser, Subcommand};
use std::io;
use std::process::ExitCode;

mod classify;
mod doctor;
mod explain;
mod generate;
mod join;
mod log;
mod policy;
mod policy_view;
pub mod run;
mod schema;
mod several;
mod shims;

/// See, check and start what agentsh enforces on the tool calls of AI agents.
#[derive(Parser)]
#[command(name = "agentshctl", version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Classify(classify::Args),
    Doctor(doctor::Args),
    Explain(explain::Args),
    #[command(hide = true)]
    Generate(generate::Args),
    Log(log::Args),
    Policy(policy::Args),
    Run(run::Args),
    Shims(shims::Args),
}

/// How a subcommand ended, other than by an error of the environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done, and nothing to report.
    Fine,
    /// Done, and something isn't as it should be (doctor: something not enforced).
    Finding,
    /// What was given can't be used.
    Usage,
    /// The status of a command that was started; 128 + N for a signal.
    Status(u8),
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> ExitCode {
        ExitCode::from(match outcome {
            Outcome::Fine => 0,
            Outcome::Finding => 1,
            Outcome::Usage => 2,
            Outcome::Status(status) => status,
        })
    }
}

/// Reads the command line, runs the subcommand, reports its error.
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Classify(args) => classify::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Generate(args) => generate::run(&args),
        Command::Log(args) => log::run(&args),
        Command::Policy(args) => policy::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Shims(args) => shims::run(&args),
    };
    match outcome {
        Ok(outcome) => outcome.into(),
        // Whoever reads has enough of it (`| head`): no error.
        Err(error)
            if error.downcast_ref().is_some_and(|e: &io::Error| e.kind() == io::ErrorKind::BrokenPipe) =>
        {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("agentshctl: {error:#}");
            ExitCode::from(3)
        }
    }
}
