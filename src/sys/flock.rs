//! flock(2) on a borrowed descriptor: `nix`'s guard wants to own it, and a leaf's directory has other uses too.

use nix::errno::Errno;
use std::os::fd::{AsFd, AsRawFd};

/// Takes the lock if nobody else holds it; never waits. `EWOULDBLOCK`: somebody does.
///
/// The lock belongs to the open file description: it goes when the last copy of the descriptor is closed.
pub fn try_lock(fd: impl AsFd) -> Result<(), Errno> {
    flock(fd, libc::LOCK_EX | libc::LOCK_NB)
}

/// Lets the lock go while the descriptor stays open.
pub fn unlock(fd: impl AsFd) -> Result<(), Errno> {
    flock(fd, libc::LOCK_UN)
}

fn flock(fd: impl AsFd, operation: libc::c_int) -> Result<(), Errno> {
    // SAFETY: flock takes two integers and touches no memory of ours; the descriptor is borrowed, so it is open.
    Errno::result(unsafe { libc::flock(fd.as_fd().as_raw_fd(), operation) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn a_lock_keeps_others_out_until_it_is_let_go() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (File::open(dir.path()).unwrap(), File::open(dir.path()).unwrap());
        assert_eq!(try_lock(&a), Ok(()));
        assert_eq!(try_lock(&b), Err(Errno::EWOULDBLOCK));
        assert_eq!(unlock(&a), Ok(()));
        assert_eq!(try_lock(&b), Ok(()));
    }
}
