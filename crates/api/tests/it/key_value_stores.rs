//! Key-value stores (storages, section 8).

use std::io::Read as _;

use bytes::Bytes;
use engine::EngineConfig;
use playhouse_api::ApiConfig;
use serde_json::{Value, json};

use crate::harness::{Reply, TestServer};
use crate::http::{brotli, gzip, zlib};

/// A server with an empty store, and the address of the store.
async fn given_store() -> (TestServer, String) {
    let server = TestServer::start().await;
    let path = format!("/v2/key-value-stores/{}", server.given("key-value-stores").await);
    (server, path)
}

#[tokio::test]
async fn a_record_comes_back_as_it_was_put() {
    let (server, path) = given_store().await;

    for (key, content_type, body) in [
        ("OUTPUT", "application/json; charset=utf-8", "{\n  \"a\": 1\n}".as_bytes()),
        ("null", "application/json", b"null"),
        ("empty", "text/plain", b""),
        ("a!b'(c).json", "image/png", b"\x89PNG\0\xff"),
    ] {
        let reply = server.put(&format!("{path}/records/{key}")).header("content-type", content_type).body(body);
        let reply = reply.await.expect(201);
        assert_eq!(reply.text(), "{}");
        assert_eq!(reply.header("location"), format!("http://localhost:3333{path}/records/{key}"));

        let record = server.get(&format!("{path}/records/{key}")).await.expect(200);
        assert_eq!((record.header("content-type"), &record.body[..]), (content_type, body));
        assert_eq!(record.header("content-length"), body.len().to_string());
        assert_eq!(record.header("content-encoding"), "");
        let encoded = key.replace('!', "%21").replace('\'', "%27").replace('(', "%28").replace(')', "%29");
        assert_eq!(server.get(&format!("{path}/records/{encoded}")).await.expect(200).body, body);
    }
    server.put(&format!("{path}/records/untyped")).body("x").await.expect(201);
    let record = server.get(&format!("{path}/records/untyped")).await.expect(200);
    assert_eq!(record.header("content-type"), "application/octet-stream");
    server.post(&format!("{path}/records/OUTPUT")).body("replaced").await.expect(201);
    assert_eq!(server.get(&format!("{path}/records/OUTPUT")).await.expect(200).text(), "replaced");
}

#[tokio::test]
async fn keys_of_the_wrong_shape_are_refused_everywhere() {
    let (server, path) = given_store().await;

    let long = "k".repeat(257);
    for key in ["a%20b", "a%2Fb", "%C3%A9", "a%252Fb", "%00", "%ff", ".", "..", "%2E%2E", "a:b", &long] {
        for method in ["GET", "PUT", "POST", "DELETE"] {
            let reply = server.ask(method.parse().unwrap(), &format!("{path}/records/{key}")).body("x").await;
            let message = reply.expect_error(400, "invalid-record-key");
            assert_eq!(message, "Record key contains invalid character");
        }
    }
    server.put(&format!("{path}/records/{}", "k".repeat(256))).body("x").await.expect(201);
    server.put(&format!("{path}/records/a/b")).body("x").await.expect_error(404, "page-not-found");
    server.put(&format!("{path}/records/")).body("x").await.expect_error(404, "page-not-found");
}

#[tokio::test]
async fn what_is_missing_is_not_found_and_deleted_without_a_word() {
    let (server, path) = given_store().await;

    let message = server.get(&format!("{path}/records/none")).await.expect_error(404, "record-not-found");
    assert_eq!(message, "Record was not found");
    let reply = server.head(&format!("{path}/records/none")).await.expect(404);
    assert!(reply.body.is_empty());
    server.delete(&format!("{path}/records/none")).await.expect(204);
    server.put(&format!("{path}/records/some")).body("x").await.expect(201);
    server.delete(&format!("{path}/records/some")).await.expect(204);
    server.get(&format!("{path}/records/some")).await.expect_error(404, "record-not-found");
    for method in ["GET", "PUT", "DELETE"] {
        let ask = server.ask(method.parse().unwrap(), "/v2/key-value-stores/aaaaaaaaaaaaaaaaa/records/x");
        ask.body("x").await.expect_error(404, "record-not-found");
    }
}

#[tokio::test]
async fn encoded_records_stay_encoded_and_are_decoded_for_who_cannot() {
    let (server, path) = given_store().await;
    // One that fits in a row, and one that does not.
    for size in [2_000, 300_000] {
        let text = "some words that repeat ".repeat(size / 23);
        for (encoding, encoded) in
            [("br", brotli(text.as_bytes())), ("gzip", gzip(text.as_bytes())), ("deflate", zlib(text.as_bytes()))]
        {
            let path = format!("{path}/records/{encoding}");
            let put = server.put(&path).header("content-type", "text/plain").header("content-encoding", encoding);
            put.body(encoded.clone()).await.expect(201);

            for accepted in [encoding, "*", "gzip, compress, deflate, br", "zstd,gzip,deflate,br"] {
                let reply = server.get(&path).header("accept-encoding", accepted).await.expect(200);
                assert_eq!(reply.header("content-encoding"), encoding, "{accepted}");
                assert_eq!(reply.header("content-length"), encoded.len().to_string());
                assert_eq!(reply.body, encoded);
            }
            for accepted in ["identity", "zstd", "*;q=0", &format!("{encoding};q=0, *")] {
                let reply = server.get(&path).header("accept-encoding", accepted).await.expect(200);
                assert_eq!(reply.header("content-encoding"), "", "{accepted}");
                assert_eq!(reply.header("vary"), "Accept-Encoding");
                assert_eq!(reply.text(), text);
            }
            let plain = server.get(&path).await.expect(200);
            assert_eq!((plain.text(), plain.header("content-type")), (text.clone(), "text/plain"));
            let head = server.head(&path).await.expect(200);
            assert_eq!((head.header("content-length"), head.header("content-encoding")), ("", ""));
            let head = server.head(&path).header("accept-encoding", encoding).await.expect(200);
            assert_eq!(head.header("content-length"), encoded.len().to_string());
        }
    }
    let keys = server.get(&format!("{path}/keys")).await.data();
    let text = "some words that repeat ".repeat(300_000 / 23);
    assert_eq!(keys["items"][0]["size"], brotli(text.as_bytes()).len());
}

#[tokio::test]
async fn wrong_encodings_and_types_are_refused() {
    let (server, path) = given_store().await;
    let record = format!("{path}/records/x");

    for encoding in ["zstd", "gzip, br", "nonsense"] {
        let ask = server.put(&record).header("content-encoding", encoding).body("x");
        ask.await.expect_error(415, "unsupported-content-encoding");
    }
    for content_type in ["json", "/", "text/"] {
        let ask = server.put(&record).header("content-type", content_type).body("x");
        ask.await.expect_error(400, "invalid-content-type-header");
    }
    server.get(&record).await.expect_error(404, "record-not-found");

    // What is not in its encoding is stored, and the error shows when it must be decoded.
    server.put(&record).header("content-encoding", "gzip").body("no gzip").await.expect(201);
    server.get(&record).await.expect_error(400, "invalid-request");
    assert_eq!(server.get(&record).header("accept-encoding", "gzip").await.expect(200).text(), "no gzip");
    let cut = gzip("words ".repeat(100_000).as_bytes());
    let ask = server.put(&record).header("content-encoding", "gzip").body(cut[..cut.len() / 2].to_vec());
    ask.await.expect(201);
    let reply = server.get(&record).await;
    assert!(reply.broken.is_some() || reply.status == 400, "{reply:?}");
}

#[tokio::test]
async fn large_records_stream_in_and_out() {
    let (server, path) = given_store().await;
    let pieces: Vec<Bytes> = (0..64_u8).map(|n| Bytes::from(vec![n; 100_000])).collect();
    let whole = pieces.concat();

    let sent = pieces.iter().cloned().map(Ok).collect();
    server.put(&format!("{path}/records/large")).pieces(sent).await.expect(201);
    let reply = server.get(&format!("{path}/records/large")).await.expect(200);
    assert_eq!(reply.header("content-length"), whole.len().to_string());
    assert!(reply.body == whole);
    let small = vec![Ok(Bytes::from_static(b"a")), Ok(Bytes::new()), Ok(Bytes::from_static(b"b"))];
    server.put(&format!("{path}/records/small")).pieces(small).await.expect(201);
    assert_eq!(server.get(&format!("{path}/records/small")).await.expect(200).text(), "ab");
}

#[tokio::test]
async fn readers_may_ask_for_a_part_or_for_news_only() {
    let (server, path) = given_store().await;
    for (key, size) in [("small", 10), ("large", 200_000)] {
        let body: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
        let path = format!("{path}/records/{key}");
        server.put(&path).body(body.clone()).await.expect(201);

        let whole = server.get(&path).await.expect(200);
        assert_eq!(whole.header("accept-ranges"), "bytes");
        assert!(whole.header("last-modified").ends_with("GMT"));
        let etag = whole.header("etag").to_owned();
        assert!(etag.starts_with('"') && etag.ends_with('"'));
        for (range, from, to) in [("bytes=2-5", 2, 6), ("bytes=7-", 7, size), ("bytes=-3", size - 3, size)] {
            let part = server.get(&path).header("range", range).await.expect(206);
            assert_eq!(part.header("content-range"), format!("bytes {from}-{}/{size}", to - 1));
            assert_eq!(part.header("content-length"), (to - from).to_string());
            assert_eq!(part.body, body[from..to]);
        }
        let past = server.get(&path).header("range", &format!("bytes={size}-")).await;
        assert_eq!(past.header("content-range"), format!("bytes */{size}"));
        past.expect_error(416, "range-not-satisfiable");
        let since = server.get(&path).header("if-modified-since", whole.header("last-modified")).await.expect(304);
        assert!(since.body.is_empty());
        let long_ago = server.get(&path).header("if-modified-since", "Thu, 01 Jan 1970 00:00:00 GMT").await;
        assert_eq!(long_ago.expect(200).body, body);
        let same = server.get(&path).header("if-none-match", &etag).await.expect(304);
        assert!(same.body.is_empty());
        assert_eq!(same.header("etag"), etag);
        server.get(&path).header("if-none-match", "\"other\"").await.expect(200);
        let other = server.get(&path).header("range", "bytes=0-1").header("if-range", "\"other\"").await.expect(200);
        assert_eq!(other.body, body);

        server.put(&path).body("changed").await.expect(201);
        assert_ne!(server.get(&path).await.expect(200).header("etag"), etag);
    }
    let gzipped = format!("{path}/records/gzipped");
    server.put(&gzipped).header("content-encoding", "gzip").body(gzip(&[7; 5000])).await.expect(201);
    let encoded = server.get(&gzipped).header("accept-encoding", "gzip").header("range", "bytes=0-1").await.expect(200);
    let decoded = server.get(&gzipped).await.expect(200);
    assert_ne!(encoded.header("etag"), decoded.header("etag"));
    server.get(&gzipped).header("if-none-match", encoded.header("etag")).await.expect(200);
}

#[tokio::test]
async fn pages_made_by_others_are_harmless_in_a_browser() {
    let (server, path) = given_store().await;
    let record = format!("{path}/records/page");

    for content_type in [
        "text/html",
        "TEXT/HTML; charset=utf-8",
        "image/svg+xml",
        "application/xhtml+xml",
        "text/xml",
        "application/rss+xml",
        "multipart/mixed; boundary=x",
    ] {
        server.put(&record).header("content-type", content_type).body("<script>").await.expect(201);
        let page = server.get(&record).await.expect(200);
        assert_eq!(page.header("content-security-policy"), "sandbox", "{content_type}");
        assert_eq!(page.header("x-content-type-options"), "nosniff");
        assert_eq!(page.text(), "<script>");
        let saved = server.get(&format!("{record}?attachment=true&disableRedirect=1")).await.expect(200);
        assert_eq!(saved.header("content-disposition"), "attachment");
        assert_eq!(saved.header("content-security-policy"), "");
    }
    server.put(&record).header("content-type", "text/plain").body("x").await.expect(201);
    let text = server.get(&record).await;
    assert_eq!((text.header("content-security-policy"), text.header("x-content-type-options")), ("", "nosniff"));
    server.get(&format!("{record}?attachment=perhaps")).await.expect_error(400, "invalid-request");
}

#[tokio::test]
async fn keys_are_listed_in_byte_order_with_every_member() {
    let (server, path) = given_store().await;
    for key in ["b", "a", "B", "a1", "a-"] {
        server.put(&format!("{path}/records/{key}")).body("xyz").await.expect(201);
    }

    let all = server.get(&format!("{path}/keys")).await.expect(200).data();
    assert_eq!(keys_of(&all), ["B", "a", "a-", "a1", "b"]);
    assert_eq!((&all["count"], &all["limit"], &all["isTruncated"]), (&json!(5), &json!(1000), &json!(false)));
    for member in ["exclusiveStartKey", "nextExclusiveStartKey"] {
        assert_eq!(all.as_object().unwrap().get(member), Some(&Value::Null), "{member}");
    }
    assert_eq!(all["items"][0]["size"], 3);
    let url = all["items"][0]["recordPublicUrl"].as_str().unwrap();
    assert!(url.starts_with(&format!("http://localhost:3333{path}/records/B?signature=")), "{url}");

    let page = server.get(&format!("{path}/keys?limit=2&exclusiveStartKey=A&prefix=a")).await.expect(200).data();
    assert_eq!(keys_of(&page), ["a", "a-"]);
    assert_eq!((&page["isTruncated"], &page["nextExclusiveStartKey"]), (&json!(true), &json!("a-")));
    assert_eq!(page["exclusiveStartKey"], "A");
    let page = server.get(&format!("{path}/keys?limit=2&exclusiveStartKey=a-&prefix=a")).await.expect(200).data();
    assert_eq!(keys_of(&page), ["a1"]);
    assert_eq!((&page["isTruncated"], &page["nextExclusiveStartKey"]), (&json!(false), &Value::Null));
    let exact = server.get(&format!("{path}/keys?limit=5")).await.expect(200).data();
    assert_eq!(exact["isTruncated"], false);
    for (query, limit) in [("limit=0", 1000), ("limit=9999", 1000), ("limit=3", 3)] {
        assert_eq!(server.get(&format!("{path}/keys?{query}")).await.expect(200).data()["limit"], limit);
    }
    server.get(&format!("{path}/keys?limit=-1")).await.expect_error(400, "invalid-request");
    server.get(&format!("{path}/keys?collection=x")).await.expect_error(400, "invalid-collection");
    let object = server.get(&path).await.data();
    assert!(object["stats"]["listCount"].as_u64() >= Some(7), "{object}");
}

#[tokio::test]
async fn keys_are_listed_from_any_text_on() {
    let (server, path) = given_store().await;
    for key in ["a", "b"] {
        server.put(&format!("{path}/records/{key}")).body("x").await.expect(201);
    }

    // From another store, of another shape, none at all.
    let long = "a".repeat(10_000);
    for (after, expected) in [
        ("", vec!["a", "b"]),
        ("OTHER-STORE-KEY", vec!["a", "b"]),
        ("%00", vec!["a", "b"]),
        ("a", vec!["b"]),
        ("a%20b%2F..", vec!["b"]),
        (&long, vec!["b"]),
        ("%F0%9F%A6%80", vec![]),
        ("eyJjdXJzb3IiOjF9", vec![]),
    ] {
        let page = server.get(&format!("{path}/keys?exclusiveStartKey={after}")).await.expect(200).data();
        assert_eq!(keys_of(&page), expected, "{after}");
        assert_eq!((&page["isTruncated"], &page["nextExclusiveStartKey"]), (&json!(false), &Value::Null), "{after}");
    }
}

#[tokio::test]
async fn any_text_is_a_key_or_is_refused_as_none() {
    let (server, path) = given_store().await;
    let encode = |key: &str| key.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();

    for byte in 1..=127_u8 {
        for key in [format!("{}", byte as char), format!("a{}b", byte as char)] {
            let is_key =
                key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!-_.'()".contains(&byte)) && key != ".";
            let record = format!("{path}/records/{}", encode(&key));
            let reply = server.put(&record).body(key.clone()).await;
            if is_key {
                reply.expect(201);
                assert_eq!(server.get(&record).await.expect(200).text(), key);
                assert_eq!(server.get(&format!("{path}/records/{key}")).await.expect(200).text(), key);
            } else {
                reply.expect_error(400, "invalid-record-key");
            }
        }
    }
}

fn keys_of(page: &Value) -> Vec<&str> {
    page["items"].as_array().expect("an array").iter().map(|item| item["key"].as_str().expect("text")).collect()
}

#[tokio::test]
async fn all_records_come_as_one_zip_with_their_contents_decoded() {
    let (server, path) = given_store().await;
    let large = "large ".repeat(100_000);
    server.put(&format!("{path}/records/a.txt")).body("plain").await.expect(201);
    server
        .put(&format!("{path}/records/b.txt"))
        .header("content-encoding", "br")
        .body(brotli(large.as_bytes()))
        .await
        .expect(201);
    server.put(&format!("{path}/records/c")).body(large.clone()).await.expect(201);
    server.put(&format!("{path}/records/empty")).body("").await.expect(201);

    let reply = server.get(&format!("{path}/records")).await.expect(200);
    assert_eq!(reply.header("content-type"), "application/zip");
    assert!(reply.header("content-disposition").ends_with(".zip\""));
    let expected = [("a.txt", "plain"), ("b.txt", &large), ("c", &large), ("empty", "")];
    assert_eq!(unzipped(&reply), expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
    let some = server.get(&format!("{path}/records?prefix=b")).await.expect(200);
    assert_eq!(unzipped(&some).len(), 1);
    let none = server.get(&format!("{path}/records?prefix=x")).await.expect(200);
    assert_eq!(unzipped(&none), []);
    assert!(server.head(&format!("{path}/records")).await.expect(200).body.is_empty());
}

#[tokio::test]
async fn a_damaged_record_stands_in_the_zip_as_it_is_stored_and_the_others_follow() {
    let (server, path) = given_store().await;
    let whole = gzip("words ".repeat(100_000).as_bytes());
    let cut = &whole[..whole.len() / 2];
    for (key, body) in [("a", &b"no gzip"[..]), ("b", cut)] {
        let put = server.put(&format!("{path}/records/{key}")).header("content-encoding", "gzip");
        put.body(body.to_vec()).await.expect(201);
    }
    server.put(&format!("{path}/records/c")).body("whole").await.expect(201);

    let reply = server.get(&format!("{path}/records")).await.expect(200);

    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(&reply.body[..])).expect("a ZIP file");
    let mut entry = |name: &str| {
        let mut content = Vec::new();
        archive.by_name(name).expect(name).read_to_end(&mut content).expect("whole content");
        content
    };
    assert_eq!(entry("a.gzip"), b"no gzip");
    assert!("words ".repeat(100_000).as_bytes().starts_with(&entry("b")));
    assert_eq!(entry("b.gzip"), cut);
    assert_eq!(entry("c"), b"whole");
    assert_eq!(archive.len(), 4);
}

#[tokio::test]
async fn records_beyond_the_limit_of_the_server_are_refused_and_leave_the_old_one() {
    let limit = 1 << 20;
    let config = ApiConfig { max_record: Some(limit as u64), ..ApiConfig::default() };
    let server = TestServer::start_on(EngineConfig::default(), config).await;
    let record = format!("/v2/key-value-stores/{}/records/key", server.given("key-value-stores").await);
    server.put(&record).body(vec![1; limit]).await.expect(201);

    server.put(&record).body(vec![2; limit + 1]).await.expect_error(413, "record-too-large");
    // What does not tell its length is found out on the way.
    let pieces = (0..40).map(|_| Ok(Bytes::from(vec![3; 64 << 10]))).collect();
    let streamed = server.put(&record).pieces(pieces).await;
    assert_eq!(streamed.expect_error(413, "record-too-large"), "The record is too large (limit: 1048576 bytes)");

    assert_eq!(server.get(&record).await.expect(200).body, vec![1; limit]);
}

fn unzipped(reply: &Reply) -> Vec<(String, String)> {
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(&reply.body[..])).expect("a ZIP file");
    let mut entries = Vec::new();
    for at in 0..archive.len() {
        let mut entry = archive.by_index(at).expect("an entry");
        let mut text = String::new();
        // Reading to the end checks the checksum.
        entry.read_to_string(&mut text).expect("text");
        entries.push((entry.name().expect("a name").into_owned(), text));
    }
    entries
}

#[tokio::test]
async fn a_schema_says_what_records_of_a_collection_may_be() {
    let server = TestServer::start().await;
    let schema = json!({"actorKeyValueStoreSchemaVersion": 1, "title": "S", "collections": {
        "pages": {"title": "Pages", "keyPrefix": "page-", "contentTypes": ["text/html"]},
        "settings": {"title": "Settings", "key": "SETTINGS", "contentTypes": ["application/json"],
            "jsonSchema": {"type": "object", "required": ["a"]}},
    }});
    let made = server.post("/v2/key-value-stores").json(json!({"schema": schema})).await.expect(201).data();
    let path = format!("/v2/key-value-stores/{}", made["id"].as_str().unwrap());
    let put = |key: &str, kind: &str| server.put(&format!("{path}/records/{key}")).header("content-type", kind);

    put("page-1", "text/html; charset=utf-8").body("<p>").await.expect(201);
    put("page-1", "text/plain").body("p").await.expect_error(400, "schema-validation-error");
    put("SETTINGS", "application/json").body(r#"{"a":1}"#).await.expect(201);
    put("SETTINGS", "application/json").body("{}").await.expect_error(400, "schema-validation-error");
    let encoded = put("SETTINGS", "application/json").header("content-encoding", "gzip").body(gzip(b"{}"));
    encoded.await.expect_error(400, "schema-validation-error");
    let corrupt = put("SETTINGS", "application/json").header("content-encoding", "gzip").body("{}");
    corrupt.await.expect_error(400, "invalid-request");
    put("other", "text/plain").body("free").await.expect(201);

    for (query, expected) in [
        ("collection=pages", vec!["page-1"]),
        ("collection=settings", vec!["SETTINGS"]),
        ("collection=settings&prefix=x", vec![]),
        ("collection=pages&prefix=pa", vec!["page-1"]),
        ("collection=settings&exclusiveStartKey=SETTINGS", vec![]),
    ] {
        let page = server.get(&format!("{path}/keys?{query}")).await.expect(200).data();
        assert_eq!(keys_of(&page), expected, "{query}");
    }
    server.get(&format!("{path}/records?collection=none")).await.expect_error(400, "invalid-collection");
    let zip = server.get(&format!("{path}/records?collection=settings")).await.expect(200);
    assert_eq!(unzipped(&zip), [("SETTINGS".to_owned(), r#"{"a":1}"#.to_owned())]);
}
