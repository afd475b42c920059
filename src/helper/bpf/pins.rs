//! Where what is loaded is held: /sys/fs/bpf/agentsh. A pin keeps its link, map or program for as long as it is there,
//! whoever made it.

use anyhow::{Context, Result, bail};
use libbpf_rs::Link;
use libbpf_rs::query::LinkTypeInfo;
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use std::fs::{DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

const BPFFS: &str = "/sys/fs/bpf";
const ROOT: &str = "/sys/fs/bpf/agentsh";

/// The pins, locked: one helper at a time loads or unloads.
pub struct Pins {
    /// Holds the lock.
    _lock: nix::fcntl::Flock<File>,
}

/// The pin of a link: `links/NAME`.
pub fn link(name: &str) -> PathBuf {
    Path::new(ROOT).join("links").join(name)
}

/// The pin of a map: `maps/NAME`.
pub fn map(name: &str) -> PathBuf {
    Path::new(ROOT).join("maps").join(name)
}

/// The names of all links that are pinned.
pub fn links() -> impl Iterator<Item = String> {
    let entries = std::fs::read_dir(Path::new(ROOT).join("links")).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned())
}

/// Whether a pin is of this part: its name is `part` or begins with `part_` (bpffs allows no dots).
pub fn is_of(name: &str, part: &str) -> bool {
    name == part || name.strip_prefix(part).is_some_and(|rest| rest.starts_with('_'))
}

/// Whether the link is there and still attached to something. One of sched_ext's is even when the kernel has ejected the
/// scheduler: that is told by sysfs.
pub fn is_at_work(name: &str) -> bool {
    let info = Link::open(link(name)).and_then(|link| link.info());
    info.is_ok_and(|info| !matches!(info.info, LinkTypeInfo::StructOps(it) if it.map_id == 0))
}

/// Whether anything is pinned.
pub fn any() -> bool {
    Path::new(ROOT).exists()
}

impl Pins {
    /// Makes the folders, root's alone, and waits for another helper to be done with them.
    pub fn make() -> Result<Self> {
        match statfs(BPFFS) {
            Ok(found) if found.filesystem_type() == BPF_FS_MAGIC => {}
            Ok(_) => bail!("{BPFFS} isn't a BPF file system: mount -t bpf bpf {BPFFS}"),
            Err(error) => bail!("{BPFFS}: {error}: mount -t bpf bpf {BPFFS}"),
        }
        for folder in ["", "links", "maps"] {
            let folder = Path::new(ROOT).join(folder);
            match DirBuilder::new().mode(0o700).create(&folder) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    return Err(error).with_context(|| format!("{} can't be made", folder.display()));
                }
                _ => {}
            }
        }
        Self::lock()
    }

    fn lock() -> Result<Self> {
        let folder = File::open(ROOT).with_context(|| ROOT.to_string())?;
        let lock = nix::fcntl::Flock::lock(folder, nix::fcntl::FlockArg::LockExclusive)
            .map_err(|(_, errno)| errno)
            .with_context(|| format!("{ROOT} can't be locked"))?;
        Ok(Self { _lock: lock })
    }

    /// Removes every pin and the folders. What they held ends as soon as nothing else holds it.
    pub fn remove(self) -> Result<()> {
        std::fs::remove_dir_all(ROOT).with_context(|| format!("{ROOT} can't be removed"))
    }

    /// Removes the pins of one part.
    pub fn remove_part(&self, part: &str) -> Result<()> {
        for folder in ["links", "maps"] {
            let folder = Path::new(ROOT).join(folder);
            let entries = std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
            for entry in entries.flatten() {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                if is_of(&name, part) {
                    std::fs::remove_file(entry.path())
                        .with_context(|| format!("{} can't be removed", entry.path().display()))?;
                }
            }
        }
        Ok(())
    }
}
