//! Our own process, and waiting for the child.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// What has become of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It ended by exit with this status.
    Exited(i32),
    /// It died of this signal.
    Killed(i32),
    /// It was stopped by this signal.
    Stopped(i32),
    /// It goes on.
    Continued,
}

/// What a child (and the children that it waited for) used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// CPU time in user mode.
    pub user: Duration,
    /// CPU time in the kernel.
    pub system: Duration,
    /// The largest resident set of one process, in bytes.
    pub max_rss: u64,
}

/// The next change of a child (-1: of any), without waiting.
pub fn changed(pid: i32) -> Option<(i32, Change, Used)> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    let flags = libc::WNOHANG | libc::WUNTRACED | libc::WCONTINUED;
    // SAFETY: both pointers are valid; any bytes are a valid rusage.
    let (pid, usage) =
        unsafe { (libc::wait4(pid, &mut status, flags, usage.as_mut_ptr()), usage.assume_init()) };
    (pid > 0).then(|| (pid, decode(status), used(&usage)))
}

/// Has this child ended? It stays to be waited for.
pub fn has_ended(pid: i32) -> bool {
    end_of(pid).is_some()
}

/// Is it still a child of ours, that nobody has waited for? Its pid can't come to mean another process before that.
pub fn is_child(pid: i32) -> bool {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: a valid buffer.
    unsafe { libc::waitid(libc::P_PID, pid as libc::id_t, info.as_mut_ptr(), flags) == 0 }
}

/// How this child has ended, if it has. It stays to be waited for.
pub fn end_of(pid: i32) -> Option<Change> {
    peek(pid, libc::WEXITED)
}

/// Has this stopped child been continued or ended since? It stays to be waited for.
pub fn has_gone_on(pid: i32) -> bool {
    peek(pid, libc::WEXITED | libc::WCONTINUED).is_some()
}

fn peek(pid: i32, how: i32) -> Option<Change> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let flags = how | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: a valid buffer; zeroed is a valid siginfo, of no process.
    let (failed, info) = unsafe {
        (libc::waitid(libc::P_PID, pid as libc::id_t, info.as_mut_ptr(), flags), info.assume_init())
    };
    // SAFETY: waitid gives a SIGCHLD's siginfo, or leaves it zeroed.
    let (child, status) = unsafe { (info.si_pid(), info.si_status()) };
    match info.si_code {
        _ if failed != 0 || child == 0 => None,
        libc::CLD_EXITED => Some(Change::Exited(status)),
        libc::CLD_CONTINUED => Some(Change::Continued),
        _ => Some(Change::Killed(status)),
    }
}

/// Waits until the child has ended, whatever else happens to it meanwhile; none if it isn't ours.
pub fn wait_end(pid: i32) -> Option<(Change, Used)> {
    loop {
        let mut status = 0;
        let mut usage = MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: as in `changed`.
        let (n, usage) =
            unsafe { (libc::wait4(pid, &mut status, 0, usage.as_mut_ptr()), usage.assume_init()) };
        if n == pid {
            return Some((decode(status), used(&usage)));
        }
        if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return None;
        }
    }
}

fn decode(status: i32) -> Change {
    if libc::WIFEXITED(status) {
        Change::Exited(libc::WEXITSTATUS(status))
    } else if libc::WIFSIGNALED(status) {
        Change::Killed(libc::WTERMSIG(status))
    } else if libc::WIFSTOPPED(status) {
        Change::Stopped(libc::WSTOPSIG(status))
    } else {
        Change::Continued
    }
}

fn used(usage: &libc::rusage) -> Used {
    let time = |t: libc::timeval| {
        Duration::from_secs(t.tv_sec.max(0) as u64) + Duration::from_micros(t.tv_usec.max(0) as u64)
    };
    Used {
        user: time(usage.ru_utime),
        system: time(usage.ru_stime),
        max_rss: usage.ru_maxrss.max(0) as u64 * 1024,
    }
}

/// Sends a signal to a process; tells whether that was possible.
pub fn kill(pid: i32, signal: i32) -> bool {
    // SAFETY: kill takes numbers.
    unsafe { libc::kill(pid, signal) == 0 }
}

/// Sends a signal with its value, as sigqueue does.
pub fn queue(pid: i32, signal: i32, value: u64) -> bool {
    let value = libc::sigval { sival_ptr: value as *mut libc::c_void };
    // SAFETY: the value is passed on as bits and never followed.
    unsafe { libc::sigqueue(pid, signal, value) == 0 }
}

/// A descriptor that stands for this process, whoever gets its pid later; readable when it has ended.
pub fn pidfd(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open takes numbers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a fresh descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Ends the process that a pidfd stands for; tells whether that was possible.
pub fn kill_held(pidfd: impl AsFd) -> bool {
    let (fd, none) = (pidfd.as_fd().as_raw_fd(), std::ptr::null::<libc::siginfo_t>());
    // SAFETY: a valid descriptor, and no siginfo, as kill has none.
    unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, libc::SIGKILL, none, 0) == 0 }
}

/// Is this process the leader of its session?
pub fn leads_session() -> bool {
    // SAFETY: getsid(0) and getpid have no preconditions.
    unsafe { libc::getsid(0) == libc::getpid() }
}

/// The effective uid that we were started with: the launcher never changes its own.
pub fn euid() -> u32 {
    // SAFETY: no preconditions.
    unsafe { libc::getauxval(libc::AT_EUID) as u32 }
}

/// RLIMIT_NPROC, how many tasks our user may have; none if it is unlimited.
pub fn process_limit() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: a valid rlimit.
    unsafe { libc::getrlimit(libc::RLIMIT_NPROC, &mut limit) };
    (limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

/// Our parent.
pub fn parent() -> i32 {
    // SAFETY: no preconditions.
    unsafe { libc::getppid() }
}

/// Lets no core file be written of us. Not 0: that would still start a program named in core_pattern, while 1 is
/// the kernel's mark for "none at all" (fs/coredump.c).
pub fn forbid_core() {
    let limit = libc::rlimit { rlim_cur: 1, rlim_max: 1 };
    // SAFETY: a valid rlimit.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &limit) };
}

/// The timer slack of this process in ns; it is handed on through fork and exec.
pub fn timer_slack() -> u64 {
    // SAFETY: prctl with integer arguments.
    u64::try_from(unsafe { libc::prctl(libc::PR_GET_TIMERSLACK, 0, 0, 0, 0) }).unwrap_or(0)
}

/// Sets the timer slack in ns.
pub fn set_timer_slack(ns: u64) {
    // SAFETY: prctl with integer arguments.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, ns, 0, 0, 0) };
}

/// The CPU time that this process has used, with whatever it was before it became us.
pub fn cpu_time() -> Duration {
    let mut now = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: as below.
    let now = unsafe {
        libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, now.as_mut_ptr());
        now.assume_init()
    };
    Duration::new(now.tv_sec.max(0) as u64, u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// Nanoseconds since some moment in the past, never going back.
pub fn monotonic_ns() -> u64 {
    let mut now = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: a valid buffer; zeroed is valid even if the call should fail.
    let now = unsafe {
        libc::clock_gettime(libc::CLOCK_MONOTONIC, now.as_mut_ptr());
        now.assume_init()
    };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
