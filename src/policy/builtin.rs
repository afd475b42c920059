//! The built-in policy: `policies/default.yaml`, compiled by build.rs and carried in the binaries.

use super::compiled::Policy;
use super::{binary, unlimited};

/// `policies/default.yaml` in its compiled form.
pub const BYTES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/default.policy"));

/// The policy in force where no file says otherwise.
pub fn policy() -> Box<Policy> {
    // build.rs has decoded the very same bytes; should they be unreadable all the same (bad memory), the command
    // still has to run.
    binary::decode(BYTES).map_or_else(|_| Box::new(unlimited::policy()), |compiled| compiled.policy)
}
