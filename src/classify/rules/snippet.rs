//! Python code given on the command line or as a here-document: does it run tests?
//!
//! Only if it starts a runner or calls test functions. Words in its comments and strings don't count, other than the
//! command lines that it hands to a subprocess.

use super::super::call::{Call, Found, is};
use super::super::search::{find, find_byte};
use crate::class::Class;

/// The class of a snippet of Python.
pub(super) fn judge(call: &Call<'_>, code: &[u8]) -> Found {
    is(if runs_tests(code, |steps| call.spend(steps)) { Class::Test } else { Class::Run })
}

/// What each place that is looked at costs besides the bytes before it, in steps.
const STEPS_OF_PLACE: usize = 10;
/// No name with its attributes is longer, nor are the blanks between it and its parenthesis.
const LONGEST_NAME: usize = 128;

/// `spend` is told of the work, and says when it is too much.
fn runs_tests(code: &[u8], mut spend: impl FnMut(usize) -> bool) -> bool {
    let mut at = 0;
    let mut spawns = None;
    loop {
        let skipped = find(&code[at..], |b| (b == b'(') | (b == b'#') | (b == b'"') | (b == b'\''));
        at += skipped;
        let Some(&b) = code.get(at) else {
            return false;
        };
        match b {
            b'#' => at += find_byte(&code[at..], b'\n'),
            b'(' => {
                if calls_tests(&code[at.saturating_sub(2 * LONGEST_NAME)..at]) {
                    return true;
                }
                at += 1;
            }
            quote => {
                let (text, after) = string(code, at, quote);
                if is_test_command(text)
                    && spawns.get_or_insert_with(|| first_spawn(code)).is_some_and(|s| s < at)
                {
                    return true;
                }
                if !spend((after - at) / 8 + STEPS_OF_PLACE) {
                    return false;
                }
                at = after;
            }
        }
        if !spend(skipped / 8 + STEPS_OF_PLACE) {
            return false;
        }
    }
}

/// Does what stands before a parenthesis name a runner or a test function, and not define it?
fn calls_tests(before: &[u8]) -> bool {
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let without = |text: &[u8], sort: &dyn Fn(&u8) -> bool| {
        text.len() - text.iter().rev().take(LONGEST_NAME).take_while(|b| sort(b)).count()
    };
    let before = &before[..without(before, &blank)];
    let named = without(before, &|&b| b == b'_' || b == b'.' || b.is_ascii_alphanumeric());
    let name = &before[named..];
    let begin = name.iter().take_while(|b| **b == b'.' || b.is_ascii_digit()).count();
    let name = &name[begin..];
    if !(starts_runner(name) || is_test_function(name)) {
        return false;
    }
    let keyword = &before[..without(&before[..named], &blank)];
    !(keyword.ends_with(b"def") || keyword.ends_with(b"class"))
}

/// Where the code first names what starts a program.
fn first_spawn(code: &[u8]) -> Option<usize> {
    const NAMES: [&[u8]; 6] =
        [b"subprocess", b"os.system", b"os.popen", b"Popen", b"check_call", b"check_output"];
    let begins = |b: u8| (b == b's') | (b == b'o') | (b == b'P') | (b == b'c');
    let mut at = 0;
    loop {
        at += find(&code[at..], begins);
        if at >= code.len() {
            return None;
        }
        if NAMES.iter().any(|name| code[at..].starts_with(name)) {
            return Some(at);
        }
        at += 1;
    }
}

/// A string's inside, and the place behind the string.
fn string(code: &[u8], at: usize, quote: u8) -> (&[u8], usize) {
    let triple = code[at..].starts_with(&[quote; 3]);
    let start = at + if triple { 3 } else { 1 };
    let mut end = start.min(code.len());
    loop {
        let rest = &code[end..];
        end += if triple {
            find(rest, |b| (b == quote) | (b == b'\\'))
        } else {
            rest.iter().take_while(|&&b| b != quote && b != b'\\' && b != b'\n').count()
        };
        match code.get(end) {
            None => return (code.get(start..).unwrap_or_default(), code.len()),
            Some(b'\\') => end = (end + 2).min(code.len()),
            Some(b'\n') => return (&code[start..end], end),
            Some(_) if !triple => return (&code[start..end], end + 1),
            Some(_) if code[end..].starts_with(&[quote; 3]) => return (&code[start..end], end + 3),
            Some(_) => end += 1,
        }
    }
}

fn starts_runner(name: &[u8]) -> bool {
    let (module, last) = match name.iter().rposition(|&b| b == b'.') {
        Some(dot) => (&name[..dot], &name[dot + 1..]),
        None => (&name[..0], name),
    };
    match last {
        b"main" | b"console_main" => matches!(module, b"pytest" | b"unittest" | b"nose"),
        b"run" => matches!(module, b"nose" | b"doctest"),
        b"testmod" | b"testfile" | b"TextTestRunner" | b"TestLoader" | b"run_doctests" | b"runtests"
        | b"run_tests" => true,
        _ => module.ends_with(b"defaultTestLoader"),
    }
}

/// `test_x(`, `case.test_x(`
fn is_test_function(name: &[u8]) -> bool {
    let last = name.rsplit(|&b| b == b'.').next().unwrap_or(name);
    last.starts_with(b"test_") && last.len() > 5
}

/// A command line that starts a test runner, or the word of one that names it.
fn is_test_command(text: &[u8]) -> bool {
    let runner = |text: &[u8]| {
        const RUNNERS: [&[u8]; 6] = [b"pytest", b"py.test", b"unittest", b"tox", b"nox", b"nosetests"];
        text.len() >= 3
            && RUNNERS.iter().any(|runner| {
                text.strip_prefix(*runner).is_some_and(|rest| rest.is_empty() || rest.starts_with(b" "))
            })
    };
    let module = text.iter().take(256).position(|&b| b == b'-').map(|dash| &text[dash..]);
    runner(text) || module.and_then(|rest| rest.strip_prefix(b"-m ")).is_some_and(runner)
}

#[cfg(test)]
mod tests {
    use super::runs_tests;

    #[test]
    fn a_snippet_tests_only_if_it_starts_a_runner_or_calls_test_functions() {
        for code in [
            "import pytest; pytest.main(['-x'])",
            "unittest.TextTestRunner(verbosity=2).run(s)",
            "suite = unittest.TestLoader().loadTestsFromName('x')",
            "from tests.test_a import test_b\ntest_b()",
            "TestX().test_y()",
            "import subprocess\nsubprocess.run(['pytest', '-x'])",
            "import os; os.system('python -m pytest tests')",
            "import doctest, m; doctest.testmod(m)",
        ] {
            assert!(runs_tests(code.as_bytes(), |_| true), "{code}");
        }
        for code in [
            "import pytest; print(dir(pytest))",
            "from unittest import mock",
            "# pytest.main()",
            "print('pytest.main()')",
            "'''\ntest_a()\n'''",
            "def test_a(): pass",
            "async def test():\n    pass\nasyncio.run(test())",
            "tc = TokenCacheTestCase()",
            "assert f(1) == 2",
            "x = 'a\\'b' # \"",
            "'''unterminated",
            "",
        ] {
            assert!(!runs_tests(code.as_bytes(), |_| true), "{code}");
        }
    }
}
