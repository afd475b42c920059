//! The memory hooks and the sessions: which get them, and what is said about them.

use super::bpf::memcg;
use super::bpf::pins::Pins;
use crate::cgroup::dir::Dir;
use crate::cgroup::place::POOL;
use crate::cgroup::{mark, mount};
use anyhow::{Context, Result};
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
    let mut refused = Vec::new();
    let mut alive = HashSet::new();
    let mut attached = 0;
    for session in sessions()? {
        alive.extend(session.identity().map(|it| it.id));
        match memcg::attach(&session) {
            Ok(()) => attached += 1,
            Err(error) => refused.push(format!("\n  not at {error:#}")),
        }
    }
    memcg::forget(|id| alive.contains(&id));
    Ok(format!("memory hooks: {}, at {attached} sessions{}", generation.name(), refused.concat()))
}

/// Attaches the hooks, if they are loaded, to a session that has just been made. It works without them, so that they
/// can't be attached is only said.
pub fn attach(session: &Dir) {
    if let Err(error) = memcg::attach(session) {
        eprintln!("agentsh-helper: the session has no memory hooks: {error:#}");
    }
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
