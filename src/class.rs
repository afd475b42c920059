//! The classes of tool calls: what every part of agentsh agrees on.

use std::fmt;
use std::str::FromStr;

/// What a tool call is for. The order is the order of weight: of a compound command the heaviest part wins,
/// and `Test` is the heaviest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Class {
    /// Runs a test suite (pytest, cargo test, make check …).
    Test,
    /// Compiles or links (make, cargo build, gcc …).
    Build,
    /// Brings in dependencies (pip install, apt-get install, curl -o …).
    Install,
    /// Runs a program that isn't known to be anything lighter.
    Run,
    /// Version control.
    Git,
    /// Changes files (sed -i, mv, `>` …).
    Edit,
    /// Only looks (ls, grep, cat …).
    Explore,
    /// Nothing of the above, or not parseable.
    Other,
    /// An agent, a multiplexer or an interactive shell: never put into a leaf.
    Agent,
}

impl Class {
    /// The classes that have leaves, heaviest first; the index of each is its discriminant.
    pub const LEAVES: [Class; 8] = [
        Class::Test,
        Class::Build,
        Class::Install,
        Class::Run,
        Class::Git,
        Class::Edit,
        Class::Explore,
        Class::Other,
    ];

    /// The name as it stands in leaf names, policies and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Class::Test => "test",
            Class::Build => "build",
            Class::Install => "install",
            Class::Run => "run",
            Class::Git => "git",
            Class::Edit => "edit",
            Class::Explore => "explore",
            Class::Other => "other",
            Class::Agent => "agent",
        }
    }

    /// The class in a leaf's name (`test-17`), or none if this isn't a leaf's name.
    pub fn of_leaf(name: &str) -> Option<Class> {
        let (class, number) = name.rsplit_once('-')?;
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        class.parse().ok().filter(|&c| c != Class::Agent)
    }

    /// Which calls go first when there isn't memory for all: the higher. What somebody waits for, and is soon done with, comes
    /// before work that takes long, and that before what can be done later.
    pub const fn rank(self) -> u32 {
        match self {
            Class::Explore | Class::Git | Class::Edit => 2,
            Class::Test | Class::Build | Class::Run | Class::Other | Class::Agent => 1,
            Class::Install => 0,
        }
    }

    /// The heavier of two classes; `Agent` beats everything, as its presence decides the placement.
    pub fn heavier(self, other: Class) -> Class {
        match (self, other) {
            (Class::Agent, _) | (_, Class::Agent) => Class::Agent,
            (a, b) => a.min(b),
        }
    }
}

/// Some of the classes that have leaves, as a bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Classes(pub u8);

impl Classes {
    /// Is it among them?
    pub fn has(self, class: Class) -> bool {
        class != Class::Agent && self.0 & 1 << class as u8 != 0
    }

    /// These and one more.
    pub fn with(self, class: Class) -> Classes {
        Classes(if class == Class::Agent { self.0 } else { self.0 | 1 << class as u8 })
    }

    /// None of them?
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Classes {
    /// As a list in YAML: `[run, build]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = Class::LEAVES.into_iter().filter(|&c| self.has(c)).map(Class::name).collect();
        f.pad(&format!("[{}]", names.join(", ")))
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Class {
    type Err = ();

    fn from_str(s: &str) -> Result<Class, ()> {
        Class::LEAVES.into_iter().chain([Class::Agent]).find(|c| c.name() == s).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaf_name_gives_its_class_and_nothing_else_does() {
        assert_eq!(Class::of_leaf("test-17"), Some(Class::Test));
        for no in ["test", "test-", "test-x", "agent-1", "tests-1", "-1", ""] {
            assert_eq!(Class::of_leaf(no), None, "{no}");
        }
    }

    #[test]
    fn classes_are_told_as_they_are_written_in_a_policy() {
        let some = Classes::default().with(Class::Run).with(Class::Test).with(Class::Agent);
        assert_eq!(some.to_string(), "[test, run]");
        assert!(some.has(Class::Run) && !some.has(Class::Build) && !some.has(Class::Agent));
        assert_eq!(Classes::default().to_string(), "[]");
    }

    #[test]
    fn the_heaviest_class_wins_and_agent_beats_all() {
        assert_eq!(Class::Explore.heavier(Class::Test), Class::Test);
        assert_eq!(Class::Test.heavier(Class::Agent), Class::Agent);
    }
}
