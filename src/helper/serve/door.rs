//! The control socket: a container's program asks for `calls/` for its own container, and for nothing else. What it says is
//! eight bytes that name no process, path or number; who asks the kernel tells.
//!
//! Whoever can reach the socket may be hostile: it waits for nobody, holds a bounded number of connections and drops the
//! oldest for a new one, and does one piece of work at a time, in a process of its own that is ended if it takes long, for
//! a container once a second.

use crate::helper::attach;
use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::{HashMap, VecDeque};
use std::fs::{self, Permissions};
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Connections that haven't said anything yet.
const MOST_GUESTS: usize = 64;
/// Containers that wait for their turn.
const MOST_WAITING: usize = 64;
/// Taken from the kernel's queue before others get their turn again.
const MOST_ACCEPTED: usize = 128;
/// Who has said nothing for so long is sent away.
const PATIENCE: Duration = Duration::from_secs(2);
/// For one container's work; it takes milliseconds.
const LONGEST: Duration = Duration::from_secs(10);
/// Out of descriptors: as long until it is tried again.
const TROUBLED: Duration = Duration::from_millis(20);
/// A container is served this often.
const APART: Duration = Duration::from_secs(1);

/// The socket and who is at it.
pub struct Door {
    listener: UnixListener,
    guests: VecDeque<(UnixStream, Instant)>,
    waiting: VecDeque<(PathBuf, UnixStream)>,
    served: HashMap<PathBuf, Instant>,
    worker: Option<(Child, Instant)>,
}

impl Door {
    /// Opens it, for everybody who sees its path. Only the one serve that there is may call this.
    pub fn open() -> Result<Door> {
        let _ = fs::remove_file(attach::SOCKET);
        let listener = UnixListener::bind(attach::SOCKET).context(attach::SOCKET)?;
        fs::set_permissions(attach::SOCKET, Permissions::from_mode(0o666)).context(attach::SOCKET)?;
        listener.set_nonblocking(true).context(attach::SOCKET)?;
        Ok(Door {
            listener,
            guests: VecDeque::new(),
            waiting: VecDeque::new(),
            served: HashMap::new(),
            worker: None,
        })
    }

    /// Answers for as long as the process lives.
    pub fn keep(mut self) {
        loop {
            self.wait();
            self.accept();
            self.listen();
            self.work();
        }
    }

    fn wait(&self) {
        let idle = self.guests.is_empty() && self.waiting.is_empty() && self.worker.is_none();
        // The worker's end isn't waited for by a descriptor, nor are guests' times.
        let time = if idle { PollTimeout::NONE } else { PollTimeout::from(20u8) };
        let ears = self.guests.iter().map(|(guest, _)| guest.as_fd());
        let mut fds: Vec<_> = std::iter::once(self.listener.as_fd())
            .chain(ears)
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        // Interrupted or out of memory: the next round looks anyway.
        let _ = poll(&mut fds, time);
    }

    fn accept(&mut self) {
        for _ in 0..MOST_ACCEPTED {
            match self.listener.accept() {
                Ok((guest, _)) if guest.set_nonblocking(true).is_ok() => {
                    if self.guests.len() >= MOST_GUESTS {
                        // Who has something to say has said it by now.
                        self.listen();
                    }
                    if self.guests.len() >= MOST_GUESTS {
                        self.guests.pop_front();
                    }
                    self.guests.push_back((guest, Instant::now()));
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    // Out of descriptors: the oldest give theirs, and who waits for one keeps waking us, for nothing.
                    self.guests.pop_front();
                    std::thread::sleep(TROUBLED);
                    return;
                }
            }
        }
    }

    /// Reads what there is from each.
    fn listen(&mut self) {
        for (mut guest, since) in std::mem::take(&mut self.guests) {
            let mut said = [0; attach::REQUEST.len() + 1];
            match guest.read(&mut said) {
                Ok(n) if said[..n] == attach::REQUEST[..] => self.admit(guest),
                Err(error) if error.kind() == ErrorKind::WouldBlock && since.elapsed() < PATIENCE => {
                    self.guests.push_back((guest, since));
                }
                // Garbage, an end, an error, nothing for too long: closed.
                _ => {}
            }
        }
    }

    fn admit(&mut self, guest: UnixStream) {
        let container = match attach::container_of(&guest) {
            Ok(container) => container,
            Err(error) => return attach::reply(&guest, false, &format!("{error:#}")),
        };
        self.served.retain(|_, at| at.elapsed() < APART);
        if self.served.contains_key(&container) || self.waiting.iter().any(|(one, _)| *one == container) {
            return attach::reply(&guest, false, "this container is being served: ask again in a second");
        }
        if self.waiting.len() >= MOST_WAITING {
            return attach::reply(&guest, false, "too many containers are waiting: ask again in a second");
        }
        self.waiting.push_back((container, guest));
    }

    /// Sees to the piece of work in hand, and begins the next.
    fn work(&mut self) {
        if let Some((child, since)) = &mut self.worker {
            match child.try_wait() {
                Ok(None) if since.elapsed() < LONGEST => return,
                Ok(None) => {
                    let _ = child.kill();
                    let _ = child.wait();
                }
                _ => {}
            }
            self.worker = None;
        }
        let Some((container, guest)) = self.waiting.pop_front() else { return };
        self.served.insert(container, Instant::now());
        let Ok(own) = std::env::current_exe() else { return };
        let guest = Stdio::from(OwnedFd::from(guest));
        let started =
            Command::new(own).args(["attach", "--guest"]).stdin(guest).stdout(Stdio::null()).spawn();
        self.worker = started.ok().map(|child| (child, Instant::now()));
    }
}
