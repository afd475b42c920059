//! Which process stands for a container.

use super::peer::Peer;
use super::{MOST_PEERS, answer, container};
use crate::cgroup::dir::Dir;
use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use std::io::Read;
use std::time::{Duration, Instant};

/// Cgroups are looked for so far down; Kubernetes' containers are four levels down.
const DEEPEST: usize = 8;
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);
/// A hook's state is a few hundred bytes and the container's annotations.
const MOST_STATE: u64 = 1 << 20;

/// The first process of the container with this id or cgroup's name.
pub fn by_name(root: &Dir, wanted: &str) -> Result<i32> {
    let mut found = Vec::new();
    search(root, wanted, DEEPEST, &mut found)?;
    match found.as_slice() {
        [one] => match first(&inner(one.again()?)?)? {
            Some(first) => Ok(first.pid),
            None => bail!("{} has no processes: is the container running?", one.path().display()),
        },
        [] => bail!(
            "no cgroup bears the name of the container {wanted}: give its id as the engine knows it, or the pid of its first process"
        ),
        more => {
            let paths: Vec<_> = more.iter().map(|dir| dir.path().display().to_string()).collect();
            bail!("{wanted} is the name of {}: give a process of the one that is meant", paths.join(" and "))
        }
    }
}

/// Where a container's processes are, in the cgroup that bears its name: there, or one further down ([`container::CRUN_S`]).
pub fn inner(named: Dir) -> Result<Dir> {
    let arranged = ["agent", "calls"].iter().any(|part| named.has(part));
    if arranged || !listed(&named).map_err(answer(&named))?.is_empty() {
        return Ok(named);
    }
    Ok(named.child(container::CRUN_S).unwrap_or(named))
}

fn search(dir: &Dir, wanted: &str, depth: usize, found: &mut Vec<Dir>) -> Result<()> {
    for name in dir.children(usize::MAX).map_err(answer(dir))? {
        // Gone meanwhile, or below what a container may have named.
        let Ok(child) = dir.child(&name) else { continue };
        if container::is_named(&name, wanted) {
            found.push(child);
        } else if depth > 0 && name != "calls" && container::id(&name).is_none() {
            search(&child, wanted, depth - 1, found)?;
        }
    }
    Ok(())
}

/// Does this process, or another one of the container, run a program of the container's, or will it within this time?
pub fn begins_within(base: &Dir, peer: &Peer, time: Duration) -> Result<bool> {
    let until = Instant::now() + time;
    loop {
        let others = processes(base)?.into_iter().take(MOST_PEERS).filter_map(|pid| Peer::of(pid).ok());
        if peer.has_begun()? || others.into_iter().any(|other| other.has_begun().unwrap_or(false)) {
            return Ok(true);
        }
        if Instant::now() >= until {
            return Ok(false);
        }
        std::thread::sleep(BETWEEN_LOOKS);
    }
}

/// A container's first process, by which all others came: not the one with the lowest pid, as these begin anew when they are used
/// up, but the one that began first. A process of the container can't make itself older than that.
pub fn first(base: &Dir) -> Result<Option<Peer>> {
    let peers = processes(base)?.into_iter().filter_map(|pid| Peer::of(pid).ok());
    // Whoever has ended meanwhile isn't it.
    let aged = peers.filter_map(|peer| Some((peer.age().ok()?, peer)));
    Ok(aged.min_by_key(|(age, peer)| (*age, peer.pid)).map(|(_, peer)| peer))
}

/// The processes of a container's cgroup, whether it is arranged already or not.
pub fn processes(base: &Dir) -> Result<Vec<i32>> {
    let mut pids = listed(base).map_err(answer(base))?;
    if let Ok(agent) = base.child("agent") {
        pids.extend(listed(&agent).map_err(answer(&agent))?);
    }
    Ok(pids)
}

/// The processes in a cgroup itself. None of a threaded one: they are listed above it.
pub fn listed(dir: &Dir) -> Result<Vec<i32>, Errno> {
    let mut buf = vec![0; 256 << 10];
    let text = match dir.read("cgroup.procs", &mut buf) {
        Err(Errno::EOPNOTSUPP) => return Ok(Vec::new()),
        other => other?,
    };
    Ok(pids(text))
}

fn pids(text: &[u8]) -> Vec<i32> {
    // What is cut off at the end of the buffer may be the beginning of a number: that of a process of the host's.
    let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    String::from_utf8_lossy(&text[..whole]).lines().filter_map(|pid| pid.parse().ok()).collect()
}

/// The container's first process, by the state that an engine gives its hooks (OCI runtime specification, "State").
pub fn by_state(state: impl Read) -> Result<i32> {
    let state: serde_json::Value =
        serde_json::from_reader(state.take(MOST_STATE)).context("the state on stdin")?;
    match state.get("pid").and_then(serde_json::Value::as_i64).and_then(|pid| i32::try_from(pid).ok()) {
        Some(pid) if pid > 0 => Ok(pid),
        _ => bail!("the state on stdin has no pid: this hook belongs at poststart"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_process_is_the_one_that_began_first_whatever_the_numbers() {
        let tmp = tempfile::tempdir().unwrap();
        let base = Dir::open_anywhere(tmp.path()).unwrap();
        let own = std::process::id();
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        // Its pid may be lower than ours.
        for (listed, first) in [(vec![child.id(), own], own), (vec![child.id()], child.id())] {
            let text: String = listed.iter().map(|pid| format!("{pid}\n")).collect();
            std::fs::write(tmp.path().join("cgroup.procs"), text).unwrap();
            assert_eq!(super::first(&base).unwrap().map(|peer| peer.pid), i32::try_from(first).ok());
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(super::first(&base).unwrap().is_none(), "who has ended isn't it");
    }

    #[test]
    fn a_pid_that_was_cut_is_nobody_s() {
        assert_eq!(pids(b"7\n812\n12"), [7, 812]);
        assert_eq!(pids(b"812\n"), [812]);
        assert!(pids(b"81").is_empty() && pids(b"").is_empty());
    }

    #[test]
    fn a_hook_s_state_names_the_first_process() {
        assert_eq!(
            by_state(&br#"{"ociVersion":"1.0","id":"x","status":"running","pid":812}"#[..]).unwrap(),
            812
        );
        for broken in [&b"{}"[..], b"", br#"{"pid":0}"#, br#"{"pid":-1}"#, br#"{"pid":4294967297}"#, b"[1"] {
            assert!(by_state(broken).is_err());
        }
    }
}
