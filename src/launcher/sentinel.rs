//! Telling a signal to our group from one to our pid, which carry the very same siginfo.
//!
//! A third member of the group, that only we know of, answers it: it blocks everything and sleeps. A signal to the
//! group is pending in it before it reaches us, as the kernel goes through a group from its newest member to its oldest
//! (kernel/signal.c, __kill_pgrp_info over a list that pid.c adds to at the front); a signal to our pid never is.
//! Only made where the shell (or what it became) catches a signal that is used for ending things: at once if the command
//! speaks of traps, else when it is seen to catch one. For all the others the question doesn't matter.

use super::forward;
use crate::sys::{guardian, spawn};

/// The signals that the question matters for: those that agents and people end commands with.
const ENDING: [i32; 6] =
    [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGUSR1, libc::SIGUSR2];
/// bash itself catches these two while it waits, and restores them: no sign of a trap.
const ALWAYS_CAUGHT: u64 = 1 << (libc::SIGINT - 1) | 1 << (libc::SIGCHLD - 1);

/// The sleeping process, if there is one.
pub struct Sentinel(Option<i32>);

impl Sentinel {
    /// One for a command that has just been started.
    pub fn of(command: &[u8]) -> Sentinel {
        let traps = command.windows(4).any(|word| word == b"trap");
        Sentinel(traps.then(spawn::sleeper).flatten())
    }

    /// Makes one if the shell has begun to catch a signal that matters.
    pub fn update(&mut self, shell: i32) {
        if self.0.is_some() {
            return;
        }
        let caught = forward::mask_of(shell, "SigCgt").unwrap_or(0) & !ALWAYS_CAUGHT;
        if ENDING.iter().any(|&signal| forward::has(caught, signal)) {
            self.0 = spawn::sleeper();
        }
    }

    /// Was the signal that has just reached us sent to the whole group? None where nobody can tell.
    pub fn was_group(&mut self, signal: i32) -> Option<bool> {
        let sleeper = self.0?;
        let pending = forward::mask_of(sleeper, "ShdPnd")?;
        if forward::has(pending, signal) {
            // It can't be asked for the same signal twice.
            self.dismiss();
            self.0 = spawn::sleeper();
        }
        Some(forward::has(pending, signal))
    }

    /// Ends it.
    pub fn dismiss(&mut self) {
        if let Some(sleeper) = self.0.take() {
            guardian::end(sleeper, libc::SIGKILL);
        }
    }
}
