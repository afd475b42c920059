//! A small tree of YAML nodes that remember their places.
//!
//! Built on the parser's events instead of its own tree or serde: so keys have places too, duplicates are seen,
//! depth is bounded before anything recurses, and anchors, aliases, tags and further documents can be refused:
//! a policy needs none of them, and they are how small files become large ones.

use super::problem::{Mark, Problem, Problems};
use saphyr_parser::{Event, Parser, ScalarStyle};
use std::collections::HashMap;

/// A policy file is never larger.
pub const MOST_BYTES: u64 = 1 << 20;
/// A policy is nested four deep.
const DEEPEST: usize = 16;

/// A node and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it begins.
    pub mark: Mark,
    /// What it is.
    pub content: Content,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A word, number or text.
    Scalar {
        /// Without quotes.
        text: String,
        /// Was it written without quotes? Only then it can be a number or a truth value.
        plain: bool,
    },
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file; its keys are scalars and differ.
    Map(Vec<Entry>),
}

/// An entry of a mapping.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key is.
    pub mark: Mark,
    /// What belongs to it.
    pub value: Node,
}

impl Node {
    /// Is nothing there (`key:` or `~`)?
    pub fn is_empty(&self) -> bool {
        matches!(&self.content, Content::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null"))
    }

    /// What it is, for messages.
    pub fn describe(&self) -> &'static str {
        match &self.content {
            _ if self.is_empty() => "nothing",
            Content::Scalar { plain: true, .. } => "a word or number",
            Content::Scalar { .. } => "a text in quotes",
            Content::List(_) => "a list",
            Content::Map(_) => "a mapping",
        }
    }
}

/// Reads one YAML document. No node: the file is empty, or broken (then there is an error).
pub fn read(file: &str, bytes: &[u8]) -> (Option<Node>, Vec<Problem>) {
    let mut problems = Problems::of(file);
    let node = read_into(bytes, &mut problems);
    (node, problems.into_list())
}

fn read_into(bytes: &[u8], problems: &mut Problems<'_>) -> Option<Node> {
    const START: Mark = Mark { line: 1, column: 1 };
    if bytes.len() as u64 > MOST_BYTES {
        problems.error(
            START,
            format!("{} bytes; a policy file has at most 1 MiB ({MOST_BYTES} bytes)", bytes.len()),
        );
        return None;
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(error) => {
            let good = std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
            problems.error(
                end_of(good),
                format!("byte 0x{:02x} is not UTF-8; save the file as UTF-8", bytes[error.valid_up_to()]),
            );
            return None;
        }
    };
    if !characters_are_fit(text, problems) {
        return None;
    }
    build(text, problems)
}

/// The place behind a text.
fn end_of(text: &str) -> Mark {
    let line = text.bytes().filter(|&b| b == b'\n').count() + 1;
    let column = text.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    mark(line, column)
}

/// Control characters and tabs for indentation: what the parser would describe as something else, or let pass.
fn characters_are_fit(text: &str, problems: &mut Problems<'_>) -> bool {
    let mut fit = true;
    for (number, line) in text.lines().enumerate() {
        let indentation = line.len() - line.trim_start_matches([' ', '\t']).len();
        let content = line.trim();
        if let Some(tab) = line[..indentation].find('\t')
            && !content.is_empty()
            && !content.starts_with('#')
        {
            problems.error(mark(number + 1, tab + 1), "a tab; YAML is indented by spaces only");
            fit = false;
        }
        // A carriage return of its own ends a line for YAML and for few editors.
        let control = |c: char| c.is_control() && c != '\t';
        if let Some(column) = line.chars().position(control) {
            problems.error(mark(number + 1, column + 1), "a control character; a policy is plain text");
            fit = false;
        }
    }
    fit
}

fn mark(line: usize, column: usize) -> Mark {
    Mark { line: u32::try_from(line).unwrap_or(u32::MAX), column: u32::try_from(column).unwrap_or(u32::MAX) }
}

/// A collection that is still open.
enum Open {
    List { mark: Mark, items: Vec<Node> },
    Map { mark: Mark, entries: Vec<Entry>, lines: HashMap<String, u32>, key: Option<(String, Mark)> },
}

fn build(text: &str, problems: &mut Problems<'_>) -> Option<Node> {
    let mut open: Vec<Open> = Vec::new();
    let mut root: Option<Node> = None;
    let mut documents = 0;
    for event in Parser::new_from_str(text) {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                let at = mark(error.marker().line(), error.marker().col() + 1);
                let message = match error.info() {
                    info if info.contains("unknown anchor") => ALIAS.to_string(),
                    info => format!("not valid YAML: {info}"),
                };
                problems.error(at, message);
                return None;
            }
        };
        let at = mark(span.start.line(), span.start.col() + 1);
        if let Some(refused) = refused(&event) {
            problems.error(at, refused);
            return None;
        }
        let done = match event {
            Event::DocumentStart(_) => {
                documents += 1;
                if documents > 1 {
                    problems.error(at, "a second document; a policy file holds one");
                    return None;
                }
                continue;
            }
            Event::Scalar(text, style, ..) => {
                let plain = style == ScalarStyle::Plain;
                Node { mark: at, content: Content::Scalar { text: text.into_owned(), plain } }
            }
            Event::SequenceStart(..) | Event::MappingStart(..) if open.len() == DEEPEST => {
                problems.error(at, format!("nested more than {DEEPEST} deep; a policy is nested four deep"));
                return None;
            }
            Event::SequenceStart(..) => {
                open.push(Open::List { mark: at, items: Vec::new() });
                continue;
            }
            Event::MappingStart(..) => {
                open.push(Open::Map { mark: at, entries: Vec::new(), lines: HashMap::new(), key: None });
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::List { mark, items }) => Node { mark, content: Content::List(items) },
                Some(Open::Map { mark, entries, .. }) => Node { mark, content: Content::Map(entries) },
                None => continue,
            },
            _ => continue,
        };
        match open.last_mut() {
            None => root = Some(done),
            Some(parent) => parent.take(done, problems)?,
        }
    }
    root.filter(|node| !node.is_empty())
}

const ALIAS: &str = "an alias (`*name`); write the value out, a policy has no aliases";

/// What a policy may not use, and what to do instead.
fn refused(event: &Event<'_>) -> Option<&'static str> {
    let (anchor, tag) = match event {
        Event::Alias(_) => return Some(ALIAS),
        Event::Scalar(_, _, anchor, tag) => (*anchor, tag),
        Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) => (*anchor, tag),
        _ => return None,
    };
    if anchor != 0 {
        return Some("an anchor (`&name`); write the value out where it is needed, a policy has no anchors");
    }
    tag.is_some().then_some("a tag (`!name`); leave it out, a policy has no tags")
}

impl Open {
    /// Takes a finished node: an item, a key, or a key's value. None if the error makes reading on senseless.
    fn take(&mut self, node: Node, problems: &mut Problems<'_>) -> Option<()> {
        match self {
            Open::List { items, .. } => items.push(node),
            Open::Map { entries, lines, key, .. } => match key.take() {
                Some((name, mark)) => match lines.get(&name) {
                    Some(first) => {
                        let name = name.escape_debug();
                        problems.error(
                            mark,
                            format!("`{name}` a second time; it is already set in line {first}"),
                        );
                    }
                    None => {
                        lines.insert(name.clone(), mark.line);
                        entries.push(Entry { key: name, mark, value: node });
                    }
                },
                None => match node.content {
                    Content::Scalar { text, .. } => *key = Some((text, node.mark)),
                    _ => {
                        problems
                            .error(node.mark, format!("a key that is {}; keys are words", node.describe()));
                        return None;
                    }
                },
            },
        }
        Some(())
    }
}
