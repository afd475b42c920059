//! The policies in force: loaded in their compiled form, and compiled anew by `agentshctl` when a file has changed.

use super::env::Env;
use super::identity::own_file;
use crate::policy::compiled::Policy;
use crate::policy::place::LoadEnv;
use crate::policy::store::{self, COMPILE_WAIT, State};
use crate::sys::args::Args;
use crate::sys::{aside, process};
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The policy, and what is wrong with the files it comes from.
pub fn policy(env: &Env, args: &Args, cwd: Option<&Path>) -> (Box<Policy>, Option<String>) {
    let places = places(env, cwd);
    let mut loaded = store::load(&places);
    if loaded.state == (State::Stale { compile: true }) {
        if !places.can_keep() {
            loaded.problem.get_or_insert_with(|| format!("the policy can't be compiled: {NOWHERE}"));
        } else if compile(&places, args) {
            loaded = store::load(&places);
        }
    }
    (loaded.policy, loaded.problem)
}

/// Where no cache can be written.
const NOWHERE: &str = "there is no folder to keep it in ($XDG_CACHE_HOME or ~/.cache; root's: /var/cache/agentsh or /run/agentsh/cache)";

/// Runs the compiler; tells whether it has ended in time. It goes on by itself otherwise, for the next call, though not
/// for ever.
fn compile(places: &LoadEnv, args: &Args) -> bool {
    let Some(command) = store::compile_command(places) else { return false };
    let Ok(command) = command.into_iter().map(|a| CString::new(a.into_vec())).collect::<Result<Vec<_>, _>>()
    else {
        return false;
    };
    aside::run(&command, args, COMPILE_WAIT).unwrap_or(false)
}

fn places(env: &Env, cwd: Option<&Path>) -> LoadEnv {
    let path = |bytes: Option<&'static [u8]>| bytes.map(|b| PathBuf::from(OsStr::from_bytes(b)));
    let absolute = |bytes| path(bytes).filter(|p| p.is_absolute());
    LoadEnv {
        cwd: cwd.map(Path::to_path_buf),
        home: absolute(env.home),
        xdg_cache: absolute(env.cache_home),
        policy: path(env.policy),
        exe_dir: own_file().and_then(|p| Path::new(OsStr::from_bytes(p)).parent()).map(Path::to_path_buf),
        ..LoadEnv::bare(process::euid())
    }
}
