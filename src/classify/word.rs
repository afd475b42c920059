//! A word of a command, after quotes and escapes are taken away.

use std::borrow::Cow;

/// A word of a command. It borrows from the script wherever quoting lets it.
#[derive(Clone, Debug)]
pub(super) struct Word<'a> {
    /// What the program gets; expansions (`$x`, `$(…)`) stand in it as they were written.
    pub text: Cow<'a, [u8]>,
    /// Was any of it quoted? Then it is no keyword.
    pub quoted: bool,
    /// Does it hold an expansion?
    pub dynamic: bool,
    /// Where in the script the text ends, as long as it is borrowed from there.
    end: usize,
}

impl Default for Word<'_> {
    /// An empty word. (An empty `Cow` is owned by default, and would never be borrowed again.)
    fn default() -> Self {
        Word { text: Cow::Borrowed(b""), quoted: false, dynamic: false, end: 0 }
    }
}

impl<'a> Word<'a> {
    /// A word that stands for itself.
    pub fn plain(text: &'a [u8]) -> Word<'a> {
        Word { text: Cow::Borrowed(text), ..Word::default() }
    }

    /// Adds a piece of the script without copying it; false if only a copy would do, as something was left out between.
    #[inline]
    pub fn extend(&mut self, src: &'a [u8], from: usize, to: usize) -> bool {
        let before = match &self.text {
            text if text.is_empty() => 0,
            Cow::Borrowed(text) if self.end == from => text.len(),
            _ => return from == to,
        };
        self.text = Cow::Borrowed(&src[from - before..to]);
        self.end = to;
        true
    }

    /// Is it a copy already?
    pub fn copied(&self) -> bool {
        matches!(self.text, Cow::Owned(_))
    }

    /// Adds a piece as a copy.
    pub fn copy(&mut self, piece: &[u8]) {
        if let Cow::Borrowed(text) = self.text {
            let mut owned = Vec::with_capacity(2 * (text.len() + piece.len()).max(32));
            owned.extend_from_slice(text);
            self.text = Cow::Owned(owned);
        }
        self.text.to_mut().extend_from_slice(piece);
    }

    /// The keyword that it may be.
    pub fn keyword(&self) -> &[u8] {
        if self.quoted { b"" } else { &self.text }
    }
}

/// Name and value of an assignment (`NAME=value`, `NAME+=value`, `NAME[index]=value`), if the text is one.
pub(super) fn assignment(text: &[u8]) -> Option<(&[u8], &[u8])> {
    // No name is longer, either.
    let end = text.iter().take(256).position(|&b| !is_name(b))?;
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
