//! Mounts as file descriptors (the mount API of Linux 5.2), other processes' namespaces, and a child to enter them with.

use nix::errno::Errno;
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// Linux's, as libc lacks some of them: include/uapi/linux/mount.h.
const OPEN_TREE_CLONE: libc::c_uint = 1;
const OPEN_TREE_CLOEXEC: libc::c_uint = libc::O_CLOEXEC as libc::c_uint;
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_uint = 4;
const MOVE_MOUNT_T_EMPTY_PATH: libc::c_uint = 0x40;
const FSOPEN_CLOEXEC: libc::c_uint = 1;
const FSMOUNT_CLOEXEC: libc::c_uint = 1;
const FSCONFIG_SET_STRING: libc::c_uint = 1;
const FSCONFIG_CMD_CREATE: libc::c_uint = 6;
/// Mount attributes: read-only.
pub const READ_ONLY: u64 = 1;
/// Mount attributes: what everything that is put into a container has: no setuid programs, devices or programs at all.
pub const INERT: u64 = 2 | 4 | 8;
const AT_EMPTY_PATH: libc::c_uint = 0x1000;

#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns: u64,
}

#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// No symbolic link of any kind, and nothing above where it begins (include/uapi/linux/openat2.h).
const RESOLVE_BENEATH_WITHOUT_LINKS: u64 = 0x02 | 0x04 | 0x08;

fn fd(result: libc::c_long) -> Result<OwnedFd, Errno> {
    let raw = Errno::result(result)?;
    // SAFETY: a fresh descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(raw as i32) })
}

/// A mount of this directory alone that isn't anywhere yet.
pub fn detached(directory: impl AsFd) -> Result<OwnedFd, Errno> {
    let flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH;
    // SAFETY: a valid descriptor and a constant path.
    fd(unsafe { libc::syscall(libc::SYS_open_tree, directory.as_fd().as_raw_fd(), c"".as_ptr(), flags) })
}

/// Sets attributes of a mount.
pub fn restrict(mount: impl AsFd, attributes: u64) -> Result<(), Errno> {
    change(mount, MountAttr { set: attributes, clear: 0, propagation: 0, userns: 0 })
}

/// A mount of the same that can be written, for ourselves: it isn't anywhere, and the one that is stays as it is.
pub fn writable(mount: impl AsFd) -> Result<OwnedFd, Errno> {
    let own = detached(mount)?;
    change(&own, MountAttr { set: 0, clear: READ_ONLY, propagation: 0, userns: 0 })?;
    Ok(own)
}

fn change(mount: impl AsFd, attr: MountAttr) -> Result<(), Errno> {
    // SAFETY: a valid descriptor, a constant path, and a structure as long as said, which is only read.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            AT_EMPTY_PATH,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    })
    .map(drop)
}

/// A new tmpfs that isn't mounted anywhere yet, with these options.
pub fn tmpfs(options: &[(&CStr, &CStr)]) -> Result<OwnedFd, Errno> {
    // SAFETY: a constant name.
    let context = fd(unsafe { libc::syscall(libc::SYS_fsopen, c"tmpfs".as_ptr(), FSOPEN_CLOEXEC) })?;
    let raw = context.as_raw_fd();
    for (key, value) in options {
        // SAFETY: a valid descriptor and two strings that end with NUL.
        Errno::result(unsafe {
            libc::syscall(libc::SYS_fsconfig, raw, FSCONFIG_SET_STRING, key.as_ptr(), value.as_ptr(), 0)
        })?;
    }
    let none = std::ptr::null::<libc::c_char>();
    // SAFETY: a valid descriptor; this command takes no strings.
    Errno::result(unsafe { libc::syscall(libc::SYS_fsconfig, raw, FSCONFIG_CMD_CREATE, none, none, 0) })?;
    // SAFETY: numbers only.
    fd(unsafe { libc::syscall(libc::SYS_fsmount, raw, FSMOUNT_CLOEXEC, INERT as libc::c_uint) })
}

/// Mounts what isn't mounted yet onto an open directory of this process's mount namespace.
pub fn mount_onto(mount: impl AsFd, place: impl AsFd) -> Result<(), Errno> {
    // SAFETY: two valid descriptors and constant paths.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            place.as_fd().as_raw_fd(),
            c"".as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH,
        )
    })
    .map(drop)
}

/// Opens below a directory without following any symbolic link and without ever leaving it: who owns the tree can make
/// us open nothing but what bears that name. As O_PATH, so nothing happens by opening.
pub fn open_beneath(directory: impl AsFd, path: &CStr) -> Result<OwnedFd, Errno> {
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
    let how = OpenHow { flags: flags as u64, mode: 0, resolve: RESOLVE_BENEATH_WITHOUT_LINKS };
    // SAFETY: a valid descriptor, a string that ends with NUL, and a structure as long as said, which is only read.
    fd(unsafe {
        libc::syscall(
            libc::SYS_openat2,
            directory.as_fd().as_raw_fd(),
            path.as_ptr(),
            &raw const how,
            size_of::<OpenHow>(),
        )
    })
}

/// Enters the mount namespace of the process that a pidfd stands for; our root and working directory are its then.
pub fn enter_mounts(pidfd: impl AsFd) -> Result<(), Errno> {
    // SAFETY: a valid descriptor and a flag.
    Errno::result(unsafe { libc::setns(pidfd.as_fd().as_raw_fd(), libc::CLONE_NEWNS) }).map(drop)
}

/// Does this in a child process, and gives what it says: an exit status and a text. Only from a process with one
/// thread. An error if no process could be had.
pub fn in_child(work: impl FnOnce() -> (u8, String)) -> Result<(u8, String), Errno> {
    use std::io::{Read, Write};
    let (mut read, mut write) =
        std::io::pipe().map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(0)))?;
    // SAFETY: the callers have one thread, so the child's copy of our memory has no lock without an owner.
    match Errno::result(unsafe { libc::fork() })? {
        0 => {
            drop(read);
            // SAFETY: numbers only. Who started us is gone: then nobody wants this either.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            let (status, text) = work();
            let _ = write.write_all(text.as_bytes());
            super::exec::exit_now(i32::from(status))
        }
        pid => {
            drop(write);
            let mut text = Vec::new();
            let _ = read.by_ref().take(4096).read_to_end(&mut text);
            let status = match super::process::wait_end(pid) {
                Some((super::process::Change::Exited(status), _)) => u8::try_from(status).unwrap_or(u8::MAX),
                _ => u8::MAX,
            };
            Ok((status, String::from_utf8_lossy(&text).into_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn no_link_and_no_way_up_is_followed() {
        let tmp = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(tmp.path().join("run/agentsh")).unwrap();
        std::os::unix::fs::symlink("/etc", tmp.path().join("link")).unwrap();
        let root = File::open(tmp.path()).unwrap();
        assert!(open_beneath(&root, c"run/agentsh").is_ok());
        assert_eq!(open_beneath(&root, c"link").unwrap_err(), Errno::ELOOP);
        assert_eq!(open_beneath(&root, c"link/ssl").unwrap_err(), Errno::ELOOP);
        assert_eq!(open_beneath(&root, c"../etc").unwrap_err(), Errno::EXDEV);
        assert_eq!(open_beneath(&root, c"run/none").unwrap_err(), Errno::ENOENT);
    }
}
