//! The programs that brush-parser finds in a script, substitutions' included.

use brush_parser::ast::*;
use brush_parser::word::{self, ParameterExpr, WordPiece, WordPieceWithSource};
use brush_parser::{Parser, ParserOptions};

/// The first word of every simple command, without its quotes; none if the script can't be parsed.
pub fn programs(script: &str) -> Option<Vec<String>> {
    let mut walk = Walk { found: Vec::new(), failed: false };
    walk.script(script);
    (!walk.failed).then_some(walk.found)
}

struct Walk {
    found: Vec<String>,
    failed: bool,
}

impl Walk {
    fn script(&mut self, script: &str) {
        match Parser::new(script.as_bytes(), &ParserOptions::default()).parse_program() {
            Ok(program) => program.complete_commands.iter().for_each(|list| self.list(list)),
            Err(_) => self.failed = true,
        }
    }

    fn list(&mut self, list: &CompoundList) {
        for CompoundListItem(and_or, _) in &list.0 {
            self.pipeline(&and_or.first);
            for next in &and_or.additional {
                let (AndOr::And(pipeline) | AndOr::Or(pipeline)) = next;
                self.pipeline(pipeline);
            }
        }
    }

    fn pipeline(&mut self, pipeline: &Pipeline) {
        for command in &pipeline.seq {
            match command {
                Command::Simple(simple) => self.simple(simple),
                Command::Compound(compound, redirects) => {
                    self.compound(compound);
                    self.redirects(redirects);
                }
                Command::Function(function) => {
                    self.compound(&function.body.0);
                    self.redirects(&function.body.1);
                }
                Command::ExtendedTest(test, redirects) => {
                    self.test(&test.expr);
                    self.redirects(redirects);
                }
            }
        }
    }

    fn compound(&mut self, command: &CompoundCommand) {
        match command {
            CompoundCommand::Arithmetic(arithmetic) => self.text(&arithmetic.expr.value),
            CompoundCommand::ArithmeticForClause(clause) => {
                for expr in [&clause.initializer, &clause.condition, &clause.updater].into_iter().flatten() {
                    self.text(&expr.value);
                }
                self.list(&clause.body.list);
            }
            CompoundCommand::BraceGroup(group) => self.list(&group.list),
            CompoundCommand::Subshell(subshell) => self.list(&subshell.list),
            CompoundCommand::ForClause(clause) => {
                clause.values.iter().flatten().for_each(|value| self.word(value));
                self.list(&clause.body.list);
            }
            CompoundCommand::CaseClause(clause) => {
                self.word(&clause.value);
                for case in &clause.cases {
                    case.patterns.iter().for_each(|pattern| self.word(pattern));
                    case.cmd.iter().for_each(|list| self.list(list));
                }
            }
            CompoundCommand::IfClause(clause) => {
                self.list(&clause.condition);
                self.list(&clause.then);
                for branch in clause.elses.iter().flatten() {
                    branch.condition.iter().for_each(|list| self.list(list));
                    self.list(&branch.body);
                }
            }
            CompoundCommand::WhileClause(clause) | CompoundCommand::UntilClause(clause) => {
                self.list(&clause.0);
                self.list(&clause.1.list);
            }
            CompoundCommand::Coprocess(_) => self.failed = true,
        }
    }

    fn simple(&mut self, simple: &SimpleCommand) {
        let prefix = simple.prefix.iter().flat_map(|prefix| &prefix.0);
        let suffix = simple.suffix.iter().flat_map(|suffix| &suffix.0);
        if let Some(program) = &simple.word_or_name {
            let name = self.without_quotes(&program.value);
            self.found.push(name);
        }
        prefix.chain(suffix).for_each(|item| self.item(item));
    }

    fn item(&mut self, item: &CommandPrefixOrSuffixItem) {
        match item {
            CommandPrefixOrSuffixItem::IoRedirect(redirect) => self.redirect(redirect),
            CommandPrefixOrSuffixItem::Word(word) => self.word(word),
            CommandPrefixOrSuffixItem::AssignmentWord(assignment, _) => match &assignment.value {
                AssignmentValue::Scalar(word) => self.word(word),
                AssignmentValue::Array(words) => words.iter().for_each(|(_, word)| self.word(word)),
            },
            CommandPrefixOrSuffixItem::ProcessSubstitution(_, subshell) => self.list(&subshell.list),
        }
    }

    fn redirects(&mut self, redirects: &Option<RedirectList>) {
        redirects.iter().flat_map(|list| &list.0).for_each(|redirect| self.redirect(redirect));
    }

    fn redirect(&mut self, redirect: &IoRedirect) {
        match redirect {
            IoRedirect::File(_, _, target) => match target {
                IoFileRedirectTarget::Filename(word) | IoFileRedirectTarget::Duplicate(word) => {
                    self.word(word)
                }
                IoFileRedirectTarget::ProcessSubstitution(_, subshell) => self.list(&subshell.list),
                IoFileRedirectTarget::Fd(_) => {}
            },
            // Of a here-document's body the scanner looks at `$(…)`, and leaves backticks alone.
            IoRedirect::HereDocument(_, document) if document.requires_expansion => {
                match word::parse_heredoc(&document.doc.value, &ParserOptions::default()) {
                    Ok(pieces) => {
                        for piece in pieces {
                            if !matches!(piece.piece, WordPiece::BackquotedCommandSubstitution(_)) {
                                self.piece(&piece);
                            }
                        }
                    }
                    Err(_) => self.failed = true,
                }
            }
            IoRedirect::HereDocument(..) => {}
            IoRedirect::HereString(_, word) | IoRedirect::OutputAndError(word, _) => self.word(word),
        }
    }

    fn test(&mut self, test: &ExtendedTestExpr) {
        match test {
            ExtendedTestExpr::And(a, b) | ExtendedTestExpr::Or(a, b) => {
                self.test(a);
                self.test(b);
            }
            ExtendedTestExpr::Not(a) | ExtendedTestExpr::Parenthesized(a) => self.test(a),
            ExtendedTestExpr::UnaryTest(_, word) => self.word(word),
            ExtendedTestExpr::BinaryTest(_, a, b) => {
                self.word(a);
                self.word(b);
            }
        }
    }

    fn word(&mut self, word: &Word) {
        self.text(&word.value);
    }

    fn text(&mut self, text: &str) {
        match word::parse(text, &ParserOptions::default()) {
            Ok(pieces) => pieces.iter().for_each(|piece| self.piece(piece)),
            Err(_) => self.failed = true,
        }
    }

    fn piece(&mut self, piece: &WordPieceWithSource) {
        match &piece.piece {
            WordPiece::DoubleQuotedSequence(pieces) | WordPiece::GettextDoubleQuotedSequence(pieces) => {
                pieces.iter().for_each(|piece| self.piece(piece));
            }
            WordPiece::CommandSubstitution(script) | WordPiece::BackquotedCommandSubstitution(script) => {
                self.script(script);
            }
            WordPiece::ArithmeticExpression(expr) => self.text(&expr.value),
            WordPiece::ParameterExpansion(expr) => self.parameter(expr),
            _ => {}
        }
    }

    /// The words within `${…}` that may substitute commands.
    fn parameter(&mut self, expr: &ParameterExpr) {
        let text = match expr {
            ParameterExpr::UseDefaultValues { default_value, .. } => default_value,
            ParameterExpr::AssignDefaultValues { default_value, .. } => default_value,
            ParameterExpr::IndicateErrorIfNullOrUnset { error_message, .. } => error_message,
            ParameterExpr::UseAlternativeValue { alternative_value, .. } => alternative_value,
            ParameterExpr::RemoveSmallestSuffixPattern { pattern, .. }
            | ParameterExpr::RemoveLargestSuffixPattern { pattern, .. }
            | ParameterExpr::RemoveSmallestPrefixPattern { pattern, .. }
            | ParameterExpr::RemoveLargestPrefixPattern { pattern, .. } => pattern,
            _ => return,
        };
        if let Some(text) = text.clone() {
            self.text(&text);
        }
    }

    /// A word without its quotes, expansions as they are written; what these substitute is walked as well.
    fn without_quotes(&mut self, text: &str) -> String {
        match word::parse(text, &ParserOptions::default()) {
            Ok(pieces) => {
                pieces.iter().for_each(|piece| self.piece(piece));
                joined(text, &pieces)
            }
            Err(_) => {
                self.failed = true;
                String::new()
            }
        }
    }
}

fn joined(source: &str, pieces: &[WordPieceWithSource]) -> String {
    pieces
        .iter()
        .map(|piece| match &piece.piece {
            WordPiece::Text(text) | WordPiece::SingleQuotedText(text) | WordPiece::AnsiCQuotedText(text) => {
                text.clone()
            }
            WordPiece::EscapeSequence(text) => text.trim_start_matches('\\').to_owned(),
            WordPiece::DoubleQuotedSequence(inner) | WordPiece::GettextDoubleQuotedSequence(inner) => {
                joined(source, inner)
            }
            _ => source.get(piece.start_index..piece.end_index).unwrap_or_default().to_owned(),
        })
        .collect()
}
