//! Ending all of a cgroup's processes where cgroup.kill isn't ours to write: one by one, until none is left.

use super::dir::Dir;
use crate::sys::process;
use nix::errno::Errno;
use std::time::{Duration, Instant};

/// What forks faster than that is left to its pids.max.
const LONGEST: Duration = Duration::from_secs(1);
const BETWEEN: Duration = Duration::from_millis(2);
/// So many processes are ended in one round.
const AT_ONCE: usize = 512;

/// Ends every process that it lists. `EPERM` if none of them may be signalled, `EAGAIN` if some are left after a second.
pub fn each(dir: &Dir) -> Result<(), Errno> {
    let end = Instant::now() + LONGEST;
    while Instant::now() < end {
        let pids = listed(dir)?;
        if pids.is_empty() {
            return Ok(());
        }
        let held: Vec<_> = pids.iter().filter_map(|&pid| Some((pid, process::pidfd(pid).ok()?))).collect();
        // Whoever had its number before it was held isn't listed any more.
        let still = listed(dir)?;
        let ended = held.iter().filter(|(pid, held)| still.contains(pid) && process::kill_held(held)).count();
        if ended == 0 && !held.is_empty() && still.iter().any(|pid| pids.contains(pid)) {
            return Err(Errno::EPERM);
        }
        std::thread::sleep(BETWEEN);
    }
    Err(Errno::EAGAIN)
}

/// The processes in it, as far as our PID namespace shows them.
pub(super) fn listed(dir: &Dir) -> Result<Vec<i32>, Errno> {
    let mut buf = [0; AT_ONCE * 8];
    let text = dir.read("cgroup.procs", &mut buf)?;
    // What is cut off at the end of the buffer may be the beginning of a number.
    let whole = text.iter().rposition(|&b| b == b'\n').map_or(0, |end| end + 1);
    let pids = std::str::from_utf8(&text[..whole]).unwrap_or_default().lines();
    // 0 is a process that our PID namespace doesn't show.
    Ok(pids.filter_map(|pid| pid.parse().ok()).filter(|&pid| pid > 0).collect())
}
