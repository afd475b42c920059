//! What brings things from the network: to a file it installs, to its output it explores.

use super::super::call::{Call, Found, Judgment, LONGEST_CLUSTER, is, say};
use super::super::entry::{Entry, all, by};
use super::super::grammar::is_real_file;
use crate::class::Class;

pub(super) const TABLE: &[Entry] = &[
    by(&["curl", "curlie", "http", "https", "xh", "xhs"], curl),
    by(&["wget", "wget2"], wget),
    all(
        Class::Install,
        &[
            "aria2c",
            "axel",
            "lftp",
            "youtube-dl",
            "yt-dlp",
            "gdown",
            "huggingface-cli",
            "hf",
            "kaggle",
            "megadl",
        ],
    ),
    all(Class::Edit, &["scp", "rsync"]),
    all(
        Class::Explore,
        &[
            "lynx",
            "w3m",
            "links",
            "elinks",
            "ping",
            "ping6",
            "dig",
            "nslookup",
            "host",
            "whois",
            "traceroute",
            "tracepath",
            "mtr",
            "nc",
            "ncat",
            "netcat",
            "nmap",
            "grpcurl",
            "websocat",
            "wscat",
            "socat",
        ],
    ),
];

/// To its output, which may be piped on or redirected.
#[track_caller]
fn to_output() -> Found {
    Found::Is(Judgment { fetches: true, ..say(Class::Explore) })
}

/// Options of curl whose value is the next word, and which may hide an `-o` behind them.
const CURL_VALUES: &[u8] = b"AbcCdDeEFhHkKmPQrtTuUwxXyYz";

fn curl(call: &Call<'_>) -> Found {
    let mut saves = false;
    let mut words = call.args();
    while let Some(arg) = words.next() {
        match arg {
            b"--output" | b"--download" | b"-o" => {
                saves |= words.next().is_some_and(|file| file != b"-" && is_real_file(file))
            }
            b"--remote-name" | b"--remote-name-all" | b"--remote-header-name" => saves = true,
            _ if arg.starts_with(b"--output=") => saves |= is_real_file(&arg[9..]),
            _ if arg.starts_with(b"--") || arg.len() < 2 || arg[0] != b'-' => {}
            _ => {
                // A cluster such as -fsSLo: the first letter that takes a value ends it.
                let letters = &arg[1..];
                let telling = letters
                    .iter()
                    .take(LONGEST_CLUSTER)
                    .position(|b| matches!(b, b'o' | b'O' | b'J') || takes_value(*b));
                match telling.map(|at| (letters[at], &letters[at + 1..])) {
                    Some((b'o', b"")) => {
                        saves |= words.next().is_some_and(|file| file != b"-" && is_real_file(file))
                    }
                    Some((b'o', file)) => saves |= is_real_file(file),
                    Some((b'O' | b'J', _)) => saves = true,
                    Some((_, b"")) => drop(words.next()),
                    _ => {}
                }
            }
        }
    }
    if saves { is(Class::Install) } else { to_output() }
}

fn takes_value(letter: u8) -> bool {
    letter != b'k' && CURL_VALUES.contains(&letter)
}

fn wget(call: &Call<'_>) -> Found {
    if call.has(&["--spider", "--help", "-h"]) {
        return is(Class::Explore);
    }
    let mut words = call.args();
    while let Some(arg) = words.next() {
        let file = match arg {
            b"--output-document" => words.next(),
            _ if arg.starts_with(b"--") => arg.strip_prefix(b"--output-document="),
            // -O, -qO- and the like; -o names the log.
            [b'-', letters @ ..] => match letters.iter().position(|&b| b == b'O') {
                Some(at) if at + 1 == letters.len() => words.next(),
                Some(at) => Some(&letters[at + 1..]),
                None => None,
            },
            _ => None,
        };
        if let Some(file) = file
            && (file == b"-" || !is_real_file(file))
        {
            return to_output();
        }
    }
    is(Class::Install)
}
