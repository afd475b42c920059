//! What of root's powers this process has (capabilities(7)).

use nix::errno::Errno;

/// include/uapi/linux/capability.h
const VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: libc::c_int,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// One of them, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// Giving files to others.
    Chown = 0,
    /// Writing what belongs to others.
    DacOverride = 1,
    /// Looking at what belongs to others, and opening files by their handles, past every mount.
    DacReadSearch = 2,
    /// Acting as another group.
    Setgid = 6,
    /// Acting as another user.
    Setuid = 7,
    /// Entering another root.
    SysChroot = 18,
    /// Looking at other processes.
    SysPtrace = 19,
    /// Mounting.
    SysAdmin = 21,
    /// Reading what the kernel observes: tracing programs, kernel memory.
    Perfmon = 38,
    /// bpf(2).
    Bpf = 39,
}

impl Capability {
    /// As capabilities(7) calls it.
    pub fn name(self) -> &'static str {
        match self {
            Capability::Chown => "CAP_CHOWN",
            Capability::DacOverride => "CAP_DAC_OVERRIDE",
            Capability::DacReadSearch => "CAP_DAC_READ_SEARCH",
            Capability::Setgid => "CAP_SETGID",
            Capability::Setuid => "CAP_SETUID",
            Capability::SysChroot => "CAP_SYS_CHROOT",
            Capability::SysPtrace => "CAP_SYS_PTRACE",
            Capability::SysAdmin => "CAP_SYS_ADMIN",
            Capability::Perfmon => "CAP_PERFMON",
            Capability::Bpf => "CAP_BPF",
        }
    }

    /// Its bit in the sets of /proc/PID/status.
    pub fn bit(self) -> u64 {
        1 << self as u32
    }
}

/// Gives up, for this thread and all that it starts from now on, every capability but these. Returns those of them
/// that it hasn't got.
pub fn keep_only(wanted: &[Capability]) -> Result<Vec<Capability>, Errno> {
    let mut header = Header { version: VERSION_3, pid: 0 };
    let mut data = [Data::default(); 2];
    // SAFETY: version 3 reads one header and fills two sets of data, which is what these are; pid 0 is this thread.
    Errno::result(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) })?;
    let had = u64::from(data[0].permitted) | u64::from(data[1].permitted) << 32;
    let kept = wanted.iter().fold(0, |all, one| all | one.bit()) & had;
    for (set, bits) in data.iter_mut().zip([kept as u32, (kept >> 32) as u32]) {
        *set = Data { effective: bits, permitted: bits, inheritable: 0 };
    }
    // SAFETY: as above, and both are only read.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, data.as_ptr()) })?;
    Ok(wanted.iter().copied().filter(|one| had & one.bit() == 0).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_kept_is_gone() {
        // In a thread of its own, as capabilities are a thread's.
        let after = std::thread::spawn(|| {
            let lacking = keep_only(&[Capability::Bpf]).expect("giving up is allowed to everybody");
            let status = std::fs::read_to_string("/proc/thread-self/status").expect("/proc");
            let set = status.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("CapEff");
            (lacking, u64::from_str_radix(set.trim(), 16).expect("a number"))
        });
        let (lacking, effective) = after.join().expect("no panic");
        let expected = if lacking.is_empty() { Capability::Bpf.bit() } else { 0 };
        assert_eq!(effective, expected);
    }
}
