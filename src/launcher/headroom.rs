//! Is there room for one more process? The launcher is one that the command didn't ask for; where its user may have just a
//! few more, they are the command's.

use crate::sys::process;
use std::fs;
use std::os::unix::fs::MetadataExt;

/// A limit this high is no tight one (Linux' own default is thousands): /proc isn't walked for it.
const TIGHT: u64 = 2048;
/// So many are left to the command.
const SPARE: u64 = 8;

/// Tells whether RLIMIT_NPROC has room for a launcher and a command of a few processes. Root is not bound by it.
pub fn has_room() -> bool {
    let user = process::euid();
    if user == 0 {
        return true;
    }
    match process::process_limit() {
        Some(limit) if limit < TIGHT => {
            all_tasks().is_some_and(|all| all + SPARE <= limit) || tasks(user) + SPARE <= limit
        }
        _ => true,
    }
}

/// How many tasks the whole machine has, in one read.
#[cold]
fn all_tasks() -> Option<u64> {
    // 0.71 0.53 0.41 1/234 5678: those that run, and all.
    let load = fs::read_to_string("/proc/loadavg").ok()?;
    load.split_ascii_whitespace().nth(3)?.split_once('/')?.1.parse().ok()
}

/// How many tasks the user has, as far as /proc shows them.
#[cold]
fn tasks(uid: u32) -> u64 {
    let Ok(processes) = fs::read_dir("/proc") else { return 0 };
    processes
        .flatten()
        .filter(|entry| entry.file_name().as_encoded_bytes().first().is_some_and(u8::is_ascii_digit))
        .filter(|entry| entry.metadata().is_ok_and(|meta| meta.uid() == uid))
        // A folder has two links, and one more for each folder in it: here, for each thread.
        .map(|entry| {
            fs::metadata(entry.path().join("task")).map_or(1, |task| task.nlink().saturating_sub(2).max(1))
        })
        .sum()
}
