//! Python's test runners, package managers and environments.

use super::super::call::{Call, Found, is, one_of};
use super::super::entry::{Entry, Verbs, all, by, verb, verbs};
use super::tasks;
use crate::class::Class;

pub(super) const TABLE: &[Entry] = &[
    all(
        Class::Test,
        &[
            "pytest",
            "py.test",
            "unittest",
            "nosetests",
            "nose2",
            "trial",
            "green",
            "stestr",
            "testr",
            "ward",
            "behave",
            "lettuce",
            "robot",
            "pabot",
            "avocado",
            "pytest-watch",
            "ptw",
            "mutmut",
            "cosmic-ray",
            "slipcover",
            "zope-testrunner",
            "xdoctest",
            "tavern-ci",
            "schemathesis",
        ],
    ),
    by(&["tox", "nox", "detox"], environments),
    verbs(
        &["pip"],
        Verbs {
            with_value: &["--python", "--log", "--proxy", "--cache-dir", "--timeout", "--retries"],
            verbs: &[
                verb(Class::Install, &["install", "uninstall", "download", "wheel", "lock"]),
                verb(
                    Class::Explore,
                    &[
                        "list", "show", "freeze", "check", "search", "index", "config", "debug", "inspect",
                        "hash", "help", "cache",
                    ],
                ),
            ],
            bare: Class::Explore,
            other: Class::Install,
        },
    ),
    verbs(
        &["pipx"],
        Verbs {
            with_value: &[],
            verbs: &[verb(Class::Explore, &["list", "environment"]), verb(Class::Run, &["run", "runpip"])],
            bare: Class::Explore,
            other: Class::Install,
        },
    ),
    by(&["uv"], uv),
    by(&["uvx"], |call| match call.operand(1, UV_VALUES) {
        Some(index) => Found::Through(index),
        None => is(Class::Explore),
    }),
    by(&["poetry", "pipenv", "pdm", "rye", "hatch", "pixi"], project),
    by(&["conda", "mamba", "micromamba"], conda),
    all(
        Class::Install,
        &[
            "virtualenv",
            "pip-sync",
            "easy_install",
            "pip-review",
            "buildout",
            "pew",
            "mkvirtualenv",
            "pipupgrade",
        ],
    ),
    all(Class::Build, &["cython", "cythonize", "nuitka", "pyinstaller", "f2py", "pybabel", "sphinx-build"]),
    verbs(
        &["maturin", "flit", "scikit-build"],
        Verbs {
            with_value: &[],
            verbs: &[verb(Class::Install, &["develop", "install"])],
            bare: Class::Build,
            other: Class::Build,
        },
    ),
    all(Class::Explore, &["pipdeptree", "pip-licenses", "python-config", "pydoc"]),
    all(
        Class::Run,
        &[
            "twine",
            "jupyter",
            "papermill",
            "nbconvert",
            "pip-compile",
            "pip-audit",
            "cookiecutter",
            "alembic",
            "dvc",
            "mkdocs",
        ],
    ),
    by(&["invoke", "inv", "doit", "fab"], |call| {
        if call.has(&["-l", "--list"]) || call.word(1) == b"list" {
            return is(Class::Explore);
        }
        is(call.operands(1, &["-c", "-r", "-f"]).filter_map(tasks::class).min().unwrap_or(Class::Run))
    }),
];

const UV_VALUES: &[&str] = &[
    "--python",
    "-p",
    "--with",
    "--with-editable",
    "--with-requirements",
    "--extra",
    "--group",
    "--only-group",
    "--no-group",
    "--package",
    "--project",
    "--directory",
    "--env-file",
    "--index-url",
    "--index",
    "--default-index",
    "-i",
    "--config-file",
    "--from",
    "--cache-dir",
    "--isolated-from",
    "--no-extra",
    "--color",
];

/// tox and nox: tests, unless the environment's name tells something else (`tox -e lint`).
fn environments(call: &Call<'_>) -> Found {
    if call.has(&["-l", "--list", "-a", "--listenvs", "list", "config", "--showconfig"]) {
        return is(Class::Explore);
    }
    let named = call.value(&["-e", "-s", "--session", "--sessions", "--env"]).map(|index| call.word(index));
    let clear = |class: &Class| matches!(class, Class::Run | Class::Build);
    is(named.and_then(tasks::class).filter(clear).unwrap_or(Class::Test))
}

fn uv(call: &Call<'_>) -> Found {
    let Some(index) = call.operand(1, UV_VALUES) else {
        return is(Class::Explore);
    };
    match call.word(index) {
        b"run" => run(call, index + 1, UV_VALUES),
        // `uv pip …` is pip's; `uv tool run` is uvx.
        b"pip" => match call.word(index + 1) {
            b"compile" | b"tree" => is(Class::Explore),
            b"sync" => is(Class::Install),
            _ => Found::Through(index),
        },
        b"tool" if call.word(index + 1) == b"run" => run(call, index + 2, UV_VALUES),
        b"tool" | b"python" | b"cache" if one_of(call.word(index + 1), &["list", "find", "dir"]) => {
            is(Class::Explore)
        }
        b"tree" | b"version" | b"help" => is(Class::Explore),
        b"build" => is(Class::Build),
        b"init" => is(Class::Edit),
        b"publish" | b"format" | b"self" | b"cache" => is(Class::Run),
        _ => is(Class::Install),
    }
}

/// What stands behind `run`. `-m MODULE` and a script are the interpreter's.
fn run(call: &Call<'_>, from: usize, with_value: &[&str]) -> Found {
    match call.operand(from, with_value) {
        Some(index) => Found::Through(index),
        None => is(Class::Run),
    }
}

fn project(call: &Call<'_>) -> Found {
    let with_value = &[
        "-C",
        "-P",
        "--directory",
        "--project",
        "-p",
        "--python",
        "-e",
        "--env",
        "-f",
        "--pypi-mirror",
        "--manifest-path",
    ];
    let Some(index) = call.operand(1, with_value) else {
        return is(Class::Explore);
    };
    let first = call.word(index + 1);
    match call.word(index) {
        b"run" => match call.operand(index + 1, with_value) {
            // hatch runs `ENV:SCRIPT`, all of them run a project's own scripts as well as programs.
            Some(run) => tasks::of_script(call.word(run)).map_or(Found::Through(run), is),
            None => is(Class::Run),
        },
        b"exec" => Found::Through((index + 1).min(call.words.len() - 1)),
        b"test" => is(Class::Test),
        b"build" => is(Class::Build),
        b"show" | b"list" | b"search" | b"check" | b"graph" | b"info" | b"about" | b"version" | b"--venv"
        | b"help" | b"tree" | b"status" | b"verify" => is(Class::Explore),
        b"env" | b"config" | b"venv" | b"cache" | b"self" | b"source"
            if one_of(first, &["list", "info", "show", "--list", "find", ""]) =>
        {
            is(Class::Explore)
        }
        b"init" | b"new" | b"config" => is(Class::Edit),
        b"shell" => super::super::call::unplaced(super::super::Kind::Interactive),
        b"publish" | b"fmt" | b"lint" | b"export" | b"requirements" => is(Class::Run),
        _ => is(Class::Install),
    }
}

fn conda(call: &Call<'_>) -> Found {
    match call.word(1) {
        b"run" => match call.operand(2, &["-n", "-p", "--name", "--prefix", "--cwd"]) {
            Some(index) => Found::Through(index),
            None => is(Class::Run),
        },
        b"list" | b"info" | b"search" | b"config" | b"" | b"repoquery" => is(Class::Explore),
        b"env" if one_of(call.word(2), &["list", "export"]) => is(Class::Explore),
        b"activate" | b"deactivate" | b"init" | b"shell.bash" | b"shell" => is(Class::Other),
        b"build" => is(Class::Build),
        _ => is(Class::Install),
    }
}
