//! Brings a record into the log: one write(2), never blocking, rotated by size.
//!
//! Writers take no lock: O_APPEND makes each write whole. Only who rotates holds a flock, on the log itself, and
//! renames it only after it has seen that the name still stands for the file it holds. A writer that opened
//! the file before the rename appends to `calls.jsonl.1`, which readers read as well: nothing is lost.

use super::record::{MAX_BYTES, Record};
use crate::policy::compiled::LogPolicy;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// A record that isn't written by then is given up: the caller is waiting for the command's exit status.
const DEADLINE: Duration = Duration::from_millis(100);
/// So often a log that others make and rotate at the same time is opened anew.
const TRIES: usize = 20;
/// What a pipe takes whole or not at all (PIPE_BUF, pipe(7)).
const PIPE_BUF: usize = 4096;

/// Why a record was not written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// No variable says where.
    #[error("no place for the call log: set XDG_STATE_HOME, HOME or AGENTSH_LOG")]
    NoPlace,
    /// A system call failed.
    #[error("{path}: can't {doing} the call log: {errno}", path = path.display())]
    Io {
        /// The log, or the folder that it should be in.
        path: PathBuf,
        /// A verb: open, write …
        doing: &'static str,
        /// Why.
        errno: Errno,
    },
    /// The file system took only a part of the line (it is full).
    #[error("{path}: only {written} of {of} bytes of a record were taken; is the file system full?", path = path.display())]
    Short {
        /// The log.
        path: PathBuf,
        /// Bytes taken.
        written: usize,
        /// Bytes of the line.
        of: usize,
    },
    /// A socket, a folder, a block device.
    #[error("{path}: the call log must be a file, a pipe or a character device", path = path.display())]
    Kind {
        /// The log.
        path: PathBuf,
    },
    /// A pipe whose reader is asleep.
    #[error("{path}: no room for a record within {} ms", DEADLINE.as_millis(), path = path.display())]
    TooSlow {
        /// The log.
        path: PathBuf,
    },
}

/// When the log is rotated, and how many old ones are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// A record that would make the log longer than this many bytes begins a new one; 0: never.
    pub bytes: u64,
    /// Old logs kept (`calls.jsonl.1` is the newest); with 0 the full log is thrown away.
    pub keep: u8,
}

/// Where the log is: `AGENTSH_LOG`, else the policy's `path`, else `/var/log/agentsh` for root and
/// `$XDG_STATE_HOME/agentsh` (by default `~/.local/state/agentsh`) for others. `env` looks a variable up.
pub fn place(
    policy: &LogPolicy,
    root: bool,
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<PathBuf, LogError> {
    let set = |name: &str| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = set("AGENTSH_LOG") {
        return Ok(path);
    }
    if let Some(path) = &policy.path {
        return Ok(PathBuf::from(&path.value));
    }
    if root {
        return Ok(PathBuf::from("/var/log/agentsh/calls.jsonl"));
    }
    // The XDG base directory specification: a path that isn't absolute is to be ignored.
    let state = set("XDG_STATE_HOME").filter(|path| path.is_absolute());
    let home = || set("HOME").filter(|path| path.is_absolute()).map(|home| home.join(".local/state"));
    Ok(state.or_else(home).ok_or(LogError::NoPlace)?.join("agentsh/calls.jsonl"))
}

/// Could a record be written there now? Makes the log if it isn't there, and writes nothing.
pub fn probe(path: &Path) -> Result<(), LogError> {
    Log::open(path).map(drop)
}

/// Writes the record as the policy says. The caller has SIGXFSZ, SIGPIPE and SIGTTOU blocked.
pub fn write(record: &Record, policy: &LogPolicy, path: &Path) -> Result<(), LogError> {
    let rotation = Rotation { bytes: policy.rotate_bytes.value, keep: policy.keep.value };
    let (command_bytes, redact) = (policy.command_bytes.value as usize, policy.redact.value);
    append(path, rotation, |max_bytes| record.line(command_bytes, redact, max_bytes).into_bytes())
}

/// Appends one line to the log with one write(2). `line` makes it, of at most so many bytes.
pub fn append(path: &Path, rotation: Rotation, line: impl Fn(usize) -> Vec<u8>) -> Result<(), LogError> {
    let deadline = Instant::now() + DEADLINE;
    let mut log = Log::open(path)?;
    let line = line(if log.pipe { PIPE_BUF } else { MAX_BYTES });
    while log.is_full(rotation, line.len()) && Instant::now() < deadline {
        match log.rotate(rotation, deadline) {
            Ok(true) => log = Log::open(path)?,
            // Too slow, or not allowed: a log that grows too long is better than a lost record.
            Ok(false) | Err(_) => break,
        }
    }
    log.write(&line, deadline)
}

/// The log, opened.
struct Log<'a> {
    path: &'a Path,
    file: File,
    regular: bool,
    pipe: bool,
    size: u64,
}

impl<'a> Log<'a> {
    fn open(path: &'a Path) -> Result<Log<'a>, LogError> {
        let file = open_or_create(path)?;
        let seen = file.metadata().map_err(|error| failed(path, "stat", &error))?;
        let kind = seen.file_type();
        if !kind.is_file() && !kind.is_fifo() && !kind.is_char_device() {
            return Err(LogError::Kind { path: path.into() });
        }
        Ok(Log { path, file, regular: kind.is_file(), pipe: kind.is_fifo(), size: seen.size() })
    }

    fn is_full(&self, rotation: Rotation, more: usize) -> bool {
        self.regular
            && rotation.bytes > 0
            && self.size > 0
            && self.size.saturating_add(more as u64) > rotation.bytes
    }

    /// Makes room under the log's name; true if it should be opened anew (by us or by another: the name now
    /// stands for a new file), false if the lock wasn't to be had in time.
    #[cold]
    fn rotate(&self, rotation: Rotation, deadline: Instant) -> io::Result<bool> {
        loop {
            match self.file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(1));
                }
                Err(TryLockError::WouldBlock) => return Ok(false),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        if !self.is_named()? {
            return Ok(true); // another one rotated while we waited
        }
        if rotation.keep == 0 {
            fs::remove_file(self.path)?;
            return Ok(true);
        }
        // Only up to the first gap need the old ones move; without one the oldest is overwritten. From the end
        // backwards, so that no moment, and no kill, leaves a log without a name.
        let free = (1..rotation.keep).find(|&n| !numbered(self.path, n).exists()).unwrap_or(rotation.keep);
        for n in (1..free).rev() {
            fs::rename(numbered(self.path, n), numbered(self.path, n + 1))?;
        }
        fs::rename(self.path, numbered(self.path, 1))?;
        Ok(true)
    }

    fn is_named(&self) -> io::Result<bool> {
        let held = self.file.metadata()?;
        match fs::symlink_metadata(self.path) {
            Ok(named) => Ok((named.dev(), named.ino()) == (held.dev(), held.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn write(mut self, line: &[u8], deadline: Instant) -> Result<(), LogError> {
        loop {
            match self.file.write(line) {
                Ok(written) if written == line.len() => return Ok(()),
                Ok(written) => {
                    return Err(LogError::Short { path: self.path.into(), written, of: line.len() });
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted && Instant::now() < deadline => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait_for_room(deadline)?,
                Err(error) => return Err(failed(self.path, "write", &error)),
            }
        }
    }

    #[cold]
    fn wait_for_room(&self, deadline: Instant) -> Result<(), LogError> {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
        let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
        match poll(&mut fds, left) {
            Ok(0) => Err(LogError::TooSlow { path: self.path.into() }),
            Ok(_) if Instant::now() < deadline => Ok(()),
            // A pipe with a little room is ready to poll(2), and yet it doesn't take a whole line.
            Ok(_) | Err(Errno::EINTR) => Err(LogError::TooSlow { path: self.path.into() }),
            Err(errno) => Err(LogError::Io { path: self.path.into(), doing: "wait for", errno }),
        }
    }
}

/// The name of the `n`th old log.
pub fn numbered(path: &Path, n: u8) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{n}"));
    PathBuf::from(name)
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    // NOFOLLOW: whoever may write in the log's folder must not make root write elsewhere. NONBLOCK: a FIFO that
    // nobody reads is an error at once, and not a hang.
    options.append(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOCTTY);
    options
}

/// The log, made anew if it isn't there: of mode 0600, whatever the umask, its folder too if need be.
fn open_or_create(path: &Path) -> Result<File, LogError> {
    match options().open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(path),
        opened => opened.map_err(|error| failed(path, "open", &error)),
    }
}

#[cold]
fn create(path: &Path) -> Result<File, LogError> {
    for _ in 0..TRIES {
        if let Some(folder) = path.parent() {
            create_folders(folder, 0o700).map_err(|error| failed(folder, "make the folder of", &error))?;
        }
        match options().create_new(true).mode(0o600).open(path) {
            // Another call made it in between (and a third one may already have rotated it).
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match options().open(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                opened => return opened.map_err(|error| failed(path, "open", &error)),
            },
            made => {
                let file = made.map_err(|error| failed(path, "create", &error))?;
                // The umask may have taken bits away (`umask 0777`): the next call couldn't write.
                let whole = file.set_permissions(fs::Permissions::from_mode(0o600));
                return whole.map(|()| file).map_err(|error| failed(path, "set the mode of", &error));
            }
        }
    }
    Err(LogError::Io { path: path.into(), doing: "open", errno: Errno::EEXIST })
}

/// The log's own folder is for its owner alone; those above it (`/var/log` in the smallest of images) are for all.
#[cold]
fn create_folders(folder: &Path, mode: u32) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    if let Some(above) = folder.parent() {
        create_folders(above, 0o755)?;
    }
    match fs::DirBuilder::new().mode(mode).create(folder) {
        Ok(()) => fs::set_permissions(folder, fs::Permissions::from_mode(mode)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

#[cold]
fn failed(path: &Path, doing: &'static str, error: &io::Error) -> LogError {
    let errno = error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
    LogError::Io { path: path.into(), doing, errno }
}
