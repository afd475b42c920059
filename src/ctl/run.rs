//! `agentshctl run`: makes a session and becomes the agent in it.

use super::{Outcome, join};
use crate::cgroup::error::Error;
use crate::cgroup::session::Priority;
use crate::cgroup::{mark, own, pool, start};
use crate::policy::compiled::Amount;
use crate::policy::place::LoadEnv;
use crate::policy::{store, units};
use anyhow::{Result, anyhow, bail};
use nix::unistd::{Gid, Uid};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Start an agent in a session of its own: its tool calls share a budget, and when memory runs out a call dies and never
/// the agent.
///
/// The agent itself runs in <session>/agent, with memory kept for it (the policy's `session: reserve:`); each tool call
/// gets a leaf in <session>/calls, once its shell is agentsh. The session goes when the next one is made after all its
/// processes have ended. Works as root, or in a delegated cgroup:
///
///   systemd-run --user --scope -p Delegate=yes -- agentshctl run -- claude
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The session's name; an existing session of that name gets these limits and is joined.
    #[arg(long, value_name = "NAME")]
    session: Option<String>,
    /// The most memory for the agent and all its calls together: 4G, 512M, 75% (of what there is), max.
    #[arg(long, value_name = "AMOUNT", value_parser = amount)]
    memory_max: Option<Amount>,
    /// Who gives way first when sessions compete.
    #[arg(long, value_name = "PRIORITY", default_value = "normal", value_parser = priority)]
    priority: Priority,
    /// Run the agent as this user (root only); its group is the user's in /etc/passwd. The environment stays as it is.
    #[arg(long, value_name = "UID", value_parser = clap::value_parser!(u32))]
    uid: Option<u32>,
    /// Print the session's cgroup and its limits to stderr.
    #[arg(long, short)]
    verbose: bool,
    /// The agent and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Is there while `agentsh-helper load` has loaded the kernel's memory hooks.
const MEMORY_HOOKS: &str = "/sys/fs/bpf/agentsh/maps/memcg_sessions";

/// Reads an amount of memory for clap.
pub fn amount(text: &str) -> Result<Amount, String> {
    units::amount(text).map_err(|e| e.to_string())
}

/// Reads a priority for clap.
pub fn priority(text: &str) -> Result<Priority, String> {
    [Priority::High, Priority::Normal, Priority::Low]
        .into_iter()
        .find(|p| p.name() == text)
        .ok_or_else(|| "high, normal or low".into())
}

/// Makes the session, moves this process into it and becomes the command; comes back only if that fails: 127 if there is no
/// such program, 126 if it can't be started, as shells have it.
pub fn run(args: &Args) -> Result<Outcome> {
    let (Some(program), me) = (args.command.first(), Uid::current()) else { bail!("no command is given") };
    let user = args.uid.map(|uid| (Uid::from_raw(uid), group_of(uid)));
    if user.is_some() && !me.is_root() {
        bail!("--uid needs root");
    }
    let name = args.session.clone().unwrap_or_else(|| format!("run-{}", std::process::id()));
    let mut buf = [0; own::LONG];
    let own = own::read(&mut buf).map_err(|e| anyhow!("this machine has no cgroup v2 ({})", e.desc()))?;
    let policy = store::load(&LoadEnv::of_process()).policy;
    let pool = pool::find(own).map_err(|why| anyhow!(why))?;
    pool.tidy();
    let wish = start::Wish { name: &name, memory_max: args.memory_max, priority: args.priority, user };
    let (base, spec, lacks) =
        start::make(&pool, &wish, mark::BY_RUN, &policy.session).map_err(|why| anyhow!(why))?;
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
    if me.is_root() && Path::new(MEMORY_HOOKS).exists() {
        // The session works without them; the helper says what is wrong.
        let _ = Command::new(join::helper()).args(["session", "--attach", &name]).status();
    }
    base.write("agent/cgroup.procs", b"0").map_err(Error::of("enter", base.path(), "agent"))?;
    // Nobody tidies the session away any more, now that we are in it.
    drop(pool);
    let mut command = Command::new(program);
    command.args(args.command.iter().skip(1));
    if let Some((uid, gid)) = user {
        command.uid(uid.as_raw()).gid(gid.as_raw());
    }
    let error = command.exec();
    eprintln!("agentshctl: {}: {error}", program.display());
    Ok(Outcome::Status(if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 }))
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
