//! `agentshctl policy` and `agentshctl explain`, as a person runs them.

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

/// A folder to work in, with nothing of this machine's own policies but /etc/agentsh and /run/agentsh.
fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn agentshctl(folder: &Path, policy: Option<&Path>, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agentshctl"));
    command.args(arguments).current_dir(folder).env_clear().env("HOME", folder);
    command.envs(policy.map(|path| ("AGENTSH_POLICY", path)));
    command.output().unwrap()
}

fn text(output: &Output) -> (String, Option<i32>) {
    (String::from_utf8(output.stdout.clone()).unwrap(), output.status.code())
}

#[test]
fn check_tells_every_error_of_every_file_and_exits_with_one() {
    let dir = folder();
    fs::write(dir.path().join("a.yaml"), "version: 1\nclasses: {test: {cpu.weight: 0}}\n").unwrap();
    fs::write(dir.path().join("b.yaml"), "version: 1\nclases: {}\n").unwrap();
    let (said, status) =
        text(&agentshctl(dir.path(), None, &["policy", "check", "a.yaml", "b.yaml", "none.yaml"]));
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(
        lines,
        [
            "a.yaml:2:30: error: cpu.weight: `0` is out of range; valid: a whole number from 1 to 10000 (100 is the kernel's default)",
            "b.yaml:2:1: error: unknown key `clases`; did you mean `classes`? Valid: version, classes, overrides, hints, log, session, holding",
            "none.yaml:1:1: error: No such file or directory (os error 2)",
            "not good; the last good policy stays in force",
        ]
    );
    assert_eq!(status, Some(1));
}

#[test]
fn check_takes_good_files_and_warns_of_what_a_workspace_would_loosen() {
    let dir = folder();
    fs::write(dir.path().join("a.yaml"), "version: 1\nclasses: {test: {memory.high: 3G}}\n").unwrap();
    let (said, status) = text(&agentshctl(dir.path(), None, &["policy", "check", "a.yaml"]));
    assert_eq!((said.as_str(), status), ("good: 1 file over the built-in policy\n", Some(0)));
    fs::write(dir.path().join(".agentsh.yaml"), "version: 1\nclasses: {test: {memory.high: 4G}}\n").unwrap();
    let (said, status) = text(&agentshctl(dir.path(), None, &["policy", "check", "a.yaml", ".agentsh.yaml"]));
    assert_eq!(
        said,
        ".agentsh.yaml:2:18: warning: memory.high: 4G ignored; a workspace may only tighten, and in force is: test 3G \
         (a.yaml:2)\ngood: 2 files over the built-in policy\n"
    );
    assert_eq!(status, Some(0));
    let large = "# a comment that fills a file\n".repeat(350_000);
    fs::write(dir.path().join("large.yaml"), &large).unwrap();
    let (said, status) = text(&agentshctl(dir.path(), None, &["policy", "check", "large.yaml"]));
    assert!(said.starts_with("large.yaml:1:1: error: 10500000 bytes, at most 1048576 are read"), "{said}");
    assert_eq!(status, Some(1));
}

#[test]
fn a_policy_compiled_into_a_file_is_in_force_where_it_is_named_and_what_show_prints_can_be_read_back() {
    let dir = folder();
    let (yaml, compiled) = (dir.path().join("own.yaml"), dir.path().join("own.policy"));
    let own = "version: 1\nclasses: {test: {memory.high: 3G}}\noverrides: [{match: \"./ci.sh *\", class: test, pids.max: 9}]\n";
    fs::write(&yaml, own).unwrap();
    let made = agentshctl(dir.path(), Some(&yaml), &["policy", "compile", "--out", "own.policy"]);
    assert_eq!((made.status.code(), String::from_utf8_lossy(&made.stderr).as_ref()), (Some(0), ""));

    let shown = agentshctl(dir.path(), Some(&compiled), &["policy", "show", "--json"]);
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["state"], "fresh");
    assert_eq!(shown["classes"]["test"]["memory.high"]["value"], "3G");
    assert_eq!(shown["classes"]["test"]["memory.high"]["from"], format!("{}:2", yaml.display()));

    let (again, _) = text(&agentshctl(dir.path(), Some(&compiled), &["policy", "show"]));
    fs::write(dir.path().join("again.yaml"), &again).unwrap();
    let (said, status) = text(&agentshctl(dir.path(), None, &["policy", "check", "again.yaml"]));
    assert_eq!((said.as_str(), status), ("good: 1 file over the built-in policy\n", Some(0)));

    let told =
        agentshctl(dir.path(), Some(&compiled), &["explain", "--json", "--", "cd x; ./ci.sh all | tail"]);
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!((&told["class"], &told["knobs"]["pids.max"]["value"]), (&"test".into(), &9.into()));
    assert_eq!(told["knobs"]["pids.max"]["from"], format!("{}:3", yaml.display()));
}

#[test]
fn a_broken_policy_is_not_compiled_over_a_good_file() {
    let dir = folder();
    let yaml = dir.path().join("own.yaml");
    fs::write(&yaml, "version: 1\nclasses: {test: {oom: all}}\n").unwrap();
    fs::write(dir.path().join("own.policy"), "what was there").unwrap();
    let made = agentshctl(dir.path(), Some(&yaml), &["policy", "compile", "--out", "own.policy"]);
    let said = String::from_utf8(made.stderr).unwrap();
    assert_eq!(
        said,
        format!(
            "{}:2:23: error: oom: unknown value `all`; did you mean `call`? Valid: call, process\n",
            yaml.display()
        )
    );
    assert_eq!(made.status.code(), Some(1));
    assert_eq!(fs::read_to_string(dir.path().join("own.policy")).unwrap(), "what was there");
}

#[test]
fn the_schema_that_is_printed_is_the_committed_one() {
    let (printed, status) = text(&agentshctl(folder().path(), None, &["policy", "schema"]));
    assert_eq!((printed.as_str(), status), (include_str!("../../policies/schema.json"), Some(0)));
}
