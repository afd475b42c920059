//! bpf(2), for what libbpf has no call for: a link of struct_ops to a cgroup (see `helper::bpf::memcg`).

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// linux/bpf.h: `enum bpf_cmd`.
const BPF_OBJ_PIN: libc::c_int = 6;
const BPF_LINK_CREATE: libc::c_int = 28;
/// linux/bpf.h: `enum bpf_attach_type`.
const BPF_STRUCT_OPS: u32 = 44;
/// The seventh version of the memcg_bpf_ops series: `target_fd` is a cgroup's.
const BPF_F_CGROUP_FD: u32 = 1 << 7;

/// Where the cgroup's descriptor goes: the series' versions differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupIn {
    /// `link_create.cgroup.relative_fd` (versions 3 to 6).
    RelativeFd,
    /// `link_create.target_fd`, with a flag (version 7).
    TargetFd,
}

/// `link_create` of `union bpf_attr`; the kernel takes what is beyond its own size if it is zero.
#[repr(C, align(8))]
#[derive(Default)]
struct LinkCreate {
    map_fd: u32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
    relative_fd: u32,
    unused: [u32; 11],
}

/// The fields for [`BPF_OBJ_PIN`].
#[repr(C, align(8))]
#[derive(Default)]
struct Pin {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// Attaches a struct_ops map, which must have been made ready, to a cgroup.
pub fn link_to_cgroup(map: impl AsFd, cgroup: impl AsFd, how: CgroupIn) -> io::Result<OwnedFd> {
    let cgroup = cgroup.as_fd().as_raw_fd() as u32;
    let mut attr = LinkCreate {
        map_fd: map.as_fd().as_raw_fd() as u32,
        attach_type: BPF_STRUCT_OPS,
        ..LinkCreate::default()
    };
    match how {
        CgroupIn::RelativeFd => attr.relative_fd = cgroup,
        CgroupIn::TargetFd => (attr.target_fd, attr.flags) = (cgroup, BPF_F_CGROUP_FD),
    }
    // SAFETY: a command with its attributes, which are as large as said; it gives a descriptor or an error.
    let fd =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_LINK_CREATE, &raw const attr, size_of::<LinkCreate>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a fresh descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Pins a link, a map or a program.
pub fn pin(object: impl AsFd, path: &CStr) -> io::Result<()> {
    let attr =
        Pin { pathname: path.as_ptr() as u64, bpf_fd: object.as_fd().as_raw_fd() as u32, file_flags: 0 };
    // SAFETY: as above; the path is NUL-terminated and outlives the call.
    match unsafe { libc::syscall(libc::SYS_bpf, BPF_OBJ_PIN, &raw const attr, size_of::<Pin>()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
