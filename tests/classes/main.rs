//! The classifier against real commands: 400 labelled ones of coding agents, and what real agents' shells were
//! started with.
//!
//! That data is not part of the repository. It is looked for beside it (`../shared`), or where `AGENTSH_SHARED` says.
//! tests/classes/heldout.jsonl is: commands of other trades, see README.md there.

use agentsh::class::Class;
use agentsh::classify::{Context, Kind, Verdict, classify, classify_argv};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The share of labelled commands, in percent, whose class must be exactly the label (issue 2, "Classes").
const STRICT_PERCENT: usize = 97;

fn rows(path: &str) -> Vec<Value> {
    let shared = std::env::var_os("AGENTSH_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    lines(&shared.join(path))
}

fn lines(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| {
        panic!(
            "{}: {error}. Put the data there, or set AGENTSH_SHARED to the folder that holds corpus/ and agents/.",
            file.display()
        )
    });
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What `agentshctl classify` answers to these commands.
fn answers(commands: &[&Value]) -> Vec<String> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_agentshctl"))
        .arg("classify")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input: String = commands
        .iter()
        .enumerate()
        .map(|(id, command)| serde_json::json!({"id": id, "command": command}).to_string() + "\n")
        .collect();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{}", output.status);
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .enumerate()
        .map(|(id, line)| {
            let answer: Value = serde_json::from_str(line).unwrap();
            assert_eq!(answer["id"], id, "answers keep the order");
            answer["class"].as_str().unwrap().to_owned()
        })
        .collect()
}

#[test]
fn labelled_commands_get_their_label() {
    strict(&rows("corpus/labelled_dev.jsonl"), 400);
}

#[test]
fn commands_of_other_trades_get_the_label_that_they_had_before_they_were_tried() {
    strict(&lines(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/classes/heldout.jsonl")), 150);
}

/// Asserts that [`STRICT_PERCENT`] of the commands get exactly their label; there must be `least`.
fn strict(rows: &[Value], least: usize) {
    let answers = answers(&rows.iter().map(|row| &row["command"]).collect::<Vec<_>>());
    assert_eq!(answers.len(), rows.len());
    let mut per_class: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut confused = Vec::new();
    for (row, answer) in rows.iter().zip(&answers) {
        let label = row["class"].as_str().unwrap();
        let (right, all) = per_class.entry(label).or_default();
        *all += 1;
        if label == answer {
            *right += 1;
        } else {
            let command: String = row["command"].as_str().unwrap().chars().take(120).collect();
            confused.push(format!("  {label}, not {answer}: {command:?}"));
        }
    }
    for (class, (right, all)) in &per_class {
        println!("{class:>8} {right:>4} of {all:>4}");
    }
    let right = rows.len() - confused.len();
    println!("  strict {right:>4} of {:>4}\n{}", rows.len(), confused.join("\n"));
    assert!(rows.len() >= least, "only {} labelled commands", rows.len());
    assert!(right * 100 >= rows.len() * STRICT_PERCENT, "under {STRICT_PERCENT} %:\n{}", confused.join("\n"));
}

/// The command in a shell's argv, whatever order its options have; none without `-c`.
fn command(argv: &[&str]) -> Option<String> {
    let options = argv[1..].iter().take_while(|arg| arg.starts_with('-')).count();
    let has_command = argv[1..=options].iter().any(|arg| !arg.starts_with("--") && arg.contains('c'));
    has_command.then(|| argv[options + 1].to_owned())
}

fn of_argv(argv: &[&str]) -> Verdict {
    let cx = Context { rules: &[] };
    match command(argv) {
        Some(command) => classify(command.as_bytes(), &cx),
        None => classify_argv(&argv.iter().map(|arg| arg.as_bytes()).collect::<Vec<_>>(), &cx),
    }
}

/// What each recorded inner command is: said here, not computed.
fn inner_class(command: &str) -> Class {
    match command {
        "echo hi" | "pwd" | "echo before; exit 3" | "sh -c 'echo before; exit 3'" => Class::Explore,
        "cd /tmp && python3 -c 'print(1)'" => Class::Run,
        "mkdir -p sub && cd sub && pwd" => Class::Edit,
        "git status" => Class::Git,
        other => panic!("a new recorded command, whose class this table doesn't have: {other:?}"),
    }
}

#[test]
fn every_recorded_invocation_gets_its_inner_commands_class_or_is_told_apart() {
    let rows = rows("agents/invocations.jsonl");
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &rows {
        let argv: Vec<&str> =
            row["argv"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap()).collect();
        let verdict = of_argv(&argv);
        let inner =
            row["inner_command"].as_str().map(|inner| inner.trim_start_matches("<wrapper; re-execs> "));
        let expected = match (row["kind"].as_str().unwrap(), inner) {
            ("env probe", _) => (Class::Explore, Kind::Probe),
            ("snapshot", _) => (Class::Other, Kind::Snapshot),
            ("agent-tool" | "wrapper; re-execs", Some(inner)) => (inner_class(inner), Kind::Command),
            ("internal/other", None) => match (row["agent"].as_str().unwrap(), command(&argv)) {
                // Persistent shells, typed into.
                ("openhands-tools", _) | ("swe-rex", None) => (Class::Agent, Kind::Interactive),
                // lsb_release, the search for an editor, `bash -n`.
                _ => (Class::Explore, Kind::Probe),
            },
            unknown => panic!("a new kind of recording: {unknown:?}"),
        };
        assert_eq!((verdict.class, verdict.kind), expected, "{argv:.400?} by {:?}", verdict.rule);
        *kinds.entry(verdict.kind.name()).or_default() += 1;
    }
    println!("{} recorded invocations: {kinds:?}", rows.len());
    assert!(rows.len() >= 50, "only {} recordings", rows.len());
}
