//! One policy file: which key is set to what, and where. What it means together with other files is for
//! [`super::layers`].

use super::knob::{Kind, Knob, Tighter, Value};
use super::problem::{Mark, Problem, Problems, any_error, unknown};
use super::setting::Setting;
use super::value;
use super::yaml::{self, Content, Entry, Node};
use crate::class::Class;

/// Whose file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The built-in one and the operator's: everything can be set.
    Operator,
    /// A workspace's: it came with somebody's repository, so it may only tighten.
    Workspace,
}

/// What a key belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// `classes: all:`
    All(Knob),
    /// `classes: CLASS:`
    Class(Class, Knob),
    /// The override of this index in [`Document::overrides`].
    Override(usize, Knob),
    /// A key outside of classes.
    Setting(Setting),
}

/// A key that is set.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// Which.
    pub target: Target,
    /// To what.
    pub value: Value,
    /// Where the key is.
    pub mark: Mark,
}

/// An override but for its knobs.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// As in [`super::compiled::Override`].
    pub pattern: Vec<String>,
    /// The class that it gives.
    pub class: Option<(Class, Mark)>,
    /// Where it begins.
    pub mark: Mark,
}

/// One policy file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    /// In the order of the file.
    pub assignments: Vec<Assignment>,
    /// In the order of the file.
    pub overrides: Vec<Head>,
}

/// The top-level keys.
pub const SECTIONS: [&str; 7] = ["version", "classes", "overrides", "hints", "log", "session", "holding"];
/// No file has more overrides: each costs every call some 50 ns.
const MOST_OVERRIDES: usize = 2000;
/// And no workspace's: the time that globs can be made to take is the caller's.
const MOST_WORKSPACE_OVERRIDES: usize = 200;
/// A command line that an override is for has no more words.
const MOST_GLOBS: usize = 32;
const MOST_GLOB_BYTES: usize = 128;

/// Reads one file. No document: it is refused, for at least one error; there may be warnings with a document.
pub fn read(file: &str, bytes: &[u8], trust: Trust) -> (Option<Document>, Vec<Problem>) {
    let (node, problems) = yaml::read(file, bytes);
    if any_error(&problems) {
        return (None, problems);
    }
    let mut reader = Reader { trust, document: Document::default(), problems: Problems::of(file) };
    if let Some(node) = node {
        reader.root(&node);
    }
    let problems = reader.problems.into_list();
    ((!any_error(&problems)).then_some(reader.document), problems)
}

struct Reader<'a> {
    trust: Trust,
    document: Document,
    problems: Problems<'a>,
}

impl Reader<'_> {
    fn root(&mut self, root: &Node) {
        let Some(entries) = self.map(root, "a policy", root.mark) else { return };
        let version = entries.iter().find(|e| e.key == "version");
        if version.is_none() {
            self.problems.error(root.mark, "no `version`; write `version: 1` at the top");
        }
        for entry in entries {
            match entry.key.as_str() {
                "version" => self.version(entry),
                "classes" => self.classes(entry),
                "overrides" => self.overrides(entry),
                section @ ("hints" | "log" | "session" | "holding") => match self.trust {
                    Trust::Operator => self.settings(section, entry),
                    Trust::Workspace => self.not_for_workspaces(entry.mark, section),
                },
                other => self.problems.error(entry.mark, unknown("key", other, &SECTIONS)),
            }
        }
    }

    fn not_for_workspaces(&mut self, mark: Mark, key: &str) {
        let settable: Vec<&str> =
            Knob::ALL.into_iter().filter(|k| k.tighter() != Tighter::Never).map(Knob::name).collect();
        self.problems.error(
            mark,
            format!(
                "`{key}` can't be set in a workspace's file, only in /etc/agentsh/policy.d; valid here: {}",
                settable.join(", ")
            ),
        );
    }

    /// The entries of a mapping; an empty one for nothing.
    fn map<'n>(&mut self, node: &'n Node, what: &str, at: Mark) -> Option<&'n [Entry]> {
        match &node.content {
            Content::Map(entries) => Some(entries),
            _ if node.is_empty() => Some(&[]),
            _ => {
                self.problems
                    .error(at, format!("{what} is a mapping (`key: value` lines), not {}", node.describe()));
                None
            }
        }
    }

    fn version(&mut self, entry: &Entry) {
        if !matches!(&entry.value.content, Content::Scalar { text, plain: true } if text == "1") {
            let given = match &entry.value.content {
                Content::Scalar { text, .. } => {
                    format!("`{}`", text.chars().take(20).collect::<String>().escape_debug())
                }
                _ => entry.value.describe().to_string(),
            };
            self.problems.error(entry.mark, format!("version {given} is not known; valid: 1"));
        }
    }

    fn classes(&mut self, entry: &Entry) {
        let Some(entries) = self.map(&entry.value, "`classes`", entry.mark) else { return };
        for entry in entries {
            let class = Class::LEAVES.into_iter().find(|c| c.name() == entry.key);
            if class.is_none() && entry.key != "all" {
                let names: Vec<&str> = ["all"].into_iter().chain(Class::LEAVES.map(Class::name)).collect();
                self.problems.error(entry.mark, unknown("class", &entry.key, &names));
                continue;
            }
            let Some(knobs) = self.map(&entry.value, &format!("class `{}`", entry.key), entry.mark) else {
                continue;
            };
            for knob in knobs {
                self.knob(knob, &[], |k| class.map_or(Target::All(k), |c| Target::Class(c, k)));
            }
        }
    }

    fn knob(&mut self, entry: &Entry, also: &[&str], target: impl Fn(Knob) -> Target) {
        let Some(knob) = Knob::named(&entry.key) else {
            let names: Vec<&str> = also.iter().copied().chain(Knob::ALL.map(Knob::name)).collect();
            self.problems.error(entry.mark, unknown("key", &entry.key, &names));
            return;
        };
        if self.trust == Trust::Workspace && knob.tighter() == Tighter::Never {
            self.not_for_workspaces(entry.mark, knob.name());
            return;
        }
        self.assign(entry, knob.kind(), target(knob));
    }

    fn assign(&mut self, entry: &Entry, kind: Kind, target: Target) {
        match value::read(kind, &entry.value) {
            Ok(value) => self.document.assignments.push(Assignment { target, value, mark: entry.mark }),
            Err(message) => {
                // Where nothing is, the place of nothing helps less than the key's.
                let mark = if entry.value.is_empty() { entry.mark } else { entry.value.mark };
                self.problems.error(mark, format!("{}: {message}", entry.key));
            }
        }
    }

    fn settings(&mut self, path: &str, entry: &Entry) {
        let Some(entries) = self.map(&entry.value, &format!("`{path}`"), entry.mark) else { return };
        for entry in entries {
            let below = format!("{path}/{}", entry.key);
            match Setting::at(&below) {
                Some(setting) => self.assign(entry, setting.kind(), Target::Setting(setting)),
                None if !entry.key.contains('/') && !Setting::keys_below(&below).is_empty() => {
                    self.settings(&below, entry);
                }
                None => {
                    let message = unknown("key", &entry.key, &Setting::keys_below(path));
                    self.problems.error(entry.mark, message);
                }
            }
        }
    }

    fn overrides(&mut self, entry: &Entry) {
        let items = match &entry.value.content {
            Content::List(items) => items.as_slice(),
            _ if entry.value.is_empty() => &[],
            _ => {
                let given = entry.value.describe();
                self.problems
                    .error(entry.mark, format!("`overrides` is a list (`- match: …` items), not {given}"));
                return;
            }
        };
        let most = match self.trust {
            Trust::Operator => MOST_OVERRIDES,
            Trust::Workspace => MOST_WORKSPACE_OVERRIDES,
        };
        if let Some(extra) = items.get(most) {
            self.problems.error(extra.mark, format!("more than {most} overrides; every call looks at each"));
            return;
        }
        for item in items {
            self.one_override(item);
        }
    }

    fn one_override(&mut self, item: &Node) {
        let Some(entries) = self.map(item, "an override", item.mark) else { return };
        let index = self.document.overrides.len();
        let mut head = Head { pattern: Vec::new(), class: None, mark: item.mark };
        let mut matched = false;
        for entry in entries {
            match entry.key.as_str() {
                "match" => {
                    matched = true;
                    self.pattern(entry, &mut head.pattern);
                }
                "class" if self.trust == Trust::Workspace => self.not_for_workspaces(entry.mark, "class"),
                "class" => match value::read(Kind::Class, &entry.value) {
                    Ok(Value::Class(class)) => head.class = Some((class, entry.mark)),
                    Ok(_) => {}
                    Err(message) => self.problems.error(entry.value.mark, format!("class: {message}")),
                },
                _ => self.knob(entry, &["match", "class"], |k| Target::Override(index, k)),
            }
        }
        if !matched {
            self.problems
                .error(item.mark, "an override without `match`; write such as `match: npm run build*`");
        } else if entries.len() == 1 {
            self.problems.warn(item.mark, "this override sets nothing");
        }
        self.document.overrides.push(head);
    }

    /// `npm run build*`, or `[npm, run, "build *"]`.
    fn pattern(&mut self, entry: &Entry, pattern: &mut Vec<String>) {
        const FORM: &str = "valid: words and globs, as `npm run build*` or [npm, run, \"build *\"]";
        let wrong = |what: &str| format!("match: {what}; {FORM}");
        match &entry.value.content {
            Content::Scalar { text, .. } if !entry.value.is_empty() => {
                pattern.extend(text.split_whitespace().map(str::to_string));
            }
            Content::List(items) => {
                for item in items {
                    match &item.content {
                        Content::Scalar { text, .. } if !text.is_empty() && !item.is_empty() => {
                            pattern.push(text.clone())
                        }
                        _ => self
                            .problems
                            .error(item.mark, wrong(&format!("{} among its words", item.describe()))),
                    }
                }
            }
            _ => {
                self.problems.error(entry.mark, wrong(entry.value.describe()));
                return;
            }
        }
        if pattern.is_empty() {
            self.problems.error(entry.mark, wrong("no word"));
        } else if pattern.len() > MOST_GLOBS || pattern.iter().any(|g| g.len() > MOST_GLOB_BYTES) {
            let most = format!("more than {MOST_GLOBS} words or {MOST_GLOB_BYTES} bytes a word");
            self.problems.error(entry.mark, wrong(&most));
        }
    }
}
