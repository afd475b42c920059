//! The cgroup tree as far as it leads to containers, by inotify: the folders above containers are watched for new ones, and of
//! each container the file that tells whether anybody is in it. Never what lies in a container, as that is made and named by it.

use crate::cgroup::dir::Dir;
use crate::helper::attach;
use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use std::collections::HashMap;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Folders are looked into so far down; Kubernetes' containers are four levels down, a user's own five.
const DEEPEST: usize = 8;
/// Folders and containers. A user may make as many cgroups as the machine lets it, and each costs the kernel a KiB.
const MOST: usize = 16384;
/// Read from the kernel before others get their turn again.
const MOST_READS: usize = 64;
/// Of a container: written by the kernel when the first process comes and the last goes.
const EVENTS: &str = "cgroup.events";

/// What has happened to a container, given by the path of its cgroup from the root of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Somebody is in it.
    Populated(PathBuf),
    /// Nobody is, or it is gone.
    Empty(PathBuf),
}

/// The tree.
pub struct Tree {
    top: PathBuf,
    inotify: Inotify,
    /// Paths from `top`: of folders, and of containers' [`EVENTS`].
    watched: HashMap<WatchDescriptor, PathBuf>,
    by_path: HashMap<PathBuf, WatchDescriptor>,
    /// Who was populated when last looked at.
    populated: HashMap<PathBuf, bool>,
    found: Vec<Told>,
    said_full: bool,
}

impl Tree {
    /// The host's.
    pub fn of_host() -> Result<Tree> {
        Tree::below(attach::root()?.path().to_owned())
    }

    fn below(top: PathBuf) -> Result<Tree> {
        let mut tree = Tree {
            top,
            inotify: inotify()?,
            watched: HashMap::new(),
            by_path: HashMap::new(),
            populated: HashMap::new(),
            found: Vec::new(),
            said_full: false,
        };
        tree.folder(Path::new("/"), DEEPEST);
        Ok(tree)
    }

    /// Who a container's cgroup belongs to; nobody if it has gone.
    pub fn owner(&self, container: &Path) -> u32 {
        std::fs::metadata(self.place(container)).map_or(u32::MAX, |found| found.uid())
    }

    /// Are there processes in it, as far as is known?
    pub fn is_populated(&self, container: &Path) -> bool {
        self.populated.get(container).is_some_and(|&populated| populated)
    }

    /// What has happened since it was last asked for.
    pub fn news(&mut self) -> Vec<Told> {
        for _ in 0..MOST_READS {
            match self.inotify.read_events() {
                Ok(events) => {
                    for event in events {
                        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                            self.anew();
                            break;
                        }
                        let name = event.name.as_deref().and_then(|name| name.to_str());
                        self.event(event.wd, event.mask, name);
                    }
                }
                Err(Errno::EINTR) => {}
                Err(_) => break,
            }
        }
        std::mem::take(&mut self.found)
    }

    fn event(&mut self, watch: WatchDescriptor, mask: AddWatchFlags, name: Option<&str>) {
        let Some(path) = self.watched.get(&watch).cloned() else { return };
        match name {
            Some(name) if mask.contains(AddWatchFlags::IN_CREATE) => self.one(&path.join(name)),
            Some(name) if mask.contains(AddWatchFlags::IN_DELETE) => self.gone(&path.join(name)),
            None if mask.contains(AddWatchFlags::IN_MODIFY) => {
                if let Some(container) = path.parent() {
                    self.state(container);
                }
            }
            _ => {}
        }
    }

    /// Something was lost: everything is looked at again, in whatever state it was.
    fn anew(&mut self) {
        let Ok(inotify) = inotify() else { return };
        self.inotify = inotify;
        self.watched.clear();
        self.by_path.clear();
        let before: Vec<_> = self.populated.keys().cloned().collect();
        self.folder(Path::new("/"), DEEPEST);
        for container in before {
            if !self.by_path.contains_key(&container.join(EVENTS)) {
                self.gone(&container);
            }
        }
    }

    /// A folder that leads to containers: first it is watched, then it is looked into, so nothing is missed in between.
    fn folder(&mut self, path: &Path, depth: usize) {
        let flags = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_DELETE;
        if !self.watch(path, flags | AddWatchFlags::IN_ONLYDIR | AddWatchFlags::IN_DONT_FOLLOW) || depth == 0
        {
            return;
        }
        let Ok(names) = Dir::open_anywhere(&self.place(path)).and_then(|dir| dir.children(MOST)) else {
            return;
        };
        for name in names {
            self.child(&path.join(name), depth - 1);
        }
    }

    fn one(&mut self, path: &Path) {
        let depth = path.components().count().saturating_sub(1);
        if depth <= DEEPEST {
            self.child(path, DEEPEST - depth);
        }
    }

    fn child(&mut self, path: &Path, depth: usize) {
        if attach::is_container(path) {
            if self.watch(&path.join(EVENTS), AddWatchFlags::IN_MODIFY) {
                self.state(path);
            }
        } else if !path.ends_with("calls") {
            self.folder(path, depth);
        }
    }

    /// Is anybody in it?
    fn state(&mut self, container: &Path) {
        let dir = Dir::open_anywhere(&self.place(container));
        let is = dir.and_then(|dir| dir.populated()).unwrap_or(false);
        if self.populated.insert(container.to_owned(), is).unwrap_or(false) != is {
            let told = if is { Told::Populated } else { Told::Empty };
            self.found.push(told(container.to_owned()));
        }
    }

    /// The kernel forgets a watch of a cgroup only with us.
    fn gone(&mut self, path: &Path) {
        for watched in [path.to_owned(), path.join(EVENTS)] {
            if let Some(watch) = self.by_path.remove(&watched) {
                self.watched.remove(&watch);
                let _ = self.inotify.rm_watch(watch);
            }
        }
        if self.populated.remove(path) == Some(true) {
            self.found.push(Told::Empty(path.to_owned()));
        }
    }

    /// Watches it, if there is room. True also if it was watched already.
    fn watch(&mut self, path: &Path, flags: AddWatchFlags) -> bool {
        if self.by_path.len() >= MOST {
            if !self.said_full {
                let text =
                    format!("agentsh-helper: more than {MOST} cgroups: containers in others aren't noticed");
                // Nobody may be reading.
                let _ = writeln!(std::io::stderr(), "{text}");
            }
            self.said_full = true;
            return false;
        }
        // Gone meanwhile, or the kernel has no more watches for us.
        let Ok(watch) = self.inotify.add_watch(&self.place(path), flags) else { return false };
        if let Some(earlier) = self.watched.insert(watch, path.to_owned()).filter(|earlier| earlier != path) {
            self.by_path.remove(&earlier);
        }
        self.by_path.insert(path.to_owned(), watch);
        true
    }

    /// Where a path from the root of the tree is here.
    fn place(&self, path: &Path) -> PathBuf {
        self.top.join(path.strip_prefix("/").unwrap_or(path))
    }
}

impl AsFd for Tree {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

fn inotify() -> Result<Inotify> {
    Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).context("inotify")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const ID: &str = "916bfafe72d02311a50ce7be997200e40a6ae85f9146d5f8e1670665ca4edc76";

    /// A cgroup as a folder of files, with somebody in it or not.
    fn cgroup(top: &Path, path: &str, populated: bool) -> PathBuf {
        let place = top.join(path);
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join(EVENTS), format!("populated {}\nfrozen 0\n", u8::from(populated))).unwrap();
        Path::new("/").join(path)
    }

    fn tree(top: &Path) -> Tree {
        Tree::below(top.to_owned()).unwrap()
    }

    #[test]
    fn containers_that_are_there_and_those_that_come_are_told_of_and_nothing_within_them() {
        let tmp = tempfile::tempdir().unwrap();
        let first = cgroup(tmp.path(), &format!("a/b/docker-{ID}.scope"), true);
        cgroup(tmp.path(), &format!("a/b/docker-{ID}.scope/x/libpod-{ID}"), true);
        cgroup(tmp.path(), &format!("agentsh/s/calls/libpod-{ID}"), true);
        cgroup(tmp.path(), "a/other", true);
        let mut tree = tree(tmp.path());
        assert_eq!(tree.news(), [Told::Populated(first.clone())]);
        assert_eq!(tree.news(), []);
        // The folder above it is new, too: the container may be there before that one is watched.
        fs::create_dir(tmp.path().join("c")).unwrap();
        let second = cgroup(tmp.path(), &format!("c/libpod-{ID}"), true);
        assert_eq!(tree.news(), [Told::Populated(second)]);
        fs::remove_dir_all(tmp.path().join(first.strip_prefix("/").unwrap())).unwrap();
        assert_eq!(tree.news(), [Told::Empty(first)]);
    }

    #[test]
    fn one_that_is_empty_is_told_of_when_somebody_comes_and_when_the_last_one_goes() {
        let tmp = tempfile::tempdir().unwrap();
        let path = cgroup(tmp.path(), &format!("docker/{ID}"), false);
        let mut tree = tree(tmp.path());
        assert_eq!(tree.news(), []);
        let events = tmp.path().join(format!("docker/{ID}/{EVENTS}"));
        fs::write(&events, "populated 1\nfrozen 0\n").unwrap();
        assert_eq!(tree.news().last(), Some(&Told::Populated(path.clone())));
        fs::write(&events, "populated 1\nfrozen 1\n").unwrap();
        assert_eq!(tree.news().last().filter(|told| **told == Told::Populated(path.clone())), None);
        fs::write(&events, "populated 0\nfrozen 0\n").unwrap();
        assert_eq!(tree.news().last(), Some(&Told::Empty(path)));
    }

    #[test]
    fn when_something_was_lost_all_is_looked_at_again() {
        let tmp = tempfile::tempdir().unwrap();
        let first = cgroup(tmp.path(), &format!("docker/{ID}"), true);
        let mut tree = tree(tmp.path());
        assert_eq!(tree.news(), [Told::Populated(first.clone())]);
        fs::remove_dir_all(tmp.path().join("docker")).unwrap();
        let second = cgroup(tmp.path(), &format!("x/{ID}"), true);
        tree.anew();
        let mut news = tree.news();
        news.sort_by_key(|told| matches!(told, Told::Empty(_)));
        assert_eq!(news, [Told::Populated(second), Told::Empty(first)]);
    }
}
