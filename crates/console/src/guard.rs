//! Who may see the pages.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Decides about each request for a page.
#[derive(Clone, Debug)]
pub struct Guard {
    password: Option<Arc<str>>,
    loopback: bool,
}

impl Guard {
    /// A guard of pages that are served on `bound`.
    pub fn new(password: Option<String>, bound: SocketAddr) -> Self {
        let password = password.filter(|password| !password.is_empty()).map(Arc::from);
        Self { password, loopback: bound.ip().is_loopback() }
    }

    fn refusal(&self, method: &Method, headers: &HeaderMap) -> Option<(StatusCode, &'static str)> {
        match &self.password {
            Some(password) if !knows(password, headers) => {
                return Some((StatusCode::UNAUTHORIZED, "a password is needed"));
            }
            Some(_) => {}
            None if !self.loopback => return Some((StatusCode::FORBIDDEN, "set a console password to open the pages")),
            // A foreign page can point a name of its own at this address (DNS rebinding); its Host gives it away.
            None if !is_loopback_name(host(headers)) => {
                return Some((StatusCode::FORBIDDEN, "open this page as http://localhost or http://127.0.0.1"));
            }
            None => {}
        }
        let changes = !matches!(*method, Method::GET | Method::HEAD);
        if changes && !is_own_origin(headers) {
            return Some((StatusCode::FORBIDDEN, "this was asked for by another web site"));
        }
        None
    }
}

/// Lets a request through, or answers it.
pub async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let mut response = match guard.refusal(request.method(), request.headers()) {
        None => next.run(request).await,
        Some((status, why)) => (status, why).into_response(),
    };
    let headers = response.headers_mut();
    if guard.password.is_some() {
        headers.insert(
            header::WWW_AUTHENTICATE,
            header::HeaderValue::from_static("Basic realm=\"Playhouse\", charset=\"UTF-8\""),
        );
    }
    headers.insert(header::X_FRAME_OPTIONS, header::HeaderValue::from_static("DENY"));
    headers.insert(header::REFERRER_POLICY, header::HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
    response
}

/// Whether Basic authentication carries the password; the user name does not matter.
fn knows(password: &str, headers: &HeaderMap) -> bool {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let decoded = given.and_then(|value| STANDARD.decode(value.strip_prefix("Basic ")?).ok());
    let text = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    text.as_deref()
        .and_then(|text| text.split_once(':'))
        .is_some_and(|(_, given)| model::signature::same(given, password))
}

fn host(headers: &HeaderMap) -> &str {
    headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn is_loopback_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether a browser says that the request comes from one of our own pages.
fn is_own_origin(headers: &HeaderMap) -> bool {
    let origin = headers.get(header::ORIGIN).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let authority = origin.split_once("://").map(|(_, authority)| authority).unwrap_or_default();
    !authority.is_empty() && authority == host(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (header::HeaderName::try_from(*name).unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn without_a_password_only_loopback_names_open_a_page() {
        let guard = Guard::new(None, "127.0.0.1:3333".parse().unwrap());

        for good in ["localhost:3333", "127.0.0.1:3333", "[::1]:3333", "localhost"] {
            assert_eq!(guard.refusal(&Method::GET, &headers(&[("host", good)])), None, "{good}");
        }
        for bad in ["evil.example", "localhost.evil.example:3333", "", "127.0.0.1.evil.example"] {
            assert!(guard.refusal(&Method::GET, &headers(&[("host", bad)])).is_some(), "{bad}");
        }
    }

    #[test]
    fn a_change_must_come_from_our_own_page() {
        let guard = Guard::new(None, "127.0.0.1:3333".parse().unwrap());
        let own = headers(&[("host", "localhost:3333"), ("origin", "http://localhost:3333")]);
        let foreign = headers(&[("host", "localhost:3333"), ("origin", "http://evil.example")]);

        assert_eq!(guard.refusal(&Method::POST, &own), None);
        assert!(guard.refusal(&Method::POST, &foreign).is_some());
        assert!(guard.refusal(&Method::POST, &headers(&[("host", "localhost:3333")])).is_some());
    }

    #[test]
    fn with_a_password_it_must_be_known() {
        let guard = Guard::new(Some("open sesame".to_owned()), "0.0.0.0:3333".parse().unwrap());
        let with = |credentials: &str| {
            let value = format!("Basic {}", STANDARD.encode(credentials));
            headers(&[("host", "actors.example"), ("authorization", &value)])
        };

        assert_eq!(guard.refusal(&Method::GET, &with("anybody:open sesame")), None);
        assert!(guard.refusal(&Method::GET, &with("anybody:open")).is_some());
        assert!(guard.refusal(&Method::GET, &headers(&[("host", "localhost")])).is_some());
    }
}
