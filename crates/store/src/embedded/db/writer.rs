//! Group commit: whatever waits is carried out in one transaction, which one sync makes durable for all.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use model::SharedClock;
use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tracing::error;

use super::super::disk::io_error;
use super::checkpoint::Checkpointer;
use super::closed;
use super::counters::Counters;
use super::files;
use super::room::Room;
use super::sql::Sql as _;
use super::tx::{Aside, WriteTx};
use crate::StoreError;

/// Most operations in one transaction.
const MAX_GROUP: usize = 256;
/// Most bytes that one transaction takes on, but for its first operation.
const MAX_GROUP_BYTES: usize = 4 * 1024 * 1024;
/// Bytes that may wait for the writer; beyond that callers wait before they are let in.
const MAX_WAITING_BYTES: usize = 64 * 1024 * 1024;
/// How long the writer waits for others once somebody is there, if the last group was large.
const PATIENCE: Duration = Duration::from_micros(200);
/// Groups between two looks at the disk while it has plenty of room: all of them together would not take half of that.
const GROUPS_BETWEEN_LOOKS: u32 = 64;
/// What an operation counts for beside the bytes that it carries.
const OP_BYTES: usize = 1024;

/// An operation on its way through a transaction.
pub(super) trait Job: Send {
    /// Carries it out, keeps the outcome for later, and tells whether it succeeded.
    fn run(&mut self, tx: &mut WriteTx<'_>) -> bool;
    /// Whether it promises to fail only before its first change.
    fn is_checked(&self) -> bool;
    /// Whether it adds to what is stored, and so must not be carried out on a full disk.
    fn grows(&self) -> bool;
    /// Settles that it is not carried out.
    fn refuse(&mut self, reason: StoreError);
    /// Whether its outcome is known.
    fn is_settled(&self) -> bool;
    /// Tells the caller its outcome, or `failure` if that undid it.
    fn answer(self: Box<Self>, failure: Option<StoreError>);
}

/// What sort of operation it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nature {
    /// See [`Job::is_checked`].
    pub(super) checked: bool,
    /// See [`Job::grows`].
    pub(super) grows: bool,
}

/// A closure that waits for its turn.
pub(super) struct Pending<T, F> {
    op: Option<F>,
    outcome: Option<Result<T, StoreError>>,
    nature: Nature,
    reply: oneshot::Sender<Result<T, StoreError>>,
    /// Gives room to others when the operation is through.
    _room: Option<OwnedSemaphorePermit>,
}

impl<T, F> Pending<T, F> {
    pub(super) fn new(
        op: F,
        nature: Nature,
        room: Option<OwnedSemaphorePermit>,
    ) -> (Self, oneshot::Receiver<Result<T, StoreError>>) {
        let (reply, receiver) = oneshot::channel();
        (Self { op: Some(op), outcome: None, nature, reply, _room: room }, receiver)
    }
}

impl<T, F> Job for Pending<T, F>
where
    T: Send,
    F: FnOnce(&mut WriteTx<'_>) -> Result<T, StoreError> + Send,
{
    fn run(&mut self, tx: &mut WriteTx<'_>) -> bool {
        let Some(op) = self.op.take() else { return false };
        let outcome = op(tx);
        let succeeded = outcome.is_ok();
        self.outcome = Some(outcome);
        succeeded
    }

    fn is_checked(&self) -> bool {
        self.nature.checked
    }

    fn grows(&self) -> bool {
        self.nature.grows
    }

    fn refuse(&mut self, reason: StoreError) {
        self.op = None;
        self.outcome = Some(Err(reason));
    }

    fn is_settled(&self) -> bool {
        self.outcome.is_some()
    }

    fn answer(self: Box<Self>, failure: Option<StoreError>) {
        let outcome = match (self.outcome, failure) {
            // An operation's own error says more than that of its group.
            (Some(Err(error)), _) | (_, Some(error)) => Err(error),
            (Some(outcome), None) => outcome,
            (None, None) => Err(StoreError::Backend(anyhow::anyhow!("an operation of the store panicked"))),
        };
        // A caller that has gone away does not want to know.
        let _ = self.reply.send(outcome);
    }
}

/// The operations that wait for the writer.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    room: Arc<Semaphore>,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<(Box<dyn Job>, usize)>,
    closed: bool,
    /// Operations that the writer, if it sleeps, is to be woken for.
    wanted: Option<usize>,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            waiting: Mutex::default(),
            arrived: Condvar::new(),
            room: Arc::new(Semaphore::new(MAX_WAITING_BYTES / OP_BYTES)),
        }
    }
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiting").field("jobs", &self.jobs.len()).field("closed", &self.closed).finish()
    }
}

impl Queue {
    /// Waits until there is room for an operation that holds on to `weight` bytes.
    pub(super) async fn room(&self, weight: usize) -> Result<OwnedSemaphorePermit, StoreError> {
        let units = (1 + weight / OP_BYTES).min(MAX_WAITING_BYTES / OP_BYTES);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        self.room.clone().acquire_many_owned(units).await.map_err(|_| closed())
    }

    pub(super) fn push(&self, job: Box<dyn Job>, weight: usize) -> Result<(), StoreError> {
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return Err(closed());
        }
        waiting.jobs.push_back((job, OP_BYTES + weight));
        if waiting.wanted.is_some_and(|wanted| waiting.jobs.len() >= wanted) {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// How many operations wait.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.waiting.lock().jobs.len()
    }

    /// Lets nobody in any more. What waits is still carried out.
    pub(super) fn close(&self) {
        self.room.close();
        self.waiting.lock().closed = true;
        self.arrived.notify_one();
    }

    /// Takes the next group, after one of `before` operations. Returns nothing when the queue is closed and empty.
    fn take(&self, before: usize, group: &mut Vec<Box<dyn Job>>) {
        let mut waiting = self.waiting.lock();
        waiting.wanted = Some(1);
        self.arrived.wait_while(&mut waiting, |waiting| waiting.jobs.is_empty() && !waiting.closed);
        // Many who were answered just now are about to come again: one sync for all of them is worth a moment.
        let expected = before * 3 / 4;
        if waiting.jobs.len() < expected {
            waiting.wanted = Some(expected);
            let come = |waiting: &mut Waiting| waiting.jobs.len() < expected && !waiting.closed;
            self.arrived.wait_while_for(&mut waiting, come, PATIENCE);
        }
        waiting.wanted = None;
        let mut bytes = 0;
        while let Some((_, weight)) = waiting.jobs.front() {
            bytes += weight;
            if group.len() == MAX_GROUP || (bytes > MAX_GROUP_BYTES && !group.is_empty()) {
                break;
            }
            group.extend(waiting.jobs.pop_front().map(|(job, _)| job));
        }
    }
}

/// The one connection that writes.
pub(super) struct Writer {
    connection: Connection,
    counters: Counters,
    clock: SharedClock,
    beside: Option<Beside>,
    /// Groups until the room on the disk is looked at again.
    until_look: u32,
}

/// What there is beside a database in a file.
pub(super) struct Beside {
    pub(super) checkpointer: Arc<Checkpointer>,
    pub(super) room: Arc<Room>,
}

/// Why a whole group came to nothing.
struct GroupFailed(StoreError);

impl Writer {
    pub(super) fn new(connection: Connection, clock: SharedClock, beside: Option<Beside>) -> Self {
        Self { connection, counters: Counters::default(), clock, beside, until_look: 0 }
    }

    /// The connection, to read while nothing is written.
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Commits group after group until the queue is closed.
    pub(super) fn serve(&mut self, queue: &Queue) {
        let mut group = Vec::with_capacity(MAX_GROUP);
        let mut size = 0;
        loop {
            queue.take(size, &mut group);
            if group.is_empty() {
                return;
            }
            size = group.len();
            self.commit(&mut group);
        }
    }

    /// Carries out a group in one transaction and answers everybody once it is on disk.
    pub(super) fn commit(&mut self, group: &mut Vec<Box<dyn Job>>) {
        let is_full = !self.has_room();
        for job in group.iter_mut().filter(|job| is_full && job.grows()) {
            job.refuse(StoreError::Full);
        }
        let mut aside = Aside::default();
        let failure = match self.transact(group, &mut aside) {
            Ok(()) => {
                // Caches change before anybody hears of the write, so that whoever does finds it.
                for hook in aside.hooks {
                    hook();
                }
                None
            }
            Err(GroupFailed(failure)) => {
                self.counters.clear();
                // It may be for want of room.
                self.until_look = 0;
                if !self.connection.is_autocommit()
                    && let Err(error) = self.connection.execute_batch("ROLLBACK")
                {
                    error!(%error, "Cannot roll a failed transaction back");
                }
                Some(failure)
            }
        };
        for job in group.drain(..) {
            job.answer(failure.as_ref().map(copy));
        }
        // Which may take its time, and nobody has to wait for it who has not come yet.
        if failure.is_none()
            && let Some(Beside { checkpointer, .. }) = &self.beside
        {
            checkpointer.note_commit(&self.connection);
        }
    }

    /// Whether what grows may be carried out. Empties the write-ahead log if there seems to be no room, since that is room too.
    fn has_room(&mut self) -> bool {
        let Some(Beside { checkpointer, room }) = &self.beside else { return true };
        if let Some(fewer) = self.until_look.checked_sub(1) {
            self.until_look = fewer;
            return true;
        }
        let spare = || spare(&self.connection).unwrap_or_default();
        let mut has_room = room.look(spare);
        if !has_room {
            checkpointer.empty_log(&self.connection);
            room.balance();
            has_room = room.look(spare);
        }
        if room.note(!has_room) && has_room {
            room.balance();
        }
        self.until_look = if room.has_plenty() { GROUPS_BETWEEN_LOOKS } else { 0 };
        has_room
    }

    fn transact(&mut self, group: &mut [Box<dyn Job>], aside: &mut Aside) -> Result<(), GroupFailed> {
        self.connection.run("BEGIN IMMEDIATE", []).map_err(GroupFailed)?;
        for job in group.iter_mut().filter(|job| !job.is_settled()) {
            self.carry_out(job.as_mut(), aside)?;
        }
        self.counters.flush(&self.connection).map_err(GroupFailed)?;
        // A database without threads does not outlive the process, nor do its files.
        let durable = self.beside.is_some();
        files::write(&aside.writes, durable).map_err(|error| GroupFailed(io_error(error)))?;
        self.connection.run("COMMIT", []).map_err(GroupFailed)?;
        Ok(())
    }

    /// Runs one operation so that its failure leaves the others alone.
    fn carry_out(&mut self, job: &mut dyn Job, aside: &mut Aside) -> Result<(), GroupFailed> {
        let checked = job.is_checked();
        let changes_before = self.connection.total_changes();
        if !checked {
            self.connection.run("SAVEPOINT op", []).map_err(GroupFailed)?;
        }
        self.counters.begin_op();
        let (hooks_before, writes_before) = (aside.hooks.len(), aside.writes.len());
        let mut tx = WriteTx {
            connection: &self.connection,
            counters: &mut self.counters,
            aside: &mut *aside,
            now: self.clock.now(),
        };
        let succeeded = catch_unwind(AssertUnwindSafe(|| job.run(&mut tx))).unwrap_or_else(|_| {
            error!("An operation of the store panicked");
            false
        });
        if succeeded {
            if !checked {
                self.connection.run("RELEASE op", []).map_err(GroupFailed)?;
            }
            return Ok(());
        }

        self.counters.undo_op();
        aside.hooks.truncate(hooks_before);
        aside.writes.truncate(writes_before);
        if self.connection.is_autocommit() {
            // SQLite has given the whole transaction up, as it may when the disk is full.
            return Err(GroupFailed(StoreError::Full));
        }
        if !checked {
            self.connection.run("ROLLBACK TO op", []).map_err(GroupFailed)?;
            self.connection.run("RELEASE op", []).map_err(GroupFailed)?;
        } else if self.connection.total_changes() != changes_before {
            return Err(GroupFailed(StoreError::Backend(anyhow::anyhow!("an operation failed half-way"))));
        }
        Ok(())
    }
}

/// Bytes of the database that hold nothing.
fn spare(connection: &Connection) -> Option<u64> {
    let number = |pragma| connection.query_row(pragma, [], |row| row.get::<_, u64>(0)).ok();
    Some(number("PRAGMA freelist_count")? * number("PRAGMA page_size")?)
}

/// The same failure for another caller.
fn copy(failure: &StoreError) -> StoreError {
    match failure {
        StoreError::Full => StoreError::Full,
        other => StoreError::Backend(anyhow::anyhow!("the commit failed: {other:#}")),
    }
}
