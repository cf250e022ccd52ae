//! The file system of a sandbox where overlayfs may not be mounted: the layers are copied, and the copy is mounted over
//! the host's directories, part by part.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, chown, symlink};
use std::path::Path;

use anyhow::{Context as _, Result};
use nix::mount::MsFlags;

use super::base::{ETC, ROOT, SYSTEM_DIRS};
use super::mounts::{Mounts, is_real_dir, mount_fs};
use super::{Sandbox, owner, remove_tree};

/// Copies all layers into the upper directory of `sandbox`, unless something is in it already.
pub(super) fn fill(sandbox: &Sandbox, base: &Path) -> io::Result<()> {
    if fs::read_dir(&sandbox.upper)?.next().is_some() {
        return Ok(());
    }
    copy(&base.join(ROOT), &sandbox.upper)?;
    copy(&base.join(ETC), &sandbox.upper.join("etc"))?;
    for layer in &sandbox.layers {
        copy(layer, &sandbox.upper)?;
    }
    // The root is the upper directory's own, as it would be under overlayfs.
    if let Some((uid, gid)) = owner() {
        chown(&sandbox.upper, Some(uid), Some(gid))?;
    }
    // Places to show parts of the host at, which cannot be made in the host's directories later.
    for bind in &sandbox.binds {
        let target = sandbox.upper.join(bind.target.strip_prefix("/").unwrap_or(&bind.target));
        match bind.source.is_dir() {
            true => fs::create_dir_all(target)?,
            false => {
                target.parent().map_or(Ok(()), fs::create_dir_all)?;
                fs::OpenOptions::new().create(true).append(true).open(target).map(drop)?;
            }
        }
    }
    Ok(())
}

/// Copies the tree `from` over the tree `to`; a mark for a removed file removes.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let meta = fs::symlink_metadata(from)?;
    if meta.is_dir() {
        if !is_real_dir(to) {
            remove(to)?;
            fs::create_dir(to)?;
        }
        for entry in fs::read_dir(from)? {
            let name = entry?.file_name();
            copy(&from.join(&name), &to.join(&name))?;
        }
    } else if meta.is_symlink() {
        remove(to)?;
        symlink(fs::read_link(from)?, to)?;
        return Ok(());
    } else if meta.is_file() {
        remove(to)?;
        fs::copy(from, to)?;
    } else if meta.file_type().is_char_device() && meta.rdev() == 0 {
        return remove(to);
    } else {
        // Sockets, pipes and devices are nothing that an image can bring.
        return Ok(());
    }
    if owner().is_some() {
        chown(to, Some(meta.uid()), Some(meta.gid()))?;
    }
    fs::set_permissions(to, meta.permissions())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => remove_tree(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    }
}

/// Puts the new root together from the filled upper directory.
pub(super) fn mount_copies(mounts: &Mounts<'_>) -> Result<()> {
    let upper = &mounts.spec.sandbox.upper;
    mounts.bind(upper, &mounts.root, true)?;
    for name in SYSTEM_DIRS {
        let host = Path::new("/").join(name);
        let own = upper.join(name);
        if is_real_dir(&host) && is_real_dir(&own) {
            merge(mounts, &host, &own, &mounts.mount_point(name)?)?;
        }
    }
    Ok(())
}

/// Shows at `target` what `host` and `own` hold; `own` wins, and only what is not the host's takes writes.
fn merge(mounts: &Mounts<'_>, host: &Path, own: &Path, target: &Path) -> Result<()> {
    let names = |dir: &Path| -> Result<Vec<_>> {
        let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
        Ok(entries.flatten().map(|entry| entry.file_name()).collect())
    };
    let own_names = names(own)?;
    if own_names.iter().all(|name| is_real_dir(&own.join(name)) && is_real_dir(&host.join(name))) {
        mounts.bind(host, target, false)?;
    } else {
        // The host's directory lacks something to mount on, so a new one lists what both have.
        mount_fs("tmpfs", target, MsFlags::MS_NOSUID | MsFlags::MS_NODEV, "mode=755")?;
        for name in names(host)?.iter().filter(|name| !own_names.contains(name)) {
            show(&host.join(name), &target.join(name), |from, to| mounts.bind(from, to, false))?;
        }
        for name in &own_names {
            let (own, target) = (own.join(name), target.join(name));
            if is_real_dir(&own) && is_real_dir(&host.join(name)) {
                fs::create_dir(&target)?;
            } else {
                show(&own, &target, |from, to| mounts.bind(from, to, true))?;
            }
        }
    }
    for name in own_names.iter().filter(|name| is_real_dir(&own.join(name)) && is_real_dir(&host.join(name))) {
        merge(mounts, &host.join(name), &own.join(name), &target.join(name))?;
    }
    Ok(())
}

fn show(from: &Path, to: &Path, bind: impl Fn(&Path, &Path) -> Result<()>) -> Result<()> {
    let meta = fs::symlink_metadata(from)?;
    if meta.is_symlink() {
        symlink(fs::read_link(from)?, to)?;
        return Ok(());
    }
    if meta.is_dir() {
        fs::create_dir(to)?;
    } else {
        fs::write(to, "")?;
    }
    bind(from, to)
}
