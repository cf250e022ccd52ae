//! Requests that are not for this server but pass through it: to web servers of Actors, and to the world by the proxy.

mod address;
mod container;
mod dial;
mod loan;
mod proxy;
mod standby;

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, Request, StatusCode};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

pub(crate) use address::{Destination, Hosts};
pub(crate) use container::WebServers;
pub(crate) use proxy::Proxy;

/// What concerns one connection only, besides what `Connection` itself names (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authorization"),
];

/// Sends `request`, whose address is a path only, over `stream` and streams the answer.
async fn exchange(stream: TcpStream, request: Request<Body>) -> Result<Response, hyper::Error> {
    let send = async |request| {
        // As browsers spell them; some servers look at that.
        let (mut sender, connection) =
            http1::Builder::new().title_case_headers(true).handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            // Whatever breaks this connection breaks the answer, too, and is seen there.
            let _ = connection.with_upgrades().await;
        });
        Ok((sender.send_request(request).await?, ()))
    };
    pass(request, send).await
}

/// Passes a request on by `send` and streams the answer. A change of protocol that both sides want (a websocket) passes
/// through. What `send` gives along with the answer is dropped when nothing more is to be passed on.
async fn pass<H: Send + Unpin + 'static, E>(
    mut request: Request<Body>,
    send: impl AsyncFnOnce(Request<Body>) -> Result<(http::Response<Incoming>, H), E>,
) -> Result<Response, E> {
    let wants_upgrade = upgrade_wanted(request.headers());
    strip(request.headers_mut(), wants_upgrade);
    let caller = hyper::upgrade::on(&mut request);
    let (mut response, held) = send(request).await?;

    let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    strip(response.headers_mut(), switched);
    if switched {
        let server = hyper::upgrade::on(&mut response);
        tokio::spawn(async move {
            join(caller, server).await;
            drop(held);
        });
        return Ok(response.map(Body::new));
    }
    Ok(response.map(|body| Body::new(Held { body, _held: held })))
}

/// A body that holds on to something until it has been sent.
struct Held<H> {
    body: Incoming,
    _held: H,
}

impl<H: Unpin> http_body::Body for Held<H> {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Passes bytes between two connections until both sides have said all.
async fn join(one: OnUpgrade, other: OnUpgrade) {
    if let Ok((one, other)) = tokio::try_join!(one, other) {
        splice(TokioIo::new(one), TokioIo::new(other)).await;
    }
}

async fn splice(mut one: impl AsyncRead + AsyncWrite + Unpin, mut other: impl AsyncRead + AsyncWrite + Unpin) {
    // A side that breaks off ends the other; there is nobody left to tell.
    let _ = tokio::io::copy_bidirectional(&mut one, &mut other).await;
}

fn upgrade_wanted(headers: &HeaderMap) -> bool {
    headers.contains_key(UPGRADE) && named_by_connection(headers).contains(&UPGRADE)
}

fn strip(headers: &mut HeaderMap, keep_upgrade: bool) {
    let named = named_by_connection(headers);
    for name in named.iter().chain(&HOP_BY_HOP) {
        if !(keep_upgrade && (*name == UPGRADE || *name == CONNECTION)) {
            headers.remove(name);
        }
    }
}

fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse().ok()).collect()
}

/// An error page of our own, for people and programs alike.
fn page(status: StatusCode, text: String) -> Response {
    let mut response = Response::new(Body::from(format!("{text}\n")));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn what_concerns_one_connection_is_not_passed_on() {
        let mut seen = headers(&[
            ("connection", "keep-alive, X-Secret"),
            ("x-secret", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-authorization", "Basic eA=="),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("accept", "*/*"),
        ]);

        assert!(!upgrade_wanted(&seen));
        strip(&mut seen, false);

        assert_eq!(seen, headers(&[("accept", "*/*")]));
    }

    #[test]
    fn a_wanted_upgrade_is_passed_on() {
        let mut seen = headers(&[("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13")]);
        let before = seen.clone();

        assert!(upgrade_wanted(&seen));
        strip(&mut seen, true);

        assert_eq!(seen, before);
    }
}
