//! Listing requests (`Q54` to `Q58`).

use std::io::Write as _;

use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use store::RequestFilter;

use super::client::Client;
use super::{request, single};
use crate::app::App;
use crate::error::{Answer, ApiError, Problem};
use crate::extract::{FromParams, Params, Query, Readable, RequestQueue};
use crate::wire;

const MAX_LIMIT: u64 = 10_000;
/// Requests that are asked of the store at once.
const PIECE: usize = 500;
/// A page ends when it has this many bytes, however many requests were asked for; its cursor leads on.
const MAX_PAGE_BYTES: usize = 32 << 20;

pub(super) struct ListParams {
    limit: u64,
    cursor: Option<String>,
    start_id: Option<String>,
    after: Option<String>,
    filter: RequestFilter,
    client: Client,
}

/// What a cursor says, in base64.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Cursor<T> {
    request_id: T,
}

impl FromParams for ListParams {
    fn from_params(params: &Params) -> Result<Self, ApiError> {
        let cursor: Option<String> = params.non_empty("cursor").map(Into::into);
        let start_id: Option<String> = params.non_empty("exclusiveStartId").map(Into::into);
        let states = params.list("filter");
        if start_id.is_some() && (cursor.is_some() || !states.is_empty()) {
            let message = "Parameter \"exclusiveStartId\" cannot be used together with \"cursor\" or \"filter\"";
            return Err(ApiError::invalid_request(message));
        }
        let mut filter = RequestFilter::default();
        for state in states {
            match state.as_str() {
                "locked" => filter.locked = true,
                "pending" => filter.pending = true,
                _ => {
                    let message = "Parameter \"filter\" must be made of: locked, pending";
                    return Err(ApiError::new(Problem::ParamNotOneOf, message));
                }
            }
        }
        let limit = params.number("limit")?.filter(|limit| *limit > 0).unwrap_or(MAX_LIMIT).min(MAX_LIMIT);
        let after = match &cursor {
            Some(cursor) => Some(read_cursor(cursor)?),
            None => start_id.clone(),
        };
        Ok(Self { limit, cursor, start_id, after, filter, client: Client::from_params(params)? })
    }
}

pub(super) async fn list(
    State(app): State<App>,
    Readable(queue, ..): Readable<RequestQueue>,
    Query(params): Query<ListParams>,
) -> Answer {
    let limit = usize::try_from(params.limit).unwrap_or(usize::MAX);
    let locker = queue.locker(params.client.key);
    let mut counted = Some(&locker);
    let mut body = Vec::with_capacity(4096);
    body.extend_from_slice(b"{\"data\":{\"items\":[");
    let (mut count, mut after) = (0, params.after);
    loop {
        let piece = PIECE.min(limit - count);
        // One call of the client is one use of the queue, however often the store is asked.
        let by = counted.take();
        let page = app.store().queues.list(&queue.storage.id, piece, after.as_deref(), params.filter, by).await?;
        for found in &page.items {
            if count > 0 {
                body.push(b',');
            }
            request::write(found, &mut body);
            count += 1;
        }
        after = page.next.map(|id| id.to_string());
        if after.is_none() || count >= limit || body.len() >= MAX_PAGE_BYTES {
            break;
        }
    }
    single::note_reads(&app, &queue.storage.id, count as u64);
    queue.meter(&app, |usage| usage.request_queue_reads += count as u64);

    // Writing to memory does not fail.
    let _ = write!(body, "],\"limit\":{},\"count\":{count}", params.limit);
    for (name, value) in [
        ("cursor", params.cursor),
        ("exclusiveStartId", params.start_id),
        ("nextCursor", after.as_deref().map(write_cursor)),
    ] {
        if let Some(value) = value {
            let _ = write!(body, ",\"{name}\":");
            let _ = serde_json::to_writer(&mut body, &value);
        }
    }
    body.extend_from_slice(b"}}");
    Ok(wire::raw_json(StatusCode::OK, body.into()))
}

fn write_cursor(last: &str) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&Cursor { request_id: last }).unwrap_or_default())
}

fn read_cursor(cursor: &str) -> Result<String, ApiError> {
    let decoded = URL_SAFE_NO_PAD.decode(cursor).or_else(|_| URL_SAFE.decode(cursor)).ok();
    let read = decoded.and_then(|text| serde_json::from_slice::<Cursor<String>>(&text).ok());
    read.map(|cursor| cursor.request_id)
        .ok_or_else(|| ApiError::new(Problem::InvalidValue, "Invalid value provided: the cursor is not valid"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_those_of_the_platform() {
        assert_eq!(write_cursor("8OamqXBCpPHxyH9"), "eyJyZXF1ZXN0SWQiOiI4T2FtcVhCQ3BQSHh5SDkifQ");
        assert_eq!(read_cursor("eyJyZXF1ZXN0SWQiOiI4T2FtcVhCQ3BQSHh5SDkifQ").unwrap(), "8OamqXBCpPHxyH9");
        for cursor in ["x", "!!!", "e30", "W10", "eyJyZXF1ZXN0SWQiOjV9"] {
            assert_eq!(read_cursor(cursor).unwrap_err().problem(), Problem::InvalidValue, "{cursor}");
        }
    }
}
