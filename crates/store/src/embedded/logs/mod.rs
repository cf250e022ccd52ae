//! Logs: a file while a job lives, sealed into compressed objects when it ends.
//!
//! A log is a sequence of parts. Part `n` is the file `logs/<job>.<n>.log` until its row exists, and from then on the object
//! that the row names; a file whose part has a row is rubbish. So one commit moves a part from the one to the other: before
//! it the file counts, after it the object, and nothing is lost or there twice, whenever the server dies.

mod frames;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::BytesMut;
use futures::{StreamExt as _, stream};
use parking_lot::Mutex;
use rusqlite::{Connection, params};
use tracing::warn;

use super::core::Core;
use super::db::{Sql as _, WriteTx};
use super::disk::io_error;
use super::objects;
use crate::{ByteStream, JobLog, LogStore, StoreError};

/// The logs of an embedded store.
#[derive(Debug)]
pub(super) struct Logs {
    core: Arc<Core>,
    /// Whose turn it is to change a log, for those that somebody changes now.
    turns: Mutex<HashMap<JobLog, Arc<tokio::sync::Mutex<()>>>>,
}

/// A sealed part.
struct Sealed {
    /// Where it is in the whole log.
    range: Range<u64>,
    object: String,
    frames: Vec<u8>,
}

/// What there is of a log at one moment.
struct Parts {
    sealed: Vec<Sealed>,
    /// The part that grows, and its length.
    open: Option<(File, u64)>,
}

impl Parts {
    /// Bytes in sealed parts.
    fn sealed_len(&self) -> u64 {
        self.sealed.last().map_or(0, |part| part.range.end)
    }

    fn len(&self) -> u64 {
        self.sealed_len() + self.open.as_ref().map_or(0, |(_, len)| *len)
    }
}

impl Logs {
    pub(super) fn open(core: Arc<Core>) -> Result<Self, StoreError> {
        std::fs::create_dir_all(logs_dir(core.dir())).map_err(io_error)?;
        Ok(Self { core, turns: Mutex::default() })
    }

    /// Carries out what changes a log, after what changes it now.
    async fn in_turn<T>(&self, job: &JobLog, work: impl Future<Output = T>) -> T {
        let turn = self.turns.lock().entry(*job).or_default().clone();
        let outcome = {
            let _mine = turn.lock().await;
            work.await
        };
        let mut turns = self.turns.lock();
        // One clone is here and one in the map: nobody else waits.
        if Arc::strong_count(&turn) <= 2 {
            turns.remove(job);
        }
        outcome
    }

    /// The number of the part that grows.
    fn open_part(&self, job: &JobLog) -> Result<i64, StoreError> {
        self.core.db.read(|connection| sealed_parts(connection, &name(job)))
    }

    fn path(&self, job: &JobLog, part: i64) -> PathBuf {
        part_path(self.core.dir(), &name(job), part)
    }

    async fn parts(&self, job: &JobLog) -> Result<Parts, StoreError> {
        loop {
            let sealed = self.core.db.read(|connection| sealed(connection, &name(job)))?;
            let part = sealed.len() as i64;
            let path = self.path(job, part);
            let open = blocking(move || match File::open(path) {
                Ok(file) => {
                    let len = file.metadata()?.len();
                    Ok(Some((file, len)))
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            })
            .await?;
            // Without a file it may just have been sealed; then its row is there now.
            if open.is_some() || self.open_part(job)? == part {
                return Ok(Parts { sealed, open });
            }
        }
    }

    async fn seal_open_part(&self, job: &JobLog) -> Result<(), StoreError> {
        let parts = self.parts(job).await?;
        let (part, first) = (parts.sealed.len() as i64, parts.sealed_len());
        let Some((file, len)) = parts.open else { return Ok(()) };
        if len > 0 {
            let (mut packed, outcome) = frames::pack(file, len);
            let (object, _) = self.core.objects.put_stream(BytesMut::new(), &mut packed, |_| {}).await?;
            let index = outcome.take();
            let (job, log) = (*job, name(job));
            let insert = move |tx: &mut WriteTx<'_>| {
                // A job that was deleted meanwhile leaves nothing behind, and the part can be sealed only once.
                if !exists(tx, &job)? || sealed_parts(tx, &log)? != part {
                    return Ok(());
                }
                tx.run(
                    "INSERT INTO log (job, part, first, size, object, frames) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    params![log, part, first, len, object.key(), index],
                )?;
                object.claim(tx)
            };
            self.core.db.write(insert).await?;
        }
        let path = self.path(job, part);
        blocking(move || remove(&path)).await
    }
}

#[async_trait]
impl LogStore for Logs {
    async fn file(&self, job: &JobLog) -> Result<PathBuf, StoreError> {
        self.in_turn(job, async { Ok(self.path(job, self.open_part(job)?)) }).await
    }

    async fn append(&self, job: &JobLog, lines: &str) -> Result<(), StoreError> {
        let lines = lines.to_owned();
        self.in_turn(job, async {
            let path = self.path(job, self.open_part(job)?);
            // One write, so that the lines stay whole beside those of whoever else appends.
            blocking(move || OpenOptions::new().create(true).append(true).open(path)?.write_all(lines.as_bytes())).await
        })
        .await
    }

    async fn len(&self, job: &JobLog) -> Result<u64, StoreError> {
        Ok(self.parts(job).await?.len())
    }

    async fn read(&self, job: &JobLog, from: u64, to: Option<u64>) -> Result<ByteStream, StoreError> {
        let parts = self.parts(job).await?;
        let end = to.unwrap_or(u64::MAX).min(parts.len());
        let wanted = from.min(end)..end;
        let open_first = parts.sealed_len();

        let mut streams: Vec<ByteStream> = Vec::new();
        for part in parts.sealed {
            let within = within(&wanted, &part.range);
            if !within.is_empty() {
                streams.push(frames::unpack(self.core.clone(), part.object, part.frames, within));
            }
        }
        if let Some((file, len)) = parts.open {
            let within = within(&wanted, &(open_first..open_first + len));
            if !within.is_empty() {
                streams.push(self.core.objects.stream_file(file, within));
            }
        }
        Ok(stream::iter(streams).flatten().boxed())
    }

    async fn seal(&self, job: &JobLog) -> Result<(), StoreError> {
        self.in_turn(job, self.seal_open_part(job)).await
    }
}

/// The bytes of `part` that are `wanted`, counted from its start.
fn within(wanted: &Range<u64>, part: &Range<u64>) -> Range<u64> {
    let at = |byte: u64| byte.clamp(part.start, part.end) - part.start;
    at(wanted.start)..at(wanted.end)
}

/// Takes away the rows of a log; its objects become garbage. Returns the file that is to be removed after the commit.
pub(super) fn delete(core: &Core, tx: &WriteTx<'_>, job: &JobLog) -> Result<PathBuf, StoreError> {
    let log = name(job);
    let objects: Vec<String> = tx.all("SELECT object FROM log WHERE job = ?1", [&log], |row| row.get(0))?;
    for object in &objects {
        objects::discard(tx, object)?;
    }
    tx.run("DELETE FROM log WHERE job = ?1", [&log])?;
    Ok(part_path(core.dir(), &log, objects.len() as i64))
}

/// Removes the files of logs that were deleted. What a crash leaves of them goes at the next start.
pub(super) async fn remove_files(files: Vec<PathBuf>) {
    if let Err(error) = blocking(move || files.iter().try_for_each(|file| remove(file))).await {
        warn!(%error, "Cannot remove the file of a deleted log; the next start will");
    }
}

/// Removes files that a crash left behind after their part was sealed or their job deleted.
pub(super) async fn recover(core: &Arc<Core>) -> Result<(), StoreError> {
    let dir = logs_dir(core.dir());
    let list = move || std::fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>();
    let found = blocking(list).await?;
    for path in found {
        let Some((log, part)) = path.file_name().and_then(|file| file.to_str()).and_then(parse_file) else { continue };
        let Some(job) = parse_name(log) else { continue };
        let is_open =
            core.db.snapshot(|connection| Ok(exists(connection, &job)? && part >= sealed_parts(connection, log)?))?;
        if !is_open {
            blocking(move || remove(&path)).await?;
        }
    }
    Ok(())
}

fn sealed(connection: &Connection, log: &str) -> Result<Vec<Sealed>, StoreError> {
    connection.all("SELECT first, size, object, frames FROM log WHERE job = ?1 ORDER BY part", [log], |row| {
        let (first, size): (u64, u64) = (row.get(0)?, row.get(1)?);
        Ok(Sealed { range: first..first + size, object: row.get(2)?, frames: row.get(3)? })
    })
}

fn sealed_parts(connection: &Connection, log: &str) -> Result<i64, StoreError> {
    Ok(connection.one("SELECT count(*) FROM log WHERE job = ?1", [log], |row| row.get(0))?.unwrap_or_default())
}

fn exists(connection: &Connection, job: &JobLog) -> Result<bool, StoreError> {
    let (sql, id) = match job {
        JobLog::Run(id) => ("SELECT 1 FROM run WHERE id = ?1", id.as_str()),
        JobLog::Build(id) => ("SELECT 1 FROM build WHERE id = ?1", id.as_str()),
    };
    Ok(connection.one(sql, [id], |_| Ok(()))?.is_some())
}

fn name(job: &JobLog) -> String {
    match job {
        JobLog::Run(id) => format!("run-{id}"),
        JobLog::Build(id) => format!("build-{id}"),
    }
}

fn parse_name(log: &str) -> Option<JobLog> {
    let (kind, id) = log.split_once('-')?;
    match kind {
        "run" => model::RunId::parse(id).map(JobLog::Run),
        "build" => model::BuildId::parse(id).map(JobLog::Build),
        _ => None,
    }
}

fn logs_dir(dir: &Path) -> PathBuf {
    dir.join("logs")
}

fn part_path(dir: &Path, log: &str, part: i64) -> PathBuf {
    logs_dir(dir).join(format!("{log}.{part}.log"))
}

/// The log and the part that a file belongs to.
fn parse_file(file: &str) -> Option<(&str, i64)> {
    let (log, part) = file.strip_suffix(".log")?.rsplit_once('.')?;
    Some((log, part.parse().ok()?))
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.map_err(anyhow::Error::from)?.map_err(io_error)
}
