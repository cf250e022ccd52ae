//! Layers on disk: made once, shared by the images that need them, removed with the last of them.
//!
//! A layer is `layers/<key>/`: its tree in `fs`, and `layer.json`, without which it does not count. A build makes its
//! layers below its own directory and moves them to the others when they are on disk for good. Which layers are needed
//! is said by the `image.json` of images and by the `claims` of builds in progress; [`sweep`] removes the rest.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{StoredImage, tree};
use crate::process::sandbox::remove_tree;

/// What is known of a layer's content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Content {
    /// SHA-256 over paths, modes and bytes, in hex.
    pub(super) digest: String,
    /// Bytes of its files.
    pub(super) size_bytes: u64,
}

/// A layer that an image is made of.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    /// Its tree, absolute.
    pub(super) dir: PathBuf,
    /// Where it will be once the build is done, relative to the data directory.
    pub(super) home: PathBuf,
    pub(super) content: Content,
}

/// The layers of one data directory, as one build uses them.
#[derive(Debug)]
pub(super) struct Layers {
    data_dir: PathBuf,
    build_dir: PathBuf,
    /// Layers that this build made, to be kept when it is done.
    made: Vec<String>,
}

const FILE: &str = "layer.json";
const CLAIMS: &str = "claims";

impl Layers {
    /// # Errors
    /// Of the file system.
    pub(super) fn open(data_dir: &Path, build_dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(data_dir.join("layers"))?;
        remove_tree(&build_dir.join("layers"))?;
        fs::create_dir_all(build_dir.join("layers"))?;
        Ok(Self { data_dir: data_dir.to_owned(), build_dir: build_dir.to_owned(), made: Vec::new() })
    }

    /// The layer with this key, kept from now on for as long as the build goes on; `None` if it must be made.
    pub(super) fn find(&self, key: &str) -> io::Result<Option<Layer>> {
        // One build may need the same layer twice, in two stages that begin alike.
        if self.made.iter().any(|made| made == key) {
            return self.load(&self.build_dir.join("layers").join(key), key).map(Some);
        }
        let _lock = lock(&self.data_dir)?;
        let dir = self.data_dir.join("layers").join(key);
        if !dir.join(FILE).exists() {
            return Ok(None);
        }
        let mut claims = File::options().create(true).append(true).open(self.build_dir.join(CLAIMS))?;
        writeln!(claims, "{key}")?;
        self.load(&dir, key).map(Some)
    }

    fn load(&self, dir: &Path, key: &str) -> io::Result<Layer> {
        let content = serde_json::from_slice(&fs::read(dir.join(FILE))?)?;
        Ok(Layer { dir: dir.join("fs"), home: Path::new("layers").join(key).join("fs"), content })
    }

    /// Makes the empty tree of a layer to come.
    pub(super) fn begin(&self, key: &str) -> io::Result<PathBuf> {
        let dir = self.build_dir.join("layers").join(key);
        remove_tree(&dir)?;
        let tree = dir.join("fs");
        fs::create_dir_all(&tree)?;
        fs::set_permissions(&tree, fs::Permissions::from_mode(0o755))?;
        Ok(tree)
    }

    /// Takes up a layer whose tree is complete.
    pub(super) fn finish(&mut self, key: &str) -> io::Result<Layer> {
        let dir = self.build_dir.join("layers").join(key);
        let content = measure(&dir.join("fs"))?;
        fs::write(dir.join(FILE), serde_json::to_vec(&content)?)?;
        self.made.push(key.to_owned());
        self.load(&dir, key)
    }

    /// Puts what was made on disk for good and where other builds find it, and drops everything unfinished.
    ///
    /// The layers stay claimed until [`release`](Self::release), so that an image can be written in between.
    pub(super) fn keep(&mut self) -> io::Result<()> {
        let own = self.build_dir.join("layers");
        if !self.made.is_empty() {
            rustix::fs::syncfs(File::open(&own)?)?;
            let _lock = lock(&self.data_dir)?;
            let shared = self.data_dir.join("layers");
            let mut claims = File::options().create(true).append(true).open(self.build_dir.join(CLAIMS))?;
            for key in self.made.drain(..) {
                writeln!(claims, "{key}")?;
                match fs::rename(own.join(&key), shared.join(&key)) {
                    // Another build was faster; its layer does as well.
                    Err(_) if shared.join(&key).join(FILE).exists() => {}
                    result => result?,
                }
            }
            File::open(&shared)?.sync_all()?;
        }
        Ok(())
    }

    /// Gives up this build's claims: from now on layers are kept only for the sake of images.
    pub(super) fn release(self) -> io::Result<()> {
        abandon(&self.build_dir)
    }
}

/// Removes unfinished layers and claims of a build that is over.
pub(super) fn abandon(build_dir: &Path) -> io::Result<()> {
    remove_tree(&build_dir.join("layers"))?;
    match fs::remove_file(build_dir.join(CLAIMS)) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => Err(err),
        _ => Ok(()),
    }
}

/// Removes the layers that no image and no build in progress needs.
///
/// # Errors
/// Of the file system; what could not be removed is tried again the next time.
pub(super) fn sweep(data_dir: &Path) -> io::Result<()> {
    let layers = data_dir.join("layers");
    if !layers.exists() {
        return Ok(());
    }
    let guard = lock(data_dir)?;
    let mut needed = BTreeSet::new();
    for build in entries(&data_dir.join("builds"))? {
        let name = build.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(image) = StoredImage::load(data_dir, &name)? {
            needed.extend(image.layers);
        }
        if let Ok(claims) = fs::read_to_string(build.join(CLAIMS)) {
            needed.extend(claims.lines().map(|key| Path::new("layers").join(key).join("fs")));
        }
    }
    let mut unneeded = Vec::new();
    for layer in entries(&layers)?.into_iter().filter(|path| path.is_dir()) {
        let Some(name) = layer.file_name() else { continue };
        if needed.contains(&Path::new("layers").join(name).join("fs")) {
            continue;
        }
        // Without this file it is no layer any more; a build that looks for it from now on makes it anew.
        match fs::remove_file(layer.join(FILE)) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
            _ => {}
        }
        let mut trash = name.to_owned();
        if !name.as_bytes().starts_with(b"trash-") {
            trash = format!("trash-{}", name.to_string_lossy()).into();
            fs::rename(&layer, layers.join(&trash))?;
        }
        unneeded.push(layers.join(trash));
    }
    drop(guard);
    unneeded.iter().try_for_each(|dir| remove_tree(dir))
}

fn entries(dir: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(dir) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(err) => Err(err),
    }
}

/// Takes a lock that ends with the returned file; `None` if somebody else has it.
pub(super) fn try_lock_file(path: &Path) -> io::Result<Option<File>> {
    let file = File::options().create(true).truncate(false).write(true).open(path)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(err) => Err(err.into()),
    }
}

/// Waits for the lock on all layers, which nobody holds for long.
fn lock(data_dir: &Path) -> io::Result<File> {
    let file = File::options().create(true).truncate(false).write(true).open(data_dir.join("layers").join(".lock"))?;
    rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
    Ok(file)
}

/// Hashes and measures a tree.
pub(super) fn measure(dir: &Path) -> io::Result<Content> {
    let mut hash = Sha256::new();
    let mut size_bytes = 0;
    measure_below(dir, Path::new(""), &mut hash, &mut size_bytes)?;
    Ok(Content { digest: hex(&hash.finalize()), size_bytes })
}

fn measure_below(root: &Path, at: &Path, hash: &mut Sha256, size_bytes: &mut u64) -> io::Result<()> {
    let mut names: Vec<_> =
        fs::read_dir(root.join(at))?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()?;
    names.sort();
    for name in names {
        let relative = at.join(&name);
        let path = root.join(&relative);
        let metadata = path.symlink_metadata()?;
        field(hash, relative.as_os_str().as_bytes());
        hash.update((metadata.mode() & 0o7777).to_le_bytes());
        if metadata.is_dir() {
            hash.update(if tree::is_opaque(&path) { b"D" } else { b"d" });
            measure_below(root, &relative, hash, size_bytes)?;
        } else if metadata.is_symlink() {
            hash.update(b"l");
            field(hash, fs::read_link(&path)?.as_os_str().as_bytes());
        } else if metadata.is_file() {
            hash.update(b"f");
            match hash_file(hash, &path) {
                Ok(bytes) => *size_bytes += bytes,
                // A step may have closed a file even to the server's user; it counts by its name and mode then.
                Err(err) if err.kind() == io::ErrorKind::PermissionDenied => hash.update(b"u"),
                Err(err) => return Err(err),
            }
        } else {
            hash.update(b"x");
        }
    }
    Ok(())
}

/// Adds the length and bytes of a file to `hash`; returns the length.
pub(super) fn hash_file(hash: &mut Sha256, path: &Path) -> io::Result<u64> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    hash.update(length.to_le_bytes());
    let mut buffer = vec![0; 64 << 10];
    let mut read_bytes = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(read_bytes),
            count => {
                hash.update(&buffer[..count]);
                read_bytes += count as u64;
            }
        }
    }
}

/// Adds bytes to `hash` so that two of them cannot be mistaken for two others.
pub(super) fn field(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}

/// Lower-case hex digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
