//! The call log's writer against the real kernel: many processes at once, rotation, full disks, pipes.

use agentsh::class::Class;
use agentsh::log::record::Record;
use agentsh::log::writer::{LogError, Rotation, append, numbered, place};
use agentsh::policy::compiled::{LogPolicy, Origin, Set};
use nix::errno::Errno;
use nix::sys::stat::Mode;
use serde_json::Value;
use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

const PROCESSES: usize = 64;
const EACH: usize = 100;

fn record(id: String, command: &[u8]) -> Record {
    Record { id, command: command.to_vec(), ..Record::begin(SystemTime::now(), Class::Run) }
}

fn put(path: &Path, rotation: Rotation, record: &Record) -> Result<(), LogError> {
    append(path, rotation, |max| record.line(4096, true, max).into_bytes())
}

/// The lines of the log and of all rotated ones, oldest first.
fn lines(path: &Path, keep: u8) -> Vec<String> {
    let files = (1..=keep).rev().map(|n| numbered(path, n)).chain([path.to_owned()]);
    files
        .filter_map(|file| fs::read_to_string(file).ok())
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

const ONE_LOG: Rotation = Rotation { bytes: 0, keep: 3 };

/// Runs only as a child of the tests below, which set these variables.
#[test]
fn a_writer_process() {
    let Some(path) = std::env::var_os("LOG_UNDER_TEST") else { return };
    let number = std::env::var("WRITER").unwrap();
    let bytes = std::env::var("ROTATE_BYTES").unwrap().parse().unwrap();
    for i in 0..EACH {
        let record = record(format!("{number}-{i}"), &vec![b'x'; i * 37 % 3000]);
        put(Path::new(&path), Rotation { bytes, keep: 250 }, &record).unwrap();
    }
}

fn writer(path: &Path, number: usize, rotate_bytes: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_writer_process", "--test-threads=1"])
        .env("LOG_UNDER_TEST", path)
        .env("WRITER", number.to_string())
        .env("ROTATE_BYTES", rotate_bytes.to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn of_64_processes_at_once_no_line_is_lost_or_torn_while_the_log_rotates() {
    for rotate_bytes in [0, 100_000] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/calls.jsonl");
        let children: Vec<Child> = (0..PROCESSES).map(|number| writer(&path, number, rotate_bytes)).collect();
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
        let mut seen = HashSet::new();
        for line in lines(&path, 250) {
            let value: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert!(seen.insert(value["id"].as_str().unwrap().to_owned()), "twice: {}", value["id"]);
        }
        assert_eq!(seen.len(), PROCESSES * EACH);
        let old = (1..=250).take_while(|&n| numbered(&path, n).exists()).count();
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), old + 1, "gaps or strange files");
        assert_eq!(old > 50, rotate_bytes > 0, "{old} old logs");
        for n in 1..=old {
            let size = fs::metadata(numbered(&path, n as u8)).unwrap().size();
            // Whoever had it open at the rename still appends to it: one line a process at most.
            assert!(size <= 100_000 + 64 * 4096, "{size}");
        }
    }
}

#[test]
fn a_writer_killed_at_any_moment_leaves_a_log_that_the_next_ones_go_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calls.jsonl");
    for round in 0..40 {
        let mut child = writer(&path, round, 2000);
        std::thread::sleep(Duration::from_millis(2 + round as u64));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    put(&path, Rotation { bytes: 2000, keep: 250 }, &record("last".into(), b"")).unwrap();
    let lines = lines(&path, 250);
    assert!(lines.len() > 40, "the writers did not get to write");
    assert!(lines.iter().all(|line| serde_json::from_str::<Value>(line).is_ok()));
    assert!(lines.last().unwrap().contains("\"last\""));
}

#[test]
fn rotation_keeps_as_many_old_logs_as_it_is_told_to() {
    for keep in [0u8, 1, 3] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calls.jsonl");
        for i in 0..10 {
            put(&path, Rotation { bytes: 1, keep }, &record(i.to_string(), b"")).unwrap();
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1 + usize::from(keep));
        let last = lines(&path, keep);
        assert_eq!(last.len(), 1 + usize::from(keep));
        assert!(
            last.last().unwrap().contains(r#""id":"9""#)
                && last[0].contains(&format!(r#""id":"{}""#, 9 - keep))
        );
    }
}

#[test]
fn a_log_whose_lock_somebody_keeps_is_written_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calls.jsonl");
    put(&path, ONE_LOG, &record("0".into(), b"")).unwrap();
    let held = File::open(&path).unwrap();
    held.lock().unwrap();
    put(&path, Rotation { bytes: 1, keep: 1 }, &record("1".into(), b"")).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2);
}

#[test]
fn the_log_is_0600_and_its_folder_0700_under_any_umask() {
    // In a process of its own: the umask is the process's, and the other tests' threads share it.
    let Some(mask) = std::env::var_os("UMASK_UNDER_TEST") else {
        for mask in ["0", "63", "511"] {
            let mut child = Command::new(std::env::current_exe().unwrap());
            child.args(["--exact", "the_log_is_0600_and_its_folder_0700_under_any_umask"]);
            assert!(
                child.env("UMASK_UNDER_TEST", mask).stdout(Stdio::null()).status().unwrap().success(),
                "{mask}"
            );
        }
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    nix::sys::stat::umask(Mode::from_bits_truncate(mask.to_str().unwrap().parse().unwrap()));
    let path = folder.path().join("a/b/calls.jsonl");
    put(&path, ONE_LOG, &record("0".into(), b"")).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(
        [mode(&path), mode(path.parent().unwrap()), mode(&folder.path().join("a"))],
        [0o600, 0o700, 0o755]
    );
}

#[test]
fn a_symbolic_link_in_the_logs_place_is_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (target, link) = (folder.path().join("target"), folder.path().join("calls.jsonl"));
    fs::write(&target, "").unwrap();
    symlink(&target, &link).unwrap();
    let error = put(&link, ONE_LOG, &record("0".into(), b"")).unwrap_err();
    assert!(matches!(error, LogError::Io { errno: Errno::ELOOP, .. }), "{error}");
    assert!(error.to_string().contains("calls.jsonl: can't open the call log: ELOOP"), "{error}");
    assert_eq!(fs::read_to_string(&target).unwrap(), "");
}

#[test]
fn a_fifo_without_a_reader_or_with_one_asleep_is_an_error_and_no_hang() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fifo");
    nix::unistd::mkfifo(&path, Mode::from_bits_truncate(0o600)).unwrap();
    let start = Instant::now();
    let error = put(&path, ONE_LOG, &record("0".into(), b"")).unwrap_err();
    assert!(matches!(error, LogError::Io { errno: Errno::ENXIO, .. }), "{error}");

    let mut reader = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
    let big = record("big".into(), &[b'x'; 50_000]);
    let mut written = 0;
    let error = loop {
        match put(&path, ONE_LOG, &big) {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 10_000, "the pipe never fills");
    };
    assert!(matches!(error, LogError::TooSlow { .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(20), "hung");
    let mut text = String::new();
    // The pipe is empty and its writers are gone: EOF.
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text.lines().filter(|line| serde_json::from_str::<Value>(line).is_ok()).count(), written);
}

#[test]
fn what_is_no_file_is_refused_and_a_character_device_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let error = put(folder.path(), ONE_LOG, &record("0".into(), b"")).unwrap_err();
    assert!(matches!(error, LogError::Io { errno: Errno::EISDIR, .. }), "{error}");
    put(Path::new("/dev/null"), Rotation { bytes: 1, keep: 1 }, &record("0".into(), b"")).unwrap();
    let error = put(Path::new("/dev/full"), ONE_LOG, &record("0".into(), b"")).unwrap_err();
    assert!(matches!(error, LogError::Io { errno: Errno::ENOSPC, doing: "write", .. }), "{error}");
}

#[test]
fn a_read_only_place_and_a_missing_folder_that_cannot_be_made_are_named() {
    let error = put(Path::new("/proc/agentsh/calls.jsonl"), ONE_LOG, &record("0".into(), b"")).unwrap_err();
    assert!(
        error.to_string().starts_with("/proc/agentsh: can't make the folder of the call log: "),
        "{error}"
    );
}

#[test]
fn a_file_size_limit_is_an_error_and_not_a_death() {
    // ulimit -f counts blocks of 1,024 bytes in bash; the file may be 1,024 bytes long.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calls.jsonl");
    let script = "trap '' XFSZ; ulimit -f 1; exec \"$0\" --exact a_writer_process --nocapture";
    let output = Command::new("bash")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .envs([("LOG_UNDER_TEST", path.to_str().unwrap()), ("WRITER", "0"), ("ROTATE_BYTES", "0")])
        .output()
        .unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(101), "{text}");
    assert!(text.contains("EFBIG") || text.contains("Short"), "{text}");
}

#[test]
fn the_logs_place_is_the_variable_then_the_policys_then_the_users_own() {
    let line = |value| Set { value, origin: Origin { source: 0, line: 1 } };
    let set = |path: Option<&str>| LogPolicy {
        enabled: Set { value: true, origin: Origin { source: 0, line: 1 } },
        path: path.map(|path| Set { value: path.to_owned(), origin: Origin { source: 0, line: 1 } }),
        command_bytes: line(4096),
        redact: Set { value: true, origin: Origin { source: 0, line: 1 } },
        rotate_bytes: Set { value: 1 << 20, origin: Origin { source: 0, line: 1 } },
        keep: Set { value: 3, origin: Origin { source: 0, line: 1 } },
    };
    type Variables<'a> = &'a [(&'a str, &'a str)];
    let at = |path: Option<&str>, root: bool, variables: Variables| {
        let env = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
        place(&set(path), root, env).map(|path| path.to_str().unwrap().to_owned())
    };
    let all: Variables = &[("AGENTSH_LOG", "/l"), ("XDG_STATE_HOME", "/s"), ("HOME", "/h")];
    assert_eq!(at(Some("/p"), true, all).unwrap(), "/l");
    assert_eq!(at(Some("/p"), true, &all[1..]).unwrap(), "/p");
    assert_eq!(at(None, true, &all[1..]).unwrap(), "/var/log/agentsh/calls.jsonl");
    assert_eq!(at(None, false, &all[1..]).unwrap(), "/s/agentsh/calls.jsonl");
    assert_eq!(
        at(None, false, &[("XDG_STATE_HOME", "s"), ("HOME", "/h")]).unwrap(),
        "/h/.local/state/agentsh/calls.jsonl"
    );
    assert!(matches!(at(None, false, &[("AGENTSH_LOG", ""), ("HOME", "")]), Err(LogError::NoPlace)));
}
