//! Standing in for a tool: a link with its name, in a folder that comes early in PATH (`agentshctl shims`).
//!
//! An agent that types its commands into a persistent shell, or executes programs itself, starts no shell for each of them;
//! through such links each gets its leaf all the same. The real program is the next of that name in PATH that isn't us
//! ([`find`]); it is started just as its caller meant it ([`started`]), and its class is that of the command that was
//! typed ([`verdict`]). Inside of a call we only step aside.

use super::circle::{self, Entered};
use super::env::Env;
use super::identity::basename;
use super::note::{self, Program};
use super::real::Real;
use crate::classify::{self, Context, Kind, Verdict};
use crate::sys::args::Args;
use nix::unistd::{AccessFlags, access};
use std::ffi::{CStr, CString, OsStr};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// What `agentshctl shims install` makes links for: programs that test, build, install, run or do git's work, as developers
/// type them. No program that scripts and prompts call by the dozen (grep, cat, sed): those take little, and a leaf has its
/// price; no agents and no shells, which get no leaf.
pub const NAMES: &[&str] = &[
    "ant",
    "apt",
    "apt-get",
    "bazel",
    "bazelisk",
    "bun",
    "bundle",
    "bunx",
    "c++",
    "cabal",
    "cargo",
    "cc",
    "clang",
    "clang++",
    "cmake",
    "composer",
    "conda",
    "ctest",
    "cypress",
    "dart",
    "deno",
    "dnf",
    "dotnet",
    "eslint",
    "flutter",
    "g++",
    "gcc",
    "gem",
    "git",
    "gmake",
    "go",
    "golangci-lint",
    "gradle",
    "hatch",
    "java",
    "javac",
    "jest",
    "just",
    "lerna",
    "make",
    "mamba",
    "meson",
    "mix",
    "mocha",
    "mvn",
    "mypy",
    "ninja",
    "node",
    "nox",
    "npm",
    "npx",
    "nx",
    "pdm",
    "php",
    "phpunit",
    "pip",
    "pip3",
    "pipenv",
    "pipx",
    "playwright",
    "pnpm",
    "poetry",
    "pylint",
    "pyright",
    "pytest",
    "python",
    "python3",
    "rake",
    "rg",
    "rspec",
    "ruby",
    "ruff",
    "rustc",
    "sbt",
    "stack",
    "swift",
    "task",
    "tox",
    "tsc",
    "turbo",
    "uv",
    "uvx",
    "vite",
    "vitest",
    "webpack",
    "yarn",
];

/// These look for themselves in PATH by argv\[0\] (for what is installed beside them: a virtual environment, gcc's compilers, cmake's
/// modules), and would find the link. They get the path that they were found at, by which they find what they would have found
/// without us.
const FIND_THEMSELVES: &[&[u8]] = &[
    b"python", b"python2", b"python3", b"pypy", b"pypy3", b"cc", b"c++", b"gcc", b"g++", b"cmake", b"ctest",
];
/// What ccache stands in for.
const COMPILERS: &[&[u8]] = &[b"cc", b"c++", b"gcc", b"g++", b"clang", b"clang++"];
/// Programs that run a script: what that is counts where it is an agent.
const INTERPRETERS: &[&[u8]] = &[b"python", b"python3", b"node", b"bun", b"deno", b"ruby"];

/// What runs scripts that don't say by what.
const SHELL: &CStr = c"/bin/sh";

/// Is this the name of a shim?
pub fn is_known(name: &[u8]) -> bool {
    NAMES.iter().any(|known| known.as_bytes() == name)
}

/// The real program behind a shim: the first of that name in PATH that isn't us. It may itself be a wrapper that looks
/// for the next one behind itself, and finds us: then the last one is taken, after a while.
pub fn find(name: &[u8], env: &Env, environment: impl Iterator<Item = &'static [u8]> + Clone) -> Real {
    let mut all = candidates(name, env.path).filter(|file| !hands_on(file, environment.clone()));
    let Some(first) = all.next() else { return Real::None };
    let circles = match circle::enter() {
        Some(Entered::Again) => false,
        Some(Entered::TooOften) => true,
        None => circle::is_suspected(),
    };
    let chosen = if !circles {
        first
    } else if let Some(last) = all.last() {
        circle::leave();
        last
    } else {
        return Real::Circle;
    };
    CString::new(chosen.as_os_str().as_bytes())
        .map_or(Real::None, |path| Real::Found(Box::leak(path.into_boxed_c_str())))
}

/// Is it one of those shims of pyenv, rbenv and their likes that hand on to the next of their name in PATH: to us, if we are first
/// there? They do where `PYENV_VERSION` is `system`, which they set to what they have found in their files, and so they say that
/// they have been asked. (<https://github.com/pyenv/pyenv>: libexec/pyenv-exec, pyenv-which; rbenv, nodenv, goenv … come from the
/// same source.)
fn hands_on(file: &Path, environment: impl Iterator<Item = &'static [u8]> + Clone) -> bool {
    let folder = file.parent().map_or(&b""[..], |folder| folder.as_os_str().as_bytes());
    let Some(root) = folder.strip_suffix(b"/shims") else { return false };
    environment.clone().any(|entry| {
        let Some((manager, value)) = split_at_text(entry, b"ENV_ROOT=") else { return false };
        let says_so = |entry: &[u8]| split_at_text(entry, b"ENV_VERSION=") == Some((manager, b"system"));
        value == root && environment.clone().any(says_so)
    })
}

/// What stands before the first appearance of a text, and what behind it.
fn split_at_text<'a>(entry: &'a [u8], text: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = entry.windows(text.len()).position(|part| part == text)?;
    Some((&entry[..at], &entry[at + text.len()..]))
}

/// All programs of a name in PATH but ourselves, as a shell looks for them.
pub fn candidates(name: &[u8], path: Option<&[u8]>) -> impl Iterator<Item = PathBuf> {
    let path = path.unwrap_or(b"/usr/local/bin:/usr/bin:/bin");
    path.split(|&b| b == b':').filter_map(|folder| {
        let folder = if folder.is_empty() { b"." } else { folder };
        let file = Path::new(OsStr::from_bytes(folder)).join(OsStr::from_bytes(name));
        // A tool may be a script, which a shell may not.
        let executable = access(&file, AccessFlags::X_OK).is_ok() && file.is_file();
        (executable && note::inspect(&file).program != Program::Ourselves).then_some(file)
    })
}

/// What is to be executed, and with which arguments: the real program and our own, but for those that look for themselves, for
/// ccache, and for scripts without a `#!` line, which whoever looks for programs in PATH hands to the shell.
pub fn started(name: &[u8], program: &'static CStr, args: Args, env: &Env) -> (&'static CStr, Args) {
    if let Some((ccache, compiler)) = cached(name, program, env) {
        return (ccache, args.behind(&[ccache, compiler]));
    }
    if is_plain_script(program) {
        return (SHELL, args.behind(&[SHELL, program]));
    }
    if is_one_of(FIND_THEMSELVES, name) && args.get(0).is_some_and(leads_to_us) {
        return (program, args.behind(&[program]));
    }
    (program, args)
}

/// ccache under a compiler's name takes the first of that name in PATH that isn't ccache: us, whose date isn't the compiler's, and who
/// would start it anew. By its own name it is told which one: the one that it would have found. (<https://ccache.dev/manual>: "Run
/// modes", CCACHE_PATH.)
fn cached(name: &[u8], program: &CStr, env: &Env) -> Option<(&'static CStr, &'static CStr)> {
    if env.ccache_told.is_some() || !is_one_of(COMPILERS, name) {
        return None;
    }
    let itself = |file: &Path| fs::canonicalize(file).ok().filter(|file| file.ends_with("ccache"));
    let ccache = itself(Path::new(OsStr::from_bytes(program.to_bytes())))?;
    let compiler = candidates(name, env.path).find(|file| itself(file).is_none())?;
    let kept = |path: PathBuf| {
        Some(&*Box::leak(CString::new(path.into_os_string().into_vec()).ok()?.into_boxed_c_str()))
    };
    Some((kept(ccache)?, kept(std::path::absolute(compiler).ok()?)?))
}

/// Would a program that looks for itself by this argv\[0\] find the shim? By a word it does, and by the shim's own path, which
/// `command -v` tells; the path of another program means that one.
fn leads_to_us(argv0: &CStr) -> bool {
    let path = argv0.to_bytes();
    !path.contains(&b'/') || note::inspect(Path::new(OsStr::from_bytes(path))).program == Program::Ourselves
}

/// A text file without `#!`, which the kernel refuses; as bash tells it, by its first line.
fn is_plain_script(program: &CStr) -> bool {
    let mut start = [0; 80];
    let path = Path::new(OsStr::from_bytes(program.to_bytes()));
    let Ok(n) = File::open(path).and_then(|mut file| file.read(&mut start)) else { return false };
    let start = &start[..n];
    let line = start.split(|&b| b == b'\n').next().unwrap_or(start);
    !start.starts_with(b"#!") && !start.starts_with(b"\x7fELF") && !line.contains(&0)
}

/// The class and kind of what was typed.
pub fn verdict(name: &[u8], args: &[&[u8]], context: &Context<'_>) -> Verdict {
    let mut argv = vec![name];
    argv.extend(args.iter().skip(1));
    if is_one_of(INTERPRETERS, name)
        && let Some(script) = argv[1..].iter().find(|arg| !arg.starts_with(b"-"))
    {
        let script = basename(script);
        let script = script.split(|&b| b == b'.').next().unwrap_or(script);
        let of_script = classify::classify_argv(&[script], context);
        if of_script.kind == Kind::Agent {
            return of_script;
        }
    }
    classify::classify_argv(&argv, context)
}

/// The command as it could have been typed: what the log has.
pub fn command(name: &[u8], args: &[&[u8]]) -> Vec<u8> {
    let mut command = name.to_vec();
    for arg in args.iter().skip(1) {
        command.push(b' ');
        let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_./:=,+@%^".contains(b) || !b.is_ascii();
        if !arg.is_empty() && arg.iter().all(plain) {
            command.extend_from_slice(arg);
            continue;
        }
        command.push(b'\'');
        for part in arg.split_inclusive(|&b| b == b'\'') {
            match part.strip_suffix(b"'") {
                Some(before) => command.extend([before, br"'\''"].concat()),
                None => command.extend_from_slice(part),
            }
        }
        command.push(b'\'');
    }
    command
}

/// Is it one of these, perhaps with a version behind it (`python3.11`)?
fn is_one_of(names: &[&[u8]], name: &[u8]) -> bool {
    let plain = name.split(|&b| b == b'.').next().unwrap_or(name);
    names.contains(&plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class::Class;

    const CONTEXT: Context<'static> = Context { rules: &[] };

    #[test]
    fn names_are_sorted_and_the_classifier_knows_each_of_them() {
        assert!(NAMES.is_sorted());
        let unknown = verdict(b"no-such-tool-at-all", &[b"", b"pytest"], &CONTEXT).rule.name;
        for name in NAMES {
            let verdict = verdict(name.as_bytes(), &[b"", b"pytest"], &CONTEXT);
            assert_eq!(verdict.kind, Kind::Command, "{name}");
            assert_ne!(verdict.rule.name, unknown, "{name} is not known to any rule");
        }
    }

    #[test]
    fn an_agent_that_an_interpreter_runs_is_an_agent() {
        let kind = |argv: &[&[u8]]| verdict(argv[0], argv, &CONTEXT).kind;
        assert_eq!(kind(&[b"node", b"/usr/local/bin/claude", b"-p"]), Kind::Agent);
        assert_eq!(kind(&[b"node", b"--no-warnings", b"/opt/codex.js"]), Kind::Agent);
        assert_eq!(kind(&[b"node", b"build.js", b"claude"]), Kind::Command);
        assert_eq!(kind(&[b"python3", b"-c", b"print(1)"]), Kind::Command);
    }

    #[test]
    fn the_class_is_that_of_what_was_typed() {
        let class = |argv: &[&[u8]]| verdict(argv[0], argv, &CONTEXT).class;
        assert_eq!(class(&[b"npm", b"test"]), Class::Test);
        assert_eq!(class(&[b"npm", b"ci"]), Class::Install);
        assert_eq!(class(&[b"python3", b"-m", b"pytest", b"-q"]), Class::Test);
        assert_eq!(class(&[b"git", b"status"]), Class::Git);
        assert_eq!(class(&[b"make", b"-j2", b"all;npm test"]), Class::Build);
    }

    #[test]
    fn the_log_has_a_command_that_could_be_typed_again() {
        let text = |argv: &[&[u8]]| String::from_utf8(command(argv[0], argv)).unwrap();
        assert_eq!(text(&[b"git", b"commit", b"-m", b"it's done"]), r"git commit -m 'it'\''s done'");
        assert_eq!(text(&[b"make", b"A=b", b"", b"x/y.z"]), "make A=b '' x/y.z");
    }

    #[test]
    fn the_next_of_its_name_in_path_is_found_and_a_folder_or_nothing_is_not() {
        let find = |name, path| find(name, &Env { path: Some(path), ..Env::default() }, std::iter::empty());
        assert_eq!(find(b"ls", b"/nowhere:/bin:/usr/bin"), Real::Found(c"/bin/ls"));
        assert_eq!(find(b"no-such-tool", b"/bin"), Real::None);
        assert_eq!(find(b"bin", b"/usr:/"), Real::None);
    }

    #[test]
    fn a_version_manager_that_hands_on_to_the_next_is_passed_over_and_one_that_has_the_version_is_not() {
        let hands_on = |file: &str, environment: [&'static [u8]; 2]| {
            super::hands_on(Path::new(file), environment.into_iter())
        };
        let root = b"PYENV_ROOT=/root/.pyenv";
        assert!(hands_on("/root/.pyenv/shims/python", [b"PYENV_VERSION=system", root]));
        for (file, environment) in [
            ("/root/.pyenv/shims/python", [b"PYENV_VERSION=3.11" as &[u8], root]),
            ("/root/.pyenv/shims/python", [b"RBENV_VERSION=system", root]),
            ("/root/.pyenv/shims/python", [b"PYENV_VERSION=3.11:system", root]),
            ("/root/.rbenv/shims/python", [b"PYENV_VERSION=system", root]),
            ("/root/.pyenv/bin/python", [b"PYENV_VERSION=system", root]),
            ("python", [b"PYENV_VERSION=system", root]),
        ] {
            assert!(!hands_on(file, environment), "{file}");
        }
    }
}
