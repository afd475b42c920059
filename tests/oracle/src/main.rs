//! Does the classifier's tolerant scanner find the same programs as a full parser of bash?
//!
//! `agentsh-oracle [FILE…]`: each file holds one script, or JSON lines with a `command` (`*.jsonl`); without files it
//! reads the recorded commands and those of tests/classes. Every simple command counts, in pipelines, functions,
//! compound commands and substitutions, behind assignments and redirections. What brush-parser itself can't parse is
//! counted and left out. Prints every difference, and ends with 1 if there is one, but for those in [`KNOWN`], or if
//! brush-parser couldn't parse more than one in a hundred.

mod ast;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut files: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if files.is_empty() {
        files.push(corpus().join("unique_dev.jsonl"));
        files.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("../classes/heldout.jsonl"));
    }
    let (mut same, mut different, mut known, mut unparsed) = (0, 0, 0, 0);
    for (place, script) in files.iter().flat_map(|file| scripts(file)) {
        let Some(mut expected) = ast::programs(&script) else {
            unparsed += 1;
            continue;
        };
        let mut found: Vec<String> = agentsh::classify::programs(script.as_bytes())
            .into_iter()
            .map(|program| String::from_utf8_lossy(&program).into_owned())
            .collect();
        expected.sort();
        found.sort();
        if expected == found {
            same += 1;
        } else if let Some((_, why)) = KNOWN.iter().find(|(begin, _)| script.starts_with(begin)) {
            known += 1;
            println!("{place}: known to differ: {why}");
        } else {
            different += 1;
            println!(
                "{place}: only the parser: {:?}, only the scanner: {:?}",
                minus(&expected, &found),
                minus(&found, &expected)
            );
        }
    }
    println!(
        "{same} the same, {known} known to differ, {different} different, {unparsed} that brush-parser can't parse"
    );
    let fails = same == 0 || different > 0 || unparsed * 100 > same;
    if fails { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Commands, by how they begin, in which the two may differ, and why that is right.
const KNOWN: &[(&str, &str)] = &[];

/// The folder of the recorded commands: in `AGENTSH_SHARED`, else beside the repository.
fn corpus() -> PathBuf {
    std::env::var_os("AGENTSH_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from)
        .join("corpus")
}

/// The scripts of a file, each with the name of its place.
fn scripts(file: &Path) -> Vec<(String, String)> {
    let text = std::fs::read(file).unwrap_or_else(|error| panic!("can't read {}: {error}", file.display()));
    let text = String::from_utf8_lossy(&text).into_owned();
    if file.extension().is_none_or(|ext| ext != "jsonl") {
        return vec![(file.display().to_string(), text)];
    }
    text.lines()
        .enumerate()
        .filter_map(|(index, line)| {
            let row: serde_json::Value = serde_json::from_str(line).ok()?;
            Some((format!("{}:{}", file.display(), index + 1), row["command"].as_str()?.to_owned()))
        })
        .collect()
}

/// What stands in one sorted list and not in the other.
fn minus(all: &[String], other: &[String]) -> Vec<String> {
    let mut other = other.to_vec();
    all.iter()
        .filter(|one| match other.iter().position(|o| o == *one) {
            Some(at) => {
                other.remove(at);
                false
            }
            None => true,
        })
        .cloned()
        .collect()
}
