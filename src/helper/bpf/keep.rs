//! Putting new programs in the place of old ones that are pinned: their maps go on where they have the same shape, and
//! a new link is at work before the old one ends.

use super::pins::{self, Pins};
use anyhow::{Context, Result};
use libbpf_rs::{Link, MapCore, MapHandle, MapMut, OpenMapMut};

/// Takes over the map that is pinned as `name`, with what it holds, if there is one and it has the same shape.
pub fn take_over(map: &mut OpenMapMut<'_>, name: &str) -> Result<bool> {
    let path = pins::map(name);
    let Ok(old) = MapHandle::from_pinned_path(&path) else { return Ok(false) };
    let shape = (map.map_type(), map.key_size(), map.value_size(), map.max_entries());
    if shape != (old.map_type(), old.key_size(), old.value_size(), old.max_entries()) {
        return Ok(false);
    }
    map.reuse_pinned_map(&path).with_context(|| format!("taking over {}", path.display()))?;
    Ok(true)
}

impl Pins {
    /// Pins a map unless it was taken over, in the place of any other of that name.
    pub fn keep_map(&self, map: &mut MapMut<'_>, name: &str, taken_over: bool) -> Result<()> {
        if taken_over {
            return Ok(());
        }
        let path = pins::map(name);
        if path.exists() {
            std::fs::remove_file(&path).with_context(|| format!("{} can't be removed", path.display()))?;
        }
        map.pin(&path).with_context(|| format!("pinning {}", path.display()))
    }

    /// Pins a link that is at work, in the place of any other of that name, which ends by that.
    pub fn keep_link(&self, link: &mut Link, name: &str) -> Result<()> {
        let (path, fresh) = (pins::link(name), pins::link(&format!("{name}_new")));
        if fresh.exists() {
            std::fs::remove_file(&fresh).with_context(|| format!("{} can't be removed", fresh.display()))?;
        }
        link.pin(&fresh).with_context(|| format!("pinning {}", fresh.display()))?;
        std::fs::rename(&fresh, &path).with_context(|| format!("{} can't be renamed", fresh.display()))
    }

    /// Removes those pins of a part's links that aren't among `names`: the new programs haven't got them.
    pub fn keep_links_only(&self, part: &str, names: &[String]) -> Result<()> {
        for name in pins::links().filter(|name| pins::is_of(name, part) && !names.contains(name)) {
            let path = pins::link(&name);
            std::fs::remove_file(&path).with_context(|| format!("{} can't be removed", path.display()))?;
        }
        Ok(())
    }
}
