//! A shell that has left our process group.
//!
//! bash executes its last command in its own place, and `timeout` makes a group of its own. Where we lead ours the shell would have
//! led it, and that would have changed nothing: what is sent to our group is meant for all in that one, a kill, too, and the
//! terminal that our group has is theirs.

use super::forward;
use crate::sys::{guardian, process};
use nix::fcntl::OFlag;
use nix::unistd::{Pid, getpgid, getpgrp, getpid, getsid, tcgetpgrp, tcsetpgrp};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;

/// The group that the shell leads now, if it was in ours and has left it.
pub fn group_of(shell: i32) -> Option<i32> {
    let ours = getpgrp();
    let its = getpgid(Some(Pid::from_raw(shell))).ok()?;
    (ours == getpid() && its != ours && its.as_raw() == shell).then_some(shell)
}

/// So often is looked whether somebody has come into our group after the terminal was given away: a pipeline is made in a moment.
const LOOKS_BACK: u32 = 20;

/// What was done about it.
#[derive(Default)]
pub struct Departed {
    has_left: bool,
    guardian: Option<i32>,
    /// How often has been looked since the terminal was given to the shell's group; none while it isn't.
    given: Option<u32>,
}

impl Departed {
    /// Looks whether the shell has left; if so, has a guardian hand on what kills our group, and gives the new group our terminal,
    /// which may be given to us later than we began.
    pub fn update(&mut self, shell: i32) {
        let Some(group) = group_of(shell) else { return };
        if !self.has_left {
            self.has_left = true;
            // In a session of its own it would be spared.
            let (its, ours) = (getsid(Some(Pid::from_raw(shell))), getsid(None));
            self.guardian = if its == ours { guardian::start(group) } else { None };
        }
        self.give_terminal(shell);
        if let Some(looks) = self.given.as_mut().filter(|looks| **looks < LOOKS_BACK) {
            *looks += 1;
            if self.others_are_in_our_group(shell) {
                self.take_terminal(shell);
            }
        }
    }

    /// We have been stopped and go on: so does the shell.
    pub fn go_on(&mut self, shell: i32) {
        let Some(group) = group_of(shell) else {
            process::kill(shell, libc::SIGCONT);
            return;
        };
        if !self.give_terminal(shell) {
            process::kill(-group, libc::SIGCONT);
        }
    }

    /// Gives the terminal to the shell's group, if ours has it and nobody else is in ours who may want it: who is in a pipeline with
    /// us, for instance. Whoever has asked for it before that was stopped, and goes on.
    fn give_terminal(&mut self, shell: i32) -> bool {
        let Some(terminal) = terminal() else { return false };
        if tcgetpgrp(&terminal) != Ok(getpgrp()) || self.others_are_in_our_group(shell) {
            return false;
        }
        let given = tcsetpgrp(&terminal, Pid::from_raw(shell)).is_ok();
        if given {
            self.given = Some(0);
            process::kill(-shell, libc::SIGCONT);
        }
        given
    }

    /// Takes it back, if the shell's group has it; tells whether it had.
    fn take_terminal(&mut self, shell: i32) -> bool {
        self.given = None;
        let of_shell = |terminal: &File| tcgetpgrp(terminal) == Ok(Pid::from_raw(shell));
        let taken =
            terminal().filter(of_shell).is_some_and(|terminal| tcsetpgrp(&terminal, getpgrp()).is_ok());
        if taken {
            process::kill(-getpgrp().as_raw(), libc::SIGCONT);
        }
        taken
    }

    /// Is anybody in our group but us, our own children, and what the shell has in the background? As far as can be seen.
    fn others_are_in_our_group(&self, shell: i32) -> bool {
        // All that are in a session which we lead have come from us.
        if process::leads_session() {
            return false;
        }
        let (own, ours) = (getpid().as_raw(), getpgrp().as_raw());
        let family = [Some(own), self.guardian];
        // Where others' processes are hidden.
        let (Ok(processes), Some(_)) = (fs::read_dir("/proc"), forward::stat(1)) else { return true };
        processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()).any(|pid| {
            let stat = if pid == own { None } else { forward::stat(pid) };
            let field = |n| stat.as_ref()?.split_ascii_whitespace().nth(n)?.parse::<i32>().ok();
            field(2) == Some(ours) && !family.contains(&field(1)) && !forward::is_inside(pid, shell)
        })
    }

    /// The shell has ended. The terminal is where it would be without us, and of a session that ends with us both groups are told
    /// what the kernel tells the foreground one, which is only one of them.
    pub fn dismiss(&mut self, shell: i32) {
        if let Some(guardian) = self.guardian.take() {
            guardian::end(guardian, libc::SIGTERM);
        }
        if self.given.is_none() {
            return;
        }
        let untold = if self.take_terminal(shell) { shell } else { getpgrp().as_raw() };
        if process::leads_session() {
            process::kill(-untold, libc::SIGHUP);
            process::kill(-untold, libc::SIGCONT);
        }
    }
}

/// Our session's terminal, if it has one. SIGTTOU is blocked, as all signals are: no group is stopped for setting another one.
fn terminal() -> Option<File> {
    let flags = OFlag::O_NOCTTY | OFlag::O_NONBLOCK;
    OpenOptions::new().read(true).write(true).custom_flags(flags.bits()).open("/dev/tty").ok()
}
