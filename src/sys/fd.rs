//! File descriptors: what of the caller's is let go of, and how fd 2 is kept without keeping its reader waiting.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// The last descriptor that can be. gVisor before 2025 refuses a range that goes beyond it.
const LAST: u32 = i32::MAX as u32;

/// Closes every descriptor but those in `keep`, which is sorted here.
pub fn close_all_but(keep: &mut [RawFd]) {
    keep.sort_unstable();
    let mut from: u32 = 0;
    let mut done = true;
    for &fd in keep.iter() {
        let Ok(fd) = u32::try_from(fd) else { continue };
        if fd > from {
            done &= close_range(from, fd - 1);
        }
        from = from.max(fd + 1);
    }
    done &= close_range(from, LAST);
    if !done {
        close_each_but(keep);
    }
}

fn close_range(first: u32, last: u32) -> bool {
    // SAFETY: only descriptors that came from the caller are in the range: ours are all kept.
    unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) == 0 }
}

/// The same for Linux before 5.9, and where a seccomp filter refuses close_range: one at a time those that are open. Trying all that
/// may be takes 3 s where a system call has a long way, as in gVisor on ptrace.
#[cold]
fn close_each_but(keep: &[RawFd]) {
    let close = |fd: RawFd| {
        if keep.binary_search(&fd).is_err() {
            // SAFETY: as above; closing a number that is not open is harmless.
            unsafe { libc::close(fd) };
        }
    };
    // Some at once: looking takes one, and there may be none left.
    (0..64).for_each(close);
    open().unwrap_or_else(|| (64..=65_535).collect()).into_iter().for_each(close);
}

/// Our open descriptors; None without /proc.
fn open() -> Option<Vec<RawFd>> {
    let folder = std::fs::read_dir("/proc/self/fd").ok()?;
    let all: Vec<RawFd> =
        folder.map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect::<Option<_>>()?;
    // The folder itself is among them, unless it is something else by that name.
    (!all.is_empty()).then_some(all)
}

/// What kind of file a descriptor is open on: the `S_IFMT` bits, and its owner.
pub fn kind(fd: RawFd) -> Option<(u32, u32)> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: fstat fills the buffer or fails.
    if unsafe { libc::fstat(fd, stat.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: filled by fstat.
    let stat = unsafe { stat.assume_init() };
    Some((stat.st_mode & libc::S_IFMT, stat.st_uid))
}

/// Another descriptor for the same open file, closed on exec.
pub fn duplicate(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_DUPFD_CLOEXEC takes an integer.
    let new = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) };
    if new < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a fresh descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(new) })
}

/// How often is looked where waiting isn't possible.
const WITHOUT_POLL: Duration = Duration::from_millis(20);

/// What [`wait`] saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Woken {
    /// `readable` is readable.
    pub readable: bool,
    /// `urgent` has something exceptional to say (POLLPRI: a cgroup file that has changed).
    pub urgent: bool,
}

/// Waits until something happens on one of the two descriptors, or the time is over.
pub fn wait(readable: RawFd, urgent: Option<RawFd>, time: Duration) -> Woken {
    let mut polled = [
        libc::pollfd { fd: readable, events: libc::POLLIN, revents: 0 },
        // A negative descriptor is passed over.
        libc::pollfd { fd: urgent.unwrap_or(-1), events: libc::POLLPRI, revents: 0 },
    ];
    let time = libc::timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(time.subsec_nanos()),
    };
    // SAFETY: two valid pollfds, a valid time, no signal mask.
    let n = unsafe { libc::ppoll(polled.as_mut_ptr(), 2, &time, std::ptr::null()) };
    if n < 0 && io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
        // Refused by a seccomp filter: look at both from time to time.
        std::thread::sleep(WITHOUT_POLL.min(Duration::new(time.tv_sec as u64, time.tv_nsec as u32)));
        return Woken { readable: true, urgent: false };
    }
    Woken {
        readable: n > 0 && polled[0].revents != 0,
        urgent: n > 0 && polled[1].revents & libc::POLLPRI != 0,
    }
}

/// Can the descriptor be written to within the time?
pub fn wait_writable(fd: RawFd, timeout: Duration) -> bool {
    let mut polled = libc::pollfd { fd, events: libc::POLLOUT, revents: 0 };
    // SAFETY: one valid pollfd.
    let n = unsafe { libc::poll(&mut polled, 1, timeout.as_millis() as i32) };
    n == 1 && polled.revents & libc::POLLOUT != 0 && polled.revents & (libc::POLLERR | libc::POLLHUP) == 0
}

/// Has a pipe's reader taken all that was written to it?
pub fn is_drained(pipe: RawFd) -> bool {
    let mut left: libc::c_int = -1;
    // SAFETY: FIONREAD writes an int.
    unsafe { libc::ioctl(pipe, libc::FIONREAD, &raw mut left) == 0 && left == 0 }
}

/// Do two descriptors, one ours and one of process `pid`, stand for the same open file? None where the kernel
/// doesn't say.
pub fn same_open_file(ours: RawFd, pid: i32, theirs: RawFd) -> Option<bool> {
    const KCMP_FILE: i32 = 0;
    // SAFETY: kcmp only takes numbers.
    let order = unsafe { libc::syscall(libc::SYS_kcmp, std::process::id(), pid, KCMP_FILE, ours, theirs) };
    match order {
        0 => Some(true),
        1..=3 => Some(false),
        // The other process has no such descriptor.
        _ if io::Error::last_os_error().raw_os_error() == Some(libc::EBADF) => Some(false),
        _ => None,
    }
}

/// One write(2) of the whole text, and no more if the file takes less.
pub fn write_once(fd: &impl AsRawFd, text: &[u8]) -> io::Result<usize> {
    // SAFETY: the buffer is valid for its length.
    let n = unsafe { libc::write(fd.as_raw_fd(), text.as_ptr().cast(), text.len()) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

/// Our standard error as a file that is not closed when dropped.
pub fn stderr() -> std::mem::ManuallyDrop<File> {
    // SAFETY: ManuallyDrop: fd 2 is borrowed, not owned.
    std::mem::ManuallyDrop::new(unsafe { File::from_raw_fd(2) })
}

/// Closes one descriptor that belongs to the process and to no Rust value: 0, 1, 2 as the caller left them.
pub fn close_standard(fd: RawFd) {
    if (0..=2).contains(&fd) {
        // SAFETY: the standard descriptors are owned by no Rust value of ours.
        unsafe { libc::close(fd) };
    }
}
