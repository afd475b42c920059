//! Becoming another program.

use super::args::Args;
use super::fd;
use std::ffi::{CStr, c_char};
use std::io;

/// The exit status where there is no such program, as shells have it.
pub const NOT_FOUND: i32 = 127;
/// The exit status where the program can't be executed.
const NOT_EXECUTABLE: i32 = 126;

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

/// The last words of a process that could not become the program, in its own place or in a child's.
pub fn refuse(program: &CStr, error: &io::Error) -> ! {
    say(&format!("agentsh: {}: {error}\n", program.to_string_lossy()));
    exit_now(if error.raw_os_error() == Some(libc::ENOENT) { NOT_FOUND } else { NOT_EXECUTABLE })
}

/// Says something on standard error, if there is one.
pub fn say(text: &str) {
    let _ = fd::write_once(&*fd::stderr(), text.as_bytes());
}

/// Ends the process at once: no destructors, no atexit handlers, no flushing.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(status) }
}
