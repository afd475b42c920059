//! Which of the signals that reach us are for the shell.
//!
//! To the caller we are the shell: what it sends to our pid is the shell's. But most signals reach the shell by
//! themselves, as it is in our process group: what a terminal sends, what kill(2) sends to the group. Passing those
//! on as well would run a trap twice, and programs take a second SIGTERM for impatience.

use crate::sys::process;
use crate::sys::signal::Received;
use std::fs;

/// What to do with a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// It isn't the shell's, or the shell has it already.
    Drop,
    /// It was sent to our pid alone.
    On,
    /// It was sent to our pid or to our group, which look the same from here.
    Ask,
}

/// What is known of the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// It is the shell, or something that the shell started.
    pub inside: bool,
    /// We lead our session, as agents' shells do: a terminal that hangs up tells the leader only.
    pub we_lead: bool,
}

/// Decides from the signal itself.
pub fn decide(signal: &Received, sender: Sender) -> Pass {
    match (signal.code, signal.signal) {
        // A terminal that hangs up tells only the session's leader, who the shell would have been.
        (libc::SI_KERNEL, libc::SIGHUP | libc::SIGCONT) if sender.we_lead => Pass::On,
        // What else a terminal sends goes to the whole foreground group.
        (
            libc::SI_KERNEL,
            libc::SIGHUP
            | libc::SIGCONT
            | libc::SIGINT
            | libc::SIGQUIT
            | libc::SIGTSTP
            | libc::SIGTTIN
            | libc::SIGTTOU
            | libc::SIGWINCH,
        ) => Pass::Drop,
        // Our own doing: writing the log or the message.
        (libc::SI_KERNEL, libc::SIGXFSZ | libc::SIGXCPU | libc::SIGPIPE) => Pass::Drop,
        // Timers that the caller set before it became us, and the like.
        (libc::SI_KERNEL, _) => Pass::On,
        // `kill 0` in the shell reached the shell too.
        _ if sender.inside => Pass::Drop,
        (libc::SI_USER, _) => Pass::Ask,
        // tgkill and sigqueue have no form for groups; timers and descriptors name a process or a group.
        _ => Pass::On,
    }
}

/// Is `pid` the shell or a descendant of it? A sender that has ended meanwhile is taken for an outsider.
pub fn is_inside(mut pid: i32, shell: i32) -> bool {
    let me = std::process::id() as i32;
    // Deeper trees than this exist, but not below a shell that kills its own group.
    for _ in 0..16 {
        if pid == shell {
            return true;
        }
        if pid <= 1 || pid == me {
            return false;
        }
        match parent_of(pid) {
            Some(parent) => pid = parent,
            None => return false,
        }
    }
    false
}

/// The parent of a process.
pub fn parent_of(pid: i32) -> Option<i32> {
    stat_field(pid, 1)?.parse().ok()
}

/// Is the process stopped by a signal (`t`: beneath strace)? None where /proc doesn't tell.
pub fn is_stopped(pid: i32) -> Option<bool> {
    stat_field(pid, 0).map(|state| state == "T" || state == "t")
}

/// Is there a /proc, and of our own PID namespace? In another one's our pids mean other processes.
pub fn proc_is_ours() -> bool {
    let me = fs::read_link("/proc/self").ok();
    me.and_then(|me| me.to_str()?.parse().ok()) == Some(std::process::id())
}

fn about(pid: i32, file: &str) -> Option<Vec<u8>> {
    if proc_is_ours() { fs::read(format!("/proc/{pid}/{file}")).ok() } else { None }
}

/// /proc/PID/stat from behind the name (which may hold anything): the state is field 0.
pub fn stat(pid: i32) -> Option<String> {
    let stat = about(pid, "stat")?;
    let behind = stat.iter().rposition(|&b| b == b')')? + 1;
    std::str::from_utf8(&stat[behind..]).ok().map(str::to_owned)
}

/// Is the process on its way out? It has let its files go before it can be waited for. (PF_EXITING of linux/sched.h.)
pub fn is_exiting(pid: i32) -> bool {
    const EXITING: u64 = 0x4;
    stat_field(pid, 6).and_then(|flags| flags.parse::<u64>().ok()).is_some_and(|flags| flags & EXITING != 0)
}

/// A field of that.
fn stat_field(pid: i32, n: usize) -> Option<String> {
    stat(pid)?.split_ascii_whitespace().nth(n).map(str::to_owned)
}

/// One of the signal masks in /proc/PID/status, signal N at bit N - 1.
pub fn mask_of(pid: i32, name: &str) -> Option<u64> {
    let status = about(pid, "status")?;
    // The process's name, in the first line, may hold anything.
    let status = String::from_utf8_lossy(&status);
    let line = status.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(":\t"))?;
    u64::from_str_radix(line, 16).ok()
}

/// Does /proc tell of masks at all? Not gVisor's, nor another PID namespace's.
pub fn shows_masks() -> bool {
    mask_of(std::process::id() as i32, "ShdPnd").is_some()
}

/// Does the mask have the signal?
pub fn has(mask: u64, signal: i32) -> bool {
    (1..=64).contains(&signal) && mask >> (signal - 1) & 1 == 1
}

/// Does a terminal send this to its whole foreground group, to do something about it?
pub fn is_typed(signal: &Received) -> bool {
    let typed = [libc::SIGHUP, libc::SIGCONT, libc::SIGINT, libc::SIGQUIT, libc::SIGTSTP, libc::SIGWINCH];
    signal.code == libc::SI_KERNEL && typed.contains(&signal.signal)
}

/// Sends it on to all in a group.
pub fn send_to_group(signal: &Received, group: i32) {
    process::kill(-group, signal.signal);
}

/// Sends it on, with its value if it had one.
pub fn send(signal: &Received, shell: i32) {
    if signal.code == libc::SI_QUEUE {
        process::queue(shell, signal.signal, signal.value);
    } else {
        process::kill(shell, signal.signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTSIDE: Sender = Sender { inside: false, we_lead: true };

    fn signal(signal: i32, code: i32) -> Received {
        Received { signal, code, pid: 1, value: 0 }
    }

    #[test]
    fn what_a_terminal_sends_has_reached_the_shell_already() {
        for number in [libc::SIGINT, libc::SIGQUIT, libc::SIGTSTP, libc::SIGWINCH] {
            assert_eq!(decide(&signal(number, libc::SI_KERNEL), OUTSIDE), Pass::Drop);
        }
    }

    #[test]
    fn a_hang_up_is_passed_on_by_the_session_leader_only() {
        let hup = signal(libc::SIGHUP, libc::SI_KERNEL);
        assert_eq!(decide(&hup, OUTSIDE), Pass::On);
        assert_eq!(decide(&hup, Sender { we_lead: false, ..OUTSIDE }), Pass::Drop);
    }

    #[test]
    fn a_kill_from_outside_needs_a_question_and_one_from_inside_none() {
        let term = signal(libc::SIGTERM, libc::SI_USER);
        assert_eq!(decide(&term, OUTSIDE), Pass::Ask);
        assert_eq!(decide(&term, Sender { inside: true, ..OUTSIDE }), Pass::Drop);
        assert_eq!(decide(&signal(libc::SIGUSR1, libc::SI_QUEUE), OUTSIDE), Pass::On);
        assert_eq!(decide(&signal(libc::SIGALRM, libc::SI_KERNEL), OUTSIDE), Pass::On);
    }

    #[test]
    fn who_has_ended_and_is_not_yet_waited_for_is_seen_to_be_on_its_way_out() {
        let mut child = std::process::Command::new("/bin/true").spawn().unwrap();
        let pid = child.id() as i32;
        let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !is_exiting(pid) && std::time::Instant::now() < end {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert!(is_exiting(pid));
        child.wait().unwrap();
        assert!(!is_exiting(pid), "nobody is there any more");
    }

    #[test]
    fn our_own_process_can_be_looked_at() {
        let me = std::process::id() as i32;
        assert_eq!(parent_of(me), Some(process::parent()));
        assert_eq!(is_stopped(me), Some(false));
        assert!(mask_of(me, "SigCgt").is_some());
        assert!(is_inside(me, me) && !is_inside(1, me));
        assert!(!is_exiting(me));
    }
}
