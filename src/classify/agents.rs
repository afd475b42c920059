//! What agents run for themselves, told by how it begins (recorded in shared/agents/invocations.jsonl).

use super::Kind;
use crate::class::Class;
use std::panic::Location;

/// The kind and class of a script that is no tool call, and the line that says so.
pub(super) fn shape(script: &[u8]) -> Option<(Kind, Class, &'static Location<'static>)> {
    // Claude Code asks for the environment with exactly this; a tool call of `env` comes within an eval.
    if script == b"env" {
        return Some((Kind::Probe, Class::Explore, Location::caller()));
    }
    // Claude Code looks for a running editor.
    if script.starts_with(b"ps aux | grep -E \"code|cursor|") {
        return Some((Kind::Probe, Class::Explore, Location::caller()));
    }
    // Claude Code writes functions, options and aliases down.
    if script.starts_with(b"SNAPSHOT_FILE=") {
        return Some((Kind::Snapshot, Class::Other, Location::caller()));
    }
    // Codex does likewise …
    if script.starts_with(b"if [ -z \"${BASH_ENV-}\" ]") && holds(script, b"__codex_snapshot_") {
        return Some((Kind::Snapshot, Class::Other, Location::caller()));
    }
    // … and tries what it wrote.
    if let Some(path) = script.strip_prefix(b"set -e; . \"").and_then(|rest| rest.strip_suffix(b"\""))
        && holds(path, b"/shell_snapshots/")
        && !path.iter().any(|b| b"\"$`;&|\n".contains(b))
    {
        return Some((Kind::Snapshot, Class::Other, Location::caller()));
    }
    None
}

/// Does the text hold this within its first 4 kB?
fn holds(text: &[u8], wanted: &[u8]) -> bool {
    text[..text.len().min(4096)].windows(wanted.len()).any(|window| window == wanted)
}
