//! What is said at the control socket, by both sides.

use super::container;
use super::peer::Peer;
use crate::sys::peer as socket;
use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where serve listens.
pub const SOCKET: &str = "/run/agentsh/helper.sock";
/// "Attach me": all that can be asked for. The last byte is the version.
pub const REQUEST: &[u8; 8] = b"agentsh\x01";
/// An answer: done or not, and why, filled up with zeros.
const ANSWER: usize = 512;
/// Longer than serve gives to its work, and the work of others before.
const PATIENCE: Duration = Duration::from_secs(30);

/// The process at the other end of a connection.
pub fn guest(connection: impl AsFd) -> Result<Peer> {
    let (pid, pidfd) = socket::of(connection).context("who asks can't be told (Linux before 6.5?)")?;
    Peer::held(pid, pidfd)
}

/// The cgroup of the container that asks.
pub fn container_of(connection: impl AsFd) -> Result<PathBuf> {
    let own = guest(connection)?.cgroup()?;
    match container::around(&own) {
        Some(container) => Ok(container),
        None => bail!("{} is in no container that an engine made: ask for it from outside", own.display()),
    }
}

/// Answers, unless the other side doesn't take it: nobody waits for a slow reader.
pub fn reply(mut connection: &UnixStream, done: bool, text: &str) {
    let mut answer = [0; ANSWER];
    answer[0] = u8::from(done);
    let text = &text.as_bytes()[..text.len().min(ANSWER - 1)];
    answer[1..=text.len()].copy_from_slice(text);
    let _ = connection.set_nonblocking(true);
    // Whoever has gone has gone.
    let _ = connection.write_all(&answer);
}

/// Asks, from inside a container.
pub fn ask(path: &Path) -> Result<String> {
    let shown = || path.display().to_string();
    let mut door = UnixStream::connect(path).with_context(shown)?;
    door.set_read_timeout(Some(PATIENCE)).with_context(shown)?;
    door.set_write_timeout(Some(PATIENCE)).with_context(shown)?;
    door.write_all(REQUEST).with_context(shown)?;
    let mut answer = [0; ANSWER];
    door.read_exact(&mut answer).context("serve has sent us away without an answer: ask again")?;
    let text = String::from_utf8_lossy(&answer[1..]).trim_end_matches('\0').to_string();
    match answer[0] {
        1 => Ok(text),
        _ => bail!("{text}"),
    }
}
