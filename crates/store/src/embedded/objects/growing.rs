//! Objects that grow: written bit by bit while rows tell how far they count, and finished once.
//!
//! What lies beyond that is what a transaction left that came to nothing; it is written over.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;

use super::super::db::WriteTx;
use super::super::disk::io_error;
use super::{Objects, Reserved};
use crate::StoreError;

/// Blanks that are kept for the next caller.
const MAX_BLANKS: usize = 64;
/// Files that are kept open.
pub(super) const OPEN_FILES: usize = 128;

/// An empty object, on disk and not in use.
#[derive(Debug)]
pub(in crate::embedded) struct Blank {
    reserved: Reserved,
    file: Arc<File>,
}

impl Objects {
    /// Makes blanks for a transaction, which must not wait for that. Those that it does not use are to be
    /// [given back](Self::give_back).
    pub(in crate::embedded) async fn blanks(&self, count: usize) -> Result<Vec<Blank>, StoreError> {
        let mut blanks = {
            let mut spare = self.blanks.lock();
            let rest = spare.len().saturating_sub(count);
            spare.split_off(rest)
        };
        while blanks.len() < count {
            let reserved = self.reserve().await?;
            let (path, durable) = (self.file(&reserved.key), self.durable);
            let made =
                tokio::task::spawn_blocking(move || create(&path, durable)).await.map_err(anyhow::Error::from)?;
            blanks.push(Blank { reserved, file: Arc::new(made.map_err(io_error)?) });
        }
        Ok(blanks)
    }

    /// Takes back blanks that were not used.
    pub(in crate::embedded) fn give_back(&self, blanks: Vec<Blank>) {
        let mut spare = self.blanks.lock();
        spare.extend(blanks);
        spare.truncate(MAX_BLANKS);
    }

    /// Has a row of this transaction name a blank, by the key that is returned.
    pub(in crate::embedded) fn begin(&self, tx: &mut WriteTx<'_>, blank: Blank) -> Result<String, StoreError> {
        let Blank { reserved, file } = blank;
        let key = reserved.key.clone();
        reserved.claim(tx)?;
        self.open.set(key.clone(), file);
        Ok(key)
    }

    /// Has an object that grows hold `bytes` from `at` on; they will be on disk before the transaction is.
    pub(in crate::embedded) fn write_at(
        &self,
        tx: &mut WriteTx<'_>,
        key: &str,
        at: u64,
        bytes: Bytes,
    ) -> Result<(), StoreError> {
        let file = self.open.get_or_read(&key.to_owned(), || self.open_to_write(key).map(Some))?;
        tx.write_file(file.context("an object is always opened or an error")?, at, bytes);
        Ok(())
    }

    /// Writes the last bytes of an object, from `at` on; all of it is on disk when this returns.
    pub(in crate::embedded) fn finish(&self, key: &str, at: u64, rest: &[u8]) -> Result<(), StoreError> {
        let file = self.open_to_write(key)?;
        self.open.remove(&key.to_owned());
        let finish = || {
            file.write_all_at(rest, at)?;
            file.set_len(at + rest.len() as u64)?;
            if self.durable { file.sync_data() } else { Ok(()) }
        };
        finish().map_err(io_error)
    }

    fn open_to_write(&self, key: &str) -> Result<Arc<File>, StoreError> {
        let file = OpenOptions::new().write(true).open(self.file(key));
        Ok(Arc::new(file.with_context(|| format!("cannot open object {key}"))?))
    }
}

/// Makes an empty file that a crash does not take away.
fn create(path: &Path, durable: bool) -> io::Result<File> {
    let shelf = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::create_dir_all(shelf)?;
    let file = OpenOptions::new().write(true).create_new(true).open(path)?;
    if durable {
        // The directory of the shelf, too: who made the shelf a moment ago may not have come to that yet.
        for dir in path.ancestors().skip(1).take(2) {
            File::open(dir)?.sync_all()?;
        }
    }
    Ok(file)
}
