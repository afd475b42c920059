//! Tiers 2, 3 and M: what the kernel offers (read from its BTF, never from its version) and what of it is active.
//! They are extras, loaded once by the privileged helper; without them tier 1 stands for itself.

use super::check::{Check, Tier};
use std::fs;
use std::path::Path;

const PINS: &str = "/sys/fs/bpf/agentsh/links";

/// The three tiers.
pub fn checks() -> [Check; 3] {
    let btf = fs::read("/sys/kernel/btf/vmlinux").unwrap_or_default();
    let pins = Pins::read(Path::new(PINS));
    [
        scheduler(&Scheduler::read(Path::new("/sys/kernel/sched_ext")), &pins),
        hooks(has_name(&btf, b"memcg_bpf_ops"), &pins),
        events(Path::new("/sys/kernel/tracing").is_dir() && !btf.is_empty(), &pins),
    ]
}

/// The names of the links that the helper has pinned.
struct Pins(Vec<String>);

impl Pins {
    fn read(folder: &Path) -> Pins {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        Pins(entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
    }

    fn any(&self, part: &str) -> bool {
        self.0.iter().any(|name| name.contains(part))
    }
}

/// What /sys/kernel/sched_ext says.
struct Scheduler {
    offered: bool,
    enabled: bool,
    name: String,
}

impl Scheduler {
    fn read(folder: &Path) -> Scheduler {
        let text = |file: &str| fs::read_to_string(folder.join(file)).unwrap_or_default().trim().to_owned();
        let state = text("state");
        Scheduler { offered: !state.is_empty(), enabled: state == "enabled", name: text("root/ops") }
    }
}

fn scheduler(seen: &Scheduler, pins: &Pins) -> Check {
    const NAME: &str = "scheduler";
    let ours = seen.enabled && seen.name.starts_with("agentsh");
    // An ejected scheduler keeps its pin: only what is active counts.
    match (pins.any("sched"), ours) {
        (true, true) => Check::ok(Tier::Two, NAME, format!("sched_ext runs {}", seen.name)),
        (true, false) => Check::missing(
            Tier::Two,
            NAME,
            "agentsh's scheduler is pinned, but the kernel has ejected it",
            "read why in the kernel's log (dmesg), then load it again with agentsh-helper",
        ),
        (false, _) if seen.enabled => {
            Check::absent(Tier::Two, NAME, format!("sched_ext runs another scheduler, {}", seen.name))
        }
        (false, _) if seen.offered => {
            Check::absent(Tier::Two, NAME, "the kernel has sched_ext; no scheduler of agentsh is loaded")
        }
        _ => Check::absent(Tier::Two, NAME, "the kernel has no sched_ext; cpu.weight alone decides"),
    }
}

fn hooks(offered: bool, pins: &Pins) -> Check {
    const NAME: &str = "memory hooks";
    match (offered, pins.any("memcg")) {
        (true, true) => Check::ok(Tier::Three, NAME, "memcg_bpf_ops are attached"),
        (true, false) => Check::absent(Tier::Three, NAME, "the kernel has memcg_bpf_ops; none are attached"),
        (false, _) => {
            Check::absent(Tier::Three, NAME, "the kernel has no memcg_bpf_ops (no stock kernel has)")
        }
    }
}

fn events(offered: bool, pins: &Pins) -> Check {
    const NAME: &str = "events";
    match (offered, pins.any("trace")) {
        (_, true) => Check::ok(Tier::M, NAME, "process and memory events are counted"),
        (true, false) => {
            Check::absent(Tier::M, NAME, "the kernel has tracepoints; no program of agentsh is loaded")
        }
        (false, false) => Check::absent(Tier::M, NAME, "no tracefs or no BTF here"),
    }
}

/// Is this a name in the BTF's string section? Strings stand between NULs there.
fn has_name(btf: &[u8], name: &[u8]) -> bool {
    let whole = [b"\0", name, b"\0"].concat();
    btf.windows(whole.len()).any(|window| window == whole)
}

#[cfg(test)]
mod tests {
    use super::super::check::State;
    use super::*;

    fn seen(offered: bool, enabled: bool, name: &str) -> Scheduler {
        Scheduler { offered, enabled, name: name.into() }
    }

    #[test]
    fn a_pin_alone_is_no_scheduler() {
        let pinned = Pins(vec!["sched".into()]);
        let none = Pins(Vec::new());
        assert_eq!(scheduler(&seen(true, true, "agentsh_0.1"), &pinned).state, State::Ok);
        assert_eq!(scheduler(&seen(true, false, ""), &pinned).state, State::Missing);
        assert_eq!(scheduler(&seen(true, true, "other"), &pinned).state, State::Missing);
        assert_eq!(scheduler(&seen(true, true, "other"), &none).state, State::Absent);
        assert_eq!(scheduler(&seen(false, false, ""), &none).state, State::Absent);
    }

    #[test]
    fn a_kernels_names_are_found_whole() {
        assert!(has_name(b"\0a\0memcg_bpf_ops\0b\0", b"memcg_bpf_ops"));
        assert!(!has_name(b"\0a\0memcg_bpf_ops_x\0b\0", b"memcg_bpf_ops"));
        assert!(!has_name(b"", b"memcg_bpf_ops"));
    }

    #[test]
    fn hooks_count_only_where_the_kernel_has_them() {
        let pinned = Pins(vec!["memcg".into()]);
        assert_eq!(hooks(true, &pinned).state, State::Ok);
        assert_eq!(hooks(false, &pinned).state, State::Absent);
        assert_eq!(events(false, &Pins(vec!["trace_exec".into()])).state, State::Ok);
    }
}
