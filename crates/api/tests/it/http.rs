//! The surface that all endpoints share (platform, sections 1 to 7).

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use serde_json::json;

use crate::harness::TestServer;

#[tokio::test]
async fn every_answer_has_a_request_id_of_its_own_and_is_open_to_pages() {
    let server = TestServer::start().await;

    let first = server.get("/v2/datasets").await.expect(200);
    let second = server.get("/v2/nowhere").await.expect(404);

    assert_ne!(first.header("x-request-id"), second.header("x-request-id"));
    for reply in [first, second] {
        assert!(!reply.header("x-request-id").is_empty());
        assert_eq!(reply.header("access-control-allow-origin"), "*");
        assert!(reply.header("access-control-expose-headers").contains("X-Apify-Pagination-Total"));
        assert_eq!(reply.header("x-ratelimit-limit"), "60");
        assert_eq!(reply.header("content-type"), "application/json; charset=utf-8");
    }
}

#[tokio::test]
async fn unknown_paths_are_no_page_and_say_what_may_be_wrong() {
    let server = TestServer::start().await;

    for path in ["/", "/v2", "/v2/nowhere", "/v3/datasets", "/v2/datasets/x/nothing", "/v2/datasets/x/items/y"] {
        server.get(path).await.expect_error(404, "page-not-found");
    }
    let message = server.get("/v2/v2/datasets").await.expect_error(404, "page-not-found");
    assert!(message.contains("/v2 twice"), "{message}");
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let server = TestServer::start().await;

    for (method, path, allowed) in [
        ("DELETE", "/v2/datasets", "OPTIONS,GET,POST"),
        ("PATCH", "/v2/datasets/x", "OPTIONS,GET,PUT,DELETE"),
        ("PUT", "/v2/datasets/x/items", "OPTIONS,GET,POST"),
        ("GET", "/v2/request-queues/x/head/lock", "OPTIONS,POST"),
        ("GET", "/v2/request-queues/x/requests/batch", "OPTIONS,POST,DELETE"),
    ] {
        let message = server.ask(method.parse().unwrap(), path).await.expect_error(405, "method-not-allowed");
        let expected = format!("This API end-point can only be accessed using the following HTTP methods: {allowed}");
        assert_eq!(message, expected);
    }
}

#[tokio::test]
async fn options_are_answered_on_every_path_without_a_token() {
    let server = TestServer::start().await;

    for (path, methods) in [
        ("/v2/datasets", "OPTIONS, GET, HEAD, POST"),
        ("/v2/key-value-stores/x/records/y", "OPTIONS, GET, HEAD, PUT, POST, DELETE"),
        ("/v2/nowhere", "OPTIONS, GET, HEAD, POST, PUT, DELETE"),
    ] {
        let ask = server.ask(http::Method::OPTIONS, path).anonymous();
        let reply = ask.header("access-control-request-headers", "x-mine, authorization").await.expect(204);
        assert_eq!(reply.header("access-control-allow-methods"), methods, "{path}");
        assert_eq!(reply.header("access-control-allow-headers"), "x-mine, authorization");
        assert_eq!(reply.header("access-control-allow-origin"), "*");
    }
    let reply = server.ask(http::Method::OPTIONS, "/v2/datasets").await.expect(204);
    assert!(reply.header("access-control-allow-headers").contains("Authorization"));
}

#[tokio::test]
async fn the_query_overrides_the_method_of_a_get() {
    let server = TestServer::start().await;

    let id = server.get("/v2/datasets?method=POST").await.expect(201).data()["id"].as_str().unwrap().to_owned();
    server.get(&format!("/v2/datasets/{id}?method=delete")).await.expect(204);
    server.get(&format!("/v2/datasets/{id}")).await.expect_error(404, "record-not-found");
    server.get("/v2/datasets?method=BREW").await.expect_error(400, "invalid-request");
}

#[tokio::test]
async fn tokens_come_in_the_header_or_the_query() {
    let server = TestServer::start().await;
    let token = server.engine.token.clone();

    server.get(&format!("/v2/datasets?token={token}")).anonymous().await.expect(200);
    server.get("/v2/datasets?token=wrong").await.expect(200);
    let message = server.get("/v2/datasets").anonymous().await.expect_error(401, "token-not-provided");
    assert_eq!(message, "Authentication token was not provided");
    for token in ["wrong", "playhouse_api_wrong", "playhouse_run_x_y", "", "é"] {
        let message = server.get("/v2/datasets").token(token).await.expect_error(401, "user-or-token-not-found");
        assert_eq!(message, "User was not found or authentication token is not valid");
    }
    let basic = server.get("/v2/datasets").anonymous().header("authorization", "Basic YTpi").await;
    basic.expect_error(401, "user-or-token-not-found");
}

#[tokio::test]
async fn a_wrong_token_is_refused_even_where_none_is_needed() {
    let server = TestServer::start().await;
    let id = server.given("datasets").await;

    server.get(&format!("/v2/datasets/{id}")).token("wrong").await.expect_error(401, "user-or-token-not-found");
}

#[tokio::test]
async fn a_slash_at_the_end_means_nothing_but_never_deletes_or_changes_a_store() {
    let server = TestServer::start().await;
    let id = server.given("key-value-stores").await;

    server.get("/v2/key-value-stores/").await.expect(200);
    server.get(&format!("/v2/key-value-stores/{id}/keys/")).await.expect(200);
    // What clients make of `DELETE …/records/..`.
    server.delete(&format!("/v2/key-value-stores/{id}/")).await.expect_error(404, "page-not-found");
    server.get(&format!("/v2/key-value-stores/{id}/?method=DELETE")).await.expect_error(404, "page-not-found");
    server.put(&format!("/v2/key-value-stores/{id}/")).json(json!({"name": "x"})).await.expect(404);

    let store = server.get(&format!("/v2/key-value-stores/{id}")).await.expect(200).data();
    assert_eq!(store["name"], json!(null));
}

#[tokio::test]
async fn head_is_answered_like_get_without_a_body() {
    let server = TestServer::start().await;
    let id = server.given("datasets").await;

    let reply = server.head(&format!("/v2/datasets/{id}")).await.expect(200);
    assert!(reply.body.is_empty());
    assert_eq!(reply.header("content-type"), "application/json; charset=utf-8");
    server.head("/v2/datasets/nothing").await.expect(404);
}

#[tokio::test]
async fn bodies_come_in_every_encoding() {
    let server = TestServer::start().await;
    let id = server.given("datasets").await;
    let path = format!("/v2/datasets/{id}/items");
    let item = json!({"text": "x".repeat(5000)}).to_string();

    for (encoding, body) in [
        ("br", brotli(item.as_bytes())),
        ("gzip", gzip(item.as_bytes())),
        ("deflate", zlib(item.as_bytes())),
        ("deflate", raw_deflate(item.as_bytes())),
        ("GZIP", gzip(item.as_bytes())),
        ("identity", item.clone().into_bytes()),
        ("", item.clone().into_bytes()),
    ] {
        server.post(&path).header("content-encoding", encoding).body(body).await.expect(201);
    }

    assert_eq!(server.get(&path).await.expect(200).json().as_array().unwrap().len(), 7);
}

#[tokio::test]
async fn wrong_encodings_are_refused_and_store_nothing() {
    let server = TestServer::start().await;
    let id = server.given("datasets").await;
    let path = format!("/v2/datasets/{id}/items");
    let whole = gzip(json!({"text": "x".repeat(5000)}).to_string().as_bytes());

    for encoding in ["bla", "zstd", "gzip, br"] {
        let ask = server.post(&path).header("content-encoding", encoding).body("{}");
        let message = ask.await.expect_error(415, "unsupported-content-encoding");
        assert_eq!(message, format!("Content-Encoding \"{encoding}\" is not supported."));
    }
    for (encoding, body) in [
        ("gzip", whole[..whole.len() - 9].to_vec()),
        ("gzip", b"no gzip at all".to_vec()),
        ("deflate", b"\xff\xff\xff\xff".to_vec()),
        ("br", whole.clone()),
    ] {
        let ask = server.post(&path).header("content-encoding", encoding).body(body);
        ask.await.expect_error(400, "invalid-request");
    }
    server.post(&path).header("content-encoding", "br").await.expect_error(400, "invalid-request");

    assert_eq!(server.get(&path).await.json(), json!([]));
}

#[tokio::test]
async fn bodies_are_measured_after_decompression() {
    let server = TestServer::start().await;
    let id = server.given("datasets").await;
    let path = format!("/v2/datasets/{id}/items");
    let of_size = |size: usize| format!("{{\"x\":\"{}\"}}", "y".repeat(size - 8));

    server.post(&path).body(of_size(9_437_184)).await.expect(201);
    let message = server.post(&path).body(of_size(10_485_760)).await.expect_error(413, "request-too-large");
    assert_eq!(message, "The POST payload is too large (limit: 9437184 bytes, actual length: 10485760 bytes).");
    let ask = server.post(&path).header("content-encoding", "gzip").body(gzip(of_size(10_485_760).as_bytes()));
    assert_eq!(ask.await.expect_error(413, "request-too-large"), message);
    let pieces =
        of_size(10_485_760).as_bytes().chunks(1 << 20).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    assert_eq!(server.post(&path).pieces(pieces).await.expect_error(413, "request-too-large"), message);

    // A bomb is not counted to its end.
    let bomb = gzip(&vec![b' '; 300 << 20]);
    server.post(&path).header("content-encoding", "gzip").body(bomb).await.expect_error(413, "request-too-large");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_the_clients_problem() {
    let server = TestServer::start().await;
    let id = server.given("datasets").await;
    let broken = |start: &[u8]| vec![Ok(Bytes::copy_from_slice(start)), Err(std::io::Error::other("gone"))];

    for (encoding, start) in [("identity", b"{\"a\"".to_vec()), ("gzip", gzip(b"{\"a\":1}")[..12].to_vec())] {
        let ask = server.post(&format!("/v2/datasets/{id}/items")).header("content-encoding", encoding);
        ask.pieces(broken(&start)).await.expect_error(400, "request-aborted-prematurely");
    }
    let store = server.given("key-value-stores").await;
    let path = format!("/v2/key-value-stores/{store}/records/a");
    server.put(&path).pieces(broken(b"abc")).await.expect_error(400, "request-aborted-prematurely");
    let large = vec![Ok(Bytes::from(vec![0; 200_000])), Err(std::io::Error::other("gone"))];
    server.put(&path).pieces(large).await.expect_error(400, "request-aborted-prematurely");
    server.get(&path).await.expect_error(404, "record-not-found");
}

#[tokio::test]
async fn malformed_json_is_an_invalid_request() {
    let server = TestServer::start().await;

    for body in ["{", "nonsense", "{\"name\":", "[1]", "[]", "5", "\"x\"", "{\"name\":5}", "\u{0}"] {
        server.post("/v2/datasets").body(body).await.expect_error(400, "invalid-request");
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    server.post("/v2/datasets").body(format!("{{\"schema\":{deep}}}")).await.expect_error(400, "invalid-request");
    server.post("/v2/datasets").body(&b"{\"name\":\"\xff\"}"[..]).await.expect_error(400, "invalid-request");
}

#[tokio::test]
async fn an_empty_body_may_be_of_any_type() {
    let server = TestServer::start().await;

    for content_type in ["application/x-www-form-urlencoded", "text/plain", "nonsense"] {
        server.post("/v2/datasets").header("content-type", content_type).await.expect(201);
    }
    server.post("/v2/datasets").json(json!({})).await.expect(201);
}

#[tokio::test]
async fn large_answers_are_compressed_for_who_asks() {
    let server = TestServer::start().await;
    let items: Vec<_> = (0..200).map(|n| json!({"n": n, "text": "the same words again and again"})).collect();
    let id = server.given_items(json!(items)).await;
    let path = format!("/v2/datasets/{id}/items");

    let plain = server.get(&path).await.expect(200);
    assert_eq!(plain.header("content-encoding"), "");
    for (accepted, sent) in [("gzip, deflate, br", "gzip"), ("br", "br"), ("deflate", "deflate"), ("zstd", "")] {
        let reply = server.get(&path).header("accept-encoding", accepted).await.expect(200);
        assert_eq!(reply.header("content-encoding"), sent, "{accepted}");
        assert!(reply.headers.get_all("vary").iter().any(|vary| vary == "Accept-Encoding"));
        assert_eq!(unpacked(sent, &reply.body), plain.body, "{accepted}");
    }
    let small = server.get("/v2/datasets").header("accept-encoding", "gzip").await.expect(200);
    assert_eq!(small.header("content-encoding"), "");
}

pub fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).expect("valid");
    encoder.finish().expect("valid")
}

pub fn zlib(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).expect("valid");
    encoder.finish().expect("valid")
}

fn raw_deflate(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).expect("valid");
    encoder.finish().expect("valid")
}

pub fn brotli(body: &[u8]) -> Vec<u8> {
    use tokio::io::AsyncReadExt as _;
    let mut encoder = async_compression::tokio::bufread::BrotliEncoder::new(body);
    let mut encoded = Vec::new();
    futures::executor::block_on(encoder.read_to_end(&mut encoded)).expect("valid");
    encoded
}

fn unpacked(encoding: &str, body: &[u8]) -> Vec<u8> {
    use std::io::Read as _;
    let mut plain = Vec::new();
    match encoding {
        "gzip" => flate2::read::GzDecoder::new(body).read_to_end(&mut plain).expect("valid"),
        "deflate" => flate2::read::ZlibDecoder::new(body).read_to_end(&mut plain).expect("valid"),
        "br" => {
            use tokio::io::AsyncReadExt as _;
            let mut decoder = async_compression::tokio::bufread::BrotliDecoder::new(body);
            futures::executor::block_on(decoder.read_to_end(&mut plain)).expect("valid")
        }
        _ => return body.to_vec(),
    };
    plain
}
