//! What goes over all requests of a queue: counting them, finding those that failed.
//!
//! A queue may hold millions, so both walk over the ids in steps, each a read of its own: no long read keeps the write-ahead
//! log from being moved into the database.

use model::{QueueStats, RequestId, RequestState, Requeue, Timestamp, has_failed};
use rusqlite::{Connection, Row, params};

use super::order::Present;
use super::read::request_id;
use super::write::{SMALL_BODY, Visit, put_large_body};
use crate::StoreError;
use crate::embedded::db::{Counter, Sql as _, WriteTx};

/// Rows of one step.
const STEP_ROWS: usize = 1000;
/// Bytes of bodies after which a step ends early.
const STEP_BYTES: usize = 4 * 1024 * 1024;
/// Requests that one transaction changes: few, so that others write between.
pub(super) const BATCH: usize = 100;

/// Where a walk goes on; `None` behind the last request.
pub(super) type Next = Option<RequestId>;

/// Counts the requests of one step, behind `after`.
pub(super) fn count(
    connection: &Connection,
    k: i64,
    after: Next,
    now: Timestamp,
    stats: &mut QueueStats,
) -> Result<Next, StoreError> {
    let present = Present::of(&Counter::load(connection, k)?, now);
    step(connection, k, after, |row| {
        let ord: Option<i64> = row.get(1)?;
        let state = match ord {
            Some(ord) if present.lock_end(ord).is_some() => RequestState::Locked,
            Some(_) => RequestState::Pending,
            None if has_failed(handled_body(row)?) => RequestState::Failed,
            None => RequestState::Handled,
        };
        stats.count(row.get_ref(2)?.as_str()?, state, row.get(3)?);
        Ok(())
    })
}

/// Finds what failed and is meant among the requests of one step, behind `after`, in batches to be put back together.
pub(super) fn find_failed(
    connection: &Connection,
    k: i64,
    after: Next,
    how: &Requeue,
) -> Result<(Vec<Vec<RequestId>>, Next), StoreError> {
    // A queue that was deleted is not found.
    Counter::load(connection, k)?;
    let (mut batches, mut bytes) = (Vec::<Vec<RequestId>>::new(), 0);
    let next = step(connection, k, after, |row| {
        if row.get_ref(1)?.as_i64_or_null()?.is_some() {
            return Ok(());
        }
        let body = handled_body(row)?;
        if !how.selects(body) {
            return Ok(());
        }
        match batches.last_mut() {
            Some(batch) if batch.len() < BATCH && bytes + body.len() <= STEP_BYTES => batch.push(request_id(row, 0)?),
            _ => {
                bytes = 0;
                batches.push(vec![request_id(row, 0)?]);
            }
        }
        bytes += body.len();
        Ok(())
    })?;
    Ok((batches, next))
}

/// Puts those of the requests that failed and are meant back into the queue, at most `most`, and tells how many.
///
/// What happened to them since they were found counts: a request that is not handled any more stays as it is.
pub(super) fn put_back(
    tx: &mut WriteTx<'_>,
    k: i64,
    requests: &[RequestId],
    how: &Requeue,
    most: u64,
) -> Result<u64, StoreError> {
    let mut visit = Visit::begin(tx, k)?;
    let mut count = 0;
    for request in requests {
        if count == most {
            break;
        }
        let found: Option<(i64, Vec<u8>)> = visit.tx.one(
            "SELECT r, coalesce(body, (SELECT body FROM rq_body WHERE rq_body.r = rq.r))
             FROM rq WHERE k = ?1 AND id = ?2 AND ord IS NULL",
            params![k, request.as_str()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let Some((r, body)) = found else { continue };
        let Some(revived) = how.revive(&body) else { continue };

        let place = visit.next_place(how.forefront);
        let small = Some(&revived.body[..]).filter(|body| body.len() <= SMALL_BODY);
        visit.tx.run(
            "UPDATE rq SET ord = ?2, retries = ?3, body = ?4 WHERE r = ?1",
            params![r, place, revived.retry_count, small],
        )?;
        if small.is_none() {
            put_large_body(visit.tx, r, &revived.body)?;
        } else if body.len() > SMALL_BODY {
            visit.tx.run("DELETE FROM rq_body WHERE r = ?1", [r])?;
        }
        let counter = &mut visit.counter;
        counter.handled = counter.handled.saturating_sub(1);
        counter.bytes = (counter.bytes + revived.body.len() as u64).saturating_sub(body.len() as u64);
        count += 1;
    }
    if count > 0 {
        visit.counter.writes += count;
        visit.touch();
    }
    visit.end()?;
    Ok(count)
}

/// Shows `visit` the `id, ord, url, retries` and, if it is handled, the body of each request of one step.
fn step(
    connection: &Connection,
    k: i64,
    after: Next,
    mut visit: impl FnMut(&Row<'_>) -> rusqlite::Result<()>,
) -> Result<Next, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT id, ord, url, retries,
                CASE WHEN ord IS NULL THEN coalesce(body, (SELECT body FROM rq_body WHERE rq_body.r = rq.r)) END
         FROM rq INDEXED BY rq_id WHERE k = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
    )?;
    let after = after.as_ref().map_or("", RequestId::as_str);
    let mut rows = statement.query(params![k, after, STEP_ROWS])?;
    let (mut count, mut bytes) = (0, 0);
    while let Some(row) = rows.next()? {
        visit(row)?;
        (count, bytes) = (count + 1, bytes + handled_body(row)?.len());
        if count == STEP_ROWS || bytes > STEP_BYTES {
            return Ok(Some(request_id(row, 0)?));
        }
    }
    Ok(None)
}

/// The body of a request that is handled, as it lies in the row.
fn handled_body<'a>(row: &'a Row<'_>) -> rusqlite::Result<&'a [u8]> {
    Ok(row.get_ref(4)?.as_blob_or_null()?.unwrap_or_default())
}
