//! The only place with `unsafe`: thin, typed wrappers over system calls, each with the reason why it is sound.

pub mod allocator;
pub mod args;
pub mod aside;
pub mod bpf;
pub mod capability;
pub mod exec;
pub mod fault;
pub mod fd;
pub mod flock;
pub mod guardian;
pub mod lifeboat;
pub mod mounting;
pub mod peer;
pub mod process;
pub mod sched_ext;
pub mod signal;
pub mod spawn;
pub mod xattr;
