//! Looks at each simple command, through the wrappers before it, and keeps the heaviest.

use super::call::{Call, Found, Judgment, LONGEST_WORD, say};
use super::grammar::WORDS;
use super::scanner::{DEPTH, Scanner};
use super::simple::{Simple, Stdin, Visitor};
use super::word::{Word, assignment, is_name};
use super::{Kind, Rule, Verdict, index, rules};
use crate::class::Class;
use crate::policy::compiled::Override;
use std::cell::Cell;
use std::panic::Location;

/// So much work may a command be, in steps of some 2 ns; what comes after doesn't count. The heaviest of the recorded
/// commands takes 6,142; long ones are mostly here-documents, which cost little, being read many bytes at a time. It
/// keeps any command well under a millisecond (tests/classes/results), also where machines are half as fast.
pub(super) const STEPS: usize = 160_000;
/// So near to the end is an `exec` looked for when there was too much, and so much work may that be.
const TAIL: usize = 32 * 1024;
const STEPS_OF_TAIL: usize = 30_000;
/// What was read until then is still judged, up to so much more.
const RESERVE: usize = 10_000;
/// What a simple command costs to judge besides its words, and each of these, for every rule that it is shown to.
const STEPS_OF_COMMAND: usize = 60;
const STEPS_OF_WORD: usize = 6;
/// What it costs to keep a command as the heaviest.
const STEPS_OF_BEST: usize = 200;
/// So many bytes of a command are shown to people.
const PART: usize = 200;
/// So many functions and variables of one script are remembered.
const REMEMBERED: usize = 32;

/// What was decided so far.
struct Best {
    judgment: Judgment,
    name: &'static str,
    part: String,
    argv: Vec<Vec<u8>>,
}

/// Judges simple commands.
pub(super) struct Judge<'c> {
    rules: &'c [Override],
    best: Option<Best>,
    /// What stood between backticks within double quotes, until it is known whose argument that was.
    prose: Option<Best>,
    /// Overrides that matched, each with the class of the command once that is known.
    matched: Vec<(u16, Option<Class>)>,
    hint: Option<Vec<u8>>,
    hooks: bool,
    functions: Vec<Vec<u8>>,
    variables: Vec<(Vec<u8>, Vec<u8>)>,
    fetches: u32,
    steps: usize,
    /// So many steps may be taken.
    limit: usize,
    /// What a command at least is, where it runs inside of something heavier.
    floor: Option<Judgment>,
}

impl<'c> Judge<'c> {
    pub fn new(rules: &'c [Override]) -> Judge<'c> {
        Judge {
            rules,
            best: None,
            prose: None,
            matched: Vec::new(),
            hint: None,
            hooks: false,
            functions: Vec::new(),
            variables: Vec::new(),
            fetches: 0,
            steps: 0,
            limit: STEPS,
            floor: None,
        }
    }

    /// The steps that a script takes if nothing limits them.
    #[cfg(test)]
    pub fn steps_of(script: &[u8]) -> usize {
        let mut judge = Judge { limit: usize::MAX, ..Judge::new(&[]) };
        judge.script(script);
        judge.steps
    }

    /// The steps taken so far.
    #[cfg(test)]
    pub fn steps_taken(&self) -> usize {
        self.steps
    }

    /// Judges a script.
    pub fn script(&mut self, script: &[u8]) {
        Scanner::new(script, 0, self).script();
        if self.steps > self.limit {
            // The command itself comes last where a long preparation goes before it: Codex ends 38 kB with an `exec`.
            let near = &script[script.len().saturating_sub(TAIL)..];
            if let Some(at) = near.windows(6).rposition(|text| text == b"\nexec ") {
                self.limit = self.steps + STEPS_OF_TAIL;
                Scanner::new(&near[at + 1..], 0, self).script();
            }
        }
    }

    /// Judges a program with its arguments.
    pub fn argv(&mut self, argv: &[&[u8]]) {
        let argv = &argv[..argv.len().min(WORDS)];
        let mut words: Vec<Word<'_>> = argv.iter().map(|arg| Word::plain(arg)).collect();
        if let Some(login) = argv.first().and_then(|program| program.strip_prefix(b"-")) {
            words[0] = Word::plain(login);
        }
        let source =
            argv.iter().take(PART).map(|arg| &arg[..arg.len().min(PART)]).collect::<Vec<_>>().join(&b' ');
        let simple = Simple { words, source: &source, ..Simple::default() };
        self.simple(&simple, 0);
    }

    /// Takes a decision that needed no look at single commands.
    pub fn decided(&mut self, kind: Kind, class: Class, at: &'static Location<'static>, script: &[u8]) {
        let judgment = Judgment { kind, at, ..say(class) };
        self.best = Some(Best { judgment, name: kind.name(), part: part(script), argv: Vec::new() });
    }

    /// What came of it.
    pub fn verdict(self) -> Verdict {
        let best = self.best.unwrap_or_else(|| Best {
            judgment: say(Class::Other),
            name: "nothing to run",
            part: String::new(),
            argv: Vec::new(),
        });
        let Judgment { class, kind, at, .. } = best.judgment;
        let mut overrides: Vec<u16> =
            self.matched.iter().filter(|(_, of)| *of == Some(class)).map(|(index, _)| *index).collect();
        overrides.sort_unstable();
        overrides.dedup();
        Verdict {
            class,
            kind,
            part: best.part,
            argv: best.argv,
            rule: Rule { name: best.name, file: at.file(), line: at.line() },
            hint: self.hint,
            overrides,
            hooks: self.hooks && class == Class::Git,
        }
    }

    /// Judges the words of a command, or of what a command starts.
    fn command(&mut self, words: &[Word<'_>], simple: &Simple<'_>, depth: u8) {
        let assigned = words.iter().take_while(|word| self.assigns(word)).count();
        let words = &words[assigned..];
        let Some(program) = words.first() else {
            return self.offer("assignment", say(Class::Other), words, simple);
        };
        let seen = |word: &Word<'_>| word.text.len().min(LONGEST_WORD) + STEPS_OF_WORD;
        let words_and_rules = words.iter().map(seen).sum::<usize>() + self.rules.len() * STEPS_OF_WORD;
        self.spend(STEPS_OF_COMMAND + words_and_rules);
        if self.exhausted() {
            return;
        }
        if depth >= DEPTH {
            return self.offer("nested too deep", say(Class::Other), words, simple);
        }
        if program.dynamic
            && let Some(known) = self.resolve(&program.text)
        {
            let parts = known.split(u8::is_ascii_whitespace).filter(|part| !part.is_empty());
            let words: Vec<Word<'_>> = parts.map(Word::plain).chain(words[1..].iter().cloned()).collect();
            return self.command(&words, simple, depth + 1);
        }
        if matches!(&*program.text, b"export" | b"declare" | b"typeset" | b"readonly" | b"local") {
            for word in &words[1..] {
                self.assigns(word);
            }
        }
        if let Some(class) = self.overridden(words) {
            return self.offer("override", say(class), words, simple);
        }
        if self.functions.iter().any(|function| *function == *program.text) {
            return self.offer("function", say(Class::Other), words, simple);
        }
        if matches!(&*program.text, b"export" | b"declare" | b"typeset") {
            // What is exported holds for the commands that follow.
            for word in &words[1..] {
                self.assigns(word);
            }
        }
        let left = self.limit.saturating_add(RESERVE).saturating_sub(self.steps);
        let call = Call { words, simple, steps: Cell::new(left) };
        let judged = rules::judge(&call);
        self.spend(left - call.steps.get());
        let Some((name, found)) = judged else {
            return self.unknown(&call);
        };
        match found {
            Found::Is(judgment) => self.offer(name, judgment, words, simple),
            Found::Through(from) => self.command(&words[from..], simple, depth + 1),
            Found::AtLeast(from, floor) => {
                self.at_least(floor, |judge| judge.command(&words[from..], simple, depth + 1));
            }
            Found::Part(from, to, judgment) => {
                self.command(&words[from..to], simple, depth + 1);
                self.offer(name, judgment, words, simple);
            }
            Found::Script(index) => {
                if depth <= 1 && simple.words.first().is_some_and(|word| *word.text == *b"exec") {
                    self.forget_preparations();
                }
                self.nested(&words[index].text, depth);
            }
            Found::ScriptAtLeast(index, floor) => {
                self.offer(name, floor, words, simple);
                self.at_least(floor, |judge| judge.nested(&words[index].text, depth));
            }
            Found::Joined(from) => {
                let texts: Vec<&[u8]> = words[from..].iter().map(|word| &*word.text).collect();
                if let [script] = texts[..] {
                    return self.nested(script, depth);
                }
                let length: usize = texts.iter().map(|text| text.len() + 1).sum();
                self.spend(length / 8);
                if !self.exhausted() {
                    self.nested(&texts.join(&b' '), depth);
                }
            }
            Found::StdinScript => {
                if let Stdin::Text(script) = &simple.stdin {
                    self.nested(script, depth);
                }
            }
        }
    }

    /// Notes an assignment; false if the word is none.
    fn assigns(&mut self, word: &Word<'_>) -> bool {
        let Some((name, value)) = assignment(&word.text) else {
            return false;
        };
        if !word.dynamic {
            if name == b"AGENT_RESOURCE_HINT" && self.hint.is_none() {
                self.hint = Some(value.to_vec());
            }
            if self.variables.len() < REMEMBERED && value.len() < 256 {
                self.variables.push((name.to_vec(), value.to_vec()));
            }
        }
        true
    }

    /// What a program's name stands for, where that can be told: `$PYTHON`, `${CC:-gcc}`, `$(which python)`.
    fn resolve(&self, text: &[u8]) -> Option<Vec<u8>> {
        if text.len() > 256 {
            return None;
        }
        if let Some(command) = text.strip_prefix(b"$(").and_then(|rest| rest.strip_suffix(b")")) {
            let mut words = command.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            return match (words.next()?, words.next()?, words.next()) {
                (b"which", program, None) | (b"command", b"-v", Some(program)) => Some(program.to_vec()),
                _ => None,
            };
        }
        let inner = text.strip_prefix(b"$")?;
        let inner = inner.strip_prefix(b"{").and_then(|rest| rest.strip_suffix(b"}")).unwrap_or(inner);
        let length = inner.iter().take_while(|b| is_name(**b)).count();
        let (name, rest) = inner.split_at(length);
        let last = self.variables.iter().rev().find(|(known, _)| known == name);
        if let (Some((_, value)), b"" | [b':', ..]) = (last, rest) {
            return Some(value.clone());
        }
        if let Some(default) = rest.strip_prefix(b":-") {
            return (!default.contains(&b'$')).then(|| default.to_vec());
        }
        let lower = name.to_ascii_lowercase();
        (rest.is_empty() && index::find(&lower).is_some()).then_some(lower)
    }

    /// Notes the overrides that match; the class that the last of them gives.
    fn overridden(&mut self, words: &[Word<'_>]) -> Option<Class> {
        if self.rules.is_empty() {
            return None;
        }
        // Long words are compared by their beginnings, and so many of them: the time stays bounded.
        let argv: Vec<&[u8]> =
            words.iter().take(64).map(|word| &word.text[..word.text.len().min(512)]).collect();
        let mut class = None;
        for (index, rule) in self.rules.iter().enumerate() {
            if rule.matches(&argv) {
                self.matched.push((index as u16, None));
                class = rule.class.map(|set| set.value).or(class);
            }
        }
        class
    }

    /// A script within the script.
    fn nested(&mut self, script: &[u8], depth: u8) {
        if depth < DEPTH {
            Scanner::new(script, depth + 1, self).script();
        }
    }

    /// `exec bash -c '…'` is what a script of Codex is for: what looked around before it is no part of the call.
    fn forget_preparations(&mut self) {
        let light = |best: &Best| matches!(best.judgment.class, Class::Explore | Class::Other);
        self.best = self.best.take().filter(|best| !light(best));
    }

    /// Was there too much work?
    fn exhausted(&self) -> bool {
        self.steps > self.limit.saturating_add(RESERVE)
    }

    /// Judges something that is at least of a class, as it runs inside of something else.
    fn at_least(&mut self, floor: Judgment, inner: impl FnOnce(&mut Self)) {
        let before = self.floor.replace(floor);
        inner(self);
        self.floor = before;
    }

    /// A program that no rule knows: its name may still tell, and else it runs.
    fn unknown(&mut self, call: &Call<'_>) {
        let program = &call.words[0];
        if program.text.is_empty() {
            return self.offer("nothing to run", say(Class::Other), call.words, call.simple);
        }
        if program.dynamic && call.words.len() == 1 && program.text.starts_with(b"$(") {
            // `eval "$(pyenv init -)"`: what is substituted has been looked at, and is all there is.
            return self.offer("substitution", say(Class::Other), call.words, call.simple);
        }
        if !call.simple.prose {
            self.offer("unknown program", rules::script::by_name(call), call.words, call.simple);
        }
    }

    /// Takes a judgment, if it is heavier than what there was.
    fn offer(&mut self, name: &'static str, judgment: Judgment, words: &[Word<'_>], simple: &Simple<'_>) {
        let mut judgment = judgment;
        self.fetches += u32::from(judgment.fetches);
        if simple.writes && matches!(judgment.class, Class::Explore | Class::Other) {
            let class = if judgment.fetches { Class::Install } else { Class::Edit };
            judgment = say(class);
        }
        if simple.fetched && judgment.class == Class::Edit {
            // What came from the network is kept: `curl … | tar -x`, `curl … | tee file`.
            judgment = say(Class::Install);
        }
        if let Some(floor) = self.floor
            && (judgment.class == Class::Agent || floor.class < judgment.class)
        {
            judgment = floor;
        }
        self.hooks |= judgment.hooks;
        for (_, class) in self.matched.iter_mut().rev().take_while(|(_, class)| class.is_none()) {
            *class = Some(judgment.class);
        }
        let kept = if simple.prose { &self.prose } else { &self.best };
        if kept.as_ref().is_none_or(|best| heavier(judgment.class, best.judgment.class)) {
            self.spend(STEPS_OF_BEST);
            let argv =
                words.iter().take(64).map(|word| word.text[..word.text.len().min(4096)].to_vec()).collect();
            let kept = if simple.prose { &mut self.prose } else { &mut self.best };
            *kept = Some(Best { judgment, name, part: part(simple.source), argv });
        }
    }
}

impl Visitor for Judge<'_> {
    fn simple(&mut self, simple: &Simple<'_>, depth: u8) {
        if self.exhausted() {
            return;
        }
        for word in &simple.assigns {
            self.spend(STEPS_OF_COMMAND);
            self.assigns(word);
        }
        if !simple.words.is_empty() {
            self.command(&simple.words, simple, depth);
        } else if simple.writes || !simple.assigns.is_empty() {
            self.offer("redirection", say(Class::Other), &[], simple);
        }
        if !simple.prose
            && let Some(prose) = self.prose.take()
        {
            // Backticks in a commit's message are prose, though bash runs them.
            let of_git = self.best.as_ref().is_some_and(|best| best.judgment.class == Class::Git);
            let outer = self.best.as_ref().map_or(Class::Other, |best| best.judgment.class);
            if !of_git && heavier(prose.judgment.class, outer) {
                self.best = Some(prose);
            }
        }
    }

    fn function(&mut self, name: &[u8]) {
        self.spend(STEPS_OF_COMMAND);
        if self.functions.len() < REMEMBERED && name.len() < 256 {
            self.functions.push(name.to_vec());
        }
    }

    fn fetches(&self) -> u32 {
        self.fetches
    }

    fn spend(&mut self, steps: usize) -> bool {
        self.steps += steps;
        self.steps <= self.limit
    }
}

/// Does a class outweigh another?
fn heavier(class: Class, than: Class) -> bool {
    class != than && class.heavier(than) == class
}

/// The text of a command for people: cut at 200 bytes.
fn part(source: &[u8]) -> String {
    String::from_utf8_lossy(source[..source.len().min(PART)].trim_ascii()).into_owned()
}
