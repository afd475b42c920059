//! The grammar above words: lists, pipelines, compound commands, functions, redirections.
//!
//! It is as flat as it can be: keywords where a command may begin are stepped over, so that the commands between
//! them are seen whatever they belong to. Only what has parentheses, and `case`, nests.

use super::call::LONGEST_WORD;
use super::heredoc::Heredoc;
use super::scanner::{End, Scanner};
use super::simple::{Simple, Stdin, Visitor};
use super::word::{Word, assignment};

/// Where a command stands in its pipeline.
#[derive(Clone, Copy)]
struct Place {
    /// Does it read another one's output?
    piped: bool,
    /// So much had been fetched before the pipeline began.
    fetches: u32,
}

/// What a word in a command's first place turned out to be.
enum First {
    /// A keyword, dealt with; another command may begin.
    Keyword,
    /// A keyword that ends a compound command; redirections may follow.
    Closing,
    /// `esac`
    Esac,
    /// No keyword.
    Word,
}

impl<'a, V: Visitor> Scanner<'a, '_, V> {
    /// Reads the whole script.
    pub fn script(&mut self) {
        if self.visitor.spend(SCRIPT) {
            self.list(End::Script);
        }
    }

    /// Reads commands up to what ends them; true if that was `esac`.
    pub fn list(&mut self, end: End) -> bool {
        let mut place = self.new_pipeline();
        let mut esac = false;
        while !self.ended() {
            self.spend(6);
            self.blanks();
            match (self.peek(0), self.peek(1)) {
                _ if self.ended() => break,
                (b'\n', _) => {
                    self.newline();
                    if !place.piped {
                        place = self.new_pipeline();
                    }
                }
                (b';', b';' | b'&') if end == End::Case => {
                    self.at += if self.peek(2) == b'&' { 3 } else { 2 };
                    break;
                }
                (b'|', b'|') | (b'&', b'&') => {
                    self.at += 2;
                    place = self.new_pipeline();
                }
                (b'|', second) => {
                    self.at += if second == b'&' { 2 } else { 1 };
                    place.piped = true;
                }
                (b'&', b'>') => self.command(place, end, &mut esac),
                (b';' | b'&', _) => {
                    self.at += 1;
                    place = self.new_pipeline();
                }
                (b')', _) if end == End::Paren => {
                    self.at += 1;
                    break;
                }
                (b')', _) => self.stop(),
                (b'(', b'(') if self.is_arithmetic() => {
                    self.at += 2;
                    self.deeper(Self::arithmetic);
                    self.simple(place, Simple::default());
                }
                (b'(', _) => {
                    self.at += 1;
                    self.until_paren();
                    self.simple(place, Simple::default());
                }
                _ => self.command(place, end, &mut esac),
            }
            if esac && end == End::Case {
                break;
            }
        }
        if end == End::Script {
            self.newline();
            self.release();
        }
        esac
    }

    fn new_pipeline(&self) -> Place {
        Place { piped: false, fetches: self.visitor.fetches() }
    }

    /// Does `((` begin arithmetic, and not a subshell in a subshell? Looks no further than 256 bytes.
    fn is_arithmetic(&self) -> bool {
        let near = &self.src[self.at + 2..self.src.len().min(self.at + 258)];
        let mut open = 2;
        for (i, b) in near.iter().enumerate() {
            match b {
                b'(' => open += 1,
                b')' => open -= 1,
                _ => {}
            }
            if open == 1 {
                return near.get(i + 1) == Some(&b')');
            }
        }
        true
    }

    /// A command that begins here with a word or a redirection.
    fn command(&mut self, place: Place, end: End, esac: &mut bool) {
        let before = self.at;
        let redirected = matches!(self.peek(0), b'<' | b'>' | b'&') && self.peek(1) != b'(';
        if redirected || self.peek(0).is_ascii_digit() {
            self.simple(place, Simple::default());
        } else {
            let fetches = self.visitor.fetches();
            let word = self.word();
            match self.first(&word) {
                First::Keyword => {}
                First::Closing => self.simple(place, Simple::default()),
                First::Esac => {
                    *esac = true;
                    if end != End::Case {
                        self.simple(place, Simple::default());
                    }
                }
                First::Word => {
                    let mut simple = Simple { source: &self.src[before..], ..Simple::default() };
                    simple.fetches = self.visitor.fetches() != fetches;
                    self.add(&mut simple, word, before);
                    self.simple(place, simple);
                }
            }
        }
        if self.at == before {
            self.stop();
        }
    }

    /// Deals with a keyword.
    fn first(&mut self, word: &Word<'a>) -> First {
        match word.keyword() {
            b"if" | b"then" | b"elif" | b"else" | b"while" | b"until" | b"do" | b"!" | b"{" | b"time"
            | b"coproc" => {}
            b"fi" | b"done" | b"}" => return First::Closing,
            b"esac" => return First::Esac,
            b"for" | b"select" => self.for_words(),
            b"case" => {
                self.deeper(Self::case);
                return First::Closing;
            }
            b"function" => {
                self.blanks();
                let name = self.word();
                self.visitor.function(&name.text);
                self.blanks();
                if self.peek(0) == b'(' && self.peek(1) == b')' {
                    self.at += 2;
                }
            }
            b"[[" => {
                self.test();
                return First::Closing;
            }
            _ => return First::Word,
        }
        // `time -p`, `{ # comment`: what follows is read as a command of its own.
        if word.keyword() == b"time" {
            self.blanks();
            if self.src[self.at..].starts_with(b"-p ") {
                self.at += 3;
            }
        }
        First::Keyword
    }

    /// The head of `for` or `select`, up to what ends its words.
    fn for_words(&mut self) {
        self.blanks();
        if self.peek(0) == b'(' && self.peek(1) == b'(' {
            self.at += 2;
            return self.deeper(Self::arithmetic);
        }
        while !self.ended() {
            self.blanks();
            let before = self.at;
            self.word();
            if self.at == before {
                return;
            }
        }
    }

    /// `case WORD in PATTERN) … ;; esac`, from behind `case`.
    fn case(&mut self) {
        self.blanks();
        self.word();
        self.blanks_and_newlines();
        if self.word().keyword() != b"in" {
            return self.stop();
        }
        while !self.ended() {
            self.blanks_and_newlines();
            if self.peek(0) == b'(' {
                self.at += 1;
            }
            let first = self.word();
            if first.keyword() == b"esac" {
                return;
            }
            while !self.ended() && self.peek(0) != b')' {
                self.blanks();
                let before = self.at;
                self.word();
                if self.at == before && self.peek(0) != b')' {
                    self.at += 1;
                }
            }
            self.at = (self.at + 1).min(self.src.len());
            if self.list(End::Case) {
                return;
            }
        }
    }

    /// `[[ … ]]`, from behind its opening.
    fn test(&mut self) {
        while !self.ended() {
            self.blanks_and_newlines();
            let before = self.at;
            if self.word().keyword() == b"]]" {
                return;
            }
            if self.at == before {
                self.at += 1;
            }
        }
        self.stop();
    }

    fn blanks_and_newlines(&mut self) {
        self.blanks();
        while !self.ended() && self.peek(0) == b'\n' {
            self.newline();
            self.blanks();
        }
    }

    /// The rest of a simple command, or the redirections behind a compound one.
    fn simple(&mut self, place: Place, mut simple: Simple<'a>) {
        let fetches = self.visitor.fetches();
        let start = if simple.source.is_empty() { self.at } else { self.src.len() - simple.source.len() };
        let heredocs = self.heredocs.len();
        loop {
            self.blanks();
            let before = self.at;
            match (self.peek(0), self.peek(1)) {
                _ if self.ended() => break,
                (b'&', b'>') => self.redirection(&mut simple, b"1"),
                (b'<' | b'>', b'(') => {
                    let word = self.word();
                    self.add(&mut simple, word, before);
                }
                (b'<' | b'>', _) => self.redirection(&mut simple, b""),
                (b'\n' | b';' | b'&' | b'|' | b')', _) => break,
                (b'(', _) => {
                    self.at += 1;
                    self.blanks();
                    if simple.words.len() != 1 || self.peek(0) != b')' {
                        // bash would refuse this; what was read so far is still the best guess.
                        self.stop();
                        break;
                    }
                    self.at += 1;
                    return self.visitor.function(&simple.words[0].text);
                }
                _ => {
                    let word = self.word();
                    let number = !word.quoted && word.text.iter().all(u8::is_ascii_digit);
                    if number && matches!(self.peek(0), b'<' | b'>') && self.peek(1) != b'(' {
                        self.redirection(&mut simple, &word.text);
                    } else {
                        self.add(&mut simple, word, before);
                    }
                }
            }
            if self.at == before {
                break;
            }
        }
        simple.source = &self.src[start.min(self.at)..self.at];
        simple.fetches |= self.visitor.fetches() != fetches;
        simple.fetched = place.piped && fetches != place.fetches;
        simple.prose = self.prose;
        if place.piped && matches!(simple.stdin, Stdin::Inherited) {
            simple.stdin = Stdin::Pipe;
        }
        if self.heredocs.len() > heredocs {
            for heredoc in &mut self.heredocs[heredocs..] {
                heredoc.reader.get_or_insert(self.waiting.len());
            }
            self.waiting.push(simple);
        } else {
            self.visitor.simple(&simple, self.depth);
        }
    }

    /// Adds a word, as an assignment where it is one.
    fn add(&mut self, simple: &mut Simple<'a>, word: Word<'a>, begin: usize) {
        let assigns = simple.words.is_empty()
            && assignment(&word.text).is_some_and(|(name, _)| self.src[begin..].starts_with(name));
        let words = if assigns { &mut simple.assigns } else { &mut simple.words };
        if words.len() < WORDS {
            words.push(word);
        }
    }

    /// A redirection, from its operator on.
    fn redirection(&mut self, simple: &mut Simple<'a>, fd: &[u8]) {
        self.spend(20);
        if self.ended() {
            return;
        }
        let rest = &self.src[self.at..];
        let operator = OPERATORS.iter().find(|o| rest.starts_with(o)).copied().unwrap_or(b">");
        self.at += operator.len();
        self.blanks();
        let word = self.word();
        match operator {
            b"<<" | b"<<-" if self.heredocs.len() >= HEREDOCS => self.stop(),
            b"<<" | b"<<-" => self.heredocs.push(Heredoc {
                delimiter: word.text,
                strip: operator == b"<<-",
                literal: word.quoted,
                reader: None,
            }),
            b"<<<" => simple.stdin = Stdin::Text(word.text),
            b"<" if matches!(fd, b"" | b"0") => simple.stdin = Stdin::File,
            b"<" | b"<&" | b"<>" => {}
            b">&" if word.text.iter().all(|b| b.is_ascii_digit() || *b == b'-') => {}
            _ => simple.writes |= matches!(fd, b"" | b"1") && is_real_file(&word.text),
        }
    }
}

/// So many here-documents may wait for a newline: more are too many for bash (HEREDOC_MAX, parse.y).
const HEREDOCS: usize = 16;
/// What a script or a here-document costs besides its bytes, in steps.
pub(super) const SCRIPT: usize = 60;
/// So many words of a command are kept; what it is stands in its first ones.
pub(super) const WORDS: usize = 256;

/// The redirection operators, longest first.
const OPERATORS: [&[u8]; 12] =
    [b"&>>", b"<<<", b"<<-", b"&>", b">>", b">|", b">&", b"<<", b"<&", b"<>", b">", b"<"];

/// Is what is written there kept? The agents' own notes of the working directory don't count.
pub(super) fn is_real_file(path: &[u8]) -> bool {
    if path.len() > LONGEST_WORD {
        // An expansion of some sort: no path is so long.
        return !path.starts_with(b">(");
    }
    let name = super::word::basename(path);
    let device = path.starts_with(b"/dev/") && !path.starts_with(b"/dev/shm/");
    let claude = name.starts_with(b"claude-") && name.ends_with(b"-cwd");
    !(path.is_empty() || device || claude || path.starts_with(b">(") || path.starts_with(b"/proc/self/"))
}
