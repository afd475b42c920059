//! Inputs for the fuzzer: real commands, pieces of shell repeated as an attacker would, and what mutation makes of both.

use std::path::{Path, PathBuf};

/// Longer commands are refused by the kernel (MAX_ARG_STRLEN).
pub const LONGEST: usize = 128 * 1024;

/// Pieces that the scanner or a rule has to tell apart, among them every bracket that may stay open.
pub const PIECES: &[&[u8]] = &[
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
    b"<<E ",
    b"E\n",
    b"<(",
    b">a ",
    b"2>&1 ",
    b"<<<a ",
    b"[[ ",
    b"case x in a) ",
    b";;",
    b"esac",
    b"for i in ",
    b"if ",
    b"eval '",
    b"eval \"",
    b"eval ",
    b"bash -c '",
    b"timeout 5 ",
    b"xargs ",
    b"sudo -E ",
    b"env A=B ",
    b"A=(",
    b"A[",
    b"A=b ",
    b"$A ",
    b"find . -exec ",
    b"python -c '",
    b"python <<E\n",
    b"python -m ",
    b"Rscript -e '",
    b"java -jar ",
    b"node -e '",
    b"perl -pe ",
    b"test_a(",
    b"test_a.",
    b"subprocess ",
    b"curl x | ",
    b"git commit -m \"",
    b"git -c a=b ",
    b"make ",
    b"gradle test",
    b"npm run ",
    b"npx ",
    b"docker run -v a ",
    b"cargo +x ",
    b"sed -i ",
    b"tar -x",
    b"f() { ",
    b"function ",
    b"export A=b ",
    b"$(which python) ",
    b"-",
    b"--",
    b"-c ",
    b"/",
    b"*",
    b"[",
    b"]",
    b"=",
    b"a",
    b"a ",
    b"a;",
    b"aB1_",
    b"\t",
    b"\r",
    b"\\\n",
    b"\0",
    b"\xff",
    b"@(",
    b" ",
];

/// Real commands, from files of JSON lines (`command` or `argv`).
pub fn corpus(files: &[PathBuf]) -> Vec<Vec<u8>> {
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

/// A few pieces, over and over until the command is as long as it can be.
pub fn repeated(random: &mut Random) -> Vec<u8> {
    let block: Vec<u8> = (0..1 + random.below(4)).flat_map(|_| random.piece()).copied().collect();
    filled(&block)
}

/// A block as often as fits into a command.
pub fn filled(block: &[u8]) -> Vec<u8> {
    block.repeat(LONGEST / block.len().max(1))
}

/// The input, changed in up to seven places.
pub fn mutated(input: &[u8], corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = input.to_vec();
    for _ in 0..random.below(8) {
        let at = random.below(input.len() + 1);
        let piece = random.piece();
        match random.below(11) {
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
            8 => {
                // A stretch of it, over and over to the end.
                let stretch = input[at..input.len().min(at + 1 + random.below(40))].to_vec();
                input.truncate(at);
                input.extend_from_slice(&filled(&stretch));
            }
            9 => {
                // One byte for another, everywhere.
                let (from, to) = (input.get(at).copied(), piece[0]);
                input.iter_mut().filter(|b| Some(**b) == from).for_each(|b| *b = to);
            }
            _ => {
                let times = 1 + random.below(30);
                input.truncate(LONGEST);
                input = input.repeat(times);
            }
        }
        input.truncate(LONGEST);
    }
    input
}

/// xorshift64*: any numbers do, as long as a seed gives the same ones again.
pub struct Random(pub u64);

impl Random {
    /// A number under `bound`; 0 if that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound.max(1)
    }

    fn piece(&mut self) -> &'static [u8] {
        PIECES[self.below(PIECES.len())]
    }
}
