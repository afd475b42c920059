//! Policies: YAML for people, a compiled form for the launcher.
//!
//! The launcher's half reads no YAML: [`compiled`] (the types), [`binary`] (their form on disk), [`store`] (which
//! one is in force), [`resolve`] (what a call gets). The other half, for `agentshctl`, `agentsh-helper` and
//! build.rs: [`yaml`] → [`document`] → [`layers`] → [`compile`].

pub mod binary;
pub mod builtin;
pub mod compile;
pub mod compiled;
pub mod document;
pub mod glob;
pub mod hint;
pub mod knob;
pub mod layers;
pub mod place;
pub mod problem;
pub mod resolve;
pub mod setting;
pub mod store;
pub mod units;
pub mod unlimited;
pub mod value;
pub mod yaml;

/// What [`compiled::Source::path`] calls the built-in policy.
pub const BUILTIN_PATH: &str = "<built-in>/default.yaml";
