//! `agentshctl run`: makes a session and becomes the agent in it; or starts several, each in a session of its own.

use super::{Outcome, join, several};
use crate::cgroup::error::Error;
use crate::cgroup::pool::Pool;
use crate::cgroup::session::Priority;
use crate::cgroup::start::{Guarantee, Refused, Wish};
use crate::cgroup::{dir::Dir, mark, own, pool, start};
use crate::policy::compile::in_force;
use crate::policy::compiled::{Amount, SessionPolicy};
use crate::policy::place::LoadEnv;
use crate::policy::units;
use anyhow::{Context, Result, anyhow, bail};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, getppid, setgid, setgroups, setuid};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Start an agent in a session of its own: its tool calls share a budget, and when memory runs out a call dies and never
/// the agent.
///
/// The agent itself runs in <session>/agent, with memory kept for it (the policy's `session: reserve:`); each tool call
/// gets a leaf in <session>/calls, once its shell is agentsh. The session goes when the next one is made after all its
/// processes have ended. Works as root, or in a delegated cgroup:
///
///   systemd-run --user --scope -p Delegate=yes -- agentshctl run -- claude
///
/// Several agents on one host: what each is guaranteed (--guarantee) must fit into the pool together, and whatever is
/// left, or isn't used, is for whoever bursts. If there isn't a place for all, nobody is started, or with --wait those that
/// fit, and the others as places get free:
///
///   agentshctl run --count 8 --pool 16G --guarantee 1G --number-as N -- ./agent task-N
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The session's name; an existing session of that name gets these limits and is joined. With --count the names are
    /// NAME-1, NAME-2 …
    #[arg(long, value_name = "NAME")]
    pub(super) session: Option<String>,
    /// The most memory for the agent and all its calls together: 4G, 512M, 75% (of what there is), max.
    #[arg(long, value_name = "AMOUNT", value_parser = amount)]
    memory_max: Option<Amount>,
    /// Start so many agents, each in a session of its own, and wait for all of them. They have no stdin; the exit status is the
    /// first one that isn't 0.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(super) count: Option<u32>,
    /// The most memory for all sessions of this host together (root, on the host): 16G. It stays so for those that come
    /// later. Without it the pool is what limits it already.
    #[arg(long, value_name = "AMOUNT", value_parser = bytes)]
    pool: Option<u64>,
    /// What each agent and its calls have for certain: 1G. By itself the policy's `session: reserve:`.
    #[arg(long, value_name = "AMOUNT", value_parser = bytes)]
    guarantee: Option<u64>,
    /// If the pool has no place for it now, wait until others have ended.
    #[arg(long)]
    wait: bool,
    /// With --count: this word within the arguments stands for the agent's number, from 1 on.
    #[arg(long, value_name = "WORD", requires = "count")]
    pub(super) number_as: Option<String>,
    /// Who gives way first when sessions compete.
    #[arg(long, value_name = "PRIORITY", default_value = "normal", value_parser = priority)]
    priority: Priority,
    /// Run the agent as this user (root only); its group is the user's in /etc/passwd. The environment stays as it is.
    #[arg(long, value_name = "UID", value_parser = clap::value_parser!(u32))]
    uid: Option<u32>,
    /// Print the session's cgroup and its limits to stderr.
    #[arg(long, short)]
    verbose: bool,
    /// One of several: ends with the process of this pid.
    #[arg(long, hide = true, value_name = "PID", conflicts_with = "count")]
    below: Option<i32>,
    /// The agent and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub(super) command: Vec<OsString>,
}

/// Is there while `agentsh-helper load` has loaded the kernel's memory hooks.
const MEMORY_HOOKS: &str = "/sys/fs/bpf/agentsh/maps/memcg_sessions";
/// How often who waits looks for a place.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// Reads an amount of memory for clap.
pub fn amount(text: &str) -> Result<Amount, String> {
    units::amount(text).map_err(|e| e.to_string())
}

/// Reads bytes for clap.
fn bytes(text: &str) -> Result<u64, String> {
    match amount(text)? {
        Amount::Bytes(bytes) if bytes > 0 => Ok(bytes),
        _ => Err("an amount of memory, such as 512M or 16G".into()),
    }
}

/// Reads a priority for clap.
pub fn priority(text: &str) -> Result<Priority, String> {
    [Priority::High, Priority::Normal, Priority::Low]
        .into_iter()
        .find(|p| p.name() == text)
        .ok_or_else(|| "high, normal or low".into())
}

/// Makes the session, moves this process into it and becomes the command; comes back only if that fails: 127 if there is no
/// such program, 126 if it can't be started, as shells have it. Or starts several.
pub fn run(args: &Args) -> Result<Outcome> {
    if args.uid.is_some() && !Uid::current().is_root() {
        bail!("--uid needs root");
    }
    let policy = in_force(&LoadEnv::of_process()).policy.session;
    match args.count {
        Some(count) => {
            let name = args.session.clone().unwrap_or_else(|| format!("run-{}", std::process::id()));
            // Whether there are places for all is known before the first of them begins.
            if let Err(refused) = start::admit(&pool_for(args)?, &wish(args, &name), count, &policy) {
                match refused {
                    Refused::Full(refusal) if args.wait && refusal.may_pass() => {}
                    refused => bail!("{refused}"),
                }
            }
            several::run(args, &name, count)
        }
        None => become_it(args, &policy),
    }
}

/// Where sessions are made, with the limit that is asked for; nobody else makes any meanwhile.
fn pool_for(args: &Args) -> Result<Pool> {
    let mut buf = [0; own::LONG];
    let own = own::read(&mut buf).map_err(|e| anyhow!("this machine has no cgroup v2 ({})", e.desc()))?;
    let pool = pool::find(own).map_err(|why| anyhow!(why))?;
    pool.tidy();
    if let Some(limit) = args.pool {
        pool.set_limit(limit).map_err(|why| anyhow!(why))?;
    }
    Ok(pool)
}

fn wish<'a>(args: &Args, name: &'a str) -> Wish<'a> {
    let counted = args.count.is_some() || args.below.is_some() || args.pool.is_some() || args.wait;
    let guarantee = match args.guarantee {
        Some(bytes) => Guarantee::Bytes(bytes),
        None if counted => Guarantee::Reserve,
        None => Guarantee::Uncounted,
    };
    let user = args.uid.map(|uid| (Uid::from_raw(uid), group_of(uid)));
    Wish { name, memory_max: args.memory_max, priority: args.priority, user, guarantee }
}

fn become_it(args: &Args, policy: &SessionPolicy) -> Result<Outcome> {
    let Some(program) = args.command.first() else { bail!("no command is given") };
    let name = args.session.clone().unwrap_or_else(|| format!("run-{}", std::process::id()));
    // Who waits for a place mustn't take it for nobody …
    end_with(args.below)?;
    enter(args, &wish(args, &name), policy)?;
    if let Some(user) = args.uid {
        become_user(Uid::from_raw(user), group_of(user))?;
        // … and a change of user takes that back.
        end_with(args.below)?;
    }
    let error = Command::new(program).args(args.command.iter().skip(1)).exec();
    eprintln!("agentshctl: {}: {error}", program.display());
    Ok(Outcome::Status(if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 }))
}

/// Lets this process end by SIGTERM when the one that has started it does, if that has a pid here.
fn end_with(above: Option<i32>) -> Result<()> {
    let Some(above) = above else { return Ok(()) };
    set_pdeathsig(Signal::SIGTERM).context("PR_SET_PDEATHSIG")?;
    if getppid().as_raw() != above {
        bail!("process {above}, which has started this one, is gone");
    }
    Ok(())
}

/// Makes the session, as soon as there is a place for it, and moves this process into its `agent/`.
fn enter(args: &Args, wish: &Wish, policy: &SessionPolicy) -> Result<()> {
    loop {
        let pool = pool_for(args)?;
        let (base, spec, lacks) = match start::make(&pool, wish, mark::BY_RUN, policy) {
            Ok(made) => made,
            Err(Refused::Full(refusal)) if args.wait && refusal.may_pass() => {
                drop(pool);
                std::thread::sleep(LOOK_EVERY);
                continue;
            }
            Err(refused) => bail!("{refused}"),
        };
        if args.verbose {
            let limit = |bytes: Option<u64>| bytes.map_or("max".into(), units::show_bytes);
            eprintln!(
                "agentshctl: session {}: memory.max {}, calls {}, agent keeps {}",
                base.path().display(),
                limit(spec.max),
                limit(spec.budget),
                units::show_bytes(spec.reserve)
            );
        }
        if !lacks.is_empty() {
            eprintln!(
                "agentshctl: not enforced, as the kernel or the cgroup tree lacks it here: {}",
                lacks.join(", ")
            );
        }
        attach_memory_hooks(&base);
        base.write("agent/cgroup.procs", b"0").map_err(Error::of("enter", base.path(), "agent"))?;
        // Nobody tidies the session away any more, now that we are in it.
        return Ok(());
    }
}

fn attach_memory_hooks(base: &Dir) {
    if Uid::current().is_root() && Path::new(MEMORY_HOOKS).exists() {
        // The session works without them; the helper says what is wrong.
        let _ = Command::new(join::helper()).args(["session", "--attach", base.name()]).status();
    }
}

fn become_user(uid: Uid, gid: Gid) -> Result<()> {
    setgroups(&[])
        .and_then(|()| setgid(gid))
        .and_then(|()| setuid(uid))
        .with_context(|| format!("--uid {uid}"))
}

/// A user's group by /etc/passwd, else the number of the user itself. Read as a file: a static program has no NSS.
pub fn group_of(uid: u32) -> Gid {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let of_line = |line: &str| {
        let mut fields = line.split(':').skip(2);
        (fields.next()?.parse() == Ok(uid)).then(|| fields.next()?.parse().ok()).flatten()
    };
    Gid::from_raw(passwd.lines().find_map(of_line).unwrap_or(uid))
}
