//! What the means of a step leave in its layer without being part of it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::tree;

/// Takes the traces of a step's own means out of its layer: empty files and directories that only served to show
/// something of the host.
pub(super) fn clean_up<'a>(tree: &Path, targets: impl Iterator<Item = &'a Path>) -> io::Result<()> {
    for target in targets {
        let Ok(relative) = target.strip_prefix("/") else { continue };
        let mut at: Option<PathBuf> = Some(relative.to_owned());
        while let Some(path) = at.filter(|path| !path.as_os_str().is_empty()) {
            let here = tree.join(&path);
            let Ok(metadata) = here.symlink_metadata() else { break };
            let removed = if metadata.is_dir() {
                !tree::is_opaque(&here) && fs::remove_dir(&here).is_ok()
            } else {
                path == relative && metadata.is_file() && metadata.len() == 0 && fs::remove_file(&here).is_ok()
            };
            if !removed {
                break;
            }
            at = path.parent().map(Path::to_owned);
        }
    }
    Ok(())
}

/// Removes the empty directory `path` from a layer, or the mark that one was removed.
pub(super) fn forget_dir(tree: &Path, path: &Path) -> io::Result<()> {
    let here = tree.join(path);
    if here.symlink_metadata().is_ok_and(|metadata| tree::is_removal(&metadata)) {
        fs::remove_file(here)?;
        let parent = Path::new("/").join(path.parent().unwrap_or(path));
        return clean_up(tree, std::iter::once(parent.as_path()));
    }
    clean_up(tree, std::iter::once(Path::new("/").join(path).as_path()))
}

/// Removes the directories that only served to make the host's system directories writable.
pub(super) fn prune(tree: &Path) -> io::Result<()> {
    for dir in tree::HOST_DIRS {
        prune_below(&tree.join(dir), &Path::new("/").join(dir), 5)?;
    }
    Ok(())
}

/// Removes directories that are empty here and there on the host, too.
fn prune_below(dir: &Path, host: &Path, depth: usize) -> io::Result<()> {
    if depth == 0 || !host.is_dir() || !dir.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Ok(());
    }
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        prune_below(&dir.join(&name), &host.join(&name), depth - 1)?;
    }
    if !tree::is_opaque(dir) {
        // Fails where there is something in it, which is as well.
        fs::remove_dir(dir).ok();
    }
    Ok(())
}
