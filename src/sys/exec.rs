//! Becoming another program.

use super::args::Args;
use std::ffi::{CStr, c_char};
use std::io;

/// Becomes `program` with our own arguments and environment, untouched. Returns only if that failed.
pub fn exec(program: &CStr, args: &Args) -> io::Error {
    // SAFETY: argv and envp are the kernel's own null-terminated vectors.
    unsafe { libc::execve(program.as_ptr(), args.argv(), args.envp()) };
    io::Error::last_os_error()
}

/// The same with another argument vector.
pub fn exec_with(program: &CStr, argv: &[&CStr], args: &Args) -> io::Error {
    let mut pointers: Vec<*const c_char> = argv.iter().map(|a| a.as_ptr()).collect();
    pointers.push(std::ptr::null());
    // SAFETY: `pointers` is null-terminated and its strings outlive the call; envp is the kernel's own.
    unsafe { libc::execve(program.as_ptr(), pointers.as_ptr(), args.envp()) };
    io::Error::last_os_error()
}

/// Ends the process at once: no destructors, no atexit handlers, no flushing.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(status) }
}
