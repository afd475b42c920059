//! Agents and terminal multiplexers: what must not be put into a leaf, as tool calls come out of it.

use super::super::Kind;
use super::super::call::{Call, Found, is, one_of, unplaced};
use super::super::entry::{Entry, by};
use crate::class::Class;

pub(super) const TABLE: &[Entry] = &[
    by(
        &[
            "claude",
            "claude-code",
            "codex",
            "gemini",
            "gemini-cli",
            "opencode",
            "aider",
            "cursor-agent",
            "crush",
            "qwen",
            "qwen-code",
            "copilot",
            "amp",
            "droid",
            "auggie",
            "kiro-cli",
            "kimi",
            "plandex",
            "openhands",
            "sweagent",
            "swe-agent",
            "mini-swe-agent",
            "forge-agent",
            "iflow",
            "codebuff",
            "vibe",
            "grok",
            "cline",
            "interpreter",
            "gptme",
            "octofriend",
        ],
        agent,
    ),
    by(&["goose"], |call| match call.word(1) {
        // The same name belongs to a tool for migrations of databases.
        b"" | b"session" | b"run" | b"acp" | b"web" | b"term" => unplaced(Kind::Agent),
        _ => is(Class::Run),
    }),
    by(&["tmux", "byobu"], tmux),
    by(&["screen"], |call| match call.args().find(|arg| arg.starts_with(b"-")) {
        Some(b"-ls" | b"-list" | b"-v" | b"-X" | b"-Q") => is(Class::Explore),
        _ => unplaced(Kind::Multiplexer),
    }),
    by(&["zellij"], |call| match call.word(1) {
        b"list-sessions" | b"ls" | b"action" | b"kill-session" | b"ka" | b"k" => is(Class::Explore),
        _ => unplaced(Kind::Multiplexer),
    }),
    by(&["dtach", "abduco", "dvtm", "mtm", "shpool"], |_| unplaced(Kind::Multiplexer)),
];

/// An agent, unless it is only asked or set up.
fn agent(call: &Call<'_>) -> Found {
    if call.has(&["--version", "-v", "-V", "--help", "-h"]) {
        return is(Class::Explore);
    }
    let set_up = [
        "mcp",
        "config",
        "doctor",
        "update",
        "upgrade",
        "login",
        "logout",
        "auth",
        "completion",
        "help",
        "extensions",
        "models",
        "stats",
        "setup-token",
        "plugin",
        "features",
        "export",
    ];
    if one_of(call.word(1), &set_up) { is(Class::Run) } else { unplaced(Kind::Agent) }
}

/// tmux starts its server, and so whatever runs in its panes, by these commands alone.
fn tmux(call: &Call<'_>) -> Found {
    let with_value = &["-c", "-f", "-L", "-S", "-T"];
    match call.verb(with_value) {
        b"" if call.has(&["-V"]) => is(Class::Explore),
        b"" | b"new" | b"new-session" | b"start" | b"start-server" | b"attach" | b"attach-session" | b"a"
        | b"at" | b"new-window" | b"neww" | b"split-window" | b"splitw" | b"respawn-pane"
        | b"respawn-window" | b"source-file" | b"popup" | b"display-popup" | b"run" | b"run-shell" => {
            unplaced(Kind::Multiplexer)
        }
        b"send-keys" | b"send" | b"paste-buffer" => is(Class::Run),
        _ => is(Class::Explore),
    }
}
