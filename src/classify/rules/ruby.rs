//! Ruby.

use super::super::call::{Call, Found, is};
use super::super::entry::{Entry, Verbs, all, by, verb, verbs};
use super::{script, tasks};
use crate::class::Class;

pub(super) const TABLE: &[Entry] = &[
    all(
        Class::Test,
        &[
            "rspec",
            "minitest",
            "cucumber",
            "m",
            "parallel_rspec",
            "parallel_test",
            "mutant",
            "guard",
            "turbo_tests",
            "cutest",
            "bacon",
        ],
    ),
    by(&["bundle", "bundler"], |call| match call.operand(1, &["--gemfile"]) {
        Some(at) => match call.word(at) {
            b"exec" if at + 1 < call.words.len() => Found::Through(at + 1),
            b"list" | b"show" | b"info" | b"outdated" | b"check" | b"viz" | b"platform" | b"doctor"
            | b"env" | b"which" => is(Class::Explore),
            b"init" | b"gem" | b"config" | b"clean" => is(Class::Edit),
            b"console" | b"open" | b"licenses" | b"audit" => is(Class::Run),
            _ => is(Class::Install),
        },
        None => is(Class::Install),
    }),
    verbs(
        &["gem"],
        Verbs {
            with_value: &[],
            verbs: &[
                verb(
                    Class::Explore,
                    &[
                        "list",
                        "search",
                        "info",
                        "environment",
                        "env",
                        "contents",
                        "dependency",
                        "which",
                        "outdated",
                        "specification",
                        "help",
                    ],
                ),
                verb(Class::Build, &["build"]),
                verb(Class::Run, &["push", "exec", "signin", "server"]),
            ],
            bare: Class::Explore,
            other: Class::Install,
        },
    ),
    by(&["rake", "thor"], |call| {
        if call.has(&["-T", "--tasks", "-D", "-P", "-AT"]) {
            return is(Class::Explore);
        }
        // Without a task a Rakefile's default runs, which is the tests in most.
        let named = call.operands(1, &["-f", "-C", "-I", "-r"]).filter(|task| !task.contains(&b'='));
        is(named.map(|task| tasks::class(task).unwrap_or(Class::Run)).min().unwrap_or(Class::Test))
    }),
    verbs(
        &["rails"],
        Verbs {
            with_value: &["-e", "--environment"],
            verbs: &[
                verb(
                    Class::Test,
                    &[
                        "test",
                        "t",
                        "test:system",
                        "test:all",
                        "spec",
                        "test:models",
                        "test:controllers",
                        "test:prepare",
                    ],
                ),
                verb(Class::Install, &["new", "app:template"]),
                verb(Class::Edit, &["generate", "g", "destroy", "d"]),
                verb(Class::Build, &["assets:precompile", "webpacker:compile"]),
                verb(Class::Explore, &["routes", "about", "stats", "notes", "version", "db:version", "-T"]),
            ],
            bare: Class::Explore,
            other: Class::Run,
        },
    ),
    by(&["ruby", "jruby", "truffleruby", "irb", "pry"], interpreter),
    verbs(
        &["crystal", "shards", "nim", "nimble"],
        Verbs {
            with_value: &[],
            verbs: &[
                verb(Class::Test, &["spec", "test"]),
                verb(Class::Run, &["run", "r", "eval", "play", "tool"]),
                verb(Class::Install, &["install", "update", "deps", "develop", "uninstall"]),
                verb(Class::Explore, &["list", "search", "env", "dump", "version", "path"]),
                verb(Class::Edit, &["init"]),
            ],
            bare: Class::Build,
            other: Class::Build,
        },
    ),
    all(
        Class::Run,
        &[
            "rubocop",
            "standardrb",
            "reek",
            "brakeman",
            "sorbet",
            "srb",
            "steep",
            "puma",
            "unicorn",
            "sidekiq",
            "kamal",
            "cap",
            "erb",
            "yard",
            "rdoc",
        ],
    ),
    all(Class::Install, &["pod", "appraisal"]),
];

/// ruby's command line; `ruby -Itest test/x_test.rb` is a test by its name, `-S rspec` a program.
fn interpreter(call: &Call<'_>) -> Found {
    if call.words.len() == 2 && matches!(call.word(1), b"-v" | b"-h") {
        return is(Class::Explore);
    }
    if let Some(index) = call.value(&["-S"]) {
        return Found::Through(index);
    }
    let in_place =
        call.args().any(|arg| arg.starts_with(b"-i") || arg.starts_with(b"-pi") || arg.starts_with(b"-ni"));
    if call.program() == b"ruby" && in_place {
        return is(Class::Edit);
    }
    if call.args().any(|arg| arg == b"-e" || arg.ends_with(b"ne") && arg.starts_with(b"-")) {
        return is(Class::Run);
    }
    match call.operand(1, &["-r", "-I", "-C", "-E"]) {
        Some(index) if script::is_test_script(call.word(index)) => is(Class::Test),
        // `ruby bin/rails test`, `ruby -S`: a program that is a script.
        Some(index) if !call.word(index).ends_with(b".rb") && call.word(index).starts_with(b"bin/") => {
            Found::Through(index)
        }
        _ => is(Class::Run),
    }
}
