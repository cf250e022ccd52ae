//! Streams of files: what the system has in its cache is read on the spot, the rest on threads that may block.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, stream as streams};
use parking_lot::Mutex;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::ReadWriteFlags;

use crate::ByteStream;

/// Bytes that are read at a time: few enough to be in the cache of a core still when they are sent.
const READ: usize = 256 * 1024;
/// Buffers that are kept when nobody reads.
const KEPT: usize = 8;

/// Opens a file on the spot if the system knows where it lies, and otherwise on a thread that may block.
pub(super) async fn open(path: PathBuf) -> io::Result<File> {
    match openat2(CWD, &path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::CACHED) {
        Ok(file) => Ok(file.into()),
        // If something is the matter, it shows here.
        Err(_) => tokio::task::spawn_blocking(|| File::open(path)).await.map_err(io::Error::other)?,
    }
}

/// Streams a part of a file through some of the buffers in `spare`.
pub(super) fn stream(file: File, range: Range<u64>, spare: Arc<Spare>) -> ByteStream {
    let rest = Rest { file: Arc::new(file), range, spare };
    streams::try_unfold(rest, |mut rest| async move {
        if rest.range.is_empty() {
            return Ok(None);
        }
        // Otherwise a file in the cache would never let go of the thread.
        tokio::task::coop::consume_budget().await;
        Ok(Some((rest.read().await?, rest)))
    })
    .boxed()
}

/// What is still to be read.
struct Rest {
    file: Arc<File>,
    range: Range<u64>,
    spare: Arc<Spare>,
}

/// Buffers of [`READ`] bytes. A stream takes two or three in turns, whatever its length, so they need not be filled with zeros
/// again and stay in the cache of a core.
#[derive(Debug, Default)]
pub(super) struct Spare(Mutex<Vec<Vec<u8>>>);

/// A buffer on loan, unless it is a smaller one, which is not taken back.
struct Loan {
    buffer: Vec<u8>,
    spare: Arc<Spare>,
}

impl Rest {
    async fn read(&mut self) -> io::Result<Bytes> {
        let (at, left) = (self.range.start, self.range.end - self.range.start);
        let length = usize::try_from(left).map_or(READ, |left| left.min(READ));
        let mut buffer = self.spare.take(length);
        let read = match read_cached(&self.file, &mut buffer[..length], at) {
            Some(read) => read,
            None => {
                let file = self.file.clone();
                let read = move || file.read_exact_at(&mut buffer[..length], at).map(|()| buffer);
                buffer = tokio::task::spawn_blocking(read).await.map_err(io::Error::other)??;
                length
            }
        };
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.range.start += read as u64;
        Ok(Bytes::from_owner(Loan { buffer, spare: self.spare.clone() }).slice(..read))
    }
}

impl Spare {
    /// A buffer of at least `length` bytes, which is at most [`READ`].
    fn take(&self, length: usize) -> Vec<u8> {
        // A small part that waits for a slow client should not hold on to much.
        let spare = if length > READ / 2 { self.0.lock().pop() } else { return vec![0; length] };
        spare.unwrap_or_else(|| vec![0; READ])
    }

    fn give_back(&self, buffer: Vec<u8>) {
        let mut spare = self.0.lock();
        if buffer.len() == READ && spare.len() < KEPT {
            spare.push(buffer);
        }
    }
}

impl AsRef<[u8]> for Loan {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.spare.give_back(std::mem::take(&mut self.buffer));
    }
}

/// Reads what can be had without waiting for the disk, at most what fits into the buffer; `None` if that is nothing, or something
/// is the matter, which shows when it is read the other way.
fn read_cached(file: &File, buffer: &mut [u8], at: u64) -> Option<usize> {
    rustix::io::preadv2(file, &mut [IoSliceMut::new(buffer)], at, ReadWriteFlags::NOWAIT).ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use futures::TryStreamExt as _;

    use super::*;

    fn file_with(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[tokio::test]
    async fn every_part_of_a_file_comes_as_it_is() {
        let bytes: Vec<u8> = (0..3 * READ + 7).map(|at| u8::try_from(at % 251).unwrap()).collect();
        for range in [0..bytes.len(), 5..6, 7..READ + 7, 0..READ, READ - 1..3 * READ, 9..9] {
            let part = stream(file_with(&bytes), range.start as u64..range.end as u64, Arc::default());
            let parts: Vec<Bytes> = part.try_collect().await.unwrap();
            assert!(parts.concat() == bytes[range.clone()], "{range:?}");
        }
    }

    #[tokio::test]
    async fn a_file_is_opened_or_it_is_told_why_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "content").unwrap();

        let file = open(path.clone()).await.unwrap();

        let parts: Vec<Bytes> = stream(file, 0..7, Arc::default()).try_collect().await.unwrap();
        assert_eq!(parts.concat(), b"content");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(open(path).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn a_file_that_is_too_short_is_an_error() {
        let outcome = stream(file_with(&[1; 1000]), 0..1001, Arc::default()).try_collect::<Vec<_>>().await;
        assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn buffers_are_used_again_and_never_more_of_them_kept_than_a_few() {
        let spare = Arc::new(Spare::default());
        let part = |length: usize| stream(file_with(&vec![1; length]), 0..length as u64, spare.clone());
        let kept = || spare.0.lock().iter().map(Vec::len).collect::<Vec<_>>();

        let mut parts = part(9 * READ);
        while let Some(part) = parts.try_next().await.unwrap() {
            assert_eq!(kept(), [0; 0], "the one on loan is the only one");
            drop(part);
            assert_eq!(kept(), [READ]);
        }
        part(1000).try_collect::<Vec<_>>().await.unwrap();
        part(20 * READ).try_collect::<Vec<_>>().await.unwrap();
        assert_eq!(kept(), [READ; KEPT]);
    }
}
