//! PHP and Perl, Lua and R, Julia: interpreters that run a script or some code.

use super::super::call::{Call, Found, is, one_of};
use super::super::entry::{Entry, Verbs, all, by, verb, verbs};
use super::{script, tasks};
use crate::class::Class;

pub(super) const TABLE: &[Entry] = &[
    all(
        Class::Test,
        &[
            "phpunit",
            "pest",
            "paratest",
            "codecept",
            "behat",
            "phpspec",
            "simple-phpunit",
            "infection",
            "atoum",
            "kahlan",
            "prove",
            "yath",
            "busted",
            "bats",
            "shunit2",
            "shellspec",
            "roundup",
            "cram",
            "expect-test",
            "testthat",
            "luaunit",
            "vusted",
        ],
    ),
    by(&["composer"], |call| {
        match call.operand(1, &["-d", "--working-dir"]).map_or(&b""[..], |index| call.word(index)) {
            b"install" | b"update" | b"require" | b"remove" | b"create-project" | b"global" | b"i" | b"u"
            | b"upgrade" | b"reinstall" | b"self-update" | b"dump-autoload" | b"dumpautoload" | b"bump" => {
                is(Class::Install)
            }
            b"show"
            | b"outdated"
            | b"validate"
            | b"why"
            | b"why-not"
            | b"depends"
            | b"info"
            | b"licenses"
            | b"search"
            | b"status"
            | b"audit"
            | b"diagnose"
            | b"check-platform-reqs"
            | b"" => is(Class::Explore),
            b"exec" | b"run" | b"run-script" => is(call.words[2..]
                .iter()
                .filter_map(|word| tasks::class(&word.text))
                .next()
                .unwrap_or(Class::Run)),
            b"init" | b"config" => is(Class::Edit),
            name => is(tasks::class(name).unwrap_or(Class::Run)),
        }
    }),
    by(&["php", "hhvm"], |call| {
        match call.operand(1, &["-d", "-c", "-S", "-t", "-B", "-R", "-F", "-E", "-z"]) {
            _ if call.has(&["-v", "-m", "-i", "--ini", "--ri"]) && call.words.len() <= 3 => {
                is(Class::Explore)
            }
            _ if call.has(&["-l", "-r"]) => is(Class::Run),
            Some(index) => file(call, index),
            None => is(Class::Run),
        }
    }),
    by(&["artisan", "console", "spark", "wp", "drush", "yii"], |call| match call.word(1) {
        b"test" | b"dusk" => is(Class::Test),
        b"list" | b"route:list" | b"about" | b"help" | b"debug:router" | b"debug:container" | b"env"
        | b"" => is(Class::Explore),
        name if name.starts_with(b"make:") => is(Class::Edit),
        _ => is(Class::Run),
    }),
    all(
        Class::Run,
        &[
            "phpstan",
            "psalm",
            "php-cs-fixer",
            "phpcs",
            "phpcbf",
            "phpmd",
            "rector",
            "pint",
            "phpbench",
            "deptrac",
            "perltidy",
            "perlcritic",
            "luacheck",
            "stylua",
            "lua",
            "luajit",
            "tclsh",
            "wish",
            "expect",
            "octave",
            "matlab",
            "gnuplot",
            "maxima",
            "gp",
            "sage",
            "bc",
            "dc",
            "scheme",
            "guile",
            "racket",
            "sbcl",
            "clisp",
            "emacs",
            "swipl",
            "io",
            "gforth",
            "osascript",
        ],
    ),
    by(&["perl"], perl),
    all(Class::Install, &["cpan", "cpanm", "carton", "ppm", "luarocks", "pecl", "pear", "phive"]),
    by(&["Rscript", "R", "r", "littler"], |call| {
        match (call.word(1), call.word(2)) {
            (b"CMD", b"check") => return is(Class::Test),
            (b"CMD", b"INSTALL" | b"REMOVE") => return is(Class::Install),
            (b"CMD", b"build" | b"SHLIB") => return is(Class::Build),
            _ => {}
        }
        let code = call.value(&["-e"]).map_or(&b""[..], |index| call.word(index));
        is(
            if holds(
                call,
                code,
                &[
                    "test_that(",
                    "test_dir(",
                    "test_file(",
                    "devtools::test",
                    "test_local(",
                    "devtools::check",
                    "tinytest::",
                ],
            ) {
                Class::Test
            } else if holds(
                call,
                code,
                &[
                    "install.packages",
                    "install_github",
                    "install_deps",
                    "renv::restore",
                    "BiocManager::install",
                    "pak::",
                ],
            ) {
                Class::Install
            } else {
                by_file(call, &["-e", "-f", "--file"])
            },
        )
    }),
    by(&["julia"], |call| {
        let code = call.value(&["-e", "-E", "--eval"]).map_or(&b""[..], |index| call.word(index));
        is(if holds(call, code, &["Pkg.test"]) {
            Class::Test
        } else if holds(
            call,
            code,
            &["Pkg.add", "Pkg.instantiate", "Pkg.develop", "Pkg.update", "Pkg.resolve"],
        ) {
            Class::Install
        } else if holds(call, code, &["Pkg.build", "Pkg.precompile"]) {
            Class::Build
        } else {
            by_file(call, &["-e", "-E", "-t", "-p", "-L", "-J"])
        })
    }),
    verbs(
        &["raku", "zef"],
        Verbs {
            with_value: &[],
            verbs: &[verb(Class::Test, &["test"]), verb(Class::Install, &["install"])],
            bare: Class::Run,
            other: Class::Run,
        },
    ),
];

/// A script: a program that is one (`php artisan`, `php vendor/bin/phpunit`), a test by its name, or just run.
fn file(call: &Call<'_>, index: usize) -> Found {
    let path = call.word(index);
    match super::super::word::basename(path) {
        b"artisan" | b"console" | b"spark" | b"composer.phar" => Found::Through(index),
        name if !name.ends_with(b".php")
            && super::super::index::find(name.strip_suffix(b".phar").unwrap_or(name)).is_some() =>
        {
            Found::Through(index)
        }
        _ if script::is_test_script(path) => is(Class::Test),
        _ => is(Class::Run),
    }
}

fn by_file(call: &Call<'_>, with_value: &[&str]) -> Class {
    match call.operand(1, with_value) {
        Some(index) if script::is_test_script(call.word(index)) => Class::Test,
        Some(index) if one_of(call.word(index), &["test/runtests.jl"]) => Class::Test,
        _ => Class::Run,
    }
}

fn holds(call: &Call<'_>, code: &[u8], parts: &[&str]) -> bool {
    let part = |part: &&str| code.windows(part.len()).any(|window| window == part.as_bytes());
    call.spend(code.len() * parts.len() / 2) && parts.iter().any(part)
}

/// perl: in-place editing, a filter, or a script.
fn perl(call: &Call<'_>) -> Found {
    let mut in_place = false;
    for arg in call.args() {
        let [b'-', letters @ ..] = arg else {
            break;
        };
        match letters {
            b"v" | b"V" => return is(Class::Explore),
            // What follows one of these within the word is its value.
            _ => in_place |= letters.iter().take_while(|b| !b"eEMmIFxCd".contains(b)).any(|&b| b == b'i'),
        }
    }
    if in_place {
        return is(Class::Edit);
    }
    match call.operand(
        1,
        &["-e", "-E", "-I", "-M", "-m", "-F", "-ne", "-pe", "-lne", "-nle", "-lpe", "-ple", "-0ne", "-0pe"],
    ) {
        _ if call.args().any(|arg| arg.len() > 2 && arg.starts_with(b"-") && arg.ends_with(b"e")) => {
            is(Class::Explore)
        }
        Some(index) if call.word(index).ends_with(b".t") || script::is_test_script(call.word(index)) => {
            is(Class::Test)
        }
        Some(index) if one_of(call.word(index), &["Makefile.PL", "Build.PL", "Configure"]) => {
            is(Class::Build)
        }
        _ => is(Class::Run),
    }
}
