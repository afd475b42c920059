//! A tolerant scanner of shell words: quotes, escapes, expansions, comments.
//!
//! It goes over the script once, borrows where it can, and never fails: what can't be read ends the scan
//! ([`Scanner::stop`]), and what was found before stands. Recursion is bounded by [`DEPTH`].

use super::heredoc::Heredoc;
use super::simple::{Simple, Visitor};
use super::word::Word;
use std::borrow::Cow;

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
pub(super) struct Scanner<'a, 'v> {
    pub src: &'a [u8],
    pub at: usize,
    pub depth: u8,
    pub visitor: &'v mut dyn Visitor,
    /// Is what is read between backticks within double quotes?
    pub prose: bool,
    /// Here-documents whose bodies come after the next newline.
    pub heredocs: Vec<Heredoc<'a>>,
    /// Commands that wait for their here-documents.
    pub waiting: Vec<Simple<'a>>,
}

impl<'a, 'v> Scanner<'a, 'v> {
    pub fn new(src: &'a [u8], depth: u8, visitor: &'v mut dyn Visitor) -> Scanner<'a, 'v> {
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

    /// Accounts for bytes looked at; ends the scan when there were too many.
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
        loop {
            match self.peek(0) {
                b' ' | b'\t' | b'\r' => self.at += 1,
                b'\\' if self.peek(1) == b'\n' => self.at += 2,
                b'#' => self.skip_line(),
                _ => break,
            }
            if self.ended() {
                break;
            }
        }
        self.spend(self.at - start);
    }

    fn skip_line(&mut self) {
        self.at += self.src[self.at..].iter().position(|&b| b == b'\n').unwrap_or(self.src.len() - self.at);
    }

    /// Reads one word; an operator's byte ends it, and an empty word means that none begins here.
    pub fn word(&mut self) -> Word<'a> {
        let begin = self.at;
        let mut word = Word::default();
        loop {
            let start = self.at;
            while let Some(&b) = self.src.get(self.at)
                && PLAIN[b as usize]
            {
                self.at += 1;
            }
            word.push(&self.src[start..self.at]);
            self.spend(self.at - start + 8);
            if self.ended() || !self.special(&mut word, begin) {
                break;
            }
        }
        word
    }

    /// Reads what isn't plain within a word; false where the word ends.
    fn special(&mut self, word: &mut Word<'a>, begin: usize) -> bool {
        match self.src[self.at] {
            b'\\' => {
                if self.peek(1) != b'\n' {
                    word.quoted = true;
                    word.push(self.src.get(self.at + 1..self.at + 2).unwrap_or_default());
                }
                self.at = (self.at + 2).min(self.src.len());
            }
            b'\'' => {
                let body = self.until_quote();
                word.quoted = true;
                word.push(body);
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
                word.push(&self.src[start..self.at]);
            }
            _ => return false,
        }
        true
    }

    /// `'…'`, from its first quote to behind its last.
    fn until_quote(&mut self) -> &'a [u8] {
        let src = self.src;
        let start = self.at + 1;
        let length = src[start..].iter().position(|&b| b == b'\'').unwrap_or(src.len() - start);
        self.at = (start + length + 1).min(src.len());
        self.spend(length);
        &src[start..start + length]
    }

    /// The inside of `"…"`, and its last quote.
    fn double_quoted(&mut self, word: &mut Word<'a>) {
        let src = self.src;
        loop {
            let start = self.at;
            while let Some(&b) = src.get(self.at)
                && !matches!(b, b'"' | b'\\' | b'$' | b'`')
            {
                self.at += 1;
            }
            word.push(&src[start..self.at]);
            self.spend(self.at - start + 8);
            match self.peek(0) {
                _ if self.ended() => return,
                b'"' => {
                    self.at += 1;
                    return;
                }
                b'\\' => {
                    let next = src.get(self.at + 1..self.at + 2).unwrap_or_default();
                    if !matches!(next, b"$" | b"`" | b"\"" | b"\\" | b"\n") {
                        word.push(b"\\");
                    }
                    if next != b"\n" {
                        word.push(next);
                    }
                    self.at = (self.at + 2).min(src.len());
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
            b if super::word::is_name(b) || b"@*#?-$!".contains(&b) => {
                self.at += 2;
                while super::word::is_name(b) && !b.is_ascii_digit() && super::word::is_name(self.peek(0)) {
                    self.at += 1;
                }
            }
            _ => {
                self.at += 1;
                return word.push(&self.src[start..self.at]);
            }
        }
        word.dynamic = true;
        word.push(&self.src[start..self.at]);
    }

    /// The inside of `$'…'`, and its last quote.
    fn ansi_quoted(&mut self, word: &mut Word<'a>) {
        let src = self.src;
        let start = self.at;
        word.quoted = true;
        while let Some(&b) = src.get(self.at) {
            let mut piece = &src[self.at..self.at + 1];
            self.at += 1;
            if b == b'\'' {
                break;
            }
            if b == b'\\' {
                piece = match self.peek(0) {
                    b'n' => b"\n",
                    b't' => b"\t",
                    _ => src.get(self.at..self.at + 1).unwrap_or_default(),
                };
                self.at = (self.at + 1).min(src.len());
            }
            word.push(piece);
        }
        self.spend(self.at - start);
    }

    /// `` `…` ``: its inside is a script of its own, once its backslashes are taken away.
    fn backtick(&mut self, word: &mut Word<'a>, quoted: bool) {
        let src = self.src;
        let start = self.at;
        let mut escaped = false;
        self.at += 1;
        while let Some(&b) = src.get(self.at)
            && b != b'`'
        {
            escaped |= b == b'\\';
            self.at += if b == b'\\' { 2 } else { 1 };
        }
        self.at = self.at.min(src.len());
        let body = &src[start + 1..self.at];
        self.at = (self.at + 1).min(src.len());
        self.spend(body.len());
        word.dynamic = true;
        word.push(&src[start..self.at]);
        let body = if escaped { Cow::Owned(without_backslashes(body)) } else { Cow::Borrowed(body) };
        if self.depth >= DEPTH {
            return self.stop();
        }
        let mut inner = Scanner::new(&body, self.depth + 1, self.visitor);
        inner.prose = quoted || self.prose;
        inner.script();
        self.spend(8);
    }

    /// `(` within a word: an array's values, or an extended glob; anywhere else the word ends.
    fn paren_in_word(&mut self, word: &mut Word<'a>) -> bool {
        let start = self.at;
        match self.src[self.at - 1] {
            b'=' if super::word::assignment(&word.text).is_some() => {
                self.at += 1;
                self.deeper(|s| s.words_until_paren());
            }
            b'@' | b'?' | b'*' | b'+' | b'!' => {
                self.at += 1;
                self.deeper(|s| s.words_until_paren());
            }
            _ => return false,
        }
        word.push(&self.src[start..self.at]);
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
        let mut word = Word::default();
        let mut steps = 0;
        while let Some(&b) = self.src.get(self.at) {
            steps += 1;
            match b {
                b'}' => {
                    self.at += 1;
                    break;
                }
                b'\\' => self.at = (self.at + 2).min(self.src.len()),
                b'\'' => drop(self.until_quote()),
                b'"' => {
                    self.at += 1;
                    self.double_quoted(&mut word);
                }
                b'$' => self.dollar(&mut word, true),
                b'`' => self.backtick(&mut word, true),
                _ => self.at += 1,
            }
            word.text = Cow::Borrowed(b"");
        }
        self.spend(steps);
    }

    /// The inside of `$((…))` and `((…))`, and the parentheses.
    pub fn arithmetic(&mut self) {
        let mut open = 2u32;
        let mut word = Word::default();
        let mut steps = 0;
        while let Some(&b) = self.src.get(self.at)
            && open > 0
        {
            steps += 1;
            match b {
                b'$' => self.dollar(&mut word, true),
                b'`' => self.backtick(&mut word, true),
                b'\\' => self.at = (self.at + 2).min(self.src.len()),
                _ => {
                    self.at += 1;
                    open = match b {
                        b'(' => open.saturating_add(1),
                        b')' => open - 1,
                        _ => open,
                    };
                }
            }
            word.text = Cow::Borrowed(b"");
        }
        self.spend(steps);
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

/// The bytes that mean themselves within a word.
const PLAIN: [bool; 256] = {
    let mut plain = [true; 256];
    let special = b" \t\r\n;&|()<>\\'\"$`";
    let mut i = 0;
    while i < special.len() {
        plain[special[i] as usize] = false;
        i += 1;
    }
    plain
};
