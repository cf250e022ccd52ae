//! No request, however wrong, is answered with a failure of ours.

use http::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::TestServer;

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn pick<'a, T: ?Sized>(&mut self, from: &'a [&'a T]) -> &'a T {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        from[usize::try_from(self.0 % from.len() as u64).expect("valid")]
    }
}

#[tokio::test]
async fn storages_answer_every_sort_of_request_with_a_status_below_500() {
    let server = TestServer::start().await;
    let run = server.engine.run().await;
    server.put(&format!("/v2/actor-runs/{}/key-value-store/records/k", run.id)).body("v").await.expect(201);
    server.post(&format!("/v2/actor-runs/{}/dataset/items", run.id)).json(json!([{"a": [1]}, {}])).await.expect(201);
    let places: Vec<String> = [
        ("datasets", "dataset", run.storages.dataset),
        ("key-value-stores", "key-value-store", run.storages.key_value_store),
        ("request-queues", "request-queue", run.storages.request_queue),
    ]
    .iter()
    .flat_map(|(plural, singular, id)| {
        [
            format!("/v2/{plural}/{id}"),
            format!("/v2/actor-runs/{}/{singular}", run.id),
            format!("/v2/acts/~my-actor/runs/last/{singular}"),
            format!("/v2/actor-tasks/a~b/runs/last/{singular}"),
            format!("/v2/{plural}/~"),
            format!("/v2/{plural}/%ff%00"),
            format!("/v2/{plural}"),
        ]
    })
    .collect();
    let places: Vec<&str> = places.iter().map(String::as_str).collect();
    let tails = [
        "",
        "/",
        "/items",
        "/statistics",
        "/keys",
        "/records",
        "/records/k",
        "/records/%2F",
        "/records/..",
        "/requests",
        "/requests/batch",
        "/requests/unlock",
        "/requests/lAkd1kohlCFLxtF",
        "/requests/lAkd1kohlCFLxtF/lock",
        "/head",
        "/head/lock",
        "/nothing",
        "//",
        "/requests/%ff/lock",
    ];
    let queries = [
        "",
        "?",
        "?limit=1",
        "?limit=-1&offset=x",
        "?desc=1&clean=1&unwind=a&format=jsonl",
        "?lockSecs=1&clientKey=a",
        "?lockSecs=1e308",
        "?lockSecs=0.0001&forefront=1",
        "?method=PUT",
        "?method=delete",
        "?%ff=%ff&limit=%00",
        "?status=X",
        "?signature=MC4w",
        "?cursor=e30&filter=x",
        "?collection=a&prefix=%F0%9F%A6%80",
        "?exclusiveStartKey=%00&limit=1e400",
        "?offset=18446744073709551615&limit=18446744073709551615",
        "?view=x&fields=,,,&outputFields=",
        "?attachment=1&bom=1",
    ];
    let bodies: [&[u8]; 13] = [
        b"",
        b"{}",
        b"[]",
        b"[{}]",
        b"null",
        b"{",
        b"\xff\xfe",
        br#"{"uniqueKey":"k4","url":"u"}"#,
        br#"[{"uniqueKey":"k4","url":"u"}]"#,
        br#"{"name":"-","generalAccess":null}"#,
        br#"{"uniqueKey":{},"url":[],"handledAt":1e400}"#,
        br#"[{"id":"\u0000"}]"#,
        br#"[1e999]"#,
    ];
    let encodings = ["", "identity", "gzip", "br", "deflate", "zstd"];
    let methods = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"];

    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..6000 {
        let path = format!("{}{}{}", dice.pick(&places), dice.pick(&tails), dice.pick(&queries));
        // Deleting what the others need would leave little to try.
        let method: Method = dice.pick(&methods).parse().unwrap();
        let removes = method == Method::DELETE || path.contains("method=delete");
        if removes && !path.contains("/requests/") && !path.contains("/records/") {
            continue;
        }
        let body = dice.pick(&bodies);
        let ask = server.ask(method, &path).body(body.to_vec()).header("content-encoding", dice.pick(&encodings));
        let ask = ask.header("accept-encoding", dice.pick(&encodings)).header("range", "bytes=1-");

        let reply = ask.await;
        assert!(reply.status.as_u16() < 500, "{reply:?} to {}", String::from_utf8_lossy(body));
        if reply.status.as_u16() >= 400 && !reply.body.is_empty() {
            let error = &reply.json()["error"];
            assert!(error["type"].is_string() && error["message"].is_string(), "{reply:?}");
        }
    }
}

#[tokio::test]
async fn a_client_reads_the_refusal_of_an_upload_that_it_was_still_sending() {
    const SIZE: usize = 8 << 20;
    let server = TestServer::start().await;
    let address = server.listen().await;

    for path in ["/v2/key-value-stores/aaaaaaaaaaaaaaaaa/records/x", "/v2/nowhere"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head =
            format!("PUT {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer wrong\r\nContent-Length: {SIZE}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&vec![b'x'; SIZE]).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 40"), "{}", String::from_utf8_lossy(&answer));
    }
}

#[tokio::test]
async fn a_body_that_lies_about_its_length_stores_nothing() {
    let server = TestServer::start().await;
    let address = server.listen().await;
    let store = server.given("key-value-stores").await;
    let dataset = server.given("datasets").await;
    let queue = server.given("request-queues").await;
    let token = &server.engine.token;

    for (method, path, sent) in [
        ("PUT", format!("/v2/key-value-stores/{store}/records/short"), "short".to_owned()),
        ("PUT", format!("/v2/key-value-stores/{store}/records/long"), "long".repeat(100_000)),
        ("POST", format!("/v2/datasets/{dataset}/items"), r#"[{"a":1},{"a":2}]"#.to_owned()),
        ("POST", format!("/v2/request-queues/{queue}/requests"), r#"{"uniqueKey":"k4","url":"u"}"#.to_owned()),
    ] {
        for head in [
            format!("Content-Length: {}\r\n\r\n", sent.len() + 1),
            format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", sent.len()),
        ] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let head = format!(
                "{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n{head}"
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(sent.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            let answer = String::from_utf8_lossy(&answer);
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{path}: {answer}");
        }
    }

    let keys = server.get(&format!("/v2/key-value-stores/{store}/keys")).await.expect(200).data();
    assert_eq!(keys["count"], 0);
    assert_eq!(server.get(&format!("/v2/datasets/{dataset}")).await.data()["itemCount"], 0);
    assert_eq!(server.get(&format!("/v2/request-queues/{queue}")).await.data()["totalRequestCount"], 0);
}

#[tokio::test]
async fn a_body_that_lies_about_its_encoding_stores_nothing() {
    let server = TestServer::start().await;
    let dataset = server.given("datasets").await;
    let queue = server.given("request-queues").await;
    let good = br#"[{"uniqueKey":"k4","url":"u"}]"#;
    let gzipped = crate::http::gzip(good);
    let cut = &gzipped[..gzipped.len() - 9];
    let mut damaged = gzipped.clone();
    // In the checksum behind the data.
    *damaged.iter_mut().rev().nth(5).unwrap() ^= 1;

    for path in [format!("/v2/datasets/{dataset}/items"), format!("/v2/request-queues/{queue}/requests/batch")] {
        for (encoding, body) in [
            ("gzip", &good[..]),
            ("gzip", cut),
            ("gzip", &damaged),
            ("br", &good[..]),
            ("br", &gzipped),
            ("deflate", &good[..]),
        ] {
            let ask =
                server.post(&path).header("content-type", "application/json").header("content-encoding", encoding);
            ask.body(body.to_vec()).await.expect_error(400, "invalid-request");
        }
    }

    assert_eq!(server.get(&format!("/v2/datasets/{dataset}")).await.data()["itemCount"], 0);
    assert_eq!(server.get(&format!("/v2/request-queues/{queue}")).await.data()["totalRequestCount"], 0);
}

#[tokio::test]
async fn a_client_that_waits_for_leave_to_send_is_refused_at_once() {
    let server = TestServer::start().await;
    let mut stream = TcpStream::connect(server.listen().await).await.unwrap();
    let head = "PUT /v2/nowhere HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n";

    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();

    assert_eq!(&answer, b"HTTP/1.1 404");
}

#[tokio::test]
async fn json_that_is_no_object_or_no_text_is_refused_in_the_same_words_for_every_type() {
    let server = TestServer::start().await;

    for body in ["5", "\"text\"", "null", "true", " [1]", "1.5e3"] {
        let message = server.post("/v2/actors").body(body).await.expect_error(400, "invalid-request");
        assert_eq!(message, "POST data must be a JSON object", "{body}");
    }
    // Also in a member that nobody looks at.
    let message =
        server.post("/v2/datasets").body(&b"{\"unknown\":\"\xff\"}"[..]).await.expect_error(400, "invalid-request");
    assert!(message.contains("must be UTF-8"), "{message}");
    assert_eq!(server.get("/v2/datasets?unnamed=1").await.data()["total"], 0);
}

#[tokio::test]
async fn a_message_quotes_only_so_much_of_what_was_sent() {
    let server = TestServer::start().await;

    let name = "é".repeat(100_000);
    let message = server.post("/v2/actors").json(json!({ "name": name })).await.expect_error(400, "invalid-value");

    assert!(message.starts_with("Actor name \"éé") && message.len() <= 4096, "{}", message.len());
}
