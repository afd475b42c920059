//! What went wrong with a cgroup, in one sentence.

use nix::errno::Errno;
use std::fmt;
use std::path::{Path, PathBuf};

/// A failed step on a cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What was tried, as a verb: `make`, `write`, `move process 12 to` …
    pub doing: String,
    /// The file or directory it was tried on.
    pub path: PathBuf,
    /// The kernel's answer.
    pub errno: Errno,
}

impl Error {
    /// For `map_err`: the error of doing something to a file of this directory (or to itself, if `file` is empty).
    pub fn of<'a>(doing: &'a str, dir: &'a Path, file: &'a str) -> impl FnOnce(Errno) -> Error + 'a {
        move |errno| Error {
            doing: doing.to_owned(),
            path: if file.is_empty() { dir.to_owned() } else { dir.join(file) },
            errno,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "can't {} {}: {}", self.doing, self.path.display(), self.errno.desc())
    }
}

impl std::error::Error for Error {}
