//! Putting records (storages, section 8.2).

use axum::extract::State;
use bytes::Bytes;
use http::HeaderValue;
use store::{NewRecord, RecordBody};
use tokio::io::{AsyncReadExt as _, BufReader};

use super::key::RecordKey;
use crate::app::App;
use crate::error::{Answer, ApiError, Problem};
use crate::extract::{Arrived, Encoding, KeyValueStore, RequestBody, Writable};
use crate::storages::schema;
use crate::wire;

/// Larger records are handed to the store as they come.
const AT_ONCE: usize = 64 << 10;

pub(super) async fn put(
    State(app): State<App>,
    Writable(store, ..): Writable<KeyValueStore>,
    RecordKey(key): RecordKey,
    body: RequestBody,
) -> Answer {
    let storage = &*store.storage;
    let content_type = content_type(body.content_type.as_ref())?;
    let encoding = body.encoding;
    let schema = app.schemas().of_store(storage)?;
    let must_check = match &schema {
        Some(schema) => schema.check_content_type(&key, &content_type).map_err(schema::record_refused)?,
        None => false,
    };

    // What is to be checked must be there whole first.
    let at_once = if must_check { app.config().max_json_body } else { AT_ONCE };
    let body = match body.arrive(at_once, app.config().max_record).await? {
        Arrived::Stream(_) if must_check => return Err(too_large(at_once)),
        Arrived::Stream(stream) => RecordBody::Stream(stream),
        Arrived::Whole(bytes) => {
            if let Some(schema) = schema.filter(|_| must_check) {
                let decoded = decoded(encoding, bytes.clone(), at_once).await?;
                schema.check_json(&key, &decoded).map_err(schema::record_refused)?;
            }
            RecordBody::Whole(bytes)
        }
    };

    let location = app.public_url(&format!("key-value-stores/{}/records/{key}", storage.id));
    let record = NewRecord { key, content_type, content_encoding: encoding.map(|encoding| encoding.name().to_owned()) };
    let meta = app.store().records.put(&storage.id, record, body).await?;
    store.meter(&app, |usage| usage.key_value_store_writes += 1);
    store.meter_transfer(&app, meta.size);
    Ok(wire::created_empty(&location))
}

/// `Content-Type` as it came, with its parameters (`K4`).
fn content_type(header: Option<&HeaderValue>) -> Result<String, ApiError> {
    let Some(header) = header else { return Ok("application/octet-stream".to_owned()) };
    let text = header.to_str().ok().map(str::trim);
    let is_type = |text: &&str| {
        let media = text.split(';').next().unwrap_or_default().trim();
        let is_token =
            |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
        media.split_once('/').is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
    };
    text.filter(is_type).map(str::to_owned).ok_or_else(|| {
        let given = String::from_utf8_lossy(header.as_bytes());
        ApiError::new(Problem::InvalidContentTypeHeader, format!("Content-Type \"{given}\" is not valid"))
    })
}

async fn decoded(encoding: Option<Encoding>, body: Bytes, limit: usize) -> Result<Bytes, ApiError> {
    let Some(encoding) = encoding else { return Ok(body) };
    let corrupt = |error| ApiError::invalid_request(format!("The record is not valid {}: {error}", encoding.name()));
    let decoder = encoding.decode(BufReader::new(std::io::Cursor::new(body))).await.map_err(corrupt)?;
    let mut decoded = Vec::new();
    decoder.take(limit as u64 + 1).read_to_end(&mut decoded).await.map_err(corrupt)?;
    if decoded.len() > limit { Err(too_large(limit)) } else { Ok(decoded.into()) }
}

fn too_large(limit: usize) -> ApiError {
    let message = format!("The record is too large to be checked by the schema of its store (limit: {limit} bytes)");
    ApiError::new(Problem::RecordTooLarge, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_are_kept_as_they_came() {
        for given in
            ["text/plain; charset=utf-8", "application/json", "image/svg+xml", "application/x-www-form-urlencoded"]
        {
            assert_eq!(content_type(Some(&HeaderValue::from_static(given))).unwrap(), given);
        }
        assert_eq!(content_type(None).unwrap(), "application/octet-stream");
        for given in ["", "json", "/", "text/", "a b/c", "text/plain/x"] {
            let error = content_type(Some(&HeaderValue::from_static(given))).unwrap_err();
            assert_eq!(error.problem(), Problem::InvalidContentTypeHeader, "{given}");
        }
    }
}
