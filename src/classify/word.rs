//! A word of a command, after quotes and escapes are taken away.

use std::borrow::Cow;

/// A word of a command. It borrows from the script wherever quoting lets it.
#[derive(Clone, Debug, Default)]
pub(super) struct Word<'a> {
    /// What the program gets; expansions (`$x`, `$(…)`) stand in it as they were written.
    pub text: Cow<'a, [u8]>,
    /// Was any of it quoted? Then it is no keyword.
    pub quoted: bool,
    /// Does it hold an expansion?
    pub dynamic: bool,
}

impl<'a> Word<'a> {
    /// A word that stands for itself.
    pub fn plain(text: &'a [u8]) -> Word<'a> {
        Word { text: Cow::Borrowed(text), quoted: false, dynamic: false }
    }

    /// Adds a piece; the first piece is borrowed.
    pub fn push(&mut self, piece: &'a [u8]) {
        if self.text.is_empty() {
            self.text = Cow::Borrowed(piece);
        } else if !piece.is_empty() {
            self.text.to_mut().extend_from_slice(piece);
        }
    }

    /// The keyword that it may be.
    pub fn keyword(&self) -> &[u8] {
        if self.quoted { b"" } else { &self.text }
    }
}

/// Name and value of an assignment (`NAME=value`, `NAME+=value`, `NAME[index]=value`), if the text is one.
pub(super) fn assignment(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|&b| !is_name(b))?;
    if end == 0 || text[0].is_ascii_digit() {
        return None;
    }
    let mut rest = &text[end..];
    if rest[0] == b'[' {
        // No index is long; looking no further keeps a word full of brackets from costing its length squared.
        let near = &rest[..rest.len().min(256)];
        let end = near.windows(2).position(|pair| matches!(pair, b"]=" | b"]+"))?;
        rest = &rest[end + 1..];
    }
    let rest = rest.strip_prefix(b"+").unwrap_or(rest);
    Some((&text[..end], rest.strip_prefix(b"=")?))
}

/// May the byte stand in a variable's name?
pub(super) fn is_name(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric()
}

/// The last component of a path.
pub(super) fn basename(path: &[u8]) -> &[u8] {
    path.iter().rposition(|&b| b == b'/').map_or(path, |slash| &path[slash + 1..])
}
