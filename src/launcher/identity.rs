//! Which program we stand in for.

use super::shim;
use crate::sys::args;
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::OnceLock;

/// What we are called as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A shell, by its name: `bash`, `sh` …
    Shell(&'static str),
    /// The other applets of a multi-call binary (busybox) that we cover.
    Applet,
    /// A tool, by a link with its name in a folder of shims.
    Shim(Vec<u8>),
}

/// The names that we answer to as a shell, and the shell that is meant. A bind mount over /bin/sh lands on the file
/// that it links to, which may be dash or a busybox.
const SHELLS: [(&[u8], &str); 6] = [
    (b"bash", "bash"),
    (b"sh", "sh"),
    (b"dash", "sh"),
    (b"ash", "sh"),
    (b"rbash", "bash"),
    (b"agentsh", "bash"),
];

/// Finds out from our own file, as a link to a shell is that shell whatever its name; from the path that was executed
/// where the file says nothing (agentsh, a busybox). argv[0] can be anything, and is never asked.
pub fn identify() -> Identity {
    let called = args::exec_path().map_or(&b""[..], |p| p.to_bytes());
    decide(called, own_file().unwrap_or_default(), || is_our_file(called))
}

fn is_our_file(path: &[u8]) -> bool {
    let file = |path: &Path| std::fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
    file(Path::new(OsStr::from_bytes(path)))
        .is_some_and(|seen| file(Path::new("/proc/self/exe")) == Some(seen))
}

/// Where our own file is, as /proc tells.
pub fn own_file() -> Option<&'static [u8]> {
    static FILE: OnceLock<Option<Vec<u8>>> = OnceLock::new();
    let read = || std::fs::read_link("/proc/self/exe").ok().map(|path| path.into_os_string().into_vec());
    FILE.get_or_init(read).as_deref()
}

/// The last part of a path.
pub fn basename(path: &[u8]) -> &[u8] {
    path.rsplit(|&b| b == b'/').next().unwrap_or(path)
}

/// The shell that is meant by a path's last part, if it is one.
pub fn shell_named(path: &[u8]) -> Option<&'static str> {
    let name = basename(path);
    SHELLS.iter().find(|(known, _)| *known == name).map(|&(_, shell)| shell)
}

/// `called_us`: is what was called our own file, and no script that names us in its `#!`?
fn decide(called: &[u8], file: &[u8], called_us: impl FnOnce() -> bool) -> Identity {
    // A link named sh to the file that is bash starts bash, in its POSIX mode. Our own name says nothing.
    let by_file = shell_named(file).filter(|_| basename(file) != b"agentsh");
    if let Some(shell) = by_file.or_else(|| shell_named(called)) {
        return Identity::Shell(shell);
    }
    match basename(file) {
        b"busybox" => Identity::Applet,
        // A copy or a hard link in a folder of shims.
        tool if shim::is_known(tool) => Identity::Shim(tool.to_vec()),
        // A link with a tool's name to our own file.
        b"agentsh" if !called.is_empty() && called_us() => Identity::Shim(basename(called).to_vec()),
        _ => Identity::Shell("bash"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_decides_and_the_executed_path_where_that_says_nothing() {
        let shell = Identity::Shell;
        for (called, file, is) in [
            ("/bin/bash", "/usr/bin/bash", shell("bash")),
            ("/bin/sh", "/usr/bin/dash", shell("sh")),
            ("/bin/rbash", "/usr/bin/bash", shell("bash")),
            ("/tmp/sh", "/usr/bin/bash", shell("bash")),
            ("/opt/agentsh/bin/sh", "/opt/agentsh/bin/agentsh", shell("sh")),
            ("/bin/sh", "", shell("sh")),
            ("./build.sh", "/usr/bin/bash", shell("bash")),
            ("./build.sh", "/usr/bin/dash", shell("sh")),
            ("/dev/fd/5", "/opt/agentsh/bin/bash", shell("bash")),
            ("/opt/agentsh/bin/agentsh", "/opt/agentsh/bin/agentsh", shell("bash")),
            ("/bin/ls", "/bin/busybox", Identity::Applet),
            ("/bin/ash", "/bin/busybox", shell("sh")),
            ("/shims/pytest", "/opt/agentsh/bin/agentsh", Identity::Shim(b"pytest".to_vec())),
            ("/shims/own-tool", "/opt/agentsh/bin/agentsh", Identity::Shim(b"own-tool".to_vec())),
            ("/shims/make", "/shims/make", Identity::Shim(b"make".to_vec())),
            ("./build.sh", "/opt/agentsh/bin/agentsh", shell("bash")),
            ("", "", shell("bash")),
        ] {
            let called_us = || !called.ends_with(".sh");
            assert_eq!(decide(called.as_bytes(), file.as_bytes(), called_us), is, "{called} {file}");
        }
    }
}
