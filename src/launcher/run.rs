//! A call from its start to its end.

use super::bound;
use super::call::{Call, note};
use super::caretaker;
use super::departed::Departed;
use super::env::Env;
use super::report;
use super::sentinel::Sentinel;
use super::supervise::{Guard, Supervision, Woken};
use super::voice::Voice;
use crate::cgroup::claim::Wish;
use crate::cgroup::governor::Governor;
use crate::cgroup::leaf::Leaf;
use crate::cgroup::sweep;
use crate::log::record::{LeafName, Placement};
use crate::sys::args::Args;
use crate::sys::spawn::{self, Start};
use crate::sys::{fault, fd, lifeboat, process, signal};
use nix::fcntl::AtFlags;
use nix::unistd::{AccessFlags, faccessat};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// Records a call that is done by becoming the shell.
pub fn in_place(call: Call, env: &Env) {
    // What writing the log could raise must not end the command; the lifeboat puts the mask back.
    lifeboat::signals_blocked(signal::block(fault::all_others()));
    report::log(&call.record, &call.policy.log, env);
}

/// Starts the shell, watches over it and ends as it did. Comes back if it couldn't be started: then we become it.
pub fn supervised(mut call: Call, args: Args, env: &Env, shell: &'static CStr) {
    let begun = process::monotonic_ns();
    let mask = signal::block(fault::all_others());
    lifeboat::signals_blocked(mask);
    let signals = match signal::Stream::new(signal::Set::all()) {
        Ok(signals) => signals,
        Err(error) => return give_up(call, env, &format!("signalfd: {error}")),
    };
    let mut leaf = claim(&mut call);
    // With SIGCHLD ignored the kernel would not tell how the shell ended. It gets its own disposition back.
    let sigchld_ignored = signal::set_default(libc::SIGCHLD);
    let oom_score_adj = leaf.as_ref().and_then(|_| oom_score_adj(&call));
    let started = start(
        Start {
            program: shell,
            args,
            cgroup: leaf.as_ref().map(Leaf::fd),
            mask,
            ignored: if sigchld_ignored { &[libc::SIGCHLD] } else { &[] },
            death_signal: libc::SIGKILL,
            oom_score_adj: oom_score_adj.as_deref(),
        },
        &mut call,
    );
    let pid = match started {
        Ok(pid) => pid,
        Err(error) => {
            if sigchld_ignored {
                signal::set_ignored(libc::SIGCHLD);
            }
            return give_up(call, env, &format!("no process can be started: {error}"));
        }
    };
    if let Some(leaf) = leaf.as_mut().filter(|_| call.record.placement == Placement::Degraded) {
        leaf.refused = true;
    }
    // The command is on its way; what follows costs it nothing.
    let mut voice = Voice::of_stderr();
    let mut keep = vec![signals.as_raw_fd()];
    keep.extend(voice.keep());
    keep.extend(bound::locked());
    if let (Some(session), Some(leaf)) = (&call.session, &leaf) {
        session.keep(&mut keep);
        leaf.keep(&mut keep);
    }
    fd::close_all_but(&mut keep);
    if let (Some(session), Some(leaf)) = (&call.session, &mut leaf) {
        leaf.prepare(session);
    }
    let sentinel = Sentinel::of(&call.record.command);
    let mut supervision = Supervision {
        shell: pid,
        signals: &signals,
        voice: &mut voice,
        sentinel,
        departed: Departed::default(),
    };
    let swept = call.session.as_ref().map(|session| sweep::sweep(session)).unwrap_or_default();
    let woken = supervision.wait_a_moment(Duration::from_nanos(process::monotonic_ns() - begun));
    if let (Some(session), Some(leaf), Woken::No | Woken::GoesOn) = (&call.session, &mut leaf, woken) {
        leaf.settle(&session.limits(&call.resolved.knobs));
    }
    let governor = call
        .session
        .as_ref()
        .zip(leaf.as_ref())
        .map(|(s, leaf)| Governor::new(leaf, s, &call.policy.holding, swept));
    let mut guard = Guard(governor);
    let (change, used) = supervision.run(&mut guard, woken);
    let suspects = guard.0.as_mut().map(Governor::suspects).unwrap_or_default();
    let verdict = guard.0.map(|governor| {
        let verdict = governor.verdict();
        // Its files close with us: one by one would only keep the caller waiting.
        std::mem::forget(governor);
        verdict
    });
    call.record.duration = Duration::from_nanos(process::monotonic_ns() - begun);
    call.record.outcome = report::outcome(change);
    let (facts, feared) = report::facts(&mut call, leaf.zip(verdict), &used);
    report::tell(&voice, &facts, &mut call.record);
    report::log(&call.record, &call.policy.log, env);
    if feared.is_some() || !suspects.is_empty() {
        caretaker::send(&call, feared, suspects, voice, &args, env);
    }
    lifeboat::end_as(change)
}

/// Claims the call's leaf. Without one it runs all the same.
fn claim(call: &mut Call) -> Option<Leaf> {
    let session = call.session.as_ref()?;
    match session.claim(call.verdict.class, Wish::Knobs(&call.resolved.knobs)) {
        Ok(leaf) => {
            let (cgroup_id, generation) = (leaf.id, leaf.generation);
            call.record.leaf = Some(LeafName { name: leaf.name().into(), cgroup_id, generation });
            call.record.placement = Placement::Leaf;
            Some(leaf)
        }
        Err(error) => {
            note(&mut call.record, Some(error.to_string()));
            None
        }
    }
}

/// Starts the shell in its leaf; without it where the leaf is the trouble.
fn start(mut start: Start, call: &mut Call) -> io::Result<i32> {
    let error = match spawn::spawn(&start) {
        Ok(pid) => return Ok(pid),
        Err(error) => error,
    };
    match error.raw_os_error() {
        // No such system call here or (E2BIG: Linux before 5.7) not with a cgroup, or a seccomp filter's answer to it: the child goes
        // into its leaf by itself.
        Some(libc::ENOSYS | libc::EPERM | libc::E2BIG) if start.cgroup.is_some() => {
            if start.cgroup.is_some_and(|leaf| !may_join(leaf)) {
                start.cgroup = None;
                call.record.placement = Placement::Degraded;
                note(
                    &mut call.record,
                    Some(format!("clone3: {error}, and cgroup.procs isn't ours to write")),
                );
            }
            spawn::spawn_then_join(&start)
        }
        // No more processes or memory: a fork wouldn't do better.
        Some(libc::EAGAIN | libc::ENOMEM) => Err(error),
        _ if start.cgroup.is_none() => Err(error),
        _ => {
            start.cgroup = None;
            call.record.placement = Placement::Degraded;
            note(&mut call.record, Some(format!("clone3 into the leaf: {error}")));
            spawn::spawn(&start)
        }
    }
}

/// Can a process go into this cgroup by itself?
fn may_join(leaf: BorrowedFd) -> bool {
    faccessat(leaf, "cgroup.procs", AccessFlags::W_OK, AtFlags::empty()).is_ok()
}

/// What the child is to write to its oom_score_adj: the caller's and the policy's, never less than the caller's.
fn oom_score_adj(call: &Call) -> Option<String> {
    let more = call.resolved.knobs.oom_score_adj.value;
    if more <= 0 {
        return None;
    }
    let own: i16 = std::fs::read_to_string("/proc/self/oom_score_adj").ok()?.trim().parse().ok()?;
    Some(own.saturating_add(more).min(1000).to_string())
}

fn give_up(mut call: Call, env: &Env, why: &str) {
    call.record.placement = Placement::InPlace;
    call.record.leaf = None;
    note(&mut call.record, Some(why.into()));
    report::log(&call.record, &call.policy.log, env);
}
