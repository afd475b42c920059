//! Which program we stand in for.

use super::note::{self, Program};
use super::shim;
use crate::sys::args::{self, Args};
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
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
/// where the file says nothing (agentsh, a busybox). argv[0] can be anything, and is asked only where the kernel has set it: for a
/// script it is the program that its `#!` names.
pub fn identify(args: &Args) -> Identity {
    let called = args::exec_path().map_or(&b""[..], |p| p.to_bytes());
    let named = || args.get(0).map_or(&b""[..], |argv0| argv0.to_bytes());
    // The kernel's are paths; a word can only be what a caller made up.
    let named = || Some(named()).filter(|path| path.contains(&b'/')).unwrap_or_default();
    decide(called, own_file().unwrap_or_default(), named, is_our_file)
}

fn is_our_file(path: &[u8]) -> bool {
    let path = Path::new(OsStr::from_bytes(path));
    let file = |path: &Path| std::fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
    let own = file(Path::new(OWN));
    // An emulator of processors (qemu-user) has the name lead to us, but what stat(2) finds there is its own file.
    own.is_some() && file(path) == own || note::inspect(path).program == Program::Ourselves
}

/// Our own file.
const OWN: &str = "/proc/self/exe";
/// What the kernel puts behind the path of a file that has been removed, or replaced by a newer one.
const REMOVED: &[u8] = b" (deleted)";

/// Where our own file is, as /proc tells, or else what was executed.
pub fn own_file() -> Option<&'static [u8]> {
    static FILE: OnceLock<Option<Vec<u8>>> = OnceLock::new();
    FILE.get_or_init(|| {
        let mut path = std::fs::read_link(OWN).ok().or_else(executed)?.into_os_string().into_vec();
        if path.ends_with(REMOVED) {
            path.truncate(path.len() - REMOVED.len());
        }
        Some(path)
    })
    .as_deref()
}

#[cold]
fn executed() -> Option<PathBuf> {
    let path = Path::new(OsStr::from_bytes(args::exec_path()?.to_bytes()));
    let is_us = note::inspect(path).program == Program::Ourselves;
    if is_us { std::fs::canonicalize(path).ok() } else { None }
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

/// `named`: what a script's `#!` says. `is_us`: is that path our own file?
fn decide<'a>(
    called: &'a [u8],
    file: &[u8],
    named: impl Fn() -> &'a [u8],
    is_us: impl Fn(&[u8]) -> bool,
) -> Identity {
    // A link named sh to the file that is bash starts bash, in its POSIX mode. Our own name says nothing.
    let by_file = shell_named(file).filter(|_| basename(file) != b"agentsh");
    if let Some(shell) = by_file.or_else(|| shell_named(called)) {
        return Identity::Shell(shell);
    }
    match basename(file) {
        b"busybox" => Identity::Applet,
        // A copy or a hard link in a folder of shims.
        tool if shim::is_known(tool) => Identity::Shim(tool.to_vec()),
        // A link with a tool's or a shell's name to our own file, or a script that names one.
        b"agentsh" => match [called, named()].into_iter().find(|path| !path.is_empty() && is_us(path)) {
            Some(link) => match shell_named(link) {
                Some(shell) => Identity::Shell(shell),
                None => Identity::Shim(basename(link).to_vec()),
            },
            None => Identity::Shell("bash"),
        },
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
            let is_us = |path: &[u8]| !path.ends_with(b".sh") && !path.is_empty();
            assert_eq!(decide(called.as_bytes(), file.as_bytes(), || b"", is_us), is, "{called} {file}");
        }
    }

    #[test]
    fn of_a_script_the_program_that_its_first_line_names_decides() {
        for (named, is) in [
            ("/shims/python3", Identity::Shim(b"python3".to_vec())),
            ("/opt/agentsh/bin/agentsh", Identity::Shell("bash")),
            ("/opt/agentsh/bin/sh", Identity::Shell("sh")),
            ("/usr/bin/python3", Identity::Shell("bash")),
        ] {
            let is_us = |path: &[u8]| path.starts_with(b"/shims") || path.starts_with(b"/opt");
            let decided = decide(b"./tool", b"/opt/agentsh/bin/agentsh", || named.as_bytes(), is_us);
            assert_eq!(decided, is, "{named}");
        }
    }
}
