//! Several agents at once: each is started by `agentshctl run` in a process of its own, so that one is done as many are.

use super::Outcome;
use super::run::Args;
use anyhow::{Context, Result};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::thread::{Builder, JoinHandle};

/// Who couldn't be started, as `timeout` and others have it of themselves.
const NOT_STARTED: u8 = 125;
/// The options about several, each with a value.
const OURS: [&[u8]; 3] = [b"--count", b"--session", b"--number-as"];

/// Starts them, in sessions NAME-1 to NAME-N, and waits for all. When we end before them they get SIGTERM.
pub fn run(args: &Args, name: &str, count: u32) -> Result<Outcome> {
    let own = std::env::current_exe().context("/proc/self/exe")?;
    // Each in a thread that waits for it: the kernel tells a process of its parent's end by that of the thread.
    let start = |number: u32| {
        let mut command = Command::new(&own);
        command.args(options(std::env::args_os().skip(1), args.command.len(), name, number));
        command.args(numbered(args, number)).stdin(Stdio::null());
        Builder::new().spawn(move || command.status())
    };
    Ok(Outcome::Status(wait((1..=count).map(start).collect(), name)))
}

/// One of them, or why it wasn't even to be started.
type Agent = io::Result<JoinHandle<io::Result<ExitStatus>>>;

/// Waits for all of them, and gives the first status that isn't 0. One that couldn't be started (no process more, say) is said, and
/// the others go on: when we end, so do they.
fn wait(agents: Vec<Agent>, name: &str) -> u8 {
    let (count, mut first) = (agents.len(), 0);
    for (agent, number) in agents.into_iter().zip(1..) {
        let which = format!("agent {number} of {count} ({name}-{number})");
        let panicked = |_| Err(io::Error::other("its thread has failed"));
        let status = match agent.and_then(|agent| agent.join().unwrap_or_else(panicked)) {
            Ok(status) => code(status),
            Err(error) => {
                eprintln!("agentshctl: {which} can't be started: {error}");
                NOT_STARTED
            }
        };
        if status != 0 {
            eprintln!("agentshctl: {which} ended with {status}");
            first = if first == 0 { status } else { first };
        }
    }
    first
}

/// Our own arguments up to the command, for one of them: without what is about several.
fn options(
    all: impl ExactSizeIterator<Item = OsString>,
    command: usize,
    name: &str,
    number: u32,
) -> Vec<OsString> {
    let before = all.len().saturating_sub(command);
    let mut kept = Vec::new();
    let mut words = all.take(before);
    while let Some(word) = words.next() {
        let bytes = word.as_bytes();
        let is_ours = OURS.contains(&bytes);
        let is_ours_with_value =
            OURS.iter().any(|it| bytes.strip_prefix(*it).is_some_and(|rest| rest.starts_with(b"=")));
        if is_ours {
            words.next();
        } else if !is_ours_with_value && bytes != b"--" {
            kept.push(word);
        }
    }
    kept.extend(["--session".into(), format!("{name}-{number}").into()]);
    kept.extend(["--below".into(), std::process::id().to_string().into(), "--".into()]);
    kept
}

/// The command with the agent's number in it.
fn numbered(args: &Args, number: u32) -> Vec<OsString> {
    let Some(word) = args.number_as.as_deref().filter(|word| !word.is_empty()) else {
        return args.command.clone();
    };
    let (program, rest) = args.command.split_at(1);
    let with = |argument: &OsString| replaced(argument, word.as_bytes(), number.to_string().as_bytes());
    program.iter().cloned().chain(rest.iter().map(with)).collect()
}

fn replaced(text: &OsStr, word: &[u8], by: &[u8]) -> OsString {
    let (mut rest, mut out) = (text.as_bytes(), Vec::new());
    while let Some(at) = rest.windows(word.len()).position(|window| window == word) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(by);
        rest = &rest[at + word.len()..];
    }
    out.extend_from_slice(rest);
    OsString::from_vec(out)
}

/// As shells have it.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(NOT_STARTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn one_of_several_gets_what_all_were_given_but_for_what_is_about_several() {
        let given = words("run --count 3 --pool 1G --session=x --number-as N -- agent --count N");
        let own = std::process::id();
        let kept = options(given.into_iter(), 3, "x", 2);
        assert_eq!(kept, words(&format!("run --pool 1G --session x-2 --below {own} --")));
    }

    #[test]
    fn the_number_takes_the_word_s_place_wherever_it_stands() {
        assert_eq!(replaced(OsStr::new("task-N/N"), b"N", b"12"), "task-12/12");
        assert_eq!(replaced(OsStr::new("none"), b"{}", b"1"), "none");
    }

    #[test]
    fn one_that_cannot_be_started_ends_no_other() {
        let refused = || io::Error::from_raw_os_error(libc::EAGAIN);
        let (told, hears) = std::sync::mpsc::channel();
        let lives = Builder::new().spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(50));
            told.send(()).unwrap();
            Ok(ExitStatus::from_raw(3 << 8))
        });
        let no_process = Builder::new().spawn(move || Err(refused()));
        assert_eq!(wait(vec![Err(refused()), no_process, lives], "x"), NOT_STARTED);
        assert!(hears.try_recv().is_ok(), "it was waited for");
    }

    #[test]
    fn a_signal_s_status_is_as_in_shells() {
        assert_eq!(code(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(code(ExitStatus::from_raw(15)), 143);
    }
}
