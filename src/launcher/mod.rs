//! The launcher: stands in the shell's place.
//!
//! Its story, in order: already inside a call, become the real shell at once ([`table::at_once`]); else see what is
//! asked for ([`invocation`], [`table`]), what it is and what it may have ([`call`]), start it in its leaf and watch over
//! it ([`supervise`]) until it has ended, say what happened ([`report`]), and end as it did. No failure of our own may
//! change what the command does: whatever goes wrong, the real shell is executed in our place
//! ([`crate::sys::lifeboat`]).

pub mod ancestry;
pub mod bound;
pub mod call;
pub mod caretaker;
pub mod circle;
pub mod departed;
pub mod env;
pub mod forward;
pub mod headroom;
pub mod identity;
pub mod invocation;
pub mod nested;
pub mod note;
pub mod real;
pub mod refresh;
pub mod report;
pub mod run;
pub mod sentinel;
pub mod shim;
pub mod supervise;
pub mod survivors;
pub mod table;
pub mod voice;

use crate::cgroup::own;
use crate::sys::args::Args;
use crate::sys::{exec, lifeboat};
use call::Planned;
use env::Env;
use identity::Identity;
use nix::errno::Errno;
use real::Real;
use std::panic::{AssertUnwindSafe, catch_unwind};
use table::Circumstances;

/// Runs what the arguments ask for; gives our exit status where nothing could be run.
pub fn main(args: Args) -> i32 {
    let env = Env::read(&args);
    let identity = identity::identify(&args);
    let shell = match real::find(&identity, &env, args.environment()) {
        Real::Found(shell) => shell,
        missing => return say_missing(&identity, &missing),
    };
    let (given, (shell, args)) = match &identity {
        Identity::Shim(name) => (args, shim::started(name, shell, args, &env)),
        _ => (args, (shell, args)),
    };
    let (mut short, mut long) = ([0; own::SHORT], Vec::new());
    let own = match own::read(&mut short) {
        Err(Errno::EOVERFLOW) => {
            long.resize(own::LONG, 0);
            own::read(&mut long).ok()
        }
        own => own.ok(),
    };
    let nested = own.is_some_and(|path| own::in_leaf(path).is_some());
    if table::at_once(Circumstances { secure: env.secure, off: env.off, nested }).is_none() {
        lifeboat::ready(args, shell);
        // A bug of ours must not be seen by the command: what is thrown here ends in the lifeboat.
        std::panic::set_hook(Box::new(|_| ()));
        let _ = catch_unwind(AssertUnwindSafe(|| match call::plan(&given, &env, &identity, own) {
            Planned::InPlace => {}
            Planned::Logged(mut call) => {
                nested::enter(&mut call);
                run::in_place(*call, &env);
            }
            Planned::Call(call) => run::supervised(*call, args, &env, shell),
        }));
        lifeboat::board();
    }
    exec::refuse(shell, &exec::exec(shell, &args))
}

fn say_missing(identity: &Identity, missing: &Real) -> i32 {
    let name = match identity {
        Identity::Shell(name) => (*name).into(),
        Identity::Applet => "busybox".into(),
        Identity::Shim(name) => String::from_utf8_lossy(name),
    };
    exec::say(&match (identity, missing) {
        (Identity::Shim(_), Real::Circle) => {
            format!("agentsh: {name}: what is called so in PATH starts {name} again and again\n")
        }
        (Identity::Shim(_), _) => {
            format!("agentsh: {name}: command not found (this one is a shim, and PATH has no other)\n")
        }
        (_, Real::Circle) => {
            format!("agentsh: AGENTSH_REAL_SHELL leads back to agentsh; name the real {name} there\n")
        }
        _ => format!("agentsh: {name}: the real program was not found; name it in AGENTSH_REAL_SHELL\n"),
    });
    exec::NOT_FOUND
}
