//! Which policy is in force, and whether all of its files are fit for it: compiled anew, and compared.

use super::check::{Check, Tier};
use crate::policy::compile;
use crate::policy::place::LoadEnv;
use crate::policy::problem::Severity;
use crate::policy::store::{self, Loaded, State};

const NAME: &str = "policy";

/// The policy's files, compiled now; `loaded` is what the launcher would take.
pub fn check(env: &LoadEnv, loaded: &Loaded) -> Vec<Check> {
    let mut problems = Vec::new();
    let (inputs, _) = store::inputs(env, &mut problems);
    let compiled = compile::compile(&inputs);
    let in_force =
        if loaded.state == State::Builtin { "the built-in policy" } else { "the last good policy" };
    let mut checks: Vec<Check> = problems
        .into_iter()
        .map(|problem| {
            let remedy = "mend or remove it; until then it counts as if it weren't there";
            Check::missing(Tier::Zero, NAME, problem, remedy)
        })
        .collect();
    for problem in compiled.problems.iter().filter(|problem| problem.severity == Severity::Error) {
        let remedy =
            format!("mend that line (`agentshctl policy check FILE`); until then {in_force} is in force");
        checks.push(Check::missing(Tier::Zero, NAME, problem.to_string(), remedy));
    }
    if checks.is_empty() {
        let files: Vec<&str> = compiled.watched.iter().map(|source| source.path.as_str()).collect();
        let detail = match files.as_slice() {
            [] => "the built-in one; no file in /etc/agentsh/policy.d and no .agentsh.yaml here".into(),
            files => format!("the built-in one and {}", files.join(", ")),
        };
        checks.push(Check::ok(Tier::Zero, NAME, detail));
    }
    checks
}
