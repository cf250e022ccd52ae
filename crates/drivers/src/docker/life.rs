//! What the docker driver adds to the files of a life, beside the container that the engine keeps.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files::{read_json, write_whole};
pub(super) use crate::life::Life;
use crate::{Job, JobKind};

/// Version of the files.
const VERSION: u32 = 1;

/// `container.json`, written before the engine is asked for anything.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Begun {
    version: u32,
    pub(super) log: PathBuf,
    pub(super) memory_bytes: u64,
}

/// How far the engine's log of a container has been taken over into ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Bytes of output taken over; all of them stand in our log as whole lines.
    pub(super) taken: u64,
    /// Length of our log then.
    pub(super) log_len: u64,
    /// A second such that the engine's log since then begins at a known place, or 0 for its beginning.
    pub(super) since: u64,
    /// That place, in bytes of output.
    pub(super) since_taken: u64,
    /// A byte of the engine's own file at which output begins that stands at a known place, or 0 for its beginning.
    pub(super) offset: u64,
    /// That place, in bytes of output.
    pub(super) offset_taken: u64,
}

impl Life {
    /// The lives that have files of ours.
    pub(super) fn all(data_dir: &Path) -> Vec<Job> {
        let mut jobs = Vec::new();
        for kind in [JobKind::Run, JobKind::Build] {
            jobs.extend(
                crate::files::jobs(data_dir, kind)
                    .into_iter()
                    .filter(|job| Self::of(data_dir, job).is_ok_and(|life| life.dir().join("container.json").exists())),
            );
        }
        jobs
    }

    /// Writes down that the life begins.
    pub(super) fn note_begun(&self, log: &Path, memory_bytes: u64) -> io::Result<()> {
        fs::create_dir_all(self.dir())?;
        self.write_cursor(Cursor { log_len: fs::metadata(log).map_or(0, |log| log.len()), ..Cursor::default() })?;
        let begun = Begun { version: VERSION, log: log.to_owned(), memory_bytes };
        write_whole(&self.dir().join("container.json"), &serde_json::to_vec(&begun)?)
    }

    pub(super) fn begun(&self) -> io::Result<Option<Begun>> {
        read_json(&self.dir().join("container.json"))
    }

    /// Notes that the end to come was asked for.
    pub(super) fn note_stop(&self) -> io::Result<()> {
        if self.dir().exists() { fs::write(self.dir().join("stopped"), "") } else { Ok(()) }
    }

    pub(super) fn was_stopped(&self) -> bool {
        self.dir().join("stopped").exists()
    }

    fn write_cursor(&self, cursor: Cursor) -> io::Result<()> {
        cursor.write(&self.cursor_file()?)
    }

    pub(super) fn cursor_file(&self) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(self.dir().join("cursor"))
    }

    pub(super) fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(self.dir()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => result?,
        }
        // Of a run without a log nothing is left now.
        if let Some(parent) = self.dir().parent() {
            fs::remove_dir(parent).ok();
        }
        Ok(())
    }
}

impl Cursor {
    const LEN: usize = 56;
    /// Without the place in the engine's own file.
    const SHORT: usize = 40;

    /// Overwrites the file. So few bytes of one page are written whole or not at all, even if the process is killed.
    pub(super) fn write(&self, file: &File) -> io::Result<()> {
        let mut bytes = [0; Self::LEN];
        let Self { taken, log_len, since, since_taken, offset, offset_taken } = *self;
        let fields = [u64::from(VERSION), taken, log_len, since, since_taken, offset, offset_taken];
        for (place, field) in bytes.chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        file.write_all_at(&bytes, 0)
    }

    pub(super) fn read(file: &File) -> io::Result<Self> {
        let mut bytes = [0; Self::LEN];
        if file.metadata()?.len() < Self::LEN as u64 {
            file.read_exact_at(&mut bytes[..Self::SHORT], 0)?;
        } else {
            file.read_exact_at(&mut bytes, 0)?;
        }
        let mut fields = bytes.chunks_exact(8).map(|field| field.try_into().map_or(0, u64::from_le_bytes));
        let mut next = || fields.next().unwrap_or_default();
        if next() != u64::from(VERSION) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the cursor is of another version"));
        }
        Ok(Self {
            taken: next(),
            log_len: next(),
            since: next(),
            since_taken: next(),
            offset: next(),
            offset_taken: next(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let file = tempfile::tempfile().unwrap();
        let cursor = Cursor { taken: 1, log_len: u64::MAX, since: 3, since_taken: 4, offset: 5, offset_taken: 6 };

        cursor.write(&file).unwrap();

        assert_eq!(Cursor::read(&file).unwrap(), cursor);
    }

    #[test]
    fn a_cursor_of_a_server_that_knew_no_files_is_read() {
        let file = tempfile::tempfile().unwrap();
        let cursor = Cursor { taken: 1, log_len: 2, since: 3, since_taken: 4, ..Cursor::default() };

        cursor.write(&file).unwrap();
        file.set_len(40).unwrap();

        assert_eq!(Cursor::read(&file).unwrap(), cursor);
    }
}
