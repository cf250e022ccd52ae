//! What changes a queue. Each function is one operation of the writer.
//!
//! They check everything first and fail only before they change anything, so none of them needs a savepoint.

use model::{RequestId, RunId, Timestamp};
use rusqlite::{Connection, params};

use super::order::{Present, next_place};
use super::{count_client, read, touched};
use crate::embedded::db::{Counter, Sql as _, WriteTx};
use crate::{Added, DeleteOutcome, HeadItem, LockedHead, Locker, NewRequest, Noun, StoreError, Updated};

/// Bodies up to this size stand in the row of their request, so that rows stay within a page.
pub(super) const SMALL_BODY: usize = 1024;

/// A queue while an operation changes it.
pub(super) struct Visit<'t, 'c> {
    pub(super) tx: &'t mut WriteTx<'c>,
    pub(super) k: i64,
    /// Written back by [`end`](Self::end).
    pub(super) counter: Counter,
    pub(super) present: Present,
}

impl<'t, 'c> Visit<'t, 'c> {
    pub(super) fn begin(tx: &'t mut WriteTx<'c>, k: i64) -> Result<Self, StoreError> {
        let mut counter = *tx.counter(k)?;
        let present = Present::enter(&mut counter, tx.now());
        counter.accessed_at = counter.accessed_at.max(tx.now());
        Ok(Self { tx, k, counter, present })
    }

    /// Notes that something changed, locks included (`S26`).
    pub(super) fn touch(&mut self) {
        self.counter.touch(self.tx.now());
    }

    pub(super) fn end(self) -> Result<(), StoreError> {
        *self.tx.counter_mut(self.k)? = self.counter;
        Ok(())
    }

    /// The next place at the end, or in front of all others.
    pub(super) fn next_place(&mut self, forefront: bool) -> i64 {
        next_place(&mut self.counter, forefront)
    }

    fn find(&self, request: &RequestId) -> Result<Option<Found>, StoreError> {
        self.tx.one(
            "SELECT r, ord, lock_by, lock_run,
                    coalesce(length(body), (SELECT length(body) FROM rq_body WHERE rq_body.r = rq.r))
             FROM rq WHERE k = ?1 AND id = ?2",
            params![self.k, request.as_str()],
            |row| {
                Ok(Found {
                    r: row.get(0)?,
                    ord: row.get(1)?,
                    lock_by: row.get(2)?,
                    lock_run: row.get(3)?,
                    size: row.get(4)?,
                })
            },
        )
    }

    fn is_locked(&self, found: &Found) -> bool {
        found.ord.is_some_and(|ord| self.present.lock_end(ord).is_some())
    }

    /// Whether `by` holds it.
    fn is_own(&self, found: &Found, by: &Locker) -> bool {
        self.is_locked(found) && holds(by, found.lock_by.as_deref(), found.lock_run.as_deref())
    }

    /// Whether somebody else than `by` holds it.
    fn is_anothers(&self, found: &Found, by: &Locker) -> bool {
        self.is_locked(found) && !holds(by, found.lock_by.as_deref(), found.lock_run.as_deref())
    }

    /// Remembers that the run of `by` has locked something here.
    fn note_run(&self, by: &Locker) -> Result<(), StoreError> {
        if let Some(run) = &by.run {
            self.tx.run("INSERT OR IGNORE INTO rq_run (run, k) VALUES (?1, ?2)", params![run.as_str(), self.k])?;
        }
        Ok(())
    }

    fn prolong(
        &mut self,
        request: &RequestId,
        millis: i64,
        forefront: bool,
        by: &Locker,
    ) -> Result<Result<Timestamp, StoreError>, StoreError> {
        let Some(found) = self.find(request)? else { return Ok(Err(StoreError::NotFound(Noun::Request))) };
        let Some(ord) = found.ord.filter(|_| !self.is_anothers(&found, by)) else {
            return Ok(Err(StoreError::HandledOrLocked));
        };
        let number = self.next_place(false);
        let end = self.present.locked(millis, number, forefront);
        if self.is_locked(&found) {
            // It stays the client's when its run prolongs it, and the other way round.
            self.tx.run(
                "UPDATE rq SET ord = ?2, lock_by = coalesce(?3, lock_by), lock_run = coalesce(?4, lock_run) WHERE r = ?1",
                params![found.r, end, by.client_key, by.run.as_ref().map(RunId::as_str)],
            )?;
        } else {
            self.lock(found.r, end, ord, by)?;
        }
        self.note_run(by)?;
        self.counter.writes += 1;
        self.touch();
        Ok(Ok(self.tx.now().plus_millis(millis)))
    }

    fn release(
        &mut self,
        request: &RequestId,
        forefront: bool,
        by: &Locker,
    ) -> Result<Result<(), StoreError>, StoreError> {
        let Some(found) = self.find(request)? else { return Ok(Err(StoreError::NotFound(Noun::Request))) };
        if self.is_anothers(&found, by) {
            return Ok(Err(StoreError::HandledOrLocked));
        }
        if self.is_locked(&found) {
            let place = self.next_place(forefront);
            self.tx.run(
                "UPDATE rq SET ord = ?2, place = NULL, lock_by = NULL, lock_run = NULL WHERE r = ?1",
                params![found.r, place],
            )?;
            self.touch();
        }
        Ok(Ok(()))
    }

    /// Locks a request that stands at `place` until `end`.
    fn lock(&self, r: i64, end: i64, place: i64, by: &Locker) -> Result<(), StoreError> {
        self.tx.run(
            "UPDATE rq SET ord = ?2, place = ?3, lock_by = ?4, lock_run = ?5 WHERE r = ?1",
            params![r, end, place, by.client_key, by.run.as_ref().map(RunId::as_str)],
        )?;
        Ok(())
    }
}

/// A request that is there, without its content.
struct Found {
    r: i64,
    ord: Option<i64>,
    lock_by: Option<String>,
    lock_run: Option<String>,
    size: u64,
}

/// Whether `by` is the client or the run that holds a lock (`Q44`, `Q48`).
pub(super) fn holds(by: &Locker, lock_by: Option<&str>, lock_run: Option<&str>) -> bool {
    let same_client = by.client_key.is_some() && by.client_key.as_deref() == lock_by;
    let same_run = by.run.is_some() && by.run.as_ref().map(RunId::as_str) == lock_run;
    same_client || same_run
}

/// Adds requests (`Q13` to `Q17`).
pub(super) fn add(
    tx: &mut WriteTx<'_>,
    k: i64,
    requests: &[NewRequest],
    forefront: bool,
    by: &Locker,
) -> Result<Vec<Added>, StoreError> {
    let mut visit = Visit::begin(tx, k)?;
    count_client(&mut visit.counter, by);
    let mut added = Vec::with_capacity(requests.len());
    for request in requests {
        // Nearly all are new, and the insertion itself finds those that are not.
        let is_new = insert(&mut visit, request, forefront)?;
        let present = if is_new { None } else { visit.find(&request.id)? };
        if is_new {
            visit.touch();
        }
        added.push(Added {
            id: request.id,
            was_already_present: present.is_some(),
            was_already_handled: present.is_some_and(|found| found.ord.is_none()),
        });
    }
    visit.counter.writes += requests.len() as u64;
    visit.end()?;
    Ok(added)
}

/// Replaces a request or inserts it, and takes its lock away (`Q25` to `Q30`).
pub(super) fn update(
    tx: &mut WriteTx<'_>,
    k: i64,
    request: &NewRequest,
    forefront: bool,
    by: &Locker,
) -> Result<Updated, StoreError> {
    let mut visit = Visit::begin(tx, k)?;
    count_client(&mut visit.counter, by);
    let found = visit.find(&request.id)?;
    let released_lock = found.as_ref().is_some_and(|found| visit.is_own(found, by));
    match &found {
        Some(found) => replace(&mut visit, found, request, forefront)?,
        None => {
            insert(&mut visit, request, forefront)?;
        }
    }
    visit.counter.writes += 1;
    visit.touch();
    visit.end()?;
    let request = Added {
        id: request.id,
        was_already_present: found.is_some(),
        was_already_handled: found.is_some_and(|found| found.ord.is_none()),
    };
    Ok(Updated { request, released_lock })
}

/// Deletes requests that nobody else holds (`Q32` to `Q34`).
pub(super) fn delete(
    tx: &mut WriteTx<'_>,
    k: i64,
    requests: &[RequestId],
    by: &Locker,
) -> Result<Vec<DeleteOutcome>, StoreError> {
    let mut visit = Visit::begin(tx, k)?;
    count_client(&mut visit.counter, by);
    let mut outcomes = Vec::with_capacity(requests.len());
    for request in requests {
        outcomes.push(match visit.find(request)? {
            None => DeleteOutcome::Absent,
            Some(found) if visit.is_anothers(&found, by) => DeleteOutcome::Locked,
            Some(found) => {
                visit.tx.run("DELETE FROM rq WHERE r = ?1", [found.r])?;
                visit.tx.run("DELETE FROM rq_body WHERE r = ?1", [found.r])?;
                let counter = &mut visit.counter;
                counter.items = counter.items.saturating_sub(1);
                counter.handled = counter.handled.saturating_sub(u64::from(found.ord.is_none()));
                counter.bytes = counter.bytes.saturating_sub(found.size);
                counter.writes += 1;
                counter.deletes += 1;
                visit.touch();
                DeleteOutcome::Deleted
            }
        });
    }
    visit.end()?;
    Ok(outcomes)
}

/// Locks the first pending requests (`Q41`).
pub(super) fn lock_head(
    tx: &mut WriteTx<'_>,
    k: i64,
    limit: usize,
    millis: i64,
    by: &Locker,
) -> Result<LockedHead, StoreError> {
    let mut visit = Visit::begin(tx, k)?;
    count_client(&mut visit.counter, by);
    let horizon = visit.present.horizon();
    let free: Vec<(i64, i64, HeadItem)> = visit.tx.all(
        "SELECT r, ord, id, url, unique_key, method, retries FROM rq
         WHERE k = ?1 AND ord > -?2 AND ord < ?2 ORDER BY ord, r LIMIT ?3",
        params![k, horizon, limit],
        |row| Ok((row.get(0)?, row.get(1)?, read::head_item(row, 2)?)),
    )?;

    // Locks that end together give their requests back in the order of the head; in front that means: the first one last.
    let in_front = free.partition_point(|(_, ord, _)| *ord < 0);
    for (r, ord, _) in free[..in_front].iter().rev().chain(&free[in_front..]) {
        let number = visit.next_place(false);
        let end = visit.present.locked(millis, number, *ord < 0);
        visit.lock(*r, end, *ord, by)?;
    }
    if !free.is_empty() {
        visit.note_run(by)?;
        visit.counter.writes += free.len() as u64;
        visit.touch();
    }

    let has_locked = "SELECT EXISTS (SELECT 1 FROM rq WHERE k = ?1 AND ord >= ?2)
                          OR EXISTS (SELECT 1 FROM rq WHERE k = ?1 AND ord <= -?2)";
    let queue_has_locked_requests =
        visit.tx.one(has_locked, params![k, horizon], |row| row.get(0))?.unwrap_or_default();
    let head = LockedHead {
        queue: touched(&visit.counter),
        items: free.into_iter().map(|(_, _, item)| item).collect(),
        lock_expires_at: visit.tx.now().plus_millis(millis),
        queue_has_locked_requests,
    };
    visit.end()?;
    Ok(head)
}

/// Locks a request, be it held by the caller or by nobody (`Q47` to `Q50`).
///
/// A refusal is an outcome, too: the client was there and counts.
pub(super) fn prolong(
    tx: &mut WriteTx<'_>,
    k: i64,
    request: &RequestId,
    millis: i64,
    forefront: bool,
    by: &Locker,
) -> Result<Result<Timestamp, StoreError>, StoreError> {
    let mut visit = Visit::begin(tx, k)?;
    count_client(&mut visit.counter, by);
    let outcome = visit.prolong(request, millis, forefront, by)?;
    visit.end()?;
    Ok(outcome)
}

/// Gives a request back (`Q51`). A refusal is an outcome, as in [`prolong`].
pub(super) fn release(
    tx: &mut WriteTx<'_>,
    k: i64,
    request: &RequestId,
    forefront: bool,
    by: &Locker,
) -> Result<Result<(), StoreError>, StoreError> {
    let mut visit = Visit::begin(tx, k)?;
    count_client(&mut visit.counter, by);
    let outcome = visit.release(request, forefront, by)?;
    visit.end()?;
    Ok(outcome)
}

/// Requests that one step takes away. Each changes a page of its own in an index, all of which go to the disk before
/// anybody else's write does.
const PURGE_STEP: usize = 50;

/// Removes some requests of a queue that was deleted, at most `limit`, and tells how many; 0 means that none is left.
pub(in crate::embedded) fn purge(connection: &Connection, k: i64, limit: usize) -> Result<usize, StoreError> {
    // Those that stand next to each other in the queue mostly lie on one page; of handled ones nobody knows.
    let by_place = "SELECT r, body IS NULL FROM rq WHERE k = ?1 AND ord IS NOT NULL ORDER BY ord LIMIT ?2";
    let by_id = "SELECT r, body IS NULL FROM rq WHERE k = ?1 ORDER BY id LIMIT ?2";
    let find = |sql| connection.all(sql, params![k, limit.min(PURGE_STEP)], |row| Ok((row.get(0)?, row.get(1)?)));
    let mut rows: Vec<(i64, bool)> = find(by_place)?;
    if rows.is_empty() {
        rows = find(by_id)?;
    }
    for (r, has_large_body) in &rows {
        connection.run("DELETE FROM rq WHERE r = ?1", [r])?;
        if *has_large_body {
            connection.run("DELETE FROM rq_body WHERE r = ?1", [r])?;
        }
    }
    Ok(rows.len())
}

/// Inserts a request unless it is there, and tells whether it was new.
fn insert(visit: &mut Visit<'_, '_>, request: &NewRequest, forefront: bool) -> Result<bool, StoreError> {
    let ord = new_place(visit, request, forefront);
    let columns = Columns::of(request);
    let inserted = visit.tx.run(
        "INSERT INTO rq (k, id, ord, retries, method, unique_key, url, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (k, id) DO NOTHING",
        params![
            visit.k,
            request.id.as_str(),
            ord,
            request.retry_count,
            columns.method,
            columns.unique_key,
            request.url,
            columns.small_body
        ],
    )?;
    if inserted == 0 {
        return Ok(false);
    }
    if columns.small_body.is_none() {
        put_large_body(visit.tx, visit.tx.last_insert_rowid(), &request.body)?;
    }
    visit.counter.items += 1;
    visit.counter.handled += u64::from(ord.is_none());
    visit.counter.bytes += request.body.len() as u64;
    Ok(true)
}

fn replace(visit: &mut Visit<'_, '_>, found: &Found, request: &NewRequest, forefront: bool) -> Result<(), StoreError> {
    let ord = new_place(visit, request, forefront);
    let columns = Columns::of(request);
    visit.tx.run(
        "UPDATE rq SET ord = ?2, place = NULL, lock_by = NULL, lock_run = NULL, retries = ?3, method = ?4,
                unique_key = ?5, url = ?6, body = ?7 WHERE r = ?1",
        params![found.r, ord, request.retry_count, columns.method, columns.unique_key, request.url, columns.small_body],
    )?;
    if columns.small_body.is_none() {
        put_large_body(visit.tx, found.r, &request.body)?;
    } else if found.size > SMALL_BODY as u64 {
        visit.tx.run("DELETE FROM rq_body WHERE r = ?1", [found.r])?;
    }
    let counter = &mut visit.counter;
    counter.handled = (counter.handled + u64::from(ord.is_none())).saturating_sub(u64::from(found.ord.is_none()));
    counter.bytes = (counter.bytes + request.body.len() as u64).saturating_sub(found.size);
    Ok(())
}

/// Where a request that comes as `request` will stand: nowhere if it is handled (`Q16`, `Q27`).
fn new_place(visit: &mut Visit<'_, '_>, request: &NewRequest, forefront: bool) -> Option<i64> {
    request.handled_at.is_none().then(|| visit.next_place(forefront))
}

pub(super) fn put_large_body(connection: &Connection, r: i64, body: &[u8]) -> Result<(), StoreError> {
    connection.run("INSERT OR REPLACE INTO rq_body (r, body) VALUES (?1, ?2)", params![r, body])?;
    Ok(())
}

/// What is left of a request's members when those that are as nearly always are left out.
struct Columns<'a> {
    method: Option<&'a str>,
    unique_key: Option<&'a str>,
    small_body: Option<&'a [u8]>,
}

impl<'a> Columns<'a> {
    fn of(request: &'a NewRequest) -> Self {
        Self {
            method: Some(request.method.as_str()).filter(|method| *method != "GET"),
            unique_key: Some(request.unique_key.as_str()).filter(|key| *key != request.url),
            small_body: Some(&request.body[..]).filter(|body| body.len() <= SMALL_BODY),
        }
    }
}
