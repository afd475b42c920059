//! Policies: YAML for people, a compiled form for the launcher.

pub mod compiled;
