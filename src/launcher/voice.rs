//! Our one way to say something: the caller's standard error, kept without being in anybody's way.
//!
//! Agents wait for the end of file on the pipes they gave to the command. A launcher that simply kept fd 2 open would
//! keep such a reader waiting after `exec >&- 2>&-`, though the command has let go. So a pipe is only remembered by
//! a descriptor that doesn't count as a writer (O_PATH), and opened again should there be something to say.

use crate::sys::fd;
use std::fs::{File, OpenOptions};
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
        /// Must it be let go of once the command has let go of it?
        socket: bool,
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
                let euid = crate::sys::process::euid();
                let path = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open("/proc/self/fd/2");
                match path {
                    Ok(path) if euid == 0 || euid == owner => Voice::Remembered(path),
                    _ => Voice::Held { socket: false },
                }
            }
            Some((libc::S_IFSOCK, _)) => Voice::Held { socket: true },
            Some(_) => Voice::Held { socket: false },
            None => Voice::None,
        }
    }

    /// The descriptor to be kept open for it.
    pub fn keep(&self) -> Option<RawFd> {
        match self {
            Voice::Remembered(path) => Some(path.as_raw_fd()),
            Voice::Held { .. } => Some(2),
            Voice::None => None,
        }
    }

    /// Lets go of a socket that the command itself holds no more.
    pub fn follow(&mut self, child: i32) {
        if matches!(self, Voice::Held { socket: true }) && fd::same_open_file(2, child, 2) == Some(false) {
            fd::close_standard(2);
            *self = Voice::None;
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

fn write_soon(to: &impl AsRawFd, text: &str) -> bool {
    // Waiting first, never O_NONBLOCK on the caller's own open file. A text shorter than PIPE_BUF isn't split.
    fd::wait_writable(to.as_raw_fd(), PATIENCE) && fd::write_once(to, text.as_bytes()).is_ok()
}
