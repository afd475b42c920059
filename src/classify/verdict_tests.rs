//! What else a verdict says: kinds, hooks, hints, the rule, overrides.

use super::*;
use crate::policy::compiled::{Origin, Override, Partial, Set};

fn verdict(command: &str) -> Verdict {
    classify(command.as_bytes(), &Context { rules: &[] })
}

#[test]
fn agents_multiplexers_and_interactive_shells_get_no_leaf() {
    for (command, kind) in [
        ("claude -p 'fix it'", Kind::Agent),
        ("cd a && codex exec 'run pytest'", Kind::Agent),
        ("npx @anthropic-ai/claude-code", Kind::Agent),
        ("npx -y @openai/codex exec x", Kind::Agent),
        ("timeout 60 gemini -p x", Kind::Agent),
        ("tmux new-session -d -s a pytest", Kind::Multiplexer),
        ("screen -dmS a pytest", Kind::Multiplexer),
        ("zellij", Kind::Multiplexer),
        ("bash", Kind::Interactive),
        ("bash -i", Kind::Interactive),
        ("nice -n 10 /bin/bash", Kind::Interactive),
        ("exec bash -l", Kind::Interactive),
        ("su - user", Kind::Interactive),
        ("sudo -i", Kind::Interactive),
        ("sudo su", Kind::Interactive),
    ] {
        let verdict = verdict(command);
        assert_eq!((verdict.class, verdict.kind), (Class::Agent, kind), "{command}");
    }
}

#[test]
fn hooks_are_told_of_where_git_runs_them() {
    for (command, hooks) in [
        ("git commit -m x", true),
        ("git add . && git push", true),
        ("git -C a rebase main", true),
        ("git status", false),
        ("git log --grep commit", false),
        ("git commit -m x && pytest", false),
    ] {
        assert_eq!(verdict(command).hooks, hooks, "{command}");
    }
}

#[test]
fn a_hint_is_found_wherever_the_command_assigns_it() {
    for (command, hint) in [
        ("AGENT_RESOURCE_HINT=memory:2g pytest", Some("memory:2g")),
        ("export AGENT_RESOURCE_HINT='memory:high,cpu:low'; make", Some("memory:high,cpu:low")),
        ("cd a && env AGENT_RESOURCE_HINT=memory:low pytest", Some("memory:low")),
        ("eval 'AGENT_RESOURCE_HINT=memory:2g pytest' < /dev/null", Some("memory:2g")),
        ("AGENT_RESOURCE_HINT=$X pytest", None),
        ("echo 'AGENT_RESOURCE_HINT=memory:2g'", None),
        ("pytest", None),
    ] {
        let found = verdict(command).hint.map(|hint| String::from_utf8(hint).unwrap());
        assert_eq!(found.as_deref(), hint, "{command}");
    }
}

#[test]
fn the_verdict_tells_the_part_that_decided_and_its_rule() {
    let verdict = verdict("cd /a && timeout 5 python3 -m pytest 'a b' | tail");
    assert_eq!(verdict.part, "timeout 5 python3 -m pytest 'a b'");
    assert_eq!(verdict.argv, [b"pytest".to_vec(), b"a b".to_vec()]);
    assert_eq!(verdict.rule.name, "pytest");
    let source =
        std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(verdict.rule.file))
            .unwrap();
    let from_there: String = source.lines().skip(verdict.rule.line as usize - 1).take(6).collect();
    assert!(from_there.contains("\"pytest\""), "{:?} is {from_there}", verdict.rule);
}

#[test]
fn a_program_is_judged_by_its_argv_as_a_shim_gets_it() {
    let of = |argv: &[&str]| {
        let argv: Vec<&[u8]> = argv.iter().map(|arg| arg.as_bytes()).collect();
        let verdict = classify_argv(&argv, &Context { rules: &[] });
        (verdict.class, verdict.kind)
    };
    assert_eq!(of(&["/opt/agentsh/shims/pytest", "a;b", "$(make)"]), (Class::Test, Kind::Command));
    assert_eq!(of(&["npm", "run", "build"]), (Class::Build, Kind::Command));
    assert_eq!(of(&["/w/scripts/deploy.sh"]), (Class::Run, Kind::Command));
    assert_eq!(of(&["/w/scripts/run_tests.sh"]), (Class::Test, Kind::Command));
    assert_eq!(of(&["/bin/sh", "/usr/bin/lsb_release", "-a"]), (Class::Explore, Kind::Probe));
    assert_eq!(of(&["-bash"]), (Class::Agent, Kind::Interactive));
    assert_eq!(of(&[]), (Class::Other, Kind::Command));
    assert_eq!(of(&[""]), (Class::Other, Kind::Command));
}

fn rule(pattern: &[&str], class: Option<Class>) -> Override {
    let origin = Origin { source: 1, line: 3 };
    Override {
        pattern: pattern.iter().map(|glob| glob.to_string()).collect(),
        origin,
        class: class.map(|value| Set { value, origin }),
        knobs: Partial::default(),
    }
}

#[test]
fn an_override_decides_before_the_built_in_rules_and_the_last_one_wins() {
    let rules = [
        rule(&["mytool"], Some(Class::Build)),
        rule(&["mytool", "verify"], Some(Class::Test)),
        rule(&["pytest"], None),
        rule(&["ls"], None),
    ];
    let of = |command: &str| {
        let verdict = classify(command.as_bytes(), &Context { rules: &rules });
        (verdict.class, verdict.overrides)
    };
    assert_eq!(of("mytool"), (Class::Build, vec![0]));
    assert_eq!(of("timeout 5 ./mytool verify x"), (Class::Test, vec![0, 1]));
    assert_eq!(of("ls && /usr/bin/pytest -x"), (Class::Test, vec![2]));
    assert_eq!(of("bash -c 'pytest'"), (Class::Test, vec![2]));
    assert_eq!(of("ls"), (Class::Explore, vec![3]));
    assert_eq!(of("echo mytool"), (Class::Explore, vec![]));
}
