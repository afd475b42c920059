//! Builders that take targets: make and those like it.

use super::super::call::{Call, Found, is, one_of};
use super::super::entry::{Entry, Verbs, all, by, verb, verbs};
use super::tasks;
use crate::class::Class;

pub(super) const TABLE: &[Entry] = &[
    by(&["make", "gmake", "bmake", "remake", "mingw32-make"], |call| {
        targets(call, &["-C", "-f", "-I", "-o", "-W", "--directory", "--file", "--makefile", "-E", "--eval"])
    }),
    by(&["ninja", "samu", "ninja-build"], |call| {
        targets(call, &["-C", "-f", "-j", "-k", "-l", "-t", "-d", "-w"])
    }),
    by(&["just", "task", "go-task", "mage", "waf", "scons", "mask", "cargo-make", "makers"], |call| {
        if call.has(&["-l", "--list", "--summary", "--list-all", "--show", "--evaluate", "--dry-run"]) {
            return is(Class::Explore);
        }
        let with_value = &[
            "-f",
            "-d",
            "--justfile",
            "--working-directory",
            "--taskfile",
            "--dir",
            "-j",
            "--set",
            "--profile",
        ];
        is(call.operands(1, with_value).filter_map(tasks::class).min().unwrap_or(Class::Run))
    }),
    by(&["cmake"], cmake),
    all(Class::Test, &["ctest", "kyua", "atf-run", "dejagnu", "runtest"]),
    verbs(
        &["meson", "muon"],
        Verbs {
            with_value: &["-C"],
            verbs: &[
                verb(Class::Test, &["test", "benchmark"]),
                verb(Class::Explore, &["introspect", "help"]),
                verb(Class::Install, &["install", "subprojects", "wrap"]),
                verb(Class::Edit, &["rewrite", "init", "format"]),
            ],
            bare: Class::Build,
            other: Class::Build,
        },
    ),
    verbs(
        &["bazel", "bazelisk", "buck", "buck2", "pants", "please", "plz"],
        Verbs {
            with_value: &["--output_base", "--output_user_root", "--bazelrc"],
            verbs: &[
                verb(Class::Test, &["test", "coverage"]),
                verb(Class::Run, &["run", "shutdown", "fmt", "lint", "tailor"]),
                verb(
                    Class::Explore,
                    &[
                        "query",
                        "cquery",
                        "aquery",
                        "info",
                        "version",
                        "help",
                        "targets",
                        "list",
                        "peek",
                        "dependencies",
                        "uquery",
                        "audit",
                    ],
                ),
                verb(Class::Install, &["fetch", "sync", "mod"]),
                verb(Class::Edit, &["clean"]),
            ],
            bare: Class::Explore,
            other: Class::Build,
        },
    ),
    verbs(
        &["xmake", "b2", "bjam", "premake5", "qmake", "gn", "tup", "redo", "gprbuild", "autoninja"],
        Verbs {
            with_value: &[],
            verbs: &[
                verb(Class::Test, &["test", "check"]),
                verb(Class::Run, &["run"]),
                verb(Class::Install, &["install", "require"]),
            ],
            bare: Class::Build,
            other: Class::Build,
        },
    ),
];

/// The heaviest of the targets; a target whose name tells nothing is built.
fn targets(call: &Call<'_>, with_value: &'static [&'static str]) -> Found {
    if call.has(&["-n", "--dry-run", "--just-print", "-p", "--print-data-base", "-q", "--question", "-t"]) {
        return is(Class::Explore);
    }
    let mut heaviest: Option<Class> = None;
    for target in call.operands(1, with_value) {
        // `-j 8` and `VAR=value` are no targets.
        if target.contains(&b'=') || target.iter().all(u8::is_ascii_digit) {
            continue;
        }
        let class = tasks::class(target).unwrap_or(if one_of(target, &["help", "list"]) {
            Class::Explore
        } else {
            Class::Build
        });
        heaviest = Some(heaviest.map_or(class, |other| other.heavier(class)));
    }
    is(heaviest.unwrap_or(Class::Build))
}

fn cmake(call: &Call<'_>) -> Found {
    if call.has(&["-E"]) {
        // `cmake -E copy`, `cmake -E env A=B command`
        return match (call.word(2), call.operand(3, &[])) {
            (b"env", Some(index)) => Found::Through(index),
            _ => is(Class::Edit),
        };
    }
    if call.has(&["--install"]) {
        return is(Class::Install);
    }
    if call.has(&["--help", "-LA", "-L", "-LAH", "--help-property", "--system-information"]) {
        return is(Class::Explore);
    }
    if call.has(&["-P"]) {
        return is(Class::Run);
    }
    let target = call.value(&["--target", "-t"]).map(|index| call.word(index));
    is(match target.and_then(tasks::class) {
        Some(class @ (Class::Test | Class::Install)) => class,
        _ => Class::Build,
    })
}
