//! All cgroups of a container, however many it has made and however deep. Only those on the way to the one at hand are open: there
//! may be more of them than descriptors.

use super::find;
use crate::cgroup::dir::Dir;
use anyhow::{Result, anyhow};
use nix::errno::Errno;

/// So far down: further than as many as attach allows by the built-in policy can lie within one another.
const DEEPEST: usize = 2048;
/// One for each level, and some more.
pub const DESCRIPTORS: u64 = 2 * DEEPEST as u64;

/// Why a step failed: as the kernel said it, by which it is known whether another try helps, and in words.
pub type Failed = (Errno, anyhow::Error);

/// For `?` on what the kernel answers about a cgroup.
pub fn failed(dir: &Dir) -> impl FnOnce(Errno) -> Failed {
    let path = dir.path().display().to_string();
    move |errno| (errno, anyhow!("{path}: {}", errno.desc()))
}

/// Sees to each cgroup below this one, the deepest first. What goes meanwhile is passed over.
pub fn see(dir: &Dir, each: &mut impl FnMut(&Dir) -> Result<(), Failed>) -> Result<(), Failed> {
    see_to(dir, DEEPEST, each)
}

fn see_to(dir: &Dir, depth: usize, each: &mut impl FnMut(&Dir) -> Result<(), Failed>) -> Result<(), Failed> {
    for name in names(dir)? {
        let child = match dir.child(&name) {
            Err(Errno::ENOENT | Errno::ENODEV) => continue,
            other => other.map_err(failed(dir))?,
        };
        if depth > 0 {
            see_to(&child, depth - 1, each)?;
        }
        each(&child)?;
    }
    Ok(())
}

/// The processes in a cgroup and all below it. What comes and goes is looked at as far as it is there.
pub fn processes(dir: &Dir) -> Result<Vec<i32>> {
    let mut pids = find::listed(dir).unwrap_or_default();
    let mut add = |dir: &Dir| {
        pids.extend(find::listed(dir).unwrap_or_default());
        Ok(())
    };
    see(dir, &mut add).map_err(|(_, error)| error)?;
    Ok(pids)
}

/// Removes a cgroup and all below it, as far as nobody is in there. Is any of it left?
pub fn remove(above: &Dir, name: &str) -> bool {
    remove_down(above, name, DEEPEST)
}

fn remove_down(above: &Dir, name: &str, depth: usize) -> bool {
    if let Ok(dir) = above.child(name)
        && depth > 0
    {
        for name in names(&dir).unwrap_or_default() {
            remove_down(&dir, &name, depth - 1);
        }
    }
    !matches!(above.remove_child(name), Ok(()) | Err(Errno::ENOENT))
}

/// The names of a cgroup's children: none if it is gone.
fn names(dir: &Dir) -> Result<Vec<String>, Failed> {
    match dir.children(usize::MAX) {
        Err(Errno::ENOENT | Errno::ENODEV) => Ok(Vec::new()),
        other => other.map_err(failed(dir)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_deepest_are_first_seen_to_and_all_are_removed() {
        let tmp = tempfile::tempdir().unwrap();
        let base = Dir::open_anywhere(tmp.path()).unwrap();
        for path in ["calls/a/b/c", "calls/d"] {
            fs::create_dir_all(tmp.path().join(path)).unwrap();
        }
        let calls = base.child("calls").unwrap();
        let mut seen = Vec::new();
        see(&calls, &mut |dir| {
            seen.push(dir.name().to_owned());
            Ok(())
        })
        .unwrap();
        seen.retain(|name| name != "d");
        assert_eq!(seen, ["c", "b", "a"]);
        assert!(!remove(&base, "calls") && !tmp.path().join("calls").exists());
        assert!(!remove(&base, "calls"), "what isn't there isn't left");
    }

    #[test]
    fn processes_are_found_on_each_level() {
        let tmp = tempfile::tempdir().unwrap();
        let base = Dir::open_anywhere(tmp.path()).unwrap();
        fs::create_dir_all(tmp.path().join("agent/x")).unwrap();
        for (path, pids) in [("", "1\n2\n"), ("agent", ""), ("agent/x", "3\n")] {
            fs::write(tmp.path().join(path).join("cgroup.procs"), pids).unwrap();
        }
        assert_eq!(processes(&base).unwrap(), [1, 2, 3]);
    }
}
