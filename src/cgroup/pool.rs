//! Where sessions are made: the host's pool, a delegated cgroup, or the session that we are in already.

use super::dir::Dir;
use super::error::Error;
use super::lock::Lock;
use super::mount::{self, Mount};
use super::place::POOL;
use super::{delegate, mark, session};
use crate::policy::units::show_bytes;
use nix::errno::Errno;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// A cgroup that sessions can be made in, locked: nobody else makes or removes any meanwhile.
#[derive(Debug)]
pub struct Pool {
    /// Its directory.
    pub dir: Dir,
    /// Is it the host's pool, whose own protection is ours to keep?
    ours: bool,
    /// Kept for as long as this is used.
    _lock: Lock,
}

/// Finds or makes the place for sessions as seen by a process in the cgroup `own` (see [`super::own::read`]). Says why
/// there is none, and what to do.
pub fn find(own: &[u8]) -> Result<Pool, String> {
    let mounts = mount::all().map_err(|e| format!("/proc/self/mountinfo can't be read: {e}"))?;
    let own = Path::new(OsStr::from_bytes(own));
    if let Some(dir) = session_around(own, &mounts) {
        return Pool::locked(dir, false);
    }
    if let Some(pool) = of_host(&mounts)? {
        return Ok(pool);
    }
    match delegate::candidate(own, &mounts)? {
        Some(delegate::Candidate::Delegated { dir, .. }) => {
            let pool = Pool::locked(dir, false)?;
            empty_and_enable(&pool.dir).map_err(|e| e.to_string())?;
            Ok(pool)
        }
        _ => Err(format!(
            "no session can be made from the cgroup {}: it isn't delegated to this user. Run as root, or as \
             `systemd-run --user --scope -p Delegate=yes -- agentshctl run …`",
            own.display()
        )),
    }
}

/// The host's pool, made if it isn't there; none if the root of the cgroup tree isn't ours to write.
pub fn of_host(mounts: &[Mount]) -> Result<Option<Pool>, String> {
    for directory in mount::directories(mounts, Path::new("/")) {
        let Ok(root) = Dir::open(&directory) else { continue };
        if !delegate::is_root(&root) || root.writable().is_err() || !root.may_write("cgroup.subtree_control")
        {
            continue;
        }
        let make = || -> Result<Dir, Error> {
            session::enable(&root)?;
            let name = POOL.trim_start_matches('/');
            let pool = root.ensure_child(name).map_err(Error::of("make", root.path(), name))?;
            session::enable(&pool)?;
            Ok(pool)
        };
        return Pool::locked(make().map_err(|e| e.to_string())?, true).map(Some);
    }
    Ok(None)
}

/// The session that an agent starts another one from: what it makes lies beneath, within the same limits.
fn session_around(own: &Path, mounts: &[Mount]) -> Option<Dir> {
    let below_agent = |base: &&Path| own.strip_prefix(base).is_ok_and(|below| below.starts_with("agent"));
    own.ancestors().filter(below_agent).find_map(|base| {
        mount::directories(mounts, base)
            .filter_map(|d| Dir::open(&d).ok())
            .find(|dir| dir.mark(mark::SESSION, &mut [0; 16]).is_ok() && dir.writable().is_ok())
    })
}

/// Processes that are in a delegated cgroup itself keep it from having controllers: they get a child of their own.
fn empty_and_enable(dir: &Dir) -> Result<(), Error> {
    let outside = dir.ensure_child("outside").map_err(Error::of("make", dir.path(), "outside"))?;
    for _ in 0..8 {
        delegate::empty_into(dir, &outside)?;
        match session::enable(dir) {
            Err(e) if e.errno == Errno::EBUSY => {}
            other => return other,
        }
    }
    Err(Error::of("empty", dir.path(), "")(Errno::EBUSY))
}

impl Pool {
    fn locked(dir: Dir, ours: bool) -> Result<Pool, String> {
        // One that lies in somebody's session or delegated cgroup is made use of by others than root, too.
        let lock = if ours { Lock::of_root() } else { Lock::of_directory() };
        for _ in 0..1000 {
            match lock.try_take(&dir) {
                Ok(()) => return Ok(Pool { dir, ours, _lock: lock }),
                Err(Errno::EWOULDBLOCK) => std::thread::sleep(Duration::from_millis(10)),
                Err(e) => return Err(format!("{} can't be locked: {}", dir.path().display(), e.desc())),
            }
        }
        Err(format!("{} is in use by another agentsh program for more than 10 s", dir.path().display()))
    }

    /// The sessions in it: cgroups with our mark.
    pub fn sessions(&self) -> Vec<String> {
        let mut names = self.dir.children(usize::MAX).unwrap_or_default();
        names.retain(|n| self.dir.child(n).is_ok_and(|d| d.mark(mark::SESSION, &mut [0; 16]).is_ok()));
        names.sort();
        names
    }

    /// Removes the sessions that nobody lives in any more, but for those that the helper made to stay.
    pub fn tidy(&self) -> usize {
        let over = |name: &String| {
            self.dir.child(name).is_ok_and(|d| {
                let mut buf = [0; 16];
                d.mark(mark::SESSION, &mut buf) == Ok(mark::BY_RUN) && d.populated() == Ok(false)
            })
        };
        let removable = self.sessions().into_iter().filter(over);
        removable.filter(|name| session::remove(&self.dir, name).is_ok()).count()
    }

    /// Protects what the sessions and their agents are protected with: memory.min and low work only if they are granted all the
    /// way down.
    pub fn protect(&self) {
        if !self.ours {
            return;
        }
        for file in ["memory.min", "memory.low"] {
            let of = |name: &String| self.dir.child(name).ok()?.read_max(file).ok()?;
            let sum = self.sessions().iter().filter_map(of).fold(0, u64::saturating_add);
            // Without the memory controller there is nothing to protect.
            let _ = self.dir.write_u64(file, sum);
        }
    }

    /// What the sessions in it are guaranteed, but for the one of this name, in bytes.
    pub fn promised(&self, but_for: &str) -> u64 {
        let of = |name: &String| {
            let session = self.dir.child(name).ok()?;
            let protected = |file| session.read_max(file).ok().flatten();
            protected("memory.min").max(protected("memory.low"))
        };
        let others = self.sessions().into_iter().filter(|name| name != but_for);
        others.filter_map(|name| of(&name)).fold(0, u64::saturating_add)
    }

    /// Sets the limit of all sessions in it together, in bytes.
    pub fn set_limit(&self, bytes: u64) -> Result<(), String> {
        let path = self.dir.path().display();
        if !self.ours {
            return Err(format!(
                "the limit of {path} isn't agentsh's to set: leave --pool out, and what limits it is the pool"
            ));
        }
        if self.dir.read_max("memory.max") == Ok(Some(bytes)) {
            return Ok(());
        }
        // A limit below what is in use makes the kernel kill at once.
        let (promised, used) = (self.promised(""), self.dir.read_u64("memory.current").unwrap_or(0));
        if bytes < promised.max(used) {
            return Err(format!(
                "the limit of {path} can't be {}: {} are guaranteed to those in it, and {} are in use",
                show_bytes(bytes),
                show_bytes(promised),
                show_bytes(used)
            ));
        }
        let written = self.dir.write_u64("memory.max", bytes);
        written.map_err(|e| format!("{path}/memory.max can't be written: {}", e.desc()))
    }

    /// The nearest memory limit that a new session here is under, in bytes.
    pub fn limit(&self) -> Option<u64> {
        let limits =
            self.dir.path().ancestors().map_while(|p| Dir::open(p).ok()?.read_max("memory.max").ok());
        limits.flatten().min()
    }
}
