//! Paths that stay where they belong.

use std::path::{Component, Path, PathBuf};

/// Longest path that a source may have.
const MAX_PATH: usize = 1024;

/// `name` as a clean relative path below some root; `None` if it is absolute, leaves the root, or is no path at all.
pub(crate) fn inside(name: &str) -> Option<PathBuf> {
    // Windows clients should send slashes (`VER-2`); a backslash is not read as one, so `..\x` stays a harmless name.
    if name.len() > MAX_PATH || name.contains('\0') {
        return None;
    }
    resolve(Path::new(""), Path::new(name)).filter(|path| !path.as_os_str().is_empty())
}

/// Where `path` leads from the directory `from` below some root, without looking at any disk; `None` if out of the root.
pub(crate) fn resolve(from: &Path, path: &Path) -> Option<PathBuf> {
    let mut resolved = from.to_owned();
    for component in path.components() {
        match component {
            Component::Normal(part) => resolved.push(part),
            Component::CurDir => {}
            Component::ParentDir => {
                if !resolved.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(resolved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_root_are_refused() {
        for (name, expected) in [
            ("main.js", Some("main.js")),
            ("src/./main.js", Some("src/main.js")),
            ("./a//b", Some("a/b")),
            ("src/../main.js", Some("main.js")),
            ("..\\x", Some("..\\x")),
            ("", None),
            (".", None),
            ("..", None),
            ("../x", None),
            ("a/../../x", None),
            ("/etc/passwd", None),
            ("a\0b", None),
        ] {
            assert_eq!(inside(name), expected.map(PathBuf::from), "{name:?}");
        }
        assert_eq!(inside(&"x/".repeat(600)), None);
    }

    #[test]
    fn relative_paths_are_followed_from_where_they_stand() {
        let from = Path::new(".actor");

        assert_eq!(resolve(from, Path::new("../README.md")), Some("README.md".into()));
        assert_eq!(resolve(from, Path::new("./input.json")), Some(".actor/input.json".into()));
        assert_eq!(resolve(from, Path::new("../../x")), None);
    }
}
