//! The scheduling class of sched_ext, which a thread can ask for.

use nix::errno::Errno;

/// include/uapi/linux/sched.h
const SCHED_EXT: libc::c_int = 7;

/// Puts the calling thread into it; `EINVAL` where the kernel hasn't got it.
pub fn enter() -> Result<(), Errno> {
    // SAFETY: all bytes zero is a valid sched_param: plain integers, and padding on some systems.
    let param: libc::sched_param = unsafe { std::mem::zeroed() };
    // SAFETY: pid 0 is the calling thread; the parameter is read during the call only, and lives longer.
    Errno::result(unsafe { libc::sched_setscheduler(0, SCHED_EXT, &raw const param) }).map(drop)
}
