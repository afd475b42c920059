//! A JSON emitter of the size that the log needs: objects, strings of any bytes, integers, booleans, null.
//! The launcher writes with it, so that no serde_json is linked into the hot path.

use std::fmt::Write as _;

/// An object under construction. Its keys are names of ours, written as they are: nothing in them needs an escape.
#[derive(Debug)]
pub struct Object {
    out: String,
    empty: bool,
}

impl Default for Object {
    fn default() -> Object {
        Object::new()
    }
}

impl Object {
    /// `{`.
    pub fn new() -> Object {
        // Room for a whole record at once.
        let mut out = String::with_capacity(1024);
        out.push('{');
        Object { out, empty: true }
    }

    /// A string; bytes that aren't UTF-8 become U+FFFD.
    pub fn text(mut self, key: &str, value: impl AsRef<[u8]>) -> Object {
        self.key(key);
        escape(&mut self.out, &String::from_utf8_lossy(value.as_ref()));
        self
    }

    /// A string or null.
    pub fn maybe_text<T: AsRef<[u8]>>(self, key: &str, value: Option<T>) -> Object {
        match value {
            Some(value) => self.text(key, value),
            None => self.null(key),
        }
    }

    /// A string, or no such key at all.
    pub fn text_if<T: AsRef<[u8]>>(self, key: &str, value: Option<T>) -> Object {
        match value {
            Some(value) => self.text(key, value),
            None => self,
        }
    }

    /// An integer.
    pub fn number(mut self, key: &str, value: impl Into<i128>) -> Object {
        self.key(key);
        let value: i128 = value.into();
        match u64::try_from(value) {
            Ok(value) => decimal(&mut self.out, value),
            // Writing to a String can't fail. Numbers of 128 bits are slow to write, and hardly one is so long.
            Err(_) => {
                let _ = write!(self.out, "{value}");
            }
        }
        self
    }

    /// An integer or null.
    pub fn maybe_number<T: Into<i128>>(self, key: &str, value: Option<T>) -> Object {
        match value {
            Some(value) => self.number(key, value),
            None => self.null(key),
        }
    }

    /// `true` or `false`.
    pub fn flag(mut self, key: &str, value: bool) -> Object {
        self.key(key);
        self.out.push_str(if value { "true" } else { "false" });
        self
    }

    /// `null`.
    pub fn null(mut self, key: &str) -> Object {
        self.key(key);
        self.out.push_str("null");
        self
    }

    /// An object within, or null.
    pub fn maybe_object(mut self, key: &str, value: Option<Object>) -> Object {
        match value {
            Some(object) => {
                self.key(key);
                self.out.push_str(&object.close());
                self
            }
            None => self.null(key),
        }
    }

    /// `}`: the whole object as text.
    pub fn close(mut self) -> String {
        self.out.push('}');
        self.out
    }

    fn key(&mut self, key: &str) {
        if !std::mem::replace(&mut self.empty, false) {
            self.out.push(',');
        }
        self.out.push('"');
        self.out.push_str(key);
        self.out.push_str("\":");
    }
}

/// Appends `text` as a JSON string, quotes included. Control characters are escaped, so a record is one line.
pub fn escape(out: &mut String, text: &str) {
    out.reserve(text.len() + 2);
    out.push('"');
    // Most texts need no escape at all.
    let plain = text.bytes().position(may_need_escape).unwrap_or(text.len());
    let (plain, mut rest) = text.split_at(plain);
    out.push_str(plain);
    while let Some(at) = rest.bytes().position(may_need_escape) {
        out.push_str(&rest[..at]);
        let mut chars = rest[at..].chars();
        let Some(c) = chars.next() else { break };
        rest = chars.as_str();
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // DEL and the C1 controls are legal in JSON, but a terminal that shows the log obeys them.
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push_str(rest);
    out.push('"');
}

/// 0xC2 begins the characters U+0080 to U+00BF, the C1 controls among them.
fn may_need_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\' || byte == 0x7F || byte == 0xC2
}

/// Appends a number: a record has some forty, and the general way of writing one takes ten times as long.
pub fn decimal(out: &mut String, mut value: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.push_str(std::str::from_utf8(&digits[at..]).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    #[test]
    fn an_object_has_what_was_put_in_in_that_order() {
        let text = Object::new()
            .text("a", "x\"y\\z\n")
            .maybe_text("b", None::<&str>)
            .number("c", u64::MAX)
            .number("d", -3)
            .flag("e", true)
            .maybe_number("f", None::<u32>)
            .maybe_object("g", Some(Object::new().number("h", 1)))
            .maybe_object("i", None)
            .close();
        assert_eq!(
            text,
            r#"{"a":"x\"y\\z\n","b":null,"c":18446744073709551615,"d":-3,"e":true,"f":null,"g":{"h":1},"i":null}"#
        );
    }

    #[test]
    fn an_empty_object_is_an_object() {
        assert_eq!(Object::default().close(), "{}");
    }

    proptest! {
        #[test]
        fn serde_json_reads_back_any_bytes_as_their_lossy_text(
            bytes in proptest::collection::vec(any::<u8>(), 0..300)
        ) {
            let line = Object::new().text("key", &bytes).close();
            prop_assert!(!line.bytes().any(|b| b < 0x20 || b == 0x7f), "a control character in {line:?}");
            let read: Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(read, json!({ "key": String::from_utf8_lossy(&bytes) }));
        }

        #[test]
        fn serde_json_reads_back_any_text_and_number(text in any::<String>(), n in any::<u64>(), m in any::<i64>()) {
            let line = Object::new().text("t", &text).number("n", n).number("m", m).close();
            let read: Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(read, json!({"t": text, "n": n, "m": m}));
        }
    }
}
