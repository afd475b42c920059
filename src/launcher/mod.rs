//! The launcher: stands in the shell's place.
//!
//! Its story, in order: already inside a call, become the real shell at once; else see what is asked for
//! ([`invocation`], [`table`]); find the real shell ([`real`]); start it and watch over it ([`supervise`]) until
//! it has ended, and end as it did. No failure of our own may change what the command does: whatever goes wrong,
//! the real shell is executed in our place ([`crate::sys::lifeboat`]).

pub mod env;
pub mod forward;
pub mod identity;
pub mod invocation;
pub mod note;
pub mod real;
pub mod sentinel;
pub mod supervise;
pub mod voice;

use crate::sys::args::Args;
use crate::sys::process::Change;
use crate::sys::{exec, fd, lifeboat, signal, spawn};
use env::Env;
use identity::Identity;
use real::Real;
use std::ffi::CStr;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs what the arguments ask for; gives our exit status where nothing could be run.
pub fn main(args: Args) -> i32 {
    let env = Env::read(&args);
    let identity = identity::identify(&args);
    let shell = match real::find(&identity, &env) {
        Real::Found(shell) => shell,
        missing => return say_missing(&identity, &missing),
    };
    lifeboat::ready(args, shell);
    // A bug of ours must not be seen by the command: what is thrown here ends in the lifeboat.
    let _ = catch_unwind(AssertUnwindSafe(|| run(args, &env, &identity, shell)));
    lifeboat::board();
    eprintln!("agentsh: {}: cannot be executed", shell.to_string_lossy());
    spawn::NOT_EXECUTABLE
}

fn run(args: Args, env: &Env, identity: &Identity, shell: &'static CStr) {
    let _ = (env, identity);
    let all = args.bytes();
    let form = invocation::parse(all.get(1..).unwrap_or(&[]));
    if !matches!(
        form,
        invocation::Form::Command { job_control: false, .. }
            | invocation::Form::Script { job_control: false, .. }
    ) {
        return;
    }
    supervised(args, shell);
}

/// Starts the shell, watches over it and ends as it did; comes back if it couldn't be started.
fn supervised(args: Args, shell: &'static CStr) {
    let mut voice = voice::Voice::of_stderr();
    let mask = signal::block(&signal::Set::all());
    lifeboat::signals_blocked(mask);
    let Ok(signals) = signal::Stream::new(&signal::Set::all()) else { return };
    // With SIGCHLD ignored the kernel would not tell how the shell ended. It gets its own disposition back.
    let sigchld_ignored = signal::set_default(libc::SIGCHLD);
    let ignored: &[i32] = if sigchld_ignored { &[libc::SIGCHLD] } else { &[] };
    let start = spawn::Start {
        program: shell,
        args,
        cgroup: None,
        mask,
        ignored,
        death_signal: libc::SIGKILL,
        oom_score_adj: None,
    };
    let pid = match spawn::spawn(&start).or_else(|_| spawn::fork(&start)) {
        Ok(pid) => pid,
        Err(_) => {
            if sigchld_ignored {
                signal::set_ignored(libc::SIGCHLD);
            }
            return;
        }
    };
    lifeboat::started(pid);
    let mut keep: Vec<_> = [Some(signals.as_raw_fd()), voice.keep()].into_iter().flatten().collect();
    fd::close_all_but(&mut keep);
    let (change, _) =
        supervise::Supervision { shell: pid, signals: &signals, voice: &mut voice }.run(&mut ());
    end_as(change);
}

fn end_as(change: Change) -> ! {
    lifeboat::end_as(change)
}

fn say_missing(identity: &Identity, missing: &Real) -> i32 {
    let name = match identity {
        Identity::Shell(name) => (*name).into(),
        Identity::Applet => "busybox".into(),
        Identity::Shim(name) => String::from_utf8_lossy(name),
    };
    if *missing == Real::Circle {
        eprintln!("agentsh: AGENTSH_REAL_SHELL leads back to agentsh; name the real {name} there");
    } else {
        eprintln!("agentsh: {name}: the real program was not found; name it in AGENTSH_REAL_SHELL");
    }
    exec::exit_now(127)
}
