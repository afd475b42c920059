//! What is wrong with a policy file, where, and what would be right.

use std::fmt;

/// Is the file refused for it?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Yes: the last good policy stays in force.
    Error,
    /// No: the value is ignored, or kept and likely not what was meant.
    Warning,
}

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
}

/// One thing that is wrong with a policy file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, as it was given.
    pub file: String,
    /// Where in it.
    pub mark: Mark,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    /// As compilers write it, so that editors can jump there: `FILE:LINE:COLUMN: error: …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{}:{}:{}: {severity}: {}", self.file, self.mark.line, self.mark.column, self.message)
    }
}

/// Collects what is wrong with one file.
#[derive(Debug)]
pub struct Problems<'a> {
    file: &'a str,
    list: Vec<Problem>,
}

/// More than so many errors help nobody.
const MOST: usize = 50;

impl<'a> Problems<'a> {
    /// None yet, for this file.
    pub fn of(file: &'a str) -> Self {
        Problems { file, list: Vec::new() }
    }

    /// Adds an error.
    pub fn error(&mut self, mark: Mark, message: impl Into<String>) {
        self.add(mark, Severity::Error, message.into());
    }

    /// Adds a warning.
    pub fn warn(&mut self, mark: Mark, message: impl Into<String>) {
        self.add(mark, Severity::Warning, message.into());
    }

    fn add(&mut self, mark: Mark, severity: Severity, message: String) {
        if self.list.len() < MOST {
            self.list.push(Problem { file: self.file.to_string(), mark, severity, message });
        }
    }

    /// All, in the order of the file.
    pub fn into_list(mut self) -> Vec<Problem> {
        self.list.sort_by_key(|p| p.mark);
        self.list
    }
}

/// Is there an error among them?
pub fn any_error(problems: &[Problem]) -> bool {
    problems.iter().any(|p| p.severity == Severity::Error)
}

/// What is said of a word that isn't among the valid ones: `unknown key `x` …; did you mean `y`? Valid: …`.
pub fn unknown(what: &str, word: &str, valid: &[&str]) -> String {
    let shown: String = word.chars().take(60).flat_map(char::escape_debug).collect();
    let meant = nearest(word, valid).map(|m| format!("; did you mean `{m}`?")).unwrap_or_else(|| ";".into());
    let valid_word = if meant.ends_with('?') { "Valid" } else { "valid" };
    format!("unknown {what} `{shown}`{meant} {valid_word}: {}", valid.join(", "))
}

/// The valid word that `word` was most likely meant to be.
fn nearest<'v>(word: &str, valid: &[&'v str]) -> Option<&'v str> {
    if word.chars().count() > 40 {
        return None;
    }
    let plain = |s: &str| s.to_ascii_lowercase().replace(['.', '-', ' '], "_");
    let (distance, best) =
        valid.iter().map(|v| (edits(&plain(word), &plain(v)), *v)).min_by_key(|(d, _)| *d)?;
    (distance <= (best.chars().count() / 3).max(1)).then_some(best)
}

/// How many letters must be added, removed, replaced or swapped with their neighbour to get from `a` to `b`.
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_told_what_was_meant_and_anything_else_is_not() {
        let valid = ["memory.high", "memory.max", "oom"];
        assert_eq!(
            unknown("key", "memory.hihg", &valid),
            "unknown key `memory.hihg`; did you mean `memory.high`? Valid: memory.high, memory.max, oom"
        );
        assert!(unknown("key", "memory_max", &valid).contains("did you mean `memory.max`"));
        assert_eq!(
            unknown("key", "colour", &valid),
            "unknown key `colour`; valid: memory.high, memory.max, oom"
        );
        assert!(unknown("key", &"x".repeat(5000), &valid).len() < 200);
    }
}
