//! The programs that a script names, found by the scanner alone: what its oracle (tests/oracle) compares.

use super::scanner::Scanner;
use super::simple::{Simple, Visitor};

/// The first word of every simple command of a script, substitutions' included, as the scanner comes by them.
/// Nothing is seen through: of `timeout 5 make` it is `timeout`.
pub fn programs(script: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Programs(Vec::new());
    Scanner::new(script, 0, &mut found).script();
    found.0
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
