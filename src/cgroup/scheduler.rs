//! Is agentsh's own scheduler at work? It holds calls of its own accord (bpf/hold.h), so a launcher needn't be as quick.

use std::fs::read;

const STATE: &str = "/sys/kernel/sched_ext/state";
const NAME: &str = "/sys/kernel/sched_ext/root/ops";
/// Asked again after this: one that is ejected is missed for no longer.
const VALID_NS: u64 = 500_000_000;

/// What is known of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scheduler {
    asked: Option<u64>,
    is_ours: bool,
}

impl Scheduler {
    /// Whether it runs. `now` is a monotonic clock in ns.
    pub fn is_ours(&mut self, now: u64) -> bool {
        if self.asked.is_none_or(|asked| now.saturating_sub(asked) >= VALID_NS) {
            self.asked = Some(now);
            let says = |path: &str, what: &[u8]| read(path).is_ok_and(|text| text.trim_ascii() == what);
            self.is_ours = says(STATE, b"enabled") && says(NAME, b"agentsh");
        }
        self.is_ours
    }
}
