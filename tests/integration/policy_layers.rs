//! What files mean together: layers, a workspace that may only tighten, overrides, hints, budgets.

use agentsh::class::Class;
use agentsh::policy::compiled::{Amount, Layer, Policy, Source};
use agentsh::policy::document::{self, Trust};
use agentsh::policy::knob::{Knob, Tighter};
use agentsh::policy::problem::Problem;
use agentsh::policy::resolve::{Request, Resolved, resolve};
use agentsh::policy::setting::Setting;
use agentsh::policy::{builtin, layers};
use proptest::prelude::*;

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

fn lay(policy: &mut Policy, file: &str, yaml: &str, layer: Layer) -> Vec<String> {
    let trust = if layer == Layer::Workspace { Trust::Workspace } else { Trust::Operator };
    let (document, mut problems) = document::read(file, yaml.as_bytes(), trust);
    if let Some(document) = document {
        problems.extend(layers::lay(policy, &document, Source { path: file.into(), layer, stamp: None }));
    }
    problems.iter().map(Problem::to_string).collect()
}

fn system(yaml: &str) -> Box<Policy> {
    let mut policy = builtin::policy();
    assert_eq!(lay(&mut policy, "/etc/a.yaml", yaml, Layer::System), Vec::<String>::new());
    policy
}

fn plan(policy: &Policy, class: Class, overrides: &[u16], hint: Option<&str>) -> Resolved {
    let hint = hint.map(str::as_bytes);
    resolve(policy, &Request { class, overrides, hooks: false, hint, budget: Some(4 * GIB) })
}

fn value(policy: &Policy, class: Class, knob: Knob) -> String {
    policy.class(class).get(knob).value.to_string()
}

#[test]
fn the_built_in_policy_sets_every_knob_of_every_class_and_every_setting() {
    let text = include_str!("../../policies/default.yaml");
    let (document, problems) = document::read("default.yaml", text.as_bytes(), Trust::Operator);
    assert_eq!(problems, []);
    let document = document.unwrap();
    let set = |target: document::Target| document.assignments.iter().any(|a| a.target == target);
    for class in Class::LEAVES {
        for knob in Knob::ALL {
            let stated = set(document::Target::All(knob)) || set(document::Target::Class(class, knob));
            assert!(stated, "{class} {}", knob.name());
        }
    }
    for &setting in Setting::ALL {
        assert!(setting == Setting::LogPath || set(document::Target::Setting(setting)), "{}", setting.path());
    }
}

#[test]
fn the_built_in_policy_has_the_starting_values() {
    let policy = builtin::policy();
    for class in Class::LEAVES {
        let light = matches!(class, Class::Explore | Class::Git | Class::Edit);
        let heavy = matches!(class, Class::Test | Class::Build);
        let got = |knob| value(&policy, class, knob);
        assert_eq!(
            got(Knob::MemoryHigh),
            if light {
                "256M"
            } else if heavy {
                "2G"
            } else {
                "1G"
            },
            "{class}"
        );
        assert_eq!(got(Knob::MemoryMax), if light { "1G" } else { "max" }, "{class}");
        assert_eq!(got(Knob::Limits), if light { "birth" } else { "contended" }, "{class}");
        assert_eq!(
            got(Knob::CpuWeight),
            if light {
                "300"
            } else if class == Class::Install {
                "50"
            } else {
                "100"
            },
            "{class}"
        );
        let few = matches!(class, Class::Explore | Class::Git);
        assert_eq!(got(Knob::PidsMax), if few { "512" } else { "4096" }, "{class}");
        assert_eq!(
            (got(Knob::Oom), got(Knob::OnExit), got(Knob::ThrottleTimeout)),
            ("call".into(), "keep".into(), "30s".into())
        );
    }
}

#[test]
fn every_value_of_the_built_in_policy_names_the_line_that_states_it() {
    let policy = builtin::policy();
    let lines: Vec<&str> = include_str!("../../policies/default.yaml").lines().collect();
    for class in Class::LEAVES {
        for knob in Knob::ALL {
            let set = policy.class(class).get(knob);
            let line = lines[set.origin.line as usize - 1].trim();
            assert_eq!(line, format!("{}: {}", knob.name(), set.value), "{class}");
        }
    }
}

#[test]
fn a_later_layer_changes_what_it_states_and_nothing_else() {
    let mut policy = system("version: 1\nclasses:\n  all: {pids.max: 1000}\n  test: {memory.high: 3G}\n");
    assert_eq!(
        lay(&mut policy, "/etc/b.yaml", "version: 1\nclasses: {test: {pids.max: max}}", Layer::System),
        [""; 0]
    );
    assert_eq!(
        value(&policy, Class::Explore, Knob::PidsMax),
        "1000",
        "`all` of a later layer wins over a class below"
    );
    assert_eq!(value(&policy, Class::Test, Knob::PidsMax), "max");
    assert_eq!(value(&policy, Class::Test, Knob::MemoryHigh), "3G");
    assert_eq!(value(&policy, Class::Build, Knob::MemoryHigh), "2G");
    assert_eq!(policy.place(policy.class(Class::Test).pids_max.origin), "/etc/b.yaml:2");
    assert_eq!(policy.place(policy.class(Class::Test).memory_high.origin), "/etc/a.yaml:4");
}

#[test]
fn a_max_below_the_high_of_a_lower_layer_takes_it_along() {
    let policy = system("version: 1\nclasses: {test: {memory.max: 1000M}}");
    assert_eq!(value(&policy, Class::Test, Knob::MemoryHigh), "700M");
    assert_eq!(policy.place(policy.class(Class::Test).memory_high.origin), "/etc/a.yaml:2");
}

#[test]
fn a_broken_layer_changes_nothing() {
    let mut policy = builtin::policy();
    let said = lay(
        &mut policy,
        "x",
        "version: 1\nclasses: {test: {pids.max: 7}, explore: {memory.high: 2G}}",
        Layer::System,
    );
    assert_eq!(said.len(), 1);
    assert_eq!(policy, builtin::policy());
}

/// For each knob: what the operator has set, what is tighter, what is looser. None: not settable in a workspace.
fn moves(knob: Knob) -> (&'static str, Option<&'static str>, &'static str) {
    match knob {
        Knob::MemoryHigh | Knob::SwapMax => ("400M", Some("300M"), "500M"),
        Knob::MemoryMax => ("800M", Some("700M"), "max"),
        Knob::Limits => ("contended", Some("birth"), "contended"),
        Knob::Raise => ("true", Some("false"), "true"),
        Knob::CpuWeight => ("100", Some("99"), "101"),
        Knob::PidsMax => ("100", Some("99"), "max"),
        Knob::Oom => ("process", Some("call"), "process"),
        Knob::OomScoreAdj => ("10", Some("11"), "9"),
        Knob::OnExit => ("keep", None, "kill"),
        Knob::Freeze => ("allow", None, "never"),
        Knob::ThrottleTimeout => ("30s", Some("29s"), "31s"),
        Knob::Depends => ("[]", None, "[run]"),
    }
}

#[test]
fn a_workspace_tightens_every_knob_and_loosens_none_for_classes_and_for_overrides() {
    for knob in Knob::ALL {
        let (base, tight, loose) = moves(knob);
        let name = knob.name();
        // Below every memory.max that is tried.
        let high = if knob == Knob::MemoryHigh { "" } else { "\n    memory.high: 200M" };
        let operator = system(&format!("version: 1\nclasses:\n  run:\n    {name}: {base}{high}\n"));
        let with = |value: &str| {
            let mut class = operator.clone();
            let said = lay(
                &mut class,
                "/w/.agentsh.yaml",
                &format!("version: 1\nclasses: {{run: {{{name}: {value}}}}}"),
                Layer::Workspace,
            );
            let mut single = operator.clone();
            let also = lay(
                &mut single,
                "/w/.agentsh.yaml",
                &format!("version: 1\noverrides: [{{match: x, {name}: {value}}}]"),
                Layer::Workspace,
            );
            let single = plan(&single, Class::Run, &[0], None);
            (
                class.class(Class::Run).get(knob).value.to_string(),
                said,
                single.knobs.get(knob).value.to_string(),
                single.notes,
                also,
            )
        };
        let (class, said, single, notes, also) = with(loose);
        assert_eq!((class.as_str(), single.as_str()), (base, base), "{name} loosened");
        match tight {
            None => {
                assert_eq!(knob.tighter(), Tighter::Never);
                assert!(said[0].contains("can't be set in a workspace's file"), "{said:?}");
                assert!(also[0].contains("can't be set in a workspace's file"), "{also:?}");
            }
            Some(tight) => {
                if base != loose {
                    assert!(said[0].contains(&format!("{name}: {loose} ignored")), "{name}: {said:?}");
                    assert!(notes[0].contains(&format!("{name}: {loose} ignored")), "{name}: {notes:?}");
                }
                let (class, said, single, ..) = with(tight);
                assert_eq!((class.as_str(), single.as_str()), (tight, tight), "{name} tightened: {said:?}");
            }
        }
    }
}

#[test]
fn a_workspace_is_held_against_what_lies_below_and_not_against_its_own_all() {
    let mut policy = builtin::policy();
    let said = lay(
        &mut policy,
        "w",
        "version: 1\nclasses: {all: {pids.max: 50}, test: {pids.max: 60}}",
        Layer::Workspace,
    );
    assert_eq!(said, [""; 0]);
    assert_eq!(
        (value(&policy, Class::Test, Knob::PidsMax), value(&policy, Class::Git, Knob::PidsMax)),
        ("60".into(), "50".into())
    );
}

#[test]
fn a_workspaces_share_of_the_budget_is_tighter_than_none_but_not_comparable_with_an_amount() {
    let mut policy = builtin::policy();
    let said = lay(
        &mut policy,
        "w",
        "version: 1\nclasses: {test: {memory.max: 50%, memory.high: 10%}}",
        Layer::Workspace,
    );
    assert_eq!(value(&policy, Class::Test, Knob::MemoryMax), "50%");
    assert_eq!(value(&policy, Class::Test, Knob::MemoryHigh), "2G");
    assert!(said[0].contains("memory.high: 10% ignored"), "{said:?}");
    // In an override it is compared when the budget is known.
    let mut policy = builtin::policy();
    lay(&mut policy, "w", "version: 1\noverrides: [{match: x, memory.high: 10%}]", Layer::Workspace);
    let tight = plan(&policy, Class::Test, &[0], None);
    assert_eq!(tight.knobs.memory_high.value, Amount::Bytes(4 * GIB / 10));
}

#[test]
fn of_several_overrides_the_last_wins_for_each_knob_that_it_sets() {
    let policy = system(
        "version: 1\noverrides:\n- {match: a, memory.high: 3G, pids.max: 9}\n- {match: b, memory.high: 2500M}\n- {match: c, oom: process}\n",
    );
    let both = plan(&policy, Class::Test, &[1, 0], None);
    assert_eq!(both.knobs.memory_high.value, Amount::Bytes(2500 * MIB));
    assert_eq!(both.knobs.pids_max.value, Some(9));
    assert_eq!(policy.place(both.knobs.memory_high.origin), "/etc/a.yaml:4");
    assert_eq!(
        plan(&policy, Class::Test, &[77], None).knobs,
        *policy.class(Class::Test),
        "an index of nothing is ignored"
    );
}

#[test]
fn an_override_that_states_one_limit_upon_a_class_that_states_the_other_never_leaves_high_above_max() {
    let policy =
        system("version: 1\noverrides:\n- {match: a, memory.max: 1000M}\n- {match: b, memory.high: 2G}\n");
    let low_max = plan(&policy, Class::Test, &[0], None);
    assert_eq!(low_max.knobs.memory_high.value, Amount::Bytes(700 * MIB));
    assert_eq!(
        low_max.notes,
        ["memory.high 2G (<built-in>/default.yaml:N) lowered to 700M, as memory.max is 1000M (/etc/a.yaml:3)"
            .replace(":N", &format!(":{}", policy.class(Class::Test).memory_high.origin.line))]
    );
    let high = plan(&policy, Class::Explore, &[1], None).knobs;
    assert!(high.memory_high.value.bytes(None) < high.memory_max.value.bytes(None));
}

#[test]
fn git_with_hooks_has_the_memory_limits_of_run_and_the_rest_of_git() {
    let policy = builtin::policy();
    let request = Request { class: Class::Git, overrides: &[], hooks: true, hint: None, budget: None };
    let hooks = resolve(&policy, &request).knobs;
    let (git, run) = (policy.class(Class::Git), policy.class(Class::Run));
    assert_eq!(
        (hooks.memory_high, hooks.memory_max, hooks.limits),
        (run.memory_high, run.memory_max, run.limits)
    );
    assert_eq!((hooks.cpu_weight, hooks.pids_max), (git.cpu_weight, git.pids_max));
    let other = Request { class: Class::Test, ..request };
    assert_eq!(resolve(&policy, &other).knobs, *policy.class(Class::Test), "hooks are git's alone");
}

#[test]
fn a_hint_moves_the_limits_within_the_budget_and_never_beyond() {
    let policy = builtin::policy();
    let more = plan(&policy, Class::Explore, &[], Some("memory:2g,cpu:low"));
    assert_eq!(more.knobs.memory_high.value, Amount::Bytes(2 * GIB));
    assert_eq!(more.knobs.memory_max.value, Amount::Bytes(2 * GIB * 100 / 70), "with room to be slowed");
    assert_eq!(more.knobs.cpu_weight.value, 50);
    assert_eq!(policy.place(more.knobs.memory_high.origin), "AGENT_RESOURCE_HINT");
    assert_eq!(policy.layer(more.knobs.memory_high.origin), Layer::Hint);
    assert_eq!(more.hint.unwrap().describe(), "memory:2g,cpu:low");

    let beyond = plan(&policy, Class::Explore, &[], Some("memory:64g"));
    assert_eq!(beyond.knobs.memory_high.value, Amount::Bytes(4 * GIB));
    assert_eq!(beyond.knobs.memory_max.value, Amount::Bytes(4 * GIB));
    assert_eq!(beyond.hint.unwrap().describe(), "memory:64g (cut to the budget: 4G)");
    assert_eq!(beyond.notes, ["hint asks for 64G, the session's budget is 4G"]);

    let less = plan(&policy, Class::Test, &[], Some("memory:512m"));
    assert_eq!(less.knobs.memory_high.value, Amount::Bytes(512 * MIB));
    assert_eq!(less.knobs.memory_max.value, Amount::Max, "still born with what it would have seen");

    let word = plan(&policy, Class::Run, &[], Some("memory:high"));
    assert_eq!(word.knobs.memory_high.value, Amount::Bytes(3 * GIB), "75% of the budget");
}

#[test]
fn hints_can_be_switched_off_and_malformed_ones_change_nothing() {
    let off = system("version: 1\nhints: {enabled: false}\n");
    let plain = plan(&off, Class::Run, &[], Some("memory:2g"));
    assert_eq!((&plain.knobs, plain.hint), (off.class(Class::Run), None));
    assert_eq!(plain.notes, ["hint ignored: switched off at /etc/a.yaml:2"]);
    let bad = plan(&builtin::policy(), Class::Run, &[], Some("memory:lots"));
    assert_eq!(
        (bad.knobs, bad.hint, bad.notes.len()),
        (builtin::policy().class(Class::Run).clone(), None, 1)
    );
}

#[test]
fn shares_are_of_the_budget_and_no_limit_without_one() {
    let policy =
        system("version: 1\nclasses: {run: {memory.high: 25%, memory.max: 50%, memory.swap.max: 10%}}");
    let known = plan(&policy, Class::Run, &[], None).knobs;
    assert_eq!(
        (known.memory_high.value, known.memory_max.value, known.swap_max.value),
        (Amount::Bytes(GIB), Amount::Bytes(2 * GIB), Amount::Bytes(4 * GIB / 10))
    );
    let request = Request { class: Class::Run, overrides: &[], hooks: false, hint: None, budget: None };
    let unknown = resolve(&policy, &request);
    assert_eq!((unknown.knobs.memory_high.value, unknown.notes.len()), (Amount::Max, 3));
}

#[test]
fn an_agent_is_planned_as_other() {
    let policy = builtin::policy();
    assert_eq!(plan(&policy, Class::Agent, &[], None).knobs, *policy.class(Class::Other));
}

proptest! {
    /// Whatever a workspace states: no class gets more of anything than without it.
    #[test]
    fn no_workspace_loosens_anything(
        high in "([1-9][0-9]{0,3}M|max|[1-9][0-9]?%)", max in "([1-9][0-9]{0,3}M|max|[1-9][0-9]?%)",
        weight in 1u16..10_000, pids in 1u32..10_000, adj in 0i16..1000, raise in any::<bool>(), seconds in 1u32..100,
        class in "(all|test|explore|run)",
    ) {
        let base = builtin::policy();
        let mut policy = base.clone();
        lay(&mut policy, "w", &format!(
            "version: 1\nclasses:\n  {class}:\n    memory.high: {high}\n    memory.max: {max}\n    cpu.weight: {weight}\n    pids.max: {pids}\n    \
             oom_score_adj: {adj}\n    raise: {raise}\n    throttle_timeout: {seconds}s\n"), Layer::Workspace);
        for class in Class::LEAVES {
            for knob in Knob::ALL {
                let (before, after) = (base.class(class).get(knob).value, policy.class(class).get(knob).value);
                prop_assert!(before == after || knob.tightens(&before, &after, Some(GIB << 20)), "{} {}: {} -> {}", class, knob.name(), before, after);
            }
        }
    }

    /// Whatever the hint: nothing beyond the budget, and high never above max.
    #[test]
    fn no_hint_gets_beyond_the_budget(hint in "(memory:[0-9]{1,6}[mg]|memory:(low|medium|high)|cpu:(low|high))", budget in MIB..64 * GIB) {
        for class in Class::LEAVES {
            let policy = builtin::policy();
            let request = Request { class, overrides: &[], hooks: false, hint: Some(hint.as_bytes()), budget: Some(budget) };
            let planned = resolve(&policy, &request);
            if planned.hint.as_ref().and_then(|h| h.memory).is_some() {
                prop_assert!(planned.knobs.memory_high.value.bytes(None).unwrap() <= budget);
            }
            if let (Amount::Bytes(high), Amount::Bytes(max)) = (planned.knobs.memory_high.value, planned.knobs.memory_max.value) {
                prop_assert!(high <= max);
            }
        }
    }
}
