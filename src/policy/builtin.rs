//! The built-in policy: `policies/default.yaml`, carried in the binaries as constants that build.rs writes.

use super::compiled::{Policy, Source};

mod constants {
    include!(concat!(env!("OUT_DIR"), "/default.rs"));
}

/// The policy in force where no file says otherwise.
pub fn policy() -> Box<Policy> {
    use constants::{CLASSES, HINTS, HOLDING, LOG, SESSION, SOURCES};
    let source = |&(path, layer): &(&str, _)| Source { path: path.into(), layer, stamp: None };
    Box::new(Policy {
        sources: SOURCES.iter().map(source).collect(),
        classes: CLASSES,
        overrides: Vec::new(),
        hints: HINTS,
        log: LOG,
        session: SESSION,
        holding: HOLDING,
    })
}
