//! Programs that agents start by themselves, past the shell: `struct direct_exec` of bpf/agentsh.h, and the map and the ring
//! of `bpf/direct.h` that they are in.

use super::pins;
use super::stats::text;
use anyhow::{Context, Result, bail};
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use serde::Serialize;

/// The name of the map's pin.
pub const MAP: &str = "monitor_direct";
/// The name of the ring's pin.
pub const NEWS: &str = "monitor_direct_news";

/// The name of the pin of those who have called agentsh.
pub const AGENTS: &str = "monitor_agents";

/// `struct process_key`: a process, told apart from those that had its pid before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Process {
    /// CLOCK_BOOTTIME in ns when it was started.
    pub started_ns: u64,
    /// In the first pid namespace.
    pub pid: u32,
}

impl Process {
    /// From the key of the map, or an entry of the ring.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        Some(Self { started_ns: number(bytes, 0)?, pid: number(bytes, 8)? as u32 })
    }

    /// As the key of a map.
    pub fn encode(self) -> Vec<u8> {
        [self.started_ns, u64::from(self.pid)].into_iter().flat_map(u64::to_le_bytes).collect()
    }
}

/// A program that an agent has started by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DirectExec {
    /// Who runs it.
    #[serde(flatten)]
    pub process: Process,
    /// The cgroup's id of the agent that started it.
    pub agent_id: u64,
    /// The session's, which that lies in.
    pub session_id: u64,
    /// CLOCK_BOOTTIME in ns when the process became this program.
    pub began_ns: u64,
    /// CLOCK_BOOTTIME in ns when it ended; 0 while it lives.
    pub ended_ns: u64,
    /// Who started it.
    pub parent: Process,
    /// As ps has it.
    pub comm: String,
    /// The path that was executed, at most 95 bytes of it.
    pub file: String,
}

const IS_LAUNCHER: usize = 44;
const COMM: std::ops::Range<usize> = 48..64;
const FILE: std::ops::Range<usize> = 64..160;

impl DirectExec {
    /// From the map's key and value; none if these are other bytes, or if it is agentsh.
    pub fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        if value.get(IS_LAUNCHER) != Some(&0) {
            return None;
        }
        Some(Self {
            process: Process::decode(key)?,
            agent_id: number(value, 0)?,
            session_id: number(value, 8)?,
            began_ns: number(value, 16)?,
            ended_ns: number(value, 24)?,
            parent: Process { started_ns: number(value, 32)?, pid: number(value, 40)? as u32 },
            comm: text(value.get(COMM)?),
            file: text(value.get(FILE)?),
        })
    }
}

/// Eight bytes from here on, or the four that are left.
fn number(bytes: &[u8], at: usize) -> Option<u64> {
    match bytes.get(at..at + 8) {
        Some(eight) => Some(u64::from_ne_bytes(eight.try_into().ok()?)),
        None => Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?).into()),
    }
}

/// What is known of one process; none if nothing is, or no longer.
pub fn of(process: Process) -> Option<DirectExec> {
    let map = MapHandle::from_pinned_path(pins::map(MAP)).ok()?;
    let key = process.encode();
    DirectExec::decode(&key, &map.lookup(&key, MapFlags::ANY).ok()??)
}

/// Has this process called agentsh?
pub fn is_agent(process: Process) -> bool {
    let map = MapHandle::from_pinned_path(pins::map(AGENTS));
    map.is_ok_and(|map| map.lookup(&process.encode(), MapFlags::ANY).is_ok_and(|found| found.is_some()))
}

/// All that the monitor still knows, in the order of their beginning.
pub fn all() -> Result<Vec<DirectExec>> {
    let path = pins::map(MAP);
    if !path.exists() {
        bail!("the monitor isn't loaded: agentsh-helper load");
    }
    let map =
        MapHandle::from_pinned_path(&path).with_context(|| format!("{} can't be opened", path.display()))?;
    let mut all: Vec<DirectExec> = map
        .keys()
        .filter_map(|key| DirectExec::decode(&key, &map.lookup(&key, MapFlags::ANY).ok()??))
        .collect();
    all.sort_by_key(|it| it.began_ns);
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::helper::bpf::shared::tests::layout;

    #[test]
    fn a_direct_exec_is_read_where_the_program_writes_it() {
        let (members, size) = layout("agentsh_monitor", "direct_exec");
        let at = |name: &str| members.iter().find(|(it, _)| it == name).expect(name).1;
        let numbers = ["agent_id", "session_id", "began_ns", "ended_ns", "parent_started_ns", "parent"];
        assert_eq!(numbers.map(at), [0, 8, 16, 24, 32, 40]);
        assert_eq!(
            (at("is_launcher"), at("comm"), at("file"), size),
            (IS_LAUNCHER, COMM.start, FILE.start, FILE.end)
        );
        let (members, size) = layout("agentsh_monitor", "process_key");
        assert_eq!((&members[0], &members[1], size), (&("started_ns".into(), 0), &("pid".into(), 8), 16));
        let (mut key, mut value) = ([0; 16], [0; 160]);
        (key[0], key[8], value[40], value[64]) = (3, 7, 5, b'x');
        let it = DirectExec::decode(&key, &value).expect("bytes of the right size");
        assert_eq!(it.process.encode(), key);
        assert_eq!(
            (it.process, it.parent.pid, it.file.as_str()),
            (Process { started_ns: 3, pid: 7 }, 5, "x")
        );
    }
}
