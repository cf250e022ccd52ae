//! A server for tests, and how they talk to it.
//!
//! ```ignore
//! let server = TestServer::start().await;
//! let dataset = server.post("/v2/datasets").await.expect(201).data();
//! server.get("/v2/datasets/x").anonymous().await.expect_error(404, "record-not-found");
//! ```
//!
//! Requests carry the token of user `ada` unless they say otherwise.

use std::future::IntoFuture;
use std::net::SocketAddr;
use std::pin::Pin;

use axum::body::Body;
use bytes::Bytes;
use drivers::fake::Call;
use engine::EngineConfig;
use engine::testing::TestEngine;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use model::RunId;
use playhouse_api::{ApiConfig, App, Service};
use serde_json::Value;

/// A server with a user `ada`, whose token requests carry.
pub struct TestServer {
    /// The engine behind it.
    pub engine: TestEngine,
    service: Service,
}

impl TestServer {
    /// Starts a server on an empty store.
    pub async fn start() -> Self {
        Self::start_with(EngineConfig::default()).await
    }

    /// Starts a server whose engine has these settings.
    pub async fn start_with(config: EngineConfig) -> Self {
        Self::start_on(config, ApiConfig::default()).await
    }

    /// Starts a server whose engine and whose HTTP face have these settings.
    pub async fn start_on(engine: EngineConfig, api: ApiConfig) -> Self {
        let engine = TestEngine::start_with(engine).await;
        let app = App::new(engine.engine.clone(), api);
        app.deliver_webhooks();
        let service = Service::new(app);
        Self { engine, service }
    }

    /// Forgets what the HTTP face holds in memory, as a restart does.
    pub fn forget(&mut self) {
        self.service = Service::new(App::new(self.engine.engine.clone(), ApiConfig::default()));
    }

    /// What answers requests, to be served on a socket.
    pub fn service(&self) -> Service {
        self.service.clone()
    }

    pub fn get(&self, path: &str) -> Ask<'_> {
        self.ask(Method::GET, path)
    }

    pub fn head(&self, path: &str) -> Ask<'_> {
        self.ask(Method::HEAD, path)
    }

    pub fn post(&self, path: &str) -> Ask<'_> {
        self.ask(Method::POST, path)
    }

    pub fn put(&self, path: &str) -> Ask<'_> {
        self.ask(Method::PUT, path)
    }

    pub fn delete(&self, path: &str) -> Ask<'_> {
        self.ask(Method::DELETE, path)
    }

    /// Prepares a request.
    pub fn ask(&self, method: Method, path: &str) -> Ask<'_> {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).expect("a request");
        Ask { server: self, request, token: Some(self.engine.token.clone()) }
    }

    /// Makes a storage and returns its id.
    pub async fn given(&self, plural: &str) -> String {
        let created = self.post(&format!("/v2/{plural}")).await.expect(201).data();
        created["id"].as_str().expect("an id").to_owned()
    }

    /// Makes a dataset with these items and returns its id.
    pub async fn given_items(&self, items: Value) -> String {
        let id = self.given("datasets").await;
        self.post(&format!("/v2/datasets/{id}/items")).json(items).await.expect(201);
        id
    }

    /// The token that the newest life of a run was started with.
    pub fn run_token(&self, run: &RunId) -> String {
        let calls = self.engine.driver.calls();
        let started = calls.iter().rev().find_map(|call| match call {
            Call::StartRun(spec) if spec.job.id == run.as_str() => spec.env.get("APIFY_TOKEN").cloned(),
            _ => None,
        });
        started.expect("a run that was started")
    }

    /// Makes another user and returns a token of theirs.
    pub async fn given_user(&self, name: &str) -> String {
        let engine = &self.engine.engine;
        let user = engine.create_user(name).await.expect("a user");
        engine.create_token(&user.id, "test", None).await.expect("a token").1
    }
}

/// A request that is sent when it is awaited.
pub struct Ask<'a> {
    server: &'a TestServer,
    request: Request<Body>,
    token: Option<String>,
}

impl Ask<'_> {
    /// Sends no token.
    pub fn anonymous(mut self) -> Self {
        self.token = None;
        self
    }

    /// Sends this token.
    pub fn token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// Sends JSON.
    pub fn json(self, body: Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    /// Sends these bytes.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        *self.request.body_mut() = Body::from(body.into());
        self
    }

    /// Sends these pieces, without a length.
    pub fn pieces(mut self, pieces: Vec<std::io::Result<Bytes>>) -> Self {
        *self.request.body_mut() = Body::from_stream(futures::stream::iter(pieces));
        self
    }

    /// Sends a header.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a header");
        self.request.headers_mut().insert(HeaderName::from_static(name), value);
        self
    }
}

impl<'a> IntoFuture for Ask<'a> {
    type Output = Reply;
    type IntoFuture = Pin<Box<dyn Future<Output = Reply> + Send + 'a>>;

    fn into_future(mut self) -> Self::IntoFuture {
        if let Some(token) = &self.token {
            let value = HeaderValue::try_from(format!("Bearer {token}")).expect("a header");
            self.request.headers_mut().insert("authorization", value);
        }
        let what = format!("{} {}", self.request.method(), self.request.uri());
        let Self { server, request, .. } = self;
        Box::pin(async move {
            let peer = SocketAddr::from(([127, 0, 0, 1], 50_000));
            let response = server.service.call(request, peer).await;
            let (parts, body) = response.into_parts();
            let (body, broken) = match body.collect().await {
                Ok(body) => (body.to_bytes(), None),
                Err(error) => (Bytes::new(), Some(error.to_string())),
            };
            note(&what, parts.status);
            Reply { what, status: parts.status, headers: parts.headers, body, broken }
        })
    }
}

/// Writes down which test asked what and how it went, for `cargo xtask operations`.
fn note(what: &str, status: StatusCode) {
    let Some(file) = std::env::var_os("PLAYHOUSE_TEST_TRACE") else { return };
    let thread = std::thread::current();
    let test = thread.name().expect("the thread of a test has its name");
    let line = format!("{test}\t{}\t{}\n", what.replacen(' ', "\t", 1), status.as_u16());
    let mut file = std::fs::File::options().append(true).create(true).open(file).expect("a file");
    std::io::Write::write_all(&mut file, line.as_bytes()).expect("a file");
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    what: String,
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Why the body broke off, if it did.
    pub broken: Option<String>,
}

impl Reply {
    /// Insists on a status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}: {}", self.what, String::from_utf8_lossy(&self.body));
        self
    }

    /// Insists on a status and an error type, and returns the message.
    #[track_caller]
    pub fn expect_error(self, status: u16, kind: &str) -> String {
        let what = self.what.clone();
        let body = self.expect(status).json();
        assert_eq!(body["error"]["type"], kind, "{what}: {body}");
        body["error"]["message"].as_str().unwrap_or_else(|| panic!("{what}: no message in {body}")).to_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{}: {error}: {}", self.what, String::from_utf8_lossy(&self.body)))
    }

    /// What is in the envelope.
    #[track_caller]
    pub fn data(&self) -> Value {
        let mut body = self.json();
        assert!(body.get("data").is_some(), "{}: no data in {body}", self.what);
        body["data"].take()
    }

    /// The body as text.
    #[track_caller]
    pub fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).expect("UTF-8")
    }

    /// A header as text, empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }
}
