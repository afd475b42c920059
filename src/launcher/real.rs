//! Finding the real program: the shell that we stand in for, the tool behind a shim. Never ourselves.

use super::circle::{self, Entered};
use super::env::Env;
use super::identity::{Identity, basename, own_file};
use super::note::{self, Program, Seen};
use super::shim;
use nix::errno::Errno;
use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where `install.sh --as-bash` keeps an image's own shells.
const DIVERTED: &str = "/usr/libexec/agentsh";
/// Where an installed tree keeps its static shells, if it isn't found from our own path.
const INSTALLED: &str = "/opt/agentsh/libexec";

/// The real program, or why there is none.
#[derive(Debug, PartialEq, Eq)]
pub enum Real {
    /// Its path.
    Found(&'static CStr),
    /// Nothing suitable anywhere: 127.
    None,
    /// What seemed to be it leads back to us again and again: 127.
    Circle,
}

/// Finds it.
pub fn find(
    identity: &Identity,
    env: &Env,
    environment: impl Iterator<Item = &'static [u8]> + Clone,
) -> Real {
    match identity {
        Identity::Shell(name) => shell(name, env),
        Identity::Applet => first([&|| in_tree("busybox"), &|| Some(format!("{INSTALLED}/busybox").into())]),
        Identity::Shim(name) => shim::find(name, env, environment),
    }
}

fn shell(name: &str, env: &Env) -> Real {
    if let Some(named) = env.real_shell.filter(|p| p.starts_with(b"/")) {
        let path = Path::new(OsStr::from_bytes(named));
        match suits(path, note::inspect(path)) {
            // Of a name that is no shell's, or already long at it: it may start a /bin/bash that is us.
            Suits::Surely if is_shells(basename(named)) && !circle::is_suspected() => return found(named),
            Suits::No => {}
            surely_or_not => match circle::enter() {
                Some(Entered::Again) => return found(named),
                Some(Entered::TooOften) => return Real::Circle,
                // It can't be counted here: a small one may start us by forks, for ever.
                None if matches!(surely_or_not, Suits::Surely) && !circle::is_suspected() => {
                    return found(named);
                }
                None => {}
            },
        }
    }
    first([
        &|| Some(format!("{DIVERTED}/{name}").into()),
        &|| Some(format!("/bin/{name}").into()),
        &|| Some(format!("/usr/bin/{name}").into()),
        &|| Some(format!("/usr/local/bin/{name}").into()),
        &|| if env.secure { None } else { in_tree(name) },
        &|| Some(format!("{INSTALLED}/{name}").into()),
    ])
}

fn is_shells(name: &[u8]) -> bool {
    matches!(name, b"bash" | b"sh" | b"dash" | b"ash" | b"busybox" | b"zsh")
}

/// `libexec/NAME` beside the `bin` that our own file is in.
fn in_tree(name: &str) -> Option<PathBuf> {
    let file = Path::new(OsStr::from_bytes(own_file()?));
    Some(file.parent()?.parent()?.join("libexec").join(name))
}

/// The first that suits. Most often it is one of the first two, so the others aren't even named before.
fn first<const N: usize>(places: [&dyn Fn() -> Option<PathBuf>; N]) -> Real {
    let mut perhaps = None;
    for place in places.into_iter().filter_map(|place| place()) {
        match suits(&place, note::inspect_usual(&place)) {
            Suits::Surely => return found(place.as_os_str().as_bytes()),
            Suits::Perhaps => perhaps = perhaps.or(Some(place)),
            Suits::No => {}
        }
    }
    match perhaps.map(|place| (circle::enter(), place)) {
        Some((Some(Entered::Again), place)) => found(place.as_os_str().as_bytes()),
        Some((Some(Entered::TooOften), _)) => Real::Circle,
        _ => Real::None,
    }
}

/// Can we become a program without coming back here?
enum Suits {
    Surely,
    /// It may be a wrapper that starts us, or a copy of us that can't be read.
    Perhaps,
    No,
}

/// A script can't be a shell: its `#!` may name us.
fn suits(path: &Path, seen: Seen) -> Suits {
    let suits = match seen.program {
        Program::Elf => Suits::Surely,
        Program::Small => Suits::Perhaps,
        Program::Unreadable if !is_our_file(path) => Suits::Perhaps,
        Program::Unreadable | Program::Ourselves | Program::Not => return Suits::No,
    };
    if seen.for_everybody {
        return suits;
    }
    match nix::unistd::access(path, nix::unistd::AccessFlags::X_OK) {
        // Where a sandbox won't even say, execve will.
        Ok(()) | Err(Errno::ENOSYS | Errno::EPERM) => suits,
        Err(_) => Suits::No,
    }
}

fn is_our_file(path: &Path) -> bool {
    let file = |path: &Path| std::fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
    file(path) == file(Path::new("/proc/self/exe"))
}

fn found(path: &[u8]) -> Real {
    // Kept for the whole run: it is needed until exec.
    CString::new(path).map_or(Real::None, |p| Real::Found(Box::leak(p.into_boxed_c_str())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::iter;

    #[test]
    fn a_shell_is_found_and_never_a_script_or_nothing() {
        assert!(matches!(find(&Identity::Shell("bash"), &Env::default(), iter::empty()), Real::Found(_)));
        let env = Env { real_shell: Some(b"/usr/bin/ldd"), ..Env::default() };
        assert!(
            matches!(find(&Identity::Shell("bash"), &env, iter::empty()), Real::Found(p) if p != c"/usr/bin/ldd")
        );
        let env = Env { real_shell: Some(b"/bin/dash"), ..Env::default() };
        assert_eq!(find(&Identity::Shell("bash"), &env, iter::empty()), Real::Found(c"/bin/dash"));
    }
}
