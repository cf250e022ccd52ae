//! A server that reads each request and answers a fixed text: what HTTP alone costs on this machine. It also sends a copy of
//! items, as many as are asked for: what an export would cost that does nothing else.

use std::convert::Infallible;
use std::io::{BufRead as _, BufReader};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use anyhow::Context as _;
use bytes::Bytes;
use futures::Stream;
use http_body_util::{BodyExt as _, Either, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;

use super::load;

/// Items that are copied, again and again if more are asked for: more than fit into the cache of a core.
const COPIED: usize = 100_000;
/// Bytes that are copied at a time.
const PIECE: usize = 512 * 1024;

static ITEMS: LazyLock<Bytes> = LazyLock::new(|| load::batch(0, COPIED).into());

/// What is answered, about as long as the real answer.
struct Fixed {
    page: Bytes,
    record: Bytes,
    batch: Bytes,
    head: Bytes,
    other: Bytes,
}

impl Fixed {
    fn new() -> Self {
        let list = |before: &str, element: &str, after: &str| {
            Bytes::from(format!("{before}{}{after}", [element; 25].join(",")))
        };
        Self {
            page: load::batch(0, 1_000).into(),
            record: vec![b'x'; load::ITEM_BYTES].into(),
            batch: list(
                r#"{"data":{"unprocessedRequests":[],"processedRequests":["#,
                r#"{"requestId":"aaaaaaaaaaaaaaa","uniqueKey":"https://shop-100.example.com/c/garden/p/1","wasAlreadyPresent":false,"wasAlreadyHandled":false}"#,
                "]}}",
            ),
            head: list(
                r#"{"data":{"limit":25,"lockSecs":60,"queueModifiedAt":"2026-01-01T00:00:00.000Z","hadMultipleClients":false,"items":["#,
                r#"{"id":"aaaaaaaaaaaaaaa","uniqueKey":"https://shop-100.example.com/c/garden/p/1","url":"https://shop-100.example.com/c/garden/p/1","method":"GET","retryCount":0,"lockExpiresAt":"2026-01-01T00:00:00.000Z"}"#,
                "]}}",
            ),
            other: Bytes::from_static(
                br#"{"data":{"requestId":"aaaaaaaaaaaaaaa","wasAlreadyPresent":true,"wasAlreadyHandled":false}}"#,
            ),
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Either<Full<Bytes>, Copies>> {
        let (parts, mut body) = request.into_parts();
        while let Some(Ok(_)) = body.frame().await {}
        if let Some(bytes) = parts.uri.path().strip_prefix("/copy/").and_then(|bytes| bytes.parse().ok()) {
            return Response::new(Either::Right(copies(bytes)));
        }
        let content = match (parts.method, parts.uri.path()) {
            (Method::GET, path) if path.ends_with("/items") => &self.page,
            (Method::GET, path) if path.contains("/records/") => &self.record,
            (Method::POST, path) if path.ends_with("/batch") => &self.batch,
            (Method::POST, path) if path.ends_with("/lock") => &self.head,
            _ => &self.other,
        };
        let mut response = Response::new(Either::Left(Full::new(content.clone())));
        let json = hyper::header::HeaderValue::from_static("application/json; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, json);
        response
    }
}

/// A body of so many bytes of items.
fn copies(bytes: usize) -> Copies {
    StreamBody::new(Box::pin(futures::stream::unfold(bytes, |left| async move {
        let items = &*ITEMS;
        // The first pieces come last, which matters to nobody.
        let from = left % (items.len() - PIECE);
        let piece = &items[from..from + PIECE.min(left)];
        (left > 0).then(|| (Ok(Frame::data(Bytes::copy_from_slice(piece))), left - piece.len()))
    })))
}

type Copies = StreamBody<Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>>>;

/// Serves until it is killed, and prints the port first.
pub fn serve() -> anyhow::Result<()> {
    let fixed: &'static Fixed = Box::leak(Box::new(Fixed::new()));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?.port());
        loop {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            let service = service_fn(move |request| async move { Ok::<_, Infallible>(fixed.answer(request).await) });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service));
        }
    })
}

/// Has `measure` measure it, a process of its own with that id and address.
pub fn with<T>(measure: impl FnOnce(u32, &str) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let (mut child, address) = start()?;
    let outcome = measure(child.id(), &address);
    child.kill()?;
    child.wait()?;
    outcome
}

fn start() -> anyhow::Result<(Child, String)> {
    let mut child = Command::new(std::env::current_exe()?).arg("null-server").stdout(Stdio::piped()).spawn()?;
    let mut port = String::new();
    BufReader::new(child.stdout.take().context("no output")?).read_line(&mut port)?;
    Ok((child, format!("http://127.0.0.1:{}", port.trim())))
}
