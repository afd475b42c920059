//! From a YAML scalar to the value that a key takes.

use super::compiled::{Amount, Limits, OnExit, Oom};
use super::knob::{Kind, Value};
use super::problem::unknown;
use super::units::{self, show_bytes};
use super::yaml::{Content, Node};
use crate::class::{Class, Classes};

/// PID_MAX_LIMIT of 64-bit kernels (include/linux/threads.h): a larger pids.max means nothing.
pub const MOST_PIDS: u32 = 4 * 1024 * 1024;

/// Reads the value of a key.
///
/// # Errors
/// What is wrong with it and what would be right, as a sentence without the place.
pub fn read(kind: Kind, node: &Node) -> Result<Value, String> {
    if let (Kind::Classes, Content::List(items)) = (kind, &node.content) {
        return classes(items);
    }
    let Content::Scalar { text, plain } = &node.content else {
        return Err(format!("{} where a value is needed; valid: {}", node.describe(), valid(kind)));
    };
    if node.is_empty() {
        return Err(format!("no value; valid: {}", valid(kind)));
    }
    let text = text.as_str();
    match kind {
        Kind::Amount { least } => amount(text, least),
        Kind::Bytes { least, most } => size(text, kind, least, most).map(Value::Bytes),
        Kind::Length(most) => {
            size(text, kind, 0, u64::from(most)).map(|n| Value::Length(u32::try_from(n).unwrap_or(most)))
        }
        Kind::Limits => word(
            text,
            &[("birth", Value::Limits(Limits::Birth)), ("contended", Value::Limits(Limits::Contended))],
        ),
        Kind::Oom => word(text, &[("call", Value::Oom(Oom::Call)), ("process", Value::Oom(Oom::Process))]),
        Kind::OnExit => {
            word(text, &[("keep", Value::OnExit(OnExit::Keep)), ("kill", Value::OnExit(OnExit::Kill))])
        }
        Kind::Freeze => word(text, &[("allow", Value::Freeze(true)), ("never", Value::Freeze(false))]),
        Kind::Class => word(text, &Class::LEAVES.map(|class| (class.name(), Value::Class(class)))),
        Kind::Classes => classes(std::slice::from_ref(node)),
        Kind::Flag if !plain => Err(format!("a text in quotes; valid: {}", valid(kind))),
        Kind::Flag => match text {
            "yes" | "Yes" | "on" | "On" | "True" => {
                Err(format!("`{text}`; did you mean `true`? Valid: true, false"))
            }
            "no" | "No" | "off" | "Off" | "False" => {
                Err(format!("`{text}`; did you mean `false`? Valid: true, false"))
            }
            _ => word(text, &[("true", Value::Flag(true)), ("false", Value::Flag(false))]),
        },
        Kind::Weight => number(text, *plain, kind, 1, 10_000).map(|n| Value::Weight(n as u16)),
        Kind::Pids if text == "max" => Ok(Value::Pids(None)),
        Kind::Pids => number(text, *plain, kind, 1, MOST_PIDS).map(|n| Value::Pids(Some(n))),
        Kind::Adj => number(text, *plain, kind, 0, 1000).map(|n| Value::Adj(n as i16)),
        Kind::Count(most) => number(text, *plain, kind, 1, most).map(Value::Count),
        Kind::Few => number(text, *plain, kind, 0, 100).map(|n| Value::Few(n as u8)),
        Kind::Millis => match units::duration_ms(text) {
            Ok(0) => Err(format!("`{text}` is no time at all; valid: {}", valid(kind))),
            Ok(ms) => Ok(Value::Millis(ms)),
            Err(error) => Err(error.to_string()),
        },
        Kind::Time { least, most } => match units::duration_ms(text) {
            Ok(ms) if (least..=most).contains(&ms) => Ok(Value::Millis(ms)),
            Ok(_) => Err(format!("`{}` is out of range; valid: {}", shown(text), valid(kind))),
            Err(error) => Err(error.to_string()),
        },
        Kind::Share => match units::amount(text) {
            Ok(Amount::Permille(share)) if share > 0 => Ok(Value::Share(share)),
            _ => Err(format!("`{}` is no share; valid: {}", shown(text), valid(kind))),
        },
        Kind::Path if text.starts_with('/') && text.len() < 4096 => Ok(Value::Text(text.to_string())),
        Kind::Path => Err(format!("`{}` is no absolute path; valid: {}", shown(text), valid(kind))),
    }
}

/// What a value of this kind can be, for messages and for the schema.
pub fn valid(kind: Kind) -> String {
    match kind {
        Kind::Amount { .. } => "such as 512M, 1.5G, 75% (of the session's budget), or `max`".into(),
        Kind::Bytes { least, most } => {
            format!("a size from {} to {}, such as 16M", show_bytes(least), show_bytes(most))
        }
        Kind::Length(most) => format!("a size from 0 to {}, such as 4K", show_bytes(u64::from(most))),
        Kind::Limits => "birth, contended".into(),
        Kind::Oom => "call, process".into(),
        Kind::OnExit => "keep, kill".into(),
        Kind::Freeze => "allow, never".into(),
        Kind::Class => Class::LEAVES.map(Class::name).join(", "),
        Kind::Classes => format!("a list of {}", Class::LEAVES.map(Class::name).join(", ")),
        Kind::Flag => "true, false".into(),
        Kind::Weight => "a whole number from 1 to 10000 (100 is the kernel's default)".into(),
        Kind::Pids => format!("a whole number from 1 to {MOST_PIDS}, or `max`"),
        Kind::Adj => "a whole number from 0 to 1000".into(),
        Kind::Count(most) => format!("a whole number from 1 to {most}"),
        Kind::Few => "a whole number from 0 to 100".into(),
        Kind::Millis => "a time from 1ms to 1h, such as 500ms, 30s, 2m".into(),
        Kind::Time { least, most } => {
            format!(
                "a time from {} to {}, such as {}",
                units::show_duration(least),
                units::show_duration(most),
                units::show_duration(least)
            )
        }
        Kind::Share => "a share from 0.1% to 100%, such as 12.5%".into(),
        Kind::Path => "an absolute path".into(),
    }
}

fn classes(items: &[Node]) -> Result<Value, String> {
    let one = |item: &Node| match read(Kind::Class, item)? {
        Value::Class(class) => Ok(class),
        _ => Err(format!("no class; valid: {}", valid(Kind::Classes))),
    };
    let all = items.iter().map(one).collect::<Result<Vec<_>, String>>()?;
    Ok(Value::Classes(all.into_iter().fold(Classes::default(), Classes::with)))
}

/// A value from a file as a message can hold it.
fn shown(text: &str) -> String {
    text.chars().take(60).flat_map(char::escape_debug).collect()
}

fn amount(text: &str, least: u64) -> Result<Value, String> {
    let valid = || valid(Kind::Amount { least });
    if text.len() > 60 || text.contains(char::is_control) {
        return Err(format!("`{}` is no amount of memory; valid: {}", shown(text), valid()));
    }
    let amount = units::amount(text).map_err(|error| error.to_string())?;
    match amount {
        Amount::Bytes(bytes) if bytes < least => Err(match bytes {
            0 => format!("0 would let nothing run; valid: at least {}, {}", show_bytes(least), valid()),
            _ => {
                format!("`{text}` would let nothing run; valid: at least {}, {}", show_bytes(least), valid())
            }
        }),
        Amount::Permille(0) if least > 0 => Err(format!("0% would let nothing run; valid: {}", valid())),
        amount => Ok(Value::Amount(amount)),
    }
}

fn size(text: &str, kind: Kind, least: u64, most: u64) -> Result<u64, String> {
    match units::amount(text) {
        Ok(Amount::Bytes(bytes)) if (least..=most).contains(&bytes) => Ok(bytes),
        Ok(_) => Err(format!("`{}` is out of range; valid: {}", shown(text), valid(kind))),
        Err(_) => Err(format!("`{}` is no size; valid: {}", shown(text), valid(kind))),
    }
}

fn word(text: &str, words: &[(&'static str, Value)]) -> Result<Value, String> {
    let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
    let found = words.iter().find(|(name, _)| *name == text).map(|(_, value)| value.clone());
    found.ok_or_else(|| unknown("value", text, &names))
}

/// A whole number within bounds that fit what it becomes.
fn number(text: &str, plain: bool, kind: Kind, least: u32, most: u32) -> Result<u32, String> {
    if !plain {
        return Err(format!("a text in quotes; valid: {}", valid(kind)));
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("`{}` is no whole number; valid: {}", shown(text), valid(kind)));
    }
    match text.parse::<u32>() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ if text.starts_with('-') => Err(format!("`{}` is negative; valid: {}", shown(text), valid(kind))),
        _ => Err(format!("`{}` is out of range; valid: {}", shown(text), valid(kind))),
    }
}
