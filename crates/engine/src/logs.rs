//! Logs as their readers see them: what is there, and what comes.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::stream::{self, StreamExt as _};
use parking_lot::Mutex;
use store::{ByteStream, JobLog, StoreError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{Engine, EngineError};

/// How often a followed log is looked at, once for all of its followers.
const LOOKED_AT_EVERY: Duration = Duration::from_millis(100);
/// A line longer than this is handed on in pieces.
const LONGEST_LINE: usize = 64 * 1024;

/// The logs that somebody follows.
#[derive(Default)]
pub(crate) struct Tails(Mutex<HashMap<JobLog, Weak<watch::Sender<Length>>>>);

/// How long a log is, and whether that is all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Length {
    bytes: u64,
    is_final: bool,
}

impl Engine {
    /// Reads a log: what is there now, or with `follow` also what comes, until the job has ended and everything is out
    /// (`LOG-6`). Chunks end at line breaks, except in very long lines (`LOG-8`).
    ///
    /// A job that is not there has an empty log; telling so is the caller's.
    ///
    /// # Errors
    /// Of the store.
    pub async fn log(&self, job: JobLog, follow: bool) -> Result<ByteStream, EngineError> {
        let ended = follow.then(|| self.end_of(&job)).flatten();
        let Some(ended) = ended else { return Ok(self.inner.store.logs.read(&job, 0, None).await?) };
        let tail = self.tail(job, ended);
        let reader = Reader { engine: self.clone(), job, length: tail.subscribe(), tail, read: 0, chunks: None };
        let chunks =
            stream::try_unfold(
                reader,
                |mut reader| async move { Ok(reader.next().await?.map(|chunk| (chunk, reader))) },
            );
        Ok(whole_lines(chunks.boxed()))
    }

    /// What is cancelled when the job has ended; `None` if it has.
    fn end_of(&self, job: &JobLog) -> Option<CancellationToken> {
        let ended = match job {
            JobLog::Run(id) => self.inner.runs.get(id)?.ended.clone(),
            JobLog::Build(id) => self.inner.builds.get(id)?.ended.clone(),
        };
        (!ended.is_cancelled()).then_some(ended)
    }

    /// The length of a log that is followed; one task looks at it, however many follow.
    fn tail(&self, job: JobLog, ended: CancellationToken) -> Arc<watch::Sender<Length>> {
        let mut tails = self.inner.tails.0.lock();
        if let Some(tail) = tails.get(&job).and_then(Weak::upgrade) {
            return tail;
        }
        let tail = Arc::new(watch::Sender::new(Length::default()));
        tails.insert(job, Arc::downgrade(&tail));
        let (engine, looked_at) = (self.clone(), Arc::downgrade(&tail));
        self.spawn(async move {
            engine.look_at(&job, &looked_at, &ended).await;
            let mut tails = engine.inner.tails.0.lock();
            if tails.get(&job).is_some_and(|tail| tail.ptr_eq(&looked_at)) {
                tails.remove(&job);
            }
        });
        tail
    }

    async fn look_at(&self, job: &JobLog, tail: &Weak<watch::Sender<Length>>, ended: &CancellationToken) {
        loop {
            // Asked before the length is, so that nothing written before the end is missed.
            let is_final = ended.is_cancelled();
            let length = self.inner.store.logs.len(job).await;
            let Some(followers) = tail.upgrade() else { return };
            match length {
                Ok(bytes) => {
                    followers.send_if_modified(|length| {
                        let newer = Length { bytes: bytes.max(length.bytes), is_final };
                        std::mem::replace(length, newer) != newer
                    });
                    if is_final {
                        return;
                    }
                }
                Err(StoreError::NotFound(_)) => {
                    followers.send_modify(|length| length.is_final = true);
                    return;
                }
                Err(error) => warn!(?job, %error, "Cannot look at a log"),
            }
            drop(followers);
            tokio::select! {
                () = tokio::time::sleep(LOOKED_AT_EVERY) => {}
                () = ended.cancelled(), if !is_final => {}
            }
        }
    }
}

/// One follower of a log.
struct Reader {
    engine: Engine,
    job: JobLog,
    length: watch::Receiver<Length>,
    /// Keeps the task that looks at the log going.
    #[expect(dead_code, reason = "held, not used")]
    tail: Arc<watch::Sender<Length>>,
    read: u64,
    chunks: Option<ByteStream>,
}

impl Reader {
    async fn next(&mut self) -> std::io::Result<Option<Bytes>> {
        loop {
            if let Some(chunks) = &mut self.chunks {
                match chunks.next().await.transpose()? {
                    Some(chunk) => {
                        self.read += u64::try_from(chunk.len()).unwrap_or_default();
                        return Ok(Some(chunk));
                    }
                    None => self.chunks = None,
                }
            }
            let length = *self.length.borrow_and_update();
            if self.read < length.bytes {
                let logs = &self.engine.inner.store.logs;
                let chunks = logs.read(&self.job, self.read, Some(length.bytes)).await;
                self.chunks = Some(chunks.map_err(std::io::Error::other)?);
                continue;
            }
            if length.is_final {
                return Ok(None);
            }
            tokio::select! {
                // The sender goes only with the engine.
                changed = self.length.changed() => if changed.is_err() { return Ok(None) },
                // A server that stops must not leave its readers hanging.
                () = self.engine.inner.stop.cancelled() => return Ok(None),
            }
        }
    }
}

/// Hands on whole lines, as far as lines have an end in sight.
fn whole_lines(chunks: ByteStream) -> ByteStream {
    let state = Some((chunks, BytesMut::new()));
    stream::try_unfold(state, |state| async move {
        let Some((mut chunks, mut pending)) = state else { return Ok(None) };
        loop {
            let Some(chunk) = chunks.next().await.transpose()? else {
                return Ok((!pending.is_empty()).then(|| (pending.freeze(), None)));
            };
            if pending.is_empty() && chunk.ends_with(b"\n") {
                return Ok(Some((chunk, Some((chunks, pending)))));
            }
            pending.extend_from_slice(&chunk);
            let end = match pending.iter().rposition(|byte| *byte == b'\n') {
                Some(end) => end + 1,
                None if pending.len() > LONGEST_LINE => pending.len(),
                None => continue,
            };
            return Ok(Some((pending.split_to(end).freeze(), Some((chunks, pending)))));
        }
    })
    .boxed()
}
