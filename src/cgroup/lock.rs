//! Who arranges a cgroup that others arrange, too, has its lock meanwhile.
//!
//! By itself that is the lock of its directory, which everybody can take who may open it: any user of the machine that of the
//! pool, and a container that of its own cgroup. So root's programs have locks that nobody else gets at: bytes of a file, one
//! for each cgroup.

use super::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open, openat};
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat};
use nix::unistd::{Uid, geteuid};
use std::os::fd::OwnedFd;
use std::path::Path;

/// Not /run/agentsh, which containers mount that ask for their calls/: root in one of them could open what lies there.
const FOLDER: &str = "/run/agentsh-locks";
const FILE: &str = "cgroups";

/// What a cgroup is locked by. The lock goes when this is dropped, or the directory closed if it is the directory's.
#[derive(Debug)]
pub struct Lock {
    roots: Option<OwnedFd>,
}

impl Lock {
    /// Root's, if this is root and they can be had here.
    pub fn of_root() -> Lock {
        let roots = geteuid().is_root().then(|| file_in(Path::new(FOLDER), geteuid()));
        Lock { roots: roots.and_then(Result::ok) }
    }

    /// The directory's own.
    pub fn of_directory() -> Lock {
        Lock { roots: None }
    }

    /// Is it one that only root can take?
    pub fn is_roots(&self) -> bool {
        self.roots.is_some()
    }

    /// Takes it for this cgroup unless somebody else has it (`EWOULDBLOCK`).
    pub fn try_take(&self, dir: &Dir) -> Result<(), Errno> {
        match &self.roots {
            Some(file) => take_byte(file, dir.identity()?.id),
            None => dir.try_lock(),
        }
    }
}

/// Of the open file description, as flock(2)'s are: it goes when that is closed.
fn take_byte(file: &OwnedFd, at: u64) -> Result<(), Errno> {
    let byte = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: i64::try_from(at).map_err(|_| Errno::EOVERFLOW)?,
        l_len: 1,
        l_pid: 0,
    };
    fcntl(file, FcntlArg::F_OFD_SETLK(&byte)).map(drop)
}

/// The file of the locks in this folder, each made if it isn't there; `EPERM` if others than the owner can get at them.
fn file_in(folder: &Path, owner: Uid) -> Result<OwnedFd, Errno> {
    match mkdirat(nix::fcntl::AT_FDCWD, folder, Mode::S_IRWXU) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(e) => return Err(e),
    }
    let directory = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let folder = open(folder, directory, Mode::empty())?;
    is_of(&folder, owner, SFlag::S_IFDIR, Mode::S_IWGRP | Mode::S_IWOTH)?;
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = openat(&folder, FILE, flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
    is_of(&file, owner, SFlag::S_IFREG, Mode::S_IRWXG | Mode::S_IRWXO)?;
    Ok(file)
}

fn is_of(file: &OwnedFd, owner: Uid, kind: SFlag, forbidden: Mode) -> Result<(), Errno> {
    let stat = fstat(file)?;
    let right = stat.st_uid == owner.as_raw()
        && stat.st_mode & SFlag::S_IFMT.bits() == kind.bits()
        && stat.st_mode & forbidden.bits() == 0;
    if right { Ok(()) } else { Err(Errno::EPERM) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn each_cgroup_has_a_lock_of_its_own_that_a_lock_on_its_directory_does_not_keep() {
        let tmp = tempfile::tempdir().unwrap();
        let lock = || Lock { roots: Some(file_in(&tmp.path().join("locks"), geteuid()).unwrap()) };
        let dir = |name: &str| {
            fs::create_dir_all(tmp.path().join(name)).unwrap();
            Dir::open_anywhere(&tmp.path().join(name)).unwrap()
        };
        let (one, another, by_anybody) = (dir("one"), dir("another"), dir("one"));
        by_anybody.try_lock().unwrap();
        let (first, second) = (lock(), lock());
        assert_eq!(first.try_take(&one), Ok(()));
        assert_eq!(second.try_take(&dir("one")), Err(Errno::EWOULDBLOCK));
        assert_eq!(second.try_take(&another), Ok(()));
        drop(first);
        assert_eq!(second.try_take(&one), Ok(()));
        assert_eq!(Lock::of_directory().try_take(&one), Err(Errno::EWOULDBLOCK));
    }

    #[test]
    fn where_others_could_get_at_root_s_locks_they_are_not_used() {
        let tmp = tempfile::tempdir().unwrap();
        let folder = tmp.path().join("locks");
        let tried = || file_in(&folder, geteuid()).map(drop);
        assert_eq!(tried(), Ok(()));
        assert_eq!(file_in(&folder, Uid::from_raw(geteuid().as_raw() + 1)).map(drop), Err(Errno::EPERM));
        fs::set_permissions(folder.join(FILE), Permissions::from_mode(0o604)).unwrap();
        assert_eq!(tried(), Err(Errno::EPERM));
        fs::remove_file(folder.join(FILE)).unwrap();
        symlink(tmp.path().join("elsewhere"), folder.join(FILE)).unwrap();
        assert_eq!(tried(), Err(Errno::ELOOP));
        fs::remove_file(folder.join(FILE)).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
        assert_eq!(tried(), Err(Errno::EPERM));
        fs::remove_dir(&folder).unwrap();
        symlink(tmp.path(), &folder).unwrap();
        assert!(tried().is_err(), "a link leads elsewhere");
    }
}
