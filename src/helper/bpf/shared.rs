//! What `bpf/agentsh.h` declares and both sides read: parameters written, records read, byte by byte.

use crate::class::Class;
use serde::Serialize;
use std::time::Duration;

/// Slots of the arrays that go by class: every class, and what is no call (`CLASS_SLOTS`).
const CLASS_SLOTS: usize = 10;
const REASON: std::ops::Range<usize> = 16..144;
const MESSAGE: std::ops::Range<usize> = 144..400;
const DUMP: std::ops::Range<usize> = 400..16784;

/// `struct sched_params`.
pub struct SchedParams {
    /// The longest that a task runs while others wait.
    pub slice: Duration,
    /// CPU time ahead of its share that a group gets when it wakes: for calls that should be short, and the agent.
    pub credit_of_short: Duration,
    /// The same, for all others.
    pub credit: Duration,
}

impl SchedParams {
    /// As the map's value.
    pub fn encode(&self) -> Vec<u8> {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let mut credits = [nanos(self.credit); CLASS_SLOTS];
        for class in [Class::Git, Class::Edit, Class::Explore, Class::Agent] {
            credits[class as usize] = nanos(self.credit_of_short);
        }
        std::iter::once(nanos(self.slice)).chain(credits).flat_map(u64::to_ne_bytes).collect()
    }
}

/// `struct sched_exit`: how the scheduler ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SchedExit {
    /// The kernel's `enum scx_exit_kind`.
    pub kind: u32,
    /// What a scheduler that exits by itself says.
    pub code: i64,
    /// The kernel's words for the kind.
    pub reason: String,
    /// What went wrong.
    pub message: String,
    /// The kernel's account of all CPUs and tasks, if it was an error.
    pub dump: String,
}

impl SchedExit {
    /// The end as recorded; none as long as the scheduler hasn't ended, or if these are other bytes.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let kind = u32::from_ne_bytes(bytes.get(8..12)?.try_into().ok()?);
        if kind == 0 {
            return None;
        }
        let text = |range: std::ops::Range<usize>| super::stats::text(bytes.get(range).unwrap_or_default());
        Some(Self {
            kind,
            code: i64::from_ne_bytes(bytes.get(0..8)?.try_into().ok()?),
            reason: text(REASON),
            message: text(MESSAGE),
            dump: text(DUMP),
        })
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use libbpf_rs::HasSize;
    use libbpf_rs::btf::{Btf, types};

    /// Byte offsets of a struct's members, and its size, in the object that build.rs made.
    pub fn layout(object: &str, of: &str) -> (Vec<(String, usize)>, usize) {
        let object = Btf::from_path(format!("{}/{object}.bpf.o", env!("OUT_DIR"))).expect("the object");
        let found = object.type_by_name::<types::Struct<'_>>(of).expect("a struct of bpf/agentsh.h");
        let members = found.iter().map(|member| {
            let types::MemberAttr::Normal { offset } = member.attr else { panic!("a bit field in {of}") };
            (member.name.expect("a name").to_string_lossy().into_owned(), offset as usize / 8)
        });
        (members.collect(), found.size())
    }

    #[test]
    fn parameters_are_laid_out_as_the_program_reads_them() {
        let params = SchedParams {
            slice: Duration::from_nanos(1),
            credit_of_short: Duration::from_nanos(2),
            credit: Duration::from_nanos(3),
        };
        let (members, size) = layout("agentsh_sched", "sched_params");
        assert_eq!(members, [("slice_ns".into(), 0), ("credit_ns".into(), 8)]);
        assert_eq!(params.encode().len(), size);
    }

    #[test]
    fn the_end_is_read_where_the_program_wrote_it() {
        let (members, size) = layout("agentsh_sched", "sched_exit");
        let at = |name: &str| members.iter().find(|(it, _)| it == name).expect(name).1;
        assert_eq!((at("code"), at("kind")), (0, 8));
        assert_eq!(
            (at("reason"), at("message"), at("dump"), size),
            (REASON.start, MESSAGE.start, DUMP.start, DUMP.end)
        );
        let mut bytes = vec![0; size];
        assert_eq!(SchedExit::decode(&bytes), None, "still running");
        bytes[8] = 64;
        bytes[REASON.start..REASON.start + 4].copy_from_slice(b"why\0");
        let end = SchedExit::decode(&bytes).expect("an end");
        assert_eq!((end.kind, end.reason.as_str(), end.message.as_str()), (64, "why", ""));
    }
}
