//! Go.

use super::super::call::is;
use super::super::entry::{Entry, Verbs, all, by, verb, verbs};
use crate::class::Class;

pub(super) const TABLE: &[Entry] = &[
    by(&["go", "gotip", "tinygo", "garble"], |call| match call.verb(&["-C"]) {
        b"test" => is(Class::Test),
        b"build" => is(Class::Build),
        b"install" | b"get" => is(Class::Install),
        b"mod" => match call.word(2) {
            b"graph" | b"why" | b"verify" => is(Class::Explore),
            b"init" | b"edit" => is(Class::Edit),
            _ => is(Class::Install),
        },
        b"env" | b"version" | b"list" | b"doc" | b"help" | b"bug" | b"" => is(Class::Explore),
        b"clean" | b"work" => is(Class::Edit),
        _ => is(Class::Run),
    }),
    all(Class::Test, &["gotestsum", "richgo", "gotest", "gocheck", "go-test"]),
    verbs(
        &["ginkgo"],
        Verbs {
            with_value: &[],
            verbs: &[verb(Class::Edit, &["bootstrap", "generate"]), verb(Class::Build, &["build"])],
            bare: Class::Test,
            other: Class::Test,
        },
    ),
    all(Class::Build, &["ko", "goreleaser", "gox", "xgo", "mockgen", "stringer", "wire", "gomobile"]),
    all(
        Class::Run,
        &[
            "gofmt",
            "goimports",
            "golangci-lint",
            "staticcheck",
            "golint",
            "gopls",
            "dlv",
            "govulncheck",
            "air",
            "gofumpt",
            "revive",
        ],
    ),
    all(Class::Install, &["dep", "glide", "govendor"]),
];
