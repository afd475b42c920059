//! What the system's policy says of holding: /etc/agentsh/policy.d, or what stands in its place; nobody's workspace.

use super::bpf::hold::{self, HoldParams, Mode};
use crate::policy::place::LoadEnv;
use crate::policy::problem::Problem;
use crate::policy::{builtin, compile, store};
use anyhow::{Result, bail};
use std::time::Duration;

/// The parameters that holding is to have.
pub struct Wanted {
    /// Those of the system's policy; if that isn't good, those in force, or the built-in ones.
    pub params: HoldParams,
    /// Which they are instead, if the policy isn't good.
    instead: Option<&'static str>,
}

/// Reads the policy and says what is wrong with it, each with its file, line and column, on stderr. `mode` instead of what
/// the policy says; `timeout` is the scheduler's.
pub fn wanted(mode: Option<Mode>, timeout: Duration) -> Wanted {
    let mut problems = Vec::new();
    let (inputs, _) = store::inputs(&LoadEnv::bare(0), &mut problems);
    let outcome = compile::compile(&inputs);
    let is_good = problems.is_empty() && !outcome.failed();
    problems.extend(outcome.problems.iter().map(Problem::to_string));
    for problem in problems {
        eprintln!("{problem}");
    }
    let (params, instead) = match hold::params() {
        _ if is_good => (HoldParams::of(&outcome.policy.holding, mode, timeout), None),
        Some(params) => (HoldParams { mode: mode.unwrap_or(params.mode), ..params }, Some("those in force")),
        None => (HoldParams::of(&builtin::policy().holding, mode, timeout), Some("the built-in ones")),
    };
    Wanted { params, instead }
}

impl Wanted {
    /// Is the policy good? Else, when all is done that could be done without it, this is said of it.
    pub fn check(&self) -> Result<()> {
        match self.instead {
            None => Ok(()),
            Some(instead) => bail!(
                "the system's policy isn't good, so holding's parameters are {instead}: mend it (agentshctl policy check), \
                 then agentsh-helper load"
            ),
        }
    }
}
