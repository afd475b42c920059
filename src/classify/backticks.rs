//! What is substituted between backticks.

use super::scanner::{DEPTH, STEPS_OF_MORE, Scanner};
use super::search::find;
use super::simple::Visitor;
use super::word::Word;
use std::borrow::Cow;

impl<'a, V: Visitor> Scanner<'a, '_, V> {
    /// `` `…` ``: its inside is a script of its own, once its backslashes are taken away.
    pub fn backtick(&mut self, word: &mut Word<'a>, quoted: bool) {
        let src = self.src;
        let start = self.at;
        let mut escaped = false;
        self.at += 1;
        loop {
            self.at += find(&src[self.at..], |b| (b == b'`') | (b == b'\\'));
            if self.peek(0) != b'\\' {
                break;
            }
            escaped = true;
            self.at = (self.at + 2).min(src.len());
            self.spend(STEPS_OF_MORE);
        }
        let body = &src[start + 1..self.at.max(start + 1)];
        self.at = (self.at + 1).min(src.len());
        self.spend(if escaped { 2 * body.len() } else { body.len() / 8 });
        word.dynamic = true;
        self.push(word, start, self.at);
        let body = if escaped { Cow::Owned(without_backslashes(body)) } else { Cow::Borrowed(body) };
        if self.depth >= DEPTH {
            return self.stop();
        }
        let mut inner = Scanner::new(&body, self.depth + 1, self.visitor);
        inner.prose = quoted || self.prose;
        inner.script();
        self.spend(8);
    }
}

/// What a script between backticks is, once `` \` ``, `\$` and `\\` are plain.
fn without_backslashes(body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(body.len());
    let mut bytes = body.iter().copied().peekable();
    while let Some(b) = bytes.next() {
        let escaped = b == b'\\' && bytes.peek().is_some_and(|next| b"`$\\".contains(next));
        plain.push(if escaped { bytes.next().unwrap_or(b) } else { b });
    }
    plain
}
