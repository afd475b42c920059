//! `agentsh-helper root`: the host's pool.

use crate::cgroup::{mount, pool};
use crate::ctl::run::amount;
use crate::policy::compiled::Amount;
use anyhow::{Context, Result, anyhow, bail};

/// Make the pool that all sessions of this host share (/sys/fs/cgroup/agentsh), with its controllers; print where it is.
#[derive(clap::Args)]
pub struct Args {
    /// The most memory for all sessions together: 48G, max. Left as it is if not given.
    #[arg(long, value_name = "AMOUNT", value_parser = amount)]
    memory_max: Option<Amount>,
}

/// Makes the pool, or finds it made.
pub fn run(args: &Args) -> Result<()> {
    let mounts = mount::all().context("/proc/self/mountinfo can't be read")?;
    let pool = pool::of_host(&mounts).map_err(|why| anyhow!(why))?;
    let Some(pool) = pool else {
        bail!("the root of the cgroup v2 tree can't be written here: run this as root, on the host");
    };
    if let Some(amount) = args.memory_max {
        let max = match amount {
            Amount::Bytes(bytes) => Some(bytes),
            Amount::Max => None,
            Amount::Permille(_) => bail!("--memory-max of the pool is bytes or max: a percentage of what?"),
        };
        let file = pool.dir.path().join("memory.max");
        pool.dir
            .write_max("memory.max", max)
            .with_context(|| format!("{} can't be written", file.display()))?;
    }
    pool.protect();
    println!("{}", pool.dir.path().display());
    Ok(())
}
