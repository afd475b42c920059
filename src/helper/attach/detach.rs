//! `agentsh-helper detach`: undoes what attach did.
//!
//! First `calls/` goes out of the container's sight, so that calls which begin from then on run without a leaf, in the
//! container's own cgroup. Then no leaf can be made any more, controllers are switched off from the leaves upwards, as a cgroup
//! that hands them on takes no processes, and all processes are moved to the container's cgroup. Those of running calls, too:
//! they go on there, under the container's limit alone, and their launchers end as they do. Last what is empty is removed and
//! the container's cgroup put back as it was ([`before`](super::before)).
//!
//! Each step finds out by itself what is left to be done, so whoever is interrupted is followed by another.

use super::before::{Before, switched_on};
use super::descendants::{self, Failed, failed};
use super::inside;
use super::peer::Peer;
use super::{MOST_PEERS, answer, find, lock, open, root, the_cgroup, the_process};
use crate::cgroup::dir::Dir;
use crate::helper::descriptors;
use anyhow::{Context, Result, anyhow, bail};
use nix::errno::Errno;
use std::collections::HashSet;
use std::time::Duration;

/// What attach made in the container's cgroup: first what may have controllers to hand on.
const PARTS: [&str; 2] = ["calls", "agent"];
/// Processes are forked and leaves made meanwhile: so often is begun anew, with a moment in between.
const ROUNDS: usize = 100;
const BETWEEN: Duration = Duration::from_millis(10);

/// Undo attach: unmount /run/agentsh in the container, move its processes back into its own cgroup, remove agent/ and calls/, and
/// leave the container as it was.
///
/// Calls that run go on, without a limit of their own; those that begin from then on have no leaf. Interrupted, it is done by
/// doing it again. Needs root on the host.
#[derive(clap::Args)]
pub struct Args {
    /// Its id (12 digits will do), its cgroup's name, or a process of it.
    #[arg(value_name = "CONTAINER|PID")]
    container: String,
}

/// Detaches one container.
pub fn run(args: &Args) -> Result<()> {
    descriptors::raise(descendants::DESCRIPTORS);
    super::limit_powers()?;
    let peer = Peer::of(the_process(&args.container)?)?;
    println!("{}", detach(&peer)?);
    Ok(())
}

fn detach(peer: &Peer) -> Result<String> {
    let root = root()?;
    let (_, cgroup) = the_cgroup(&root, peer, &peer.status()?)?;
    let base = open(&root, &cgroup)?;
    let shown = base.path().display();
    let _lock = lock(&base)?;
    let Some(before) = Before::of(&base)? else {
        bail!("{shown} isn't attached: there is nothing to undo");
    };
    refuse_arrangements(&base)?;
    withdraw(&base, peer)?;
    let moved = undo(&base, &before)?;
    before.restore(&base)?;
    Ok(format!("detached: {moved} processes are back in {shown}"))
}

/// Puts back what attach has done to a container so far, where it couldn't do all. Only with its cgroup's lock.
pub fn put_back(base: &Dir) -> Result<()> {
    let Some(before) = Before::of(base)? else { return Ok(()) };
    let mut seen = HashSet::from([own_namespace()?]);
    withdraw_from_all(base, &mut seen)?;
    undo(base, &before)?;
    before.restore(base)
}

fn own_namespace() -> Result<u64> {
    Peer::of(i32::try_from(std::process::id())?)?.namespace("mnt")
}

/// What somebody made below agent/ and lives in is theirs: flattened it would lose its limits.
fn refuse_arrangements(base: &Dir) -> Result<()> {
    let Some(agent) = child(base, "agent")? else { return Ok(()) };
    for name in agent.children(usize::MAX).map_err(answer(&agent))? {
        if agent.child(&name).is_ok_and(|it| it.populated() == Ok(true)) {
            bail!(
                "{}/{name} was made by the container and is in use: end that first",
                agent.path().display()
            );
        }
    }
    Ok(())
}

/// Unmounts in each mount namespace of the container. One that a program made for itself may refuse it, and then still shows a
/// `calls/` in which nothing can be made.
fn withdraw(base: &Dir, peer: &Peer) -> Result<()> {
    let mut seen = HashSet::from([own_namespace()?]);
    if seen.insert(peer.namespace("mnt")?) {
        inside::withdraw(peer)?;
    }
    withdraw_from_all(base, &mut seen)
}

fn withdraw_from_all(base: &Dir, seen: &mut HashSet<u64>) -> Result<()> {
    let pids = descendants::processes(base)?.into_iter().take(MOST_PEERS);
    for other in pids.filter_map(|pid| Peer::of(pid).ok()) {
        // It may have ended meanwhile.
        if other.namespace("mnt").is_ok_and(|ns| seen.insert(ns)) {
            let _ = inside::withdraw(&other);
        }
    }
    Ok(())
}

/// Moves all processes to the container's cgroup and removes what is below it. Gives how many moves that took.
fn undo(base: &Dir, before: &Before) -> Result<usize> {
    let mut moved = 0;
    let mut last = anyhow!("{} doesn't get empty: its processes fork too fast", base.path().display());
    for _ in 0..ROUNDS {
        match undo_once(base, before, &mut moved) {
            Ok(true) => return Ok(moved),
            Ok(false) => {}
            // Made, filled or switched on again meanwhile.
            Err((Errno::EBUSY | Errno::ENOENT | Errno::ENODEV | Errno::ENOTEMPTY, error)) => last = error,
            Err((_, error)) => {
                last = error;
                break;
            }
        }
        std::thread::sleep(BETWEEN);
    }
    Err(last.context("not all could be undone: detach it again"))
}

/// Once through all of it. True if nothing is left.
fn undo_once(base: &Dir, before: &Before, moved: &mut usize) -> Result<bool, Failed> {
    let mut parts = Vec::new();
    for part in PARTS {
        match base.child(part) {
            Err(Errno::ENOENT) => {}
            other => parts.push(other.map_err(failed(base))?),
        }
    }
    for dir in &parts {
        if dir.name() == "calls" {
            // A launcher that has it open makes no more leaves.
            dir.write_u64("cgroup.max.descendants", 0).map_err(failed(dir))?;
        }
        descendants::see(dir, &mut |dir| let_go(dir).map_err(failed(dir)))?;
        let_go(dir).map_err(failed(dir))?;
    }
    before.switch_off(base).map_err(failed(base))?;
    let mut empty = |dir: &Dir| {
        *moved += pour(dir, base).map_err(|errno| match errno {
            Errno::EXDEV => {
                let path = dir.path().display();
                (errno, anyhow!("{path} has processes of another PID namespace: run this on the host"))
            }
            _ => failed(base)(errno),
        })?;
        Ok(())
    };
    for dir in &parts {
        descendants::see(dir, &mut empty)?;
        empty(dir)?;
    }
    let mut left = false;
    for dir in &parts {
        left |= descendants::remove(base, dir.name());
    }
    Ok(!left)
}

/// What is held goes on, and no controller keeps processes from being moved up.
fn let_go(dir: &Dir) -> Result<(), Errno> {
    dir.write("cgroup.freeze", b"0")?;
    for name in switched_on(dir)? {
        dir.write("cgroup.subtree_control", format!("-{name}").as_bytes())?;
    }
    Ok(())
}

/// Moves what is in a cgroup to another, once. Gives how many there were. One whose first thread has ended may be listed on, and
/// doesn't keep the cgroup from being removed.
fn pour(from: &Dir, to: &Dir) -> Result<usize, Errno> {
    let mut moved = 0;
    for pid in find::listed(from)? {
        // Of another PID namespace; written, 0 would mean ourselves.
        if pid == 0 {
            return Err(Errno::EXDEV);
        }
        match to.write("cgroup.procs", pid.to_string().as_bytes()) {
            Ok(()) => moved += 1,
            // It has ended.
            Err(Errno::ESRCH) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(moved)
}

fn child(base: &Dir, name: &str) -> Result<Option<Dir>> {
    match base.child(name) {
        Err(Errno::ENOENT) => Ok(None),
        other => other.map(Some).with_context(|| format!("{}/{name}", base.path().display())),
    }
}
