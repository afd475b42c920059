//! Runners of tasks: of every package of a repository (turbo, nx, lerna …), or of several scripts at once.
//!
//! What they run has the names of tasks; the heaviest of them counts.

use super::super::call::{Call, Found, is};
use super::super::entry::{Entry, by};
use super::super::word::basename;
use super::tasks;
use crate::class::Class;

pub(super) const TABLE: &[Entry] = &[
    by(&["turbo", "lerna", "nx", "rush", "rushx", "wireit", "moon", "lage"], packages),
    by(&["npm-run-all", "npm-run-all2", "run-p", "run-s"], |call| {
        is(heaviest(call.operands(1, &[])).unwrap_or(Class::Run))
    }),
];

/// Options whose value is the next word.
const WITH_VALUE: &[&str] = &[
    "--filter",
    "-F",
    "--scope",
    "--ignore",
    "--project",
    "-p",
    "--projects",
    "--base",
    "--head",
    "--concurrency",
    "--parallel",
    "-c",
    "--configuration",
    "--to",
    "--from",
];

/// Options that name tasks.
const TASKS: &[&str] = &["-t", "--target", "--targets"];

fn packages(call: &Call<'_>) -> Found {
    let Some(at) = call.operand(1, WITH_VALUE) else {
        return is(Class::Run);
    };
    is(match call.word(at) {
        b"exec" => {
            return match call.words.iter().position(|word| *word.text == *b"--") {
                Some(dashes) if dashes + 1 < call.words.len() => Found::Through(dashes + 1),
                _ => is(Class::Run),
            };
        }
        b"run" | b"run-many" | b"affected" | b"ci" | b"watch" => {
            heaviest(call.operands(at + 1, WITH_VALUE).map(of_project).chain(targets(call)))
                .unwrap_or(Class::Run)
        }
        b"install" | b"update" | b"add" | b"bootstrap" | b"link" | b"migrate" | b"setup" => Class::Install,
        b"list" | b"ls" | b"graph" | b"show" | b"report" | b"changed" | b"diff" | b"info" | b"query"
        | b"print-affected" | b"telemetry" | b"version" | b"project" | b"projects" | b"tasks" => {
            Class::Explore
        }
        b"clean" | b"reset" | b"generate" | b"g" | b"create" | b"init" | b"new" | b"prune" | b"format" => {
            Class::Edit
        }
        // turbo's operands are all tasks; behind nx's comes the project.
        _ if basename(call.word(0)) == b"turbo" => {
            heaviest(call.operands(at, WITH_VALUE)).unwrap_or(Class::Run)
        }
        task => tasks::class(task).unwrap_or(Class::Run),
    })
}

/// The values of the options that name tasks: several words, or words with commas between them.
fn targets<'c>(call: &Call<'c>) -> impl Iterator<Item = &'c [u8]> + use<'c> {
    let mut within = false;
    call.args().flat_map(move |arg| {
        let option = arg.starts_with(b"-");
        let attached = TASKS.iter().find_map(|name| arg.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
        within = if option { TASKS.iter().any(|name| name.as_bytes() == arg) } else { within };
        let named = attached.or((within && !option).then_some(arg)).unwrap_or_default();
        named.split(|&b| b == b',')
    })
}

/// `project:task` names a task, and a project that may be called anything.
fn of_project(name: &[u8]) -> &[u8] {
    match name.iter().position(|&b| b == b':') {
        Some(colon) if !name.starts_with(b"test:") && !name.starts_with(b"build:") => &name[colon + 1..],
        _ => name,
    }
}

fn heaviest<'t>(names: impl Iterator<Item = &'t [u8]>) -> Option<Class> {
    names.filter_map(tasks::class).reduce(Class::heavier)
}
