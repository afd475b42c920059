//! A tolerant scanner of shell words: quotes, escapes, expansions, comments.
//!
//! It goes over the script once, borrows where it can, and never fails: what can't be read ends the scan
//! ([`Scanner::stop`]), and what was found before stands. Recursion is bounded by [`DEPTH`], the time by what
//! [`Visitor::spend`] grants: all that takes longer for a longer script is asked for there, in steps of some 2 ns.

use super::heredoc::Heredoc;
use super::search::{find, find_byte, plain};
use super::simple::{Simple, Visitor};
use super::word::{Word, assignment, is_name};

/// So deep may substitutions, subshells and quoted scripts nest; what lies deeper isn't looked at.
pub(super) const DEPTH: u8 = 24;

/// What ends a list of commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The script's end.
    Script,
    /// `)`
    Paren,
    /// `;;`, `;&`, `;;&` or `esac`
    Case,
}

/// A place in a script, and what is pending there.
pub(super) struct Scanner<'a, 'v, V> {
    pub src: &'a [u8],
    pub at: usize,
    pub depth: u8,
    pub visitor: &'v mut V,
    /// Is what is read between backticks within double quotes?
    pub prose: bool,
    /// Here-documents whose bodies come after the next newline.
    pub heredocs: Vec<Heredoc<'a>>,
    /// Commands that wait for their here-documents.
    pub waiting: Vec<Simple<'a>>,
}

impl<'a, 'v, V: Visitor> Scanner<'a, 'v, V> {
    pub fn new(src: &'a [u8], depth: u8, visitor: &'v mut V) -> Scanner<'a, 'v, V> {
        Scanner { src, at: 0, depth, visitor, prose: false, heredocs: Vec::new(), waiting: Vec::new() }
    }

    /// The byte at a distance from here; 0 behind the end.
    pub fn peek(&self, ahead: usize) -> u8 {
        self.src.get(self.at + ahead).copied().unwrap_or(0)
    }

    pub fn ended(&self) -> bool {
        self.at >= self.src.len()
    }

    /// Ends the scan: the rest can't be read, or must not be for its depth or length.
    pub fn stop(&mut self) {
        self.at = self.src.len();
    }

    /// Accounts for work; ends the scan when there was too much.
    #[inline]
    pub fn spend(&mut self, steps: usize) {
        if !self.visitor.spend(steps) {
            self.stop();
        }
    }

    /// Runs something one level deeper, or ends the scan.
    pub fn deeper(&mut self, inner: impl FnOnce(&mut Self)) {
        if self.depth >= DEPTH {
            return self.stop();
        }
        self.depth += 1;
        inner(self);
        self.depth -= 1;
    }

    /// Reads commands up to the closing parenthesis, one level deeper.
    pub fn until_paren(&mut self) {
        self.deeper(|scanner| {
            scanner.list(End::Paren);
        });
    }

    /// Skips blanks, line continuations and, where one may begin, a comment.
    pub fn blanks(&mut self) {
        let start = self.at;
        let mut comment = 0;
        loop {
            match self.peek(0) {
                b' ' | b'\t' | b'\r' => self.at += 1,
                b'\\' if self.peek(1) == b'\n' => self.at += 2,
                b'#' => {
                    comment = find_byte(&self.src[self.at..], b'\n');
                    self.at += comment;
                }
                _ => break,
            }
            if self.ended() {
                break;
            }
        }
        // A comment ends before a newline, so there is one at most.
        self.spend(self.at - start - comment + comment / 8);
    }

    /// Reads one word; an operator's byte ends it, and an empty word means that none begins here.
    pub fn word(&mut self) -> Word<'a> {
        let begin = self.at;
        let mut word = Word::default();
        self.spend(STEPS_OF_WORD - STEPS_OF_MORE);
        loop {
            let start = self.at;
            self.at += plain(&self.src[start..]);
            self.push(&mut word, start, self.at);
            self.spend((self.at - start) / 4 + STEPS_OF_MORE);
            if self.ended() || !self.special(&mut word, begin) {
                break;
            }
        }
        word
    }

    /// Adds a part of the script to a word.
    pub fn push(&mut self, word: &mut Word<'a>, from: usize, to: usize) {
        if word.extend(self.src, from, to) {
            return;
        }
        let begun = if word.copied() { 0 } else { STEPS_OF_COPY + word.text.len() / 8 };
        if self.visitor.spend(begun + STEPS_OF_MORE + (to - from) / 8) {
            word.copy(&self.src[from..to]);
        } else {
            self.stop();
        }
    }

    /// Reads what isn't plain within a word; false where the word ends.
    fn special(&mut self, word: &mut Word<'a>, begin: usize) -> bool {
        match self.src[self.at] {
            b'\\' => {
                let (from, to) = (self.at + 1, (self.at + 2).min(self.src.len()));
                if self.peek(1) != b'\n' {
                    word.quoted = true;
                    self.push(word, from, to);
                }
                self.at = to.max(self.at);
            }
            b'\'' => {
                word.quoted = true;
                self.single_quoted(word);
            }
            b'"' => {
                self.at += 1;
                word.quoted = true;
                self.double_quoted(word);
            }
            b'$' => self.dollar(word, false),
            b'`' => self.backtick(word, false),
            b'(' if self.at > begin => return self.paren_in_word(word),
            b'<' | b'>' if self.peek(1) == b'(' => {
                let start = self.at;
                self.at += 2;
                self.until_paren();
                word.dynamic = true;
                self.push(word, start, self.at);
            }
            _ => return false,
        }
        true
    }

    /// Steps over `'…'`; where its inside begins and ends.
    fn until_quote(&mut self) -> (usize, usize) {
        let start = self.at + 1;
        let end = start + find_byte(&self.src[start..], b'\'');
        self.at = (end + 1).min(self.src.len());
        self.spend((end - start) / 16 + STEPS_OF_MORE);
        (start, end)
    }

    /// `'…'`, and what follows as long as it is the same text: a quote within it is written `'"'"'` or `'\''`.
    fn single_quoted(&mut self, word: &mut Word<'a>) {
        loop {
            let (from, to) = self.until_quote();
            self.push(word, from, to);
            let length = match self.src.get(self.at..).unwrap_or_default() {
                [b'"', b'\'', b'"', b'\'', ..] => 4,
                [b'\\', b'\'', b'\'', ..] => 3,
                _ => return,
            };
            let next = self.at + length - 1;
            self.push(word, self.at + 1, self.at + 2);
            if self.ended() {
                return;
            }
            self.at = next;
        }
    }

    /// The inside of `"…"`, and its last quote.
    fn double_quoted(&mut self, word: &mut Word<'a>) {
        let src = self.src;
        loop {
            let start = self.at;
            self.at += find(&src[start..], |b| (b == b'"') | (b == b'\\') | (b == b'$') | (b == b'`'));
            self.push(word, start, self.at);
            self.spend((self.at - start) / 16 + STEPS_OF_MORE);
            match self.peek(0) {
                _ if self.ended() => return,
                b'"' => {
                    self.at += 1;
                    return;
                }
                b'\\' => {
                    let (from, to) = (self.at, (self.at + 2).min(src.len()));
                    match self.peek(1) {
                        b'$' | b'`' | b'"' | b'\\' => self.push(word, from + 1, to),
                        b'\n' => {}
                        _ => self.push(word, from, to),
                    }
                    self.at = to.max(self.at);
                }
                b'$' => self.dollar(word, true),
                _ => self.backtick(word, true),
            }
        }
    }

    /// An expansion, or a `$` that is none.
    fn dollar(&mut self, word: &mut Word<'a>, quoted: bool) {
        let start = self.at;
        match self.peek(1) {
            b'(' if self.peek(2) == b'(' => {
                self.at += 3;
                self.deeper(Self::arithmetic);
            }
            b'(' => {
                self.at += 2;
                self.until_paren();
            }
            b'{' => {
                self.at += 2;
                self.deeper(Self::braces);
            }
            b'\'' if !quoted => {
                self.at += 2;
                return self.ansi_quoted(word);
            }
            b'"' if !quoted => {
                self.at += 1;
                return;
            }
            b if is_name(b) || b"@*#?-$!".contains(&b) => {
                self.at += 2;
                if is_name(b) && !b.is_ascii_digit() {
                    self.at += self.src[self.at..].iter().take_while(|b| is_name(**b)).count();
                }
                self.spend((self.at - start) / 2 + STEPS_OF_MORE);
            }
            _ => {
                self.at += 1;
                self.push(word, start, start + 1);
                return self.spend(STEPS_OF_MORE);
            }
        }
        word.dynamic = true;
        self.push(word, start, self.at);
    }

    /// The inside of `$'…'`, and its last quote.
    fn ansi_quoted(&mut self, word: &mut Word<'a>) {
        let src = self.src;
        word.quoted = true;
        while !self.ended() {
            let start = self.at;
            self.at += find(&src[start..], |b| (b == b'\'') | (b == b'\\'));
            self.push(word, start, self.at);
            self.spend((self.at - start) / 16 + STEPS_OF_MORE);
            let (from, to) = ((self.at + 1).min(src.len()), (self.at + 2).min(src.len()));
            match (self.peek(0), self.peek(1)) {
                (b'\'', _) => {
                    self.at = from;
                    return;
                }
                (b'\\', b'n') => word.copy(b"\n"),
                (b'\\', b't') => word.copy(b"\t"),
                _ => self.push(word, from, to),
            }
            self.at = to.max(self.at);
        }
    }

    /// `(` within a word: an array's values, or an extended glob; anywhere else the word ends.
    fn paren_in_word(&mut self, word: &mut Word<'a>) -> bool {
        let start = self.at;
        match self.src[self.at - 1] {
            b'=' if assignment(&word.text).is_some() => {
                self.at += 1;
                self.deeper(|s| s.words_until_paren());
            }
            b'@' | b'?' | b'*' | b'+' | b'!' => {
                self.at += 1;
                self.deeper(|s| s.words_until_paren());
            }
            _ => return false,
        }
        self.push(word, start, self.at);
        true
    }

    /// Words, blanks, newlines and operators up to the closing parenthesis.
    pub fn words_until_paren(&mut self) {
        while !self.ended() {
            self.blanks();
            let before = self.at;
            self.word();
            if self.at == before {
                self.at += 1;
                if self.src.get(before) == Some(&b')') {
                    return;
                }
            }
        }
        self.at = self.at.min(self.src.len());
    }

    /// The inside of `${…}`, and its brace.
    fn braces(&mut self) {
        while !self.ended() {
            let special =
                |b| (b == b'}') | (b == b'\\') | (b == b'\'') | (b == b'"') | (b == b'$') | (b == b'`');
            self.skip(special);
            let mut word = Word::default();
            match self.peek(0) {
                b'}' => {
                    self.at += 1;
                    return;
                }
                b'\\' => self.at = (self.at + 2).min(self.src.len()),
                b'\'' => drop(self.until_quote()),
                b'"' => {
                    self.at += 1;
                    self.double_quoted(&mut word);
                }
                b'$' => self.dollar(&mut word, true),
                b'`' => self.backtick(&mut word, true),
                _ => return,
            }
        }
    }

    /// The inside of `$((…))` and `((…))`, and the parentheses.
    pub fn arithmetic(&mut self) {
        let mut open = 2u32;
        while !self.ended() && open > 0 {
            self.skip(|b| (b == b'$') | (b == b'`') | (b == b'\\') | (b == b'(') | (b == b')'));
            let mut word = Word::default();
            match self.peek(0) {
                b'$' => self.dollar(&mut word, true),
                b'`' => self.backtick(&mut word, true),
                b'\\' => self.at = (self.at + 2).min(self.src.len()),
                b'(' => {
                    self.at += 1;
                    open = open.saturating_add(1);
                }
                b')' => {
                    self.at += 1;
                    open -= 1;
                }
                _ => return,
            }
        }
    }

    /// Skips what isn't special.
    fn skip(&mut self, special: impl Fn(u8) -> bool) {
        let skipped = find(&self.src[self.at..], special);
        self.at += skipped;
        self.spend(skipped / 8 + STEPS_OF_MORE);
    }
}

/// What a word costs besides its bytes, in steps; a further piece of it; and to begin a copy, where it can't be borrowed.
const STEPS_OF_WORD: usize = 12;
pub(super) const STEPS_OF_MORE: usize = 4;
const STEPS_OF_COPY: usize = 32;
