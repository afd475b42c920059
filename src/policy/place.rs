//! Where policies are: the layers' files, the workspace, the compiled ones; and whose files are believed.

use super::compiled::{Layer, Source, Stamp};
use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};
use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The name of a workspace's policy.
pub const WORKSPACE_FILE: &str = ".agentsh.yaml";
/// No cwd is deeper than that many levels, for us; the walk is a stat for each.
const MOST_LEVELS: usize = 64;

/// What the choice of a policy depends on.
#[derive(Clone, Debug)]
pub struct LoadEnv {
    /// The working directory; none if it can't be told (deleted, unreadable).
    pub cwd: Option<PathBuf>,
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// `XDG_CACHE_HOME`.
    pub xdg_cache: Option<PathBuf>,
    /// `AGENTSH_POLICY`.
    pub policy: Option<PathBuf>,
    /// The effective uid.
    pub uid: u32,
    /// The folder of the running program.
    pub exe_dir: Option<PathBuf>,
    /// /etc/agentsh/policy.d
    pub folder: PathBuf,
    /// /run/agentsh/policy
    pub run: PathBuf,
    /// Root's caches, the preferred one first.
    pub root_caches: Vec<PathBuf>,
}

impl LoadEnv {
    /// Of nothing but the usual places: what holds under AT_SECURE.
    pub fn bare(uid: u32) -> LoadEnv {
        LoadEnv {
            cwd: None,
            home: None,
            xdg_cache: None,
            policy: None,
            uid,
            exe_dir: None,
            folder: "/etc/agentsh/policy.d".into(),
            run: "/run/agentsh/policy".into(),
            root_caches: vec!["/var/cache/agentsh".into(), "/run/agentsh/cache".into()],
        }
    }

    /// Of this process: its environment, cwd and uid.
    pub fn of_process() -> LoadEnv {
        let absolute = |name: &str| -> Option<PathBuf> {
            std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
        };
        let policy = std::env::var_os("AGENTSH_POLICY").filter(|path| !path.is_empty()).map(PathBuf::from);
        LoadEnv {
            policy,
            cwd: std::env::current_dir().ok(),
            home: absolute("HOME"),
            xdg_cache: absolute("XDG_CACHE_HOME"),
            exe_dir: std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_path_buf)),
            ..LoadEnv::bare(nix::unistd::geteuid().as_raw())
        }
    }

    /// The file that `AGENTSH_POLICY` names; relative to the working directory, as any name that a caller gives.
    pub fn named_policy(&self) -> Option<PathBuf> {
        let path = self.policy.as_ref().filter(|path| !path.as_os_str().is_empty())?;
        Some(self.cwd.as_ref().map_or_else(|| path.clone(), |cwd| cwd.join(path)))
    }

    /// Where compiled policies are kept, the preferred place first. Root's are never in a place that a variable
    /// names: `sudo -E` hands on the user's.
    pub fn caches(&self) -> Vec<PathBuf> {
        if self.uid == 0 {
            return self.root_caches.clone();
        }
        let user = self.xdg_cache.clone().or_else(|| self.home.as_ref().map(|home| home.join(".cache")));
        user.map(|cache| vec![cache.join("agentsh")]).unwrap_or_default()
    }

    /// Can a compiled policy be kept anywhere? Otherwise there's no use in making one, call after call.
    pub fn can_keep(&self) -> bool {
        let writable = |cache: &PathBuf| {
            // What isn't there yet is made.
            let there = cache.ancestors().find(|folder| folder.exists());
            // Where a sandbox refuses the question it is tried.
            let may = |folder| {
                matches!(access(folder, AccessFlags::W_OK), Ok(()) | Err(Errno::ENOSYS | Errno::EPERM))
            };
            there.is_some_and(may)
        };
        self.caches().iter().any(writable)
    }

    /// `agentshctl`, beside this program or where it is installed.
    pub fn compiler(&self) -> Option<PathBuf> {
        let beside = self.exe_dir.as_deref();
        let installed = Path::new("/opt/agentsh/bin");
        beside.into_iter().chain([installed]).map(|dir| dir.join("agentshctl")).find(|path| path.is_file())
    }

    /// The workspace's file: in cwd or in the nearest folder above that has one, below `/` and not above `$HOME`.
    /// An error if there is one that can't be used.
    pub fn workspace(&self) -> Result<Option<PathBuf>, String> {
        let Some(cwd) = &self.cwd else { return Ok(None) };
        let end = self.home.as_deref().filter(|home| home.as_os_str() != "/").and_then(Path::parent);
        for (level, dir) in cwd.ancestors().take(MOST_LEVELS).enumerate() {
            if level > 0 && (dir.as_os_str() == "/" || Some(dir) == end) {
                break;
            }
            let file = dir.join(WORKSPACE_FILE);
            if exists(&file)
                && let Ok(found) = fs::symlink_metadata(&file)
            {
                return self.usable(&file, &found).map(|()| Some(file));
            }
        }
        Ok(None)
    }

    /// A file that anybody may have put there (/tmp) must not decide about this caller's commands.
    fn usable(&self, file: &Path, found: &Metadata) -> Result<(), String> {
        let name = file.display();
        if !found.is_file() {
            return Err(format!("{name}: not a regular file, so it is ignored; put the policy itself there"));
        }
        if file.to_str().is_none() {
            return Err(format!("{name}: ignored, as its path is not UTF-8"));
        }
        let owner = found.uid();
        let of_folder =
            || file.parent().and_then(|dir| fs::metadata(dir).ok()).is_some_and(|d| d.uid() == owner);
        if owner == self.uid || owner == 0 || of_folder() {
            return Ok(());
        }
        Err(format!(
            "{name}: ignored, as it belongs to uid {owner}, who is neither you nor the owner of its folder"
        ))
    }
}

/// Is there anything of this name? Mostly there isn't, and the standard library then asks the kernel twice.
pub fn exists(path: &Path) -> bool {
    nix::sys::stat::lstat(path).is_ok()
}

/// What a policy is compiled from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inputs {
    /// What lies below the workspace's file.
    pub base: Base,
    /// The workspace's file.
    pub workspace: Option<PathBuf>,
}

/// What lies below the workspace's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// The built-in policy alone.
    Builtin,
    /// The built-in policy and the folder's files.
    Folder(PathBuf),
    /// The built-in policy and this file (`AGENTSH_POLICY`).
    Yaml(PathBuf),
    /// A compiled policy.
    Compiled(PathBuf),
}

impl Inputs {
    /// What tells them from other inputs.
    pub fn key(&self) -> String {
        let (kind, path) = match &self.base {
            Base::Builtin => ("builtin", Path::new("")),
            Base::Folder(path) => ("folder", path.as_path()),
            Base::Yaml(path) => ("yaml", path.as_path()),
            Base::Compiled(path) => ("compiled", path.as_path()),
        };
        let workspace = self.workspace.as_deref().unwrap_or(Path::new(""));
        format!("{kind} {}\n{}", path.display(), workspace.display())
    }

    /// The name of the compiled file, in a cache.
    pub fn file_name(&self) -> OsString {
        // FNV-1a: it only has to spread; the key itself is compared when the file is read.
        let hash = self.key().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |state, byte| {
            (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        format!("policy-{hash:016x}").into()
    }

    /// The name of the note of a failed compilation, in a cache.
    pub fn failure_name(&self) -> OsString {
        let mut name = self.file_name();
        name.push(".failed");
        name
    }
}

impl Stamp {
    /// Of a file.
    pub fn of(meta: &Metadata) -> Stamp {
        Stamp {
            dev: meta.dev(),
            ino: meta.ino(),
            mtime_ns: meta.mtime().saturating_mul(1_000_000_000).saturating_add(meta.mtime_nsec()),
            size: meta.size(),
        }
    }
}

/// How what was read looks now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Look {
    /// As it did.
    Same,
    /// As it did, but it was read so soon after a change that another one may not have shown.
    Unsure,
    /// Otherwise.
    Changed,
}

/// The mtime of a file that was read too soon after a change to be told from its next change.
pub const UNSURE_MTIME: i64 = i64::MIN;

/// Does everything look as it did? A workspace's file is not followed if it is a symlink, an operator's is.
pub fn look(watched: &[Source]) -> Look {
    let one = |source: &Source| {
        let meta = match source.layer {
            Layer::Workspace => fs::symlink_metadata(&source.path),
            _ => fs::metadata(&source.path),
        };
        let now = meta.ok().map(|meta| Stamp::of(&meta));
        match (now, source.stamp) {
            (now, then) if now == then => Look::Same,
            (Some(now), Some(then)) if Stamp { mtime_ns: UNSURE_MTIME, ..now } == then => Look::Unsure,
            _ => Look::Changed,
        }
    };
    watched.iter().map(one).max().unwrap_or(Look::Same)
}

/// Whose files are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Believe {
    /// Anybody's: the caller named the file.
    Named,
    /// This uid's or root's, and writable for nobody else, and no symlink.
    Own(u32),
}

/// Opens a regular file without waiting (a FIFO would) and reads it.
///
/// # Errors
/// What the kernel said; PermissionDenied if the file isn't to be believed, InvalidData if it is larger than `most`
/// or no regular file.
pub fn read(path: &Path, believe: Believe, most: u64) -> io::Result<Vec<u8>> {
    let (mut file, meta) = open(path, believe)?;
    if meta.size() > most {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{} bytes, at most {most} are read", meta.size()),
        ));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(meta.size()).unwrap_or(0) + 1);
    // One byte more than allowed tells a file that has grown since.
    (&mut file).take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("more than {most} bytes")));
    }
    Ok(bytes)
}

/// Opens a regular file without waiting.
///
/// # Errors
/// As [`read`].
pub fn open(path: &Path, believe: Believe) -> io::Result<(File, Metadata)> {
    let nofollow = if believe == Believe::Named { 0 } else { libc::O_NOFOLLOW };
    let flags = nofollow | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a regular file"));
    }
    if let Believe::Own(uid) = believe {
        let foreign = meta.uid() != uid && meta.uid() != 0;
        if foreign || meta.mode() & 0o022 != 0 {
            let whose = format!(
                "owner {}, mode {:o}: it must be yours or root's, and writable for nobody else",
                meta.uid(),
                meta.mode() & 0o7777
            );
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, whose));
        }
    }
    Ok((file, meta))
}
