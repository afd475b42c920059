//! The exact texts, as agents get to read them.

use super::*;

const GIB: u64 = 1 << 30;

fn facts(class: Class) -> Facts {
    Facts::quiet(class, Duration::from_secs(20))
}

fn own_max(amount: u64) -> Option<Limit> {
    Some(Limit { whose: Whose::Call, knob: "memory.max", amount: Some(amount) })
}

#[test]
fn nothing_is_said_of_a_call_to_which_nothing_happened() {
    for class in Class::LEAVES {
        assert_eq!(text(&facts(class)), None);
    }
    // A peak, a limit and room for more are no event; nor is a short delay, or a long one of a far longer call.
    let quiet = Facts { peak: Some(GIB), limit: own_max(GIB), hint_room: Some(GIB), ..facts(Class::Run) };
    assert_eq!(text(&quiet), None);
    assert_eq!(text(&Facts { slowed: Duration::from_millis(1999), ..facts(Class::Run) }), None);
    let hour = Duration::from_secs(3600);
    assert_eq!(text(&Facts { held: Duration::from_secs(60), duration: hour, ..facts(Class::Run) }), None);
}

#[test]
fn an_oom_kill_at_the_calls_own_limit_names_it_and_the_hint_that_fits_the_budget() {
    let call = Facts {
        oom_kills: 3,
        limit: own_max(2 * GIB),
        peak: Some(2 * GIB),
        hint_room: Some(6 * GIB),
        ..facts(Class::Test)
    };
    assert_eq!(
        text(&call).unwrap(),
        "[agentsh] Out of memory: this test call was killed at the memory limit of this call, 2 GiB (memory.max). Its peak was 2 GiB.\n\
         [agentsh] This is a limit of the environment, not a fault of the code under test.\n\
         [agentsh] If it needs more, ask for it: AGENT_RESOURCE_HINT=memory:4g COMMAND. \
         Or run less at a time: one test file, or fewer workers (pytest -n 2, jest --maxWorkers=2, go test -p 1).\n"
    );
}

#[test]
fn where_the_budget_has_no_more_only_narrower_work_is_advised() {
    let call = Facts {
        oom_kills: 1,
        oom_group: false,
        limit: own_max(2 * GIB),
        peak: Some(2 * GIB - 1),
        hint_room: Some(2 * GIB + 100),
        ..facts(Class::Build)
    };
    assert_eq!(
        text(&call).unwrap(),
        "[agentsh] Out of memory: one process of this build call was killed at the memory limit of this call, 2 GiB (memory.max). Its peak was 2 GiB.\n\
         [agentsh] This is a limit of the environment, not a fault of the code under test.\n\
         [agentsh] The budget has no more to give: build with fewer jobs (make -j2, cargo build -j1, ninja -j2), or one target only.\n"
    );
}

#[test]
fn an_ancestors_limit_is_named_as_the_ancestors() {
    let above = |whose| Facts {
        oom_kills: 2,
        limit: Some(Limit { whose, knob: "memory.max", amount: Some(GIB + GIB / 2) }),
        peak: Some(700 << 20),
        hint_room: Some(8 * GIB),
        ..facts(Class::Run)
    };
    assert_eq!(
        text(&above(Whose::Budget)).unwrap().lines().next().unwrap(),
        "[agentsh] Out of memory: this run call was killed at the memory limit of all calls of this session together, 1.5 GiB (memory.max). Its peak was 700 MiB."
    );
    let container = text(&above(Whose::Above("/docker/abc".into()))).unwrap();
    assert!(container.contains("the memory limit of the cgroup /docker/abc above this session, 1.5 GiB"));
    let machine = text(&above(Whose::Machine)).unwrap();
    assert!(machine.contains("killed at the end of the machine's own memory."), "{machine}");
    // A hint can't raise what isn't the call's.
    assert!(!container.contains("AGENT_RESOURCE_HINT") && !machine.contains("AGENT_RESOURCE_HINT"));
}

#[test]
fn an_explore_call_is_told_to_retry_narrower_first() {
    let call = Facts {
        oom_kills: 1,
        limit: own_max(GIB),
        peak: Some(GIB),
        hint_room: Some(GIB + GIB / 2),
        ..facts(Class::Explore)
    };
    assert_eq!(
        text(&call).unwrap().lines().last().unwrap(),
        "[agentsh] Retry narrower: search one subdirectory or file pattern, leave out node_modules, .git and build output, \
         and pipe into head. If that can't be: AGENT_RESOURCE_HINT=memory:1536m COMMAND."
    );
}

#[test]
fn a_throttled_call_is_called_slowed_and_not_killed() {
    let call = Facts {
        slowed: Duration::from_millis(12_345),
        limit: Some(Limit { whose: Whose::Call, knob: "memory.high", amount: Some(256 << 20) }),
        peak: Some(260 << 20),
        hint_room: Some(GIB),
        ..facts(Class::Git)
    };
    assert_eq!(
        text(&call).unwrap(),
        "[agentsh] Slowed, not killed: this git call was slowed for 12 s of 20 s at the memory limit of this call, 256 MiB (memory.high), a limit of the environment. Its peak was 260 MiB.\n\
         [agentsh] If it needs more, ask for it: AGENT_RESOURCE_HINT=memory:512m COMMAND. Or do less at a time: --depth 1, a single path, or git -c pack.threads=1.\n"
    );
}

#[test]
fn a_call_that_gave_way_learns_that_its_result_is_complete() {
    let slowed = Duration::from_millis(1500);
    let call = Facts { held: Duration::from_millis(2500), slowed, gave_way: slowed, ..facts(Class::Install) };
    assert_eq!(
        text(&call).unwrap(),
        "[agentsh] Slowed, not killed: this install call was held up for 4.0 s so that calls that matter more got their memory.\n\
         [agentsh] Its result is complete. If it ran into a timeout, run it again when less is going on.\n"
    );
}

#[test]
fn what_agentsh_itself_killed_is_explained() {
    let call = |why| Facts {
        killed: Some(why),
        limit: Some(Limit { whose: Whose::Budget, knob: "memory.max", amount: Some(3 * GIB) }),
        pids: Some(Limit { whose: Whose::Call, knob: "pids.max", amount: Some(4096) }),
        ..facts(Class::Run)
    };
    let first = |why| text(&call(why)).unwrap().lines().next().unwrap().to_owned();
    assert_eq!(
        first(Why::Stalled(Duration::from_secs(30))),
        "[agentsh] Killed: this run call stood still for 30 s at the memory limit of all calls of this session together, 3 GiB (memory.max)."
    );
    assert_eq!(
        first(Why::MadeRoom),
        "[agentsh] Killed: memory ran out at the memory limit of all calls of this session together, 3 GiB (memory.max), and calls that matter more than this run call needed it."
    );
    assert_eq!(
        first(Why::HeldUp(Duration::from_secs(30))),
        "[agentsh] Killed: calls that matter more than this run call needed the memory for 30 s, and it could not go on."
    );
    assert_eq!(
        text(&call(Why::MadeRoom)).unwrap().lines().last().unwrap(),
        "[agentsh] Run it again when less is going on, or work on less data at a time (a sample, a stream, chunks), or with fewer workers."
    );
    assert_eq!(
        first(Why::ForkedOn),
        "[agentsh] Killed: processes of this run call kept forking, though forks failed, at the process limit of this call, 4096 processes (pids.max)."
    );
}

#[test]
fn a_failed_fork_is_explained() {
    let pids = Some(Limit { whose: Whose::Call, knob: "pids.max", amount: Some(512) });
    assert_eq!(
        text(&Facts { pids, ..facts(Class::Test) }).unwrap(),
        "[agentsh] A fork failed (\"Resource temporarily unavailable\") at the process limit of this call, 512 processes (pids.max).\n\
         [agentsh] This is a limit of the environment, not a fault of the code under test.\n\
         [agentsh] Retry with fewer workers (pytest -n 2, jest --maxWorkers=2).\n"
    );
}

#[test]
fn leftovers_of_earlier_calls_that_were_killed_are_told_of() {
    let one = Facts { earlier: vec![(Class::Test, 150)], ..facts(Class::Explore) };
    assert_eq!(
        text(&one).unwrap(),
        "[agentsh] Killed: processes left behind by an earlier test call kept forking at the process limit of that call, 150 processes (pids.max). The present call is none the worse for it.\n\
         [agentsh] Retry with fewer workers (pytest -n 2, jest --maxWorkers=2).\n"
    );
    let pids = Some(Limit { whose: Whose::Call, knob: "pids.max", amount: Some(512) });
    let both = Facts { earlier: vec![(Class::Run, 150); 3], pids, ..facts(Class::Test) };
    let said = text(&both).unwrap();
    assert!(said.starts_with("[agentsh] A fork failed") && said.contains("(And those of 2 more.)"), "{said}");
}

#[test]
fn amounts_read_as_a_person_says_them() {
    for (amount, said) in [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1536, "1.5 KiB"),
        (512 << 20, "512 MiB"),
        (GIB * 19 / 10, "1.9 GiB"),
    ] {
        assert_eq!(bytes(amount), said);
    }
    assert_eq!((hint(4 * GIB), hint(GIB + GIB / 2)), ("4g".into(), "1536m".into()));
}

#[test]
fn whatever_happened_the_text_stays_short_and_every_line_has_the_prefix() {
    let whoses =
        [Whose::Call, Whose::Budget, Whose::Above("/sys/".to_owned() + &"ä/".repeat(3000)), Whose::Machine];
    let longest = [Why::Stalled, Why::HeldUp].map(|why| Some(why(Duration::MAX)));
    let whys = [None, longest[0], longest[1], Some(Why::MadeRoom), Some(Why::ForkedOn)];
    for class in Class::LEAVES {
        for whose in &whoses {
            for killed in whys {
                for (oom_kills, amount) in [(0, None), (1, Some(0)), (u64::MAX, Some(u64::MAX))] {
                    let limit = Some(Limit { whose: whose.clone(), knob: "memory.max", amount });
                    let pids = Some(Limit { whose: whose.clone(), knob: "pids.max", amount });
                    let worst = Facts {
                        oom_kills,
                        oom_group: false,
                        limit,
                        pids,
                        killed,
                        earlier: vec![(class, u64::MAX); 100],
                        peak: amount,
                        slowed: Duration::MAX,
                        gave_way: Duration::ZERO,
                        held: Duration::MAX,
                        hint_room: amount,
                        class,
                        duration: Duration::MAX,
                    };
                    let text = text(&worst).unwrap();
                    assert!(text.len() <= MAX_BYTES && text.ends_with('\n'), "{text}");
                    assert!(text.lines().all(|line| line.starts_with("[agentsh] ")), "{text}");
                }
            }
        }
    }
}
