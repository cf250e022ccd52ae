//! Links in a source tree: none may lead out of it.

use std::fs;
use std::path::Path;

/// Looks at every link below `root`, and removes those that lead nowhere, so that nobody misses them.
///
/// # Errors
/// The name of a link that leads out.
pub(super) fn check(root: &Path) -> Result<(), String> {
    let name = |path: &Path| path.strip_prefix(root).unwrap_or(path).display().to_string();
    let real_root = fs::canonicalize(root).map_err(|_| name(root))?;
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            let Ok(kind) = entry.file_type() else { return Err(name(&path)) };
            if kind.is_dir() {
                directories.push(path);
            } else if kind.is_symlink() {
                match fs::canonicalize(&path) {
                    Ok(real) if real.starts_with(&real_root) => {}
                    Ok(_) => return Err(name(&path)),
                    Err(_) => fs::remove_file(&path).map_err(|_| name(&path))?,
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_may_lead_anywhere_but_out() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("file"), "x").unwrap();
        symlink("../../file", root.join("a/b/inside")).unwrap();
        symlink("nowhere", root.join("a/dangling")).unwrap();

        check(&root).unwrap();

        assert!(root.join("a/b/inside").exists());
        assert!(fs::symlink_metadata(root.join("a/dangling")).is_err());
        for (place, target) in [("out", "/etc/passwd"), ("a/b/out", "../../.."), ("a/up", "..")] {
            symlink(target, root.join(place)).unwrap();
            match place {
                "a/up" => assert_eq!(check(&root), Ok(())),
                place => assert_eq!(check(&root), Err(place.to_owned())),
            }
            fs::remove_file(root.join(place)).unwrap();
        }
    }
}
