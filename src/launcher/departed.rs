//! A shell that has left our process group.
//!
//! bash executes its last command in its own place, and `timeout` makes a group of its own. Where we lead ours the shell would have
//! led it, and that would have changed nothing: what is sent to our group is meant for all in that one, a kill, too, and the
//! terminal that our group has is theirs.

use super::forward;
use crate::sys::{guardian, process};
use nix::fcntl::OFlag;
use nix::unistd::{Pid, getpgid, getpgrp, getpid, tcgetpgrp, tcsetpgrp};
use std::fs::{self, File, OpenOptions};
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
    has_left: bool,
    guardian: Option<i32>,
}

impl Departed {
    /// Looks whether the shell has left; if so, has a guardian hand on what kills our group, and gives the new group our terminal,
    /// which may be given to us later than we began.
    pub fn update(&mut self, shell: i32) {
        let Some(group) = group_of(shell) else { return };
        if !self.has_left {
            self.has_left = true;
            self.guardian = guardian::start(group);
        }
        self.give_terminal(shell);
    }

    /// We have been stopped and go on: so does the shell.
    pub fn go_on(&self, shell: i32) {
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
    fn give_terminal(&self, shell: i32) -> bool {
        let Some(terminal) = terminal() else { return false };
        if tcgetpgrp(&terminal) != Ok(getpgrp()) || self.others_are_in_our_group(shell) {
            return false;
        }
        let given = tcsetpgrp(&terminal, Pid::from_raw(shell)).is_ok();
        if given {
            process::kill(-shell, libc::SIGCONT);
        }
        given
    }

    /// Is anybody in our group but us, those of our own children who are, and what the shell has in the background?
    fn others_are_in_our_group(&self, shell: i32) -> bool {
        let (own, ours) = (getpid().as_raw(), getpgrp().as_raw());
        let family = [Some(own), Some(shell), self.guardian];
        let Ok(processes) = fs::read_dir("/proc") else { return true };
        processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()).any(|pid| {
            let stat = if pid == own { None } else { forward::stat(pid) };
            let field = |n| stat.as_ref()?.split_ascii_whitespace().nth(n)?.parse::<i32>().ok();
            field(2) == Some(ours) && !family.contains(&field(1))
        })
    }

    /// The shell has ended. The terminal is where it would be without us, and of a session that ends with us its group is told what
    /// the kernel tells the foreground one: that is ours then.
    pub fn dismiss(&mut self, shell: i32) {
        if !self.has_left {
            return;
        }
        if let Some(guardian) = self.guardian.take().filter(|&guardian| process::is_child(guardian)) {
            process::kill(guardian, libc::SIGTERM);
            process::wait_end(guardian);
        }
        let Some(terminal) = terminal().filter(|terminal| tcgetpgrp(terminal) == Ok(Pid::from_raw(shell)))
        else {
            return;
        };
        if tcsetpgrp(&terminal, getpgrp()).is_ok() && process::leads_session() {
            process::kill(-shell, libc::SIGHUP);
            process::kill(-shell, libc::SIGCONT);
        }
    }
}

/// Our session's terminal, if it has one. SIGTTOU is blocked, as all signals are: no group is stopped for setting another one.
fn terminal() -> Option<File> {
    let flags = OFlag::O_NOCTTY | OFlag::O_NONBLOCK;
    OpenOptions::new().read(true).write(true).custom_flags(flags.bits()).open("/dev/tty").ok()
}
