//! `struct memcg_session` of bpf/agentsh.h: what the memory hooks know of a session, and what they did.

use serde::Serialize;

/// Amounts are pages of 4 KiB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct MemcgSession {
    /// The cgroup's id of agent/.
    pub agent_id: u64,
    /// What of agent/ is never reclaimed.
    pub reserve: u64,
    /// The most that the session may have; `u64::MAX` without a limit.
    pub ceiling: u64,
    /// From 0, low, to 2, high.
    pub priority: u32,
    /// How often it was made to wait.
    pub delays: u64,
    /// For so long, in ms, all together.
    pub delayed_ms: u64,
    /// How often something of it was passed over when memory was reclaimed, as there was something else …
    pub kept_low: u64,
    /// … and whatever else there was.
    pub kept_min: u64,
}

const WORDS: usize = 11;

impl MemcgSession {
    /// From the map's value; none if these are other bytes.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != WORDS * 8 {
            return None;
        }
        let word = |index: usize| -> Option<u64> {
            Some(u64::from_ne_bytes(bytes.get(index * 8..index * 8 + 8)?.try_into().ok()?))
        };
        Some(Self {
            agent_id: word(0)?,
            reserve: word(1)?,
            ceiling: word(2)?,
            priority: word(3)? as u32,
            delays: word(7)?,
            delayed_ms: word(8)?,
            kept_low: word(9)?,
            kept_min: word(10)?,
        })
    }

    /// As the map's value; what the programs keep for themselves begins anew.
    pub fn encode(&self) -> Vec<u8> {
        let priority = u64::from(self.priority);
        let settings = [self.agent_id, self.reserve, self.ceiling, priority];
        let counts = [self.delays, self.delayed_ms, self.kept_low, self.kept_min];
        settings.into_iter().chain([0; 3]).chain(counts).flat_map(u64::to_le_bytes).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::helper::bpf::shared::tests::layout;

    #[test]
    fn a_session_is_laid_out_as_the_programs_read_it() {
        let (members, size) = layout("agentsh_memcg", "memcg_session");
        let at = |name: &str| members.iter().find(|(it, _)| it == name).expect(name).1;
        assert_eq!(["agent_id", "reserve", "ceiling", "priority"].map(at), [0, 8, 16, 24]);
        assert_eq!(["delays", "delayed_ms", "kept_low", "kept_min"].map(at), [56, 64, 72, 80]);
        assert_eq!(size, WORDS * 8);
        let it =
            MemcgSession { agent_id: 5, ceiling: u64::MAX, priority: 2, kept_min: 9, ..Default::default() };
        assert_eq!(MemcgSession::decode(&it.encode()), Some(it));
        assert_eq!(MemcgSession::decode(&[0; 80]), None);
        let (members, size) = layout("agentsh_memcg", "memcg_params");
        let offsets: Vec<usize> = members.iter().map(|(_, at)| *at).collect();
        assert_eq!((offsets, size), (vec![0, 4, 8, 16], 24));
    }
}
