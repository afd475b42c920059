//! `agentshctl classify`: the class of each of many commands, for scoring and for scripts.

use super::Outcome;
use crate::classify::{Context, classify};
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io::{BufRead, Write};

/// Read JSON lines {"id", "command"} on stdin, write {"id", "class"} on stdout in the same order.
///
/// A line that isn't such an object is named on stderr with its number and left out; the exit status is then 2.
#[derive(clap::Args)]
pub struct Args {
    /// Tell of each command also its kind, the part that decided and the rule's file and line.
    #[arg(long)]
    explain: bool,
}

#[derive(Deserialize)]
struct Request {
    id: Value,
    command: String,
}

#[derive(Serialize)]
struct Answer<'a> {
    id: &'a Value,
    class: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<Why<'a>>,
}

#[derive(Serialize)]
struct Why<'a> {
    kind: &'static str,
    part: &'a str,
    rule: String,
    hooks: bool,
}

/// Classifies what stands on stdin by the built-in rules alone.
pub fn run(args: &Args) -> Result<Outcome> {
    answer(args, std::io::stdin().lock(), std::io::stdout().lock(), std::io::stderr().lock())
}

fn answer(args: &Args, input: impl BufRead, output: impl Write, mut errors: impl Write) -> Result<Outcome> {
    let mut output = std::io::BufWriter::new(output);
    let mut outcome = Outcome::Fine;
    for (index, line) in input.split(b'\n').enumerate() {
        let line = line.context("can't read stdin")?;
        if line.trim_ascii().is_empty() {
            continue;
        }
        let request: Request = match serde_json::from_slice(&line) {
            Ok(request) => request,
            Err(error) => {
                let _ = writeln!(errors, "agentshctl classify: line {}: {error}", index + 1);
                outcome = Outcome::Usage;
                continue;
            }
        };
        let verdict = classify(request.command.as_bytes(), &Context { rules: &[] });
        let why = args.explain.then(|| Why {
            kind: verdict.kind.name(),
            part: &verdict.part,
            rule: format!("{} ({}:{})", verdict.rule.name, verdict.rule.file, verdict.rule.line),
            hooks: verdict.hooks,
        });
        let answer = Answer { id: &request.id, class: verdict.class.name(), why };
        serde_json::to_writer(&mut output, &answer).context("can't write to stdout")?;
        output.write_all(b"\n").context("can't write to stdout")?;
    }
    output.flush().context("can't write to stdout")?;
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(input: &str) -> (String, String, Outcome) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let outcome = answer(&Args { explain: false }, input.as_bytes(), &mut out, &mut err).unwrap();
        (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap(), outcome)
    }

    #[test]
    fn answers_keep_the_order_and_the_ids_as_given() {
        let (out, err, outcome) =
            on("{\"id\": 7, \"command\": \"ls\"}\n{\"id\": \"a\", \"command\": \"make test\"}\n");
        assert_eq!(out, "{\"id\":7,\"class\":\"explore\"}\n{\"id\":\"a\",\"class\":\"test\"}\n");
        assert_eq!((err.as_str(), outcome), ("", Outcome::Fine));
    }

    #[test]
    fn a_bad_line_is_named_and_the_rest_is_answered() {
        let (out, err, outcome) = on("{\"id\": 1, \"command\": \"ls\"}\n\nnonsense\n{\"id\": 2}\n");
        assert_eq!(out, "{\"id\":1,\"class\":\"explore\"}\n");
        assert!(err.contains("line 3:") && err.contains("line 4:"), "{err}");
        assert_eq!(outcome, Outcome::Usage);
    }
}
