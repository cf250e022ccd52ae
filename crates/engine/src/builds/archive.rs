//! Unpacking archives that strangers have packed.
//!
//! Nothing is written outside of the given directory, not even through links, and no more than the limits allow.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use tokio_util::sync::CancellationToken;

use crate::builds::paths::{inside, resolve};

/// Longest extended header of a tar file, in bytes.
const MAX_HEADER: u64 = 1 << 20;

/// How much an archive may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) entries: usize,
    pub(crate) bytes: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { entries: 100_000, bytes: 1 << 30 }
    }
}

/// Why an archive was not unpacked, in a sentence for the build's log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    #[error("the archive is neither a tar, a tar.gz nor a zip file")]
    UnknownFormat,
    #[error("the archive is damaged: {0}")]
    Damaged(String),
    #[error("the archive holds {0:?}, which points outside the Actor root directory")]
    Escape(String),
    #[error("the archive holds {0:?}, which is neither a file, a directory nor a link")]
    Unsupported(String),
    #[error("the archive holds more than {0} files")]
    TooManyEntries(usize),
    #[error("the archive unpacks to more than {0} bytes")]
    TooLarge(u64),
    #[error("cannot write {0:?}: {1}")]
    Write(String, #[source] io::Error),
    #[error("the work was stopped")]
    Stopped,
}

/// Unpacks `archive` into the empty directory `root`, unless it is stopped, and tells how many files it held.
pub(crate) fn unpack(
    archive: &mut File,
    root: &Path,
    bounds: Bounds,
    stop: &CancellationToken,
) -> Result<usize, ArchiveError> {
    let mut unpacker = Unpacker { root, bounds, stop, entries: 0, bytes: 0, files: 0, links: Vec::new() };
    let mut magic = [0; 512];
    let mut read = 0;
    while read < magic.len() {
        match archive.read(&mut magic[read..]).map_err(damaged)? {
            0 => break,
            count => read += count,
        }
    }
    archive.seek(SeekFrom::Start(0)).map_err(damaged)?;
    match &magic[..read] {
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => unpacker.zip(archive)?,
        [0x1f, 0x8b, ..] => {
            look_through(MultiGzDecoder::new(BufReader::new(&mut *archive)), bounds, stop)?;
            archive.seek(SeekFrom::Start(0)).map_err(damaged)?;
            unpacker.tar(MultiGzDecoder::new(BufReader::new(archive)))?;
        }
        header if header.len() == 512 && &header[257..262] == b"ustar" => {
            look_through(BufReader::new(&mut *archive), bounds, stop)?;
            archive.seek(SeekFrom::Start(0)).map_err(damaged)?;
            unpacker.tar(BufReader::new(archive))?;
        }
        _ => return Err(ArchiveError::UnknownFormat),
    }
    unpacker.make_links()?;
    Ok(unpacker.files)
}

/// Refuses a tar file whose long names and extended headers would fill memory, for they are read whole, or whose entries
/// would take for ever to pass over.
fn look_through(archive: impl Read, bounds: Bounds, stop: &CancellationToken) -> Result<(), ArchiveError> {
    let mut archive = tar::Archive::new(archive);
    let mut bytes = 0_u64;
    for (index, entry) in archive.entries().map_err(damaged)?.raw(true).enumerate() {
        let entry = entry.map_err(damaged)?;
        let kind = entry.header().entry_type();
        let is_read_whole = kind.is_gnu_longname()
            || kind.is_gnu_longlink()
            || kind.is_pax_local_extensions()
            || kind.is_pax_global_extensions();
        if is_read_whole && entry.size() > MAX_HEADER {
            return Err(damaged("a header is too long"));
        }
        if index / 3 > bounds.entries {
            return Err(ArchiveError::TooManyEntries(bounds.entries));
        }
        bytes = bytes.saturating_add(entry.size());
        if bytes > bounds.bytes.saturating_add(MAX_HEADER) {
            return Err(ArchiveError::TooLarge(bounds.bytes));
        }
        if stop.is_cancelled() {
            return Err(ArchiveError::Stopped);
        }
    }
    Ok(())
}

struct Unpacker<'a> {
    root: &'a Path,
    bounds: Bounds,
    stop: &'a CancellationToken,
    entries: usize,
    bytes: u64,
    files: usize,
    /// Path and target of links, made when everything else is there, so that nothing is written through them.
    links: Vec<(PathBuf, PathBuf)>,
}

impl Unpacker<'_> {
    fn tar(&mut self, mut archive: impl Read) -> Result<(), ArchiveError> {
        self.tar_entries(&mut archive)?;
        // What follows the last entry tells whether the archive is whole.
        io::copy(&mut archive.take(self.bounds.bytes), &mut io::sink()).map_err(damaged)?;
        Ok(())
    }

    fn tar_entries(&mut self, archive: &mut impl Read) -> Result<(), ArchiveError> {
        let mut archive = tar::Archive::new(archive);
        for entry in archive.entries().map_err(damaged)? {
            let mut entry = entry.map_err(damaged)?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let kind = entry.header().entry_type();
            if kind.is_pax_global_extensions() || kind.is_pax_local_extensions() {
                continue;
            }
            if kind.is_dir() {
                self.directory(&name)?;
            } else if kind.is_symlink() {
                let target = entry.link_name_bytes().map(|target| String::from_utf8_lossy(&target).into_owned());
                self.link(&name, &target.unwrap_or_default())?;
            } else if kind.is_hard_link() {
                let target = entry.link_name_bytes().map(|target| String::from_utf8_lossy(&target).into_owned());
                self.copy(&name, &target.unwrap_or_default())?;
            } else if kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse() {
                let mode = entry.header().mode().unwrap_or(0o644);
                self.file(&name, mode, &mut entry)?;
            } else {
                return Err(ArchiveError::Unsupported(name));
            }
        }
        Ok(())
    }

    fn zip(&mut self, archive: &mut File) -> Result<(), ArchiveError> {
        let mut archive = zip::ZipArchive::new(BufReader::new(archive)).map_err(damaged)?;
        if archive.len() > self.bounds.entries {
            return Err(ArchiveError::TooManyEntries(self.bounds.entries));
        }
        for index in 0..archive.len() {
            let mut entry = archive.by_index(index).map_err(damaged)?;
            let name = entry.name().map_err(damaged)?.into_owned();
            let mode = entry.unix_mode();
            if entry.is_dir() {
                self.directory(&name)?;
            } else if mode.is_some_and(|mode| mode & 0o170_000 == 0o120_000) {
                let mut target = String::new();
                entry.by_ref().take(4096).read_to_string(&mut target).map_err(damaged)?;
                self.link(&name, &target)?;
            } else {
                self.file(&name, mode.unwrap_or(0o644), &mut entry)?;
            }
        }
        Ok(())
    }

    fn directory(&mut self, name: &str) -> Result<(), ArchiveError> {
        // The root itself is often an entry.
        if matches!(name, "." | "./") {
            return Ok(());
        }
        let path = self.place(name)?;
        fs::create_dir_all(&path).map_err(|error| ArchiveError::Write(name.to_owned(), error))
    }

    fn file(&mut self, name: &str, mode: u32, content: &mut impl Read) -> Result<(), ArchiveError> {
        let path = self.place(name)?;
        let written = |error| ArchiveError::Write(name.to_owned(), error);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(written)?;
        }
        let mode = (mode & 0o755) | 0o644;
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&path).map_err(written)?;
        let mut buffer = [0; 64 * 1024];
        loop {
            let count = match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) => return Err(damaged(error)),
            };
            self.book(count as u64)?;
            io::Write::write_all(&mut file, &buffer[..count]).map_err(written)?;
        }
        self.files += 1;
        Ok(())
    }

    fn copy(&mut self, name: &str, target: &str) -> Result<(), ArchiveError> {
        let path = self.place(name)?;
        let from = inside(target).ok_or_else(|| ArchiveError::Escape(name.to_owned()))?;
        let from = self.root.join(from);
        let written = |error| ArchiveError::Write(name.to_owned(), error);
        let size = fs::symlink_metadata(&from).map_err(written)?.len();
        self.book(size)?;
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(written)?;
        }
        fs::copy(&from, &path).map_err(written)?;
        self.files += 1;
        Ok(())
    }

    fn link(&mut self, name: &str, target: &str) -> Result<(), ArchiveError> {
        let escape = || ArchiveError::Escape(name.to_owned());
        self.place(name)?;
        let path = inside(name).ok_or_else(escape)?;
        let from = path.parent().unwrap_or(Path::new(""));
        resolve(from, Path::new(target)).ok_or_else(escape)?;
        self.links.push((path, PathBuf::from(target)));
        Ok(())
    }

    /// Makes the links, and looks where they really lead: a chain of them may leave the root though none does by itself.
    fn make_links(&mut self) -> Result<(), ArchiveError> {
        let mut made = Vec::new();
        for (path, target) in &self.links {
            let name = || path.display().to_string();
            let link = self.root.join(path);
            let Some(parent) = link.parent() else { continue };
            fs::create_dir_all(parent).map_err(|error| ArchiveError::Write(name(), error))?;
            self.must_be_inside(parent, &name())?;
            match symlink(target, &link) {
                Ok(()) => made.push(link),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(ArchiveError::Write(name(), error)),
            }
        }
        for link in made {
            match fs::canonicalize(&link) {
                Ok(_) => self.must_be_inside(&link, &link.display().to_string())?,
                // It leads nowhere, so nobody misses it.
                Err(_) => fs::remove_file(&link).map_err(damaged)?,
            }
        }
        Ok(())
    }

    fn must_be_inside(&self, path: &Path, name: &str) -> Result<(), ArchiveError> {
        let root = fs::canonicalize(self.root).map_err(damaged)?;
        let real = fs::canonicalize(path).map_err(damaged)?;
        if real.starts_with(&root) { Ok(()) } else { Err(ArchiveError::Escape(name.to_owned())) }
    }

    /// Where an entry goes.
    fn place(&mut self, name: &str) -> Result<PathBuf, ArchiveError> {
        self.entries += 1;
        if self.entries > self.bounds.entries {
            return Err(ArchiveError::TooManyEntries(self.bounds.entries));
        }
        let path = inside(name).ok_or_else(|| ArchiveError::Escape(name.to_owned()))?;
        Ok(self.root.join(path))
    }

    fn book(&mut self, bytes: u64) -> Result<(), ArchiveError> {
        if self.stop.is_cancelled() {
            return Err(ArchiveError::Stopped);
        }
        self.bytes += bytes;
        if self.bytes > self.bounds.bytes { Err(ArchiveError::TooLarge(self.bounds.bytes)) } else { Ok(()) }
    }
}

fn damaged(error: impl std::fmt::Display) -> ArchiveError {
    ArchiveError::Damaged(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    /// What an archive of a test holds.
    enum Entry {
        File(&'static str, Vec<u8>),
        Directory(&'static str),
        Link(&'static str, &'static str),
        HardLink(&'static str, &'static str),
        Pipe(&'static str),
    }
    use Entry::{Directory, File as Plain, HardLink, Link, Pipe};

    fn text(name: &'static str, content: &str) -> Entry {
        Plain(name, content.as_bytes().to_vec())
    }

    fn tarred(entries: &[Entry]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for entry in entries {
            let mut header = tar::Header::new_ustar();
            let (name, kind, link, content): (_, _, _, &[u8]) = match entry {
                Plain(name, content) => (name, tar::EntryType::Regular, None, content),
                Directory(name) => (name, tar::EntryType::Directory, None, &[]),
                Link(name, target) => (name, tar::EntryType::Symlink, Some(target), &[]),
                HardLink(name, target) => (name, tar::EntryType::Link, Some(target), &[]),
                Pipe(name) => (name, tar::EntryType::Fifo, None, &[]),
            };
            // Written by hand, since the library would refuse the names that matter here.
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            if let Some(target) = link {
                header.as_mut_bytes()[157..157 + target.len()].copy_from_slice(target.as_bytes());
            }
            header.set_entry_type(kind);
            header.set_size(content.len() as u64);
            header.set_mode(0o755);
            header.set_cksum();
            builder.append(&header, content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn unpacked(archive: &[u8], bounds: Bounds) -> (tempfile::TempDir, Result<usize, ArchiveError>) {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        fs::create_dir(&root).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(archive).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        let result = unpack(&mut file, &root, bounds, &CancellationToken::new());
        let outside = fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(outside, 1, "nothing is written outside");
        (directory, result)
    }

    fn gzipped(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn archives_of_every_kind_are_unpacked() {
        let entries = [
            Directory("src/"),
            text("src/main.js", "run()"),
            Link("main.js", "src/main.js"),
            HardLink("copy", "src/main.js"),
        ];
        let tar = tarred(&entries);
        for archive in [tar.clone(), gzipped(&tar)] {
            let (directory, result) = unpacked(&archive, Bounds::default());

            assert_eq!(result.unwrap(), 2);
            let root = directory.path().join("root");
            for name in ["src/main.js", "main.js", "copy"] {
                assert_eq!(fs::read_to_string(root.join(name)).unwrap(), "run()", "{name}");
            }
            assert_eq!(fs::read_link(root.join("main.js")).unwrap(), Path::new("src/main.js"));
        }
    }

    #[test]
    fn what_points_outside_is_refused() {
        for entries in [
            vec![text("../x", "")],
            vec![text("/tmp/x", "")],
            vec![text("a/../../x", "")],
            vec![Link("x", "../outside")],
            vec![Link("x", "/etc/passwd")],
            vec![HardLink("x", "../outside")],
            // Each alone stays inside; together they lead out.
            vec![Directory("d/e/"), Link("d/e/up", "../.."), Link("out", "d/e/up/../..")],
        ] {
            let (_, result) = unpacked(&tarred(&entries), Bounds::default());
            assert!(matches!(result, Err(ArchiveError::Escape(_))), "{result:?}");
        }
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let entries = [Directory("real/"), Link("door", "real"), text("door/x", "kept apart")];

        let (directory, result) = unpacked(&tarred(&entries), Bounds::default());

        assert_eq!(result.unwrap(), 1);
        assert!(!directory.path().join("root/real/x").exists());
        assert!(directory.path().join("root/door/x").exists());
    }

    #[test]
    fn links_that_lead_nowhere_are_left_out() {
        let (directory, result) = unpacked(&tarred(&[Link("gone", "nowhere"), text("x", "")]), Bounds::default());

        assert_eq!(result.unwrap(), 1);
        assert!(fs::symlink_metadata(directory.path().join("root/gone")).is_err());
    }

    #[test]
    fn bombs_are_stopped() {
        let zeros = tarred(&[Plain("zeros", vec![0; 10_000_000])]);
        let small = Bounds { entries: 3, bytes: 1_000_000 };

        let (_, result) = unpacked(&gzipped(&zeros), small);
        assert!(matches!(result, Err(ArchiveError::TooLarge(1_000_000))), "{result:?}");
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::GNULongName);
        header.set_size(100 << 20);
        header.set_cksum();
        let mut builder = tar::Builder::new(Vec::new());
        builder.append(&header, io::repeat(b'x').take(100 << 20)).unwrap();
        let (_, result) = unpacked(&gzipped(&builder.into_inner().unwrap()), Bounds::default());
        assert!(matches!(result, Err(ArchiveError::Damaged(_))), "{result:?}");
        let many: Vec<_> = (0..4).map(|_| text("x", "")).collect();
        let (_, result) = unpacked(&tarred(&many), small);
        assert!(matches!(result, Err(ArchiveError::TooManyEntries(3))), "{result:?}");
    }

    #[test]
    fn rubbish_is_refused() {
        for rubbish in [&b""[..], b"hello", &[0; 2000], b"PK\x03\x04rubbish", &[0x1f, 0x8b, 1, 2, 3]] {
            let (_, result) = unpacked(rubbish, Bounds::default());
            assert!(matches!(result, Err(ArchiveError::UnknownFormat | ArchiveError::Damaged(_))), "{result:?}");
        }
        let (_, result) = unpacked(&tarred(&[Pipe("pipe")]), Bounds::default());
        assert!(matches!(result, Err(ArchiveError::Unsupported(_))));
        let whole = gzipped(&tarred(&[text("a", &"x".repeat(5000))]));
        for cut in [20, whole.len() / 2, whole.len() - 1] {
            let (_, result) = unpacked(&whole[..cut], Bounds::default());
            assert!(matches!(result, Err(ArchiveError::Damaged(_))), "cut at {cut}: {result:?}");
        }
    }
}
