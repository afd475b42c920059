//! `AGENT_RESOURCE_HINT`: what the agent itself says that a call will need.

use super::compiled::{Amount, Hints};
use super::units::{self, show_bytes};

/// What a hint asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Memory in bytes, not yet held against the budget; none if it asks for no memory.
    pub memory: Option<Amount>,
    /// cpu.weight.
    pub cpu_weight: Option<u16>,
    /// What of it was understood, as it can be written again (`memory:2g,cpu:low`).
    pub text: String,
    /// What was not understood, a sentence each.
    pub notes: Vec<String>,
}

/// No hint is longer: the words are few.
const MOST_BYTES: usize = 256;

/// Reads `memory:low|medium|high|<n>m|<n>g` and `cpu:low|high`, comma-separated. What can't be read is noted and
/// ignored, and the rest of the hint still holds; of two of a kind the last one holds.
pub fn read(hint: &[u8], words: &Hints) -> Wish {
    let mut wish = Wish::default();
    if hint.len() > MOST_BYTES {
        wish.notes.push(format!("hint of {} bytes ignored: more than {MOST_BYTES}", hint.len()));
        return wish;
    }
    let Ok(hint) = std::str::from_utf8(hint) else {
        wish.notes.push("hint ignored: it is not UTF-8".into());
        return wish;
    };
    if hint.trim().is_empty() {
        return wish;
    }
    let mut understood: Vec<(&str, String)> = Vec::new();
    for part in hint.split(',').map(str::trim) {
        let (what, value) = part.split_once(':').map_or((part, ""), |(w, v)| (w.trim(), v.trim()));
        let taken = match what {
            "memory" => memory(value, words).map(|m| wish.memory = Some(m)),
            "cpu" => cpu(value, words).map(|w| wish.cpu_weight = Some(w)),
            _ => None,
        };
        match taken {
            Some(()) => {
                understood.retain(|(known, _)| *known != what);
                understood.push((what, format!("{what}:{value}")));
            }
            None => wish.notes.push(format!(
                "hint `{}` ignored; valid: memory:low|medium|high|<n>m|<n>g, cpu:low|high",
                part.escape_default()
            )),
        }
    }
    wish.text = understood.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(",");
    wish
}

fn memory(value: &str, words: &Hints) -> Option<Amount> {
    match value {
        "low" => Some(words.memory_low.value),
        "medium" => Some(words.memory_medium.value),
        "high" => Some(words.memory_high.value),
        // In capitals too, as in the policies; `512mb` and `75%` are no hints.
        _ => match units::amount(&value.to_ascii_uppercase()) {
            Ok(Amount::Bytes(bytes)) if bytes >= 1 << 20 => Some(Amount::Bytes(bytes)),
            _ => None,
        },
    }
}

fn cpu(value: &str, words: &Hints) -> Option<u16> {
    match value {
        "low" => Some(words.cpu_low.value),
        "high" => Some(words.cpu_high.value),
        _ => None,
    }
}

/// A hint as it was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedHint {
    /// What of it was understood, as it can be written again.
    pub text: String,
    /// The memory.high that it led to, in bytes.
    pub memory: Option<u64>,
    /// The cpu.weight that it led to.
    pub cpu_weight: Option<u16>,
    /// It asked for more than the budget holds, and got the budget.
    pub cut: bool,
}

impl AppliedHint {
    /// For a person: `memory:8g (cut to the budget of 4G)`.
    pub fn describe(&self) -> String {
        match self.memory {
            Some(bytes) if self.cut => format!("{} (cut to the budget: {})", self.text, show_bytes(bytes)),
            _ => self.text.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::builtin;
    use proptest::prelude::*;

    fn read_default(hint: &str) -> Wish {
        read(hint.as_bytes(), &builtin::policy().hints)
    }

    #[test]
    fn words_and_numbers_are_understood_in_any_order_and_spacing() {
        let words = builtin::policy().hints;
        assert_eq!(read_default("memory:high").memory, Some(words.memory_high.value));
        let wish = read_default(" cpu:low , memory: 2g");
        assert_eq!(wish.memory, Some(Amount::Bytes(2 << 30)));
        assert_eq!(wish.cpu_weight, Some(words.cpu_low.value));
        assert_eq!(wish.text, "cpu:low,memory:2g");
        assert_eq!(read_default("memory:512m").memory, Some(Amount::Bytes(512 << 20)));
        assert_eq!(read_default("memory:1.5G").memory, Some(Amount::Bytes(3 << 29)));
    }

    #[test]
    fn what_is_malformed_is_noted_and_the_rest_holds() {
        let wish = read_default("memory:lots,cpu:high,gpu:1,memory");
        assert_eq!((wish.memory, wish.cpu_weight.is_some()), (None, true));
        assert_eq!(wish.notes.len(), 3);
        assert_eq!(
            wish.notes[0],
            "hint `memory:lots` ignored; valid: memory:low|medium|high|<n>m|<n>g, cpu:low|high"
        );
        for bad in [
            "memory:-1g",
            "memory:0",
            "memory:512",
            "memory:75%",
            "memory:max",
            "memory:1k",
            "memory:99999999999t",
        ] {
            let wish = read_default(bad);
            assert_eq!((wish.memory, wish.notes.len()), (None, 1), "{bad}");
        }
    }

    #[test]
    fn an_empty_hint_is_no_hint_and_the_last_of_two_holds() {
        assert_eq!(read_default("  "), Wish::default());
        let wish = read_default("memory:1g,memory:2g");
        assert_eq!((wish.memory, wish.text.as_str()), (Some(Amount::Bytes(2 << 30)), "memory:2g"));
    }

    #[test]
    fn long_and_non_utf8_hints_are_ignored() {
        let words = builtin::policy().hints;
        assert_eq!(read(&b"memory:1g,".repeat(100), &words).notes.len(), 1);
        assert_eq!(read(b"memory:\xff", &words).notes, ["hint ignored: it is not UTF-8"]);
    }

    proptest! {
        #[test]
        fn no_hint_makes_it_panic(hint in proptest::collection::vec(any::<u8>(), 0..300)) {
            read(&hint, &builtin::policy().hints);
        }
    }
}
