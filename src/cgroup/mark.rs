//! Extended attributes by which agentsh recognises its own cgroups. `user.` ones can be set by the owner of the cgroup
//! alone (kernfs has them since Linux 5.7), and programs of a session's uid own its `calls/`, not the session.

use std::ffi::CStr;

/// On a session that `agentshctl run` or the helper made: [`BY_RUN`] or [`BY_HELPER`].
pub const SESSION: &CStr = c"user.agentsh.session";
/// A session that goes when nobody lives in it any more.
pub const BY_RUN: &[u8] = b"run";
/// A session that stays until it is removed.
pub const BY_HELPER: &[u8] = b"helper";
/// On a session: `high`, `normal` or `low`; none is normal.
pub const PRIORITY: &CStr = c"user.agentsh.priority";
/// On a leaf: the claim's generation and the class's number, native-endian u64 each; on one that was left in order, how it was
/// left (see [`super::idle`]).
pub const LEAF: &CStr = c"user.agentsh.leaf";
/// On `calls/`: the raises in force (see [`super::reserve`]).
pub const RESERVE: &CStr = c"user.agentsh.reserve";
/// On `calls/`: CLOCK_BOOTTIME in ns of the last sweep, native-endian u64; one byte more if there are [`NEWS`].
pub const SWEPT: &CStr = c"user.agentsh.swept";
/// On `calls/`: what was killed when nobody could be told (see [`super::news`]).
pub const NEWS: &CStr = c"user.agentsh.news";
/// On `calls/`: MemAvailable in bytes when the session was made, native-endian u64.
pub const AVAILABLE: &CStr = c"user.agentsh.available";
/// On `calls/`: how many leaves of each class the helper made ahead, native-endian u64; none where launchers make them.
pub const AHEAD: &CStr = c"user.agentsh.ahead";
/// On a container's cgroup that the helper attached: what it was like before (see the helper's `attach::before`). `trusted.`, so
/// nobody but root can say.
pub const BEFORE: &CStr = c"trusted.agentsh.before";
/// Set by systemd on a unit with Delegate=yes, by its system manager …
pub const TRUSTED_DELEGATE: &CStr = c"trusted.delegate";
/// … and by either manager since version 251.
pub const USER_DELEGATE: &CStr = c"user.delegate";
