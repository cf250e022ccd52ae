//! Takes connections and hands their requests to the API.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

use crate::exit::{ADDRESS_IN_USE, Failure};

/// How long a connection may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long answers under way may take once the server is asked to stop.
const DRAIN: Duration = Duration::from_secs(30);

/// Opens the port, or says who holds it.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            let holder = holder_of(address.port()).unwrap_or_else(|| "another process".to_owned());
            let message = format!(
                "{address} is taken by {holder}.\nStop it, or choose another address: --listen {}:{}",
                address.ip(),
                address.port().wrapping_add(1).max(1024)
            );
            Err(Failure::new(ADDRESS_IN_USE, message).into())
        }
        Err(error) => Err(anyhow::Error::from(error).context(format!("cannot listen on {address}"))),
    }
}

/// Opens a port on an address that may not be there yet: a bridge of a container engine may appear with its first container.
pub fn bind_ahead(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let bind = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        rustix::net::sockopt::set_ip_freebind(&socket, true)?;
        socket.bind(address)?;
        socket.listen(1024)
    };
    bind().map_err(|error: std::io::Error| {
        let message = format!(
            "cannot listen on {address}, where runs in containers reach the server: {error}.\n\
             Choose another port with --listen, or another way with --docker-network or --docker-api-url"
        );
        Failure::new(ADDRESS_IN_USE, message).into()
    })
}

/// What is served: the API, and the pages for people beside it.
pub struct Faces {
    /// The API, which also answers for whatever nobody else knows.
    pub api: api::Service,
    /// The pages.
    pub pages: Router,
}

impl Faces {
    async fn answer(&self, request: Request, peer: SocketAddr) -> Response {
        // An address with a host in it is meant for the forward proxy, and web servers of Actors have pages of their own.
        let is_page = request.uri().authority().is_none()
            && is_page(request.uri().path())
            && !self.api.is_for_web_server(&request);
        if is_page {
            self.pages.clone().call(request).await.into_response()
        } else {
            self.api.call(request, peer).await
        }
    }
}

fn is_page(path: &str) -> bool {
    let first = path.split('/').nth(1).unwrap_or_default();
    matches!(first, "" | "actors" | "runs" | "builds" | "storage" | "settings" | "x-demo")
}

/// Serves until `stop`, then finishes the answers under way.
pub async fn serve(listener: TcpListener, faces: Faces, stop: CancellationToken) {
    let mut builder = http1::Builder::new();
    // Without `pipeline_flush`, which holds back answers while unread bytes are there, even those of no valid request.
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let connections = TaskTracker::new();
    let faces = Arc::new(faces);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: connections that end will free some.
                tracing::warn!(%error, "Cannot take a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        prepare(&stream);
        let faces = faces.clone();
        let requests = service_fn(move |request: http::Request<Incoming>| {
            let faces = faces.clone();
            async move { Ok::<_, Infallible>(faces.answer(request.map(Body::new), peer).await) }
        });
        let connection = builder.serve_connection(TokioIo::new(stream), requests).with_upgrades();
        let stop = stop.clone();
        connections.spawn(async move {
            let mut connection = std::pin::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop.cancelled() => {
                    // Finishes the answer under way, and takes no further request.
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%peer, %error, "A connection ended early");
            }
        });
    }
    drop(listener);
    connections.close();
    tokio::select! {
        () = connections.wait() => {}
        () = tokio::time::sleep(DRAIN) => tracing::warn!("Some answers were still under way after {} s", DRAIN.as_secs()),
    }
}

fn prepare(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "Cannot set TCP_NODELAY");
    }
}

/// Which process listens on a local port, as `name (process 123)`.
fn holder_of(port: u16) -> Option<String> {
    let inode = std::fs::read_to_string("/proc/net/tcp").ok()?.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let listens = *fields.get(3)? == "0A";
        let local = u16::from_str_radix(fields.get(1)?.rsplit(':').next()?, 16).ok()?;
        (listens && local == port).then(|| fields.get(9).map(ToString::to_string)).flatten()
    })?;
    let wanted = format!("socket:[{inode}]");
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        // Not `self`, which is a link to one of the others.
        if process.file_type().is_ok_and(|kind| kind.is_symlink()) {
            continue;
        }
        let Ok(files) = std::fs::read_dir(process.path().join("fd")) else { continue };
        let holds = files
            .flatten()
            .any(|file| std::fs::read_link(file.path()).is_ok_and(|target| target.to_string_lossy() == wanted));
        if holds {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (process {})", name.trim(), process.file_name().to_string_lossy()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_names_its_holder() {
        let first = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();

        let refused = bind(first.local_addr().unwrap()).await.unwrap_err();

        assert_eq!(refused.downcast_ref::<Failure>().unwrap().code, ADDRESS_IN_USE);
        assert!(refused.to_string().contains(&format!("process {}", std::process::id())), "{refused}");
    }
}
