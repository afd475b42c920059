//! What a table of rules is made of. Tables are constants: they cost nothing at start-up, and each entry knows the
//! line that it stands on.

use super::call::{Call, Found, Judgment, say};
use crate::class::Class;
use std::panic::Location;

/// What is known of some programs.
pub(super) struct Entry {
    /// The programs' names; the first names the rule.
    pub names: &'static [&'static str],
    pub action: Action,
    /// Where the entry stands.
    pub at: &'static Location<'static>,
}

/// How a call of the program is judged.
pub(super) enum Action {
    /// Always the same class.
    Is(Class),
    /// It starts the command in its arguments.
    Wrap(Wrap),
    /// It depends on its first operand.
    Verbs(Verbs),
    /// It takes a closer look.
    By(fn(&Call<'_>) -> Found),
}

/// A program that starts another one.
pub(super) struct Wrap {
    /// Options whose value is the next word.
    pub with_value: &'static [&'static str],
    /// So many operands (a duration, a file) come before the command.
    pub operands: u8,
    /// The class if there is no command.
    pub alone: Class,
}

/// A program whose first operand tells what it does.
pub(super) struct Verbs {
    /// Options whose value is the next word.
    pub with_value: &'static [&'static str],
    pub verbs: &'static [Verb],
    /// The class without any operand.
    pub bare: Class,
    /// The class of operands that aren't listed.
    pub other: Class,
}

/// Some operands and their class.
pub(super) struct Verb {
    pub names: &'static [&'static str],
    pub judgment: Judgment,
}

/// Programs of one class.
#[track_caller]
pub(super) const fn all(class: Class, names: &'static [&'static str]) -> Entry {
    Entry { names, action: Action::Is(class), at: Location::caller() }
}

/// Programs that take a closer look.
#[track_caller]
pub(super) const fn by(names: &'static [&'static str], judge: fn(&Call<'_>) -> Found) -> Entry {
    Entry { names, action: Action::By(judge), at: Location::caller() }
}

/// Programs that start the command in their arguments, and are nothing without.
#[track_caller]
pub(super) const fn wrap(
    names: &'static [&'static str],
    operands: u8,
    with_value: &'static [&'static str],
) -> Entry {
    let wrap = Wrap { with_value, operands, alone: Class::Other };
    Entry { names, action: Action::Wrap(wrap), at: Location::caller() }
}

/// Programs whose first operand tells what they do.
#[track_caller]
pub(super) const fn verbs(names: &'static [&'static str], verbs: Verbs) -> Entry {
    Entry { names, action: Action::Verbs(verbs), at: Location::caller() }
}

/// Operands of one class.
#[track_caller]
pub(super) const fn verb(class: Class, names: &'static [&'static str]) -> Verb {
    Verb { names, judgment: say(class) }
}

impl Entry {
    /// What this entry makes of a call.
    pub fn judge(&self, call: &Call<'_>) -> Found {
        let here = |class| Judgment { at: self.at, ..say(class) };
        match &self.action {
            Action::Is(class) => Found::Is(here(*class)),
            Action::By(judge) => judge(call),
            Action::Wrap(wrap) => {
                let mut first = call.operand(1, wrap.with_value);
                for _ in 0..wrap.operands {
                    first = first.map(|index| index + 1).filter(|&index| index < call.words.len());
                }
                first.map_or(Found::Is(here(wrap.alone)), Found::Through)
            }
            Action::Verbs(verbs) => Found::Is(verbs.judge(call).unwrap_or_else(here)),
        }
    }
}

impl Verbs {
    /// The judgment of the verb that is listed, else the class for those that aren't.
    pub fn judge(&self, call: &Call<'_>) -> Result<Judgment, Class> {
        let Some(index) = call.operand(1, self.with_value) else {
            return Err(self.bare);
        };
        self.listed(call.word(index)).map(|verb| verb.judgment).ok_or(self.other)
    }

    /// The class of a verb.
    pub fn class_of(&self, verb: &[u8]) -> Class {
        self.listed(verb).map_or(self.other, |verb| verb.judgment.class)
    }

    fn listed(&self, given: &[u8]) -> Option<&'static Verb> {
        self.verbs.iter().find(|verb| super::call::one_of(given, verb.names))
    }
}
