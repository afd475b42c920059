//! A simple command as the scanner hands it over, and the visitor that it is handed to.

use super::word::Word;
use std::borrow::Cow;

/// What a simple command reads.
#[derive(Clone, Debug, Default)]
pub(super) enum Stdin<'a> {
    /// What the script itself reads.
    #[default]
    Inherited,
    /// Another command's output.
    Pipe,
    /// A file.
    File,
    /// A here-document or a here-string.
    Text(Cow<'a, [u8]>),
}

/// A simple command: assignments, words, redirections.
#[derive(Clone, Debug, Default)]
pub(super) struct Simple<'a> {
    /// The program and its arguments.
    pub words: Vec<Word<'a>>,
    /// `NAME=value` before the program.
    pub assigns: Vec<Word<'a>>,
    /// Does its standard output go into a real file?
    pub writes: bool,
    /// What it reads.
    pub stdin: Stdin<'a>,
    /// Does one of its own words fetch from the network (`sh -c "$(curl …)"`)?
    pub fetches: bool,
    /// Does a command before it in the pipeline fetch from the network?
    pub fetched: bool,
    /// Does it stand between backticks within double quotes? Then it may be prose with code in it.
    pub prose: bool,
    /// The text that it came from.
    pub source: &'a [u8],
}

/// What looks at the simple commands of a script, in order.
pub(super) trait Visitor {
    /// A simple command, in a script that is `depth` levels of quoting or nesting deep.
    fn simple(&mut self, simple: &Simple<'_>, depth: u8);
    /// A function's name: calling it is no program.
    fn function(&mut self, name: &[u8]);
    /// So many commands have fetched something from the network.
    fn fetches(&self) -> u32;
    /// Accounts for so many bytes looked at; false when there were too many.
    fn spend(&mut self, steps: usize) -> bool;
}
