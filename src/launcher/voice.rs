//! Our one way to say something: the caller's standard error, kept without being in anybody's way.
//!
//! Agents wait for the end of file on the pipes they gave to the command. A launcher that simply kept fd 2 open would
//! keep such a reader waiting after `exec >&- 2>&-`, though the command has let go. One that didn't hold it at all would
//! have nobody to talk to when the OOM killer has taken every process of the call: their reader has seen the end and
//! closed its side. So a pipe is held for as long as the shell itself holds it, and then only remembered by a descriptor
//! that doesn't count as a writer (O_PATH), to be opened again should there be something to say.

use super::forward;
use crate::sys::{fd, process};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, IsTerminal};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

/// How long a full pipe may keep us: the message is worth no more.
const PATIENCE: Duration = Duration::from_millis(100);

/// The caller's standard error.
pub enum Voice {
    /// A pipe that can be opened again when needed; we are no writer of it meanwhile.
    Remembered(File),
    /// Held open: a file or a terminal, where nobody waits for an end, or a socket, which can't be opened again.
    Held {
        /// Must it be let go of once the command has let go of it? Nobody waits for the end of a file or a terminal.
        follow: bool,
        /// What a pipe is remembered by after that.
        pipe: Option<File>,
    },
    /// Closed, or let go of.
    None,
}

impl Voice {
    /// Takes over fd 2, which stays open as it is until [`Voice::keep`] says whether it is among what is kept.
    pub fn of_stderr() -> Voice {
        match fd::kind(2) {
            Some((libc::S_IFIFO, owner)) => {
                // Opening it again takes the owner's rights.
                let euid = process::euid();
                let path = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open("/proc/self/fd/2");
                match path {
                    Ok(path) if euid == 0 || euid == owner => Voice::Held { follow: true, pipe: Some(path) },
                    _ => Voice::Held { follow: true, pipe: None },
                }
            }
            Some((libc::S_IFSOCK, _)) => Voice::Held { follow: true, pipe: None },
            Some(_) => Voice::Held { follow: false, pipe: None },
            None => Voice::None,
        }
    }

    /// The descriptors to be kept open for it.
    pub fn keep(&self) -> impl Iterator<Item = RawFd> {
        let (held, path) = match self {
            Voice::Remembered(path) => (None, Some(path)),
            Voice::Held { pipe, .. } => (Some(2), pipe.as_ref()),
            Voice::None => (None, None),
        };
        held.into_iter().chain(path.map(AsRawFd::as_raw_fd))
    }

    /// Lets go of what the command itself holds no more.
    pub fn follow(&mut self, child: i32) {
        let Voice::Held { follow: true, pipe } = self else { return };
        let gone = match fd::same_open_file(2, child, 2) {
            Some(same) => !same,
            // kcmp takes CAP_SYS_PTRACE in Docker's containers, and isn't in every kernel: pipes and sockets are told by their number.
            // What can't be told counts as let go of where it can be opened again.
            None => holds_the_same(child).map_or(pipe.is_some(), |same| !same),
        };
        // A process that has ended, or is about to, holds nothing, but that is no letting go.
        if gone && !process::has_ended(child) && !forward::is_exiting(child) {
            fd::close_standard(2);
            *self = pipe.take().map_or(Voice::None, Voice::Remembered);
        }
    }

    /// What is left of it for when the call is over: it holds nothing open, and nobody has to wait for us. A socket can't
    /// be opened again.
    pub fn remember(self) -> Option<Remembered> {
        let kind = match &self {
            Voice::Remembered(_) => libc::S_IFIFO,
            _ => fd::kind(2)?.0,
        };
        match (self, kind) {
            (Voice::Remembered(path) | Voice::Held { pipe: Some(path), .. }, _) => {
                Some(Remembered { path, kind })
            }
            (Voice::Held { .. }, libc::S_IFREG | libc::S_IFCHR) => {
                let path = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open("/proc/self/fd/2");
                path.ok().map(|path| Remembered { path, kind })
            }
            _ => None,
        }
    }

    /// Says it in one write, if the other side takes it soon.
    pub fn say(&self, text: &str) -> bool {
        match self {
            Voice::Remembered(path) => {
                let pipe = OpenOptions::new()
                    .write(true)
                    .custom_flags(libc::O_NONBLOCK)
                    .open(format!("/proc/self/fd/{}", path.as_raw_fd()));
                pipe.is_ok_and(|pipe| write_soon(&OwnedFd::from(pipe), text))
            }
            Voice::Held { .. } => write_soon(&*fd::stderr(), text),
            Voice::None => false,
        }
    }
}

/// The caller's standard error after the call.
pub struct Remembered {
    path: File,
    kind: u32,
}

impl Remembered {
    /// The descriptor to be kept open for it.
    pub fn keep(&self) -> RawFd {
        self.path.as_raw_fd()
    }

    /// Opens it again. A pipe's reader sees no end from now on until it is closed. None if nobody reads any more.
    pub fn open(&self) -> Option<Reopened> {
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        let path = format!("/proc/self/fd/{}", self.path.as_raw_fd());
        // Others write to a file where they are in it: we, at its end.
        let append = self.kind == libc::S_IFREG;
        let file = OpenOptions::new().write(true).append(append).custom_flags(flags).open(path).ok()?;
        (append || self.kind == libc::S_IFIFO || file.is_terminal())
            .then_some(Reopened { file, pipe: self.kind == libc::S_IFIFO })
    }
}

/// The same, open.
pub struct Reopened {
    file: File,
    pipe: bool,
}

impl Reopened {
    /// Says it in one write. Has somebody taken it? Of a file nobody can tell.
    pub fn say(&self, text: &str) -> bool {
        let said = write_soon(&self.file, text);
        let taken = || (0..20).any(|_| fd::is_drained(self.file.as_raw_fd()) || nap());
        said && if self.pipe { taken() } else { self.file.is_terminal() }
    }
}

/// For `any`: it is never it.
fn nap() -> bool {
    std::thread::sleep(PATIENCE / 2);
    false
}

/// Is its fd 2 what ours is? None where nobody can tell.
fn holds_the_same(child: i32) -> Option<bool> {
    if !forward::proc_is_ours() {
        return None;
    }
    let ours = std::fs::read_link("/proc/self/fd/2").ok()?;
    match std::fs::read_link(format!("/proc/{child}/fd/2")) {
        Ok(theirs) => Some(ours == theirs),
        // It has closed it.
        Err(error) if error.kind() == ErrorKind::NotFound => Some(false),
        Err(_) => None,
    }
}

fn write_soon(to: &impl AsRawFd, text: &str) -> bool {
    // Waiting first, never O_NONBLOCK on the caller's own open file. A text shorter than PIPE_BUF isn't split.
    fd::wait_writable(to.as_raw_fd(), PATIENCE) && fd::write_once(to, text.as_bytes()).is_ok()
}
