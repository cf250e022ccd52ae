//! Several layers seen as the one tree that a command would see, without mounting anything.
//!
//! Every step down looks at what is really there and never lets the kernel follow a link, so nothing that an image or a
//! build context contains leads out of its directory.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

/// A directory, perhaps made of parts in several layers.
#[derive(Clone, Debug)]
pub(super) struct Dir {
    /// Where its entries are, the part of the newest layer first; at least one. Real directories, never links.
    parts: Vec<PathBuf>,
    /// Whether links at the top of the host's file system stand below it.
    above_host: bool,
}

/// Something in a tree.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Dir(Dir),
    File(PathBuf),
    Link(PathBuf),
    /// A device, socket or pipe.
    Special,
}

/// Where a path leads once its links are followed.
#[derive(Clone, Debug)]
pub(super) struct Resolved {
    /// The names from the root, none of them a link unless it is the last one and was not to be followed.
    pub(super) path: PathBuf,
    /// What is there, if anything.
    pub(super) node: Option<Node>,
}

/// As many links as the kernel follows.
const MAX_LINKS: usize = 40;

/// The links that merge `/bin` and the like into `/usr` on most hosts.
const HOST_LINKS: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// Directories that every sandbox has, with or without layers.
const SANDBOX_DIRS: [&str; 14] = [
    "dev",
    "home",
    "home/myuser",
    "media",
    "mnt",
    "root",
    "run",
    "srv",
    "tmp",
    "var",
    "var/cache",
    "var/lib",
    "var/log",
    "var/tmp",
];

/// Those that show the host's system.
pub(super) const HOST_DIRS: [&str; 9] = ["bin", "etc", "lib", "lib32", "lib64", "libx32", "opt", "sbin", "usr"];

/// Whether commands see a directory at `path`, relative to the root, although no layer has one.
///
/// What is in it stays unseen: the host's files are no part of an image, and must not get into one.
pub(super) fn is_dir_below_layers(path: &Path) -> bool {
    let on_host = path.iter().next().is_some_and(|first| HOST_DIRS.iter().any(|dir| first == *dir));
    SANDBOX_DIRS.iter().any(|dir| path == Path::new(dir)) || on_host && Path::new("/").join(path).is_dir()
}

impl Dir {
    /// The root of an image: its layers, oldest first, above the host.
    pub(super) fn of_layers(layers: &[PathBuf]) -> Self {
        Self { parts: layers.iter().rev().cloned().collect(), above_host: true }
    }

    /// A single directory.
    pub(super) fn of(dir: PathBuf) -> Self {
        Self { parts: vec![dir], above_host: false }
    }

    /// Mode and owner that count: those of the newest layer.
    pub(super) fn metadata(&self) -> io::Result<Metadata> {
        self.parts[0].symlink_metadata()
    }

    /// The entry called `name`.
    pub(super) fn get(&self, name: &OsStr) -> io::Result<Option<Node>> {
        let mut parts = Vec::new();
        for part in &self.parts {
            let path = part.join(name);
            let metadata = match path.symlink_metadata() {
                Ok(metadata) => metadata,
                Err(err) if err.kind() == io::ErrorKind::NotFound => continue,
                Err(err) => return Err(err),
            };
            if metadata.is_dir() {
                let hides_older = is_opaque(&path);
                parts.push(path);
                if hides_older {
                    break;
                }
                continue;
            }
            // Whatever is no directory hides all below it, and a removed entry is that too.
            if parts.is_empty() && !is_removal(&metadata) {
                return Ok(Some(Node::of(path, &metadata)));
            }
            break;
        }
        if !parts.is_empty() {
            return Ok(Some(Node::Dir(Self { parts, above_host: false })));
        }
        Ok(self.host_link(name).map(Node::Link))
    }

    fn host_link(&self, name: &OsStr) -> Option<PathBuf> {
        if !self.above_host || !HOST_LINKS.iter().any(|link| name == *link) {
            return None;
        }
        let link = Path::new("/").join(name);
        link.is_symlink().then_some(link)
    }

    /// The names of all entries, in order.
    pub(super) fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names = BTreeSet::new();
        for part in &self.parts {
            for entry in std::fs::read_dir(part)? {
                names.insert(entry?.file_name());
            }
        }
        if self.parts.len() == 1 {
            return Ok(names.into_iter().collect());
        }
        let mut there = Vec::with_capacity(names.len());
        for name in names {
            if self.get(&name)?.is_some() {
                there.push(name);
            }
        }
        Ok(there)
    }

    /// Follows `path` from here, which links and `..` cannot leave. What is not there yet is taken by its name.
    ///
    /// A link in the last place is followed if `follow_last` says so.
    pub(super) fn resolve(&self, path: &Path, follow_last: bool) -> io::Result<Resolved> {
        let mut ahead: VecDeque<OsString> = names_of(path).collect();
        // The directories walked through and their names; names after the first missing one have no directory.
        let mut walked: Vec<(OsString, Option<Dir>)> = Vec::new();
        let mut links = 0;
        while let Some(name) = ahead.pop_front() {
            if name == ".." {
                walked.pop();
                continue;
            }
            let here = match walked.last() {
                None => Some(self),
                Some((_, dir)) => dir.as_ref(),
            };
            let node = match here {
                Some(dir) => dir.get(&name)?,
                None => None,
            };
            match node {
                Some(Node::Dir(dir)) => walked.push((name, Some(dir))),
                None => walked.push((name, None)),
                Some(Node::Link(link)) if follow_last || !ahead.is_empty() => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(io::Error::other(format!("too many links on the way to {}", path.display())));
                    }
                    let target = std::fs::read_link(&link)?;
                    if target.is_absolute() {
                        walked.clear();
                    }
                    for name in names_of(&target).collect::<Vec<_>>().into_iter().rev() {
                        ahead.push_front(name);
                    }
                }
                Some(node) => {
                    let mut found: PathBuf = walked.iter().map(|(name, _)| name).collect();
                    found.push(&name);
                    if ahead.is_empty() {
                        return Ok(Resolved { path: found, node: Some(node) });
                    }
                    let message = format!("{} is not a directory", Path::new("/").join(found).display());
                    return Err(io::Error::new(io::ErrorKind::NotADirectory, message));
                }
            }
        }
        let node = match walked.last() {
            None => Some(Node::Dir(self.clone())),
            Some((_, dir)) => dir.clone().map(Node::Dir),
        };
        Ok(Resolved { path: walked.into_iter().map(|(name, _)| name).collect(), node })
    }
}

impl Node {
    fn of(path: PathBuf, metadata: &Metadata) -> Self {
        let kind = metadata.file_type();
        if kind.is_file() {
            Self::File(path)
        } else if kind.is_symlink() {
            Self::Link(path)
        } else {
            Self::Special
        }
    }
}

/// The names of a path, `..` among them.
fn names_of(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        _ => None,
    })
}

/// Whether an entry says that something of an older layer was removed.
pub(super) fn is_removal(metadata: &Metadata) -> bool {
    metadata.file_type().is_char_device() && metadata.rdev() == 0
}

/// Whether a directory of a layer replaces those of older layers.
pub(super) fn is_opaque(dir: &Path) -> bool {
    let mut value = [0u8; 4];
    ["trusted.overlay.opaque", "user.overlay.opaque"]
        .iter()
        .any(|name| matches!(rustix::fs::lgetxattr(dir, *name, &mut value), Ok(1) if value[0] == b'y'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    struct Layers(tempfile::TempDir);

    impl Layers {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn put(&self, layer: &str, path: &str) -> &Self {
            let path = self.0.path().join(layer).join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, layer).unwrap();
            self
        }

        fn link(&self, layer: &str, path: &str, target: &str) -> &Self {
            let path = self.0.path().join(layer).join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            symlink(target, path).unwrap();
            self
        }

        fn dir(&self, layers: &[&str]) -> Dir {
            Dir::of_layers(&layers.iter().map(|layer| self.0.path().join(layer)).collect::<Vec<_>>())
        }
    }

    fn text_at(root: &Dir, path: &str) -> Option<String> {
        match root.resolve(Path::new(path), true).unwrap().node? {
            Node::File(path) => Some(fs::read_to_string(path).unwrap()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_newest_layer_wins_and_directories_are_merged() {
        let layers = Layers::new();
        layers.put("1", "app/a").put("1", "app/b").put("2", "app/b").put("2", "app/c");
        let root = layers.dir(&["1", "2"]);

        assert_eq!(text_at(&root, "/app/a").as_deref(), Some("1"));
        assert_eq!(text_at(&root, "/app/b").as_deref(), Some("2"));
        let Some(Node::Dir(app)) = root.get(OsStr::new("app")).unwrap() else { panic!() };
        assert_eq!(app.names().unwrap(), ["a", "b", "c"]);
        assert!(root.resolve(Path::new("/app/d"), true).unwrap().node.is_none());
    }

    #[test]
    fn a_file_hides_an_older_directory_and_what_is_in_it() {
        let layers = Layers::new();
        layers.put("1", "app/a").put("2", "app").put("3", "app/b");
        let root = layers.dir(&["1", "2", "3"]);

        assert!(root.resolve(Path::new("/app/a"), true).unwrap().node.is_none());
        assert_eq!(text_at(&root, "/app/b").as_deref(), Some("3"));
        assert!(layers.dir(&["1", "2"]).resolve(Path::new("/app/a"), true).is_err());
    }

    #[test]
    fn links_are_followed_within_the_tree_only() {
        let layers = Layers::new();
        layers.put("1", "etc/passwd").put("1", "app/a");
        layers.link("2", "app/out", "../../../../../../etc/passwd").link("2", "abs", "/app").link("2", "loop", "loop");
        let root = layers.dir(&["1", "2"]);

        assert_eq!(text_at(&root, "/app/out").as_deref(), Some("1"));
        assert_eq!(text_at(&root, "/abs/../abs/a").as_deref(), Some("1"));
        assert_eq!(root.resolve(Path::new("/abs/new/file"), true).unwrap().path, Path::new("app/new/file"));
        assert_eq!(root.resolve(Path::new("/../../x"), true).unwrap().path, Path::new("x"));
        assert!(root.resolve(Path::new("/loop/x"), true).is_err());
        assert!(matches!(root.resolve(Path::new("/abs"), false).unwrap().node, Some(Node::Link(_))));
    }
}
