//! Programs of ours that run beside the command: nobody waits for them but we, and we not for long.

use super::args::Args;
use super::process::{self, Change};
use super::{exec, fd, lifeboat, signal};
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// After so many seconds such a program is ended by SIGALRM: one that hangs must not pile up, call by call.
const LIFETIME: u32 = 10;

/// Runs a program with our environment, but with none of the caller's files, session and signals, so that nobody waits for
/// it or hits it. Tells whether it ended by exit within the time; if not it goes on by itself, and is no child of ours: the
/// shell that we may become would meet a stranger among its own.
pub fn run(command: &[CString], args: &Args, time: Duration) -> io::Result<bool> {
    let argv: Vec<&CStr> = command.iter().map(|a| a.as_c_str()).collect();
    let Some(&program) = argv.first() else { return Err(io::ErrorKind::InvalidInput.into()) };
    // SAFETY: a single-threaded process may do anything in the child of a fork.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            lifeboat::leave();
            between(program, &argv, args)
        }
        pid => Ok(wait(pid, time)),
    }
}

/// Goes on in a process of its own, which nobody waits for: in a session of its own, at `/`, with no files but those in
/// `keep`, open to signals but for those that writing can raise, and ended after so many seconds whatever it does. Who
/// looks for the caller's command line doesn't find it. False if no process could be had.
pub fn detach(keep: &mut [RawFd], name: &CStr, args: &Args, lifetime: Duration, work: impl FnOnce()) -> bool {
    // SAFETY: a single-threaded process may do anything in the child of a fork.
    match unsafe { libc::fork() } {
        -1 => return false,
        0 => {}
        // Only the process in between is a child of ours: the caller must not find a stranger among its own.
        pid => return matches!(process::wait_end(pid), Some((Change::Exited(0), _))),
    }
    lifeboat::leave();
    fd::close_all_but(keep);
    signal::set_default(libc::SIGCHLD);
    // SAFETY: constant paths and numbers only; as above for fork.
    let pid = unsafe {
        libc::setsid();
        libc::fork()
    };
    if pid != 0 {
        exec::exit_now(i32::from(pid < 0));
    }
    for number in [libc::SIGALRM, libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        signal::set_default(number);
    }
    // SAFETY: a constant path; alarm takes a number.
    unsafe {
        libc::alarm(u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX));
        libc::chdir(c"/".as_ptr());
        libc::prctl(libc::PR_SET_NAME, name.as_ptr());
    }
    args.overwrite(name);
    let raised_by_writing = [libc::SIGPIPE, libc::SIGXFSZ, libc::SIGTTOU];
    let mask = raised_by_writing.iter().fold(signal::Set::none(), |set, &s| set.with(s));
    signal::set_mask(mask);
    let _ = catch_unwind(AssertUnwindSafe(work));
    exec::exit_now(0)
}

/// The process in between: it waits for the program, and can be ended without harm to it.
fn between(program: &CStr, argv: &[&CStr], args: &Args) -> ! {
    fd::close_all_but(&mut []);
    signal::set_default(libc::SIGCHLD);
    // SAFETY: constant paths and numbers only; as above for fork. The lowest free descriptors are 0, 1 and 2, as all are
    // closed.
    let pid = unsafe {
        for _ in 0..3 {
            libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
        }
        libc::setsid();
        libc::fork()
    };
    match pid {
        -1 => {}
        0 => {
            signal::set_default(libc::SIGALRM);
            signal::set_mask(signal::Set::none());
            // SAFETY: alarm takes a number; the timer outlives execve.
            unsafe { libc::alarm(LIFETIME) };
            exec::exec_with(program, argv, args);
        }
        pid => {
            if let Some((Change::Exited(status), _)) = process::wait_end(pid) {
                exec::exit_now(status);
            }
        }
    }
    exec::exit_now(127)
}

/// Waits for the process in between, and ends it when the time is over. Where the caller ignores SIGCHLD the kernel keeps no
/// status, so any end counts.
fn wait(pid: i32, time: Duration) -> bool {
    const STEP: Duration = Duration::from_millis(1);
    let end = Instant::now() + time;
    loop {
        // SAFETY: a null status is allowed.
        match unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG) } {
            0 if Instant::now() < end => std::thread::sleep(STEP),
            0 => {
                process::kill(pid, libc::SIGKILL);
                process::wait_end(pid);
                return false;
            }
            _ => return true,
        }
    }
}
