//! A program with its arguments, as the rules see it, and what a rule says of it.

use super::simple::{Simple, Stdin};
use super::word::{Word, basename};
use crate::class::Class;
use std::cell::Cell;
use std::panic::Location;

/// Rules see no more of a word than this, the length of the longest path (PATH_MAX, linux/limits.h) and its NUL: what
/// lies behind tells no more, and a rule need not mind how long a word is.
pub(super) const LONGEST_WORD: usize = 4097;

/// No cluster of short options has more letters than there are.
pub(super) const LONGEST_CLUSTER: usize = 64;

/// A program with its arguments, wrappers taken away.
pub(super) struct Call<'c> {
    /// The program, then its arguments.
    pub words: &'c [Word<'c>],
    /// The simple command that it is (part of).
    pub simple: &'c Simple<'c>,
    /// So many steps may still be taken.
    pub steps: Cell<usize>,
}

/// What a rule says of a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judgment {
    pub class: Class,
    pub kind: super::Kind,
    /// Does it run hooks, so that it needs the limits of run?
    pub hooks: bool,
    /// Does it bring something from the network to its output?
    pub fetches: bool,
    /// Where that is said.
    pub at: &'static Location<'static>,
}

/// What a rule makes of a call.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found {
    /// It is of this class.
    Is(Judgment),
    /// The words from this index on are a command of their own. It alone counts.
    Through(usize),
    /// Likewise, but the whole is at least of this class, and what is inside is no agent of ours.
    AtLeast(usize, Judgment),
    /// The words of this range (first, behind the last) are a command, and the call has a class as well.
    Part(usize, usize, Judgment),
    /// The word with this index is a script of the shell. It alone counts.
    Script(usize),
    /// Likewise, but the whole is at least of this class.
    ScriptAtLeast(usize, Judgment),
    /// The words from this index on, joined by blanks, are a script of the shell.
    Joined(usize),
    /// What it reads is a script of the shell.
    StdinScript,
}

/// A class, said here.
#[track_caller]
pub(super) const fn say(class: Class) -> Judgment {
    Judgment { class, kind: super::Kind::Command, hooks: false, fetches: false, at: Location::caller() }
}

/// A class as all that is to be said.
#[track_caller]
pub(super) const fn is(class: Class) -> Found {
    Found::Is(say(class))
}

/// Something that never gets a leaf.
#[track_caller]
pub(super) const fn unplaced(kind: super::Kind) -> Found {
    let mut judgment = say(Class::Agent);
    judgment.kind = kind;
    Found::Is(judgment)
}

impl<'c> Call<'c> {
    /// The word at an index, the program being at 0; empty behind the last. No more of it than [`LONGEST_WORD`].
    pub fn word(&self, index: usize) -> &'c [u8] {
        self.words.get(index).map_or(b"", beginning)
    }

    /// The word at an index, all of it: where it is code.
    pub fn code(&self, index: usize) -> &'c [u8] {
        self.words.get(index).map_or(b"", |word| &word.text)
    }

    /// How the program is called, without its folder.
    pub fn program(&self) -> &'c [u8] {
        basename(self.word(0))
    }

    /// Accounts for work that is more than a look at each word; false if there was too much already.
    pub fn spend(&self, steps: usize) -> bool {
        let left = self.steps.get().checked_sub(steps);
        self.steps.set(left.unwrap_or(0));
        left.is_some()
    }

    /// Its arguments, no more of each than [`LONGEST_WORD`].
    pub fn args(&self) -> impl Iterator<Item = &'c [u8]> + use<'c> {
        self.words.iter().skip(1).map(beginning)
    }

    /// Is one of these among the arguments, before any `--`?
    pub fn has(&self, wanted: &[&str]) -> bool {
        self.args().take_while(|arg| arg != b"--").any(|arg| one_of(arg, wanted))
    }

    /// Has a short option with this letter, alone or in a cluster (`-xzf`), been given?
    pub fn has_letter(&self, letter: u8) -> bool {
        self.args()
            .take_while(|arg| arg != b"--")
            .any(|arg| arg.len() > 1 && arg[0] == b'-' && arg[1] != b'-' && arg[1..].contains(&letter))
    }

    /// Index of the first word from `from` on that is neither an option nor an option's value.
    pub fn operand(&self, from: usize, with_value: &[&str]) -> Option<usize> {
        let mut index = from;
        while index < self.words.len() {
            let arg = self.word(index);
            if arg == b"--" {
                index += 1;
                break;
            }
            if arg.len() < 2 || arg[0] != b'-' {
                break;
            }
            index += if takes_next(arg, with_value) { 2 } else { 1 };
        }
        (index < self.words.len()).then_some(index)
    }

    /// The operand that tells what the program is to do; empty if there is none.
    pub fn verb(&self, with_value: &[&str]) -> &'c [u8] {
        self.operand(1, with_value).map_or(b"", |index| self.word(index))
    }

    /// All operands, options and their values left out.
    pub fn operands<'s>(
        &'s self,
        from: usize,
        with_value: &'static [&'static str],
    ) -> impl Iterator<Item = &'c [u8]> + use<'s, 'c> {
        let mut next = from;
        std::iter::from_fn(move || {
            let index = self.operand(next, with_value)?;
            next = index + 1;
            Some(self.word(index))
        })
    }

    /// The index of an option's value: of the word behind it. (`--name=value` isn't looked into.)
    pub fn value(&self, options: &[&str]) -> Option<usize> {
        let index = 1 + self.args().position(|arg| one_of(arg, options))?;
        (index + 1 < self.words.len()).then_some(index + 1)
    }

    /// Does it read a pipe, a file or a here-document?
    pub fn reads(&self) -> bool {
        !matches!(self.simple.stdin, Stdin::Inherited)
    }

    /// Is it only asked for its version?
    pub fn asks_version(&self) -> bool {
        self.words.len() == 2 && one_of(self.word(1), &["--version", "-V", "-version", "-VV"])
    }
}

/// The beginning of a word, by which it can be told.
fn beginning<'c>(word: &'c Word<'_>) -> &'c [u8] {
    &word.text[..word.text.len().min(LONGEST_WORD)]
}

/// Is the text one of these?
pub(super) fn one_of(text: &[u8], names: &[&str]) -> bool {
    names.iter().any(|name| name.as_bytes() == text)
}

/// Does this option take the next word as its value?
fn takes_next(option: &[u8], with_value: &[&str]) -> bool {
    if one_of(option, with_value) {
        return true;
    }
    if option[1] == b'-' || option.len() < 3 || option.len() > LONGEST_CLUSTER {
        return false;
    }
    // A cluster: the first letter that takes a value takes the rest, and the next word if there is no rest.
    let takes = |letter: &u8| with_value.iter().any(|o| o.len() == 2 && o.as_bytes()[1] == *letter);
    option[1..].iter().position(takes) == Some(option.len() - 2)
}
