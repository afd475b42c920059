//! The memory hooks and the sessions: which get them, and what is said about them.

use super::bpf::memcg;
use super::bpf::pins::Pins;
use crate::cgroup::dir::Dir;
use crate::cgroup::place::POOL;
use crate::cgroup::{mark, mount};
use anyhow::{Context, Result};
use nix::errno::Errno;
use std::collections::HashSet;
use std::path::Path;

/// Loads the hooks where the kernel has them and attaches them to all sessions that there are. Gives a line that says so.
pub fn load(pins: &Pins) -> Result<String> {
    let generation = match memcg::of_kernel() {
        Ok(generation) => generation,
        Err(why) => return Ok(format!("memory hooks: {why}")),
    };
    if memcg::loaded().is_none() {
        memcg::load(pins, generation).context("the memory hooks aren't loaded")?;
    }
    forget_those_gone();
    let mut refused = Vec::new();
    let mut attached = 0;
    for session in sessions()? {
        match memcg::attach(&session) {
            Ok(()) => attached += 1,
            Err(error) => refused.push(format!("\n  not at {error:#}")),
        }
    }
    Ok(format!("memory hooks: {}, at {attached} sessions{}", generation.name(), refused.concat()))
}

/// Attaches the hooks, if they are loaded, to a session that has just been made. It works without them, so that they
/// can't be attached is only said.
pub fn attach(session: &Dir) {
    forget_those_gone();
    if let Err(error) = memcg::attach(session) {
        eprintln!("agentsh-helper: the session has no memory hooks: {error:#}");
    }
}

/// Gives their places with the hooks to others: whoever removed a session took its link away, but mostly speaks no BPF.
fn forget_those_gone() {
    if memcg::loaded().is_none() {
        return;
    }
    let mounts = mount::all().unwrap_or_default();
    let pool = mount::directories(&mounts, Path::new(POOL)).find_map(|path| Dir::open(&path).ok());
    // What can't be looked at may live.
    if let Some(Ok(alive)) = pool.as_ref().map(ids_in) {
        memcg::forget(|id| alive.contains(&id));
    }
}

/// The ids of all cgroups in this one, of which one at a time is open: there may be more than we may open at once.
fn ids_in(dir: &Dir) -> Result<HashSet<u64>, Errno> {
    let mut ids = HashSet::new();
    for name in dir.children(usize::MAX)? {
        match dir.child(&name) {
            Ok(child) => ids.insert(child.identity()?.id),
            Err(Errno::ENOENT) => continue,
            Err(errno) => return Err(errno),
        };
    }
    Ok(ids)
}

/// All sessions of the host's pool. Nothing is made, and nobody is kept waiting.
pub fn sessions() -> Result<Vec<Dir>> {
    let mounts = mount::all().context("/proc/self/mountinfo can't be read")?;
    let pools = mount::directories(&mounts, Path::new(POOL)).filter_map(|path| Dir::open(&path).ok());
    let of_pool = |pool: Dir| -> Vec<Dir> {
        let names = pool.children(usize::MAX).unwrap_or_default();
        let sessions = names.iter().filter_map(|name| pool.child(name).ok());
        sessions.filter(|session| session.mark(mark::SESSION, &mut [0; 16]).is_ok()).collect()
    };
    Ok(pools.map(of_pool).find(|sessions| !sessions.is_empty()).unwrap_or_default())
}

/// How they are, for `status`: in words, and as JSON.
pub fn status() -> (String, serde_json::Value) {
    let Some(generation) = memcg::loaded() else {
        let why = memcg::of_kernel().err().unwrap_or_else(|| "not loaded".to_string());
        return (format!("memory hooks: {why}"), serde_json::json!({ "generation": null, "lacks": why }));
    };
    let known = memcg::known();
    let attached = known.iter().filter(|(.., attached)| *attached).count();
    let sessions: Vec<_> = known
        .iter()
        .map(|(id, entry, attached)| serde_json::json!({ "id": id, "attached": attached, "counts": entry }))
        .collect();
    let text = format!("memory hooks: {}, at {attached} sessions", generation.name());
    (text, serde_json::json!({ "generation": generation.name(), "sessions": sessions }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn those_that_live_are_known_by_their_ids() {
        let pool = tempfile::tempdir().unwrap();
        let made = ["a", "b"].map(|name| {
            std::fs::create_dir(pool.path().join(name)).unwrap();
            std::fs::metadata(pool.path().join(name)).unwrap().ino()
        });
        let dir = Dir::open_anywhere(pool.path()).unwrap();
        assert_eq!(ids_in(&dir), Ok(HashSet::from(made)));
        std::fs::remove_dir(pool.path().join("a")).unwrap();
        assert_eq!(ids_in(&dir), Ok(HashSet::from([made[1]])));
    }
}
