//! What can be told of the memory hooks without a kernel that has them.

use super::*;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

fn of_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The BTF of a kernel whose struct memcg_bpf_ops has these members.
fn btf_with(folder: &Path, members: &str) -> Btf<'static> {
    let (source, object) = (folder.join("ops.c"), folder.join("ops.o"));
    let text =
        format!("struct mem_cgroup;\nstruct memcg_bpf_ops {{ {members} }};\nstruct memcg_bpf_ops it;\n");
    std::fs::write(&source, text).unwrap();
    let clang = std::env::var("CLANG").unwrap_or_else(|_| "clang".into());
    let done = Command::new(clang)
        .args(["-g", "-O2", "-target", "bpf", "-c"])
        .args([&source, Path::new("-o"), &object])
        .status();
    assert!(done.unwrap().success());
    Btf::from_path(object).unwrap()
}

const BOTH: &str = "_Bool (*below_low)(struct mem_cgroup *); _Bool (*below_min)(struct mem_cgroup *);";

#[test]
fn generations_are_told_apart_by_their_members() {
    let folder = tempfile::tempdir().unwrap();
    let of = |members: &str| generation(&btf_with(folder.path(), members));
    let v6 = format!(
        "int (*handle_cgroup_online)(struct mem_cgroup *); void (*handle_cgroup_offline)(struct mem_cgroup *); {BOTH} \
         unsigned int (*get_high_delay_ms)(struct mem_cgroup *);"
    );
    assert_eq!(of(&v6), Ok(Generation::V6));
    let v7 = format!(
        "{BOTH} unsigned int (*memcg_charged)(struct mem_cgroup *, unsigned int); \
         void (*memcg_uncharged)(struct mem_cgroup *, unsigned int);"
    );
    assert_eq!(of(&v7), Ok(Generation::V7));
    assert!(of(BOTH).is_err_and(|why| why.contains("other members")));
    let path = format!("{}/agentsh_monitor.bpf.o", env!("OUT_DIR"));
    assert!(generation(&Btf::from_path(path).unwrap()).is_err_and(|why| why.contains("no memcg_bpf_ops")));
}

/// Delays in ms of (usage, share, room, need, cushion, most).
fn delays(of: &[[u64; 6]]) -> Vec<u64> {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("delay");
    let source = of_repository("tests/integration/delay.c");
    let built = Command::new("cc").args(["-O2", "-Wall", "-Werror", "-o"]).args([&program, &source]).status();
    assert!(built.unwrap().success());
    let mut child =
        Command::new(&program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("just built");
    let lines: String = of.iter().map(|six| format!("{}\n", six.map(|n| n.to_string()).join(" "))).collect();
    child.stdin.take().expect("piped").write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let delays: Vec<u64> =
        String::from_utf8_lossy(&output.stdout).lines().map(|l| l.parse().unwrap()).collect();
    assert_eq!(delays.len(), of.len());
    delays
}

#[test]
fn who_has_room_or_is_needed_by_nobody_waits_for_nothing() {
    let plenty = [9000, 1000, 200, 100, 50, 1000];
    let nobody_above = [9000, 1000, 0, 0, 50, 1000];
    let may_not_wait = [9000, 1000, 0, 100, 50, 0];
    let hardly = [9000, 1000, 140, 100, 50, 1000];
    assert_eq!(delays(&[plenty, nobody_above, may_not_wait, hardly]), [0, 0, 0, 0]);
}

#[test]
fn the_delay_grows_with_what_is_missing_and_with_the_overrun_to_its_most() {
    let by_room: Vec<[u64; 6]> = (0..=150).rev().map(|room| [3000, 1000, room, 100, 50, 1000]).collect();
    let by_usage: Vec<[u64; 6]> = (0..=300).map(|part| [part * 10, 1000, 20, 100, 50, 1000]).collect();
    for growing in [delays(&by_room), delays(&by_usage)] {
        assert!(growing.is_sorted(), "{growing:?}");
        assert!(growing.iter().all(|&ms| ms == 0 || (11..=1000).contains(&ms)), "{growing:?}");
        assert!(growing.first() < growing.last());
    }
    assert_eq!(delays(&by_room).last(), Some(&1000), "nothing is left, and it has three times its share");
    let within = [1000, 1000, 0, 100, 50, 1000];
    assert_eq!(delays(&[within]), [250], "a quarter for who is within its share");
}

#[test]
fn absurd_amounts_do_no_harm() {
    let all = u64::from(u32::MAX) << 8;
    for ms in delays(&[
        [all, 0, 0, all, all, 1000],
        [all, 1, 0, 1, 0, 1000],
        [0, 0, all, all, all, 1000],
        [0, all, 0, all, 0, 1000],
    ]) {
        assert!(ms <= 1000, "{ms}");
    }
}
