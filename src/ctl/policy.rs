//! `agentshctl policy`: checks policy files, shows what is in force, compiles it for the launcher.

use super::{Outcome, policy_view, schema};
use crate::policy::compile::{self, in_force};
use crate::policy::place::LoadEnv;
use crate::policy::problem::{Problem, any_error};
use crate::policy::store;
use anyhow::{Context, Result};
use std::io::Write;
use std::path::PathBuf;

/// Check, show and compile policies.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    Check(Check),
    Show(Show),
    Compile(Compile),
    /// Print the JSON schema of policy files, for editors.
    Schema,
}

/// Check policy files: every error and warning as FILE:LINE:COLUMN, with the valid choices. Exits with 1 for an error.
///
/// Without FILE: all that are in force here, /etc/agentsh/policy.d/*.yaml (or AGENTSH_POLICY) and the workspace's
/// .agentsh.yaml.
#[derive(clap::Args)]
struct Check {
    /// Files, each laid upon the ones before it and upon the built-in policy. One that is named .agentsh.yaml is checked
    /// as a workspace's, which may only tighten.
    files: Vec<PathBuf>,
}

/// Show the policy in force here, every value with the file and line it comes from.
#[derive(clap::Args)]
struct Show {
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Compile the policy in force here for the launcher.
///
/// The launcher starts this by itself when a file has changed.
#[derive(clap::Args)]
struct Compile {
    /// Write it to FILE instead of the cache, such as to /run/agentsh/policy for the containers of this machine.
    /// Without --workspace, no workspace's file is compiled into it.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Look for .agentsh.yaml from DIR upwards instead of from the working directory.
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
}

/// Runs `agentshctl policy`.
pub fn run(args: &Args) -> Result<Outcome> {
    let env = LoadEnv::of_process();
    match &args.action {
        Action::Check(args) => check(args, &env),
        Action::Show(args) => show(args, &env),
        Action::Compile(args) => compile(args, env),
        Action::Schema => print(&schema::text()),
    }
}

fn print(text: &str) -> Result<Outcome> {
    std::io::stdout().write_all(text.as_bytes()).context("can't write to stdout")?;
    Ok(Outcome::Fine)
}

fn check(args: &Check, env: &LoadEnv) -> Result<Outcome> {
    let mut notes = Vec::new();
    let outcome = if args.files.is_empty() {
        compile::compile(&store::inputs(env, &mut notes).0)
    } else {
        compile::compile_files(&args.files)
    };
    let mut text: String = notes.iter().map(|note| format!("{note}\n")).collect();
    text.extend(outcome.problems.iter().map(|problem| format!("{problem}\n")));
    let files = outcome.policy.sources.len() - 1;
    let failed = outcome.failed() || !notes.is_empty();
    text += &match (failed, files) {
        (true, _) => "not good; the last good policy stays in force\n".to_string(),
        (false, 0) => "good: no files, the built-in policy alone\n".to_string(),
        (false, 1) => "good: 1 file over the built-in policy\n".to_string(),
        (false, n) => format!("good: {n} files over the built-in policy\n"),
    };
    print(&text)?;
    Ok(if failed { Outcome::Finding } else { Outcome::Fine })
}

fn show(args: &Show, env: &LoadEnv) -> Result<Outcome> {
    let loaded = in_force(env);
    if args.json {
        let text = serde_json::to_string_pretty(&policy_view::json(&loaded)).context("can't write JSON")?;
        return print(&(text + "\n"));
    }
    print(&policy_view::text(&loaded))
}

fn compile(args: &Compile, mut env: LoadEnv) -> Result<Outcome> {
    env.policy = env.named_policy();
    if let Some(dir) = &args.workspace {
        env.cwd = Some(dir.canonicalize().with_context(|| format!("--workspace {}", dir.display()))?);
    } else if args.out.is_some() {
        env.cwd = None;
    }
    let mut notes = Vec::new();
    let (inputs, _) = store::inputs(&env, &mut notes);
    let outcome = compile::compile(&inputs);
    notes.extend(outcome.problems.iter().map(Problem::to_string));
    for note in &notes {
        eprintln!("{note}");
    }
    match &args.out {
        Some(_) if outcome.failed() => {}
        Some(file) => compile::write_whole(file, &outcome.to_bytes(&inputs), 0o644)
            .with_context(|| format!("can't write {}", file.display()))?,
        None => {
            compile::store(&env, &inputs, &outcome).context("can't keep the compiled policy")?;
        }
    }
    Ok(if any_error(&outcome.problems) { Outcome::Finding } else { Outcome::Fine })
}
