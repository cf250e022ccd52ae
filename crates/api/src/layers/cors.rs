//! What browsers ask before they let a page call us (`HTTP-20`).

use axum::body::Body;
use axum::response::Response;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ALLOW,
};
use http::{HeaderMap, HeaderValue, StatusCode};

const ANYBODY: HeaderValue = HeaderValue::from_static("*");
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "X-Apify-Pagination-Total, X-Apify-Pagination-Offset, X-Apify-Pagination-Limit, X-Apify-Pagination-Count, \
     X-Apify-Pagination-Desc, X-RateLimit-Limit, X-Request-Id, Location, Content-Disposition, ETag, \
     Accept-Ranges, Content-Range",
);
const ASKED: HeaderValue = HeaderValue::from_static(
    "Authorization, Content-Type, Content-Encoding, Idempotency-Key, X-Apify-Request-Origin, X-Apify-Workflow-Key",
);
const ALL_METHODS: HeaderValue = HeaderValue::from_static("OPTIONS, GET, HEAD, POST, PUT, DELETE");
const A_DAY: HeaderValue = HeaderValue::from_static("86400");

/// Lets every page read the answer: what opens it is the token, not where the page came from.
pub(super) fn open(headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANYBODY);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
}

/// Answers `OPTIONS`. `refusal` is what the router said to that method: it names the methods of the route.
pub(super) fn preflight(asked: Option<HeaderValue>, refusal: &Response) -> Response {
    let methods = match refusal.headers().get(ALLOW).and_then(|allow| allow.to_str().ok()) {
        Some(allow) => HeaderValue::try_from(format!("OPTIONS, {}", allow.replace(',', ", "))).unwrap_or(ALL_METHODS),
        None => ALL_METHODS,
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.unwrap_or(ASKED));
    headers.insert(ACCESS_CONTROL_MAX_AGE, A_DAY);
    response
}

/// The headers that a page wants to send.
pub(super) fn headers_asked(headers: &HeaderMap) -> Option<HeaderValue> {
    headers.get(ACCESS_CONTROL_REQUEST_HEADERS).filter(|asked| !asked.is_empty()).cloned()
}
