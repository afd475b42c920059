//! Globs over the words of a command line, as overrides use them.
//!
//! Own code rather than a crate: words are bytes and not paths (`*` matches `/` and a leading dot), and nothing
//! may be compiled at each call.

use super::compiled::Override;

/// Does the whole of `word` match `pattern`? `*` is any number of bytes, `?` one byte, `[a-z]` and `[!a-z]` a set;
/// a backslash takes the next byte literally. A `[` without its `]` is an ordinary byte.
///
/// Takes time in the order of pattern × word at worst: only the last `*` is ever tried again.
pub fn matches(pattern: &[u8], word: &[u8]) -> bool {
    let (mut p, mut w) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            retry = Some((p + 1, w));
            p += 1;
            continue;
        }
        if w == word.len() && p == pattern.len() {
            return true;
        }
        if let (Some(&byte), Some((hit, next))) = (word.get(w), one(pattern, p))
            && hit.takes(byte)
        {
            (p, w) = (next, w + 1);
            continue;
        }
        match retry {
            Some((after_star, from)) if from < word.len() => {
                retry = Some((after_star, from + 1));
                (p, w) = (after_star, from + 1);
            }
            _ => return false,
        }
    }
}

/// One element of a pattern that takes exactly one byte.
enum One<'a> {
    Any,
    Byte(u8),
    Set { inside: &'a [u8], negated: bool },
}

impl One<'_> {
    fn takes(&self, byte: u8) -> bool {
        match *self {
            One::Any => true,
            One::Byte(b) => b == byte,
            One::Set { inside, negated } => in_set(inside, byte) != negated,
        }
    }
}

/// The element at `p` and where the next one begins; none at the pattern's end.
fn one(pattern: &[u8], p: usize) -> Option<(One<'_>, usize)> {
    let byte = *pattern.get(p)?;
    Some(match byte {
        b'?' => (One::Any, p + 1),
        b'\\' => match pattern.get(p + 1) {
            Some(&b) => (One::Byte(b), p + 2),
            None => (One::Byte(b'\\'), p + 1),
        },
        b'[' => {
            let negated = matches!(pattern.get(p + 1), Some(b'!' | b'^'));
            let from = p + 1 + usize::from(negated);
            // A `]` right at the beginning is a member of the set, as in the shell.
            match pattern.iter().skip(from + 1).position(|&b| b == b']') {
                Some(n) => (One::Set { inside: &pattern[from..from + 1 + n], negated }, from + n + 2),
                None => (One::Byte(b'['), p + 1),
            }
        }
        b => (One::Byte(b), p + 1),
    })
}

fn in_set(set: &[u8], byte: u8) -> bool {
    let mut rest = set;
    while let [first, tail @ ..] = rest {
        match tail {
            [b'-', last, tail @ ..] => {
                if (*first..=*last).contains(&byte) {
                    return true;
                }
                rest = tail;
            }
            _ => {
                if *first == byte {
                    return true;
                }
                rest = tail;
            }
        }
    }
    false
}

impl Override {
    /// Is this override for the command of these words? Words behind the last glob don't matter. A first glob
    /// without `/` is compared with the command's basename, so that `pytest` is also `/usr/bin/pytest`.
    pub fn matches<W: AsRef<[u8]>>(&self, argv: &[W]) -> bool {
        self.pattern.len() <= argv.len()
            && self.pattern.iter().zip(argv).enumerate().all(|(n, (glob, word))| {
                let (glob, mut word) = (glob.as_bytes(), word.as_ref());
                if n == 0 && !glob.contains(&b'/') {
                    word = word.rsplit(|&b| b == b'/').next().unwrap_or(word);
                }
                matches(glob, word)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::compiled::{Origin, Partial};
    use proptest::prelude::*;

    #[test]
    fn stars_questions_sets_and_backslashes_match_as_in_the_shell() {
        for (pattern, word, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", ".hidden/x", true),
            ("a*c", "abc", true),
            ("a*c", "abcd", false),
            ("*a*b*", "xxaxxbxx", true),
            ("?", "", false),
            ("?", "x", true),
            ("test_*.py", "test_a.py", true),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("[]]", "]", true),
            ("[", "[", true),
            ("[a", "[a", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("\\", "\\", true),
            ("[a-]", "-", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), word.as_bytes()), expected, "{pattern} on {word}");
        }
        assert!(matches(b"a?", b"a\xff"), "words need not be UTF-8");
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let pattern = b"*a".repeat(2_000);
        assert!(!matches(&pattern, &b"a".repeat(1_999)));
    }

    fn of(pattern: &[&str]) -> Override {
        Override {
            pattern: pattern.iter().map(|p| p.to_string()).collect(),
            origin: Origin { source: 0, line: 1 },
            class: None,
            knobs: Partial::default(),
        }
    }

    #[test]
    fn words_behind_the_last_glob_do_not_matter_and_missing_ones_do() {
        let npm = of(&["npm", "run", "build*"]);
        assert!(npm.matches(&["npm", "run", "build:all", "--", "-v"]));
        assert!(npm.matches(&["/usr/bin/npm", "run", "build"]));
        assert!(!npm.matches(&["npm", "run"]));
        assert!(!npm.matches(&["npm", "ci", "build"]));
    }

    #[test]
    fn a_first_glob_with_a_slash_is_compared_with_the_whole_word() {
        let script = of(&["./scripts/*.sh"]);
        assert!(script.matches(&["./scripts/ci.sh"]));
        assert!(!script.matches(&["ci.sh"]));
        assert!(!of(&["/usr/bin/make"]).matches(&["/opt/bin/make"]));
    }

    /// The specification as naive recursion, for `*` and `?` only.
    fn naive(p: &[u8], w: &[u8]) -> bool {
        match (p.split_first(), w.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => naive(rest, w) || (!w.is_empty() && naive(p, &w[1..])),
            (Some((&p0, p)), Some((&w0, w))) => (p0 == b'?' || p0 == w0) && naive(p, w),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn globs_match_what_the_naive_definition_matches(p in "[ab*?]{0,8}", w in "[ab]{0,10}") {
            prop_assert_eq!(matches(p.as_bytes(), w.as_bytes()), naive(p.as_bytes(), w.as_bytes()));
        }

        #[test]
        fn no_bytes_make_it_panic(p in proptest::collection::vec(any::<u8>(), 0..40),
                                  w in proptest::collection::vec(any::<u8>(), 0..40)) {
            matches(&p, &w);
        }
    }
}
