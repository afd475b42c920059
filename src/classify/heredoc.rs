//! Here-documents: what is read behind the line that announces them.

use super::grammar::SCRIPT;
use super::scanner::Scanner;
use super::search::find_byte;
use super::simple::{Stdin, Visitor};
use std::borrow::Cow;

/// What a line of a body costs, in steps; and a `$` in it.
const STEPS_OF_LINE: usize = 8;
const STEPS_OF_DOLLAR: usize = 8;

/// A here-document that was announced.
pub(super) struct Heredoc<'a> {
    /// The line that ends it.
    pub delimiter: Cow<'a, [u8]>,
    /// `<<-`: tabs before lines don't count.
    pub strip: bool,
    /// A quoted delimiter: nothing is expanded in the body.
    pub literal: bool,
    /// Index in `waiting` of the command that reads it, once it is known.
    pub reader: Option<usize>,
}

impl<'a, V: Visitor> Scanner<'a, '_, V> {
    /// Steps over a newline and the bodies of the here-documents that wait for it.
    pub fn newline(&mut self) {
        self.at = (self.at + 1).min(self.src.len());
        self.spend(8);
        if self.heredocs.is_empty() {
            return;
        }
        for heredoc in std::mem::take(&mut self.heredocs) {
            let body = self.heredoc_body(&heredoc);
            self.spend(SCRIPT);
            if !heredoc.literal {
                self.expand(body);
            }
            if let Some(reader) = heredoc.reader.and_then(|reader| self.waiting.get_mut(reader)) {
                reader.stdin = Stdin::Text(Cow::Borrowed(body));
            }
        }
        self.release();
    }

    fn heredoc_body(&mut self, heredoc: &Heredoc<'a>) -> &'a [u8] {
        let src = self.src;
        let start = self.at;
        while !self.ended() {
            let line_start = self.at;
            let length = find_byte(&src[line_start..], b'\n');
            if !self.visitor.spend(STEPS_OF_LINE + length / 16) {
                break;
            }
            self.at = (line_start + length + 1).min(src.len());
            let mut line = &src[line_start..line_start + length];
            while heredoc.strip && line.first() == Some(&b'\t') {
                line = &line[1..];
            }
            if line == &*heredoc.delimiter {
                return &src[start..line_start];
            }
        }
        self.stop();
        &src[start..]
    }

    /// The commands that a here-document's body substitutes. Backticks are mostly prose there and left alone.
    fn expand(&mut self, body: &'a [u8]) {
        let mut at = 0;
        while self.visitor.spend(STEPS_OF_DOLLAR) {
            at += find_byte(&body[at..], b'$') + 1;
            if body.get(at) != Some(&b'(') {
                if at >= body.len() {
                    return;
                }
                continue;
            }
            let escaped = at > 1 && body[at - 2] == b'\\';
            at += 1;
            if !escaped {
                let mut inner = Scanner::new(body, self.depth, self.visitor);
                inner.at = at;
                inner.until_paren();
                at = inner.at.min(body.len());
            }
        }
    }

    /// Shows the commands that have got their here-documents.
    pub fn release(&mut self) {
        for simple in std::mem::take(&mut self.waiting) {
            self.visitor.simple(&simple, self.depth);
        }
    }
}
