//! Python: the interpreter, and what it is given to run.

use super::super::call::{Call, Found, is, one_of};
use super::super::entry::{Entry, by};
use super::super::index;
use super::super::simple::Stdin;
use super::{script, snippet, tasks};
use crate::class::Class;

pub(super) const TABLE: &[Entry] = &[
    by(&["python", "pypy", "python-dbg", "ipython", "py", "pythonw", "micropython", "graalpy"], |call| {
        interpreter(call, 1)
    }),
    // They run a script, or a module with -m, as the interpreter does.
    by(&["coverage"], |call| match call.word(1) {
        b"run" => interpreter(call, 2),
        b"report" | b"html" | b"xml" | b"json" | b"lcov" | b"combine" | b"annotate" | b"erase" => {
            is(Class::Run)
        }
        _ => is(Class::Explore),
    }),
    by(
        &["kernprof", "py-spy", "scalene", "viztracer", "pyinstrument", "ddtrace-run", "debugpy", "pudb"],
        |call| match call.operand(1, &["-o", "-r", "-d", "--listen", "--output_file"]) {
            Some(index) if one_of(call.word(index), &["record", "top"]) => call
                .words
                .iter()
                .position(|word| *word.text == *b"--")
                .map_or(is(Class::Run), |dashes| through(call, dashes + 1)),
            Some(index) if call.word(index).ends_with(b".py") => file(call, index),
            Some(index) => through(call, index),
            None => is(Class::Run),
        },
    ),
    by(
        &[
            "torchrun",
            "accelerate",
            "deepspeed",
            "streamlit",
            "uvicorn",
            "gunicorn",
            "celery",
            "flask",
            "fastapi",
        ],
        |_| is(Class::Run),
    ),
    by(&["django-admin", "manage.py"], manage),
    by(&["setup.py"], |call| setup(call, 1)),
];

fn through(call: &Call<'_>, index: usize) -> Found {
    if index < call.words.len() { Found::Through(index) } else { is(Class::Run) }
}

/// The interpreter's command line, from its first argument on.
fn interpreter(call: &Call<'_>, from: usize) -> Found {
    if call.asks_version() || matches!(call.word(from), b"-h" | b"--help" | b"--version") {
        return is(Class::Explore);
    }
    let mut index = from;
    while let [b'-', letters @ ..] = call.word(index)
        && !letters.is_empty()
    {
        index += 1;
        if matches!(letters, b"-check-hash-based-pycs" | b"-rcfile" | b"-source" | b"-omit" | b"-include") {
            index += 1;
        }
        if letters[0] == b'-' {
            continue;
        }
        let Some(at) = letters.iter().position(|b| b"cmWX".contains(b)) else {
            continue;
        };
        let attached = &letters[at + 1..];
        let code = &call.code(index - 1)[at + 2..];
        match letters[at] {
            b'c' => return snippet::judge(call, if code.is_empty() { call.code(index) } else { code }),
            b'm' if attached.is_empty() => return module(call, index),
            b'm' => return module_alone(attached),
            _ if attached.is_empty() => index += 1,
            _ => {}
        }
    }
    match (call.word(index), &call.simple.stdin) {
        (b"" | b"-" | b"/dev/stdin", Stdin::Text(code)) => snippet::judge(call, code),
        (b"" | b"-", Stdin::Pipe) if call.simple.fetched => is(Class::Install),
        (b"" | b"-", _) => is(Class::Run),
        _ => file(call, index),
    }
}

/// A script's file.
fn file(call: &Call<'_>, index: usize) -> Found {
    let path = call.word(index);
    match super::super::word::basename(path) {
        b"manage.py" | b"setup.py" => Found::Through(index),
        // `python $(which pytest)`, `python venv/bin/pytest`: a program that is a script.
        name if !name.ends_with(b".py") && (path.contains(&b'/') || path.starts_with(b"$(which")) => {
            Found::Through(index)
        }
        b"build.py" => is(Class::Build),
        b"get-pip.py" | b"install.py" | b"get-poetry.py" | b"install-poetry.py" => is(Class::Install),
        _ if script::is_test_script(path) => is(Class::Test),
        _ => is(Class::Run),
    }
}

/// `-m MODULE`: a program that is also called by its name, or one of the modules that are none.
fn module(call: &Call<'_>, index: usize) -> Found {
    let name = call.word(index);
    if !call.words[index..].iter().any(|word| *word.text == *b"--help")
        && index::find(name).is_some()
        && !one_of(name, NOT_PROGRAMS)
    {
        return Found::Through(index);
    }
    module_alone(name)
}

/// Modules that share their name with a program that is something else.
const NOT_PROGRAMS: &[&str] = &["test", "build", "code", "time", "this", "trace", "install", "http", "black"];

fn module_alone(name: &[u8]) -> Found {
    match name {
        b"unittest" | b"doctest" | b"test" | b"tests" | b"nose" | b"test.regrtest" | b"twisted.trial"
        | b"zope.testrunner" | b"testtools.run" | b"unittest2" | b"pytest_watch" | b"ptw" => is(Class::Test),
        b"build" | b"cython" | b"Cython" | b"PyInstaller" | b"nuitka" | b"mesonbuild" => is(Class::Build),
        b"venv" | b"virtualenv" | b"ensurepip" => is(Class::Install),
        b"json.tool" | b"site" | b"sysconfig" | b"platform" | b"pydoc" | b"inspect" | b"tokenize"
        | b"ast" | b"dis" | b"timeit.help" | b"pip_search" => is(Class::Explore),
        b"zipfile" | b"tarfile" | b"gzip" => is(Class::Edit),
        // A package's own tests: `-m package.tests.test_x`.
        name if name.split(|&b| b == b'.').any(|part| part == b"tests" || part.starts_with(b"test_")) => {
            is(Class::Test)
        }
        _ => is(Class::Run),
    }
}

/// Django's commands.
fn manage(call: &Call<'_>) -> Found {
    match call.verb(&["--settings", "--pythonpath"]) {
        b"test" => is(Class::Test),
        b"showmigrations" | b"diffsettings" | b"inspectdb" | b"sqlmigrate" | b"version" | b"help" => {
            is(Class::Explore)
        }
        b"startproject" | b"startapp" | b"makemigrations" | b"makemessages" => is(Class::Edit),
        _ => is(Class::Run),
    }
}

/// setuptools' commands: the heaviest of them.
fn setup(call: &Call<'_>, from: usize) -> Found {
    let class = |arg: &[u8]| match arg {
        b"test" | b"pytest" | b"nosetests" => Some(Class::Test),
        b"install" | b"develop" => Some(Class::Install),
        b"sdist" | b"egg_info" => Some(Class::Build),
        arg if arg.starts_with(b"build") || arg.starts_with(b"bdist") => Some(Class::Build),
        arg if arg.starts_with(b"-") => None,
        arg => tasks::class(arg),
    };
    let found = call.words[from..].iter().filter_map(|word| class(&word.text)).min();
    is(found.unwrap_or(Class::Run))
}
