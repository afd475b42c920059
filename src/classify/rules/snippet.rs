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

/// What a token costs besides its bytes, in steps.
const STEPS_OF_TOKEN: usize = 5;

/// A token of Python that matters here.
enum Token<'c> {
    /// A name with its attributes: `pytest.main`.
    Name(&'c [u8]),
    /// A string's inside.
    Text(&'c [u8]),
}

/// `spend` is told of the work, and says when it is too much.
fn runs_tests(code: &[u8], mut spend: impl FnMut(usize) -> bool) -> bool {
    let mut at = 0;
    let mut defining = false;
    let mut spawns = false;
    while let Some((token, after)) = next(code, at) {
        if !spend((after - at) / 2 + STEPS_OF_TOKEN) {
            return false;
        }
        at = after;
        match token {
            Token::Name(name) => {
                // Nobody puts more blanks before a parenthesis.
                let near = code[at..].iter().take(16);
                let called = near.skip_while(|b| matches!(b, b' ' | b'\t')).next() == Some(&b'(');
                if called && !defining && (starts_runner(name) || is_test_function(name)) {
                    return true;
                }
                spawns = spawns || name_spawns(name);
                defining = matches!(name, b"def" | b"class");
            }
            Token::Text(text) => {
                defining = false;
                if spawns && spend(STEPS_OF_TOKEN) && is_test_command(text) {
                    return true;
                }
            }
        }
    }
    false
}

/// The token at or behind a place, and the place behind it.
fn next(code: &[u8], mut at: usize) -> Option<(Token<'_>, usize)> {
    loop {
        at += code[at..].iter().take_while(|&&b| SORT[b as usize] == Sort::Nothing).count();
        match *code.get(at)? {
            b'#' => at += find_byte(&code[at..], b'\n'),
            quote @ (b'"' | b'\'') => {
                let (text, after) = string(code, at, quote);
                return Some((Token::Text(text), after));
            }
            b if SORT[b as usize] == Sort::Name => {
                let part =
                    |b: &&u8| matches!(SORT[**b as usize], Sort::Name) || b.is_ascii_digit() || **b == b'.';
                let length = code[at..].iter().take_while(part).count();
                return Some((Token::Name(&code[at..at + length]), at + length));
            }
            _ => at += 1,
        }
    }
}

/// What a byte may begin.
#[derive(Clone, Copy, PartialEq)]
enum Sort {
    Nothing,
    Name,
    Quote,
    Comment,
}

const SORT: [Sort; 256] = {
    let mut sorts = [Sort::Nothing; 256];
    let mut b = 0;
    while b < 256 {
        sorts[b] = match b as u8 {
            b'#' => Sort::Comment,
            b'"' | b'\'' => Sort::Quote,
            b'_' | b'a'..=b'z' | b'A'..=b'Z' => Sort::Name,
            _ => Sort::Nothing,
        };
        b += 1;
    }
    sorts
};

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

/// Is it what starts a program, or a module for that?
fn name_spawns(name: &[u8]) -> bool {
    match name.first() {
        Some(b's') => name.starts_with(b"subprocess") || name == b"system",
        Some(b'o') => matches!(name, b"os.system" | b"os.popen"),
        Some(b'P' | b'c') => matches!(name, b"Popen" | b"check_call" | b"check_output"),
        _ => false,
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
