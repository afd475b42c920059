//! The programs that a script names, found by the scanner alone, which is what its oracle (tests/oracle) compares; and what it ends
//! with.

use super::scanner::Scanner;
use super::simple::{Simple, Stdin, Visitor};

/// The first word of every simple command of a script, substitutions' included, as the scanner comes by them.
/// Nothing is seen through: of `timeout 5 make` it is `timeout`.
pub fn programs(script: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Programs(Vec::new());
    Scanner::new(script, 0, &mut found).script();
    found.0
}

/// The words of the simple command that a script ends with: what a shell may become. None if it ends otherwise, by `&` or
/// with a pipeline.
pub fn last(script: &[u8]) -> Option<Vec<Vec<u8>>> {
    let script = script.trim_ascii_end();
    let mut found = Last { end: script.as_ptr_range().end, words: None };
    Scanner::new(script, 0, &mut found).script();
    found.words
}

struct Last {
    end: *const u8,
    words: Option<Vec<Vec<u8>>>,
}

impl Visitor for Last {
    fn simple(&mut self, simple: &Simple<'_>, depth: u8) {
        let is_last = depth == 0
            && !simple.words.is_empty()
            && !matches!(simple.stdin, Stdin::Pipe)
            && simple.source.trim_ascii_end().as_ptr_range().end == self.end;
        self.words = is_last.then(|| simple.words.iter().map(|word| word.text.to_vec()).collect());
    }

    fn function(&mut self, _name: &[u8]) {}

    fn fetches(&self) -> u32 {
        0
    }

    fn spend(&mut self, _steps: usize) -> bool {
        true
    }
}

struct Programs(Vec<Vec<u8>>);

impl Visitor for Programs {
    fn simple(&mut self, simple: &Simple<'_>, _depth: u8) {
        if let Some(program) = simple.words.first() {
            self.0.push(program.text.to_vec());
        }
    }

    fn function(&mut self, _name: &[u8]) {}

    fn fetches(&self) -> u32 {
        0
    }

    fn spend(&mut self, _steps: usize) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_command_is_what_the_script_ends_with() {
        for (script, words) in [
            ("setsid a 'b; c' >log 2>&1\n", Some(&["setsid", "a", "b; c"][..])),
            ("cd /x && exec setsid a", Some(&["exec", "setsid", "a"])),
            ("a | b", None),
            ("a &", None),
            ("a;", None),
            ("(a)", None),
            ("echo $(a)", Some(&["echo", "$(a)"])),
            ("", None),
        ] {
            let found = last(script.as_bytes());
            let found: Option<Vec<_>> =
                found.as_ref().map(|words| words.iter().map(|word| str::from_utf8(word).unwrap()).collect());
            assert_eq!(found.as_deref(), words, "{script}");
        }
    }
}
