//! The BPF programs of `bpf/`: loaded once, pinned, and from then on the kernel's.

pub mod direct;
pub mod enums;
pub mod held;
pub mod hold;
pub mod keep;
pub mod memcg;
pub mod memcg_session;
pub mod monitor;
pub mod pins;
pub mod probe;
pub mod sched;
pub mod shared;
pub mod stats;

/// What libbpf-cargo makes of `bpf/agentsh_sched.bpf.c`: its programs, maps and their types.
#[allow(missing_docs, clippy::all, clippy::undocumented_unsafe_blocks, unsafe_op_in_unsafe_fn)]
mod agentsh_sched {
    include!(concat!(env!("OUT_DIR"), "/agentsh_sched.skel.rs"));
}

/// The same of `bpf/agentsh_monitor.bpf.c`.
#[allow(missing_docs, clippy::all, clippy::undocumented_unsafe_blocks, unsafe_op_in_unsafe_fn)]
mod agentsh_monitor {
    include!(concat!(env!("OUT_DIR"), "/agentsh_monitor.skel.rs"));
}

/// The same of `bpf/agentsh_memcg.bpf.c`.
#[allow(missing_docs, clippy::all, clippy::undocumented_unsafe_blocks, unsafe_op_in_unsafe_fn)]
mod agentsh_memcg {
    include!(concat!(env!("OUT_DIR"), "/agentsh_memcg.skel.rs"));
}
