//! Sandboxes with a kernel of their own: what agentsh is there, as no other check says why it is so.
//!
//! gVisor answers every uname(2) with the one build date (its sources, pkg/sentry/syscalls/linux/linux64.go; release 4.4.0, since
//! 2025 4.19.0-gvisor); Kata's guests are booted into kata-containers.target, Firecracker's without PCI, with their devices by
//! `virtio_mmio.device=`. Of the last two that is taken from sources and from what others recorded: they haven't run here.

use super::check::{Check, Tier};
use std::fs;

const NAME: &str = "sandbox";
/// Of uname's version, in all of gVisor's releases.
const GVISOR_BUILT: &str = "Sun Jan 10 15:06:54 PST 2016";

/// A kernel that isn't the host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sandbox {
    GVisor,
    Kata,
    Firecracker,
}

/// Which one it is, if it is one.
pub fn check() -> Option<Check> {
    let text = |file| fs::read_to_string(file).unwrap_or_default();
    sandbox(&text("/proc/version"), &text("/proc/cmdline")).map(explained)
}

fn sandbox(version: &str, cmdline: &str) -> Option<Sandbox> {
    let has = |part: &str| cmdline.split_ascii_whitespace().any(|word| word.starts_with(part));
    if version.contains(GVISOR_BUILT) || version.to_ascii_lowercase().contains("gvisor") {
        Some(Sandbox::GVisor)
    } else if has("systemd.unit=kata-containers.target") {
        // It may run in Firecracker.
        Some(Sandbox::Kata)
    } else if has("pci=off") && has("virtio_mmio.device=") {
        Some(Sandbox::Firecracker)
    } else {
        None
    }
}

fn explained(sandbox: Sandbox) -> Check {
    match sandbox {
        Sandbox::GVisor => Check::absent(
            Tier::One,
            NAME,
            "this is gVisor: its kernel has no cgroup v2 whose limits hold, and no BPF; commands run as without agentsh, \
             are classified and recorded",
        )
        .with("limits for each call need Linux: a runtime such as runc, crun or Kata"),
        Sandbox::Kata => guest("Kata Containers"),
        Sandbox::Firecracker => guest("Firecracker"),
    }
}

fn guest(whose: &str) -> Check {
    let detail = format!("this is a virtual machine of {whose}: its own kernel enforces all of this");
    Check::absent(Tier::One, NAME, detail)
        .with("a helper on the host can't reach in here: attach, serve and load are for the one in the guest")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gvisor_is_known_by_its_kernel_s_one_build_date() {
        for version in [
            "Linux version 4.4.0 #1 SMP Sun Jan 10 15:06:54 PST 2016\n",
            "Linux version 4.19.0-gvisor #1 SMP Sun Jan 10 15:06:54 PST 2016\n",
        ] {
            assert_eq!(sandbox(version, "BOOT_IMAGE=/vmlinuz-4.4.0-gvisor quiet"), Some(Sandbox::GVisor));
        }
    }

    #[test]
    fn microvms_are_known_by_how_they_were_booted() {
        let linux =
            "Linux version 6.12.47 (@4bcec8f4443d) (gcc 11.4.0) #1 SMP Fri Nov 14 15:34:06 UTC 2025\n";
        let kata = "reboot=k panic=1 systemd.unit=kata-containers.target systemd.mask=systemd-networkd.service root=/dev/vda1 \
                    rootfstype=ext4 console=ttyS1 pci=off virtio_mmio.device=8K@0xe0000000:5\n";
        let firecracker =
            "console=ttyS0 reboot=k panic=1 pci=off root=/dev/vda rw virtio_mmio.device=4K@0xd0000000:5\n";
        assert_eq!(sandbox(linux, kata), Some(Sandbox::Kata));
        assert_eq!(sandbox(linux, firecracker), Some(Sandbox::Firecracker));
        assert_eq!(
            sandbox(linux, "console=ttyS0 root=/dev/vda1 quiet virtio_mmio.device=4K@0xd0000000:5"),
            None
        );
        assert_eq!(sandbox("", ""), None);
    }

    #[test]
    fn each_says_what_holds_there_and_counts_as_no_finding() {
        for each in [Sandbox::GVisor, Sandbox::Kata, Sandbox::Firecracker] {
            let check = explained(each);
            assert_eq!(check.state, super::super::check::State::Absent);
            assert!(check.detail.starts_with("this is ") && check.remedy.is_some(), "{check}");
        }
    }
}
