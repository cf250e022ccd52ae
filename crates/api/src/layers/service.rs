//! The service that the binary serves.

use std::any::Any;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use futures::FutureExt as _;
use http::header::ALLOW;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use tower::Service as _;

use super::leftover::Leftover;
use super::request_id::RequestIds;
use super::{compression, cors, paths, rate};
use crate::app::App;
use crate::error::{ApiError, Cause};
use crate::forward::{Destination, Hosts, Proxy, WebServers};
use crate::router;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_RATE_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");

/// The whole HTTP face. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Service {
    router: axum::Router,
    proxy: Proxy,
    hosts: Hosts,
    web_servers: WebServers,
    ids: RequestIds,
}

/// Where a request came from, as an extension of it.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

impl Service {
    /// The face of an engine.
    pub fn new(app: App) -> Self {
        Self {
            ids: RequestIds::new(app.engine().random()),
            router: router(app.clone()),
            proxy: Proxy::new(app.clone()),
            hosts: Hosts::of(app.engine_config()),
            web_servers: WebServers::new(app),
        }
    }

    /// Whether a request is for the web server of an Actor, whatever its path may look like.
    pub fn is_for_web_server(&self, request: &Request<Body>) -> bool {
        self.hosts.destination(request).is_some()
    }

    /// Answers one request. Never fails: whatever goes wrong is an answer, too.
    pub async fn call(&self, mut request: Request<Body>, peer: SocketAddr) -> Response {
        let id = self.ids.next();
        request.extensions_mut().insert(Peer(peer));
        request.extensions_mut().insert(id);
        // What passes through to somebody else, the web server of an Actor above all, has its own manners.
        let is_for_proxy = self.proxy.is_for_proxy(&request);
        let destination = if is_for_proxy { None } else { self.hosts.destination(&request) };
        let passes = is_for_proxy || destination.is_some();
        let rate = is_api(request.uri()).then(|| rate::limit_of(request.method(), request.uri().path()));

        let leftover = if passes { None } else { Leftover::lend(&mut request) };

        // A panic is our mistake; it must cost one answer, not the connection's other requests.
        let mut response = match AssertUnwindSafe(self.answer(request, is_for_proxy, destination)).catch_unwind().await
        {
            Ok(response) => response,
            Err(panic) => {
                ApiError::internal(anyhow::anyhow!("a handler panicked: {}", words_of(&*panic))).into_response()
            }
        };

        if let Some(leftover) = leftover {
            leftover.discard(response.status()).await;
        }
        if let Some(Cause(cause)) = response.extensions_mut().remove::<Cause>() {
            tracing::error!(request.id = %id, error = format!("{cause:#}"), "Failed to answer request {id}");
        }
        if passes {
            return response;
        }
        let headers = response.headers_mut();
        if let Ok(id) = HeaderValue::try_from(id.to_string()) {
            headers.insert(X_REQUEST_ID, id);
        }
        if let Some(rate) = rate {
            headers.insert(X_RATE_LIMIT, rate);
            cors::open(headers);
        }
        response
    }

    async fn answer(&self, mut request: Request<Body>, for_proxy: bool, for_server: Option<Destination>) -> Response {
        // These pass through as they are: nothing below may spell, read or compress them. In boxes, so that every other
        // request need not carry the room that they take.
        if for_proxy {
            return Box::pin(self.proxy.serve(request)).await;
        }
        if let Some(destination) = for_server {
            return Box::pin(self.web_servers.serve(destination, request)).await;
        }
        match paths::overriding_method(request.method(), request.uri()) {
            Ok(None) => {}
            Ok(Some(method)) => *request.method_mut() = method,
            Err(error) => return error.into_response(),
        }
        let usual = paths::usual_spelling(request.method(), request.uri().path());
        if let Some(uri) = usual.and_then(|path| paths::with_path(request.uri(), &path)) {
            *request.uri_mut() = uri;
        }

        let wish = compression::Wish::of(&request);
        let preflight = (request.method() == Method::OPTIONS && is_api(request.uri()))
            .then(|| cors::headers_asked(request.headers()));
        let Ok(response) = self.router.clone().call(request).await;
        if let Some(asked) = preflight {
            return cors::preflight(asked, &response);
        }
        if response.status() == StatusCode::METHOD_NOT_ALLOWED && response.headers().contains_key(ALLOW) {
            return method_not_allowed(&response);
        }
        compression::compress(response, wish).await
    }
}

fn is_api(uri: &Uri) -> bool {
    uri.path().trim_start_matches('/').starts_with("v2")
}

/// Puts the router's refusal of a method into the contract's words (`HTTP-19`).
fn method_not_allowed(refusal: &Response) -> Response {
    let allow = refusal.headers().get(ALLOW);
    let allowed = allow.and_then(|allow| allow.to_str().ok()).unwrap_or_default();
    // HEAD comes with GET and is not named by the platform.
    let named: Vec<&str> = allowed.split(',').map(str::trim).filter(|method| !matches!(*method, "HEAD" | "")).collect();
    let mut response = ApiError::method_not_allowed(&named.join(",")).into_response();
    if let Some(allow) = allow {
        response.headers_mut().insert(ALLOW, allow.clone());
    }
    response
}

fn words_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}
