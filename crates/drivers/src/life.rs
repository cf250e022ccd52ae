//! One life of a run or build: a directory, `runs/<id>/<life>` or `builds/<id>/<life>`, with what every driver writes there.
//!
//! Each driver adds files of its own.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files::{job_dir, read_json, write_whole};
use crate::{Exit, Job};

/// Of `exit.json`. A server reads its own version's files and those of the version before.
const VERSION: u32 = 1;

/// The files of one life.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    dir: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct ExitFile {
    version: u32,
    exit: Exit,
}

impl Life {
    /// Of a job below the data directory.
    ///
    /// # Errors
    /// If the id could mean a place outside of it.
    pub(crate) fn of(data_dir: &Path, job: &Job) -> io::Result<Self> {
        Ok(Self::at(&job_dir(data_dir, job)?))
    }

    pub(crate) fn at(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes the end of the life: whole or not at all, and on disk when this returns.
    pub(crate) fn write_exit(&self, exit: &Exit) -> io::Result<()> {
        let file = ExitFile { version: VERSION, exit: exit.clone() };
        write_whole(&self.dir.join("exit.json"), &serde_json::to_vec(&file)?)
    }

    /// The end of the life, if it was written.
    pub(crate) fn read_exit(&self) -> io::Result<Option<Exit>> {
        Ok(read_json::<ExitFile>(&self.dir.join("exit.json"))?.map(|file| file.exit))
    }
}
