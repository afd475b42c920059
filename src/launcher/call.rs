//! One call, decided before anything of it has begun: what it is, what it may have, where it goes.

use super::ancestry;
use super::bound;
use super::env::Env;
use super::headroom;
use super::identity::Identity;
use super::invocation::Form;
use super::refresh;
use super::shim;
use super::table::{self, Done};
use crate::cgroup::beneath;
use crate::cgroup::place::{self, Place, Session};
use crate::class::Class;
use crate::classify::{self, Context, Verdict};
use crate::log::record::{Placement, Record};
use crate::policy::compiled::{Knobs, Policy};
use crate::policy::resolve::{self, Request, Resolved};
use crate::sys::args::Args;
use crate::sys::process;
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::SystemTime;

/// A call that is to be supervised.
pub struct Call {
    /// What the command is.
    pub verdict: Verdict,
    /// The policies in force.
    pub policy: Box<Policy>,
    /// What the call may have.
    pub resolved: Resolved,
    /// Where its leaf goes; none in degraded mode.
    pub session: Option<Box<Session>>,
    /// The log record, as far as it is known.
    pub record: Record,
}

/// How an invocation is done, after a look at everything.
pub enum Planned {
    /// In place, and nobody needs to know.
    InPlace,
    /// In place, and the log has it.
    Logged(Box<Call>),
    /// Supervised.
    Call(Box<Call>),
}

/// Decides. `own` is our own cgroup, if that can be told.
pub fn plan(args: &Args, env: &Env, identity: &Identity, own: Option<&[u8]>) -> Planned {
    let all = args.bytes();
    let form = match identity {
        Identity::Shim(_) => Form::Unknown,
        _ => super::invocation::parse(all.get(1..).unwrap_or(&[])),
    };
    let done = table::by_form(identity, &form);
    if done == Done::InPlace(None) {
        return Planned::InPlace;
    }
    let cwd = std::env::current_dir().ok();
    let (policy, problem) = refresh::policy(env, args, cwd.as_deref());
    let verdict = verdict(identity, &form, &all, &policy);
    let reason = match (done, table::by_kind(verdict.kind)) {
        (Done::InPlace(reason), _) | (Done::Supervised, Done::InPlace(reason)) => reason,
        (Done::Supervised, Done::Supervised) => None,
    };
    let reason =
        reason.or_else(|| (!headroom::has_room()).then_some("RLIMIT_NPROC leaves no room for a launcher"));
    let mut record = record(&form, &all, &verdict);
    let reason = reason.or_else(|| bound::reason(env, &record.command));
    if let Identity::Shim(name) = identity {
        record.command = shim::command(name, &all);
        record.shim = Some(String::from_utf8_lossy(name).into_owned());
    }
    record.cwd = cwd.map(|dir| dir.into_os_string().into_vec()).unwrap_or_default();
    note(&mut record, problem);
    if let Some(reason) = reason {
        record.placement = Placement::InPlace;
        note(&mut record, Some(format!("no leaf: {reason}")));
    }
    let session = match place(env, own, &policy) {
        Place::Session(session) => Some(session),
        Place::InLeaf { .. } => return Planned::InPlace,
        // Without a cgroup that says so, only our ancestors tell that we are inside of a call.
        Place::None(_) if ancestry::inside_a_call() => return Planned::InPlace,
        Place::None(why) => {
            note(&mut record, Some(why));
            None
        }
    };
    record.session = session.as_deref().map(beneath::name_of);
    let hint = verdict.hint.as_deref().or(env.hint);
    record.hint = hint.map(|h| String::from_utf8_lossy(h).into_owned());
    let mut request = Request {
        class: verdict.class,
        overrides: &verdict.overrides,
        hooks: verdict.hooks,
        hint,
        budget: None,
    };
    if resolve::asks_for_budget(&policy, &request) {
        request.budget = budget(session.as_deref(), policy.class(verdict.class));
    }
    let resolved = resolve::resolve(&policy, &request);
    let call = Box::new(Call { verdict, policy, resolved, session, record });
    if reason.is_some() { Planned::Logged(call) } else { Planned::Call(call) }
}

impl Call {
    /// What the session's calls have together, in bytes: their budget, else the nearest limit, else what the machine had.
    pub fn budget(&self) -> Option<u64> {
        budget(self.session.as_deref(), self.policy.class(self.verdict.class))
    }
}

fn budget(session: Option<&Session>, knobs: &Knobs) -> Option<u64> {
    let context = session?.context(knobs);
    context.budget.or(context.shown.max).or(context.shown.high).or(context.available)
}

/// Adds a reason to the record's.
pub fn note(record: &mut Record, reason: Option<String>) {
    let Some(reason) = reason else { return };
    match &mut record.degraded {
        Some(all) => {
            all.push_str("; ");
            all.push_str(&reason);
        }
        none => *none = Some(reason),
    }
}

fn verdict(identity: &Identity, form: &Form, all: &[&[u8]], policy: &Policy) -> Verdict {
    let context = Context { rules: &policy.overrides };
    match (identity, form) {
        (Identity::Shim(name), _) => shim::verdict(name, all, &context),
        (_, Form::Command { text, .. }) => classify::classify(text, &context),
        (_, Form::Script { argv, .. }) => {
            let mut verdict = classify::classify_argv(argv, &context);
            // A script by a name that says nothing is a program that runs.
            if verdict.class == Class::Other {
                verdict.class = Class::Run;
            }
            verdict
        }
        _ => classify::classify(b"", &context),
    }
}

fn record(form: &Form, all: &[&[u8]], verdict: &Verdict) -> Record {
    let mut record = Record::begin(SystemTime::now(), verdict.class);
    record.command = match form {
        Form::Command { text, .. } => text.to_vec(),
        Form::Script { argv, .. } => argv.join(&b' '),
        _ => all.join(&b' '),
    };
    record.argv0 = all.first().map(|a| a.to_vec()).unwrap_or_default();
    record
}

fn place(env: &Env, own: Option<&[u8]>, policy: &Policy) -> Place {
    place::locate(&place::Env {
        own,
        session: env.session.map(OsStr::from_bytes),
        uid: process::euid(),
        policy: Some(&policy.session),
    })
}
