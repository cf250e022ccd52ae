//! The parts of a file system that all sandboxes have in common, below the image's layers.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{ACTOR_HOME, ACTOR_UID, ACTOR_USER, owner, remove_tree};

/// The host's top-level directories that a sandbox shows.
///
/// Nothing else of the host is seen: not `/root` and `/home`, and not `/var` and `/srv` with other programs' data.
pub(super) const SYSTEM_DIRS: [&str; 11] =
    ["usr", "etc", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "opt", "nix", "gnu"];

/// In [`make`]'s directory: what lies below everything else.
pub(super) const ROOT: &str = "root";

/// In [`make`]'s directory: what lies above the host's `/etc`.
pub(super) const ETC: &str = "etc";

/// In [`make`]'s directory: an empty directory where every sandbox puts its root together, in its own mount namespace.
pub(super) const NEW_ROOT: &str = "new-root";

/// One entry below the directory that [`make`] returns.
struct Entry {
    path: String,
    kind: Kind,
}

enum Kind {
    /// With its mode, and whether commands may write to it by default.
    Dir(u32, bool),
    Link(PathBuf),
    File(String),
}

/// Makes the common parts below `parent`, if they are not there, and returns their directory.
///
/// It is named by its content and never changed, since sandboxes of running jobs are mounted on it.
pub(in crate::process) fn make(parent: &Path) -> io::Result<PathBuf> {
    let entries = entries();
    let mut hash = Sha256::new();
    hash.update(format!("{:?}", owner()));
    for entry in &entries {
        let what = match &entry.kind {
            Kind::Dir(mode, writable) => format!("dir {mode:o} {writable}"),
            Kind::Link(target) => format!("link {}", target.display()),
            Kind::File(text) => format!("file {text}"),
        };
        hash.update(format!("{}\0{what}\0", entry.path));
    }
    let name: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let dir = parent.join(format!("base-{name}"));
    if dir.exists() {
        return Ok(dir);
    }
    let temporary = parent.join(format!("tmp-{name}-{}", std::process::id()));
    remove_tree(&temporary)?;
    fs::create_dir_all(&temporary)?;
    for entry in &entries {
        put(&temporary.join(&entry.path), &entry.kind)?;
    }
    match fs::rename(&temporary, &dir) {
        Err(_) if dir.exists() => remove_tree(&temporary)?,
        result => result?,
    }
    Ok(dir)
}

fn entries() -> Vec<Entry> {
    let mut entries = vec![
        Entry { path: ROOT.into(), kind: Kind::Dir(0o755, true) },
        Entry { path: ETC.into(), kind: Kind::Dir(0o755, false) },
        Entry { path: NEW_ROOT.into(), kind: Kind::Dir(0o755, false) },
    ];
    let mut root = |path: &str, kind| entries.push(Entry { path: format!("{ROOT}/{path}"), kind });
    for dir in ["dev", "proc", "sys", "sys/devices", "sys/devices/system", "mnt", "media"] {
        root(dir, Kind::Dir(0o755, false));
    }
    for dir in ["var", "var/cache", "var/lib", "var/log", "var/spool", "run", "run/lock", "home", "root", "srv"] {
        root(dir, Kind::Dir(0o755, true));
    }
    root(ACTOR_HOME.trim_start_matches('/'), Kind::Dir(0o755, true));
    for dir in ["tmp", "var/tmp"] {
        root(dir, Kind::Dir(0o1777, true));
    }
    root("var/run", Kind::Link("/run".into()));
    root("var/lock", Kind::Link("/run/lock".into()));
    for dir in SYSTEM_DIRS {
        let on_host = Path::new("/").join(dir);
        match (fs::read_link(&on_host), on_host.is_dir()) {
            (Ok(target), _) => root(dir, Kind::Link(target)),
            (Err(_), true) => root(dir, Kind::Dir(0o755, false)),
            (Err(_), false) => {}
        }
    }
    // Programs ask for the name of their user; what else is in the host's files is nobody's business.
    let passwd = format!(
        "root:x:0:0:root:/root:/bin/sh\n\
         nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n\
         {ACTOR_USER}:x:{ACTOR_UID}:{ACTOR_UID}::{ACTOR_HOME}:/bin/sh\n"
    );
    let group = format!("root:x:0:\nnogroup:x:65534:\n{ACTOR_USER}:x:{ACTOR_UID}:\n");
    // The last two are there to mount the host's own over them, wherever it keeps them.
    let files = [("passwd", passwd), ("group", group), ("hosts", String::new()), ("resolv.conf", String::new())];
    for (name, text) in files {
        entries.push(Entry { path: format!("{ETC}/{name}"), kind: Kind::File(text) });
    }
    entries
}

fn put(path: &Path, kind: &Kind) -> io::Result<()> {
    match kind {
        Kind::Dir(mode, writable) => {
            fs::create_dir(path)?;
            fs::set_permissions(path, fs::Permissions::from_mode(*mode))?;
            if let Some((uid, gid)) = owner().filter(|_| *writable) {
                chown(path, Some(uid), Some(gid))?;
            }
            Ok(())
        }
        Kind::Link(target) => symlink(target, path),
        Kind::File(text) => {
            fs::write(path, text)?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o644))
        }
    }
}
