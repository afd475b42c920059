//! The log as it is shown, from a sample of the schema's first version.

use super::*;
use clap::Parser;
use std::fs;

const SAMPLE: &str = include_str!("../../tests/integration/data/calls-v1.jsonl");

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

fn shown(path: &Path, flags: &[&str]) -> (String, String, Outcome) {
    let args = Cli::parse_from([&["log"], flags].concat()).args;
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut view = View { args: &args, counted: None, out: &mut out, err: &mut err, outcome: Outcome::Fine };
    view.show(path).unwrap();
    let outcome = view.outcome;
    (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap(), outcome)
}

fn log_of(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calls.jsonl");
    fs::write(&path, text).unwrap();
    (folder, path)
}

#[test]
fn an_old_log_is_shown_as_a_table() {
    let (_folder, path) = log_of(SAMPLE);
    let (out, err, outcome) = shown(&path, &[]);
    assert_eq!(
        out,
        "WHEN (UTC)           CLASS       EXIT      TIME       CPU    MEMORY  COMMAND\n\
         2026-11-21 02:29:14  test         137  1 min 11 s  980.0 ms   2.0 GiB  A_TOKEN=*** pytest -q  [31m  \
         [OOM killed 4]  [throttled 3.0 s]  [hint memory:2g]\n\
         2026-11-21 02:30:00  explore  SIGTERM    4.2 ms    1.0 ms     3 MiB  ls  [no cgroup is ours]\n\
         2026-11-21 02:30:01  agent          -    0.0 ms    0.0 ms         -  claude  [in place]\n"
    );
    assert_eq!((err.as_str(), outcome), ("", Outcome::Fine));
}

#[test]
fn json_gives_the_records_as_they_are() {
    let (_folder, path) = log_of(SAMPLE);
    assert_eq!(shown(&path, &["--json"]).0, SAMPLE);
}

#[test]
fn calls_are_chosen_by_class_slowness_and_oom() {
    let (_folder, path) = log_of(SAMPLE);
    let classes = |flags: &[&str]| -> Vec<String> {
        let out = shown(&path, &[&["--json"], flags].concat()).0;
        out.lines().map(|line| serde_json::from_str::<Call>(line).unwrap().class).collect()
    };
    assert_eq!(classes(&["--class", "explore"]), ["explore"]);
    assert_eq!(classes(&["--slow"]), ["test"]);
    assert_eq!(classes(&["--slow=0.004"]), ["test", "explore"]);
    assert_eq!(classes(&["--oom"]), ["test"]);
    assert_eq!(classes(&["--oom", "--class", "git"]), [""; 0]);
    assert!(Cli::try_parse_from(["log", "--class", "nonsense"]).is_err());
}

#[test]
fn a_bad_line_is_named_and_the_record_behind_a_torn_one_is_shown() {
    let line = SAMPLE.lines().nth(1).unwrap();
    let later = line.replacen("\"v\":1", "\"v\":2", 1);
    let (_folder, path) = log_of(&format!("nonsense\n{}{line}\n{later}\n{line}\n", &line[..200]));
    let (out, err, outcome) = shown(&path, &["--json"]);
    assert_eq!(out, format!("{line}\n{line}\n"));
    assert_eq!(outcome, Outcome::Finding);
    let named: Vec<&str> = err.lines().collect();
    assert!(named[0].contains("calls.jsonl:1: not a record"), "{err}");
    assert!(named[1].contains("calls.jsonl:2: the first of two records is cut short"), "{err}");
    assert!(named[2].contains("calls.jsonl:3: not a record: written by a later agentsh"), "{err}");
    assert_eq!(named.len(), 3);
}

#[test]
fn rotated_logs_come_first_and_a_missing_log_is_an_error() {
    let (folder, path) = log_of("");
    let lines: Vec<&str> = SAMPLE.lines().collect();
    for (n, line) in [(2, lines[0]), (1, lines[1])] {
        fs::write(numbered(&path, n), format!("{line}\n")).unwrap();
    }
    fs::write(&path, format!("{}\n", lines[2])).unwrap();
    assert_eq!(shown(&path, &["--json"]).0, SAMPLE);
    let args = Cli::parse_from(["log"]).args;
    let mut view =
        View { args: &args, counted: None, out: io::sink(), err: io::sink(), outcome: Outcome::Fine };
    assert!(view.show(&folder.path().join("none")).unwrap_err().to_string().contains("no such log"));
}

#[test]
fn what_follows_is_shown_across_a_rotation_and_a_half_line_is_waited_for() {
    let (_folder, path) = log_of("");
    let args = Cli::parse_from(["log", "--json"]).args;
    let mut out = Vec::new();
    let mut view =
        View { args: &args, counted: None, out: &mut out, err: io::sink(), outcome: Outcome::Fine };
    let lines: Vec<&str> = SAMPLE.lines().collect();
    let append = |path: &Path, text: &str| {
        fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
    };
    let mut current = view.more(&path, None).unwrap();
    append(&path, &lines[0][..50]);
    current = view.more(&path, current).unwrap();
    append(&path, &format!("{}\n", &lines[0][50..]));
    current = view.more(&path, current).unwrap();
    fs::rename(&path, numbered(&path, 1)).unwrap();
    append(&numbered(&path, 1), &format!("{}\n", lines[1])); // a writer that had it open
    append(&path, &format!("{}\n", lines[2]));
    view.more(&path, current).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), SAMPLE);
}
