//! Whom the kernel's OOM killer takes first. It takes the biggest, and where sessions share memory the biggest is often the one
//! that matters most; so what runs in a session of low priority says of itself that it may go first.

use super::dir::Dir;
use super::kill;

/// The highest oom_score_adj there is: goes before all that has a lower one, however big (Kubernetes gives it to pods that have
/// asked for nothing).
const FIRST: &str = "1000";
/// What is forked meanwhile has its parent's, which may not have been written yet.
const ROUNDS: u32 = 8;

/// Has all processes of a leaf, and those that they will start, go first. Who may not be written stays as it is.
pub fn goes_first(leaf: &Dir) {
    let mut known = Vec::new();
    for _ in 0..ROUNDS {
        let now = kill::listed(leaf).unwrap_or_default();
        let fresh: Vec<_> = now.into_iter().filter(|pid| !known.contains(pid)).collect();
        if fresh.is_empty() {
            return;
        }
        for pid in &fresh {
            let _ = std::fs::write(format!("/proc/{pid}/oom_score_adj"), FIRST);
        }
        known.extend(fresh);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::process::Command;

    #[test]
    fn a_listed_process_goes_first_and_one_that_has_ended_is_passed_over() {
        let tmp = tempfile::tempdir().unwrap();
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let score = format!("/proc/{}/oom_score_adj", child.id());
        fs::write(tmp.path().join("cgroup.procs"), format!("{}\n4194305\n", child.id())).unwrap();
        goes_first(&Dir::open_anywhere(tmp.path()).unwrap());
        let said = fs::read_to_string(score).unwrap();
        let _ = child.kill().and_then(|()| child.wait().map(drop));
        assert_eq!(said.trim(), FIRST);
    }
}
