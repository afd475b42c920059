//! `agentshctl shims`: a folder of links for PATH, through which single programs get their leaf.

use super::Outcome;
use crate::launcher::note::{self, Program};
use crate::launcher::{identity, shim};
use anyhow::{Context, Result, anyhow};
use std::ffi::{OsStr, OsString};
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Give programs their leaf where no shell is started for each: in persistent shells (OpenHands, SWE-agent, tmux), or where an
/// agent executes them itself.
///
/// A shim is a link with a program's name to agentsh, in a folder that comes first in PATH. It finds the real program behind
/// itself, and starts it in a leaf of its class as a shell's command would be; inside of a call it only steps aside:
///
///   agentshctl shims install ~/.agentsh/shims
///   PATH=~/.agentsh/shims:$PATH
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Make shims in a folder: by default for those of the usual names that PATH has a program for.
    Install {
        /// The folder; it is made if it isn't there.
        folder: PathBuf,
        /// For all usual names, though `command -v NAME` then finds what isn't there.
        #[arg(long, conflicts_with = "names")]
        all: bool,
        /// For these names only, usual or not.
        names: Vec<OsString>,
    },
    /// Print each shim and the program behind it. Exit status 1 if one of them leads nowhere.
    List {
        /// The folder; without it, the usual names.
        folder: Option<PathBuf>,
    },
    /// Remove shims; nothing else is touched, and the folder only if it is empty then.
    Remove {
        /// The folder.
        folder: PathBuf,
        /// These only; by default all.
        names: Vec<OsString>,
    },
}

/// Does it.
pub fn run(args: &Args) -> Result<Outcome> {
    match &args.action {
        Action::Install { folder, all, names } => install(folder, *all, names),
        Action::List { folder: None } => {
            for name in shim::NAMES {
                writeln!(io::stdout(), "{name}")?;
            }
            Ok(Outcome::Fine)
        }
        Action::List { folder: Some(folder) } => list(folder),
        Action::Remove { folder, names } => remove(folder, names),
    }
}

fn install(folder: &Path, all: bool, names: &[OsString]) -> Result<Outcome> {
    if let Some(name) = names.iter().find(|name| !is_name(name)) {
        eprintln!("agentshctl: {}: a shim's name is a program's, without its folder", name.display());
        return Ok(Outcome::Usage);
    }
    if let Some(name) = names.iter().find(|name| is_shell(name)) {
        eprintln!(
            "agentshctl: {}: a shell needs no shim: set SHELL, or see the README's table",
            name.display()
        );
        return Ok(Outcome::Usage);
    }
    let launcher = launcher()?;
    fs::create_dir_all(folder).with_context(|| format!("can't make {}", folder.display()))?;
    let folder = fs::canonicalize(folder).with_context(|| format!("can't find {}", folder.display()))?;
    let usual = || shim::NAMES.iter().map(OsString::from);
    let wanted: Vec<OsString> = match (names, all) {
        ([], true) => usual().collect(),
        ([], false) => usual().filter(|name| real(name, &folder).is_some()).collect(),
        _ => names.to_vec(),
    };
    let (mut made, mut refused) = (0, 0);
    for name in &wanted {
        let path = folder.join(name);
        match fs::symlink_metadata(&path) {
            Ok(_) if !is_shim(&path) => {
                eprintln!("agentshctl: {} is something else, and stays", path.display());
                refused += 1;
                continue;
            }
            _ => put(&launcher, &path)?,
        }
        made += 1;
    }
    let mut out = io::stdout();
    writeln!(out, "{made} shims in {}; in front of PATH they are in force:", folder.display())?;
    writeln!(out, "  export PATH={}:$PATH", folder.display())?;
    Ok(if refused > 0 { Outcome::Finding } else { Outcome::Fine })
}

/// Makes a link, in one step where there is one already: it may be in use.
fn put(launcher: &Path, path: &Path) -> Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    symlink(launcher, &beside)
        .and_then(|()| fs::rename(&beside, path))
        .with_context(|| format!("can't make {}", path.display()))
}

fn list(folder: &Path) -> Result<Outcome> {
    let mut outcome = Outcome::Fine;
    let here = fs::canonicalize(folder).with_context(|| format!("can't find {}", folder.display()))?;
    for path in shims(&here)? {
        let name = path.file_name().unwrap_or_default().to_owned();
        let behind = match (note::inspect(&path).program, real(&name, &here)) {
            (Program::Ourselves, Some(program)) => program.display().to_string(),
            (Program::Ourselves, None) => "no program behind it in PATH".into(),
            _ => format!("leads nowhere: `agentshctl shims install {}` makes it anew", folder.display()),
        };
        if !behind.starts_with('/') {
            outcome = Outcome::Finding;
        }
        writeln!(io::stdout(), "{:<16} {behind}", name.display())?;
    }
    Ok(outcome)
}

fn remove(folder: &Path, names: &[OsString]) -> Result<Outcome> {
    let mut removed = 0;
    for path in shims(folder)? {
        if names.is_empty() || path.file_name().is_some_and(|name| names.iter().any(|wanted| wanted == name))
        {
            fs::remove_file(&path).with_context(|| format!("can't remove {}", path.display()))?;
            removed += 1;
        }
    }
    writeln!(io::stdout(), "{removed} shims removed from {}", folder.display())?;
    match fs::remove_dir(folder) {
        Err(error) if error.kind() != ErrorKind::DirectoryNotEmpty => {
            Err(error).with_context(|| format!("can't remove {}", folder.display()))
        }
        _ => Ok(if removed < names.len() { Outcome::Finding } else { Outcome::Fine }),
    }
}

/// The shims of a folder by name, also those whose agentsh is gone.
fn shims(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("can't read {}", folder.display()))?;
    let mut found: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| is_shim(path)).collect();
    found.sort();
    Ok(found)
}

/// A link to agentsh or to what was one, or a copy of it; but neither agentsh itself nor a shell that it is in the place of.
fn is_shim(path: &Path) -> bool {
    if path.file_name().is_some_and(is_shell) {
        return false;
    }
    let link = fs::read_link(path).ok();
    link.is_some_and(|target| target.file_name() == Some(OsStr::new("agentsh")))
        || note::inspect(path).program == Program::Ourselves
}

/// The program that a shim in this folder stands for.
fn real(name: &OsStr, folder: &Path) -> Option<PathBuf> {
    let path = env::var_os("PATH");
    shim::candidates(name.as_bytes(), path.as_ref().map(|path| path.as_bytes()))
        .find(|program| program.parent() != Some(folder))
}

/// The agentsh beside us, which is what a shim links to.
fn launcher() -> Result<PathBuf> {
    let me = env::current_exe().context("can't tell where agentshctl is")?;
    let launcher = me.with_file_name("agentsh");
    match note::inspect(&launcher).program {
        Program::Ourselves => Ok(launcher),
        _ => Err(anyhow!("{} isn't agentsh: install it beside agentshctl", launcher.display())),
    }
}

fn is_shell(name: &OsStr) -> bool {
    identity::shell_named(name.as_bytes()).is_some()
}

fn is_name(name: &OsStr) -> bool {
    let name = name.as_bytes();
    !name.is_empty() && !name.starts_with(b".") && !name.contains(&b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_shim_is_never_replaced_or_removed() {
        let folder = tempfile::tempdir().unwrap();
        let other = folder.path().join("make");
        fs::write(&other, "#!/bin/sh\n").unwrap();
        symlink("/gone/agentsh", folder.path().join("npm")).unwrap();
        for shell in ["bash", "agentsh"] {
            symlink("/gone/agentsh", folder.path().join(shell)).unwrap();
        }
        assert_eq!(shims(folder.path()).unwrap(), [folder.path().join("npm")]);
        assert_eq!(remove(folder.path(), &[]).unwrap(), Outcome::Fine);
        let is_there = |name| fs::symlink_metadata(folder.path().join(name)).is_ok();
        assert_eq!(["make", "npm", "bash", "agentsh"].map(is_there), [true, false, true, true]);
        assert_eq!(install(folder.path(), false, &["sh".into()]).unwrap(), Outcome::Usage);
    }

    #[test]
    fn a_name_is_a_programs() {
        for bad in ["", ".", "..", "a/b", ".hidden"] {
            assert!(!is_name(OsStr::new(bad)), "{bad}");
        }
        assert!(is_name(OsStr::new("golangci-lint")));
    }
}
