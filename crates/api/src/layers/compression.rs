//! Compressing answers for clients that ask for it (`HTTP-9`).

use std::io::Write as _;

use async_compression::Level;
use async_compression::tokio::bufread::{BrotliEncoder, GzipEncoder, ZlibEncoder};
use axum::body::Body;
use axum::response::Response;
use futures::TryStreamExt;
use http::header::{ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, ETAG, FORWARDED, VARY, VIA};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio_util::io::{ReaderStream, StreamReader};

use super::Peer;
use crate::extract::Encoding;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Marks an answer that may be compressed: JSON and exports. Logs must not wait in a compressor, and records are already as
/// their writer wanted them, so nothing is compressed unless it says that it may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Compressible;

/// Below this many bytes compression costs more than it saves.
const WORTHWHILE: u64 = 4096;

/// Bodies up to this size are compressed in one go; larger ones piece by piece, so that other requests get their turn.
///
/// Larger ones go plain to clients on the same machine, runs above all: what connects them is faster than any compressor.
const AT_ONCE: u64 = 256 << 10;

/// The encodings that a client accepts, in the order in which they are cheap for us.
const PREFERRED: [Encoding; 3] = [Encoding::Gzip, Encoding::Deflate, Encoding::Brotli];

/// Whether a client that sent these headers takes the encoding of that name (`K15`).
pub(crate) fn accepts(headers: &HeaderMap, encoding: &str) -> bool {
    let mut any = false;
    for value in headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()) {
        for part in value.split(',') {
            let mut fields = part.split(';').map(str::trim);
            let name = fields.next().unwrap_or_default();
            let refused = fields.any(|field| {
                let quality = field.strip_prefix("q=").or_else(|| field.strip_prefix("Q="));
                quality.is_some_and(|quality| quality.trim().parse().is_ok_and(|quality: f32| quality <= 0.0))
            });
            if name.eq_ignore_ascii_case(encoding) {
                return !refused;
            }
            any |= name == "*" && !refused;
        }
    }
    any
}

/// What compression a client wants of its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wish {
    encoding: Option<Encoding>,
    is_near: bool,
}

impl Wish {
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        let headers = request.headers();
        if !headers.contains_key(ACCEPT_ENCODING) {
            return Self::default();
        }
        let is_local = request.extensions().get::<Peer>().is_some_and(|Peer(peer)| peer.ip().is_loopback());
        let is_forwarded = [FORWARDED, VIA, X_FORWARDED_FOR].iter().any(|name| headers.contains_key(name));
        Self {
            encoding: PREFERRED.into_iter().find(|encoding| accepts(headers, encoding.name())),
            is_near: is_local && !is_forwarded,
        }
    }
}

/// Compresses an answer if it may be and is worth it.
pub(super) async fn compress(mut response: Response, wish: Wish) -> Response {
    if response.extensions_mut().remove::<Compressible>().is_none() {
        return response;
    }
    let size = response.body().size_hint().exact();
    if size.is_some_and(|size| size < WORTHWHILE) || response.headers().contains_key(CONTENT_ENCODING) {
        return response;
    }
    response.headers_mut().append(VARY, HeaderValue::from_static("Accept-Encoding"));
    let is_large = size.is_none_or(|size| size > AT_ONCE);
    let Some(encoding) = wish.encoding.filter(|_| !(is_large && wish.is_near)) else { return response };

    let (mut parts, body) = response.into_parts();
    parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding.name()));
    parts.headers.remove(CONTENT_LENGTH);
    // Compressed, it is the same content in other bytes, of which no parts can be had.
    has_no_parts(&mut parts.headers);
    let body = match (encoding, is_large) {
        (Encoding::Gzip, false) => match body.collect().await {
            Ok(whole) => Body::from(gzip(&whole.to_bytes())),
            Err(error) => Body::from_stream(futures::stream::once(async { Err::<bytes::Bytes, _>(error) })),
        },
        _ => stream(body, encoding),
    };
    Response::from_parts(parts, body)
}

/// Names the content and not its bytes, which are other ones each time it is packed.
pub(crate) fn has_no_parts(headers: &mut HeaderMap) {
    if let Some(weak) = headers.get(ETAG).and_then(weakened) {
        headers.insert(ETAG, weak);
    }
    headers.remove(ACCEPT_RANGES);
}

fn weakened(etag: &HeaderValue) -> Option<HeaderValue> {
    let etag = etag.as_bytes();
    if etag.starts_with(b"W/") {
        return None;
    }
    HeaderValue::from_bytes(&[b"W/", etag].concat()).ok()
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::with_capacity(body.len() / 4), flate2::Compression::fast());
    // Writing to memory does not fail.
    let written = encoder.write_all(body);
    debug_assert!(written.is_ok());
    encoder.finish().unwrap_or_default()
}

fn stream(body: Body, encoding: Encoding) -> Body {
    let reader = StreamReader::new(TryStreamExt::map_err(body.into_data_stream(), std::io::Error::other));
    let level = Level::Fastest;
    match encoding {
        Encoding::Gzip => Body::from_stream(ReaderStream::new(GzipEncoder::with_quality(reader, level))),
        Encoding::Deflate => Body::from_stream(ReaderStream::new(ZlibEncoder::with_quality(reader, level))),
        Encoding::Brotli => Body::from_stream(ReaderStream::new(BrotliEncoder::with_quality(reader, level))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(value: &'static str) -> Option<Encoding> {
        Wish::of(&Request::builder().header(ACCEPT_ENCODING, value).body(()).unwrap()).encoding
    }

    #[test]
    fn encodings_are_taken_as_the_client_lists_them() {
        assert_eq!(Wish::of(&Request::new(())), Wish::default());
        for (value, expected) in [
            ("gzip, compress, deflate, br", Some(Encoding::Gzip)),
            ("br", Some(Encoding::Brotli)),
            ("gzip;q=0, br;q=1.0", Some(Encoding::Brotli)),
            ("*", Some(Encoding::Gzip)),
            ("*;q=0", None),
            ("gzip;q=0, *", Some(Encoding::Deflate)),
            ("identity", None),
            ("", None),
            ("zstd", None),
            ("GZIP ; q=0.5", Some(Encoding::Gzip)),
        ] {
            assert_eq!(chosen(value), expected, "{value}");
        }
    }
}
