//! `COPY`: what goes where, and putting it there.
//!
//! The rules are Docker's: a directory stands for its contents; a file goes into a destination that is a directory or
//! ends with `/`, and becomes the destination otherwise; directories merge, files replace.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};

use super::layers;
use super::tree::{self, Dir, Node};
use crate::dockerfile::ignore::Ignore;
use crate::dockerfile::pattern::{self, Pattern};

/// Where the sources of a `COPY` are looked up.
#[derive(Debug)]
pub(super) struct Origin<'a> {
    pub(super) root: &'a Dir,
    /// What cannot be seen of it.
    pub(super) ignore: Option<&'a Ignore>,
    /// What messages call it: `the build context`, `the stage builder`.
    pub(super) name: &'a str,
}

/// A source with its variables resolved.
#[derive(Clone, Debug)]
pub(super) enum From {
    /// A path or pattern.
    Path(String),
    /// A file whose text stands in the Dockerfile.
    Text {
        /// Its name.
        name: String,
        /// Its content.
        text: String,
    },
}

/// One file, directory or link to be made.
#[derive(Debug)]
pub(super) struct Item {
    /// Where, relative to the root of the image.
    to: PathBuf,
    what: What,
}

#[derive(Debug)]
enum What {
    Dir { mode: u32 },
    File { from: PathBuf, mode: u32 },
    Link { target: PathBuf },
    Text { text: String, mode: u32 },
}

/// Finds all that a `COPY` makes.
///
/// `destination` is absolute and keeps its last `/`; `image` is what is there before. `mode` is that of `--chmod`.
///
/// # Errors
/// A sentence that says what is wrong with which path.
pub(super) fn plan(
    origin: &Origin<'_>,
    sources: &[From],
    image: &Dir,
    destination: &str,
    mode: Option<u32>,
) -> Result<Vec<Item>, String> {
    let mut found = Vec::new();
    for source in sources {
        match source {
            From::Path(path) => found.extend(find(origin, path)?),
            From::Text { name, text } => found.push(Found { name: name.clone(), what: FoundWhat::Text(text.clone()) }),
        }
    }

    let resolved = image.resolve(Path::new(destination), true).map_err(|err| err.to_string())?;
    let exists_as_dir = match resolved.node {
        Some(Node::Dir(_)) => true,
        Some(_) => false,
        None => tree::is_dir_below_layers(&resolved.path),
    };
    let exists_as_other = resolved.node.is_some() && !exists_as_dir;
    let meant_as_dir = destination.ends_with(['/', '.']) && {
        let last = destination.rsplit('/').next().unwrap_or_default();
        matches!(last, "" | "." | "..")
    };
    let into_dir = exists_as_dir || meant_as_dir;
    if (meant_as_dir || found.iter().any(|found| matches!(found.what, FoundWhat::Dir(..)))) && exists_as_other {
        return Err(format!("{destination} is there already and is not a directory"));
    }
    if (found.len() > 1 || sources.len() > 1) && !into_dir {
        return Err(format!("with more than one source, the destination must end with /; it is {destination}"));
    }

    let mut items = Vec::new();
    for Found { name, what } in found {
        match what {
            FoundWhat::Dir(dir, path) => {
                items.push(Item { to: resolved.path.clone(), what: What::Dir { mode: mode.unwrap_or(0o755) } });
                let mut walk = Walk { origin, mode, items: &mut items };
                walk.contents(&dir, &path, &resolved.path).map_err(|err| err.to_string())?;
            }
            other => {
                let to = if into_dir { resolved.path.join(&name) } else { resolved.path.clone() };
                let what = match other {
                    FoundWhat::File(from) => {
                        let own = from.symlink_metadata().map_err(|err| format!("{name}: {err}"))?.mode();
                        What::File { from, mode: mode.unwrap_or(own) }
                    }
                    FoundWhat::Text(text) => What::Text { text, mode: mode.unwrap_or(0o644) },
                    FoundWhat::Dir(..) => continue,
                };
                items.push(Item { to, what });
            }
        }
    }
    Ok(items)
}

/// A source that is there.
struct Found {
    /// Its last name, as it was asked for.
    name: String,
    what: FoundWhat,
}

enum FoundWhat {
    /// With its path in the origin.
    Dir(Dir, PathBuf),
    File(PathBuf),
    Text(String),
}

/// Finds what `source` means in `origin`: one thing, or for a pattern any number of them.
fn find(origin: &Origin<'_>, source: &str) -> Result<Vec<Found>, String> {
    let cleaned = below_root(source);
    let mut paths = vec![PathBuf::new()];
    let is_pattern = pattern::is_pattern(source);
    if is_pattern {
        for component in cleaned.split('/').filter(|component| !component.is_empty()) {
            paths = fitting(origin, &paths, component).map_err(|err| format!("{source}: {err}"))?;
        }
    } else {
        paths = vec![PathBuf::from(&cleaned)];
    }
    let mut found = Vec::new();
    for path in paths {
        let resolved = origin.root.resolve(&path, true).map_err(|err| format!("{source}: {err}"))?;
        let visible = !is_ignored(origin, &path) && !is_ignored(origin, &resolved.path);
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let what = match resolved.node {
            // A directory that is left out may hold something that is not.
            Some(Node::Dir(dir)) if visible || origin.ignore.is_some_and(Ignore::may_keep_below_excluded) => {
                FoundWhat::Dir(dir, resolved.path)
            }
            Some(Node::File(file)) if visible => FoundWhat::File(file),
            Some(Node::Special) if visible => return Err(format!("{source} is not a file, directory or link")),
            _ if is_pattern => continue,
            _ => {
                let hint = if resolved.node.is_some() { " (.dockerignore leaves it out)" } else { "" };
                return Err(format!("{source} is not in {}{hint}", origin.name));
            }
        };
        found.push(Found { name, what });
    }
    Ok(found)
}

/// All entries of `dirs` whose names fit `component`.
fn fitting(origin: &Origin<'_>, dirs: &[PathBuf], component: &str) -> Result<Vec<PathBuf>, String> {
    let pattern = Pattern::of_copy(component)?;
    let mut paths = Vec::new();
    for path in dirs {
        let resolved = origin.root.resolve(path, true).map_err(|err| err.to_string())?;
        let Some(Node::Dir(dir)) = resolved.node else { continue };
        for name in dir.names().map_err(|err| err.to_string())? {
            if name.to_str().is_some_and(|name| pattern.matches(name)) {
                paths.push(path.join(name));
            }
        }
    }
    Ok(paths)
}

/// Resolves `.` and `..` by name; nothing is above the root.
fn below_root(path: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    names.join("/")
}

fn is_ignored(origin: &Origin<'_>, path: &Path) -> bool {
    let path = path.to_string_lossy();
    !path.is_empty() && origin.ignore.is_some_and(|ignore| ignore.excludes(&path))
}

struct Walk<'a> {
    origin: &'a Origin<'a>,
    mode: Option<u32>,
    items: &'a mut Vec<Item>,
}

impl Walk<'_> {
    /// Lists the contents of `dir`, which is at `path` in the origin and goes to `to`.
    fn contents(&mut self, dir: &Dir, path: &Path, to: &Path) -> io::Result<()> {
        for name in dir.names()? {
            let Some(node) = dir.get(&name)? else { continue };
            let path = path.join(&name);
            let to = to.join(&name);
            let ignored = is_ignored(self.origin, &path);
            match node {
                Node::Dir(below) => {
                    if ignored && !self.origin.ignore.is_some_and(Ignore::may_keep_below_excluded) {
                        continue;
                    }
                    let mode = self.mode.unwrap_or(below.metadata()?.mode());
                    let before = self.items.len();
                    self.items.push(Item { to: to.clone(), what: What::Dir { mode } });
                    self.contents(&below, &path, &to)?;
                    if ignored && self.items.len() == before + 1 {
                        self.items.pop();
                    }
                }
                _ if ignored => {}
                Node::File(from) => {
                    let mode = self.mode.unwrap_or(from.symlink_metadata()?.mode());
                    self.items.push(Item { to, what: What::File { from, mode } });
                }
                Node::Link(link) => {
                    let target = fs::read_link(link)?;
                    self.items.push(Item { to, what: What::Link { target } });
                }
                // Sockets and pipes that programs left behind mean nothing in an image.
                Node::Special => {}
            }
        }
        Ok(())
    }
}

/// Hashes all that makes the outcome of a copy: paths, modes and bytes.
pub(super) fn fingerprint(items: &[Item], hash: &mut Sha256) -> io::Result<()> {
    for item in items {
        layers::field(hash, item.to.as_os_str().as_bytes());
        match &item.what {
            What::Dir { mode } => hash.update([b"d".as_slice(), &plain(*mode).to_le_bytes()].concat()),
            What::Link { target } => {
                hash.update(b"l");
                layers::field(hash, target.as_os_str().as_bytes());
            }
            What::Text { text, mode } => {
                hash.update([b"t".as_slice(), &plain(*mode).to_le_bytes()].concat());
                layers::field(hash, text.as_bytes());
            }
            What::File { from, mode } => {
                hash.update([b"f".as_slice(), &plain(*mode).to_le_bytes()].concat());
                layers::hash_file(hash, from)?;
            }
        }
    }
    Ok(())
}

/// The bits of a mode that a copy keeps.
fn plain(mode: u32) -> u32 {
    mode & 0o1777
}

/// A tree being filled: a new layer above what an image has already.
#[derive(Debug)]
pub(super) struct Target<'a> {
    /// Written to; nobody else does meanwhile.
    upper: &'a Path,
    image: &'a Dir,
    owner: Option<(u32, u32)>,
    /// Directories known to be in `upper`.
    made: HashSet<PathBuf>,
}

impl<'a> Target<'a> {
    /// `owner` gets all that is written.
    pub(super) fn new(upper: &'a Path, image: &'a Dir, owner: Option<(u32, u32)>) -> Self {
        Self { upper, image, owner, made: HashSet::new() }
    }

    /// Makes what [`plan`] found; stops early, without an error, when `stop` says so.
    ///
    /// # Errors
    /// Of the file system, with the path.
    pub(super) fn put(&mut self, items: &[Item], stop: &mut dyn FnMut() -> bool) -> Result<(), String> {
        for (index, item) in items.iter().enumerate() {
            if index % 64 == 0 && stop() {
                return Ok(());
            }
            let shown = Path::new("/").join(&item.to);
            self.put_item(item).map_err(|err| format!("cannot write {}: {err}", shown.display()))?;
        }
        Ok(())
    }

    /// Makes one file.
    pub(super) fn put_text(&mut self, to: &Path, text: &str, mode: u32) -> io::Result<()> {
        self.put_item(&Item { to: to.to_owned(), what: What::Text { text: text.to_owned(), mode } })
    }

    fn put_item(&mut self, item: &Item) -> io::Result<()> {
        if let What::Dir { mode } = item.what {
            return self.make_dir(&item.to, mode);
        }
        if let Some(parent) = item.to.parent() {
            self.make_dir(parent, 0o755)?;
        }
        if matches!(self.image.resolve(&item.to, false)?.node, Some(Node::Dir(_))) {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        let path = self.upper.join(&item.to);
        // An earlier source of the same step may have left a file or a link; neither may be written through.
        match fs::remove_file(&path) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
            _ => {}
        }
        match &item.what {
            What::Dir { .. } => return Ok(()),
            What::Link { target } => symlink(target, &path)?,
            What::Text { text, mode } => {
                fs::write(&path, text)?;
                self.set_mode(&path, *mode)?;
            }
            What::File { from, mode } => {
                fs::copy(from, &path)?;
                let times = fs::FileTimes::new().set_modified(from.metadata()?.modified()?);
                self.set_mode(&path, *mode)?;
                // A file without write permission can still be opened for reading, which is enough to set its times.
                fs::File::open(&path).and_then(|file| file.set_times(times)).ok();
            }
        }
        self.give(&path)
    }

    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        fs::set_permissions(path, fs::Permissions::from_mode(plain(mode)))
    }

    fn give(&self, path: &Path) -> io::Result<()> {
        match self.owner {
            Some((uid, gid)) => lchown(path, Some(uid), Some(gid)),
            None => Ok(()),
        }
    }

    /// Makes a directory and those above it. Where the image has one already, the new layer's is its likeness.
    ///
    /// # Errors
    /// If something else is in the way.
    pub(super) fn make_dir(&mut self, path: &Path, mode: u32) -> io::Result<()> {
        if self.made.contains(path) {
            return Ok(());
        }
        let mut at = PathBuf::new();
        let mut below = Some(self.image.clone());
        let count = path.components().count();
        for (index, component) in path.components().enumerate() {
            let Component::Normal(name) = component else { continue };
            at.push(name);
            below = match below.as_ref().map(|dir| dir.get(name)).transpose()?.flatten() {
                Some(Node::Dir(dir)) => Some(dir),
                Some(_) => return Err(not_a_directory(name)),
                None => None,
            };
            if self.made.contains(&at) {
                continue;
            }
            let here = self.upper.join(&at);
            match here.symlink_metadata() {
                Ok(metadata) if metadata.is_dir() => {}
                Ok(_) => return Err(not_a_directory(name)),
                Err(err) if err.kind() == io::ErrorKind::NotFound => {
                    fs::create_dir(&here)?;
                    match &below {
                        Some(dir) => {
                            let like = dir.metadata()?;
                            fs::set_permissions(&here, fs::Permissions::from_mode(like.mode() & 0o7777))?;
                            if self.owner.is_some() {
                                lchown(&here, Some(like.uid()), Some(like.gid()))?;
                            }
                        }
                        None => {
                            self.set_mode(&here, if index + 1 == count { mode } else { 0o755 })?;
                            self.give(&here)?;
                        }
                    }
                }
                Err(err) => return Err(err),
            }
            self.made.insert(at.clone());
        }
        Ok(())
    }
}

fn not_a_directory(name: &OsStr) -> io::Error {
    io::Error::new(io::ErrorKind::NotADirectory, format!("{} is not a directory", name.to_string_lossy()))
}
