//! Haskell, OCaml, Elixir, Erlang, Gleam, and what is built like them.

use super::super::call::{Call, Found, is};
use super::super::entry::{Entry, Verbs, all, by, verb, verbs};
use super::tasks;
use crate::class::Class;

pub(super) const TABLE: &[Entry] = &[
    verbs(
        &["cabal", "stack"],
        Verbs {
            with_value: &["--project-file", "--stack-yaml", "--resolver", "-w"],
            verbs: &[
                verb(Class::Test, &["test", "new-test", "v2-test"]),
                verb(Class::Run, &["run", "repl", "ghci", "exec", "runghc", "bench", "new-run", "script"]),
                verb(
                    Class::Install,
                    &["install", "update", "setup", "fetch", "upgrade", "new-install", "get", "unpack"],
                ),
                verb(Class::Explore, &["list", "info", "ls", "path", "query", "check"]),
                verb(Class::Edit, &["init", "new", "clean", "gen-bounds"]),
            ],
            bare: Class::Build,
            other: Class::Build,
        },
    ),
    verbs(
        &["dune", "esy", "ocamlbuild", "omake"],
        Verbs {
            with_value: &["--root", "--profile", "-p"],
            verbs: &[
                verb(Class::Test, &["test", "runtest"]),
                verb(Class::Run, &["exec", "utop", "fmt", "top"]),
                verb(Class::Install, &["install", "pkg"]),
                verb(Class::Edit, &["clean", "init", "promote"]),
                verb(Class::Explore, &["describe", "ocaml-merlin"]),
            ],
            bare: Class::Build,
            other: Class::Build,
        },
    ),
    by(&["opam"], |call| match call.word(1) {
        b"list" | b"show" | b"search" | b"info" | b"env" | b"config" | b"var" | b"" => is(Class::Explore),
        b"exec" => match call.words.iter().position(|word| *word.text == *b"--") {
            Some(dashes) if dashes + 1 < call.words.len() => Found::Through(dashes + 1),
            _ => is(Class::Run),
        },
        _ => is(Class::Install),
    }),
    by(&["mix"], mix),
    verbs(&["rebar3", "gleam", "erlang.mk"], ERLANG),
    all(
        Class::Build,
        &[
            "ghc",
            "ghc-pkg",
            "hsc2hs",
            "happy",
            "alex",
            "ocamlc",
            "ocamlopt",
            "ocamlfind",
            "erlc",
            "elixirc",
            "mlton",
            "sml",
            "agda",
            "coqc",
            "lean",
            "idris",
            "idris2",
            "purs",
            "fstar",
        ],
    ),
    verbs(
        &["lake", "spago", "elm", "elm-test"],
        Verbs {
            with_value: &[],
            verbs: &[
                verb(Class::Test, &["test"]),
                verb(Class::Install, &["update", "install"]),
                verb(Class::Run, &["exe", "run", "repl", "env"]),
            ],
            bare: Class::Build,
            other: Class::Build,
        },
    ),
    all(Class::Install, &["ghcup", "elm-json", "kerl", "kiex"]),
    all(
        Class::Run,
        &[
            "runghc",
            "runhaskell",
            "ghci",
            "hlint",
            "ormolu",
            "fourmolu",
            "ocaml",
            "utop",
            "ocamlformat",
            "elixir",
            "iex",
            "erl",
            "escript",
            "dialyzer",
            "credo",
        ],
    ),
    by(&["nix"], |call| match call.word(1) {
        b"build" | b"flake" if call.word(2) == b"check" => is(Class::Test),
        b"build" | b"bundle" => is(Class::Build),
        b"develop" | b"shell" => match call.value(&["-c", "--command"]) {
            Some(index) => Found::Through(index),
            None => super::super::call::unplaced(super::super::Kind::Interactive),
        },
        b"run" | b"repl" | b"eval" | b"fmt" => is(Class::Run),
        b"search" | b"show-config" | b"path-info" | b"why-depends" | b"log" | b"" => is(Class::Explore),
        b"flake" if matches!(call.word(2), b"show" | b"metadata" | b"info") => is(Class::Explore),
        _ => is(Class::Install),
    }),
    by(&["nix-shell"], |call| match call.value(&["--run", "--command"]) {
        Some(index) => super::super::call::Found::Script(index),
        None => super::super::call::unplaced(super::super::Kind::Interactive),
    }),
    by(
        &["nix-build", "nixos-rebuild", "home-manager", "darwin-rebuild", "guix", "devbox", "devenv", "flox"],
        |call| is(call.operands(1, &[]).filter_map(tasks::class).min().unwrap_or(Class::Build)),
    ),
    all(Class::Install, &["nix-env", "nix-channel", "nix-collect-garbage", "nix-store"]),
];

/// The tasks of Erlang's and Elixir's tools.
const ERLANG: Verbs = Verbs {
    with_value: &[],
    verbs: &[
        verb(
            Class::Test,
            &["test", "eunit", "ct", "proper", "coveralls", "espec", "cover", "check", "test.watch"],
        ),
        verb(
            Class::Build,
            &[
                "compile",
                "release",
                "escript.build",
                "escriptize",
                "build",
                "assets.build",
                "assets.deploy",
                "as",
            ],
        ),
        verb(
            Class::Install,
            &[
                "deps.get",
                "deps.update",
                "deps.compile",
                "local.hex",
                "local.rebar",
                "archive.install",
                "get-deps",
                "deps.clean",
                "upgrade",
                "add",
                "setup",
                "deps",
                "escript.install",
            ],
        ),
        verb(
            Class::Explore,
            &["help", "deps.tree", "hex.info", "phx.routes", "tree", "hex.outdated", "xref"],
        ),
        verb(Class::Edit, &["new", "clean", "phx.new", "phx.gen.html", "phx.gen.schema"]),
    ],
    bare: Class::Run,
    other: Class::Run,
};

/// mix, whose `do` runs several tasks with commas or pluses between them.
fn mix(call: &Call<'_>) -> Found {
    let several = call.word(1) == b"do";
    let mut class = ERLANG.judge(call).map_or_else(|class| class, |judgment| judgment.class);
    if several {
        class = Class::Run;
        let mut begins = true;
        for arg in call.args().skip(1) {
            let ends = arg.ends_with(b",");
            let task = arg.strip_suffix(b",").unwrap_or(arg);
            if begins {
                class = ERLANG.class_of(task).heavier(class);
            }
            begins = ends || task == b"+";
        }
    }
    is(class)
}
