//! `agentshctl log`: the calls that were made, for people and for scripts.

use super::Outcome;
use super::join::{self, Counted, Counts, Key};
use crate::class::Class;
use crate::log::record::VERSION;
use crate::log::writer::{self, numbered};
use crate::policy::place::LoadEnv;
use crate::policy::store;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// How often `--follow` looks for more.
const INTERVAL: Duration = Duration::from_millis(200);

/// Show the calls that were made: when, of what class, how they ended, what they used, and what was done about it.
///
/// Old, rotated logs are read first. A line that isn't a record is named on stderr and left out; the exit status is
/// then 1. Without --file the log is $AGENTSH_LOG, or the policy's `log: path:`, or /var/log/agentsh/calls.jsonl for
/// root and ~/.local/state/agentsh/calls.jsonl for others.
#[derive(clap::Args)]
pub struct Args {
    /// Go on showing calls as they end.
    #[arg(long, short)]
    follow: bool,
    /// Print the records as they are, one JSON object a line.
    #[arg(long)]
    json: bool,
    /// Only calls of this class: test, build, install, run, git, edit, explore, other, agent.
    #[arg(long, value_parser = class)]
    class: Option<Class>,
    /// Only calls that took at least so many seconds, or that were throttled or held.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "10", value_name = "SECONDS")]
    slow: Option<f64>,
    /// Only calls that the OOM killer took something from.
    #[arg(long)]
    oom: bool,
    /// Add what the kernel has counted of each call: processes, programs, the fastest growth of its memory, time
    /// throttled and held (root, and `agentsh-helper load`). With --json as `kernel`, which is null where nothing is
    /// known any more.
    #[arg(long)]
    join: bool,
    /// Read this log.
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
}

fn class(text: &str) -> Result<Class, String> {
    text.parse().map_err(|()| "no such class".into())
}

/// What the table shows of a record; see [`crate::log::record`] for the schema.
#[derive(Deserialize)]
struct Call {
    v: u8,
    ts: String,
    class: String,
    placement: String,
    command: String,
    exit: Option<u8>,
    signal: Option<i32>,
    duration_us: u64,
    cpu_user_us: u64,
    cpu_sys_us: u64,
    memory_peak: Option<u64>,
    events: Option<Events>,
    slowed_us: u64,
    held_us: u64,
    #[serde(default)]
    killed: Option<String>,
    hint: Option<String>,
    degraded: Option<String>,
    #[serde(default)]
    cgroup_id: Option<u64>,
    #[serde(default)]
    generation: Option<u64>,
}

impl Call {
    /// What the kernel's counts are kept under; none without a leaf.
    fn key(&self) -> Option<Key> {
        let duration = Duration::from_micros(self.duration_us);
        Some(Key { cgroup_id: self.cgroup_id?, generation: self.generation?, duration })
    }
}

#[derive(Deserialize)]
struct Events {
    oom_kill: u64,
    pids_max: u64,
}

/// Prints what is asked for.
pub fn run(args: &Args) -> Result<Outcome> {
    let path = match &args.file {
        Some(path) => path.clone(),
        None => default_log()?,
    };
    let counted = if args.join { Some(Counted::ask()?) } else { None };
    let (out, err) = (io::stdout().lock(), io::stderr().lock());
    let mut view = View { args, counted, out, err, outcome: Outcome::Fine };
    view.show(&path)?;
    Ok(view.outcome)
}

/// Where the launcher writes, for this user and in this folder.
fn default_log() -> Result<PathBuf> {
    let policy = store::load(&LoadEnv::of_process()).policy.log;
    Ok(writer::place(&policy, nix::unistd::geteuid().is_root(), |name| std::env::var_os(name))?)
}

struct View<'a, O, E> {
    args: &'a Args,
    /// What the kernel has counted, if that is asked for.
    counted: Option<Counted>,
    out: O,
    err: E,
    outcome: Outcome,
}

impl<O: Write, E: Write> View<'_, O, E> {
    fn show(&mut self, path: &Path) -> Result<()> {
        if !self.args.json {
            writeln!(self.out, "{}", head())?;
        }
        // Opened before any is read: a rotation meanwhile renames them, and an open file stays the same file.
        let files = opened(path)?;
        if files.is_empty() && !self.args.follow {
            bail!(
                "{}: no such log: no call has been recorded yet, or AGENTSH_LOG is another one",
                path.display()
            );
        }
        let mut last = None;
        for (name, file) in files {
            let mut lines = Lines { name, file: BufReader::new(file), number: 0, part: Vec::new() };
            self.all(&mut lines)?;
            last = Some(lines);
        }
        let mut last = last.filter(|lines| lines.name == path);
        while self.args.follow {
            self.out.flush()?;
            thread::sleep(INTERVAL);
            last = self.more(path, last)?;
        }
        Ok(())
    }

    /// Shows what has come since, and follows the name to a new file if there is one.
    fn more(&mut self, path: &Path, current: Option<Lines>) -> Result<Option<Lines>> {
        // In this order: what stands in the old file once the new one is there will not grow any more, but for
        // writers that had it open, and they had an interval's time.
        let named = File::open(path).ok();
        let Some(mut lines) = current else {
            return match named {
                Some(file) => {
                    let mut lines =
                        Lines { name: path.into(), file: BufReader::new(file), number: 0, part: Vec::new() };
                    self.all(&mut lines).map(|()| Some(lines))
                }
                None => Ok(None),
            };
        };
        self.all(&mut lines)?;
        let (Some(named), Ok(seen)) = (named, lines.file.get_ref().metadata()) else {
            return Ok(Some(lines));
        };
        let now = named.metadata().with_context(|| path.display().to_string())?;
        if (now.dev(), now.ino()) == (seen.dev(), seen.ino()) {
            return Ok(Some(lines));
        }
        thread::sleep(INTERVAL);
        self.all(&mut lines)?;
        self.more(path, None)
    }

    fn all(&mut self, lines: &mut Lines) -> Result<()> {
        while let Some(line) = lines.next()? {
            if let Err(error) = self.line(&line) {
                // A line cut short by a full disk has the next record behind it; `{"v":` can't stand in a string.
                let rest = line.windows(5).rposition(|w| w == br#"{"v":"#).filter(|&at| at > 0);
                let rescued = rest.is_some_and(|at| self.line(&line[at..]).is_ok());
                let what = if rescued { "the first of two records is cut short" } else { "not a record" };
                let place = lines.name.display();
                writeln!(self.err, "agentshctl log: {place}:{}: {what}: {error:#}", lines.number)?;
                self.outcome = Outcome::Finding;
            }
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8]) -> Result<()> {
        let call: Call = serde_json::from_slice(line)?;
        if call.v > VERSION {
            bail!("written by a later agentsh (version {} of the schema, {VERSION} is known)", call.v);
        }
        if !self.wanted(&call) {
            return Ok(());
        }
        let joined = self.counted.is_some();
        let counts = self.counted.as_mut().and_then(|counted| counted.of(call.key()?));
        let mut shown = match (self.args.json, joined) {
            (true, true) => join::line(line, counts),
            (true, false) => line.to_vec(),
            (false, _) => row(&call, counts).into_bytes(),
        };
        shown.push(b'\n');
        Ok(self.out.write_all(&shown)?)
    }

    fn wanted(&self, call: &Call) -> bool {
        let slow =
            |seconds: f64| call.duration_us as f64 >= seconds * 1e6 || call.slowed_us > 0 || call.held_us > 0;
        self.args.class.is_none_or(|class| call.class == class.name())
            && self.args.slow.is_none_or(slow)
            && (!self.args.oom || call.events.as_ref().is_some_and(|events| events.oom_kill > 0))
    }
}

/// The log and its old ones, oldest first.
fn opened(path: &Path) -> Result<Vec<(PathBuf, File)>> {
    let mut files = Vec::new();
    for name in (1..=u8::MAX).rev().map(|n| numbered(path, n)).chain([path.to_owned()]) {
        match File::open(&name) {
            Ok(file) => files.push((name, file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("can't read {}", name.display())),
        }
    }
    Ok(files)
}

/// Whole lines of a file that may be growing.
struct Lines {
    name: PathBuf,
    file: BufReader<File>,
    number: u64,
    part: Vec<u8>,
}

impl Lines {
    /// The next line without its end; none if no whole one is there (yet).
    fn next(&mut self) -> Result<Option<Vec<u8>>> {
        let read = self.file.read_until(b'\n', &mut self.part);
        read.with_context(|| format!("can't read {}", self.name.display()))?;
        if self.part.pop_if(|last| *last == b'\n').is_none() {
            return Ok(None);
        }
        self.number += 1;
        Ok(Some(std::mem::take(&mut self.part)))
    }
}

fn head() -> String {
    columns("WHEN (UTC)", "CLASS", "EXIT", "TIME", "CPU", "MEMORY", "COMMAND")
}

fn row(call: &Call, counts: Option<&Counts>) -> String {
    let when = call.ts.get(..19).unwrap_or(&call.ts).replace('T', " ");
    let exit = match (call.exit, call.signal) {
        (Some(code), _) => code.to_string(),
        (None, Some(signal)) => {
            nix::sys::signal::Signal::try_from(signal).map_or(signal.to_string(), |s| s.to_string())
        }
        (None, None) => "-".into(),
    };
    let memory = call.memory_peak.map_or("-".into(), bytes);
    let cpu = seconds(call.cpu_user_us + call.cpu_sys_us);
    let mut text = columns(
        &when,
        &call.class,
        &exit,
        &seconds(call.duration_us),
        &cpu,
        &memory,
        &visible(&call.command),
    );
    for note in notes(call).into_iter().chain(counts.map(join::note)) {
        // Writing to a String can't fail.
        let _ = write!(text, "  [{note}]");
    }
    text
}

fn columns(
    when: &str,
    class: &str,
    exit: &str,
    time: &str,
    cpu: &str,
    memory: &str,
    command: &str,
) -> String {
    format!("{when:<19}  {class:<7}  {exit:>7}  {time:>8}  {cpu:>8}  {memory:>8}  {command}")
}

/// What isn't as usual with the call.
fn notes(call: &Call) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(events) = &call.events {
        if events.oom_kill > 0 {
            notes.push(format!("OOM killed {}", events.oom_kill));
        }
        if events.pids_max > 0 {
            notes.push("out of processes".into());
        }
    }
    match call.killed.as_deref() {
        Some("made_room") => notes.push("killed to make room".into()),
        Some("held_up") => notes.push("killed, held up too long".into()),
        Some("stalled") => notes.push("killed, stood still".into()),
        Some(why) => notes.push(format!("killed, {}", visible(why))),
        None => {}
    }
    for (what, time) in [("throttled", call.slowed_us), ("held", call.held_us)] {
        if time > 0 {
            notes.push(format!("{what} {}", seconds(time)));
        }
    }
    notes.extend(call.hint.as_ref().map(|hint| format!("hint {}", visible(hint))));
    match &call.degraded {
        Some(why) => notes.push(visible(why)),
        None if call.placement == "in_place" => notes.push("in place".into()),
        None => {}
    }
    notes
}

/// One line, of at most 100 characters, that does nothing to a terminal.
fn visible(text: &str) -> String {
    let mut shown: String =
        text.trim().chars().take(100).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.trim().chars().nth(100).is_some() {
        shown.push('…');
    }
    shown
}

fn seconds(micros: u64) -> String {
    match micros {
        0..1_000_000 => format!("{:.1} ms", micros as f64 / 1e3),
        1_000_000..60_000_000 => format!("{:.1} s", micros as f64 / 1e6),
        _ => format!("{} min {:02} s", micros / 60_000_000, micros / 1_000_000 % 60),
    }
}

fn bytes(amount: u64) -> String {
    match amount {
        0..0x10_0000 => format!("{} KiB", amount >> 10),
        0x10_0000..0x4000_0000 => format!("{} MiB", amount >> 20),
        _ => format!("{:.1} GiB", amount as f64 / f64::from(1 << 30)),
    }
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
