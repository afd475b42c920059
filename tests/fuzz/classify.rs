//! Looks for commands that make the classifier panic, or take longer than it promises, for so many seconds:
//! `cargo run --release --example fuzz-classify -- [--seconds N] [--seed N] [FILE.jsonl…]`
//!
//! It starts from real commands and from every bracket that may stay open, and half of its inputs are made from the
//! slowest that it has seen. An input's time is the CPU time of this thread, the best of five (of 35 if that is over
//! half of what is allowed): what else runs on the machine isn't the input's. Prints the slowest; ends with 1 if one panicked or took over 1 ms (issue 2,
//! "Classes"; a debug build gets 40 ms). libFuzzer needs a nightly compiler, so this is a plain program.

mod inputs;
mod slowest;

use agentsh::classify::{Context, classify, classify_argv, programs};
use inputs::{PIECES, Random};
use nix::time::{ClockId, clock_gettime};
use slowest::{Slow, Slowest};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// An input is slow from here on.
const SLOW: Duration = Duration::from_millis(if cfg!(debug_assertions) { 40 } else { 1 });
/// So often is an input timed whose first time was long enough to matter; the shortest counts.
const TIMES: usize = 5;
/// So often is one timed again that seems slow: another program that runs at the time makes all five longer.
const AGAIN: usize = 30;
/// An input is timed more often from here on.
const SUSPECT: Duration = SLOW.checked_div(2).expect("2 is not 0");
/// Every so many seconds it tells how far it is.
const TOLD_EVERY: u64 = 600;
/// How many slow inputs are printed as they are found.
const PRINTED: u64 = 20;

fn main() -> ExitCode {
    let (mut seconds, mut seed, mut files) = (10, 1, Vec::new());
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number = || args.next().and_then(|n| n.parse().ok()).expect("a number behind the option");
        match arg.as_str() {
            "--seconds" => seconds = number(),
            "--seed" => seed = number(),
            _ => files.push(PathBuf::from(arg)),
        }
    }
    let corpus = inputs::corpus(&files);
    println!("agentsh::classify::classify and classify_argv, {}", measured());
    println!("{} commands and {} pieces to start from, seed {seed}, {seconds} s", corpus.len(), PIECES.len());
    std::panic::set_hook(Box::new(|_| {}));
    let mut fuzzer =
        Fuzzer { random: Random(seed.max(1)), slowest: Slowest::default(), count: Count::default() };
    for piece in PIECES {
        fuzzer.look(inputs::filled(piece), None);
    }
    let (begin, mut told) = (Instant::now(), 0);
    while begin.elapsed() < Duration::from_secs(seconds) {
        let (input, parent) = fuzzer.next(&corpus);
        fuzzer.look(input, parent);
        if begin.elapsed().as_secs() / TOLD_EVERY > told {
            told += 1;
            println!("after {} s: {}", told * TOLD_EVERY, fuzzer.so_far());
        }
    }
    fuzzer.report()
}

/// What was tried, and what came of it.
#[derive(Default)]
struct Count {
    inputs: u64,
    bytes: u64,
    panics: u64,
    slow: u64,
    /// Inputs by the tenths of [`SLOW`] that they took, the last place for all above.
    tenths: [u64; 11],
}

struct Fuzzer {
    random: Random,
    slowest: Slowest,
    count: Count,
}

impl Fuzzer {
    /// The next input, and the place of the slow one that it was made from.
    fn next(&mut self, corpus: &[Vec<u8>]) -> (Vec<u8>, Option<usize>) {
        let random = &mut self.random;
        match random.below(8) {
            0..4 => {
                let (place, slow) = self.slowest.pick(random);
                (inputs::mutated(&slow.input, corpus, random), Some(place))
            }
            4 => (inputs::repeated(random), None),
            5 => {
                let repeated = inputs::repeated(random);
                (inputs::mutated(&repeated, corpus, random), None)
            }
            _ => {
                let real = &corpus[random.below(corpus.len())];
                (inputs::mutated(real, corpus, random), None)
            }
        }
    }

    /// Classifies an input as a script and as a program with arguments, and keeps it if it is slow.
    fn look(&mut self, input: Vec<u8>, parent: Option<usize>) {
        self.count.inputs += 1;
        self.count.bytes += input.len() as u64;
        let argv: Vec<&[u8]> = input.split(|&b| b == b' ').collect();
        let cx = Context { rules: &[] };
        let bar = self.slowest.bar(parent).min(SLOW);
        let as_script = best_time(bar, || drop(classify(&input, &cx)));
        let as_argv = best_time(bar, || drop(classify_argv(&argv, &cx)));
        // The oracle's view of the scanner has no limit of steps, so it is no part of the promise.
        let oracle = input.len() > 8192 || catch_unwind(AssertUnwindSafe(|| programs(&input))).is_ok();
        let (Some(as_script), Some(as_argv), true) = (as_script, as_argv, oracle) else {
            self.count.panics += 1;
            return println!("panic: {}", beginning(&input, 2000));
        };
        let took = as_script.max(as_argv);
        self.count.tenths[(took.as_nanos() * 10 / SLOW.as_nanos()).min(10) as usize] += 1;
        if took > SLOW {
            self.count.slow += 1;
            if self.count.slow <= PRINTED {
                println!("slow: {took:?} for {} bytes: {}", input.len(), beginning(&input, 200));
            }
        }
        if took > self.slowest.bar(parent) {
            self.slowest.keep(Slow { took, input }, parent);
        }
    }

    fn so_far(&self) -> String {
        let Count { inputs, bytes, panics, slow, .. } = &self.count;
        let worst = self.slowest.worst().map_or(Duration::ZERO, |slow| slow.took);
        format!(
            "{inputs} inputs, {bytes} bytes, {panics} panics, {slow} over {SLOW:?}; worst {worst:?} of CPU time"
        )
    }

    fn report(&self) -> ExitCode {
        let Count { inputs, panics, slow, tenths, .. } = &self.count;
        println!("{}", self.so_far());
        let tenths: Vec<String> = tenths.iter().map(u64::to_string).collect();
        println!("inputs by tenths of {SLOW:?}, the last for all above: {}", tenths.join(" "));
        let mut slowest: Vec<&Slow> = self.slowest.0.iter().collect();
        slowest.sort_by_key(|slow| std::cmp::Reverse(slow.took));
        for Slow { took, input } in slowest.iter().take(8) {
            println!("slowest: {took:?} for {} bytes: {}", input.len(), beginning(input, 120));
        }
        if *inputs == 0 || *panics > 0 || *slow > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

/// The CPU time that something takes at best; none if it panics. What is faster than the bar isn't timed again.
fn best_time(bar: Duration, mut look: impl FnMut()) -> Option<Duration> {
    let mut best = Duration::MAX;
    for time in 0..TIMES + AGAIN {
        let before = cpu_time();
        catch_unwind(AssertUnwindSafe(&mut look)).ok()?;
        best = best.min(cpu_time().saturating_sub(before));
        if best <= bar || time + 1 >= TIMES && best <= SUSPECT {
            break;
        }
    }
    Some(best)
}

/// The CPU time of this thread.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every Linux has this clock").into()
}

fn beginning(input: &[u8], length: usize) -> std::slice::EscapeAscii<'_> {
    input[..input.len().min(length)].escape_ascii()
}

/// What is measured, and where: the build, the commit of the folder that it was built in, the machine.
fn measured() -> String {
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    let git = Command::new("git")
        .args(["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty", "--exclude=*"])
        .output();
    let commit = git.ok().filter(|output| output.status.success());
    let commit = commit.map_or("an unknown commit".into(), |output| {
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    });
    let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = text("/proc/cpuinfo");
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("?", |(_, name)| name);
    let load = text("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or("?");
    format!("{build} build of {commit}, on {model}, load average {load}")
}
