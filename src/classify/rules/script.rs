//! Scripts and programs that no rule knows: told by their names, as far as these tell.

use super::super::call::{Call, Judgment, say};
use super::super::word::basename;
use crate::class::Class;

/// The class of a program that no rule knows.
pub(in super::super) fn by_name(call: &Call<'_>) -> Judgment {
    if call.asks_version() {
        return say(Class::Explore);
    }
    told_by_name(call.word(0)).unwrap_or(const { say(Class::Run) })
}

/// The class that a script's or a test binary's name tells.
pub(super) fn told_by_name(path: &[u8]) -> Option<Judgment> {
    if path.len() > super::LONGEST_PATH {
        return None;
    }
    let lower = basename(path).to_ascii_lowercase();
    let stem = stem(&lower);
    if is_test(stem) {
        return Some(say(Class::Test));
    }
    match first_part(stem) {
        b"build" | b"compile" | b"rebuild" | b"configure" | b"autogen" | b"make" => Some(say(Class::Build)),
        b"install" | b"setup" | b"bootstrap" => Some(say(Class::Install)),
        _ => None,
    }
}

/// Is it the name of a test script (`test_x.py`, `x_test.py`, `run_tests.sh`)?
pub(super) fn is_test_script(path: &[u8]) -> bool {
    if path.len() > super::LONGEST_PATH {
        return false;
    }
    let lower = basename(path).to_ascii_lowercase();
    is_test(stem(&lower))
}

fn is_test(stem: &[u8]) -> bool {
    const WHOLE: [&[u8]; 8] =
        [b"test", b"tests", b"runtest", b"runtests", b"testall", b"unittest", b"unittests", b"e2e"];
    const FIRST: [&[u8]; 8] =
        [b"test_", b"test-", b"tests_", b"run_test", b"run-test", b"runtests", b"test.", b"unit_test"];
    const LAST: [&[u8]; 12] = [
        b"_test",
        b"-test",
        b".test",
        b"_tests",
        b"-tests",
        b".tests",
        b"_spec",
        b"-spec",
        b".spec",
        b"_unittest",
        b"_unittests",
        b".e2e",
    ];
    WHOLE.contains(&stem)
        || FIRST.iter().any(|first| stem.starts_with(first))
        || LAST.iter().any(|last| stem.ends_with(last))
}

/// A file's name without its extension.
fn stem(name: &[u8]) -> &[u8] {
    match name.iter().rposition(|&b| b == b'.') {
        Some(dot) if dot > 0 && !matches!(&name[dot..], b".test" | b".spec") => &name[..dot],
        _ => name,
    }
}

fn first_part(stem: &[u8]) -> &[u8] {
    stem.split(|b| matches!(b, b'_' | b'-' | b'.')).next().unwrap_or(stem)
}
