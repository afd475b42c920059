//! Where this call's leaf may be made: architecture.md, section 3, "How a launcher finds its session".

use super::dir::Dir;
use super::limits::Shown;
use super::mount::{self, Mount};
use super::{ahead, delegate, mark, own, path};
use crate::class::Class;
use crate::policy::compiled::SessionPolicy;
use nix::errno::Errno;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Where a call goes.
#[derive(Debug)]
pub enum Place {
    /// This process is in a leaf already: the command is exec'd and stays in it.
    InLeaf {
        /// The class of that leaf.
        class: Class,
    },
    /// A leaf can be claimed here.
    Session(Box<Session>),
    /// No leaf, for this reason: degraded mode.
    None(String),
}

/// What decides about the place.
#[derive(Clone, Copy, Debug)]
pub struct Env<'a> {
    /// This process's cgroup, from [`own::read`]; none if it could not be read.
    pub own: Option<&'a [u8]>,
    /// The value of `AGENTSH_SESSION`.
    pub session: Option<&'a OsStr>,
    /// The effective user.
    pub uid: u32,
    /// What a session gets if one is set up by self-delegation; none for the built-in values.
    pub policy: Option<&'a SessionPolicy>,
}

/// A session whose `calls/` this process may make leaves in.
#[derive(Debug)]
pub struct Session {
    /// The budget: the parent of the leaves.
    pub calls: Dir,
    /// Tells callers that are under other limits apart: a hash of our own cgroup's path.
    pub origin: u64,
    /// Leaves of each class that the helper made ahead; none where they are ours to make.
    pub ahead: Option<u64>,
    /// The directories of the cgroups whose limits the command would have been under without agentsh.
    above: Vec<PathBuf>,
    shown: OnceLock<Shown>,
    budget: OnceLock<Option<u64>>,
}

impl Session {
    /// The limits that the command would have been under, and seen, without agentsh, as they were when first asked for; those
    /// of `calls/` not among them.
    pub fn shown(&self) -> Shown {
        *self.shown.get_or_init(|| {
            let mut shown = Shown::default();
            self.above.iter().for_each(|directory| shown.under(directory));
            shown
        })
    }

    /// memory.max of `calls/` in bytes, as it was when first asked for; none is `max`.
    pub fn budget(&self) -> Option<u64> {
        *self.budget.get_or_init(|| self.calls.read_max("memory.max").unwrap_or(None))
    }

    /// The session's name: its directory's, or `container` where `calls/` alone is mounted.
    pub fn name(&self) -> &str {
        let name = self.calls.path().parent().and_then(Path::file_name).and_then(OsStr::to_str);
        match name {
            Some(_) if self.calls.path() == Path::new(MOUNTED_CALLS) => "container",
            Some(name) => name,
            None => "",
        }
    }

    /// The session in this cgroup, as a program in its `agent/` finds it.
    pub fn of(base: &Dir) -> Result<Session, Errno> {
        let (agent, calls) = (base.child("agent")?, base.child("calls")?);
        let above = vec![agent.path().to_owned(), base.path().to_owned()];
        let origin = fnv(agent.path().as_os_str().as_bytes());
        Ok(Session { calls, origin, ahead: None, above, shown: OnceLock::new(), budget: OnceLock::new() })
    }

    /// The session's own directory, where it can be reached.
    pub fn base(&self) -> Option<Dir> {
        let base = self.calls.path().parent()?;
        Dir::open(base).ok()
    }
}

/// Where the helper mounts `calls/` in a container.
pub const MOUNTED_CALLS: &str = "/run/agentsh/calls";
/// The pool, from the root of the cgroup tree.
pub const POOL: &str = "/agentsh";

/// Finds the place for this process's call. Opens a few files; changes nothing, except where a really delegated cgroup
/// is set up as a session.
pub fn locate(env: &Env) -> Place {
    let Some(own) = env.own else {
        return Place::None("/proc/self/cgroup has no cgroup v2 line: no cgroup v2, or no /proc".into());
    };
    if let Some(class) = own::in_leaf(own) {
        return Place::InLeaf { class };
    }
    // Most often it is where it usually is: then what takes the kernel long to write needn't be read.
    for point in mount::USUAL {
        if let Some(usual) = mount::usual(point)
            && let search = (Search { own: Path::new(OsStr::from_bytes(own)), mounts: &[usual], env })
            && let Ok(Some(place)) = search.around_us()
            // The paths in a cgroup namespace begin elsewhere.
            && mount::in_first_namespace() == Some(true)
        {
            return place;
        }
    }
    locate_anywhere(own, env)
}

/// As [`locate`], wherever cgroup v2 is mounted.
#[cold]
fn locate_anywhere(own: &[u8], env: &Env) -> Place {
    let mounts = match mount::all() {
        Ok(mounts) if !mounts.is_empty() => mounts,
        Ok(_) => return Place::None("no cgroup v2 file system is mounted here".into()),
        Err(e) => return Place::None(format!("/proc/self/mountinfo can't be read: {e}")),
    };
    let search = Search { own: Path::new(OsStr::from_bytes(own)), mounts: &mounts, env };
    let mut reason = String::new();
    for step in [Search::around_us, Search::mounted, Search::marked_above, Search::named, Search::delegated] {
        match step(&search) {
            Ok(Some(place)) => return place,
            Ok(None) => {}
            Err(why) => reason = why,
        }
    }
    if reason.is_empty() {
        reason = format!(
            "the cgroup {} is neither part of a session nor delegated; start the agent by `agentshctl run`",
            search.own.display()
        );
    }
    Place::None(reason)
}

struct Search<'a> {
    own: &'a Path,
    mounts: &'a [Mount],
    env: &'a Env<'a>,
}

/// A place, nothing here, or why what is here can't be used.
type Step = Result<Option<Place>, String>;

impl Search<'_> {
    /// Our own cgroup is `…/<session>/agent`, or below it (agents make cgroups of their own): told by the names alone.
    fn around_us(&self) -> Step {
        let inside_agent = |base: &&Path| {
            path::below(self.own, base).is_some_and(|below| path::is_within(below, Path::new("agent")))
        };
        self.first_session(path::ancestors(self.own).filter(inside_agent))
    }

    /// Our own cgroup lies elsewhere in a session that agentsh made.
    fn marked_above(&self) -> Step {
        self.first_session(self.own.ancestors().filter(|base| self.is_marked(base)))
    }

    fn first_session<'p>(&self, bases: impl Iterator<Item = &'p Path>) -> Step {
        let mut why = Ok(None);
        for base in bases {
            match self.session_at(base) {
                Ok(None) => {}
                Ok(found) => return Ok(found),
                Err(e) => why = Err(e),
            }
        }
        why
    }

    /// `calls/` as the helper mounts it in a container.
    fn mounted(&self) -> Step {
        let Ok(calls) = Dir::open(Path::new(MOUNTED_CALLS)) else { return Ok(None) };
        let ahead = usable(&calls).map_err(|e| format!("{MOUNTED_CALLS}: {}", e.desc()))?;
        let base = mount::cgroup_of(self.mounts, calls.path()).and_then(|c| c.parent().map(Path::to_owned));
        Ok(Some(self.session(calls, ahead, base.as_deref())))
    }

    /// `AGENTSH_SESSION`, if it is a session of `agentshctl run` (root's or our own) or lies below our own cgroup: a
    /// variable alone must not move anybody's processes into a foreign cgroup.
    fn named(&self) -> Step {
        let Some(value) = self.env.session.filter(|v| !v.is_empty()) else { return Ok(None) };
        let shown = value.display();
        let path = Path::new(value);
        if path.components().any(|c| matches!(c, std::path::Component::ParentDir)) {
            return Err(format!("AGENTSH_SESSION={shown} has `..` in it"));
        }
        let cgroup = match path.is_absolute() {
            true => mount::cgroup_of(self.mounts, path).unwrap_or_else(|| path.to_owned()),
            false => Path::new(POOL).join(path),
        };
        if !cgroup.starts_with(self.own) || cgroup == self.own {
            let made_by_run = mount::directories(self.mounts, &cgroup).any(|directory| {
                Dir::open(&directory).is_ok_and(|d| {
                    let ours = d.identity().is_ok_and(|i| i.uid == 0 || i.uid == self.env.uid);
                    ours && d.mark(mark::SESSION, &mut [0; 16]).is_ok()
                })
            });
            if !made_by_run {
                return Err(format!("AGENTSH_SESSION={shown} is no session made by `agentshctl run`"));
            }
        }
        match self.session_at(&cgroup)? {
            Some(place) => Ok(Some(place)),
            None => Err(format!("AGENTSH_SESSION={shown} has no calls/")),
        }
    }

    /// Our own cgroup, or the one our agent's is in, is delegated to us: set a session up in it.
    fn delegated(&self) -> Step {
        let Some(candidate) = delegate::candidate(self.own, self.mounts)? else { return Ok(None) };
        if let delegate::Candidate::Leaf(class) = candidate {
            return Ok(Some(Place::InLeaf { class }));
        }
        let delegate::Candidate::Delegated { cgroup, dir } = candidate else { return Ok(None) };
        delegate::set_up(&dir, self.env.policy)?;
        self.session_at(&cgroup)
    }

    fn is_marked(&self, cgroup: &Path) -> bool {
        cgroup.parent().is_some()
            && mount::directories(self.mounts, cgroup)
                .any(|d| Dir::open(&d).is_ok_and(|d| d.mark(mark::SESSION, &mut [0; 16]).is_ok()))
    }

    /// The session in this cgroup, by the first mount through which its `calls/` can be written.
    fn session_at(&self, base: &Path) -> Step {
        let mut why = Ok(None);
        let cgroup = base.join("calls");
        for directory in mount::directories(self.mounts, &cgroup) {
            let Ok(calls) = Dir::open(&directory) else { continue };
            match usable(&calls) {
                Ok(None) => return Ok(Some(self.session(calls, None, Some(base)))),
                Ok(ahead) => return Ok(Some(self.session(as_mounted(calls), ahead, Some(base)))),
                Err(e) => why = Err(format!("{}: {}", directory.display(), e.desc())),
            }
        }
        why
    }

    /// The limits that a leaf in `calls/` escapes: of our own cgroup and upwards, to where `calls/` branches off; and
    /// those of the session, which the command would have seen as its container's.
    fn session(&self, calls: Dir, ahead: Option<u64>, base: Option<&Path>) -> Place {
        let ours = path::ancestors(self.own).take_while(|cgroup| {
            let shared = base.is_some_and(|b| path::is_within(b, cgroup) && b != *cgroup);
            !shared && (path::parent(cgroup).is_some() || base.is_some())
        });
        let elsewhere = base.filter(|b| !path::is_within(self.own, b));
        let directory = |cgroup| mount::directories(self.mounts, cgroup).next();
        Place::Session(Box::new(Session {
            above: ours.chain(elsewhere).filter_map(directory).collect(),
            origin: fnv(self.own.as_os_str().as_bytes()),
            ahead,
            calls,
            shown: OnceLock::new(),
            budget: OnceLock::new(),
        }))
    }
}

/// Can calls be put in there? Then by how many leaves that were made ahead, or none if we are to make them.
fn usable(calls: &Dir) -> Result<Option<u64>, Errno> {
    match calls.writable() {
        Ok(()) => Ok(None),
        Err(e) => ahead::leaves(calls).map(Some).ok_or(e),
    }
}

/// The same `calls/` as the helper mounted it, where its leaves' cgroup.procs can be written: that is how a process gets into
/// one where clone3 isn't allowed.
fn as_mounted(calls: Dir) -> Dir {
    let id = |dir: &Dir| dir.identity().map(|i| i.id);
    Dir::open(Path::new(MOUNTED_CALLS)).ok().filter(|dir| id(dir) == id(&calls)).unwrap_or(calls)
}

/// FNV-1a: to tell a few paths apart.
fn fnv(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}
