//! What is known of programs, one file for each trade.

use super::call::{Call, Found, is};
use super::entry::Entry;
use super::index;
use super::word::basename;
use crate::class::Class;

mod agents;
mod clang;
mod cloud;
mod containers;
mod databases;
mod dotnet;
mod editing;
mod fetching;
mod functional;
mod go;
mod jvm;
mod linting;
mod looking;
mod make;
mod mobile;
mod monorepos;
mod node;
mod node_tools;
mod php;
mod python;
mod python_tools;
mod ruby;
mod rust;
pub(super) mod script;
mod shells;
mod snippet;
mod system;
mod tasks;
mod vcs;
mod wrappers;

/// All tables; `index` finds entries in them by name.
pub(super) const TABLES: &[&[Entry]] = &[
    agents::TABLE,
    clang::TABLE,
    containers::TABLE,
    databases::TABLE,
    dotnet::TABLE,
    editing::TABLE,
    cloud::TABLE,
    fetching::TABLE,
    functional::TABLE,
    go::TABLE,
    jvm::TABLE,
    linting::TABLE,
    looking::TABLE,
    make::TABLE,
    mobile::TABLE,
    monorepos::TABLE,
    node::TABLE,
    node_tools::TABLE,
    php::TABLE,
    python::TABLE,
    python_tools::TABLE,
    ruby::TABLE,
    rust::TABLE,
    shells::TABLE,
    system::TABLE,
    vcs::TABLE,
    wrappers::TABLE,
];

/// No path is longer (PATH_MAX, linux/limits.h); longer words are not looked through.
const LONGEST_PATH: usize = 4096;

/// The name of the rule for a call, and what it makes of it; none if there is no rule.
pub(super) fn judge(call: &Call<'_>) -> Option<(&'static str, Found)> {
    let program = call.word(0);
    if program.len() > LONGEST_PATH {
        return None;
    }
    // `./test` is not the shell's `test`: a script's own name comes first.
    if program.starts_with(b"./") || program.starts_with(b"../") {
        let by_name = script::told_by_name(program);
        if let Some(judgment) = by_name {
            return Some(("script's name", Found::Is(judgment)));
        }
    }
    let (name, entry) = index::find(basename(program))?;
    let found = entry.judge(call);
    let Found::Is(judgment) = found else {
        return Some((name, found));
    };
    if call.asks_version() && !matches!(judgment.class, Class::Edit) {
        return Some(("version asked", is(Class::Explore)));
    }
    let heavy = matches!(judgment.class, Class::Test | Class::Build | Class::Install | Class::Agent);
    if heavy && call.has(&["--help"]) {
        return Some(("help asked", is(Class::Run)));
    }
    Some((name, found))
}
