//! Finding the real program: the shell that we stand in for, the tool behind a shim. Never ourselves.

use super::env::Env;
use super::identity::{Identity, basename};
use super::note::{self, Program};
use crate::sys::process;
use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Where `install.sh --as-bash` keeps an image's own shells.
const DIVERTED: &str = "/usr/libexec/agentsh";
/// Where an installed tree keeps its static shells, if it isn't found from our own path.
const INSTALLED: &str = "/opt/agentsh/libexec";

/// The default timer slack of Linux in ns (include/linux/init_task.h).
const TIMER_SLACK: u64 = 50_000;
/// How often a program named by AGENTSH_REAL_SHELL may come back to us before we take it for a circle.
const DEPTH: u64 = 64;

/// The real program, or why there is none.
#[derive(Debug, PartialEq, Eq)]
pub enum Real {
    /// Its path.
    Found(&'static CStr),
    /// Nothing suitable anywhere: 127.
    None,
    /// AGENTSH_REAL_SHELL leads back to us again and again: 127.
    Circle,
}

/// Finds it.
pub fn find(identity: &Identity, env: &Env) -> Real {
    match identity {
        Identity::Shell(name) => shell(name, env),
        Identity::Applet => first([in_tree("busybox"), Some(format!("{INSTALLED}/busybox").into())]),
        Identity::Shim(name) => tool(name, env),
    }
}

fn shell(name: &str, env: &Env) -> Real {
    if let Some(named) = env.real_shell.filter(|p| p.starts_with(b"/"))
        && suits(Path::new(OsStr::from_bytes(named)))
    {
        // An unknown program may well start a /bin/bash that is us. What counts how often must outlive exec and
        // fork without being an environment variable: the timer slack's last digits do.
        if !matches!(basename(named), b"bash" | b"sh" | b"dash" | b"ash" | b"busybox" | b"zsh") {
            let slack = process::timer_slack();
            let depth = slack.saturating_sub(TIMER_SLACK);
            if depth >= DEPTH {
                return Real::Circle;
            }
            process::set_timer_slack(TIMER_SLACK + depth + 1);
        }
        return found(named);
    }
    first([
        Some(format!("{DIVERTED}/{name}").into()),
        Some(format!("/bin/{name}").into()),
        Some(format!("/usr/bin/{name}").into()),
        Some(format!("/usr/local/bin/{name}").into()),
        if env.secure { None } else { in_tree(name) },
        Some(format!("{INSTALLED}/{name}").into()),
    ])
}

/// `libexec/NAME` beside the `bin` that our own file is in.
fn in_tree(name: &str) -> Option<std::path::PathBuf> {
    let file = std::fs::read_link("/proc/self/exe").ok()?;
    Some(file.parent()?.parent()?.join("libexec").join(name))
}

fn first<const N: usize>(places: [Option<std::path::PathBuf>; N]) -> Real {
    places.into_iter().flatten().find(|p| suits(p)).map_or(Real::None, |p| found(p.as_os_str().as_bytes()))
}

/// The next program of that name in PATH that isn't us.
fn tool(name: &[u8], env: &Env) -> Real {
    let path = env.path.unwrap_or(b"/usr/local/bin:/usr/bin:/bin");
    for folder in path.split(|&b| b == b':') {
        let file = Path::new(OsStr::from_bytes(if folder.is_empty() { b"." } else { folder }))
            .join(OsStr::from_bytes(name));
        // A tool may be a script, which a shell may not.
        let executable = nix::unistd::access(&file, nix::unistd::AccessFlags::X_OK).is_ok() && file.is_file();
        if executable && note::inspect(&file) != Program::Ourselves {
            return found(file.as_os_str().as_bytes());
        }
    }
    Real::None
}

/// Can we become it without coming back here? A script can't be a shell: its `#!` may name us.
fn suits(path: &Path) -> bool {
    note::inspect(path) == Program::Elf && nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok()
}

fn found(path: &[u8]) -> Real {
    // Kept for the whole run: it is needed until exec.
    CString::new(path).map_or(Real::None, |p| Real::Found(Box::leak(p.into_boxed_c_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_is_found_and_never_a_script_or_nothing() {
        assert!(matches!(find(&Identity::Shell("bash"), &Env::default()), Real::Found(_)));
        let env = Env { real_shell: Some(b"/usr/bin/ldd"), ..Env::default() };
        assert!(matches!(find(&Identity::Shell("bash"), &env), Real::Found(p) if p != c"/usr/bin/ldd"));
        let env = Env { real_shell: Some(b"/bin/dash"), ..Env::default() };
        assert_eq!(find(&Identity::Shell("bash"), &env), Real::Found(c"/bin/dash"));
    }

    #[test]
    fn a_shim_finds_the_next_of_its_name_in_path() {
        let env = Env { path: Some(b"/nowhere:/bin"), ..Env::default() };
        assert_eq!(find(&Identity::Shim(b"ls".to_vec()), &env), Real::Found(c"/bin/ls"));
        assert_eq!(find(&Identity::Shim(b"no-such-tool".to_vec()), &env), Real::None);
    }
}
