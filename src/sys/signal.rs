//! Signals: blocked for good in the launcher and read from a signalfd, so that no handler ever runs and every
//! disposition reaches the shell as the caller left it.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// A set of signals as the kernel has it: signal N at bit N - 1. The C library's own functions would leave its two
/// internal signals out, and hand the caller's mask on without them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Set(u64);

impl Set {
    /// Every signal.
    pub const fn all() -> Set {
        Set(u64::MAX)
    }

    /// No signal.
    pub const fn none() -> Set {
        Set(0)
    }

    /// Just one signal.
    pub const fn one(signal: i32) -> Set {
        Set(if signal >= 1 && signal <= 64 { 1 << (signal - 1) } else { 0 })
    }

    /// The same set without a signal.
    pub const fn without(self, signal: i32) -> Set {
        Set(self.0 & !Set::one(signal).0)
    }

    /// The same set with a signal.
    pub const fn with(self, signal: i32) -> Set {
        Set(self.0 | Set::one(signal).0)
    }

    /// Does it have the signal?
    pub const fn has(self, signal: i32) -> bool {
        self.0 & Set::one(signal).0 != 0
    }
}

fn mask(how: i32, set: Set) -> Set {
    let mut old = 0u64;
    // SAFETY: both sets are as large as said; `how` is one of the three constants below.
    unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, how, &raw const set.0, &raw mut old, size_of::<u64>());
    }
    Set(old)
}

/// Blocks the set's signals too; gives the mask as it was.
pub fn block(set: Set) -> Set {
    mask(libc::SIG_BLOCK, set)
}

/// Makes the set the mask.
pub fn set_mask(set: Set) {
    mask(libc::SIG_SETMASK, set);
}

/// Lets the set's signals through.
pub fn unblock(set: Set) {
    mask(libc::SIG_UNBLOCK, set);
}

fn disposition(signal: i32, new: Option<libc::sighandler_t>) -> libc::sighandler_t {
    let mut old = MaybeUninit::<libc::sigaction>::zeroed();
    let action = new.map(|handler| {
        // SAFETY: an all-zero sigaction is valid: default handler, no flags, empty mask.
        let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
        action.sa_sigaction = handler;
        action
    });
    let pointer = action.as_ref().map_or(std::ptr::null(), |a| a as *const libc::sigaction);
    // SAFETY: both pointers are null or valid; only SIG_DFL and SIG_IGN are ever installed.
    unsafe { libc::sigaction(signal, pointer, old.as_mut_ptr()) };
    // SAFETY: zeroed is a valid value even where sigaction failed.
    unsafe { old.assume_init() }.sa_sigaction
}

/// Gives the signal its default action; tells whether it was ignored.
pub fn set_default(signal: i32) -> bool {
    disposition(signal, Some(libc::SIG_DFL)) == libc::SIG_IGN
}

/// Ignores the signal.
pub fn set_ignored(signal: i32) {
    disposition(signal, Some(libc::SIG_IGN));
}

/// What a signalfd tells of a signal.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// Its number.
    pub signal: i32,
    /// Who sent it and how: `SI_USER`, `SI_KERNEL`, `SI_QUEUE` …
    pub code: i32,
    /// The sender's pid where there is one.
    pub pid: u32,
    /// The value that sigqueue sent along.
    pub value: u64,
}

/// Reads blocked signals as data.
pub struct Stream(OwnedFd);

impl Stream {
    /// A stream of the signals in the set, which must be blocked.
    pub fn new(set: Set) -> io::Result<Stream> {
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        // SAFETY: a new signalfd; the set is as large as said.
        let fd = unsafe { libc::syscall(libc::SYS_signalfd4, -1, &raw const set.0, size_of::<u64>(), flags) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a fresh descriptor that nobody else owns.
        Ok(Stream(unsafe { OwnedFd::from_raw_fd(fd as RawFd) }))
    }

    /// The next signal, if one is waiting.
    pub fn next(&self) -> Option<Received> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::zeroed();
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the buffer is as large as said, and any bytes are a valid value of the plain C struct.
        let (n, info) =
            unsafe { (libc::read(self.0.as_raw_fd(), info.as_mut_ptr().cast(), size), info.assume_init()) };
        (n == size as isize).then_some(Received {
            signal: info.ssi_signo as i32,
            code: info.ssi_code,
            pid: info.ssi_pid,
            value: info.ssi_ptr,
        })
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Takes a blocked signal off, if it is pending.
pub fn take(signal: i32) {
    let (set, now) = (Set::one(signal), libc::timespec { tv_sec: 0, tv_nsec: 0 });
    let nothing = std::ptr::null_mut::<libc::siginfo_t>();
    // SAFETY: the set and the time are valid, nothing is written through the null pointer.
    unsafe {
        libc::syscall(libc::SYS_rt_sigtimedwait, &raw const set.0, nothing, &raw const now, size_of::<u64>())
    };
}

/// Waits for one of the set's signals, which must be blocked, and takes it off. None if something else ended the wait; an error
/// where a seccomp filter refuses it.
pub fn wait(set: Set) -> io::Result<Option<i32>> {
    let (nothing, no_end) = (std::ptr::null_mut::<libc::siginfo_t>(), std::ptr::null::<libc::timespec>());
    // SAFETY: the set is valid, and nothing is written or read through the null pointers.
    let signal = unsafe {
        libc::syscall(libc::SYS_rt_sigtimedwait, &raw const set.0, nothing, no_end, size_of::<u64>())
    };
    if signal > 0 {
        return Ok(i32::try_from(signal).ok());
    }
    let error = io::Error::last_os_error();
    if error.kind() == io::ErrorKind::Interrupted { Ok(None) } else { Err(error) }
}

/// Sends ourselves the signal with its default action and lets it in. Returns if that didn't end us: we were
/// stopped and have been continued, or the signal is one that does nothing.
pub fn raise_default(signal: i32) {
    let ignored = set_default(signal);
    // SAFETY: raise has no memory preconditions.
    unsafe { libc::raise(signal) };
    unblock(Set::one(signal));
    block(Set::one(signal));
    if ignored {
        set_ignored(signal);
    }
}
