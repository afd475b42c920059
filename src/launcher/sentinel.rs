//! Telling a signal to our group from one to our pid, which carry the very same siginfo.
//!
//! A third member of the group, that only we know of, answers it: it blocks everything and sleeps. A signal to the
//! group is pending in it before it reaches us, as the kernel goes through a group from its newest member to its oldest
//! (kernel/signal.c, __kill_pgrp_info over a list that pid.c adds to at the front); a signal to our pid never is.
//! Only made where the shell (or what it became) catches a signal that is used for ending things: at once if the command
//! speaks of traps, else when it is seen to catch one. For all the others the question doesn't matter.
//!
//! Where /proc doesn't show masks (gVisor's doesn't, and another PID namespace's shows others' processes) it can't be seen to do so, nor
//! the sentinel what is pending in it. There it is always made, and dies of such a signal.

use super::forward;
use crate::sys::process::{self, Change};
use crate::sys::signal::Set;
use crate::sys::{guardian, spawn};
use std::time::Duration;

/// The signals that the question matters for: those that agents and people end commands with.
const ENDING: [i32; 6] =
    [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGUSR1, libc::SIGUSR2];
/// bash itself catches these two while it waits, and restores them: no sign of a trap.
const ALWAYS_CAUGHT: u64 = 1 << (libc::SIGINT - 1) | 1 << (libc::SIGCHLD - 1);
/// So often, after so long, is looked whether a sentinel has died of a signal that has just reached us.
const LOOKS: (u32, Duration) = (30, Duration::from_millis(1));

/// The sleeping process, if there is one.
pub struct Sentinel {
    pid: Option<i32>,
    /// By its end it answers.
    dies: bool,
    /// Its end, where it was waited for among the others.
    died_of: Option<i32>,
}

impl Sentinel {
    /// One for a command that has just been started.
    pub fn of(command: &[u8]) -> Sentinel {
        let mut sentinel = Sentinel { pid: None, dies: false, died_of: None };
        if command.windows(4).any(|word| word == b"trap") {
            sentinel.begin();
        }
        sentinel
    }

    fn begin(&mut self) {
        self.dies = !forward::shows_masks();
        let deadly = ENDING.into_iter().filter(|_| self.dies).fold(Set::none(), Set::with);
        self.died_of = None;
        self.pid = spawn::sleeper(deadly);
    }

    /// Makes one if the shell has begun to catch a signal that matters.
    pub fn update(&mut self, shell: i32) {
        if self
            .pid
            .is_some_and(|sleeper| !self.dies || process::is_child(sleeper) && !process::has_ended(sleeper))
        {
            return;
        }
        // One that has died unasked.
        self.dismiss();
        let matters = match forward::mask_of(shell, "SigCgt") {
            Some(caught) => ENDING.iter().any(|&signal| forward::has(caught & !ALWAYS_CAUGHT, signal)),
            None => !process::has_ended(shell),
        };
        if matters {
            self.begin();
        }
    }

    /// Was the signal that has just reached us sent to the whole group? None where nobody can tell.
    pub fn was_group(&mut self, signal: i32) -> Option<bool> {
        let sleeper = self.pid?;
        let was = if self.dies {
            // The others are taken for ours alone: better twice than never.
            ENDING.contains(&signal) && self.has_died_of(signal, sleeper)
        } else {
            forward::has(forward::mask_of(sleeper, "ShdPnd")?, signal)
        };
        if was || self.dies {
            // It can't be asked for the same signal twice; and one that dies may be about to.
            self.dismiss();
            self.begin();
        }
        Some(was)
    }

    fn has_died_of(&self, signal: i32, sleeper: i32) -> bool {
        (0..LOOKS.0).any(|look| {
            if look > 0 {
                std::thread::sleep(LOOKS.1);
            }
            self.died_of == Some(signal) || process::end_of(sleeper) == Some(Change::Killed(signal))
        })
    }

    /// A child has ended, and was waited for.
    pub fn heard(&mut self, pid: i32, change: Change) {
        if let (true, Change::Killed(signal)) = (self.pid == Some(pid), change) {
            self.died_of = Some(signal);
        }
    }

    /// Ends it.
    pub fn dismiss(&mut self) {
        if let Some(sleeper) = self.pid.take() {
            guardian::end(sleeper, libc::SIGKILL);
        }
    }
}
