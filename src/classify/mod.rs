//! What a tool call is for, read off its command: a pure function of the command's bytes.
//!
//! The launcher asks it at every call, so it reads the command once, borrows where it can, starts without any
//! set-up (the rules are constants), and does no more than [`judge::STEPS`] of work, whatever the command is.
//!
//! ```text
//! agents    the agents' own probes and snapshots, told by their beginning
//! scanner   words: quotes, escapes, expansions        word      a word
//! backticks what is substituted between them          heredoc   here-documents
//! grammar   lists, compound commands, redirections
//! simple    a simple command, and who looks at it     search    for bytes, many at a time
//! judge     what each is for; the heaviest wins       call      a program with its arguments
//! index     finds a program's entry                   entry     what tables of rules are made of
//! rules/    what is known of programs, by trade       programs  the scanner's findings, for its oracle
//! ```

mod agents;
mod backticks;
mod call;
mod entry;
mod grammar;
mod heredoc;
mod index;
mod judge;
mod programs;
mod rules;
mod scanner;
mod search;
mod simple;
mod word;

#[cfg(test)]
mod lighter_tests;
#[cfg(test)]
mod long_tests;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod verdict_tests;

pub use programs::{last, programs};

use crate::class::Class;
use crate::policy::compiled::Override;

/// What the classifier may look at besides the command.
#[derive(Clone, Copy, Debug)]
pub struct Context<'p> {
    /// Users' overrides. One with a class decides before any built-in rule, for the simple commands that it matches.
    pub rules: &'p [Override],
}

/// What a tool call is for, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The class of the heaviest simple command.
    pub class: Class,
    /// What sort of call it is.
    pub kind: Kind,
    /// The text of the simple command that decided, cut at 200 bytes.
    pub part: String,
    /// Its words, wrappers taken away; at most 64, each cut at 4 kB.
    pub argv: Vec<Vec<u8>>,
    /// The rule that decided.
    pub rule: Rule,
    /// What the command itself assigns to `AGENT_RESOURCE_HINT`, where that needs no expansion.
    pub hint: Option<Vec<u8>>,
    /// The overrides (as indices of [`Context::rules`], ascending) that match a simple command as heavy as the one
    /// that decided: those whose knobs the call is to get.
    pub overrides: Vec<u16>,
    /// Class git, but it runs hooks: it needs the limits of run.
    pub hooks: bool,
}

/// What sort of call it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A tool call.
    Command,
    /// It starts an agent: no leaf, a session of its own beneath.
    Agent,
    /// It starts an interactive shell.
    Interactive,
    /// It starts a terminal multiplexer.
    Multiplexer,
    /// An agent's look at its environment, not a tool call.
    Probe,
    /// An agent's snapshot of the shell, not a tool call.
    Snapshot,
}

impl Kind {
    /// The kind's name, as `explain` and the log have it.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Command => "command",
            Kind::Agent => "agent",
            Kind::Interactive => "interactive",
            Kind::Multiplexer => "multiplexer",
            Kind::Probe => "probe",
            Kind::Snapshot => "snapshot",
        }
    }
}

/// A built-in rule. Where an override decided, its name is `override` and [`Verdict::overrides`] tells which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The first program that the rule is for, or what it is about.
    pub name: &'static str,
    /// The source file that it stands in.
    pub file: &'static str,
    /// Its line there.
    pub line: u32,
}

/// The class of the script of `bash -c`.
pub fn classify(command: &[u8], cx: &Context<'_>) -> Verdict {
    let mut judge = judge::Judge::new(cx.rules);
    match agents::shape(command) {
        Some((kind, class, at)) => judge.decided(kind, class, at, command),
        None => judge.script(command),
    }
    judge.verdict()
}

/// The class of a program with its arguments, the first word being its name or path: a shim's, or a script's.
pub fn classify_argv(argv: &[&[u8]], cx: &Context<'_>) -> Verdict {
    let mut judge = judge::Judge::new(cx.rules);
    judge.argv(argv);
    let mut verdict = judge.verdict();
    if verdict.argv.first().is_some_and(|program| word::basename(program) == b"lsb_release") {
        verdict.kind = Kind::Probe;
    }
    verdict
}
