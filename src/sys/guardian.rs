//! Whom a SIGKILL to our process group doesn't reach: a process in a session of its own, that hands it on.

use super::{fd, lifeboat, process, signal};
use std::time::Duration;

/// So often, after so long, is looked whether the group was killed: its members die one after the other.
const LOOKS: (u32, Duration) = (20, Duration::from_millis(5));

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

fn watch(group: i32, launcher: i32) -> ! {
    die_with_parent(libc::SIGHUP, launcher);
    let guardian = std::process::id() as i32;
    // SAFETY: as above.
    let member = match unsafe { libc::fork() } {
        0 => {
            die_with_parent(libc::SIGKILL, guardian);
            fd::close_all_but(&mut []);
            loop {
                signal::wait(signal::Set::none());
            }
        }
        member => member,
    };
    // Not only a group: a parent in the same session would make the member's group one that a terminal can stop.
    // SAFETY: no preconditions.
    unsafe { libc::setsid() };
    fd::close_all_but(&mut []);
    let ends = signal::Set::one(libc::SIGHUP).with(libc::SIGTERM);
    // A hang-up is our parent's end, or somebody else's doing.
    while member > 0 && signal::wait(ends) != Some(libc::SIGTERM) && process::parent() == launcher {}
    if member > 0 {
        if process::parent() != launcher && died(member) {
            process::kill(-group, libc::SIGKILL);
        }
        process::kill(member, libc::SIGKILL);
        process::wait_end(member);
    }
    super::exec::exit_now(0)
}

/// Has it been killed, or is it about to die?
fn died(member: i32) -> bool {
    (0..LOOKS.0).any(|_| {
        let ended = process::has_ended(member);
        if !ended {
            std::thread::sleep(LOOKS.1);
        }
        ended
    })
}

/// Has the kernel send us a signal when our parent ends.
fn die_with_parent(signal: i32, parent: i32) {
    // SAFETY: prctl takes numbers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal) };
    // Behind `unshare -p` our parent is 0.
    if ![0, parent].contains(&process::parent()) {
        super::exec::exit_now(0);
    }
}
