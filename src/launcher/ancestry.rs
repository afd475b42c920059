//! Being inside of a call where no cgroup says so: in degraded mode a script's own shells must not be taken for calls
//! of the agent. No variable marks them, as none is ever added to the environment; but one of their ancestors is the
//! launcher that waits for the call.

use super::forward::{parent_of, proc_is_ours};
use crate::sys::process;
use std::fs;
use std::os::unix::fs::MetadataExt;

/// Deeper nests of shells are taken for calls of their own: they are logged, and nothing else comes of it.
const LEVELS: usize = 24;

/// Is one of our ancestors a waiting launcher?
#[cold]
pub fn inside_a_call() -> bool {
    if !proc_is_ours() {
        return false;
    }
    let Some(own) = file_of("self") else { return false };
    let mut pid = process::parent();
    for _ in 0..LEVELS {
        if pid <= 1 {
            return false;
        }
        // An agentsh that is no launcher any more has become its shell, and has that one's file.
        if file_of(&pid.to_string()) == Some(own) {
            return true;
        }
        match parent_of(pid) {
            Some(parent) => pid = parent,
            None => return false,
        }
    }
    false
}

/// What file a process runs: device and inode, and not the path, which namespaces change.
fn file_of(pid: &str) -> Option<(u64, u64)> {
    let file = fs::metadata(format!("/proc/{pid}/exe")).ok()?;
    Some((file.dev(), file.ino()))
}
