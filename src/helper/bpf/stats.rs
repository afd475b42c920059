//! `struct call_stats` of bpf/agentsh.h: what the monitor counts of a call.

use serde::Serialize;

/// A call or an agent, from when its cgroup got its first process until it had none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CallStats {
    /// The session's name.
    pub session: String,
    /// The leaf's name, or `agent`.
    pub name: String,
    /// Of the leaf, as in the log.
    pub cgroup_id: u64,
    /// CLOCK_BOOTTIME; not before the `generation` of the call's line in the log.
    pub began_ns: u64,
    /// CLOCK_BOOTTIME; 0 while it lives.
    pub ended_ns: u64,
    /// Processes started.
    pub forks: u64,
    /// Programs executed.
    pub execs: u64,
    /// Processes ended.
    pub exits: u64,
    /// The fastest growth of its memory over 10 ms, in bytes a second.
    pub fastest: u64,
    /// Time that its tasks were kept waiting over memory.high, all together.
    pub throttled_ns: u64,
    /// Time that the scheduler held it, as far as that is still known; none while no scheduler is loaded that holds.
    pub held_ns: Option<u64>,
}

const NAME: std::ops::Range<usize> = 92..108;
const SESSION: std::ops::Range<usize> = 108..172;

impl CallStats {
    /// From the value of a map; none if these are other bytes.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let number = |index: usize| -> Option<u64> {
            Some(u64::from_ne_bytes(bytes.get(index * 8..index * 8 + 8)?.try_into().ok()?))
        };
        Some(Self {
            session: text(bytes.get(SESSION)?),
            name: text(bytes.get(NAME)?),
            cgroup_id: number(0)?,
            began_ns: number(2)?,
            ended_ns: number(3)?,
            forks: number(4)?,
            execs: number(5)?,
            exits: number(6)?,
            fastest: number(7)?,
            throttled_ns: number(8)?,
            held_ns: None,
        })
    }
}

/// A C string in a field of fixed size.
pub fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::helper::bpf::shared::tests::layout;

    #[test]
    fn counts_are_read_where_the_program_writes_them() {
        let (members, size) = layout("agentsh_monitor", "call_stats");
        let at = |name: &str| members.iter().find(|(it, _)| it == name).expect(name).1;
        let numbers =
            ["cgroup_id", "began_ns", "ended_ns", "forks", "execs", "exits", "fastest", "throttled_ns"];
        assert_eq!(numbers.map(at), [0, 16, 24, 32, 40, 48, 56, 64]);
        assert_eq!((at("name"), at("session"), SESSION.end + 4), (NAME.start, SESSION.start, size));
        let mut bytes = vec![0; size];
        bytes[32] = 7;
        bytes[NAME.start..NAME.start + 4].copy_from_slice(b"run-");
        let call = CallStats::decode(&bytes).expect("a call");
        assert_eq!((call.forks, call.name.as_str(), call.session.as_str()), (7, "run-", ""));
        assert_eq!(CallStats::decode(&bytes[..100]), None);
    }
}
