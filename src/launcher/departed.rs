//! A shell that has left our process group.
//!
//! bash executes its last command in its own place, and `timeout` makes a group of its own. Where we lead ours the shell would have
//! led it, and that would have changed nothing: what is sent to our group is meant for all in that one, a kill, too, and the
//! terminal that our group has is theirs.

use crate::sys::{guardian, process};
use nix::fcntl::OFlag;
use nix::unistd::{Pid, getpgid, getpgrp, getpid, tcgetpgrp, tcsetpgrp};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;

/// The group that the shell leads now, if it was in ours and has left it.
pub fn group_of(shell: i32) -> Option<i32> {
    let ours = getpgrp();
    let its = getpgid(Some(Pid::from_raw(shell))).ok()?;
    (ours == getpid() && its != ours && its.as_raw() == shell).then_some(shell)
}

/// What was done about it.
#[derive(Default)]
pub struct Departed {
    group: Option<i32>,
    guardian: Option<i32>,
}

impl Departed {
    /// Looks whether the shell has left; if so, has a guardian hand on what kills our group, and gives the new group our terminal.
    pub fn update(&mut self, shell: i32) {
        if self.group.is_some() {
            return;
        }
        self.group = group_of(shell);
        if let Some(group) = self.group {
            self.guardian = guardian::start(group);
            self.give_terminal(group);
        }
    }

    /// We have been stopped and go on: so does the shell.
    pub fn go_on(&self, shell: i32) {
        match self.group {
            Some(group) if self.give_terminal(group) => {}
            Some(group) => drop(process::kill(-group, libc::SIGCONT)),
            None => drop(process::kill(shell, libc::SIGCONT)),
        }
    }

    /// Gives the terminal to the group, if ours has it. Whoever has asked for it before that was stopped.
    fn give_terminal(&self, group: i32) -> bool {
        let given = pass_terminal(getpgrp(), Pid::from_raw(group));
        if given {
            process::kill(-group, libc::SIGCONT);
        }
        given
    }

    /// The shell has ended. The terminal is where it would be without us; of a session that ends with us it stays with the group, as
    /// it is the foreground's group that the kernel then tells.
    pub fn dismiss(&mut self) {
        if let Some(guardian) = self.guardian.take() {
            process::kill(guardian, libc::SIGTERM);
            process::wait_end(guardian);
        }
        if let Some(group) = self.group.filter(|_| !process::leads_session()) {
            pass_terminal(Pid::from_raw(group), getpgrp());
        }
    }
}

/// Makes a group the foreground one, if another one is that; tells whether it was. SIGTTOU is blocked, as all signals are.
fn pass_terminal(from: Pid, to: Pid) -> bool {
    let Some(terminal) = terminal() else { return false };
    tcgetpgrp(&terminal) == Ok(from) && tcsetpgrp(&terminal, to).is_ok()
}

/// Our session's terminal, if it has one.
fn terminal() -> Option<File> {
    let flags = OFlag::O_NOCTTY | OFlag::O_NONBLOCK;
    OpenOptions::new().read(true).write(true).custom_flags(flags.bits()).open("/dev/tty").ok()
}
