//! A subtree of cgroups for a test, with sessions, leaves and processes in it.

use agentsh::cgroup::claim::Wish;
use agentsh::cgroup::session::{self, Spec};
use agentsh::cgroup::{Env, Leaf, LeafLimits, Place, Session, locate, mount};
use agentsh::cgroup::{dir::Dir, mark};
use agentsh::class::Class;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A subtree of our own, removed with all that is in it.
pub struct Tree {
    pub path: PathBuf,
    /// The same as processes see it in /proc/self/cgroup.
    pub cgroup: String,
    _alone: MutexGuard<'static, ()>,
}

/// One test at a time: what another thread forks has our descriptors, and with them a leaf's lock, until it executes something.
static ALONE: Mutex<()> = Mutex::new(());

pub static TREES: AtomicU32 = AtomicU32::new(0);

impl Tree {
    pub fn new() -> Tree {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let mounts = mount::all().unwrap();
        let root =
            mounts.iter().find(|m| m.root == Path::new("/")).expect("a cgroup v2 tree is mounted here");
        let name = format!("agentsh-cgroup-{}-{}", std::process::id(), TREES.fetch_add(1, Ordering::Relaxed));
        let path = root.point.join(&name);
        fs::create_dir(&path).expect("these tests need to make cgroups: run them as root");
        Tree { path, cgroup: format!("/{name}"), _alone: alone }
    }

    pub fn dir(&self) -> Dir {
        Dir::open(&self.path).unwrap()
    }

    /// A session in the tree, as a process in its `agent/` finds it.
    pub fn session(&self, name: &str) -> Session {
        session::make(&self.dir(), name, mark::BY_RUN, &Spec::of(None, None, None, None)).unwrap();
        match self.locate(&format!("{}/{name}/agent", self.cgroup)) {
            Place::Session(session) => *session,
            other => panic!("{other:?}"),
        }
    }

    pub fn locate(&self, own: &str) -> Place {
        locate(&Env { own: Some(own.as_bytes()), session: None, uid: 0, policy: None })
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::write(self.path.join("cgroup.kill"), "1");
        let gone = wait_for(|| {
            !fs::read_to_string(self.path.join("cgroup.events")).unwrap().contains("populated 1")
        });
        remove(&self.path);
        assert!(gone || std::thread::panicking(), "processes are left in {}", self.path.display());
    }
}

pub fn remove(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            remove(&entry.path());
        }
    }
    let _ = fs::remove_dir(path);
}

pub fn wait_for(mut done: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + Duration::from_secs(10);
    while Instant::now() < end {
        if done() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    done()
}

/// A process in a cgroup, killed with the value.
pub struct Sleeper(pub Child);

impl Sleeper {
    pub fn in_cgroup(path: &Path) -> Sleeper {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        fs::write(path.join("cgroup.procs"), child.id().to_string()).unwrap();
        Sleeper(child)
    }

    pub fn ends(&mut self) -> bool {
        wait_for(|| self.0.try_wait().unwrap().is_some())
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn limits() -> LeafLimits {
    LeafLimits {
        high: Some(256 << 20),
        max: Some(1 << 30),
        contended_high: Some(256 << 20),
        ceiling: Some(1 << 30),
        born_open: false,
        swap_max: Some(0),
        cpu_weight: 300,
        pids_max: Some(512),
        oom_group: true,
        raise: true,
        freeze: true,
        throttle_timeout: Duration::from_secs(30),
        depends: agentsh::class::Classes::default(),
    }
}

pub fn claim(session: &Session) -> Leaf {
    session.claim(Class::Explore, Wish::Limits(&limits())).unwrap()
}

pub fn leaves(session: &Session) -> Vec<String> {
    session.calls.children(1000).unwrap()
}
