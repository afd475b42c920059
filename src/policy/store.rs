//! Which policy is in force: the launcher's side, without YAML and without reading a folder.
//!
//! In order: `AGENTSH_POLICY` (a compiled file, or a YAML file by its compiled form), `/run/agentsh/policy`, the
//! compiled form of /etc/agentsh/policy.d; upon it the workspace's file. Compiled forms lie in the caller's cache and
//! are fresh while every file that they came from looks as it did. What is stale is compiled again by `agentshctl`
//! ([`compile_command`]); what can't be compiled leaves the last good policy in force.

use super::binary::{self, Compiled, MAGIC, MOST_BYTES};
use super::builtin;
use super::compiled::{Policy, Stamp};
use super::place::{self, Base, Believe, Inputs, LoadEnv, Look};
use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

/// How long the launcher waits for [`compile_command`]; after that the last good policy is in force for this call.
pub const COMPILE_WAIT: Duration = Duration::from_millis(50);

/// The policy in force.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The policy.
    pub policy: Box<Policy>,
    /// Is it the one that the files of now say?
    pub state: State,
    /// What is wrong, for the log and for doctor; with the file, line and column where a file is.
    pub problem: Option<String>,
}

/// Is the policy in force the one that the files of now say?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Yes.
    Fresh,
    /// No: it is the last good one.
    Stale {
        /// Shall [`compile_command`] be started? Not if it has failed for the files as they are now.
        compile: bool,
    },
    /// Yes: there are no files, the built-in one is in force.
    Builtin,
}

/// Finds the policy in force. Never fails; costs a dozen system calls.
pub fn load(env: &LoadEnv) -> Loaded {
    let mut problems = Vec::new();
    let (inputs, base) = inputs(env, &mut problems);
    let mut loaded = match (&inputs.base, &inputs.workspace, base) {
        (Base::Builtin, None, _) => {
            Loaded { policy: builtin::policy(), state: State::Builtin, problem: None }
        }
        (Base::Compiled(_), None, Some(base)) => {
            Loaded { policy: base.policy, state: State::Fresh, problem: None }
        }
        (_, _, base) => cached(env, &inputs, base),
    };
    problems.extend(loaded.problem.take());
    loaded.problem = (!problems.is_empty()).then(|| problems.join("; "));
    loaded
}

/// What the policy in force is compiled from, and the base if that is compiled already.
pub fn inputs(env: &LoadEnv, problems: &mut Vec<String>) -> (Inputs, Option<Compiled>) {
    let (base, compiled) = base(env, problems);
    let workspace = env.workspace().unwrap_or_else(|problem| {
        problems.push(problem);
        None
    });
    (Inputs { base, workspace }, compiled)
}

fn base(env: &LoadEnv, problems: &mut Vec<String>) -> (Base, Option<Compiled>) {
    if let Some(path) = env.named_policy() {
        match named(&path) {
            Ok(found) => return found,
            Err(problem) => problems.push(format!("AGENTSH_POLICY {}: {problem}", path.display())),
        }
    }
    if let Ok(bytes) = place::read(&env.run, Believe::Own(env.uid), MOST_BYTES as u64) {
        match binary::decode(&bytes) {
            // In a container the host's files aren't there, and what the host compiled holds. On the host itself
            // they are, and one that has changed counts at once.
            Ok(compiled) if no_file_differs(&compiled) => {
                return (Base::Compiled(env.run.clone()), Some(compiled));
            }
            Ok(_) => {}
            Err(error) => problems.push(format!("{}: {error}", env.run.display())),
        }
    }
    if place::exists(&env.folder) && env.folder.is_dir() {
        return (Base::Folder(env.folder.clone()), None);
    }
    (Base::Builtin, None)
}

/// A file that the caller named: compiled, or YAML.
#[cold]
fn named(path: &Path) -> Result<(Base, Option<Compiled>), String> {
    if path.to_str().is_none() {
        return Err("its path is not UTF-8".into());
    }
    let (mut file, _) = place::open(path, Believe::Named).map_err(|error| error.to_string())?;
    let mut head = [0; MAGIC.len()];
    if file.read_exact(&mut head).is_err() || head != MAGIC {
        return Ok((Base::Yaml(path.to_path_buf()), None));
    }
    let bytes = place::read(path, Believe::Named, MOST_BYTES as u64).map_err(|error| error.to_string())?;
    let compiled = binary::decode(&bytes).map_err(|error| error.to_string())?;
    Ok((Base::Compiled(path.to_path_buf()), Some(compiled)))
}

#[cold]
fn no_file_differs(compiled: &Compiled) -> bool {
    compiled.watched.iter().all(|source| match fs::metadata(&source.path) {
        Ok(meta) => Some(Stamp::of(&meta)) == source.stamp,
        Err(_) => true,
    })
}

/// The compiled form from the cache, or the last good one.
#[cold]
fn cached(env: &LoadEnv, inputs: &Inputs, base: Option<Compiled>) -> Loaded {
    let key = inputs.key();
    let mut last_good = None;
    let caches = env.caches();
    for cache in &caches {
        let Ok(bytes) =
            place::read(&cache.join(inputs.file_name()), Believe::Own(env.uid), MOST_BYTES as u64)
        else {
            continue;
        };
        match binary::decode(&bytes) {
            Ok(compiled) if compiled.key != key => {}
            Ok(compiled) if place::look(&compiled.watched) == Look::Same => {
                return Loaded { policy: compiled.policy, state: State::Fresh, problem: None };
            }
            Ok(compiled) => last_good = last_good.or(Some(compiled.policy)),
            // Cut, damaged or of another version: as if there were none.
            Err(_) => {}
        }
    }
    let failure = caches.iter().find_map(|cache| {
        let bytes =
            place::read(&cache.join(inputs.failure_name()), Believe::Own(env.uid), MOST_BYTES as u64).ok()?;
        let failure = binary::decode_failure(&bytes).ok()?;
        let look = place::look(&failure.watched);
        (failure.key == key && look != Look::Changed).then_some((failure.text, look))
    });
    let policy = last_good.unwrap_or_else(|| below(env, inputs, base));
    let compile = !matches!(failure, Some((_, Look::Same)));
    Loaded { policy, state: State::Stale { compile }, problem: failure.map(|(text, _)| text) }
}

/// Without any compiled form of these inputs: what lies below the workspace's file.
#[cold]
fn below(env: &LoadEnv, inputs: &Inputs, base: Option<Compiled>) -> Box<Policy> {
    match (base, &inputs.base, &inputs.workspace) {
        (Some(base), ..) => base.policy,
        (None, Base::Folder(_) | Base::Yaml(_), Some(_)) => {
            cached(env, &Inputs { base: inputs.base.clone(), workspace: None }, None).policy
        }
        _ => builtin::policy(),
    }
}

/// The command that compiles what is stale, into the cache: to be started with the caller's uid, cwd and
/// environment, and to be waited for no longer than [`COMPILE_WAIT`]; then [`load`] again. None if there is no
/// `agentshctl` on this machine.
pub fn compile_command(env: &LoadEnv) -> Option<Vec<OsString>> {
    let compiler = env.compiler()?;
    let mut argv: Vec<OsString> = vec![compiler.into(), "policy".into(), "compile".into()];
    if let Some(cwd) = &env.cwd {
        argv.extend(["--workspace".into(), cwd.into()]);
    }
    Some(argv)
}
