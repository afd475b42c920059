//! Broken policy files, each with the exact text of its errors: file, line, column, what is wrong, what is valid.

use agentsh::policy::compiled::{Layer, Source};
use agentsh::policy::document::{self, Trust};
use agentsh::policy::problem::Problem;
use agentsh::policy::{binary, builtin, layers};
use proptest::prelude::*;

/// What `agentshctl policy check` says of a file, a line for each problem.
fn said(bytes: &[u8], trust: Trust) -> Vec<String> {
    let (document, mut problems) = document::read("p.yaml", bytes, trust);
    if let Some(document) = document {
        let layer = if trust == Trust::Workspace { Layer::Workspace } else { Layer::System };
        let mut policy = builtin::policy();
        problems.extend(layers::lay(
            &mut policy,
            &document,
            Source { path: "p.yaml".into(), layer, stamp: None },
        ));
        let compiled = binary::Compiled { key: String::new(), watched: Vec::new(), policy };
        assert_eq!(binary::decode(&binary::encode(&compiled)), Ok(compiled), "what is compiled can be read");
    }
    problems.iter().map(Problem::to_string).collect()
}

/// `default.yaml:90` → `default.yaml:N`: the table shall not change with the built-in policy's comments.
fn without_builtin_lines(text: &str) -> String {
    let mut parts = text.split("default.yaml:");
    let first = parts.next().unwrap_or_default().to_string();
    parts.fold(first, |all, part| {
        all + "default.yaml:N" + part.trim_start_matches(|c: char| c.is_ascii_digit())
    })
}

#[test]
fn every_broken_file_is_told_its_places_and_the_valid_choices() {
    let table = include_str!("broken_policies.txt");
    let mut cases = 0;
    for case in table.split("\n=== ").skip(1) {
        let (name, rest) = case.split_once('\n').expect("a name and a file");
        let (file, expected) = rest.split_once("\n>>>\n").expect("a file and what is said of it");
        let trust = if name.starts_with("workspace:") { Trust::Workspace } else { Trust::Operator };
        let expected: Vec<&str> = expected.lines().collect();
        let said: Vec<String> = said(file.replace("\\t", "\t").as_bytes(), trust)
            .iter()
            .map(|s| without_builtin_lines(s))
            .collect();
        assert_eq!(said, expected, "{name}");
        assert!(!expected.is_empty(), "{name}");
        cases += 1;
    }
    assert!(cases >= 30, "the table was read: {cases}");
}

#[test]
fn bytes_that_are_no_text_are_told_their_place() {
    assert_eq!(
        said(b"version: 1\nlog:\n  path: /\xff\n", Trust::Operator),
        ["p.yaml:3:10: error: byte 0xff is not UTF-8; save the file as UTF-8"]
    );
    assert_eq!(
        said(b"version: 1\n# \x07\n", Trust::Operator),
        ["p.yaml:2:3: error: a control character; a policy is plain text"]
    );
    assert_eq!(said(b"\xff\xfev\0", Trust::Operator).len(), 1, "UTF-16");
}

#[test]
fn a_large_file_is_refused_by_its_size() {
    let large = b"# a comment\n".repeat(900_000);
    assert_eq!(
        said(&large, Trust::Operator),
        ["p.yaml:1:1: error: 10800000 bytes; a policy file has at most 1 MiB (1048576 bytes)"]
    );
}

#[test]
fn an_alias_bomb_is_refused_at_its_first_anchor() {
    let mut bomb = String::from("version: 1\na: &a [x, x, x, x, x, x, x, x, x]\n");
    for (from, to) in ('a'..='z').zip('b'..='z') {
        bomb += &format!("{to}: &{to} [{}]\n", format!("*{from}, ").repeat(9).trim_end_matches(", "));
    }
    let said = said(bomb.as_bytes(), Trust::Operator);
    assert_eq!(said.len(), 1);
    assert!(said[0].starts_with("p.yaml:2:4: error: an anchor"), "{said:?}");
}

#[test]
fn empty_files_and_comments_say_nothing_and_a_bom_is_no_fault() {
    for file in
        ["", "# nothing\n", "\n\n", "---\n", "\u{feff}version: 1\n", "version: 1\r\nclasses:\r\n  run:\r\n"]
    {
        assert_eq!(said(file.as_bytes(), Trust::Operator), Vec::<String>::new(), "{file:?}");
    }
}

#[test]
fn no_more_than_fifty_errors_are_told() {
    let many = format!("version: 1\n{}", (0..1000).map(|n| format!("k{n}: 1\n")).collect::<String>());
    assert_eq!(said(many.as_bytes(), Trust::Operator).len(), 50);
}

/// Files of the largest size in shapes that have brought parsers to their knees; the guard is the test's own timeout.
#[test]
fn hostile_shapes_of_a_mebibyte_are_read_in_linear_time() {
    const SIZE: usize = (1 << 20) - 100;
    for unit in [
        "[", "{a: ", "- ", "? ", "\"", "'", "a: b\n", "- a\n", "&a ", "!a ", "a", "a: |\n ", " ", "[],",
        "# a\n",
    ] {
        let file = unit.repeat(SIZE / unit.len());
        said(file.as_bytes(), Trust::Operator);
    }
    let keys: String = (0..80_000).map(|n| format!("key{n}: 1\n")).collect();
    said(keys.as_bytes(), Trust::Operator);
    let overrides: String =
        (0..2000).map(|n| format!("- {{match: a{n}, cpu.weight: 5, pids.max: 9}}\n")).collect();
    assert_eq!(
        said(format!("version: 1\noverrides:\n{overrides}").as_bytes(), Trust::Operator),
        Vec::<String>::new()
    );
    let overrides: String = (0..2001).map(|n| format!("- {{match: a{n}, cpu.weight: 5}}\n")).collect();
    assert_eq!(
        said(format!("version: 1\noverrides:\n{overrides}").as_bytes(), Trust::Operator),
        ["p.yaml:2003:3: error: more than 2000 overrides; every call looks at each"]
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        said(&bytes, Trust::Operator);
    }

    #[test]
    fn no_mutation_of_the_default_makes_it_panic(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), "[-\\[\\]{}:,&*!|>'\"%@#? \nA-Z0-9]{0,3}"), 1..6),
        workspace in any::<bool>(),
    ) {
        let mut file: Vec<char> = include_str!("../../policies/default.yaml").chars().collect();
        for (at, text) in edits {
            let at = at.index(file.len());
            file.splice(at..(at + 2).min(file.len()), text.chars());
        }
        let file: String = file.into_iter().collect();
        said(file.as_bytes(), if workspace { Trust::Workspace } else { Trust::Operator });
    }

    #[test]
    fn every_error_names_a_line_of_the_file(file in "(version: 1\n)?(classes:\n( (test|run|all|x):\n(  (cpu.weight|memory.high|oom): [0-9a-zA-Z]{0,4}\n){0,3}){0,3})?") {
        let lines = u32::try_from(file.lines().count().max(1)).unwrap();
        let (_, problems) = document::read("p.yaml", file.as_bytes(), Trust::Operator);
        for problem in problems {
            prop_assert!((1..=lines).contains(&problem.mark.line) && problem.mark.column >= 1, "{}", problem);
        }
    }
}
