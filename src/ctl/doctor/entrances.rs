//! Through which doors do commands come to agentsh? A launcher that nobody calls enforces nothing.

use super::check::{Check, Tier};
use crate::launcher::note::{Program, inspect};
use std::path::{Path, PathBuf};

const NAME: &str = "way in";

/// Looks at the shells that agents start.
pub fn check() -> Check {
    let mut doors = Vec::new();
    if let Some(shell) = std::env::var_os("SHELL").map(PathBuf::from).filter(|path| is_ours(path)) {
        doors.push(format!("SHELL={}", shell.display()));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let first =
        |name: &str| std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    doors.extend(
        first("bash").filter(|file| is_ours(file)).map(|file| format!("bash in PATH is {}", file.display())),
    );
    doors.extend(
        ["/bin/bash", "/bin/sh"].into_iter().filter(|file| is_ours(Path::new(file))).map(String::from),
    );
    if doors.is_empty() {
        let bin = std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned));
        let bin = bin.unwrap_or_else(|| "/opt/agentsh/bin".into());
        return Check::missing(
            Tier::Zero,
            NAME,
            "no shell that an agent would start from here is agentsh: not $SHELL, not bash in PATH, not /bin/bash",
            format!("export SHELL={0}/bash PATH={0}:$PATH before the agent starts", bin.display()),
        );
    }
    Check::ok(Tier::Zero, NAME, doors.join(", "))
}

fn is_ours(path: &Path) -> bool {
    inspect(path).program == Program::Ourselves
}
