//! Who is at the other end of a local socket.

use nix::errno::Errno;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// include/uapi/asm-generic/socket.h; since Linux 6.5.
const SO_PEERPIDFD: libc::c_int = 77;

/// The process that connected: its pid as we count, and its pidfd, so that nobody who gets its number later is taken for
/// it. `ENOPROTOOPT` before Linux 6.5.
pub fn of(socket: impl AsFd) -> Result<(i32, OwnedFd), Errno> {
    let raw: libc::c_int = option(&socket, SO_PEERPIDFD)?;
    // SAFETY: a fresh descriptor that nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(raw) };
    let who: libc::ucred = option(&socket, libc::SO_PEERCRED)?;
    Ok((who.pid, pidfd))
}

/// An option of this type, which any bytes must be a value of.
fn option<T: Copy>(socket: impl AsFd, name: libc::c_int) -> Result<T, Errno> {
    let mut value = MaybeUninit::<T>::zeroed();
    let mut length = size_of::<T>() as libc::socklen_t;
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: a valid descriptor, and a buffer that is as long as said.
    Errno::result(unsafe {
        libc::getsockopt(socket, libc::SOL_SOCKET, name, value.as_mut_ptr().cast(), &mut length)
    })?;
    // SAFETY: zeroed or filled by the kernel; both callers ask for plain numbers.
    Ok(unsafe { value.assume_init() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn the_other_end_is_known_by_pid_and_pidfd() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let (pid, pidfd) = of(&ours).unwrap();
        assert_eq!(u32::try_from(pid), Ok(std::process::id()));
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).unwrap();
        assert!(info.contains(&format!("Pid:\t{pid}\n")), "{info}");
    }
}
