//! Is what a call leaves behind to be feared?
//!
//! Nearly all of it is quiet: a server, started with `server >log 2>&1 &`. It gets no process of ours beside it. What may
//! become a fork bomb is told by what it is at the moment in which its shell has ended, when a bomb has hardly begun:
//! shells that were forked and have not become another program. `server &` is such a shell too, for less than a
//! millisecond, which is waited for. Any other young program is left alone if it has let go of the caller's output, as then
//! there will be a next call that deals with it; if not, the caller may be waiting for its end, and nobody else would come.
//!
//! The judgement is pure; [`fear`] looks.

use super::forward;
use crate::cgroup::claim::boottime;
use crate::cgroup::leaf::Leaf;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

/// What has lived for so long without spreading is no bomb.
const YOUNG: Duration = Duration::from_secs(3);
/// More processes than this are not looked at one by one.
const MANY: usize = 32;
/// A forked shell that is about to become a server does so within this time, on a very slow machine.
const PATIENCE: Duration = Duration::from_millis(50);
const BETWEEN: Duration = Duration::from_millis(1);
/// In /proc/PID/stat, on every architecture: USER_HZ.
const TICKS: u64 = 100;
/// PF_FORKNOEXEC (linux/sched.h): forked, and has not become another program.
const FORKED_ONLY: u64 = 0x40;

/// One process that lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// How long it has lived.
    pub age: Duration,
    /// Has it not become another program since it was forked?
    pub forked_only: bool,
    /// Is its output a pipe or a socket, whose reader may be waiting for its end?
    pub is_read: bool,
}

/// What is seen of a call's leaf when its shell has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// pids.current.
    pub tasks: u64,
    /// pids.max; none without a limit, or where nothing counts processes.
    pub limit: Option<u64>,
    /// How often a fork has been refused since the call began.
    pub refused: u64,
    /// Its processes; none if there are too many to look at each.
    pub processes: Option<Vec<Process>>,
}

/// Is it to be feared?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fear {
    /// It may be left alone.
    No,
    /// Another look will tell.
    Unsure,
    /// It must be watched.
    Yes,
}

/// Judges one look, and an earlier one if there was any.
pub fn judge(look: &Look, earlier: Option<&Look>) -> Fear {
    // What has no limit can't be told from a bomb, nor is there anything to hold it.
    let Some(limit) = look.limit else { return Fear::No };
    let Some(processes) = &look.processes else { return Fear::Yes };
    if look.refused > 0 || look.tasks >= limit / 2 {
        return Fear::Yes;
    }
    let young = || processes.iter().filter(|p| p.age < YOUNG);
    if !young().any(|p| p.forked_only) {
        return if young().any(|p| p.is_read) { Fear::Yes } else { Fear::No };
    }
    let count = |look: &Look| look.processes.as_ref().map_or(usize::MAX, Vec::len);
    if earlier.is_some_and(|earlier| count(look) > count(earlier)) { Fear::Yes } else { Fear::Unsure }
}

/// Looks at what lives on in a leaf, `refused` forks having failed in it; for [`PATIENCE`] at most.
pub fn fear(leaf: &Leaf, refused: u64) -> bool {
    let end = Instant::now() + PATIENCE;
    let first = look(leaf, refused);
    let mut fear = judge(&first, None);
    while fear == Fear::Unsure && Instant::now() < end {
        std::thread::sleep(BETWEEN);
        fear = judge(&look(leaf, refused), Some(&first));
    }
    fear != Fear::No
}

fn look(leaf: &Leaf, refused: u64) -> Look {
    let limit = leaf.limits.pids_max.map(u64::from);
    // Without the pids controller the limit is only a wish.
    let Ok(tasks) = leaf.dir.read_u64("pids.current") else { return Look::default() };
    Look { tasks, limit, refused, processes: processes(leaf) }
}

fn processes(leaf: &Leaf) -> Option<Vec<Process>> {
    let mut buf = [0; MANY * 8];
    // A threaded leaf doesn't tell; then the counts have to.
    let pids = leaf.dir.read("cgroup.procs", &mut buf).unwrap_or_default();
    if pids.len() == MANY * 8 || pids.iter().filter(|&&b| b == b'\n').count() > MANY {
        return None;
    }
    let pids = std::str::from_utf8(pids).unwrap_or_default().lines();
    // Whoever has ended since is nobody to look at.
    Some(pids.filter_map(|pid| process(pid.parse().ok()?)).collect())
}

fn process(pid: i32) -> Option<Process> {
    let stat = forward::stat(pid)?;
    let number = |n: usize| stat.split_ascii_whitespace().nth(n)?.parse::<u64>().ok();
    let begun = Duration::from_millis(number(19)?.saturating_mul(1000 / TICKS));
    let age = Duration::from_nanos(boottime()).saturating_sub(begun);
    let is_read = |fd: i32| {
        let file = std::fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap_or_default();
        let file = file.as_os_str().as_bytes();
        file.starts_with(b"pipe:") || file.starts_with(b"socket:")
    };
    Some(Process {
        age,
        forked_only: number(6)? & FORKED_ONLY != 0,
        is_read: age < YOUNG && (is_read(1) || is_read(2)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: Process = Process { age: Duration::from_millis(1), forked_only: false, is_read: false };
    const SUBSHELL: Process = Process { forked_only: true, ..SERVER };
    const OLD_SUBSHELL: Process = Process { age: Duration::from_secs(4), ..SUBSHELL };

    fn look(processes: &[Process]) -> Look {
        let tasks = processes.len() as u64;
        Look { tasks, limit: Some(150), refused: 0, processes: Some(processes.to_vec()) }
    }

    #[test]
    fn a_server_is_left_alone() {
        assert_eq!(judge(&look(&[SERVER]), None), Fear::No);
        assert_eq!(judge(&Look { tasks: 12, ..look(&[SERVER, SERVER]) }, None), Fear::No);
    }

    #[test]
    fn a_young_program_that_keeps_the_caller_waiting_is_watched() {
        let waited_for = Process { is_read: true, ..SERVER };
        assert_eq!(judge(&look(&[SERVER, waited_for]), None), Fear::Yes);
        assert_eq!(judge(&look(&[Process { age: YOUNG, ..waited_for }]), None), Fear::No);
        let not_yet = Process { is_read: true, ..SUBSHELL };
        assert_eq!(judge(&look(&[not_yet]), None), Fear::Unsure, "it may let go when it is the program");
    }

    #[test]
    fn a_forked_shell_is_looked_at_again_until_it_is_a_server_or_has_spread() {
        let first = look(&[SUBSHELL]);
        assert_eq!(judge(&first, None), Fear::Unsure);
        assert_eq!(judge(&first, Some(&first)), Fear::Unsure);
        assert_eq!(judge(&look(&[SERVER]), Some(&first)), Fear::No);
        assert_eq!(judge(&look(&[]), Some(&first)), Fear::No);
        assert_eq!(judge(&look(&[SUBSHELL, SUBSHELL]), Some(&first)), Fear::Yes);
    }

    #[test]
    fn a_loop_that_has_been_running_for_a_while_is_left_alone() {
        assert_eq!(judge(&look(&[OLD_SUBSHELL, SERVER]), None), Fear::No);
        assert_eq!(judge(&look(&[OLD_SUBSHELL, SUBSHELL]), None), Fear::Unsure);
    }

    #[test]
    fn refused_forks_and_many_processes_are_to_be_feared() {
        assert_eq!(judge(&Look { refused: 1, ..look(&[SERVER]) }, None), Fear::Yes);
        assert_eq!(judge(&Look { tasks: 75, ..look(&[SERVER]) }, None), Fear::Yes);
        assert_eq!(judge(&Look { processes: None, ..look(&[]) }, None), Fear::Yes);
    }

    #[test]
    fn without_a_limit_nothing_is_feared() {
        assert_eq!(judge(&Look { limit: None, refused: 1, ..look(&[SUBSHELL]) }, None), Fear::No);
        assert_eq!(judge(&Look::default(), None), Fear::No);
    }

    #[test]
    fn our_own_process_can_be_looked_at() {
        let me = process(std::process::id() as i32).unwrap();
        assert!(!me.forked_only && me.age < Duration::from_secs(3600), "{me:?}");
    }
}
