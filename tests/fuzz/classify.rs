//! Mutates real commands and whatever else the classifier could stumble over, for so many seconds:
//! `cargo run --release --example fuzz-classify -- [--seconds N] [--seed N] [FILE.jsonl…]`
//!
//! Counts inputs, panics and inputs that took longer than a generous multiple of the bound of 1 ms (their CPU time,
//! as this machine may be busy), and prints the worst. Ends with 1 if there was any. libFuzzer needs a nightly
//! compiler, so this is a plain program: no coverage guides it, but it starts from real commands and from every
//! bracket that may stay open.

use agentsh::classify::{Context, classify, classify_argv, programs};
use nix::time::{ClockId, clock_gettime};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Longer commands are refused by the kernel (MAX_ARG_STRLEN).
const LONGEST: usize = 128 * 1024;
/// An input is slow from here on: the bound times a factor for slow machines, caches and timer ticks.
const SLOW: Duration = Duration::from_millis(if cfg!(debug_assertions) { 40 } else { 5 });

const PIECES: &[&[u8]] = &[
    b"(",
    b")",
    b"$(",
    b"${",
    b"$((",
    b"((",
    b"`",
    b"'",
    b"\"",
    b"\\",
    b"$'",
    b"#",
    b"\n",
    b";",
    b"|",
    b"&",
    b"<<E\n",
    b"<<-'E'\n",
    b"E\n",
    b"<(",
    b"[[ ",
    b"case x in a) ",
    b";;",
    b"esac",
    b"for i in ",
    b"eval '",
    b"bash -c '",
    b"timeout 5 ",
    b"xargs ",
    b"env A=B ",
    b"A=(",
    b"find . -exec ",
    b"python -c '",
    b"test_a(",
    b"curl x | ",
    b"git commit -m \"",
    b"make ",
    b"f() { ",
    b"-",
    b"--",
    b"/",
    b"*",
    b"[",
    b"]",
    b"=",
    b"\0",
    b"\xff",
    b"@(",
    b" ",
];

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
    let corpus = corpus(&files);
    println!("{} commands to start from, seed {seed}, {seconds} s", corpus.len());
    std::panic::set_hook(Box::new(|_| {}));
    let mut random = Random(seed);
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut inputs, mut bytes, mut panics, mut slow) = (0u64, 0u64, 0u64, 0u64);
    let mut worst = (Duration::ZERO, Vec::new());
    while Instant::now() < end {
        let input = mutated(&corpus, &mut random);
        inputs += 1;
        bytes += input.len() as u64;
        let (panicked, mut took) = run(&input);
        for _ in 0..4 {
            if !panicked && took > worst.0 {
                // Page faults and what else runs here count too: only what is slow every time is.
                took = took.min(run(&input).1);
            }
        }
        let others = AssertUnwindSafe(|| {
            let argv: Vec<&[u8]> = input.split(|&b| b == b' ').collect();
            classify_argv(&argv, &Context { rules: &[] });
            programs(&input);
        });
        if panicked || catch_unwind(others).is_err() {
            panics += 1;
            println!("panic: {}", input[..input.len().min(2000)].escape_ascii());
        }
        if took > SLOW {
            slow += 1;
            println!(
                "slow: {took:?} for {} bytes: {}",
                input.len(),
                input[..input.len().min(200)].escape_ascii()
            );
        }
        if took > worst.0 {
            worst = (took, input);
        }
    }
    println!("{inputs} inputs, {bytes} bytes, {panics} panics, {slow} over {SLOW:?}");
    println!(
        "worst: {:?} for {} bytes: {}",
        worst.0,
        worst.1.len(),
        worst.1[..worst.1.len().min(120)].escape_ascii()
    );
    if inputs == 0 || panics > 0 || slow > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Did it panic, and what did it take?
fn run(input: &[u8]) -> (bool, Duration) {
    let before = cpu_time();
    let panicked = catch_unwind(AssertUnwindSafe(|| classify(input, &Context { rules: &[] }))).is_err();
    (panicked, cpu_time().saturating_sub(before))
}

/// The CPU time of this thread.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every Linux has this clock").into()
}

fn corpus(files: &[PathBuf]) -> Vec<Vec<u8>> {
    let shared = std::env::var_os("AGENTSH_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let default = [shared.join("corpus/unique_dev.jsonl"), shared.join("agents/invocations.jsonl")];
    let files = if files.is_empty() { &default[..] } else { files };
    let mut commands = Vec::new();
    for file in files {
        let text =
            std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        for line in text.lines() {
            let row: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
            let argv = row["argv"].as_array().into_iter().flatten();
            let texts = argv.chain([&row["command"]]).filter_map(|value| value.as_str());
            commands.extend(texts.map(|text| text.as_bytes().to_vec()));
        }
    }
    assert!(!commands.is_empty(), "no commands to start from");
    commands
}

fn mutated(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = corpus[random.below(corpus.len())].clone();
    for _ in 0..random.below(8) {
        let at = random.below(input.len() + 1);
        let piece = PIECES[random.below(PIECES.len())];
        match random.below(9) {
            0 => drop(input.splice(at..at, piece.iter().copied())),
            1 => input.truncate(at),
            2 => drop(input.drain(..at)),
            3 if at < input.len() => input[at] = random.below(256) as u8,
            4 => {
                let other = &corpus[random.below(corpus.len())];
                input.splice(at..at, other.iter().copied());
            }
            5 => {
                // A piece so often that the command is as long as it can be, now and then.
                let times = if random.below(20) == 0 { LONGEST / piece.len() } else { random.below(300) };
                input.splice(at..at, piece.repeat(times));
            }
            6 => {
                // Quoted once more, as wrappers do.
                let text: Vec<u8> = input
                    .iter()
                    .flat_map(|&b| if b == b'\'' { b"'\"'\"'".to_vec() } else { vec![b] })
                    .collect();
                input = [&b"eval '"[..], &text, b"'"].concat();
            }
            7 => {
                let part = input[at..].to_vec();
                input.extend_from_slice(&part);
            }
            _ => {
                let times = 1 + random.below(30);
                input = input.repeat(times);
            }
        }
        input.truncate(LONGEST);
    }
    input
}

/// xorshift64*: any numbers do, as long as a seed gives the same ones again.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound.max(1)
    }
}
