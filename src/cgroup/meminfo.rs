//! The machine's own memory, where no cgroup limits it.

use super::parse;

/// MemAvailable of /proc/meminfo in bytes: what can be had without swapping. None without /proc.
pub fn available() -> Option<u64> {
    let mut buf = [0; 1024];
    let fd = nix::fcntl::open(
        "/proc/meminfo",
        nix::fcntl::OFlag::O_RDONLY | nix::fcntl::OFlag::O_CLOEXEC,
        nix::sys::stat::Mode::empty(),
    )
    .ok()?;
    let n = nix::unistd::read(&fd, &mut buf).ok()?;
    available_in(buf.get(..n)?)
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
