//! What the caller has bound to this very process: a child in its place would not have it. So there the shell takes our place, or we
//! keep it.

use super::env::Env;
use super::identity::basename;
use crate::classify;
use crate::sys::fd;
use nix::unistd::{getpgrp, getpid};
use std::fs;
use std::os::fd::RawFd;

/// Of the standard descriptors nobody asks.
const STANDARD: i32 = 2;
/// Of a caller that leaves hundreds open, the first ones: a call isn't to wait for all of them.
const MOST_OPEN: usize = 256;

/// What it is, if anything, of what may be done in place with a line in the log.
pub fn reason(env: &Env, command: &[u8]) -> Option<&'static str> {
    if becomes_setsid(command) && getpgrp() == getpid() {
        Some("setsid leaves a group that it leads by a child that nobody waits for")
    } else if names_us(env) {
        Some("a service manager knows this process by its pid")
    } else {
        None
    }
}

/// Is setsid(1) what the shell becomes at last? Who leads a group can't make a session: it has a child do so and ends. In our group
/// the shell leads nothing, and would be waited for.
fn becomes_setsid(command: &[u8]) -> bool {
    const NAME: &[u8] = b"setsid";
    if !command.windows(NAME.len()).any(|part| part == NAME) {
        return false;
    }
    let words = classify::last(command).unwrap_or_default();
    let through = |word: &&Vec<u8>| {
        [&b"exec"[..], b"nohup", b"command", b"env"].contains(&&word[..]) || word.contains(&b'=')
    };
    let mut words = words.iter().skip_while(through);
    // Asked to fork, or to wait, it does in any place.
    let says_how = |word: &Vec<u8>| {
        [&b"--fork"[..], b"--wait"].contains(&&word[..])
            || (!word.starts_with(b"--") && (word.contains(&b'f') || word.contains(&b'w')))
    };
    words.next().is_some_and(|program| basename(program) == NAME)
        && !words.take_while(|word| word.starts_with(b"-")).any(says_how)
}

/// Is it us to whom a service manager has given its sockets (sd_listen_fds(3)), whom it watches (sd_watchdog_enabled(3)), or from
/// whom it waits for a word (sd_notify(3); systemd.exec(5) for the variables)?
fn names_us(env: &Env) -> bool {
    let notifies = env.systemd_exec_pid.filter(|_| env.notify_socket.is_some());
    let named = env.listen_pid.into_iter().chain(env.watchdog_pid).chain(notifies);
    let own = std::process::id();
    named.filter_map(|pid| std::str::from_utf8(pid).ok()?.parse::<u32>().ok()).any(|pid| pid == own)
}

/// The descriptors of files that the caller holds a lock of fcntl(2) on. It belongs to this process, outlives execve, and would go as
/// soon as we close any descriptor of the file.
pub fn locked() -> Vec<RawFd> {
    let Ok(open) = fs::read_dir("/proc/self/fd") else { return Vec::new() };
    open.flatten()
        .take(MOST_OPEN)
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|&number| number > STANDARD && is_file(number) && is_locked(number))
        .collect()
}

fn is_file(number: i32) -> bool {
    fd::kind(number).is_some_and(|(kind, _)| kind == libc::S_IFREG)
}

/// Only the locks of this very process are told there.
fn is_locked(number: i32) -> bool {
    fs::read_to_string(format!("/proc/self/fdinfo/{number}"))
        .is_ok_and(|text| text.lines().any(|line| line.starts_with("lock:") && line.contains("POSIX")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::{FcntlArg, fcntl};
    use std::os::fd::AsRawFd;

    #[test]
    fn a_lock_of_fcntl_is_seen_as_long_as_it_is_held() {
        let file = tempfile::tempfile().unwrap();
        let lock = |kind: i32| {
            let lock = libc::flock { l_type: kind as i16, l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 };
            fcntl(&file, FcntlArg::F_SETLK(&lock)).unwrap();
        };
        assert!(is_file(file.as_raw_fd()) && !is_locked(file.as_raw_fd()));
        lock(libc::F_WRLCK);
        assert!(is_locked(file.as_raw_fd()) && locked().contains(&file.as_raw_fd()));
        lock(libc::F_UNLCK);
        assert!(!is_locked(file.as_raw_fd()));
        assert!(!is_file(-1));
    }

    #[test]
    fn setsid_is_seen_where_the_shell_becomes_it() {
        for command in
            ["setsid server", "cd /x && exec setsid -c a -w\n", "a; env A=b /usr/bin/setsid b >log 2>&1"]
        {
            assert!(becomes_setsid(command.as_bytes()), "{command}");
        }
        for command in [
            "setsid server &",
            "setsid a; b",
            "echo setsid",
            "",
            "a | setsid b",
            "setsid -cw make",
            "setsid --fork a",
        ] {
            assert!(!becomes_setsid(command.as_bytes()), "{command}");
        }
    }

    #[test]
    fn a_pid_that_is_ours_binds_and_another_one_does_not() {
        let own: &'static str = std::process::id().to_string().leak();
        let named = |pid: &'static str| names_us(&Env { listen_pid: Some(pid.as_bytes()), ..Env::default() });
        assert!(named(own));
        assert!(!named("1") && !named("") && !named("x") && !names_us(&Env::default()));
    }
}
