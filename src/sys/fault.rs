//! Faults of our own: a stack that is too small, a page of our file that can't be read, a bug that aborts, a system call
//! that a sandbox answers with SIGSYS. The command shall not die of them: they end in the [lifeboat](super::lifeboat).
//!
//! These signals stay unblocked in the launcher, as the kernel kills a process that blocks its own fault. So they also
//! arrive here when somebody sends them; then they are blocked and queued again, to be read from the signalfd like all
//! others. Whatever is executed later has the default actions back, as execve resets handlers.

use super::{exec, lifeboat, signal};
use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;

/// What a fault of a process raises in it; SIGTRAP is left to debuggers.
const FAULTS: [c_int; 6] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT, libc::SIGSYS];

/// A stack for the handler, for when our own is exhausted. The kernel puts the whole register state on it, which is 11 kB
/// on processors with AMX. Not touched, it takes no memory.
const STACK: usize = 64 << 10;

struct Stack(UnsafeCell<MaybeUninit<[u8; STACK]>>);

// SAFETY: only the kernel uses it, for one signal of our single thread at a time.
unsafe impl Sync for Stack {}

static HANDLER_STACK: Stack = Stack(UnsafeCell::new(MaybeUninit::uninit()));

/// Every signal but our own faults.
pub fn all_others() -> signal::Set {
    FAULTS.iter().fold(signal::Set::all(), |set, &fault| set.without(fault))
}

/// From now on a fault boards the lifeboat. A signal that the caller ignores stays ignored.
pub fn catch() {
    FAULTS.into_iter().for_each(handle);
    let stack = libc::stack_t { ss_sp: HANDLER_STACK.0.get().cast(), ss_flags: 0, ss_size: STACK };
    // SAFETY: a static stack of the size that is said. Without it the handler runs on our own stack.
    unsafe { libc::sigaltstack(&stack, std::ptr::null_mut()) };
}

fn handle(number: c_int) {
    // SAFETY: an all-zero sigaction is valid.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = on_fault as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESETHAND;
    // SAFETY: as above.
    let mut before: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: valid actions; the handler only makes system calls.
    unsafe { libc::sigaction(number, &action, &mut before) };
    if before.sa_sigaction == libc::SIG_IGN {
        // SAFETY: what the kernel has just told.
        unsafe { libc::sigaction(number, &before, std::ptr::null_mut()) };
    }
}

extern "C" fn on_fault(number: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel hands over a valid siginfo to a handler with SA_SIGINFO.
    let (code, sender) = unsafe { ((*info).si_code, (*info).si_pid()) };
    // abort() sends its signal by tgkill.
    let own = code > 0 || code == libc::SI_TKILL && sender == std::process::id() as i32;
    if own {
        lifeboat::board();
        exec::exit_now(128 + number);
    }
    // Before the signalfd there is no shell yet, and we die of it as the shell would: by SA_RESETHAND.
    if lifeboat::signals_are_blocked() {
        // SAFETY: the kernel hands over a valid context, and takes the mask from it when the handler returns.
        unsafe { libc::sigaddset(&raw mut (*context.cast::<libc::ucontext_t>()).uc_sigmask, number) };
    }
    // SAFETY: the siginfo is the kernel's own, which a process may send to itself again.
    unsafe { libc::syscall(libc::SYS_rt_sigqueueinfo, std::process::id(), number, info) };
}
