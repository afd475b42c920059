//! The machine's own memory, where no cgroup limits it.

use super::parse;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use std::os::fd::OwnedFd;

/// /proc/meminfo, to be read again and again.
#[derive(Debug)]
pub struct Meminfo(OwnedFd);

impl Meminfo {
    /// None without /proc.
    pub fn open() -> Option<Meminfo> {
        open("/proc/meminfo", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).ok().map(Meminfo)
    }

    /// MemAvailable in bytes: what can be had without swapping.
    pub fn available(&self) -> Option<u64> {
        let mut buf = [0; 1024];
        let n = nix::sys::uio::pread(&self.0, &mut buf, 0).ok()?;
        available_in(buf.get(..n)?)
    }
}

/// MemAvailable of /proc/meminfo in bytes: what can be had without swapping. None without /proc.
pub fn available() -> Option<u64> {
    Meminfo::open()?.available()
}

fn available_in(text: &[u8]) -> Option<u64> {
    let line = text.split(|&b| b == b'\n').find_map(|l| l.strip_prefix(b"MemAvailable:"))?;
    let kib = parse::number(line.trim_ascii().strip_suffix(b" kB")?)?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_kib_become_bytes() {
        let text = b"MemTotal:       24579344 kB\nMemFree:        23000000 kB\nMemAvailable:   23500000 kB\n";
        assert_eq!(available_in(text), Some(23_500_000 * 1024));
        assert_eq!(available_in(b"MemTotal: 1 kB\n"), None);
        assert!(available().is_some_and(|n| n > 1 << 20));
    }
}
