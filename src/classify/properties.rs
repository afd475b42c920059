//! What holds for every command, tried on thousands of made-up ones.

use super::judge::Judge;
use super::*;
use proptest::prelude::*;

fn class(command: &str) -> Class {
    classify(command.as_bytes(), &Context { rules: &[] }).class
}

/// Pieces that the scanner has to tell apart, among them every bracket that may stay open.
const PIECES: &[&str] = &[
    "a",
    "ls ",
    "pytest ",
    "make;",
    " ",
    "\n",
    ";",
    "|",
    "&&",
    "||",
    "&",
    "(",
    ")",
    "$(",
    "${",
    "$((",
    "((",
    "`",
    "'",
    "\"",
    "\\",
    "$'",
    "#",
    "<<E\n",
    "<<-'E'\n",
    "E\n",
    "<<<",
    "<(",
    ">(",
    ">",
    ">|",
    "2>&1",
    "&>",
    "[[ ",
    " ]]",
    "case x in ",
    "a) ",
    ";;",
    "esac",
    "if ",
    "then ",
    "fi",
    "for i in ",
    "do ",
    "done",
    "{ ",
    "}",
    "f() ",
    "eval '",
    "bash -c '",
    "timeout 5 ",
    "xargs ",
    "env A=B ",
    "A=(",
    "A[1]=",
    "find . -exec ",
    "\\;",
    "python -c '",
    "curl x ",
    "| bash",
    "git commit -m \"",
    "exec ",
    "sudo ",
    "\u{fffd}",
    "\0",
    "@(",
    "!",
    "time ",
    "function ",
    "coproc ",
];

fn pieces(most: usize) -> impl Strategy<Value = String> {
    proptest::collection::vec(proptest::sample::select(PIECES), 0..most).prop_map(|pieces| pieces.concat())
}

/// Commands of all classes, each simple.
const SIMPLE: &[(&str, Class)] = &[
    ("pytest -x tests", Class::Test),
    ("python3 -m unittest", Class::Test),
    ("cargo test --all", Class::Test),
    ("make all", Class::Build),
    ("gcc -c a.c", Class::Build),
    ("pip install x", Class::Install),
    ("npm ci", Class::Install),
    ("python a.py", Class::Run),
    ("ruff check .", Class::Run),
    ("git status", Class::Git),
    ("sed -i s/a/b/ f", Class::Edit),
    ("rm -rf a", Class::Edit),
    ("grep -rn x .", Class::Explore),
    ("ls -la", Class::Explore),
];

fn simple() -> impl Strategy<Value = (&'static str, Class)> {
    proptest::sample::select(SIMPLE)
}

fn quoted(command: &str) -> String {
    format!("'{}'", command.replace('\'', "'\"'\"'"))
}

/// A command in something that is seen through; `simple` tells whether it may still stand behind a program's name.
fn wrapped(command: &str, how: u8, simple: bool) -> (String, bool) {
    match how {
        0 if simple => (format!("timeout 5 {command}"), true),
        1 if simple => (format!("env A=B {command}"), true),
        2 if simple => (format!("sudo -E nice -n 5 {command}"), true),
        3 if simple => (format!("A=B C='d e' {command}"), false),
        4 => (format!("cd x && {command}"), false),
        5 => (format!("bash -c {}", quoted(command)), true),
        6 => (format!("eval {}", quoted(command)), true),
        7 => (format!("( {command} )"), false),
        8 => (format!("if true; then {command}; fi"), false),
        9 => (format!("source venv/bin/activate\n{command} 2>&1"), false),
        10 => (format!("bash <<'END{0}'\n{command}\nEND{0}\n", command.len()), false),
        11 => (format!("export A=$B; {command} || true"), false),
        _ => (command.to_owned(), simple),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(command in proptest::collection::vec(any::<u8>(), 0..600)) {
        classify(&command, &Context { rules: &[] });
        classify_argv(&command.split(|&b| b == b' ').collect::<Vec<_>>(), &Context { rules: &[] });
    }

    #[test]
    fn no_pieces_of_shell_make_it_panic(command in pieces(80)) {
        class(&command);
        programs(command.as_bytes());
    }

    #[test]
    fn the_work_grows_no_faster_than_the_command(piece in pieces(8)) {
        let of = |times: usize| Judge::steps_of(piece.repeat(times).as_bytes());
        let (once, twice) = (of(400), of(800));
        prop_assert!(twice <= once * 5 / 2 + 20_000, "{piece:?}: {once} steps, then {twice}");
    }

    #[test]
    fn the_work_is_bounded_by_the_length(command in pieces(2_000)) {
        // 200 a byte for the shortest commands (`a;`), times the levels of quoting that are read again.
        let steps = Judge::steps_of(command.as_bytes());
        prop_assert!(steps <= command.len() * 400 + 2_000, "{steps} steps for {} bytes", command.len());
    }

    #[test]
    fn what_is_quoted_is_no_command(text in "[^']{0,60}") {
        prop_assert_eq!(class(&format!("echo '{text}'")), Class::Explore);
        prop_assert_eq!(class(&format!("pytest '{text}'")), Class::Test);
    }

    #[test]
    fn what_is_commented_out_is_no_command((command, expected) in simple(), text in "[^\n]{0,60}") {
        prop_assert_eq!(class(&format!("{command} # {text}")), expected);
        prop_assert_eq!(class(&format!("#{text}\n{command}")), expected);
    }

    #[test]
    fn a_here_document_for_cat_is_no_command((command, _) in simple(), lines in "[a-z '\"()`;|\n]{0,60}") {
        let here = format!("cat <<'END'\n{lines}\n{command}\nEND\n");
        prop_assert_eq!(class(&here), Class::Explore);
    }

    #[test]
    fn wrappers_keep_the_class((command, expected) in simple(), wrappers in proptest::collection::vec(0u8..12, 0..5)) {
        let mut command = (command.to_owned(), true);
        for how in wrappers {
            command = wrapped(&command.0, how, command.1);
        }
        prop_assert_eq!(class(&command.0), expected, "{}", command.0);
    }

    #[test]
    fn the_heavier_of_two_commands_wins((a, a_class) in simple(), (b, b_class) in simple(),
                                        between in proptest::sample::select(&[" && ", "; ", "\n", " | ", " || ", " & "][..])) {
        let both = format!("{a}{between}{b}");
        prop_assert_eq!(class(&both), a_class.heavier(b_class), "{}", both);
    }
}

#[test]
fn the_longest_commands_end_within_the_limit_of_steps_whatever_is_in_them() {
    // The bound in time is this bound in steps; tests/fuzz/classify.rs looks at the clock.
    for piece in PIECES {
        let long = piece.repeat(128 * 1024 / piece.len());
        let mut judge = Judge::new(&[]);
        judge.script(long.as_bytes());
        assert!(judge.steps_taken() <= judge::STEPS + 50_000, "{piece:?}: {} steps", judge.steps_taken());
    }
}
