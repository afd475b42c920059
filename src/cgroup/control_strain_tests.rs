use super::*;

#[test]
fn under_strain_a_call_is_lowered_then_frozen_if_it_goes_on_growing_and_put_back_afterwards() {
    let mut run = Run::new(&born_open());
    run.sample.strain = Strain::Tight;
    let mut size = 100 * MIB;
    run.go(1000, |s| {
        size += MIB;
        (s.current, s.work) = (size, size);
    });
    assert_eq!(run.first(|s| s.set_high == Some(Some(2 * GIB))), Some(10));
    assert_eq!(
        run.first(|s| s.set_high.flatten().is_some_and(|high| high < 105 * MIB)),
        Some(20),
        "it is stopped where it is"
    );
    assert_eq!(run.first(|s| s.freeze == Some(true)), Some(530));
    run.sample.strain = Strain::None;
    run.go(500, |_| {});
    assert!(run.first(|s| s.freeze == Some(false)).is_some_and(|at| at <= 1000 + 220));
    assert!(run.first(|s| s.set_high == Some(None)).is_some());
    assert_eq!(run.law.high(), None);
    assert!(run.law.totals().held_ns >= 500 * MS);
}

#[test]
fn nothing_is_frozen_for_longer_than_five_seconds_or_where_it_must_not_be() {
    let mut run = Run::new(&born_open());
    run.sample.strain = Strain::Tight;
    let mut size = 100 * MIB;
    run.go(12_000, |s| {
        size += MIB;
        (s.current, s.work) = (size, size);
    });
    let mut frozen_at = None;
    for (at, step) in &run.did {
        match step.freeze {
            Some(true) => frozen_at = Some(*at),
            Some(false) => assert!(at - frozen_at.take().unwrap() <= 5000),
            None => {}
        }
    }
    assert!(run.first(|s| s.freeze == Some(false)).is_some());
    let mut never = born_open();
    never.freeze = false;
    let mut run = Run::new(&never);
    run.sample.strain = Strain::Critical;
    run.go(500, usage(100 * MIB));
    assert_eq!(run.first(|s| s.freeze.is_some()), None);
    assert_eq!(run.killed().map(|(_, why)| why), Some(Reason::MadeRoom));
}

#[test]
fn a_sleeper_is_not_frozen_under_strain_nor_killed_for_being_over_high() {
    let mut run = Run::new(&limits(2 * GIB));
    run.sample.strain = Strain::Tight;
    run.go(120_000, usage(GIB));
    assert_eq!(run.first(|s| s.freeze.is_some() || s.kill.is_some()), None);
}

#[test]
fn what_is_put_back_when_strain_ends_may_be_raised_at_once_from_there() {
    let mut run = Run::new(&limits(GIB));
    run.sample.strain = Strain::Tight;
    run.go(100, usage(300 * MIB));
    run.sample.strain = Strain::None;
    run.go(250, usage(300 * MIB));
    let (_, step) = run.did.iter().find(|(_, step)| step.set_high == Some(Some(300 * MIB))).unwrap();
    assert!(step.raise.is_some_and(|to| to > 300 * MIB), "{step:?}");
    run.law.raised(450 * MIB);
    assert_eq!(run.law.high(), Some(450 * MIB));
}

#[test]
fn near_the_end_what_gives_way_is_frozen_if_it_still_grows_and_only_then() {
    let mut run = Run::new(&born_open());
    run.sample.strain = Strain::Last;
    run.go(1000, usage(100 * MIB));
    assert_eq!(run.first(|s| s.freeze.is_some()), None, "it stands still");
    run.go(10, usage(102 * MIB)).go(100, usage(102 * MIB));
    assert_eq!(run.first(|s| s.freeze == Some(true)), None, "it was only stopped now");
    run.go(10, usage(104 * MIB));
    assert!(run.first(|s| s.freeze == Some(true)).is_some());
    assert_eq!(run.killed(), None);
}

#[test]
fn what_was_critical_just_now_still_is_and_what_was_a_moment_ago_is_not() {
    let between = |calm_ms: u64| {
        let mut run = Run::new(&born_open());
        for _ in 0..3 {
            run.sample.strain = Strain::Critical;
            run.go(100, usage(GIB));
            run.sample.strain = Strain::Last;
            run.go(calm_ms, usage(GIB));
        }
        run.killed()
    };
    assert_eq!(between(150).map(|(_, why)| why), Some(Reason::MadeRoom));
    assert_eq!(between(250), None);
}

#[test]
fn who_gives_way_itself_is_not_held_by_the_brake_any_more() {
    let mut run = Run::new(&born_open());
    run.sample.brink = true;
    run.sample.until_oom = Some(5 * MIB);
    run.go(50, usage(GIB));
    assert!(run.law.high().is_some());
    run.sample.strain = Strain::Tight;
    run.go(100, usage(GIB));
    run.sample.strain = Strain::None;
    run.sample.brink = false;
    run.sample.until_oom = Some(GIB);
    run.go(400, usage(GIB));
    assert_eq!(run.law.high(), None);
}

#[test]
fn critical_strain_freezes_at_once_and_kills_if_that_does_not_help() {
    let mut run = Run::new(&born_open());
    run.sample.strain = Strain::Critical;
    run.go(250, usage(GIB));
    assert_eq!((run.first(|s| s.freeze == Some(true)), run.killed()), (Some(10), None));
    run.go(100, usage(GIB));
    assert_eq!(run.killed(), Some((310, Reason::MadeRoom)));
}

#[test]
fn on_the_brink_a_growing_call_is_stopped_until_there_is_room_and_is_not_ended() {
    let mut run = Run::new(&born_open());
    let mut size = 0;
    let mut grow = move |s: &mut Sample, brink: bool, room: u64| {
        size += MIB;
        (s.current, s.work, s.brink, s.until_oom) = (GIB + size, GIB + size, brink, Some(room));
    };
    run.go(100, |s| grow(s, false, GIB)).go(50, |s| grow(s, true, 0)).go(50, |s| grow(s, false, GIB));
    let highs: Vec<_> = run.did.iter().filter_map(|(at, step)| Some((*at, step.set_high?))).collect();
    assert!(matches!(highs[..], [(110, Some(high)), (160, None)] if high < GIB + 11 * MIB), "{highs:?}");
    assert_eq!(run.killed(), None);
}

#[test]
fn where_the_scheduler_holds_calls_nothing_is_done_for_the_first_200_ms() {
    let strained = |held_by_kernel: bool| {
        let mut law = Law::new(&limits(GIB), built_in());
        let mut first = None;
        for ms in (0..600).step_by(20) {
            let step = law.step(&Sample {
                now: ms * MS,
                current: 300 * MIB,
                work: 300 * MIB,
                strain: Strain::Tight,
                held_by_kernel,
                ..Sample::default()
            });
            if step.set_high.is_some() || step.freeze.is_some() {
                first.get_or_insert(ms);
            }
        }
        first
    };
    let (alone, together) = (strained(false), strained(true));
    assert_eq!(together, alone.map(|ms| ms + 200), "{alone:?} {together:?}");
}
