//! What a container's cgroup was like before it was attached, kept on the cgroup itself, so that `detach` can put it back.
//!
//! It is written before anything is changed and removed after everything is put back: whoever was interrupted in between leaves
//! enough for the next one.

use crate::cgroup::dir::Dir;
use crate::cgroup::mark;
use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::fstatat;
use nix::unistd::{Gid, Uid, fchownat};

/// What `attach` changes of a container's own cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Before {
    /// cgroup.subtree_control.
    controllers: Vec<String>,
    /// cgroup.max.descendants; none is `max`.
    descendants: Option<u64>,
    /// Who cgroup.procs belonged to: uid and gid, as the host counts.
    owner: (u32, u32),
    /// memory.oom.group: Kubernetes sets it since 1.28, and then a container that runs out of memory dies with all that is in it.
    oom_group: bool,
}

const VERSION: &str = "2";
/// Without memory.oom.group.
const FIRST_VERSION: &str = "1";
const OOM_GROUP: &str = "memory.oom.group";
/// Controllers' names and a few numbers.
const LONGEST: usize = 512;

impl Before {
    /// Notes how it is now, unless that is noted already, or it has been arranged by somebody else: then that isn't ours to
    /// undo. Only with the lock of the cgroup.
    pub fn note(base: &Dir) -> Result<()> {
        let shown = || base.path().display().to_string();
        let has_oom_group = base.read_u64(OOM_GROUP) == Ok(1);
        if base.mark(mark::BEFORE, &mut [0; LONGEST]).is_ok() || base.has("calls") {
            // Set since, or attached by a version that left it alone.
            return match Before::of(base) {
                Ok(Some(before)) if has_oom_group => Before { oom_group: true, ..before }.keep(base),
                _ => Ok(()),
            };
        }
        let procs = fstatat(base, "cgroup.procs", AtFlags::AT_SYMLINK_NOFOLLOW).with_context(shown)?;
        let before = Before {
            controllers: switched_on(base).with_context(shown)?,
            descendants: base.read_max("cgroup.max.descendants").with_context(shown)?,
            owner: (procs.st_uid, procs.st_gid),
            oom_group: has_oom_group,
        };
        before.keep(base)
    }

    fn keep(&self, base: &Dir) -> Result<()> {
        base.set_mark(mark::BEFORE, self.text().as_bytes()).context("trusted.agentsh.before")?;
        // One call is to die, and not the agent with it.
        if self.oom_group {
            base.write_u64(OOM_GROUP, 0).with_context(|| format!("{}/{OOM_GROUP}", base.path().display()))?;
        }
        Ok(())
    }

    /// What was noted; none if nothing was attached here.
    pub fn of(base: &Dir) -> Result<Option<Before>> {
        let mut buf = [0; LONGEST];
        let text = match base.mark(mark::BEFORE, &mut buf) {
            Err(Errno::ENODATA) => return Ok(None),
            other => other.with_context(|| base.path().display().to_string())?,
        };
        match std::str::from_utf8(text).ok().and_then(Before::parse) {
            Some(before) => Ok(Some(before)),
            None => bail!(
                "{} was attached by another version of agentsh-helper: detach it by that one",
                base.path().display()
            ),
        }
    }

    /// Takes off the controllers that were switched on since. `EBUSY` while a child still hands them on.
    pub fn switch_off(&self, base: &Dir) -> Result<(), Errno> {
        for name in switched_on(base)? {
            if !self.controllers.contains(&name) {
                base.write("cgroup.subtree_control", format!("-{name}").as_bytes())?;
            }
        }
        Ok(())
    }

    /// Puts the rest back, and forgets.
    pub fn restore(&self, base: &Dir) -> Result<()> {
        let shown = || base.path().display().to_string();
        let limit = "cgroup.max.descendants";
        // What the engine had set was left alone, and it may have set something else since.
        if self.descendants.is_none() && base.read_max(limit).with_context(shown)?.is_some() {
            base.write_max(limit, None).with_context(shown)?;
        }
        if self.oom_group {
            base.write_u64(OOM_GROUP, 1).with_context(shown)?;
        }
        let (uid, gid) = (Uid::from_raw(self.owner.0), Gid::from_raw(self.owner.1));
        fchownat(base, "cgroup.procs", Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)
            .with_context(shown)?;
        for name in [mark::SESSION, mark::BEFORE] {
            match base.remove_mark(name) {
                Ok(()) | Err(Errno::ENODATA) => {}
                Err(errno) => return Err(errno).with_context(shown),
            }
        }
        Ok(())
    }

    fn text(&self) -> String {
        let descendants = self.descendants.map_or("max".to_string(), |most| most.to_string());
        let (uid, gid) = self.owner;
        let oom_group = u8::from(self.oom_group);
        format!("{VERSION} {descendants} {uid} {gid} {oom_group} {}", self.controllers.join(" "))
    }

    fn parse(text: &str) -> Option<Before> {
        let mut words = text.split_ascii_whitespace();
        let has_oom_group = match words.next()? {
            VERSION => true,
            FIRST_VERSION => false,
            _ => return None,
        };
        let descendants = match words.next()? {
            "max" => None,
            number => Some(number.parse().ok()?),
        };
        let owner = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let oom_group = has_oom_group && words.next()? == "1";
        Some(Before { controllers: words.map(str::to_owned).collect(), descendants, owner, oom_group })
    }
}

/// The controllers that a cgroup hands on to its children.
pub fn switched_on(dir: &Dir) -> Result<Vec<String>, Errno> {
    let mut buf = [0; LONGEST];
    let text = dir.read("cgroup.subtree_control", &mut buf)?;
    Ok(String::from_utf8_lossy(text).split_ascii_whitespace().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_read_back_and_anything_else_is_another_version_s() {
        for before in [
            Before { controllers: Vec::new(), descendants: None, owner: (0, 0), oom_group: true },
            Before {
                controllers: vec!["cpu".into(), "io".into()],
                descendants: Some(250),
                owner: (1500, 7),
                oom_group: false,
            },
        ] {
            assert_eq!(Before::parse(&before.text()), Some(before));
        }
        let first =
            Before { controllers: vec!["cpu".into()], descendants: None, owner: (0, 0), oom_group: false };
        assert_eq!(Before::parse("1 max 0 0 cpu"), Some(first));
        for broken in ["", "3 max 0 0 0", "2 max 0 0", "1", "1 max 0", "1 many 0 0", "2 max -1 0 0"] {
            assert_eq!(Before::parse(broken), None, "{broken}");
        }
    }
}
