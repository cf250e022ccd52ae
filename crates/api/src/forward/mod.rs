//! Requests that are not for this server but pass through it: to a run's web server, and to the world by the proxy.

mod container;
mod dial;
mod proxy;

use axum::body::Body;
use axum::response::Response;
use http::header::{CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, Request, StatusCode};
use hyper::client::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

pub(crate) use container::is_for_container;
pub(crate) use proxy::Proxy;

pub(crate) use container::forward as to_container;

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

/// Sends `request`, whose address is a path only, over `stream` and streams the answer. A change of protocol that both
/// sides want (a websocket) passes through.
async fn exchange(stream: TcpStream, mut request: Request<Body>) -> Result<Response, hyper::Error> {
    let wants_upgrade = upgrade_wanted(request.headers());
    strip(request.headers_mut(), wants_upgrade);
    let caller = hyper::upgrade::on(&mut request);

    // As browsers spell them; some servers look at that.
    let (mut sender, connection) =
        http1::Builder::new().title_case_headers(true).handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        // Whatever breaks this connection breaks the answer, too, and is seen there.
        let _ = connection.with_upgrades().await;
    });
    let mut response = sender.send_request(request).await?;

    let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    if switched {
        tokio::spawn(join(caller, hyper::upgrade::on(&mut response)));
    }
    strip(response.headers_mut(), switched);
    Ok(response.map(Body::new))
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
