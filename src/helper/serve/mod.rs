//! `agentsh-helper serve`: puts what agents start past the shell into leaves of its class. Optional; nothing waits for it, and
//! nothing depends on it.
//!
//! The monitor notices programs that begin in an agent's own cgroup ([`news`]); [`judge`] says whether one is to get a leaf,
//! by what /proc tells of it ([`process`]); [`call`] gives it one and watches over it as a launcher would, in a thread of its
//! own, as looking at a process that stands still may take as long as it does. When serve ends, however, a second process
//! (`--after`) sees to it that nothing stands still for the lack of it.

mod call;
mod door;
mod judge;
mod metrics;
mod news;
mod places;
mod process;
mod tree;
mod watch;

use self::places::Places;
use super::bpf::direct::{self, Process};
use super::descriptors;
use super::memory;
use crate::cgroup::sweep;
use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{SigSet, Signal};
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// One serve at a time.
const LOCK: &str = "/run/agentsh/serve.lock";
/// So often is looked whether leaves were left over, by us or by launchers that were killed.
const SWEEP_EVERY: Duration = Duration::from_secs(2);
/// Asked to end, everybody is let go within a moment; looking at a process may last as long as that likes.
const LET_GO_WITHIN: Duration = Duration::from_secs(3);

static HAS_TO_END: AtomicBool = AtomicBool::new(false);

/// Put programs that agents start by themselves, past the shell, into a leaf of their class, with its limits and a line in
/// root's log. Stays until it is ended; needs `agentsh-helper load`, and waits for it.
///
/// What such a program has charged before it was moved stays with the agent. The agent itself, shells, terminal
/// multiplexers and agentsh are never moved. The policies are the operator's, not a workspace's.
#[derive(clap::Args)]
pub struct Args {
    /// Be in the host's cgroup namespace, that of process 1: for a container that shares the host's processes, as in
    /// deploy/helm. Needs CAP_SYS_ADMIN and CAP_SYS_PTRACE.
    #[arg(long)]
    host_cgroups: bool,
    /// Give counts for Prometheus at http://ADDRESS/metrics, such as 127.0.0.1:9753. Everybody who can connect may read them.
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
    /// Attach containers that carry the annotation agentsh=attach when they start, and those that run already. For engines that name
    /// their cgroups: podman, Docker, containerd under Kubernetes, CRI-O; crun and runc with systemd's cgroups.
    #[arg(long)]
    watch: bool,
    /// Wait for the end of stdin, then take everything off that could stand still.
    #[arg(long, hide = true)]
    after: bool,
}

/// Serves until it is ended.
pub fn run(args: &Args) -> Result<()> {
    let ends = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().collect::<SigSet>();
    // By all threads, as they are made by this one; and what cleans up after us ends with that alone.
    ends.thread_block().context("blocking signals")?;
    if args.after {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        sweep_all();
        return Ok(());
    }
    if args.host_cgroups {
        // Before there is a second thread: all that are made later are where this one is.
        enter_cgroups_of_host()?;
    }
    let descriptors = descriptors::raise(places::DESCRIPTORS);
    let _lock = lock()?;
    sweep_all();
    let mut after = keeper()?;
    let door = door::Door::open()?;
    if let Some(at) = args.metrics {
        metrics::listen(at)?;
    }
    std::thread::Builder::new()
        .name("door".to_string())
        .spawn(move || door.keep())
        .context("no thread for the control socket")?;
    if args.watch {
        let watch = watch::Watch::begin()?;
        std::thread::Builder::new()
            .name("watch".to_string())
            .spawn(move || watch.keep())
            .context("no thread for --watch")?;
    }
    std::thread::spawn(move || {
        let _ = ends.wait();
        HAS_TO_END.store(true, Ordering::Relaxed);
    });
    let places = Arc::new(Places::within(descriptors));
    if let Some(most) = places.too_few() {
        eprintln!(
            "agentsh-helper: with {descriptors} open files no more than {most} programs are looked after at once: allow {} (ulimit -n, LimitNOFILE=)",
            places::DESCRIPTORS
        );
    }
    let mut news = news::News::default();
    let mut swept = Instant::now();
    println!("serving");
    while !has_to_end() {
        for process in news.wait() {
            begin(process, &places);
        }
        if swept.elapsed() >= SWEEP_EVERY {
            sweep_all();
            swept = Instant::now();
            if !matches!(after.try_wait(), Ok(None)) {
                after = keeper()?;
            }
        }
    }
    let asked = Instant::now();
    while places.taken() > 0 && asked.elapsed() < LET_GO_WITHIN {
        std::thread::sleep(Duration::from_millis(10));
    }
    sweep_all();
    Ok(())
}

/// Paths of cgroups are seen from the root of a namespace: a container's own would hide all that is not in it.
fn enter_cgroups_of_host() -> Result<()> {
    let host = "/proc/1/ns/cgroup";
    let namespace =
        File::open(host).with_context(|| format!("{host} (are this container's processes the host's?)"))?;
    setns(namespace, CloneFlags::CLONE_NEWCGROUP).with_context(|| format!("entering {host}"))
}

/// Has somebody asked us to end?
fn has_to_end() -> bool {
    HAS_TO_END.load(Ordering::Relaxed)
}

fn lock() -> Result<Flock<File>> {
    std::fs::create_dir_all("/run/agentsh").context("/run/agentsh")?;
    let file = File::options().create(true).append(true).open(LOCK).context(LOCK)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(lock),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
            bail!("another agentsh-helper serve runs already ({LOCK})")
        }
        Err((_, errno)) => Err(errno).context(LOCK),
    }
}

/// Starts the process that outlives us: it has the other end of a pipe that ends with us.
fn keeper() -> Result<Child> {
    let own = std::env::current_exe().context("/proc/self/exe")?;
    let mut command = Command::new(own);
    command.args(["serve", "--after"]).stdin(Stdio::piped()).stdout(Stdio::null());
    // What is sent to our group, or typed at our terminal, isn't meant for it.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.spawn().context("the process that cleans up after serve can't be started")
}

/// Looks at a process in a thread of its own. Without a place it stays where it is.
fn begin(process: Process, places: &Arc<Places>) {
    let Some(exec) = direct::of(process) else { return };
    let Some(place) = Places::take(places, exec.session_id) else { return };
    let work = move || {
        // One that fails must not keep the place of another.
        let _place = place;
        let _ = catch_unwind(AssertUnwindSafe(|| call::attend(process)));
    };
    let _ = std::thread::Builder::new().name("direct".to_string()).spawn(work);
}

fn sweep_all() {
    for session in memory::sessions().unwrap_or_default() {
        if let Ok(calls) = session.child("calls") {
            sweep::sweep_now(&calls);
        }
    }
}
