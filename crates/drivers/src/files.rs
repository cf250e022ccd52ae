//! The directories of jobs, and small files in them.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::{Job, JobKind};

/// The directory of one life of a job.
///
/// # Errors
/// If the id could mean a place outside of the data directory.
pub(crate) fn job_dir(data_dir: &Path, job: &Job) -> io::Result<PathBuf> {
    let sound =
        !job.id.is_empty() && job.id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if !sound {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{:?} is no id", job.id)));
    }
    Ok(data_dir.join(dir_of(job.kind)).join(&job.id).join(job.life.to_string()))
}

/// Every life of that kind that has a directory.
pub(crate) fn jobs(data_dir: &Path, kind: JobKind) -> Vec<Job> {
    let dir = data_dir.join(dir_of(kind));
    let lives = names(&dir).into_iter().flat_map(|id| {
        let lives = names(&dir.join(&id));
        lives.into_iter().filter_map(move |life| Some(Job { kind, id: id.clone(), life: life.parse().ok()? }))
    });
    lives.collect()
}

fn dir_of(kind: JobKind) -> &'static str {
    match kind {
        JobKind::Run => "runs",
        JobKind::Build => "builds",
    }
}

/// The names in a directory; none if it is not there.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Writes a file whole or not at all; it is on disk when this returns.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = tempfile::Builder::new().prefix(".").tempfile_in(path.parent().unwrap_or(Path::new(".")))?;
    file.write_all(content)?;
    file.as_file().sync_data()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Reads a file of ours; one that is not there or, since its writer was killed, not whole is `None`.
pub(crate) fn read_json<T: DeserializeOwned>(file: &Path) -> io::Result<Option<T>> {
    match fs::read(file) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
