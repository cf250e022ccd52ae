//! A server on a real port, for what needs connections of its own: the proxy, runs' web servers and websockets.
//!
//! Sockets do not wait for a paused clock, so these tests run in real time.

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::TestServer;

impl TestServer {
    /// Serves on a port of its own.
    pub async fn listen(&self) -> SocketAddr {
        let service = self.service();
        serve(move |request, peer| {
            let service = service.clone();
            async move { service.call(request, peer).await }
        })
        .await
    }
}

/// Serves `answer` on a port of its own.
pub async fn serve<F, A>(answer: F) -> SocketAddr
where
    F: Fn(http::Request<Body>, SocketAddr) -> A + Clone + Send + 'static,
    A: Future<Output = http::Response<Body>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            let answer = answer.clone();
            let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                let response = answer(request.map(Body::new), peer);
                async move { Ok::<_, Infallible>(response.await) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades());
        }
    });
    address
}

/// A server that answers with the first line and headers of each request, and a greeting behind them.
pub async fn echo() -> SocketAddr {
    serve(|request, _| async move {
        let mut seen = format!("{} {}\n", request.method(), request.uri());
        for (name, value) in request.headers() {
            seen.push_str(&format!("{name}: {}\n", value.to_str().expect("text")));
        }
        let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.expect("a body");
        seen.push_str(&String::from_utf8_lossy(&body));
        http::Response::builder()
            .header("x-echo", "yes")
            .header("connection", "x-private")
            .header("x-private", "1")
            .body(Body::from(seen))
            .expect("a response")
    })
    .await
}

/// Sends bytes and reads what comes until the other side closes or, if `until` is given, until that was read.
pub async fn talk(stream: &mut TcpStream, bytes: &str, until: Option<&str>) -> String {
    stream.write_all(bytes.as_bytes()).await.expect("a connection");
    let mut received = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let count = stream.read(&mut piece).await.expect("a connection");
        received.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&received);
        if count == 0 || until.is_some_and(|until| text.contains(until)) {
            return text.into_owned();
        }
    }
}

/// Sends one request on a connection of its own and returns the whole answer.
pub async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    talk(&mut stream, request, None).await
}
