//! The memory hooks, `bpf/agentsh_memcg.bpf.c`: loaded where the kernel's BTF has struct memcg_bpf_ops, one link for each
//! session. No released kernel has it: `tests/vm/memcg_bpf_ops` is for those that are patched.

use super::agentsh_memcg::AgentshMemcgSkelBuilder;
use super::memcg_session::MemcgSession;
use super::pins::{self, Pins};
use crate::cgroup::dir::Dir;
use crate::cgroup::session::Priority;
use crate::sys::bpf::{self, CgroupIn};
use anyhow::{Context, Result, anyhow, bail};
use libbpf_rs::btf::{Btf, types};
use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{Link, MapCore, MapFlags, MapHandle};
use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
#[cfg(test)]
use std::path::Path;

/// The name of the part, which its pins begin with.
const PART: &str = "memcg";
const SESSIONS: &str = "memcg_sessions";
const PAGE: u64 = 4096;
/// The longest that a charge of 64 pages is made to wait: half of what the kernel allows, as the thread waits with its
/// memory map locked.
const MOST_MS: u32 = 1000;
/// Who took memory so recently may be about to take more.
const RECENT_MS: u32 = 2000;
/// What others take while they are being slowed, as the launcher's own law has it (src/cgroup/peers.rs).
const CUSHION: u64 = 24 << 20;

/// The generations of the interface, told apart by its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// Versions 3 to 6 of the series: `get_high_delay_ms`.
    V6,
    /// Version 7: `memcg_charged`.
    V7,
}

impl Generation {
    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            Generation::V6 => "v3-v6",
            Generation::V7 => "v7",
        }
    }

    const fn pin(self) -> &'static str {
        match self {
            Generation::V6 => "memcg_ops_v6",
            Generation::V7 => "memcg_ops_v7",
        }
    }

    const fn cgroup_in(self) -> CgroupIn {
        match self {
            Generation::V6 => CgroupIn::RelativeFd,
            Generation::V7 => CgroupIn::TargetFd,
        }
    }
}

/// What the running kernel has.
pub fn of_kernel() -> Result<Generation, String> {
    let btf = Btf::from_vmlinux().map_err(|_| "this kernel has no BTF".to_string())?;
    generation(&btf)
}

fn generation(btf: &Btf<'_>) -> Result<Generation, String> {
    let ops = btf
        .type_by_name::<types::Struct<'_>>("memcg_bpf_ops")
        .ok_or("this kernel has no memcg_bpf_ops (a patch series, in no released kernel yet)")?;
    let has = |name: &str| ops.iter().any(|member| member.name.is_some_and(|found| found == name));
    let both = has("below_low") && has("below_min");
    match (both, has("memcg_charged"), has("get_high_delay_ms")) {
        (true, true, _) => Ok(Generation::V7),
        (true, false, true) => Ok(Generation::V6),
        _ => Err("this kernel's memcg_bpf_ops has other members than those that are known".to_string()),
    }
}

/// Loads and pins it, without any session.
pub fn load(pins: &Pins, generation: Generation) -> Result<()> {
    pins.remove_part(PART)?;
    let mut storage = MaybeUninit::uninit();
    let mut open = AgentshMemcgSkelBuilder::default().open(&mut storage).context("opening it")?;
    open.maps.agentsh_v6.set_autocreate(generation == Generation::V6)?;
    open.maps.agentsh_v7.set_autocreate(generation == Generation::V7)?;
    let mut skel = open.load().context("the kernel doesn't take it")?;
    let (maps, name) = (&mut skel.maps, generation.pin());
    settle(&maps.memcg_params)?;
    let ops = match generation {
        Generation::V6 => &mut maps.agentsh_v6,
        Generation::V7 => &mut maps.agentsh_v7,
    };
    // Without a cgroup there is nothing to attach it to, and that is refused; but it makes the map ready.
    if ops.attach_struct_ops().is_ok() {
        bail!("this kernel attaches memcg_bpf_ops without a cgroup: it is none of the generations known");
    }
    ops.pin(pins::map(name)).context("pinning its operations")?;
    maps.memcg_sessions.pin(pins::map(SESSIONS)).context("pinning its sessions")?;
    maps.memcg_params.pin(pins::map("memcg_params")).context("pinning its parameters")
}

fn settle(params: &impl MapCore) -> Result<()> {
    let words = [u64::from(MOST_MS) | u64::from(RECENT_MS) << 32, CUSHION / PAGE, machine()? / PAGE];
    let bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
    params.update(&0u32.to_ne_bytes(), &bytes, MapFlags::ANY).context("writing its parameters")
}

/// The machine's memory in bytes.
fn machine() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").context("/proc/meminfo")?;
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok());
    kib.map(|kib: u64| kib * 1024).ok_or_else(|| anyhow!("/proc/meminfo has no MemTotal"))
}

/// What is loaded, if anything.
pub fn loaded() -> Option<Generation> {
    [Generation::V6, Generation::V7].into_iter().find(|generation| pins::map(generation.pin()).exists())
}

/// Attaches the hooks to a session; nothing if they aren't loaded. A session that has them gets its numbers anew.
pub fn attach(session: &Dir) -> Result<()> {
    let Some(generation) = loaded() else { return Ok(()) };
    if !session.has("memory.max") {
        // They would land on the nearest cgroup above that has it, and be everybody's.
        bail!("{} has no memory controller", session.path().display());
    }
    let id = enter(&sessions()?, session)?;
    let pin = link_of(id);
    if pin.exists() {
        return Ok(());
    }
    let ops = MapHandle::from_pinned_path(pins::map(generation.pin())).context("the pinned operations")?;
    let link = bpf::link_to_cgroup(ops.as_fd(), session, generation.cgroup_in()).map_err(|error| {
        let why = match error.raw_os_error() {
            Some(libc::EBUSY) => ": this cgroup, or one above it, has such hooks already",
            _ => "",
        };
        anyhow!("{}: {error}{why}", session.path().display())
    })?;
    let path = CString::new(pin.as_os_str().as_bytes())?;
    bpf::pin(&link, &path).with_context(|| format!("{} can't be made", pin.display()))
}

/// Writes a session's numbers into the map; gives its cgroup's id. What has been counted stays.
fn enter(map: &impl MapCore, session: &Dir) -> Result<u64> {
    let part = |name: &str| session.child(name).with_context(|| format!("{name}/"));
    let id = session.identity().context("its id")?.id;
    let max = session.read_max("memory.max").unwrap_or(None);
    let agent = part("agent")?;
    let entry = MemcgSession {
        agent_id: agent.identity().context("the id of agent/")?.id,
        reserve: agent.read_u64("memory.min").unwrap_or(0) / PAGE,
        ceiling: max.map_or(u64::MAX, |bytes| bytes / PAGE),
        priority: Priority::of(session) as u32,
        ..lookup(map, id).unwrap_or_default()
    };
    map.update(&id.to_ne_bytes(), &entry.encode(), MapFlags::ANY).context("entering it")?;
    Ok(id)
}

fn lookup(map: &impl MapCore, id: u64) -> Option<MemcgSession> {
    MemcgSession::decode(&map.lookup(&id.to_ne_bytes(), MapFlags::ANY).ok()??)
}

fn sessions() -> Result<MapHandle> {
    let path = pins::map(SESSIONS);
    MapHandle::from_pinned_path(&path).with_context(|| format!("{} can't be opened", path.display()))
}

fn link_of(id: u64) -> std::path::PathBuf {
    crate::cgroup::session::memory_link(id)
}

/// The sessions that the hooks know, by their cgroups' ids, and whether they are attached there.
pub fn known() -> Vec<(u64, MemcgSession, bool)> {
    let Ok(map) = sessions() else { return Vec::new() };
    // Asked first, as libbpf prints what it can't open.
    let attached = |id| link_of(id).exists() && Link::open(link_of(id)).is_ok();
    entries(&map).into_iter().map(|(id, entry)| (id, entry, attached(id))).collect()
}

fn entries(map: &impl MapCore) -> Vec<(u64, MemcgSession)> {
    let ids = map.keys().filter_map(|key| Some(u64::from_ne_bytes(key.as_slice().try_into().ok()?)));
    ids.filter_map(|id| Some((id, lookup(map, id)?))).collect()
}

/// Forgets sessions that are gone.
pub fn forget(lives: impl Fn(u64) -> bool) {
    let Ok(map) = sessions() else { return };
    for (id, _) in entries(&map) {
        if !lives(id) {
            let _ = map.delete(&id.to_ne_bytes());
            let _ = std::fs::remove_file(link_of(id));
        }
    }
}

/// The same decisions, counted and not obeyed, for as long as this lives.
pub struct Rehearsal {
    sessions: MapHandle,
    _link: Link,
}

impl Rehearsal {
    /// Loads them as a program that looks at every charge.
    pub fn start() -> Result<Self> {
        let mut storage = MaybeUninit::uninit();
        let mut open = AgentshMemcgSkelBuilder::default().open(&mut storage).context("opening it")?;
        open.maps.agentsh_v6.set_autocreate(false)?;
        open.maps.agentsh_v7.set_autocreate(false)?;
        open.progs.rehearse.set_autoload(true);
        let skel = open.load().context("the kernel doesn't take it")?;
        settle(&skel.maps.memcg_params)?;
        let link = skel.progs.rehearse.attach().context("attaching it")?;
        let sessions = MapHandle::try_from(&skel.maps.memcg_sessions).context("its sessions")?;
        Ok(Self { sessions, _link: link })
    }

    /// Lets it know a session.
    pub fn enter(&self, session: &Dir) -> Result<()> {
        enter(&self.sessions, session).map(drop)
    }

    /// What it has counted.
    pub fn known(&self) -> Vec<(u64, MemcgSession)> {
        entries(&self.sessions)
    }
}

#[cfg(test)]
#[path = "memcg_tests.rs"]
mod tests;
