//! Whom a kill or a stop of our process group doesn't reach: processes of ours in sessions of their own.

use super::process::Change;
use super::signal::{self, Set};
use super::{exec, fd, lifeboat, process, spawn};
use std::time::Duration;

/// So often, after so long, is looked whether the group was killed: its members die one after the other, and late on a busy machine.
const LOOKS: (u32, Duration) = (400, Duration::from_millis(5));

/// Starts one for another process group: when we are killed with our whole group it kills that one. Two processes: the guardian,
/// and a member of our group, by whose end it tells a kill of the group from one of our pid alone. None if that isn't possible.
/// Every signal must be blocked; SIGTERM ends both.
pub fn start(group: i32) -> Option<i32> {
    let launcher = std::process::id() as i32;
    // SAFETY: a single-threaded process may do anything in the child of a fork.
    match unsafe { libc::fork() } {
        -1 => None,
        0 => {
            lifeboat::leave();
            watch(group, launcher)
        }
        pid => Some(pid),
    }
}

/// Has a process of ours do something beside us, with none of our files; it ends with us. None if that isn't possible.
pub fn beside(work: impl FnOnce()) -> Option<i32> {
    let launcher = std::process::id() as i32;
    // SAFETY: as above.
    match unsafe { libc::fork() } {
        -1 => None,
        0 => {
            lifeboat::leave();
            die_with_parent(libc::SIGKILL, launcher);
            // SAFETY: no preconditions.
            unsafe { libc::setsid() };
            fd::close_all_but(&mut []);
            work();
            exec::exit_now(0)
        }
        pid => Some(pid),
    }
}

/// Ends one of them, if it isn't gone already: as one of the call's orphans it may have been waited for.
pub fn end(pid: i32, signal: i32) {
    if process::is_child(pid) {
        process::kill(pid, signal);
        process::wait_end(pid);
    }
}

fn watch(group: i32, launcher: i32) -> ! {
    die_with_parent(libc::SIGHUP, launcher);
    let Some(member) = spawn::sleeper(Set::none()) else { exec::exit_now(0) };
    // Not only a group: a parent in the same session would make the member's group one that a terminal can stop.
    // SAFETY: no preconditions.
    unsafe { libc::setsid() };
    fd::close_all_but(&mut []);
    let ends = Set::one(libc::SIGHUP).with(libc::SIGTERM);
    // A hang-up is our parent's end, or somebody else's doing. Where waiting is refused nobody is guarded.
    let asked = loop {
        match signal::wait(ends) {
            Ok(_) if process::parent() != launcher => break false,
            Ok(Some(libc::SIGTERM)) | Err(_) => break true,
            Ok(_) => {}
        }
    };
    if !asked && was_killed(member) {
        process::kill(-group, libc::SIGKILL);
    }
    process::kill(member, libc::SIGKILL);
    process::wait_end(member);
    exec::exit_now(0)
}

/// Has it been killed, or is it about to die?
fn was_killed(member: i32) -> bool {
    for _ in 0..LOOKS.0 {
        if let Some(end) = process::end_of(member) {
            return end == Change::Killed(libc::SIGKILL);
        }
        std::thread::sleep(LOOKS.1);
    }
    false
}

/// Has the kernel send us a signal when our parent ends. Where it can't, or that has happened already, we end at once.
fn die_with_parent(signal: i32, parent: i32) {
    // SAFETY: prctl takes numbers.
    let refused = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal) } != 0;
    // Of a parent in another PID namespace it is 0.
    if refused || ![0, parent].contains(&process::parent()) {
        exec::exit_now(0);
    }
}
