//! Extended attributes of an open directory: how cgroups are marked (delegated by systemd, made by agentsh).

use nix::errno::Errno;
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd};

/// Reads an attribute into `buf`; `ENODATA` if there is none, `ERANGE` if it is longer than `buf`.
pub fn get<'b>(fd: impl AsFd, name: &CStr, buf: &'b mut [u8]) -> Result<&'b [u8], Errno> {
    // SAFETY: the name is NUL-terminated, and the kernel writes at most `buf.len()` bytes to `buf`; both outlive the call.
    let n =
        unsafe { libc::fgetxattr(fd.as_fd().as_raw_fd(), name.as_ptr(), buf.as_mut_ptr().cast(), buf.len()) };
    let n = usize::try_from(Errno::result(n)?).map_err(|_| Errno::EIO)?;
    buf.get(..n).ok_or(Errno::EIO)
}

/// Removes an attribute; `ENODATA` if there is none.
pub fn remove(fd: impl AsFd, name: &CStr) -> Result<(), Errno> {
    // SAFETY: the name is NUL-terminated and outlives the call.
    Errno::result(unsafe { libc::fremovexattr(fd.as_fd().as_raw_fd(), name.as_ptr()) }).map(drop)
}

/// Creates or replaces an attribute.
pub fn set(fd: impl AsFd, name: &CStr, value: &[u8]) -> Result<(), Errno> {
    // SAFETY: the name is NUL-terminated, and the kernel reads exactly `value.len()` bytes of `value`; both outlive the call.
    let rc = unsafe {
        libc::fsetxattr(fd.as_fd().as_raw_fd(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0)
    };
    Errno::result(rc).map(drop)
}
