//! Records as lines: the schema, and what doesn't fit.

use super::*;
use proptest::prelude::*;
use serde_json::Value;

fn full() -> Record {
    Record {
        session: Some("/agentsh/s1".into()),
        leaf: Some(LeafName { name: "test-3".into(), cgroup_id: 4711, generation: 12 }),
        placement: Placement::Leaf,
        command: b"A_TOKEN=abc pytest -q".to_vec(),
        cwd: b"/w".to_vec(),
        argv0: b"bash".to_vec(),
        outcome: Outcome::Exited(137),
        duration: Duration::from_micros(1_500_001),
        cpu_user: Duration::from_millis(900),
        cpu_sys: Duration::from_millis(80),
        memory_peak: Some(Peak::Leaf(2 << 30)),
        limits: Some(Limits { memory_max: Some(2 << 30), cpu_weight: Some(100), ..Limits::default() }),
        events: Some(Events { oom_kill: 1, pids: 2, ..Events::default() }),
        pressure: Some(Pressure { memory_some_us: 7, ..Pressure::default() }),
        slowed: Duration::from_millis(3),
        held: Duration::ZERO,
        hint: Some("memory:2g".into()),
        feedback: Some("[agentsh] x\n".into()),
        degraded: None,
        ..Record::begin(UNIX_EPOCH + Duration::from_nanos(1_795_228_154_120_000_255), Class::Test)
    }
}

#[test]
fn a_record_is_one_line_with_every_field_of_the_schema() {
    let mut record = full();
    record.id = unique_id(record.start, 0x1f);
    assert_eq!(
        record.line(4096, true, MAX_BYTES),
        concat!(
            r#"{"v":1,"ts":"2026-11-21T02:29:14.120Z","id":"18e9ee7ea11a52ff-1f","session":"/agentsh/s1","#,
            r#""leaf":"test-3","cgroup_id":4711,"generation":12,"class":"test","placement":"leaf","#,
            r#""command":"A_TOKEN=*** pytest -q","command_bytes":21,"cwd":"/w","argv0":"bash","exit":137,"signal":null,"#,
            r#""duration_us":1500001,"cpu_user_us":900000,"cpu_sys_us":80000,"memory_peak":2147483648,"peak_source":"leaf","#,
            r#""limits":{"memory_high":null,"memory_max":2147483648,"swap_max":null,"pids_max":null,"cpu_weight":100},"#,
            r#""events":{"low":0,"high":0,"max":0,"oom":0,"oom_kill":1,"oom_group_kill":0,"pids_max":2},"#,
            r#""pressure":{"memory_some_us":7,"memory_full_us":0,"cpu_some_us":0,"io_some_us":0},"#,
            r#""slowed_us":3000,"held_us":0,"raised_to":null,"killed":null,"hint":"memory:2g","feedback":"[agentsh] x\n","degraded":null}"#,
            "\n"
        )
    );
}

#[test]
fn what_came_through_a_shim_names_it() {
    let line = Record { shim: Some("npm".into()), ..full() }.line(4096, true, MAX_BYTES);
    assert!(line.contains(r#""argv0":"bash","shim":"npm","exit":137"#), "{line}");
}

#[test]
fn a_call_of_which_little_is_known_has_the_same_fields() {
    let keys = |line: &str| -> Vec<String> {
        let value: Value = serde_json::from_str(line).unwrap();
        value.as_object().unwrap().keys().cloned().collect()
    };
    let little = Record::begin(SystemTime::now(), Class::Agent).line(4096, true, MAX_BYTES);
    assert_eq!(keys(&little), keys(&full().line(4096, true, MAX_BYTES)));
}

#[test]
fn a_record_that_is_too_big_is_cut_and_still_json() {
    let mut record = full();
    record.command = vec![1; 200_000]; // six bytes each in JSON
    for max in [4096, MAX_BYTES] {
        let line = record.line(150_000, true, max);
        assert!(line.len() <= max && line.len() > max / 4, "{} of {max}", line.len());
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["command_bytes"], 200_000);
    }
    record.cwd = vec![1; 200_000];
    record.feedback = Some("\u{1}".repeat(200_000));
    let line = record.line(4096, true, 4096);
    assert!(line.len() <= 4096, "{}", line.len());
    serde_json::from_str::<Value>(&line).unwrap();
}

proptest! {
    #[test]
    fn any_record_is_one_line_of_json_within_its_size(
        command in proptest::collection::vec(any::<u8>(), 0..5000),
        cwd in proptest::collection::vec(any::<u8>(), 0..4096),
        feedback in any::<Option<String>>(), cut in 0usize..6000, max in 4096usize..70_000
    ) {
        let record = Record { command, cwd, feedback, ..full() };
        let line = record.line(cut, true, max);
        prop_assert!(line.len() <= max);
        prop_assert_eq!(line.matches('\n').count(), 1);
        prop_assert!(line.ends_with('\n'));
        serde_json::from_str::<Value>(&line).unwrap();
    }
}
