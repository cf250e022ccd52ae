//! The forward proxy that Actors are told of (`USR-9`, `USR-10`): plain requests and tunnels, on the port of the API.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use http::header::{CONTENT_TYPE, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use model::{User, signature};
use parking_lot::RwLock;

use super::dial::{DialError, dial};
use super::{exchange, page, splice};
use crate::app::App;

/// Hosts at which the proxy itself answers whether it works; the second is what SDKs ask by default.
const STATUS_HOSTS: [&str; 2] = ["proxy.playhouse.internal", "proxy.apify.com"];
/// Longest session name (`USR-10`).
const MAX_SESSION: usize = 50;

/// The forward proxy. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Proxy {
    app: App,
    /// All users, as last looked up: each request brings a password, but users hardly ever change.
    users: Arc<RwLock<Vec<Arc<User>>>>,
    /// This server's own addresses, which are no business of the proxy.
    own: Arc<[Authority]>,
}

impl Proxy {
    pub(crate) fn new(app: App) -> Self {
        let config = app.engine_config();
        let urls = [&config.api_url, &config.public_url];
        let own = urls.into_iter().filter_map(|url| url.parse::<Uri>().ok()?.authority().cloned()).collect();
        Self { own, users: Arc::default(), app }
    }

    /// Whether a request is for the proxy: it asks for a tunnel, or names another host in its first line.
    pub(crate) fn is_for_proxy(&self, request: &Request<Body>) -> bool {
        if request.version() > Version::HTTP_11 {
            return false;
        }
        let foreign = |authority: &Authority| !self.own.iter().any(|own| own == authority);
        request.method() == Method::CONNECT || request.uri().authority().is_some_and(foreign)
    }

    /// Carries a request to its host and streams the answer back, or opens the tunnel that was asked for.
    pub(crate) async fn serve(&self, request: Request<Body>) -> Response {
        let Some(authority) = request.uri().authority().cloned() else {
            return page(StatusCode::BAD_REQUEST, "The request names no host.".to_owned());
        };
        let is_status = STATUS_HOSTS.iter().any(|host| authority.host().eq_ignore_ascii_case(host));
        match self.may_pass(request.headers()).await {
            Ok(true) => {}
            Ok(false) => return refusal(is_status),
            Err(error) => return page(StatusCode::INTERNAL_SERVER_ERROR, error),
        }
        match (request.method() == Method::CONNECT, is_status) {
            (true, true) => tunnel_to_status(request),
            (true, false) => tunnel(request, &authority).await,
            (false, true) => status(request.uri()),
            (false, false) => pass_on(request, &authority).await,
        }
    }

    /// Whether the request brings a user name of the platform's form and the proxy password of one of our users.
    async fn may_pass(&self, headers: &HeaderMap) -> Result<bool, String> {
        let header = headers.get(PROXY_AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some((name, password)) = header.and_then(credentials) else { return Ok(false) };
        if !is_proxy_username(&name) {
            return Ok(false);
        }
        let known = |users: &[Arc<User>]| users.iter().any(|user| signature::same(&user.proxy_password, &password));
        if known(&self.users.read()) {
            return Ok(true);
        }
        let users = self.app.store().users.list().await.map_err(|error| {
            tracing::error!(%error, "Failed to look up users for the proxy");
            "The proxy cannot check the password now.".to_owned()
        })?;
        let is_known = known(&users);
        *self.users.write() = users;
        Ok(is_known)
    }
}

/// Reads `Basic …`. Clients leave the padding away now and then.
fn credentials(header: &str) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let encoded = encoded.trim();
    let decoded = STANDARD.decode(encoded).or_else(|_| STANDARD_NO_PAD.decode(encoded)).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

/// Whether a user name is `auto` or joins parts with commas: `groups-A+B`, `session-<name>`, `country-US` (`USR-10`).
fn is_proxy_username(name: &str) -> bool {
    let is_word =
        |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    name.split(',').all(|part| match part.split_once('-') {
        None => part == "auto",
        Some(("groups", groups)) => groups.split('+').all(is_word),
        Some(("session", session)) => {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'~');
            (1..=MAX_SESSION).contains(&session.len()) && session.bytes().all(allowed)
        }
        Some(("country", country)) => {
            let (country, state) = country.split_once('_').unwrap_or((country, "XX"));
            let is_code =
                |code: &str| (2..=3).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
            is_code(country) && is_code(state)
        }
        _ => false,
    })
}

fn refusal(is_status: bool) -> Response {
    let mut response = match is_status {
        // SDKs show the reason that they find here.
        true => status_json(Some("Invalid username or password")),
        false => page(
            StatusCode::PROXY_AUTHENTICATION_REQUIRED,
            "The proxy needs the user name \"auto\" (or groups, session, country) and the proxy password of your account.".to_owned(),
        ),
    };
    *response.status_mut() = StatusCode::PROXY_AUTHENTICATION_REQUIRED;
    response.headers_mut().insert(PROXY_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"Playhouse proxy\""));
    response
}

/// The page that SDKs ask for through the proxy (`USR-9`).
fn status(uri: &Uri) -> Response {
    let wants_json = uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "format=json"));
    match wants_json {
        true => status_json(None),
        false => page(StatusCode::OK, "You are connected to the proxy of this Playhouse server.".to_owned()),
    }
}

fn status_json(error: Option<&str>) -> Response {
    let body = serde_json::json!({ "connected": error.is_none(), "connectionError": error, "isManInTheMiddle": false });
    let mut response = Response::new(Body::from(body.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    response
}

async fn pass_on(mut request: Request<Body>, authority: &Authority) -> Response {
    if request.uri().scheme() != Some(&Scheme::HTTP) {
        return page(
            StatusCode::BAD_REQUEST,
            "The proxy passes on http:// addresses; for others ask it for a tunnel.".to_owned(),
        );
    }
    let stream = match dial(authority.host(), authority.port_u16().unwrap_or(80)).await {
        Ok(stream) => stream,
        Err(error) => return unreachable(&error),
    };
    // The host in the first line is the one that counts (RFC 9112, section 3.2.2).
    let host = authority.as_str().rsplit('@').next().unwrap_or_default();
    if let Ok(host) = HeaderValue::from_str(host) {
        request.headers_mut().insert(HOST, host);
    }
    let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(path);
    match exchange(stream, request).await {
        Ok(response) => response,
        Err(error) => {
            page(StatusCode::BAD_GATEWAY, format!("The host \"{}\" did not answer: {error}.", authority.host()))
        }
    }
}

async fn tunnel(mut request: Request<Body>, authority: &Authority) -> Response {
    let Some(port) = authority.port_u16() else {
        return page(StatusCode::BAD_REQUEST, "A tunnel needs a host and a port.".to_owned());
    };
    let stream = match dial(authority.host(), port).await {
        Ok(stream) => stream,
        Err(error) => return unreachable(&error),
    };
    let client = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(client) = client.await {
            splice(TokioIo::new(client), stream).await;
        }
    });
    Response::new(Body::empty())
}

/// Clients that open a tunnel for everything ask for the status page in one, too.
fn tunnel_to_status(mut request: Request<Body>) -> Response {
    let client = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(client) = client.await else { return };
        let answer = service_fn(async |request: Request<hyper::body::Incoming>| {
            Ok::<_, std::convert::Infallible>(status(request.uri()))
        });
        // A client that goes away has had its answer.
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(client, answer).await;
    });
    Response::new(Body::empty())
}

fn unreachable(error: &DialError) -> Response {
    let status = match error {
        DialError::Forbidden(_) => StatusCode::FORBIDDEN,
        DialError::TimedOut(_) => StatusCode::GATEWAY_TIMEOUT,
        DialError::NotFound { .. } | DialError::Refused { .. } => StatusCode::BAD_GATEWAY,
    };
    page(status, format!("The proxy has no connection: {error}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names_have_the_form_of_the_platform() {
        for name in [
            "auto",
            "groups-RESIDENTIAL",
            "groups-A+B_2,session-a.b_c~1,country-US",
            "session-x",
            "country-US_CA",
            "auto,session-a",
        ] {
            assert!(is_proxy_username(name), "{name}");
        }
        let too_long = format!("session-{}", "x".repeat(51));
        for name in ["", "Auto", "auto,", "groups-", "session-", "session-a-b", "country-", "x-y", &too_long, "auto "] {
            assert!(!is_proxy_username(name), "{name}");
        }
    }

    #[test]
    fn credentials_are_read_with_and_without_padding() {
        assert_eq!(credentials("Basic YXV0bzpwOnc="), Some(("auto".to_owned(), "p:w".to_owned())));
        assert_eq!(credentials("basic YXV0bzpwOnc"), Some(("auto".to_owned(), "p:w".to_owned())));
        for header in ["", "Basic", "Basic !", "Bearer YXV0bzpwOnc=", "Basic YXV0bw==", "Basic /w=="] {
            assert_eq!(credentials(header), None, "{header}");
        }
    }
}
