//! Real requests to targets that behave in all ways. Sockets do not wait for a paused clock, so time goes on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::webhooks::{Courier as _, HttpCourier, Parcel, Receipt};

const BODY: &str = r#"{"eventType":"TEST"}"#;

/// A target, and what it was sent.
struct Target {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Target {
    /// A target that answers each request with what `answer` makes of it, and closes.
    async fn start(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let (listener, target) = Self::bind().await;
        let (answer, heard) = (Arc::new(answer), target.heard.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (answer, heard) = (answer.clone(), heard.clone());
                tokio::spawn(async move {
                    let request = read(&mut stream).await;
                    let answer = answer(&request);
                    heard.lock().push(request);
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        target
    }

    async fn bind() -> (TcpListener, Self) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, Self { address, heard: Arc::default() })
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().clone()
    }
}

/// Reads a request with its body.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let (mut received, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut piece).await.unwrap_or(0);
        received.extend_from_slice(&piece[..count]);
        if count == 0 || received.ends_with(BODY.as_bytes()) {
            return String::from_utf8_lossy(&received).into_owned();
        }
    }
}

fn parcel(url: &str) -> Parcel {
    Parcel {
        url: url.to_owned(),
        headers: vec![("x-secret".to_owned(), "mine".to_owned())],
        marks: vec![("content-type", "application/json".to_owned()), ("x-apify-webhook", "1".to_owned())],
        body: Bytes::from_static(BODY.as_bytes()),
        ignore_ssl_errors: false,
        token: Some("token-of-the-owner".to_owned()),
    }
}

fn courier() -> HttpCourier {
    HttpCourier::new(&[], true)
}

async fn carried(url: &str) -> Receipt {
    courier().carry(parcel(url)).await
}

#[track_caller]
fn complaint(receipt: &Receipt, part: &str) {
    let complaint = receipt.complaint().unwrap_or_default();
    assert!(complaint.contains(part), "{complaint:?} does not say {part:?}");
}

#[tokio::test]
async fn a_request_arrives_whole_and_its_answer_comes_back() {
    let target = Target::start(|_| "HTTP/1.1 201 Created\r\ncontent-length: 5\r\n\r\nfine!".to_owned()).await;

    let receipt = carried(&target.url("/hook?a=b#c")).await;

    assert_eq!(receipt, Receipt { status: Some(201), body: Some("fine!".to_owned()), error: None });
    let heard = &target.heard()[0];
    assert!(heard.starts_with("POST /hook?a=b HTTP/1.1\r\n"), "{heard}");
    for line in ["content-type: application/json", "x-apify-webhook: 1", "x-secret: mine", "content-length: 20"] {
        assert!(heard.contains(&format!("\r\n{line}\r\n")), "no {line} in {heard}");
    }
    assert!(heard.contains(&format!("\r\nhost: {}\r\n", target.address)) && heard.ends_with(BODY), "{heard}");
    assert!(!heard.contains("authorization") && !heard.contains("token-of-the-owner"), "{heard}");
    let with_user = carried(&format!("http://user:pass@{}/", target.address)).await;
    assert!(with_user.is_success());
    assert!(target.heard()[1].contains("\r\nauthorization: Basic dXNlcjpwYXNz\r\n"));
}

#[tokio::test]
async fn failures_are_told_in_words() {
    let (listener, closed) = Target::bind().await;
    drop(listener);
    let mute = Target::start(|_| String::new()).await;
    let rude = Target::start(|_| "HELO\r\n\r\n".to_owned()).await;
    let teapot = Target::start(|_| "HTTP/1.1 418 Teapot\r\ncontent-length: 2\r\n\r\nno".to_owned()).await;

    complaint(&carried(&closed.url("/")).await, "Connection refused");
    complaint(&carried(&mute.url("/")).await, "could not be sent");
    complaint(&carried(&rude.url("/")).await, "could not be sent");
    complaint(&carried("http://no-such-host.invalid/").await, "could not be sent");
    complaint(&carried("no url").await, "no URL");
    let receipt = carried(&teapot.url("/")).await;
    complaint(&receipt, "The target answered with status 418.");
    assert_eq!((receipt.status, receipt.body.as_deref()), (Some(418), Some("no")));
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_none() {
    let target = Target::start(|_| "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf".to_owned()).await;

    let receipt = carried(&target.url("/")).await;

    assert_eq!((receipt.status, receipt.is_success()), (Some(200), false));
    complaint(&receipt, "The answer broke off");
}

#[tokio::test]
async fn of_an_endless_answer_only_the_beginning_is_read() {
    let (listener, target) = Target::bind().await;
    let sent = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n").await;
        let (piece, mut sent) = (vec![b'x'; 1 << 16], 0_u64);
        while sent < 1 << 30 && stream.write_all(&piece).await.is_ok() {
            sent += piece.len() as u64;
        }
        sent
    });

    let receipt = carried(&target.url("/")).await;

    assert_eq!((receipt.is_success(), receipt.body.map(|body| body.len())), (true, Some(4096)));
    let sent = sent.await.unwrap();
    assert!(sent < 64 << 20, "{sent} bytes were taken");
}

#[tokio::test]
async fn who_waits_no_longer_closes_the_connection() {
    let (listener, target) = Target::bind().await;
    let closed = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read(&mut stream).await;
        // Never answers.
        stream.read(&mut [0; 1]).await.unwrap_or(0)
    });

    let waited = tokio::time::timeout(Duration::from_millis(200), carried(&target.url("/"))).await;

    assert!(waited.is_err());
    assert_eq!(closed.await.unwrap(), 0, "the target sees the end");
}

#[tokio::test]
async fn redirects_are_followed_with_the_same_request_but_not_for_ever() {
    let last = Target::start(|_| "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned()).await;
    let onward = last.url("/there");
    let target = Target::start(move |request| match request.split(' ').nth(1) {
        Some("/loop") => "HTTP/1.1 307 Temporary Redirect\r\nlocation: /loop\r\ncontent-length: 0\r\n\r\n".to_owned(),
        Some("/see-other") => "HTTP/1.1 303 See Other\r\nlocation: /loop\r\ncontent-length: 0\r\n\r\n".to_owned(),
        Some("/here") => "HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n".to_owned(),
        Some("/metadata") => {
            "HTTP/1.1 308 Moved\r\nlocation: http://169.254.169.254/latest\r\ncontent-length: 0\r\n\r\n".to_owned()
        }
        Some("/file") => "HTTP/1.1 301 Moved\r\nlocation: file:///etc/passwd\r\ncontent-length: 0\r\n\r\n".to_owned(),
        _ => format!("HTTP/1.1 301 Moved\r\nlocation: {onward}\r\ncontent-length: 0\r\n\r\n"),
    })
    .await;

    assert!(carried(&target.url("/here")).await.is_success());
    let (first, second) = (target.heard()[0].clone(), target.heard()[1].clone());
    assert!(first.contains("x-secret: mine") && second.starts_with("POST /elsewhere"), "{second}");
    assert!(second.contains("x-secret: mine"), "the same host may know");
    let there = &last.heard()[0];
    assert!(
        there.starts_with("POST /there") && there.ends_with(BODY) && there.contains("x-apify-webhook: 1"),
        "{there}"
    );
    assert!(!there.contains("x-secret"), "another may not: {there}");

    complaint(&carried(&target.url("/loop")).await, "more than 5 times");
    assert_eq!(target.heard().iter().filter(|request| request.starts_with("POST /loop")).count(), 6);
    complaint(&carried(&target.url("/see-other")).await, "status 303");
    complaint(&carried(&target.url("/metadata")).await, "169.254.169.254 is a link-local or metadata address");
    complaint(&carried(&target.url("/file")).await, "are not asked");
}

#[tokio::test]
async fn forbidden_addresses_are_not_asked_in_any_spelling() {
    let restricted = HttpCourier::new(&[], false);
    for url in [
        "http://169.254.169.254/",
        "http://[fe80::1]/",
        "http://0xa9fea9fe/",
        "http://2852039166/",
        "http://[::ffff:169.254.169.254]/",
    ] {
        complaint(&carried(url).await, "link-local or metadata address");
        complaint(&restricted.carry(parcel(url)).await, "link-local or metadata address");
    }
    let target = Target::start(|_| "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned()).await;
    let port = target.address.port();

    for url in [target.url("/"), format!("http://localhost:{port}/"), format!("http://127.1:{port}/")] {
        assert!(carried(&url).await.is_success(), "{url}");
        complaint(&restricted.carry(parcel(&url)).await, "is a private address");
    }
    assert_eq!(target.heard().len(), 3);
}

#[tokio::test]
async fn this_servers_own_api_is_called_with_a_token_and_nothing_else_is() {
    let other = Target::start(|_| "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned()).await;
    let onward = other.url("/v2/x");
    let own = Target::start(move |request| match request.contains("/v2/away") {
        true => format!("HTTP/1.1 307 Away\r\nlocation: {onward}\r\ncontent-length: 0\r\n\r\n"),
        false => "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned(),
    })
    .await;
    let courier = HttpCourier::new(&[&own.url("")], false);
    let by_name = format!("http://localhost:{}/v2/actors", own.address.port());
    let token = "authorization: Bearer token-of-the-owner";

    for (url, has_token) in [
        (own.url("/v2/acts/a/runs"), true),
        (by_name, true),
        (own.url("/v2/acts/a/runs?token=another"), false),
        (own.url("/x-run/secret/"), false),
    ] {
        assert!(courier.carry(parcel(&url)).await.is_success(), "a private address, but our own: {url}");
        assert_eq!(own.heard().last().unwrap().contains(token), has_token, "{url}");
    }
    courier.carry(Parcel { token: None, ..parcel(&own.url("/v2/x")) }).await;
    assert!(!own.heard().last().unwrap().contains("authorization"), "it was made with a limited token");
    let headers = vec![("Authorization".to_owned(), "Bearer other".to_owned())];
    courier.carry(Parcel { headers, ..parcel(&own.url("/v2/x")) }).await;
    assert!(own.heard().last().unwrap().contains("authorization: Bearer other"));
    complaint(&courier.carry(parcel(&own.url("/v2/away"))).await, "is a private address");

    let open = HttpCourier::new(&[&own.url("")], true);
    assert!(open.carry(parcel(&own.url("/v2/away"))).await.is_success());
    assert!(!other.heard()[0].contains("token-of-the-owner"), "it stays with us");
}

#[tokio::test]
async fn connections_are_used_again() {
    let (listener, target) = Target::bind().await;
    tokio::spawn(async move {
        // Only one is taken.
        let (mut stream, _) = listener.accept().await.unwrap();
        while !read(&mut stream).await.is_empty() {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        }
    });
    let courier = courier();

    for _ in 0..5 {
        assert!(courier.carry(parcel(&target.url("/"))).await.is_success());
    }
}

#[tokio::test]
async fn certificates_are_checked_unless_they_need_not_be() {
    let (listener, target) = Target::bind().await;
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            tokio::spawn(answer_ok(stream));
        }
    });
    let url = format!("https://localhost:{}/", target.address.port());

    complaint(&carried(&url).await, "certificate");
    let trusting = Parcel { ignore_ssl_errors: true, ..parcel(&url) };
    let receipt = courier().carry(trusting).await;
    assert!(receipt.is_success(), "{receipt:?}");
}

async fn answer_ok(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    read(&mut stream).await;
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let _ = stream.shutdown().await;
}
