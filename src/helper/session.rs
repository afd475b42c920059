//! `agentsh-helper session`: a session that stays, for an agent that somebody else starts.

use super::memory;
use crate::cgroup::session::Priority;
use crate::cgroup::{mark, mount, pool, session, start};
use crate::ctl::run::{amount, group_of, priority};
use crate::policy::compile;
use crate::policy::compiled::Amount;
use crate::policy::place::LoadEnv;
use anyhow::{Result, anyhow, bail};
use nix::unistd::Uid;

/// Make a session in the pool, or remove it; print where it is. The agent belongs into its agent/: write its pid there.
#[derive(clap::Args)]
pub struct Args {
    /// Its name.
    name: String,
    /// The most memory for the agent and all its calls together: 4G, 75% (of what there is), max.
    #[arg(long, value_name = "AMOUNT", value_parser = amount)]
    memory_max: Option<Amount>,
    /// Who gives way first when sessions compete.
    #[arg(long, value_name = "PRIORITY", default_value = "normal", value_parser = priority)]
    priority: Priority,
    /// Hand it over to this user, who can then make leaves in it, and nothing else.
    #[arg(long, value_name = "UID")]
    uid: Option<u32>,
    /// Only attach the kernel's memory hooks, if they are loaded, to the session that there is: for agentshctl.
    #[arg(long, hide = true, conflicts_with_all = ["memory_max", "uid", "remove"])]
    attach: bool,
    /// Remove it instead; fails while anything lives in it.
    #[arg(long, conflicts_with_all = ["memory_max", "uid"])]
    remove: bool,
}

/// Makes or removes it.
pub fn run(args: &Args) -> Result<()> {
    if args.attach {
        // Whoever made it has the pool locked.
        for session in memory::sessions()?.iter().filter(|session| session.name() == args.name) {
            memory::attach(session);
        }
        return Ok(());
    }
    let mounts = mount::all()?;
    let Some(pool) = pool::of_host(&mounts).map_err(|why| anyhow!(why))? else {
        bail!("the root of the cgroup v2 tree can't be written here: run this as root, on the host");
    };
    if args.remove {
        session::remove(&pool.dir, &args.name)?;
        pool.protect();
        return Ok(());
    }
    let loaded = compile::in_force(&LoadEnv::bare(0));
    if let Some(problem) = &loaded.problem {
        eprintln!("agentsh-helper: not all of the policy is in force: {problem}");
    }
    let user = args.uid.map(|uid| (Uid::from_raw(uid), group_of(uid)));
    let wish = start::Wish {
        name: &args.name,
        memory_max: args.memory_max,
        priority: args.priority,
        user,
        guarantee: start::Guarantee::Uncounted,
    };
    let (base, _, lacks) =
        start::make(&pool, &wish, mark::BY_HELPER, &loaded.policy.session).map_err(|why| anyhow!(why))?;
    if !lacks.is_empty() {
        eprintln!(
            "agentsh-helper: not enforced, as the kernel or the cgroup tree lacks it here: {}",
            lacks.join(", ")
        );
    }
    memory::attach(&base);
    println!("{}", base.path().display());
    Ok(())
}
