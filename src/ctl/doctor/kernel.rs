//! Tiers 2, 3 and M: what the kernel offers (read from its BTF, never from its version) and what of it is active.
//! They are extras, loaded once by the privileged helper; without them tier 1 stands for itself.
//!
//! What is active is read where everybody may read it: sched_ext's state in sysfs, and the names of the BPF programs that
//! the kernel holds, in /proc/kallsyms. The pins are root's; they only tell what should be there.

use super::check::{Check, Tier};
use std::fs;
use std::path::Path;

const PINS: &str = "/sys/fs/bpf/agentsh/links";
const HELPER: &str = "agentsh-helper";
/// The programs without which the monitor isn't whole (bpf/agentsh_monitor.bpf.c).
const MONITOR: [&str; 4] = ["monitor_populated", "monitor_fork", "monitor_exec", "monitor_exit"];

/// The three tiers.
pub fn checks() -> Vec<Check> {
    let btf = fs::read("/sys/kernel/btf/vmlinux").unwrap_or_default();
    let symbols = fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    let programs = Programs::read(&symbols);
    let pins = Pins::read(Path::new(PINS));
    let seen = Scheduler::read(Path::new("/sys/kernel/sched_ext"));
    vec![
        scheduler(&seen, &programs, &pins),
        holding(&seen, &programs),
        hooks(has_name(&btf, b"memcg_bpf_ops"), &programs),
        events(!btf.is_empty(), &programs, &pins),
    ]
}

/// The names of the BPF programs that the kernel holds.
struct Programs<'a>(Vec<&'a str>);

impl<'a> Programs<'a> {
    /// Of lines as `0000000000000000 t bpf_prog_6deef7357e7b4530_monitor_fork  [bpf]`.
    fn read(symbols: &'a str) -> Self {
        let name = |line: &'a str| -> Option<&'a str> {
            let symbol = line.split_ascii_whitespace().nth(2)?.strip_prefix("bpf_prog_")?;
            symbol.split_once('_').map(|(_tag, name)| name)
        };
        Programs(symbols.lines().filter_map(name).collect())
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains(&name)
    }
}

/// The names of the links that the helper has pinned, as far as we may see them.
struct Pins(Vec<String>);

impl Pins {
    fn read(folder: &Path) -> Pins {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        Pins(entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
    }

    fn any(&self, part: &str) -> bool {
        self.0.iter().any(|name| name.starts_with(part))
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

    fn is_ours(&self) -> bool {
        self.enabled && self.name.starts_with("agentsh")
    }
}

fn scheduler(seen: &Scheduler, programs: &Programs<'_>, pins: &Pins) -> Check {
    const NAME: &str = "scheduler";
    if seen.is_ours() {
        return Check::ok(Tier::Two, NAME, format!("sched_ext runs {}", seen.name));
    }
    // An ejected scheduler keeps its pin, and the pin its programs: only what is active counts.
    if pins.any("sched") || programs.has("agentsh_enqueue") {
        return Check::missing(
            Tier::Two,
            NAME,
            "agentsh's scheduler is loaded, but the kernel has ejected it",
            format!("`{HELPER} status` says how it ended, `{HELPER} reload` loads it again"),
        );
    }
    if seen.enabled {
        let other = format!("sched_ext runs another scheduler, {}", seen.name);
        return Check::absent(Tier::Two, NAME, other);
    }
    if seen.offered {
        let none =
            "the kernel has sched_ext; no scheduler of agentsh is loaded, and cpu.weight alone decides";
        return Check::absent(Tier::Two, NAME, none).with(format!(
            "on a machine that is there for agents: `{HELPER} load --scheduler whole-machine`, as root"
        ));
    }
    Check::absent(Tier::Two, NAME, "the kernel has no sched_ext; cpu.weight alone decides")
}

fn holding(seen: &Scheduler, programs: &Programs<'_>) -> Check {
    const NAME: &str = "holding";
    match (seen.is_ours(), programs.has("hold_charge")) {
        (true, true) => Check::ok(Tier::Two, NAME, "calls that give way are stopped where they take memory"),
        (true, false) => Check::absent(Tier::Two, NAME, "the scheduler that runs holds no calls"),
        (false, _) => Check::absent(Tier::Two, NAME, "it comes with the scheduler; tier 1 slows and freezes"),
    }
}

fn hooks(offered: bool, programs: &Programs<'_>) -> Check {
    const NAME: &str = "memory hooks";
    let attached = programs.has("v6_below_low") || programs.has("v7_below_low");
    match (offered, attached) {
        (true, true) => Check::ok(Tier::Three, NAME, "memcg_bpf_ops are loaded"),
        (true, false) => Check::absent(Tier::Three, NAME, "the kernel has memcg_bpf_ops; none are loaded")
            .with(format!("`{HELPER} load`, as root")),
        (false, _) => {
            Check::absent(Tier::Three, NAME, "the kernel has no memcg_bpf_ops (no stock kernel has)")
        }
    }
}

fn events(offered: bool, programs: &Programs<'_>, pins: &Pins) -> Check {
    const NAME: &str = "events";
    let lacking: Vec<_> = MONITOR.into_iter().filter(|name| !programs.has(name)).collect();
    let load = format!("`{HELPER} load`, as root");
    match (lacking.is_empty(), offered) {
        (true, _) => Check::ok(Tier::M, NAME, "process and memory events are counted"),
        (false, _) if pins.any("monitor") || lacking.len() < MONITOR.len() => Check::missing(
            Tier::M,
            NAME,
            format!("the monitor is loaded, but without {}", lacking.join(", ")),
            format!("`{HELPER} reload`"),
        ),
        (false, true) => {
            Check::absent(Tier::M, NAME, "the kernel has what it takes; no program is loaded").with(load)
        }
        (false, false) => Check::absent(Tier::M, NAME, "the kernel has no BTF (/sys/kernel/btf/vmlinux)"),
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
    fn a_pin_or_a_program_alone_is_no_scheduler() {
        let (pinned, none) = (Pins(vec!["sched".into()]), Pins(Vec::new()));
        let (held, free) = (Programs(vec!["agentsh_enqueue"]), Programs(Vec::new()));
        assert_eq!(scheduler(&seen(true, true, "agentsh_0.1"), &held, &pinned).state, State::Ok);
        assert_eq!(scheduler(&seen(true, false, ""), &held, &pinned).state, State::Missing);
        // As another user than root sees it.
        assert_eq!(scheduler(&seen(true, false, ""), &held, &none).state, State::Missing);
        assert_eq!(scheduler(&seen(true, true, "other"), &free, &pinned).state, State::Missing);
        assert_eq!(scheduler(&seen(true, true, "other"), &free, &none).state, State::Absent);
        assert_eq!(scheduler(&seen(false, false, ""), &free, &none).state, State::Absent);
    }

    #[test]
    fn a_kernels_names_are_found_whole() {
        assert!(has_name(b"\0a\0memcg_bpf_ops\0b\0", b"memcg_bpf_ops"));
        assert!(!has_name(b"\0a\0memcg_bpf_ops_x\0b\0", b"memcg_bpf_ops"));
        assert!(!has_name(b"", b"memcg_bpf_ops"));
    }

    #[test]
    fn the_kernels_programs_are_known_by_the_names_that_it_shows_to_everybody() {
        let symbols = "0000000000000000 T schedule\n\
                       0000000000000000 t bpf_prog_6deef7357e7b4530_monitor_fork\t[bpf]\n\
                       0000000000000000 t bpf_prog_get\n";
        let programs = Programs::read(symbols);
        assert_eq!(programs.0, ["monitor_fork"]);
    }

    #[test]
    fn hooks_and_events_count_only_where_they_are_at_work() {
        let none = Pins(Vec::new());
        assert_eq!(hooks(true, &Programs(vec!["v7_below_low"])).state, State::Ok);
        assert_eq!(hooks(false, &Programs(Vec::new())).state, State::Absent);
        assert_eq!(events(true, &Programs(MONITOR.to_vec()), &none).state, State::Ok);
        assert_eq!(events(true, &Programs(MONITOR[..2].to_vec()), &none).state, State::Missing);
        assert_eq!(
            events(true, &Programs(Vec::new()), &Pins(vec!["monitor_fork".into()])).state,
            State::Missing
        );
        assert_eq!(events(true, &Programs(Vec::new()), &none).state, State::Absent);
    }
}
