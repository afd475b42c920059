//! Shells, and what the shell itself can do.

use super::super::Kind;
use super::super::call::{Call, Found, Judgment, is, say, unplaced};
use super::super::entry::{Entry, all, by};
use super::super::simple::Stdin;
use crate::class::Class;

pub(super) const TABLE: &[Entry] = &[
    by(&["bash", "sh", "zsh", "dash", "ash", "ksh", "mksh", "rbash", "yash", "fish", "pwsh", "nu"], shell),
    by(
        &["busybox", "toybox"],
        |call| if call.words.len() > 1 { Found::Through(1) } else { is(Class::Explore) },
    ),
    by(&["su", "runuser"], su),
    by(&["login", "newgrp", "sulogin"], |_| unplaced(Kind::Interactive)),
    by(&["eval"], |call| match (call.words.len(), call.simple.fetches) {
        (1, _) => is(Class::Other),
        (_, true) => is(Class::Install),
        _ => Found::Joined(1),
    }),
    by(&["source", "."], |call| is(if call.simple.fetches { Class::Install } else { Class::Other })),
    // Known to the shell alone, and nothing by themselves.
    all(
        Class::Other,
        &[
            "cd",
            "pushd",
            "popd",
            "export",
            "set",
            "unset",
            "shopt",
            "alias",
            "unalias",
            "local",
            "declare",
            "typeset",
            "readonly",
            "return",
            "exit",
            "break",
            "continue",
            "shift",
            "getopts",
            "trap",
            "wait",
            "true",
            ":",
            "false",
            "setopt",
            "unsetopt",
            "emulate",
            "umask",
            "ulimit",
            "hash",
            "let",
            "read",
            "mapfile",
            "readarray",
            "bg",
            "fg",
            "disown",
            "enable",
            "bind",
            "complete",
            "compopt",
            "autoload",
            "sleep",
            "usleep",
            "activate",
            "deactivate",
            "logout",
            "suspend",
            "kill",
            "pkill",
            "killall",
            "reset",
            "clear",
            "stty",
            "tput",
            "renice",
            "noglob",
            "workon",
            "module",
        ],
    ),
    all(
        Class::Explore,
        &[
            "echo", "printf", "pwd", "type", "jobs", "dirs", "times", "caller", "history", "fc", "test", "[",
            "compgen", "whence", "help",
        ],
    ),
];

/// A shell: what its script is, or that it is interactive.
fn shell(call: &Call<'_>) -> Found {
    let mut index = 1;
    let (mut script, mut stdin, mut checks) = (false, false, false);
    while let Some(letters) = options(call.word(index)) {
        if matches!(call.word(index), b"--" | b"-") {
            index += 1;
            break;
        }
        let takes_next = if letters.starts_with(b"-") {
            matches!(letters, b"-rcfile" | b"-init-file")
        } else {
            script |= letters.contains(&b'c');
            stdin |= letters.contains(&b's');
            checks |= letters.contains(&b'n');
            letters.iter().any(|b| b"oO".contains(b))
        };
        index += if takes_next { 2 } else { 1 };
    }
    let named = index < call.words.len();
    if call.asks_version() {
        return is(Class::Explore);
    }
    if script {
        return match (named, call.simple.fetches) {
            (false, _) => is(Class::Other),
            (true, true) => Found::ScriptAtLeast(index, say(Class::Install)),
            (true, false) => Found::Script(index),
        };
    }
    if checks {
        let mut judgment = say(Class::Explore);
        if !named && matches!(call.simple.stdin, Stdin::Text(_)) {
            // swe-rex tries each command so before it types it in.
            judgment = Judgment { kind: Kind::Probe, ..judgment };
        }
        return Found::Is(judgment);
    }
    if named && !stdin {
        return match call.word(index) {
            file if file.starts_with(b"<(") => {
                is(if call.simple.fetches { Class::Install } else { Class::Run })
            }
            _ => Found::Through(index),
        };
    }
    match &call.simple.stdin {
        Stdin::Text(_) => Found::StdinScript,
        Stdin::Pipe if call.simple.fetched => is(Class::Install),
        Stdin::Pipe | Stdin::File => is(Class::Run),
        Stdin::Inherited => unplaced(Kind::Interactive),
    }
}

/// The letters of an option of the shell (`-lc`, `+x`); a long option keeps its second dash.
fn options(word: &[u8]) -> Option<&[u8]> {
    match word {
        [b'-', rest @ ..] => Some(rest),
        [b'+', rest @ ..] if !rest.is_empty() => Some(rest),
        _ => None,
    }
}

/// `su` and `runuser`: the script of `-c`, or a shell.
fn su(call: &Call<'_>) -> Found {
    if call.program() == b"runuser" && call.value(&["-u"]).is_some() {
        return match call.operand(1, &["-u", "-g", "-G"]) {
            Some(index) => Found::Through(index),
            None => is(Class::Other),
        };
    }
    match call.value(&["-c", "--command", "-lc"]) {
        Some(index) => Found::Script(index),
        None if call.reads() => is(Class::Run),
        None => unplaced(Kind::Interactive),
    }
}
