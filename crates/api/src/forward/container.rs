//! The web server of a run under its own address (`WEB-1` to `WEB-4`).

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, StatusCode, Uri};
use tokio::net::TcpStream;

use super::{exchange, page};
use crate::app::App;

const PREFIX: &str = "/x-run/";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether an address belongs to a run's web server.
pub(crate) fn is_for_container(uri: &Uri) -> bool {
    uri.path().starts_with(PREFIX)
}

/// Passes a request on as it is, but for the prefix of the path, and streams the answer. Knowing the address is the key to it.
pub(crate) async fn forward(app: &App, mut request: Request<Body>) -> Response {
    let Some((secret, path)) = split(request.uri()) else {
        return page(StatusCode::NOT_FOUND, "There is no run at this address.".to_owned());
    };
    let Some(address) = app.engine().web_server_of(&secret).await else {
        return page(StatusCode::NOT_FOUND, "There is no run at this address, or it has finished.".to_owned());
    };
    *request.uri_mut() = path;
    // HTTP/1.0 has none, but what is behind us may insist on one.
    if !request.headers().contains_key(HOST)
        && let Ok(host) = HeaderValue::try_from(address.to_string())
    {
        request.headers_mut().insert(HOST, host);
    }

    let stream = match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        _ => {
            let text = format!("The run is there, but no web server in it listens on port {} (yet).", address.port());
            return page(StatusCode::BAD_GATEWAY, text);
        }
    };
    match exchange(stream, request).await {
        Ok(response) => response,
        Err(error) => page(StatusCode::BAD_GATEWAY, format!("The run's web server did not answer: {error}.")),
    }
}

/// The secret, and the address without prefix and secret; what is in it is not decoded.
fn split(uri: &Uri) -> Option<(String, Uri)> {
    let path = uri.path().strip_prefix(PREFIX)?;
    let (secret, rest) = path.split_once('/').unwrap_or((path, ""));
    let path_and_query = match uri.query() {
        Some(query) => format!("/{rest}?{query}"),
        None => format!("/{rest}"),
    };
    let path_and_query = PathAndQuery::try_from(path_and_query).ok()?;
    Some((secret.to_owned(), Uri::from(path_and_query)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_is_taken_off_and_the_rest_stays_as_it_is() {
        for (address, expected) in [
            ("/x-run/s3cret", Some(("s3cret", "/"))),
            ("/x-run/s3cret/", Some(("s3cret", "/"))),
            ("/x-run/s3cret?a=b", Some(("s3cret", "/?a=b"))),
            ("/x-run/s3cret/a%2Fb//c/?q=%20&q=/x", Some(("s3cret", "/a%2Fb//c/?q=%20&q=/x"))),
            ("/x-run/", Some(("", "/"))),
            ("/v2/x-run/a", None),
        ] {
            let found = split(&address.parse().unwrap());

            let found = found.as_ref().map(|(secret, path)| (secret.as_str(), path.to_string()));
            assert_eq!(found, expected.map(|(secret, path)| (secret, path.to_owned())), "{address}");
        }
    }
}
