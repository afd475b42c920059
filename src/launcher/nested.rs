//! An agent that a tool call starts gets a session beneath the caller's: its own processes are told from its calls, which
//! get their leaves, and all of it stays within the outer budget. A command that starts one is done in place, so it is we
//! who move, before we become the shell.

use super::call::{Call, note};
use crate::cgroup::beneath;
use crate::classify::Kind;

/// Moves this process into a session of its own, if an agent is about to be started in it. Where that can't be, it
/// starts where we are.
pub fn enter(call: &mut Call) {
    let Some(session) = call.session.as_ref().filter(|_| call.verdict.kind == Kind::Agent) else { return };
    let said = match beneath::enter(session, &call.policy.session) {
        Ok(name) => format!("in a session of its own: {name}"),
        Err(why) => format!("in no session of its own: {why}"),
    };
    note(&mut call.record, Some(said));
}
