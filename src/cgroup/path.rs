//! Paths of cgroups as the kernel writes them: absolute, without `//`, `.` or a slash at the end. Compared byte by byte, as every
//! call does so a dozen times, and taking them apart into components takes longer than all the rest of finding the session.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What is left of `path` below `base`: empty if they are the same; none if it doesn't lie there.
pub fn below<'p>(path: &'p Path, base: &Path) -> Option<&'p Path> {
    let (path, base) = (bytes(path), bytes(base));
    let rest = path.strip_prefix(base)?;
    match rest.strip_prefix(b"/") {
        Some(rest) => Some(of(rest)),
        None if rest.is_empty() || base.ends_with(b"/") => Some(of(rest)),
        None => None,
    }
}

/// Is it `base` or below?
pub fn is_within(path: &Path, base: &Path) -> bool {
    below(path, base).is_some()
}

/// The one above; none of the root.
pub fn parent(path: &Path) -> Option<&Path> {
    let path = bytes(path);
    let slash = path.iter().rposition(|&b| b == b'/').filter(|_| path.len() > 1)?;
    Some(of(&path[..slash.max(1)]))
}

/// Itself, the one above, and so on to the root.
pub fn ancestors(path: &Path) -> impl Iterator<Item = &Path> {
    std::iter::successors(Some(path), |path| parent(path))
}

/// Does it climb out of what it begins in? `/..` stands for what lies above a cgroup namespace's root.
pub fn climbs(path: &Path) -> bool {
    bytes(path).split(|&b| b == b'/').any(|component| component == b"..")
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

fn of(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn below_and_parent_of_some_paths() {
        let p = Path::new;
        assert_eq!(below(p("/a/b/c"), p("/a")), Some(p("b/c")));
        assert_eq!(below(p("/a"), p("/a")), Some(p("")));
        assert_eq!(below(p("/a/b"), p("/")), Some(p("a/b")));
        assert_eq!(below(p("/"), p("/")), Some(p("")));
        assert_eq!(below(p("/ab"), p("/a")), None);
        assert_eq!((parent(p("/a/b")), parent(p("/a")), parent(p("/"))), (Some(p("/a")), Some(p("/")), None));
        assert!(climbs(p("/../a")) && climbs(p("a/..")) && !climbs(p("/a..b/..c")));
    }

    proptest! {
        #[test]
        fn they_say_what_the_standard_library_says(a in "(/[a-c.]{1,2}){0,4}", b in "(/[a-c.]{1,2}){0,4}") {
            let normal = |text: &str| match text.split('/').filter(|c| *c != ".").collect::<Vec<_>>().join("/") {
                empty if empty.is_empty() => "/".to_owned(),
                path => path,
            };
            let (a, b) = (normal(&a), normal(&b));
            let (a, b) = (Path::new(&a), Path::new(&b));
            prop_assert_eq!(below(a, b), a.strip_prefix(b).ok());
            prop_assert_eq!(parent(a), a.parent());
            prop_assert!(ancestors(a).eq(a.ancestors()));
            prop_assert_eq!(climbs(a), a.components().any(|c| c == std::path::Component::ParentDir));
        }
    }
}
