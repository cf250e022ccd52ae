//! Requests whose answers are streams: of lines, of frames, for hours.

use bollard::ClientVersion;
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::Endpoint;
use super::client::{Client, QUICK, Trouble};

/// What is sent along with a request.
pub(super) type Body = BoxBody<Bytes, std::io::Error>;

/// Nothing to send.
pub(super) fn nothing() -> Body {
    Empty::new().map_err(|never| match never {}).boxed()
}

impl Client {
    /// Sends a request on a connection of its own and returns when the head of the answer is there, which may take as long
    /// as the work does. Dropping the answer ends the connection, and with it the work.
    ///
    /// `path` begins behind the version of the API.
    pub(super) async fn stream(&self, method: Method, path: &str, body: Body) -> Result<Response<Incoming>, Trouble> {
        self.stream_as(method, path, "", body).await
    }

    /// The same, with credentials of a registry.
    pub(super) async fn stream_as(
        &self,
        method: Method,
        path: &str,
        login: &str,
        body: Body,
    ) -> Result<Response<Incoming>, Trouble> {
        let version = self.docker().await?.client_version();
        self.ask(version, method, path, login, body).await
    }

    async fn ask(
        &self,
        version: ClientVersion,
        method: Method,
        path: &str,
        login: &str,
        body: Body,
    ) -> Result<Response<Incoming>, Trouble> {
        let cannot = |error: &dyn std::fmt::Display| self.silent(error.to_string());
        let request = Request::builder()
            .method(method)
            .uri(format!("/v{}.{}{path}", version.major_version, version.minor_version))
            .header("host", "engine")
            .header("content-type", "application/x-tar")
            .body(body);
        let mut request = request.map_err(|error| cannot(&error))?;
        if !login.is_empty() {
            let login = login.parse().map_err(|error| cannot(&error))?;
            request.headers_mut().insert("x-registry-auth", login);
        }
        let response = match self.endpoint() {
            Endpoint::Unix(path) => {
                let connecting = tokio::time::timeout(QUICK, UnixStream::connect(path));
                let socket = connecting.await.map_err(|late| cannot(&late))?.map_err(|error| cannot(&error))?;
                send(socket, request).await
            }
            Endpoint::Tcp(host) => {
                let connecting = tokio::time::timeout(QUICK, TcpStream::connect(host));
                let socket = connecting.await.map_err(|late| cannot(&late))?.map_err(|error| cannot(&error))?;
                send(socket, request).await
            }
        };
        let response = response.map_err(|error| cannot(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let text = tokio::time::timeout(QUICK, response.into_body().collect()).await;
        let text = text.map_err(|late| cannot(&late))?.map_err(|error| cannot(&error))?.to_bytes();
        let answer: Option<serde_json::Value> = serde_json::from_slice(&text).ok();
        let message = answer.as_ref().and_then(|answer| answer["message"].as_str());
        let message = message.map_or_else(|| String::from_utf8_lossy(&text).into_owned(), str::to_owned);
        Err(if status == 404 { Trouble::NotThere(message) } else { Trouble::Refused { status, message } })
    }
}

impl Client {
    /// Reads one JSON value, as it is: engines know states that the client library does not.
    pub(super) async fn json(&self, path: &str) -> Result<serde_json::Value, Trouble> {
        self.json_as(self.docker().await?.client_version(), path).await
    }

    /// The same, in a version of the API that is known already.
    pub(super) async fn json_as(&self, version: ClientVersion, path: &str) -> Result<serde_json::Value, Trouble> {
        let read = async {
            let body = self.ask(version, Method::GET, path, "", nothing()).await?.into_body();
            let text = body.collect().await.map_err(|error| self.silent(error.to_string()))?.to_bytes();
            serde_json::from_slice(&text).map_err(|error| self.silent(error.to_string()))
        };
        let late = |_| self.silent(format!("no answer within {} s", QUICK.as_secs()));
        tokio::time::timeout(QUICK, read).await.map_err(late)?
    }
}

async fn send(
    socket: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Body>,
) -> hyper::Result<Response<Incoming>> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
    tokio::spawn(async move {
        // Whoever reads the answer sees how it ends.
        connection.await.ok();
    });
    sender.send_request(request).await
}
