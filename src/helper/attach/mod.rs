//! `agentsh-helper attach`: gives a container that has no writable cgroup file system its `calls/`, from outside.
//!
//! The container's processes go to `agent/` in its own cgroup, `calls/` with the budget is made beside it, and mounted in
//! the container at /run/agentsh with the policy ([`inside`]). Which cgroup that is [`container`] decides by names that
//! the engine gave, and [`peer`] holds on to the process meanwhile. Once it is done nothing of this stays: calls need no
//! helper.

mod ask;
mod before;
mod container;
mod descendants;
pub mod detach;
mod find;
mod inside;
mod label;
mod peer;
mod strict;

use crate::cgroup::dir::Dir;
use crate::cgroup::limits::{self, Context as Around, Shown};
use crate::cgroup::lock::Lock;
use crate::cgroup::session::{self, Spec};
use crate::cgroup::{ahead, delegate, mark, meminfo, mount};
use crate::policy::compiled::Policy;
use crate::policy::place::LoadEnv;
use crate::policy::{compile, store};
use crate::sys::capability::{Capability, keep_only};
use anyhow::{Context, Result, anyhow, bail};
pub use ask::{REQUEST, SOCKET, container_of, reply};
pub use container::is_container;
use inside::{Delivered, Parcel};
pub use label::Found;
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{fstat, fstatat};
use nix::unistd::{Gid, Uid, fchownat};
use peer::{Peer, Status};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What of root's powers it takes: arranging foreign cgroups and handing them over; looking at foreign processes; entering
/// their mount namespaces and mounting there, in a folder made as whoever owns the one above. Nothing else is kept.
const NEEDED: [Capability; 7] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::Setgid,
    Capability::Setuid,
    Capability::SysChroot,
    Capability::SysPtrace,
    Capability::SysAdmin,
];
/// For the lock of a container's cgroup: 5 s in all. Launchers that arrange it by themselves are done within 200 ms.
const LOCK_TRIES: usize = 250;
const LAUNCHERS_TRIES: usize = 10;
const LOCK_BETWEEN: Duration = Duration::from_millis(20);
/// A container that was just started runs its own program after so long: hooks may come before that.
const BEGINNING: Duration = Duration::from_secs(1);
/// So many of a container's processes are looked at before it gets the mount.
const MOST_PEERS: usize = 4096;

/// Give a running container its own calls/: its processes are moved to agent/ in its cgroup, calls/ is made beside it with
/// what the container's limit leaves, and mounted in the container at /run/agentsh, with the policy. Nothing stays
/// running. Doing it again renews the limits and the policy.
///
/// Needs root on the host, and Linux 5.12. Not for containers with CAP_SYS_ADMIN or CAP_DAC_READ_SEARCH: they get past
/// any mount.
#[derive(clap::Args)]
pub struct Args {
    /// Its id (12 digits will do), its cgroup's name, or a process of it.
    #[arg(value_name = "CONTAINER|PID", required_unless_present_any = ["hook", "guest", "ask", "labelled"])]
    container: Option<String>,
    /// Who runs calls there, as the host counts, if not who its first process runs as.
    #[arg(long, value_name = "UID")]
    uid: Option<u32>,
    /// Make the leaves of its calls ahead, with limits that not even root in the container can change. A call then has the
    /// limits of its class and no memory.high; hints aren't followed. Needs cgroup v2 mounted with nsdelegate, as systemd does.
    #[arg(long)]
    strict: bool,
    /// With --strict: so many leaves of each class, and calls of it at once that have one; the first time decides.
    #[arg(long, value_name = "NUMBER", default_value_t = strict::LEAVES, requires = "strict", value_parser = clap::value_parser!(u64).range(1..=strict::MOST))]
    leaves: u64,
    /// Be a container engine's hook: which container it is comes by stdin (OCI's state). Never fails the container.
    #[arg(long, conflicts_with_all = ["container", "uid"])]
    hook: bool,
    /// Ask for this container, from inside it, at the socket of `agentsh-helper serve`. Needs no rights.
    #[arg(long, value_name = "SOCKET", num_args = 0..=1, default_missing_value = SOCKET, conflicts_with_all = ["container", "uid", "hook"])]
    ask: Option<PathBuf>,
    /// For whoever is at the other end of stdin: for serve.
    #[arg(long, hide = true, conflicts_with_all = ["container", "uid", "hook", "ask"])]
    guest: bool,
    /// The container with this cgroup, given from the root of the tree, if its annotation asks for it: for serve.
    #[arg(long, hide = true, value_name = "CGROUP", conflicts_with_all = ["container", "uid", "hook", "ask", "guest"])]
    labelled: Option<PathBuf>,
}

/// Attaches one container.
pub fn run(args: &Args) -> Result<()> {
    if let Some(socket) = &args.ask {
        println!("{}", ask::ask(socket)?);
        return Ok(());
    }
    limit_powers()?;
    if args.guest {
        let connection = std::io::stdin().as_fd().try_clone_to_owned().context("stdin")?;
        let connection = UnixStream::from(connection);
        let result = ask::guest(&connection).and_then(|peer| attach(&peer, args));
        match &result {
            // Where that is on the host is nothing to the container.
            Ok((spec, _)) => reply(&connection, true, &said(spec)),
            Err(error) => reply(&connection, false, &format!("{error:#}")),
        }
        return result.map(drop);
    }
    if let Some(cgroup) = &args.labelled {
        return labelled(cgroup, args)
            .with_context(|| format!("the container {} has no calls/", cgroup.display()));
    }
    if args.hook {
        // It stands in the way of the container's start, and whatever it lacks the container must run.
        let state = std::io::stdin().lock();
        if let Err(error) = find::by_state(state).and_then(|pid| attach(&Peer::of(pid)?, args)) {
            eprintln!("agentsh-helper: the container has no calls/: {error:#}");
        }
        return Ok(());
    }
    let pid = the_process(args.container.as_deref().unwrap_or_default())?;
    let (spec, how) = attach(&Peer::of(pid)?, args)?;
    println!("{}, {how}", said(&spec));
    Ok(())
}

/// Says what serve is to know of a container that it noticed, and attaches it if that is wanted.
fn labelled(cgroup: &Path, args: &Args) -> Result<()> {
    let id = label::id_of(cgroup)?;
    // It may have gone meanwhile, as any of its processes may.
    let base = open(&root()?, cgroup).and_then(find::inner);
    let peer = base.and_then(|base| find::first(&base)).unwrap_or_default();
    let found = peer.as_ref().map_or(Found::Unknown, |peer| label::look(peer, id).unwrap_or(Found::Unknown));
    println!("{}", found.word());
    if let Some(peer) = peer.filter(|_| found == Found::Wanted) {
        let (spec, how) = attach(&peer, args)?;
        println!("{}, {how}", said(&spec));
    }
    Ok(())
}

/// Keeps what it takes, and nothing else.
fn limit_powers() -> Result<()> {
    let lacking = keep_only(&NEEDED).context("capabilities can't be given up")?;
    if !lacking.is_empty() {
        let names: Vec<_> = lacking.iter().map(|it| it.name()).collect();
        bail!("lacking {}: run this as root, on the host", names.join(", "));
    }
    Ok(())
}

/// The process that is asked for by its pid, or stands for the container that is.
fn the_process(wanted: &str) -> Result<i32> {
    match wanted.parse() {
        // An id of digits alone is longer than any pid.
        Ok(pid) if pid > 0 && wanted.len() < 12 => Ok(pid),
        _ => find::by_name(&root()?, wanted),
    }
}

/// Attaches the container of this process. Gives its limits, and where what was done.
fn attach(peer: &Peer, args: &Args) -> Result<(Spec, String)> {
    let pid = peer.pid;
    let status = peer.status()?;
    if peer.shares("mnt")? {
        bail!(
            "process {pid} is in the host's mount namespace, so in no container: for an agent on the host there is `agentsh-helper session`"
        );
    }
    let root = root()?;
    let (own, cgroup) = the_cgroup(&root, peer, &status)?;
    if !container::is_plain(&own, &cgroup) {
        bail!(
            "process {pid} is in {}, as its container {} arranges its cgroup itself: give that one a writable cgroup file system instead (README, Containers)",
            own.display(),
            cgroup.display()
        );
    }
    let base = open(&root, &cgroup)?;
    // A runtime may wait for its hooks before it becomes the container's program.
    if !args.hook && !find::begins_within(&base, peer, BEGINNING)? {
        bail!(
            "process {pid} runs a program that isn't its container's own, and so do all others there: a sandbox with a kernel of its own (gVisor), or an engine that is still starting it"
        );
    }
    // What was made strict stays so.
    let was_strict = base.child("calls").is_ok_and(|calls| ahead::leaves(&calls).is_some());
    let strict = args.strict || was_strict;
    refuse_those_who_get_past(&base, strict)?;
    if strict {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").context("/proc/self/mountinfo")?;
        strict::refuse_what_does_not_hold(peer, &mounts)?;
    }
    if strict && !was_strict {
        strict::refuse_namespaces_of_their_own(&base)?;
    }
    let _lock = lock(&base)?;
    let is_first = before::Before::of(&base).is_ok_and(|before| before.is_none());
    match furnish(peer, &base, &cgroup, &status, args, strict) {
        // As it was: an engine may remove the container's cgroup only if it has nothing below.
        Err(error) if is_first => match detach::put_back(&base) {
            Ok(()) => Err(error),
            Err(left) => Err(error.context(format!("what was done can't be undone ({left:#})"))),
        },
        done => done,
    }
}

/// Makes all that attaching is, once nothing speaks against it. Gives the container's limits, and where what was done.
fn furnish(
    peer: &Peer,
    base: &Dir,
    cgroup: &Path,
    status: &Status,
    args: &Args,
    strict: bool,
) -> Result<(Spec, String)> {
    let (policy, compiled) = policy()?;
    let (spec, around) = arrange(base, &policy)?;
    engine_may_enter(base)?;
    let user = match args.uid {
        Some(uid) => (Uid::from_raw(uid), crate::ctl::run::group_of(uid)),
        None => whose(base)?.unwrap_or((Uid::from_raw(status.uid), Gid::from_raw(status.gid))),
    };
    let user = (!user.0.is_root()).then_some(user);
    let calls = base.child("calls").with_context(|| format!("{}/calls", base.path().display()))?;
    let openings = match strict {
        true => strict::furnish(&calls, &policy, &around, args.leaves, user)?,
        false => Vec::new(),
    };
    match user {
        Some((uid, gid)) if strict => strict::hand_over(base, uid, gid)?,
        Some((uid, gid)) => session::hand_over(base, uid, gid)?,
        None => {}
    }
    let parcel = Parcel::of(&calls, &compiled, openings)?;
    let agent = cgroup.join("agent");
    let still = || match peer.cgroup()? {
        now if now.starts_with(&agent) => Ok(()),
        now => bail!("process {} has gone to {} meanwhile", peer.pid, now.display()),
    };
    still()?;
    let how = match parcel.deliver(peer, still)? {
        Delivered::Mounted => "mounted",
        Delivered::There => "mounted already",
        Delivered::Renewed => "mounted already, its policy renewed,",
    };
    Ok((spec, format!("{how} at /run/agentsh from {}/calls", base.path().display())))
}

fn said(spec: &Spec) -> String {
    spec.budget.map_or("no limit for calls".to_string(), |bytes| format!("{} MiB for calls", bytes >> 20))
}

/// The root of the whole tree, by a mount that we may write to.
pub fn root() -> Result<Dir> {
    let mounts = mount::all().context("/proc/self/mountinfo can't be read")?;
    mount::directories(&mounts, Path::new("/"))
        .filter_map(|directory| Dir::open(&directory).ok())
        .find(|dir| delegate::is_root(dir) && dir.writable().is_ok())
        .ok_or_else(|| anyhow!("the root of the cgroup v2 tree can't be written here: run this on the host"))
}

/// The peer's cgroup and its container's. One that no engine named is a container's if nobody but the container is in it.
fn the_cgroup(root: &Dir, peer: &Peer, status: &Status) -> Result<(PathBuf, PathBuf)> {
    let own = peer.cgroup()?;
    if let Some(container) = container::around(&own) {
        return Ok((own, container));
    }
    let refuse = |why: &str| Err(anyhow!("process {} is in the cgroup {}, {why}", peer.pid, own.display()));
    if own.components().any(|part| part.as_os_str() == "calls") {
        return refuse("which is within a session's calls/: a container there shares that call's limits");
    }
    let cgroup = match own.file_name() {
        Some(name) if name == "agent" => own.parent().unwrap_or(&own).to_owned(),
        Some(_) if !delegate::is_unit(&own) => own.clone(),
        _ => return refuse("which isn't a container's: give it one of its own"),
    };
    if status.pids.len() < 2 {
        return refuse(
            "which no container engine named, and it has no PID namespace of its own: is it a container?",
        );
    }
    for other in find::processes(&open(root, &cgroup)?)? {
        let Ok(other) = Peer::of(other) else { continue };
        if other.status()?.pids.len() < 2 {
            return refuse("and so are processes outside the container: give it one of its own");
        }
    }
    Ok((own, cgroup))
}

fn open(root: &Dir, cgroup: &Path) -> Result<Dir> {
    let directory = root.path().join(cgroup.strip_prefix("/").unwrap_or(cgroup));
    Dir::open(&directory).with_context(|| directory.display().to_string())
}

/// No process of the container may be able to reach past the mount; what an engine adds later with more powers than the
/// container has is the host's doing.
fn refuse_those_who_get_past(base: &Dir, strict: bool) -> Result<()> {
    for pid in find::processes(base)?.into_iter().take(MOST_PEERS) {
        // It may have ended meanwhile.
        let Ok(Some(power)) = Peer::of(pid).and_then(|peer| peer.gets_past_mounts(strict)) else { continue };
        bail!(
            "process {pid} of the container has {power}, by which it gets past any mount: start the container without it"
        );
    }
    Ok(())
}

/// Who runs calls in this container if nobody says so: whoever its calls/ was handed over to, else who its first process runs as.
/// Never who asks, as anybody in the container may, and would take it from its user.
fn whose(base: &Dir) -> Result<Option<(Uid, Gid)>> {
    // With --strict it is the leaves that are handed over.
    for file in ["calls", "calls/other-0/cgroup.procs"] {
        if let Ok(owner) = fstatat(base, file, AtFlags::AT_SYMLINK_NOFOLLOW)
            && owner.st_uid != 0
        {
            return Ok(Some((Uid::from_raw(owner.st_uid), Gid::from_raw(owner.st_gid))));
        }
    }
    let Some(first) = find::first(base)? else { return Ok(None) };
    let status = first.status()?;
    Ok(Some((Uid::from_raw(status.uid), Gid::from_raw(status.gid))))
}

/// Makes `agent/` and `calls/` in the container's cgroup, with its processes in the first; only with its lock, of which it lets the
/// launchers' part go. Gives what a call has around it.
fn arrange(base: &Dir, policy: &Policy) -> Result<(Spec, Around)> {
    let above = base.path().ancestors().skip(1).map_while(|p| Dir::open(p).ok()?.read_max("memory.max").ok());
    let (limit, above) = (base.read_max("memory.max").unwrap_or(None), above.flatten().min());
    let spec = Spec::of(Some(&policy.session), limit, above, meminfo::available());
    let shown = Shown { high: None, max: limits::least(limit, above) };
    let around = Around { shown, budget: spec.budget, available: spec.available };
    before::Before::note(base)?;
    delegate::set_up_as(base, &spec).map_err(|why| anyhow!(why))?;
    let _ = base.unlock();
    // Of a detach that was interrupted.
    let calls = base.child("calls").context("calls/")?;
    calls.write_max("cgroup.max.descendants", None).context("cgroup.max.descendants of calls/")?;
    base.set_mark(mark::SESSION, mark::BY_HELPER).context("user.agentsh.session")?;
    // So that calls made without end end somewhere; what the engine has set is the engine's.
    if base.read_max("cgroup.max.descendants") == Ok(None) {
        let most = u64::from(spec.max_leaves) + 2;
        base.write_u64("cgroup.max.descendants", most).context("cgroup.max.descendants")?;
    }
    Ok((spec, around))
}

/// One of us at a time, and none while a launcher arranges the cgroup by itself. The launchers' own lock goes when the cgroup is
/// closed, or unlocked.
fn lock(base: &Dir) -> Result<Lock> {
    let lock = Lock::of_root();
    if !take(&lock, base, LOCK_TRIES)? {
        bail!("{} is being arranged by somebody else: try again", base.path().display());
    }
    if lock.is_roots() {
        // Who keeps theirs for longer is no launcher, but somebody in the container who wants to keep us out.
        take(&Lock::of_directory(), base, LAUNCHERS_TRIES)?;
    }
    Ok(lock)
}

/// Takes a lock, if it can be had in so many tries.
fn take(lock: &Lock, base: &Dir, tries: usize) -> Result<bool> {
    for _ in 0..tries {
        match lock.try_take(base) {
            Ok(()) => return Ok(true),
            Err(Errno::EWOULDBLOCK) => std::thread::sleep(LOCK_BETWEEN),
            Err(errno) => return Err(errno).with_context(|| base.path().display().to_string()),
        }
    }
    Ok(false)
}

/// A user's own engine puts what it starts later (`podman exec`) where the container's first process is: that must be the
/// user's, as the container's cgroup is.
fn engine_may_enter(base: &Dir) -> Result<()> {
    let owner = fstat(base).with_context(|| base.path().display().to_string())?;
    if owner.st_uid == 0 {
        return Ok(());
    }
    for file in ["agent", "agent/cgroup.procs", "agent/cgroup.threads"] {
        let (user, group) = (Uid::from_raw(owner.st_uid), Gid::from_raw(owner.st_gid));
        fchownat(base, file, Some(user), Some(group), AtFlags::AT_SYMLINK_NOFOLLOW)
            .with_context(|| format!("{}/{file}", base.path().display()))?;
    }
    Ok(())
}

/// The host's policy as its files are now, and its compiled form: what the container gets and what its launchers read is one.
fn policy() -> Result<(Box<Policy>, Vec<u8>)> {
    let env = LoadEnv::bare(0);
    let (inputs, _) = store::inputs(&env, &mut Vec::new());
    let outcome = compile::compile(&inputs);
    if outcome.failed() {
        let problems: Vec<_> = outcome.problems.iter().map(ToString::to_string).collect();
        bail!("the policy has errors; `agentshctl policy check` shows them: {}", problems.join("; "));
    }
    let compiled = outcome.to_bytes(&inputs);
    Ok((outcome.policy, compiled))
}

/// For `?` on what the kernel answers about a cgroup.
fn answer(what: &Dir) -> impl FnOnce(Errno) -> anyhow::Error + '_ {
    |errno| anyhow!("{}: {}", what.path().display(), errno.desc())
}
