//! Bodies of requests: decompressed, bounded, and read as JSON (`HTTP-5` to `HTTP-8`).

use std::io;

use async_compression::tokio::bufread::{BrotliDecoder, DeflateDecoder, GzipDecoder, ZlibDecoder};
use axum::body::Body;
use axum::extract::{FromRequest, Request};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, TryStreamExt};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;
use store::ByteStream;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio_util::io::StreamReader;

use crate::app::App;
use crate::error::{ApiError, Problem};

/// How much beyond the limit of a body is read, and thrown away, to tell its client the length and to be heard at all: a
/// client that is still sending when the connection closes sees a broken connection and tries again.
const MAX_DISCARDED: u64 = 128 << 20;

/// The encodings in which bodies and records come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Brotli,
    Gzip,
    Deflate,
}

impl Encoding {
    /// Reads `Content-Encoding`; `None` for `identity` and for no header (`HTTP-7`, `K6`).
    pub(crate) fn of(headers: &HeaderMap) -> Result<Option<Self>, ApiError> {
        // Several lines are one list (RFC 9110).
        let lines: Vec<_> = headers.get_all(CONTENT_ENCODING).iter().map(HeaderValue::as_bytes).collect();
        let text = String::from_utf8_lossy(&lines.join(&b", "[..])).into_owned();
        match text.trim() {
            name if name.is_empty() || name.eq_ignore_ascii_case("identity") => Ok(None),
            name => Self::named(name).map(Some).ok_or_else(|| ApiError::unsupported_encoding(&text)),
        }
    }

    /// The encoding of that name; case does not count.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Brotli, Self::Gzip, Self::Deflate]
            .into_iter()
            .find(|encoding| name.eq_ignore_ascii_case(encoding.name()))
    }

    /// Its name in headers.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    /// Reads what is behind the encoding. Truncated and corrupt data are errors.
    pub(crate) async fn decode<R>(self, mut encoded: R) -> io::Result<Box<dyn AsyncRead + Send + Unpin>>
    where
        R: AsyncBufRead + Send + Unpin + 'static,
    {
        Ok(match self {
            Self::Brotli => Box::new(BrotliDecoder::new(encoded)),
            Self::Gzip => {
                let mut decoder = GzipDecoder::new(encoded);
                decoder.multiple_members(true);
                Box::new(decoder)
            }
            Self::Deflate => {
                // `deflate` means zlib, but some clients send it without zlib's two bytes of header.
                let start = encoded.fill_buf().await?;
                let is_zlib = start.first().is_some_and(|first| first & 0x0f == 8);
                if is_zlib { Box::new(ZlibDecoder::new(encoded)) } else { Box::new(DeflateDecoder::new(encoded)) }
            }
        })
    }
}

/// A body that has not been read yet, with what the headers say of it.
#[derive(Debug)]
pub(crate) struct RequestBody {
    body: Body,
    /// How it is encoded.
    pub(crate) encoding: Option<Encoding>,
    /// `Content-Length`, if there is one.
    length: Option<u64>,
    /// `Content-Type`, if there is one.
    pub(crate) content_type: Option<HeaderValue>,
}

/// A body as it arrived: small ones whole, others as they come.
pub(crate) enum Arrived {
    /// All of it.
    Whole(Bytes),
    /// What came first, and the rest.
    Stream(ByteStream),
}

impl RequestBody {
    fn new(request: Request) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        // An empty body is no body, whatever its headers say (`G5`).
        let encoding = if body.is_end_stream() { None } else { Encoding::of(&parts.headers)? };
        let length = parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        Ok(Self { body, encoding, length, content_type: parts.headers.get(CONTENT_TYPE).cloned() })
    }

    /// The bytes as they arrive, not decompressed: whole if they are at most `at_once`. Beyond `limit`, if there is one, the
    /// stream ends in [`ApiError::record_too_large`].
    pub(crate) async fn arrive(mut self, at_once: usize, limit: Option<u64>) -> Result<Arrived, ApiError> {
        let Some(first) = self.next().await? else { return Ok(Arrived::Whole(Bytes::new())) };
        let mut frames = vec![first];
        let mut length = frames[0].len();
        while !self.body.is_end_stream() && length <= at_once {
            let Some(frame) = self.next().await? else { break };
            length += frame.len();
            frames.push(frame);
        }
        if length > at_once {
            let frames = futures::stream::iter(frames.into_iter().map(Ok));
            let rest = TryStreamExt::map_err(self.body.into_data_stream(), io::Error::other);
            let stream: ByteStream = Box::pin(frames.chain(rest));
            return Ok(Arrived::Stream(match limit {
                Some(limit) => bounded(stream, limit, self.length),
                None => stream,
            }));
        }
        if let Some(limit) = limit
            && length as u64 > limit
        {
            return Err(ApiError::record_too_large(limit));
        }
        Ok(Arrived::Whole(if frames.len() == 1 { frames.swap_remove(0) } else { frames.concat().into() }))
    }

    /// The whole body, decompressed.
    ///
    /// # Errors
    /// `413` beyond `limit` bytes, `400` if the encoding is corrupt or the body breaks off.
    pub(crate) async fn read(self, limit: usize) -> Result<Bytes, ApiError> {
        match self.encoding {
            None => self.read_plain(limit).await,
            Some(encoding) => self.read_encoded(encoding, limit).await,
        }
    }

    async fn read_plain(mut self, limit: usize) -> Result<Bytes, ApiError> {
        // Nearly always the whole body is in the first frame and need not be copied.
        let Some(first) = self.next().await? else { return Ok(Bytes::new()) };
        if first.len() <= limit && self.body.is_end_stream() {
            return Ok(first);
        }

        let mut whole = BytesMut::with_capacity(
            self.length.map_or(0, |length| usize::try_from(length).unwrap_or(limit).min(limit)),
        );
        let mut length = first.len() as u64;
        whole.extend_from_slice(&first);
        while let Some(frame) = self.next().await? {
            length += frame.len() as u64;
            if length <= limit as u64 {
                whole.extend_from_slice(&frame);
            } else if length > limit as u64 + MAX_DISCARDED {
                break;
            } else {
                whole = BytesMut::new();
            }
        }
        if length > limit as u64 {
            return Err(ApiError::request_too_large(limit, self.length.unwrap_or(length).max(length)));
        }
        Ok(whole.freeze())
    }

    async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        loop {
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            // Trailers mean nothing to us.
            if let Ok(data) = frame.map_err(broken_off)?.into_data() {
                return Ok(Some(data));
            }
        }
    }

    async fn read_encoded(self, encoding: Encoding, limit: usize) -> Result<Bytes, ApiError> {
        let broke_off = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let seen = broke_off.clone();
        let frames = TryStreamExt::map_err(self.body.into_data_stream(), move |error| {
            seen.store(true, std::sync::atomic::Ordering::Relaxed);
            io::Error::other(error)
        });
        let read = async {
            let mut decoder = encoding.decode(BufReader::new(StreamReader::new(Box::pin(frames)))).await?;
            let mut whole = Vec::with_capacity(
                self.length.map_or(4096, |length| usize::try_from(length).unwrap_or(limit).min(limit)),
            );
            let mut bounded = (&mut decoder).take(limit as u64 + 1);
            bounded.read_to_end(&mut whole).await?;
            let mut length = whole.len() as u64;
            if length > limit as u64 {
                whole = Vec::new();
                length += tokio::io::copy(&mut decoder.take(MAX_DISCARDED), &mut tokio::io::sink()).await?;
            }
            Ok::<_, io::Error>((whole, length))
        };
        match read.await {
            Ok((_, length)) if length > limit as u64 => Err(ApiError::request_too_large(limit, length)),
            Ok((whole, _)) => Ok(whole.into()),
            Err(error) if broke_off.load(std::sync::atomic::Ordering::Relaxed) => Err(broken_off(error)),
            Err(error) => {
                Err(ApiError::invalid_request(format!("The request body is not valid {}: {error}", encoding.name())))
            }
        }
    }
}

/// Passes a body on that is no longer than `limit`. Of a longer one the rest is thrown away, or all of it where its
/// `declared` length tells in time, so that its client hears why.
fn bounded(stream: ByteStream, limit: u64, declared: Option<u64>) -> ByteStream {
    let is_refused = declared.is_some_and(|length| length > limit);
    let passed_on = futures::stream::try_unfold((stream, 0), move |(mut stream, mut length)| async move {
        while length <= limit.saturating_add(MAX_DISCARDED) {
            let Some(piece) = stream.try_next().await? else { break };
            length += piece.len() as u64;
            if length <= limit && !is_refused {
                return Ok(Some((piece, (stream, length))));
            }
        }
        if length > limit || is_refused { Err(io::Error::other(ApiError::record_too_large(limit))) } else { Ok(None) }
    });
    Box::pin(passed_on)
}

fn broken_off(error: impl std::fmt::Display) -> ApiError {
    ApiError::new(Problem::RequestAbortedPrematurely, format!("The request body ended early: {error}"))
}

impl FromRequest<App> for RequestBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &App) -> Result<Self, ApiError> {
        Self::new(request)
    }
}

/// The whole body, decompressed and within the limit for JSON.
#[derive(Clone, Debug)]
pub(crate) struct WholeBody(pub(crate) Bytes);

impl FromRequest<App> for WholeBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        RequestBody::new(request)?.read(app.config().max_json_body).await.map(Self)
    }
}

/// A body of JSON. Its `Content-Type` does not matter, since clients send all sorts.
#[derive(Clone, Debug)]
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<App> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let WholeBody(body) = WholeBody::from_request(request, app).await?;
        from_json(&body).map(Self)
    }
}

/// A body of JSON where an empty one, or one of blanks, means nothing was asked for (`HTTP-5`, `G5`).
#[derive(Clone, Debug)]
pub(crate) struct JsonOrDefault<T>(pub(crate) T);

impl<T: DeserializeOwned + Default> FromRequest<App> for JsonOrDefault<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let WholeBody(body) = WholeBody::from_request(request, app).await?;
        if body.trim_ascii().is_empty() { Ok(Self(T::default())) } else { from_json(&body).map(Self) }
    }
}

/// Reads a JSON object, or says what is wrong with it and where (`G9`).
pub(crate) fn from_json<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    let no_object = || ApiError::invalid_request("POST data must be a JSON object");
    // A struct would also be read from an array, member by member.
    if body.trim_ascii_start().starts_with(b"[") {
        return Err(no_object());
    }
    // As a whole: members that nobody asked for are skipped without a look at their text.
    let text = std::str::from_utf8(body).map_err(|error| {
        ApiError::invalid_request(format!("The request body is not valid JSON: it must be UTF-8, but {error}"))
    })?;
    serde_json::from_str(text).map_err(|error| {
        let what = match error.classify() {
            serde_json::error::Category::Data if !text.trim_start().starts_with('{') => return no_object(),
            serde_json::error::Category::Data => "has an unexpected form",
            _ if text.is_empty() => "is empty, a JSON body is needed",
            _ => "is not valid JSON",
        };
        ApiError::invalid_request(format!("The request body {what}: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_on_several_lines_are_a_list() {
        let encoding = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(CONTENT_ENCODING, HeaderValue::from_static(line));
            }
            Encoding::of(&headers).ok()
        };

        for (lines, expected) in [
            (&[][..], Some(None)),
            (&["identity"], Some(None)),
            (&["GZip"], Some(Some(Encoding::Gzip))),
            (&["gzip", "br"], None),
            (&["identity", "gzip"], None),
        ] {
            assert_eq!(encoding(lines), expected, "{lines:?}");
        }
    }
}
