//! Web servers of Actors: that of a run under its own address (`WEB-1` to `WEB-4`), and the way to any of them.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::header::{CONTENT_SECURITY_POLICY, HOST, LOCATION};
use http::uri::{Authority, Scheme};
use http::{HeaderName, HeaderValue, Request, StatusCode, Uri, Version};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::address::{Destination, Server, host, opens_page, page_of_its_own};
use super::{page, pass, standby};
use crate::app::App;
use crate::layers::Peer;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection is kept for the next request: shorter than any server of an Actor keeps it, for one that is closed
/// just when a request goes out costs that request.
const KEPT: Duration = Duration::from_secs(1);

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// Everything but what lets a page act as this server's own.
const SANDBOX: HeaderValue =
    HeaderValue::from_static("sandbox allow-downloads allow-forms allow-modals allow-popups allow-scripts");

/// The way to the web servers of Actors. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct WebServers {
    pub(super) app: App,
    client: Client<HttpConnector, Body>,
}

impl WebServers {
    pub(crate) fn new(app: App) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).pool_idle_timeout(KEPT);
        // As browsers spell them; some servers look at that.
        builder.http1_title_case_headers(true);
        Self { app, client: builder.build(connector) }
    }

    /// Passes a request on as it is, but for the prefix of the path, and streams the answer.
    pub(crate) async fn serve(&self, destination: Destination, request: Request<Body>) -> Response {
        let is_shared_page = !destination.prefix.is_empty() && opens_page(request.headers());
        let mut response = match &destination.server {
            Server::Run(secret) => {
                let secret = secret.clone();
                self.serve_run(&secret, destination, request).await
            }
            Server::Standby { .. } => standby::serve(self, destination, request).await,
        };
        // A page at a path shares its origin with the pages of this server, which must not do what it says.
        if is_shared_page {
            response.headers_mut().append(CONTENT_SECURITY_POLICY, SANDBOX);
        }
        response
    }

    /// Knowing the address of a run's web server is the key to it.
    async fn serve_run(&self, secret: &str, destination: Destination, request: Request<Body>) -> Response {
        let Some(address) = self.app.engine().web_server_of(secret).await else {
            return page(StatusCode::NOT_FOUND, "There is no run at this address, or it has finished.".to_owned());
        };
        let own = page_of_its_own(self.app.engine_config(), request.headers(), &destination, Some(secret));
        if let Some(location) = own {
            return moved(&location);
        }
        let send = async |request| Ok::<_, Error>((self.ask(address, &destination, request).await?, ()));
        match self.send(&destination, request, send).await {
            Ok(response) => response,
            Err(error) if error.is_connect() => {
                let port = address.port();
                let text = format!("The run is there, but no web server in it listens on port {port} (yet).");
                page(StatusCode::BAD_GATEWAY, text)
            }
            Err(error) => {
                page(StatusCode::BAD_GATEWAY, format!("The run's web server did not answer: {}.", reason(&error)))
            }
        }
    }

    /// Passes a request on by `send` and streams the answer. What `send` gives along with it is dropped when all of it has been
    /// passed on, or the websocket that it began has ended.
    pub(super) async fn send<H: Send + Unpin + 'static, E>(
        &self,
        destination: &Destination,
        mut request: Request<Body>,
        send: impl AsyncFnOnce(Request<Body>) -> Result<(http::Response<Incoming>, H), E>,
    ) -> Result<Response, E> {
        self.say_where_from(&mut request, &destination.prefix);
        pass(request, send).await
    }

    /// Asks the web server at `address`.
    pub(super) async fn ask(
        &self,
        address: SocketAddr,
        destination: &Destination,
        mut request: Request<Body>,
    ) -> Result<http::Response<Incoming>, Error> {
        // HTTP/1.0 has none, but what is behind us may insist on one.
        if !request.headers().contains_key(HOST)
            && let Ok(host) = HeaderValue::try_from(address.to_string())
        {
            request.headers_mut().insert(HOST, host);
        }
        let mut parts = destination.path.clone().into_parts();
        (parts.scheme, parts.authority) = (Some(Scheme::HTTP), Authority::try_from(address.to_string()).ok());
        // An address of digits and a path that was one before always make an address.
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        *request.version_mut() = Version::HTTP_11;
        self.client.request(request).await
    }

    /// Tells the web server how the client asked. What an earlier proxy said stays.
    fn say_where_from(&self, request: &mut Request<Body>, prefix: &str) {
        let peer = request.extensions().get::<Peer>().map(|Peer(peer)| peer.ip().to_canonical().to_string());
        let headers = request.headers_mut();
        if let Some(peer) = peer {
            let before: Vec<&str> =
                headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()).collect();
            let all = [before.as_slice(), &[peer.as_str()]].concat().join(", ");
            if let Ok(all) = HeaderValue::try_from(all) {
                headers.insert(FORWARDED_FOR, all);
            }
        }
        let host = host(headers).and_then(|host| HeaderValue::from_str(host).ok());
        if let Some(host) = host {
            headers.entry(FORWARDED_HOST).or_insert(host);
        }
        let is_https = self.app.engine_config().public_url.starts_with("https:");
        let scheme = HeaderValue::from_static(if is_https { "https" } else { "http" });
        headers.entry(FORWARDED_PROTO).or_insert(scheme);
        headers.remove(FORWARDED_PREFIX);
        if let (false, Ok(prefix)) = (prefix.is_empty(), HeaderValue::from_str(prefix)) {
            headers.insert(FORWARDED_PREFIX, prefix);
        }
    }
}

/// Sends a browser to another address with the same request.
pub(super) fn moved(location: &str) -> Response {
    let mut response = page(StatusCode::TEMPORARY_REDIRECT, "This page has an address of its own.".to_owned());
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// What went wrong at the bottom: the errors above it only say that sending failed.
pub(super) fn reason(error: &Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
