//! What readers ask of a queue.

use bytes::Bytes;
use model::{RequestId, Timestamp};
use rusqlite::{Connection, Row, params};

use super::order::Present;
use super::touched;
use crate::embedded::db::{Counter, Sql as _};
use crate::queues::Filter;
use crate::{Head, HeadItem, RequestPage, StoreError, StoredRequest};

/// Bytes of bodies after which a page of requests ends early.
const PAGE_BYTES: usize = 32 * 1024 * 1024;

/// Requests that a page looks at when most of them may not be what is asked for.
const PAGE_ROWS: usize = 20_000;

/// What is behind every id.
const BEHIND_ALL: &str = "~";

/// The first pending requests (`Q35`).
pub(super) fn head(connection: &Connection, k: i64, limit: usize, now: Timestamp) -> Result<Head, StoreError> {
    let counter = Counter::load(connection, k)?;
    let horizon = Present::of(&counter, now).horizon();
    let items = connection.all(
        "SELECT id, url, unique_key, method, retries FROM rq
         WHERE k = ?1 AND ord > -?2 AND ord < ?2 ORDER BY ord, r LIMIT ?3",
        params![k, horizon, limit],
        |row| head_item(row, 0),
    )?;
    Ok(Head { queue: touched(&counter), items })
}

/// Reads `id, url, unique_key, method, retries` from column `at` on.
pub(super) fn head_item(row: &Row<'_>, at: usize) -> rusqlite::Result<HeadItem> {
    let url: String = row.get(at + 1)?;
    let unique_key: Option<String> = row.get(at + 2)?;
    let method: Option<String> = row.get(at + 3)?;
    Ok(HeadItem {
        id: request_id(row, at)?,
        unique_key: unique_key.unwrap_or_else(|| url.clone()),
        url,
        method: method.unwrap_or_else(|| "GET".to_owned()),
        retry_count: row.get(at + 4)?,
    })
}

/// One request (`Q7`).
pub(super) fn get(
    connection: &Connection,
    k: i64,
    request: &RequestId,
    now: Timestamp,
) -> Result<Option<StoredRequest>, StoreError> {
    let counter = Counter::load(connection, k)?;
    let present = Present::of(&counter, now);
    connection.one(
        "SELECT id, ord, lock_by, coalesce(body, (SELECT body FROM rq_body WHERE rq_body.r = rq.r))
         FROM rq WHERE k = ?1 AND id = ?2",
        params![k, request.as_str()],
        |row| stored(row, present),
    )
}

/// Requests by id (`Q54`, `Q58`).
///
/// Those that the filter leaves out are passed over, but no more than [`PAGE_ROWS`] at once.
pub(super) fn list(
    connection: &Connection,
    k: i64,
    limit: usize,
    after: &str,
    filter: Filter,
    now: Timestamp,
) -> Result<RequestPage, StoreError> {
    let counter = Counter::load(connection, k)?;
    let present = Present::of(&counter, now);
    let end = if filter.pending { id_after(connection, k, after, PAGE_ROWS)? } else { None };
    let sql = match (filter.locked, filter.pending) {
        (false, false) => {
            "SELECT id, ord, lock_by, coalesce(body, (SELECT body FROM rq_body WHERE rq_body.r = rq.r))
             FROM rq WHERE k = ?1 AND id > ?2 AND id <= ?5 AND ?3 > 0 ORDER BY id LIMIT ?4"
        }
        (true, true) => {
            "SELECT id, ord, lock_by, coalesce(body, (SELECT body FROM rq_body WHERE rq_body.r = rq.r))
             FROM rq INDEXED BY rq_id WHERE k = ?1 AND id > ?2 AND id <= ?5 AND ?3 > 0 AND ord IS NOT NULL
             ORDER BY id LIMIT ?4"
        }
        (false, true) => {
            "SELECT id, ord, lock_by, coalesce(body, (SELECT body FROM rq_body WHERE rq_body.r = rq.r))
             FROM rq INDEXED BY rq_id WHERE k = ?1 AND id > ?2 AND id <= ?5 AND ord > -?3 AND ord < ?3
             ORDER BY id LIMIT ?4"
        }
        // Locks are few, however many requests there are: they are found at both ends of the order.
        (true, false) => {
            "SELECT id, ord, lock_by, coalesce(body, (SELECT body FROM rq_body WHERE rq_body.r = rq.r))
             FROM rq WHERE r IN (
                 SELECT r FROM rq WHERE k = ?1 AND ord <= -?3
                 UNION ALL SELECT r FROM rq WHERE k = ?1 AND ord >= ?3)
             AND id > ?2 AND id <= ?5 ORDER BY id LIMIT ?4"
        }
    };
    let mut statement = connection.prepare_cached(sql)?;
    let upto = end.as_ref().map_or(BEHIND_ALL, RequestId::as_str);
    let mut rows = statement.query(params![k, after, present.horizon(), limit.saturating_add(1), upto])?;
    let mut page = RequestPage { items: Vec::new(), next: end };
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        if page.items.len() == limit || bytes > PAGE_BYTES {
            page.next = page.items.last().map(|request| request.id);
            break;
        }
        let request = stored(row, present)?;
        bytes += request.body.len();
        page.items.push(request);
    }
    Ok(page)
}

/// The id of the request that is `rows` behind another; `None` if there are not so many.
fn id_after(connection: &Connection, k: i64, after: &str, rows: usize) -> Result<Option<RequestId>, StoreError> {
    let sql = "SELECT id FROM rq WHERE k = ?1 AND id > ?2 ORDER BY id LIMIT 1 OFFSET ?3";
    connection.one(sql, params![k, after, rows - 1], |row| request_id(row, 0))
}

/// Reads `id, ord, lock_by, body`.
fn stored(row: &Row<'_>, present: Present) -> rusqlite::Result<StoredRequest> {
    let ord: Option<i64> = row.get(1)?;
    let lock_expires_at = ord.and_then(|ord| present.lock_end(ord));
    Ok(StoredRequest {
        id: request_id(row, 0)?,
        body: Bytes::from(row.get::<_, Vec<u8>>(3)?),
        lock_expires_at,
        lock_by: if lock_expires_at.is_some() { row.get(2)? } else { None },
    })
}

pub(super) fn request_id(row: &Row<'_>, at: usize) -> rusqlite::Result<RequestId> {
    RequestId::parse(row.get_ref(at)?.as_str()?).ok_or(rusqlite::Error::InvalidQuery)
}
