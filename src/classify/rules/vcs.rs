//! Version control.

use super::super::call::{Call, Found, Judgment, is, one_of, say};
use super::super::entry::{Entry, all, by};
use crate::class::Class;

pub(super) const TABLE: &[Entry] = &[
    by(&["git", "g"], git),
    all(
        Class::Git,
        &[
            "hg",
            "svn",
            "jj",
            "bzr",
            "fossil",
            "cvs",
            "darcs",
            "p4",
            "sl",
            "gh",
            "glab",
            "hub",
            "tig",
            "lazygit",
            "gitk",
            "git-lfs",
            "git-filter-repo",
            "git-cliff",
            "gitui",
            "repo",
            "gt",
            "stg",
            "tea",
            "arc",
            "git-annex",
            "bfg",
            "yadm",
            "chezmoi",
        ],
    ),
];

const VALUES: &[&str] =
    &["-C", "-c", "--git-dir", "--work-tree", "--namespace", "--exec-path", "--super-prefix", "--config-env"];

/// Subcommands that run hooks of the repository, which may be anything.
const HOOKED: &[&str] = &[
    "commit",
    "push",
    "rebase",
    "merge",
    "pull",
    "cherry-pick",
    "am",
    "revert",
    "checkout",
    "switch",
    "worktree",
    "gc",
    "receive-pack",
    "citool",
    "gui",
    "cvsimport",
    "ci",
    "send-email",
];

fn git(call: &Call<'_>) -> Found {
    let Some(index) = call.operand(1, VALUES) else {
        return is(if call.has(&["-v", "--version"]) { Class::Explore } else { Class::Git });
    };
    let git = say(Class::Git);
    let last = call.words.len() - 1;
    match call.word(index) {
        // These run commands that they are given.
        b"bisect" if call.word(index + 1) == b"run" && index + 2 <= last => Found::AtLeast(index + 2, git),
        b"submodule" if call.word(index + 1) == b"foreach" => match call.operand(index + 2, &[]) {
            Some(script) => Found::ScriptAtLeast(script, git),
            None => Found::Is(git),
        },
        b"rebase" if call.value(&["-x", "--exec"]).is_some() => {
            let script = call.value(&["-x", "--exec"]).unwrap_or(last);
            Found::ScriptAtLeast(script, Judgment { hooks: true, ..git })
        }
        subcommand if one_of(subcommand, HOOKED) => Found::Is(Judgment { hooks: true, ..git }),
        _ => Found::Is(git),
    }
}
