//! agentsh: a shell for AI agents' tool calls.
//!
//! The three programs share this library: `agentsh` (the launcher, [`launcher`]), `agentshctl` ([`ctl`]) and
//! `agentsh-helper` ([`helper`]). What decides is pure and tested without a kernel ([`classify`], [`policy`]);
//! what acts is thin ([`cgroup`], [`launcher`], [`sys`]).

pub mod cgroup;
pub mod class;
pub mod classify;
pub mod ctl;
pub mod helper;

pub mod launcher;
pub mod log;
pub mod policy;
pub mod sys;
