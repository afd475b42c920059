//! A session beneath a session: for an agent that a tool call starts. It lies among the calls of the outer one, as
//! `calls/agent-<n>/{agent,calls}`, so that the outer budget holds for all that is in it, whatever its own limits say.
//!
//! Like a leaf it is made by whoever makes calls, without any privilege. Nobody waits for its end: the next call of the
//! outer session, or whoever needs a place for another agent, removes it when nobody lives in it any more.

use super::dir::Dir;
use super::limits::least;
use super::place::{MOUNTED_CALLS, Session};
use super::session::{self, Spec};
use super::{mark, meminfo};
use crate::policy::compiled::SessionPolicy;
use nix::errno::Errno;
use std::path::Path;
use std::time::Duration;

/// Of one session at a time. More find their place with the outer agent.
const MOST: u32 = 64;
/// What such a session's name begins with; no leaf's does ([`crate::class::Class::of_leaf`]).
const PREFIX: &str = "agent-";
/// For the lock of `calls/`, which is held for moments: 200 ms in all.
const TRIES: usize = 20;

/// Makes a session in the `calls/` of this one and moves this process into its `agent/`. Gives its name; or says why it
/// can't be done, and then this process is where it was.
pub fn enter(outer: &Session, policy: &SessionPolicy) -> Result<String, String> {
    let calls = &outer.calls;
    lock(calls).map_err(|e| format!("{} can't be locked: {}", calls.path().display(), e.desc()))?;
    let entered = enter_locked(outer, policy);
    let _ = calls.unlock();
    entered
}

fn enter_locked(outer: &Session, policy: &SessionPolicy) -> Result<String, String> {
    let calls = &outer.calls;
    let name = free_name(calls)?;
    let above = least(outer.budget(), outer.shown().max);
    let spec = Spec::of(Some(policy), None, above, meminfo::available());
    let entered = session::make(calls, &name, mark::BY_RUN, &spec).and_then(|(base, _)| {
        let enter = base.write("agent/cgroup.procs", b"0");
        enter.map_err(super::Error::of("enter", base.path(), "agent"))
    });
    match entered {
        Ok(()) => Ok(name),
        Err(error) => {
            // As far as it was made: the depth of cgroups is limited (cgroup.max.depth), and so is their number.
            let _ = session::remove(calls, &name);
            Err(error.to_string())
        }
    }
}

/// The first name that nobody lives under; what lay there goes.
fn free_name(calls: &Dir) -> Result<String, String> {
    let free = (0..MOST).map(|n| format!("{PREFIX}{n}")).find(|name| match calls.child(name) {
        Err(e) => e == Errno::ENOENT,
        Ok(_) => remove_if_over(calls, name),
    });
    free.ok_or_else(|| format!("{MOST} agents live in {} already", calls.path().display()))
}

/// Is this what a session among calls is named?
pub fn is_name(name: &str) -> bool {
    let number = name.strip_prefix(PREFIX);
    number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// A session's name, that of one which lies among another's calls with that one's before it: `run-7/agent-0`.
pub fn name_of(session: &Session) -> String {
    let base = session.calls.path().parent();
    match base.and_then(Path::parent).filter(|path| path.ends_with("calls")) {
        None => session.name().to_owned(),
        Some(outer) => {
            let above = if outer == Path::new(MOUNTED_CALLS) {
                None
            } else {
                outer.parent().and_then(Path::file_name)
            };
            let above = above.map_or("container".into(), |name| name.to_string_lossy());
            format!("{above}/{}", session.name())
        }
    }
}

/// Removes the session of this name if nobody lives in it. Only with the lock of `calls`, or one that is about to be
/// entered could go.
fn remove_if_over(calls: &Dir, name: &str) -> bool {
    let is_over = |base: Dir| {
        let mut buf = [0; 16];
        base.mark(mark::SESSION, &mut buf) == Ok(mark::BY_RUN) && base.populated() == Ok(false)
    };
    calls.child(name).is_ok_and(is_over) && session::remove(calls, name).is_ok()
}

/// For who sweeps: removes it if nobody lives in it, unless somebody makes one right now. Else gives its `calls/`.
pub fn sweep(calls: &Dir, name: &str) -> Option<Dir> {
    if calls.try_lock().is_ok() {
        let removed = remove_if_over(calls, name);
        let _ = calls.unlock();
        if removed {
            return None;
        }
    }
    calls_of(calls, name)
}

/// The `calls/` of the session of this name.
pub fn calls_of(calls: &Dir, name: &str) -> Option<Dir> {
    let base = calls.child(name).ok()?;
    base.mark(mark::SESSION, &mut [0; 16]).ok()?;
    base.child("calls").ok()
}

fn lock(calls: &Dir) -> Result<(), Errno> {
    for _ in 0..TRIES {
        match calls.try_lock() {
            Err(Errno::EWOULDBLOCK) => std::thread::sleep(Duration::from_millis(10)),
            other => return other,
        }
    }
    Err(Errno::EWOULDBLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class::Class;

    #[test]
    fn a_session_among_calls_is_no_leaf_by_its_name() {
        for name in ["agent-0", "agent-63"] {
            assert!(is_name(name) && Class::of_leaf(name).is_none(), "{name}");
        }
        for name in ["agent", "agent-", "agent-x", "test-0", "agents-1"] {
            assert!(!is_name(name), "{name}");
        }
    }
}
