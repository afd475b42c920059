//! Does the classifier's tolerant scanner find the same programs as a full parser of bash?
//!
//! `agentsh-oracle [FILE…]`: each file holds one script, or JSON lines with a `command` (`*.jsonl`); without files it
//! reads the corpus. What brush-parser itself can't parse is counted and left out. Prints every difference, and ends
//! with 1 if there are more than `AGENTSH_ORACLE_ALLOWED` (default: 0).

mod ast;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut files: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if files.is_empty() {
        files.push(corpus().join("unique_dev.jsonl"));
    }
    let allowed = std::env::var("AGENTSH_ORACLE_ALLOWED").ok().and_then(|n| n.parse().ok()).unwrap_or(0);
    let (mut same, mut different, mut unparsed) = (0, 0, 0);
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
        } else {
            different += 1;
            println!("{place}: only the parser: {:?}, only the scanner: {:?}", minus(&expected, &found), minus(&found, &expected));
        }
    }
    println!("{same} the same, {different} different, {unparsed} that brush-parser can't parse");
    if same == 0 || different > allowed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// The folder of the corpus: `AGENTSH_CORPUS`, else beside the repository.
fn corpus() -> PathBuf {
    std::env::var_os("AGENTSH_CORPUS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus"), PathBuf::from)
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
