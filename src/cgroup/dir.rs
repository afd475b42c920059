//! A cgroup's directory, opened once; its files are opened relative to it, so a rename or a mount over its path changes
//! nothing. Nothing here allocates but the path of a newly opened directory.

use super::{kill, parse};
use crate::sys::{flock, xattr};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fchmod, fstat, mkdirat};
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, fstatfs};
use nix::unistd::{AccessFlags, UnlinkatFlags, faccessat, unlinkat, write};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Room for the longest file read here: memory.stat has about 75 lines of at most 45 bytes on Linux 7.3.
pub const BUFFER: usize = 4096;
/// Room for the others that are flat keyed: cpu.stat has about 15 such lines.
pub const SHORT: usize = 1024;

/// An open cgroup directory.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

/// What fstat tells of a cgroup's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cgroup's id, which is the inode's number (kernfs, 64-bit): what BPF programs see.
    pub id: u64,
    /// Child cgroups: kernfs counts each as a link.
    pub children: u64,
    /// The owner.
    pub uid: u32,
    /// Has [`Dir::kill`] been used on it?
    pub killed: bool,
}

impl Dir {
    /// Opens a directory of a cgroup v2 file system; `EMEDIUMTYPE` if it is on another one.
    pub fn open(path: &Path) -> Result<Dir, Errno> {
        let dir = Dir::open_anywhere(path)?;
        match fstatfs(&dir.fd)?.filesystem_type() {
            CGROUP2_SUPER_MAGIC => Ok(dir),
            _ => Err(Errno::EMEDIUMTYPE),
        }
    }

    /// Opens a directory of any file system: for tests, which lay out the same files in a temporary one.
    pub fn open_anywhere(path: &Path) -> Result<Dir, Errno> {
        let fd = openat(nix::fcntl::AT_FDCWD, path, DIRECTORY, Mode::empty())?;
        Ok(Dir { fd, path: path.to_owned() })
    }

    /// Opens a child cgroup; links are not followed.
    pub fn child(&self, name: &str) -> Result<Dir, Errno> {
        let fd = openat(&self.fd, name, DIRECTORY | OFlag::O_NOFOLLOW, Mode::empty())?;
        Ok(Dir { fd, path: self.path.join(name) })
    }

    /// Another handle on the same open directory: a lock is held until both are closed.
    pub fn again(&self) -> Result<Dir, Errno> {
        let fd = self.fd.try_clone().map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(0)))?;
        Ok(Dir { fd, path: self.path.clone() })
    }

    /// Makes a child cgroup and opens it; `EEXIST` if there is one.
    pub fn make_child(&self, name: &str) -> Result<Dir, Errno> {
        mkdirat(&self.fd, name, Mode::from_bits_truncate(0o755))?;
        self.child(name)
    }

    /// Makes a child cgroup unless there is one, and opens it.
    pub fn ensure_child(&self, name: &str) -> Result<Dir, Errno> {
        match self.make_child(name) {
            Err(Errno::EEXIST) => self.child(name),
            other => other,
        }
    }

    /// Removes a child cgroup; `EBUSY` if it has processes or children.
    pub fn remove_child(&self, name: &str) -> Result<(), Errno> {
        unlinkat(&self.fd, name, UnlinkatFlags::RemoveDir)
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The last component of its path.
    pub fn name(&self) -> &str {
        self.path.file_name().and_then(|n| n.to_str()).unwrap_or("")
    }

    /// Its id, children and owner.
    pub fn identity(&self) -> Result<Identity, Errno> {
        let stat = fstat(&self.fd)?;
        Ok(Identity {
            id: stat.st_ino,
            children: (stat.st_nlink as u64).saturating_sub(2),
            uid: stat.st_uid,
            killed: stat.st_mode & Mode::S_ISVTX.bits() != 0,
        })
    }

    /// Ends every process in it (cgroup.kill, Linux 5.14; one by one where that can't be written), and marks it by the sticky bit, which fstat tells of: it must
    /// not be used again. From 6.14 on (and in 6.12's later versions) whatever is cloned into it from elsewhere would be
    /// killed at birth, as the kernel compares its count of kills with that of the parent's cgroup (kernel/cgroup/cgroup.c,
    /// cgroup_css_set_fork).
    pub fn kill(&self) -> Result<(), Errno> {
        self.kill_by(None)
    }

    /// The same by an open cgroup.kill, where there may be no memory left to open it.
    pub fn kill_by(&self, kept: Option<&Kept>) -> Result<(), Errno> {
        // Not our own directory: then we may not use it either.
        let _ = fchmod(&self.fd, Mode::from_bits_truncate(0o755) | Mode::S_ISVTX);
        if kept.is_some_and(|kept| kept.write(b"1").is_ok()) {
            return Ok(());
        }
        match self.write("cgroup.kill", b"1") {
            Err(Errno::EROFS | Errno::EACCES | Errno::EPERM) => kill::each(self),
            other => other,
        }
    }

    /// May we make cgroups in it? `EROFS` on a read-only mount, `EACCES` if it isn't ours.
    pub fn writable(&self) -> Result<(), Errno> {
        faccessat(&self.fd, ".", AccessFlags::W_OK | AccessFlags::X_OK, nix::fcntl::AtFlags::empty())
    }

    /// Does it have this file or child?
    pub fn has(&self, name: &str) -> bool {
        faccessat(&self.fd, name, AccessFlags::F_OK, nix::fcntl::AtFlags::empty()).is_ok()
    }

    /// May we write this file of it?
    pub fn may_write(&self, name: &str) -> bool {
        faccessat(&self.fd, name, AccessFlags::W_OK, nix::fcntl::AtFlags::empty()).is_ok()
    }

    /// Reads a file whole, as far as `buf` reaches.
    pub fn read<'b>(&self, file: &str, buf: &'b mut [u8]) -> Result<&'b [u8], Errno> {
        self.keep(file, OFlag::O_RDONLY)?.read(buf)
    }

    /// Reads a single number (memory.current, memory.peak, pids.current …); `EBADMSG` if it isn't one.
    pub fn read_u64(&self, file: &str) -> Result<u64, Errno> {
        parse::number(self.read(file, &mut [0; 32])?).ok_or(Errno::EBADMSG)
    }

    /// Reads a limit: none is `max`; `EBADMSG` if it is neither.
    pub fn read_max(&self, file: &str) -> Result<Option<u64>, Errno> {
        parse::number_or_max(self.read(file, &mut [0; 32])?).ok_or(Errno::EBADMSG)
    }

    /// Reads one key of a flat keyed file; `EBADMSG` if it has no such key.
    pub fn read_key(&self, file: &str, key: &str) -> Result<u64, Errno> {
        parse::keyed(self.read(file, &mut [0; SHORT])?, key.as_bytes()).ok_or(Errno::EBADMSG)
    }

    /// Are there processes in it or below?
    pub fn populated(&self) -> Result<bool, Errno> {
        self.read_key("cgroup.events", "populated").map(|n| n != 0)
    }

    /// Writes a file. Opened O_NONBLOCK: from Linux 6.16 on, lowering memory.high or memory.max then doesn't make the
    /// writer reclaim (mm/memcontrol.c, memory_high_write); before, the flag has no effect.
    pub fn write(&self, file: &str, value: &[u8]) -> Result<(), Errno> {
        let fd =
            openat(&self.fd, file, OFlag::O_WRONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK, Mode::empty())?;
        write(&fd, value).map(drop)
    }

    /// Writes a number.
    pub fn write_u64(&self, file: &str, value: u64) -> Result<(), Errno> {
        self.write(file, parse::format(Some(value), &mut [0; 24]))
    }

    /// Writes a limit; none is `max`.
    pub fn write_max(&self, file: &str, value: Option<u64>) -> Result<(), Errno> {
        self.write(file, parse::format(value, &mut [0; 24]))
    }

    /// Opens a file to read (or write) it again and again.
    pub fn keep(&self, file: &str, flags: OFlag) -> Result<Kept, Errno> {
        openat(&self.fd, file, flags | OFlag::O_CLOEXEC, Mode::empty()).map(Kept)
    }

    /// Takes the directory's lock unless somebody else has it (`EWOULDBLOCK`); closing the directory lets it go.
    pub fn try_lock(&self) -> Result<(), Errno> {
        flock::try_lock(&self.fd)
    }

    /// Lets the lock go.
    pub fn unlock(&self) -> Result<(), Errno> {
        flock::unlock(&self.fd)
    }

    /// Reads an extended attribute.
    pub fn mark<'b>(&self, name: &CStr, buf: &'b mut [u8]) -> Result<&'b [u8], Errno> {
        xattr::get(&self.fd, name, buf)
    }

    /// Sets an extended attribute.
    pub fn set_mark(&self, name: &CStr, value: &[u8]) -> Result<(), Errno> {
        xattr::set(&self.fd, name, value)
    }

    /// Removes an extended attribute.
    pub fn remove_mark(&self, name: &CStr) -> Result<(), Errno> {
        xattr::remove(&self.fd, name)
    }

    /// The names of its child cgroups, at most `limit` of them. Not for the hot path: it reads the whole directory.
    pub fn children(&self, limit: usize) -> Result<Vec<String>, Errno> {
        let fd = openat(&self.fd, ".", DIRECTORY, Mode::empty())?;
        let mut names = Vec::new();
        for entry in nix::dir::Dir::from_fd(fd)?.iter() {
            let entry = entry?;
            if entry.file_type() != Some(nix::dir::Type::Directory) {
                continue;
            }
            match entry.file_name().to_str() {
                Ok("." | "..") | Err(_) => {}
                Ok(name) => names.push(name.to_owned()),
            }
            if names.len() >= limit {
                break;
            }
        }
        Ok(names)
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

const DIRECTORY: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC).union(OFlag::O_NONBLOCK);

/// An open file of a cgroup.
#[derive(Debug)]
pub struct Kept(OwnedFd);

/// Reads a limit by its path; as [`Dir::read_max`].
pub fn read_max(path: &Path) -> Result<Option<u64>, Errno> {
    let file = openat(nix::fcntl::AT_FDCWD, path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    parse::number_or_max(Kept(file).read(&mut [0; 32])?).ok_or(Errno::EBADMSG)
}

/// Was a file not opened for want of a descriptor alone, so that it is worth another try?
pub fn for_now(errno: Errno) -> bool {
    matches!(errno, Errno::EMFILE | Errno::ENFILE)
}

impl Kept {
    /// Reads it from its beginning; the kernel produces its text anew each time.
    pub fn read<'b>(&self, buf: &'b mut [u8]) -> Result<&'b [u8], Errno> {
        let mut len = 0;
        while len < buf.len() {
            let at = i64::try_from(len).map_err(|_| Errno::EOVERFLOW)?;
            match nix::sys::uio::pread(&self.0, &mut buf[len..], at) {
                Ok(0) => break,
                // A page at a time; less than that is the end, and a second read would only say so.
                Ok(n) if n < 4000 => {
                    len += n;
                    break;
                }
                Ok(n) => len += n,
                Err(Errno::EINTR) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(&buf[..len])
    }

    /// Reads it as a single number.
    pub fn read_u64(&self) -> Result<u64, Errno> {
        parse::number(self.read(&mut [0; 32])?).ok_or(Errno::EBADMSG)
    }

    /// Writes to it from its beginning.
    pub fn write(&self, value: &[u8]) -> Result<(), Errno> {
        nix::sys::uio::pwrite(&self.0, value, 0).map(drop)
    }
}

impl AsFd for Kept {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn files_are_read_by_type_and_a_missing_or_broken_one_is_an_error() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = Dir::open_anywhere(tmp.path()).unwrap();
        for (file, text) in
            [("current", "4096\n"), ("max", "max\n"), ("events", "populated 1\nfrozen 0\n"), ("odd", "x\n")]
        {
            fs::write(tmp.path().join(file), text).unwrap();
        }
        assert_eq!(dir.read_u64("current"), Ok(4096));
        assert_eq!(dir.read_max("max"), Ok(None));
        assert_eq!(dir.read_max("current"), Ok(Some(4096)));
        assert_eq!(dir.read_key("events", "populated"), Ok(1));
        assert_eq!(dir.read_key("events", "nothing"), Err(Errno::EBADMSG));
        assert_eq!(dir.read_u64("odd"), Err(Errno::EBADMSG));
        assert_eq!(dir.read_u64("absent"), Err(Errno::ENOENT));
        assert_eq!(dir.write("absent", b"1"), Err(Errno::ENOENT));
    }

    #[test]
    fn a_kept_file_is_read_anew_each_time() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = Dir::open_anywhere(tmp.path()).unwrap();
        fs::write(tmp.path().join("current"), "1\n").unwrap();
        let kept = dir.keep("current", OFlag::O_RDONLY).unwrap();
        assert_eq!(kept.read_u64(), Ok(1));
        fs::write(tmp.path().join("current"), "2\n").unwrap();
        assert_eq!(kept.read_u64(), Ok(2));
    }

    #[test]
    fn a_directory_outside_cgroup_v2_is_refused() {
        let tmp = tempfile::tempdir().unwrap();
        assert_eq!(Dir::open(tmp.path()).unwrap_err(), Errno::EMEDIUMTYPE);
    }

    #[test]
    fn children_are_made_listed_and_removed() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = Dir::open_anywhere(tmp.path()).unwrap();
        fs::write(tmp.path().join("file"), "").unwrap();
        assert_eq!(dir.make_child("test-0").unwrap().name(), "test-0");
        assert_eq!(dir.make_child("test-0").unwrap_err(), Errno::EEXIST);
        assert!(dir.ensure_child("test-0").is_ok());
        assert_eq!(dir.children(10).unwrap(), ["test-0"]);
        dir.remove_child("test-0").unwrap();
        assert_eq!(dir.child("test-0").unwrap_err(), Errno::ENOENT);
    }

    #[test]
    fn what_has_been_killed_is_marked_also_by_an_open_file() {
        let tmp = tempfile::tempdir().unwrap();
        fs::write(tmp.path().join("cgroup.kill"), "").unwrap();
        let dir = Dir::open_anywhere(tmp.path()).unwrap();
        let kept = dir.keep("cgroup.kill", OFlag::O_WRONLY).unwrap();
        assert!(!dir.identity().unwrap().killed);
        dir.kill_by(Some(&kept)).unwrap();
        assert!(dir.identity().unwrap().killed, "it would be used again, and who is born in it killed");
        assert_eq!(fs::read(tmp.path().join("cgroup.kill")).unwrap(), b"1");
    }
}
