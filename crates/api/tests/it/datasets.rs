//! Datasets (storages, sections 4, 5 and 7).

use std::fmt::Write as _;

use model::StorageId;
use serde_json::{Value, json};

use crate::harness::TestServer;

#[tokio::test]
async fn pushed_items_come_back_in_order_as_they_were_written() {
    let server = TestServer::start().await;
    let id = server.given("datasets").await;
    let path = format!("/v2/datasets/{id}/items");

    let reply = server.post(&path).body(r#"{"b":1.0,"a":12345678901234567890}"#).await.expect(201);
    assert_eq!(reply.text(), "{}");
    assert_eq!(reply.header("location"), format!("http://localhost:3333{path}"));
    server.post(&path).body("[\n{\"#h\":null},\r\n{\"\":[1, 2]}]").await.expect(201);
    server.post(&path).body(r#"["{\"text\":\"as string\"}"]"#).await.expect(201);
    server.post(&path).body("[]").await.expect(201);

    let lines = server.get(&format!("{path}?format=jsonl")).await.expect(200);
    let expected = "{\"b\":1.0,\"a\":12345678901234567890}\n{\"#h\":null}\n{\"\":[1, 2]}\n{\"text\":\"as string\"}\n";
    assert_eq!(lines.text(), expected);
    assert_eq!(lines.header("content-type"), "application/jsonl; charset=utf-8");
    let array = server.get(&path).await.expect(200);
    assert_eq!(array.header("content-type"), "application/json; charset=utf-8");
    assert_eq!(array.text(), format!("[{}]", expected.trim_end().replace('\n', ",")));
    let object = server.get(&format!("/v2/datasets/{id}")).await.data();
    assert_eq!((&object["itemCount"], &object["cleanItemCount"]), (&json!(4), &json!(3)));
    assert_eq!(object["stats"]["writeCount"], 4);
}

#[tokio::test]
async fn what_is_no_item_is_refused_whole() {
    let server = TestServer::start().await;
    let id = server.given("datasets").await;
    let path = format!("/v2/datasets/{id}/items");

    for body in ["5", "null", "\"{}\"", "[{},5]", "[{},[]]", r#"["text"]"#, "[null]", "true"] {
        server.post(&path).body(body).await.expect_error(400, "invalid-input");
    }
    for body in ["", "  ", "{", "[{}", "[{},]", "{}{}", "{'a':1}", "\u{feff}{}", "{\"a\":\"\u{1}\"}"] {
        server.post(&path).body(body).await.expect_error(400, "invalid-request");
    }
    server.post(&path).body(&b"{\"a\":\"\xff\"}"[..]).await.expect_error(400, "invalid-request");
    let bomb = "[".repeat(1_000_000);
    server.post(&path).body(bomb).await.expect_error(400, "invalid-request");

    assert_eq!(server.get(&path).await.json(), json!([]));
    server.post("/v2/datasets/aaaaaaaaaaaaaaaaa/items").body("{}").await.expect_error(404, "record-not-found");
}

#[tokio::test]
async fn the_window_counts_stored_items_and_all_five_headers_tell_it() {
    let server = TestServer::start().await;
    let items: Vec<Value> = (0..10).map(|n| json!({ "n": n })).collect();
    let id = server.given_items(json!(items)).await;
    let path = format!("/v2/datasets/{id}/items");

    for (query, expected, [offset, limit, count, desc]) in [
        ("", (0..10).collect::<Vec<_>>(), ["0", "999999999999", "10", "false"]),
        ("offset=8", vec![8, 9], ["8", "999999999999", "2", "false"]),
        ("limit=2", vec![0, 1], ["0", "2", "2", "false"]),
        ("limit=0", (0..10).collect(), ["0", "999999999999", "10", "false"]),
        ("offset=0&limit=1&desc=1", vec![9], ["0", "1", "1", "true"]),
        ("offset=3&limit=2&desc=true", vec![6, 5], ["3", "2", "2", "true"]),
        ("offset=10", vec![], ["10", "999999999999", "0", "false"]),
        ("offset=99999999999&limit=5", vec![], ["99999999999", "5", "0", "false"]),
        ("limit=9999999999999", (0..10).collect(), ["0", "9999999999999", "10", "false"]),
    ] {
        for method in ["GET", "HEAD"] {
            let reply = server.ask(method.parse().unwrap(), &format!("{path}?{query}")).await.expect(200);
            assert_eq!(reply.header("x-apify-pagination-total"), "10");
            assert_eq!(reply.header("x-apify-pagination-offset"), offset, "{query}");
            assert_eq!(reply.header("x-apify-pagination-limit"), limit, "{query}");
            assert_eq!(reply.header("x-apify-pagination-count"), count, "{query}");
            assert_eq!(reply.header("x-apify-pagination-desc"), desc, "{query}");
            if method == "GET" {
                let numbers: Vec<u64> =
                    reply.json().as_array().unwrap().iter().map(|item| item["n"].as_u64().unwrap()).collect();
                assert_eq!(numbers, expected, "{query}");
            }
        }
    }
    for query in ["limit=-1", "offset=-1", "limit=x", "offset=NaN", "limit=1.5", "desc=x", "clean=2", "skipEmpty=yes"] {
        server.get(&format!("{path}?{query}")).await.expect_error(400, "invalid-request");
    }
}

#[tokio::test]
async fn a_dataset_of_many_chunks_reads_the_same_in_every_way() {
    let server = TestServer::start().await;
    let id = server.given("datasets").await;
    let path = format!("/v2/datasets/{id}/items");
    let mut expected = Vec::new();
    for push in 0..30 {
        let items: Vec<Value> = (0..50).map(|n| json!({"push": push, "n": n, "text": "x".repeat(500)})).collect();
        server.post(&path).json(json!(items)).await.expect(201);
        expected.extend(items);
    }

    assert_eq!(server.get(&path).await.json(), json!(expected));
    let mut lines = String::new();
    expected.iter().for_each(|item| writeln!(lines, "{item}").unwrap());
    assert_eq!(server.get(&format!("{path}?format=jsonl")).await.text(), lines);
    assert_eq!(server.get(&format!("{path}?omit=none")).await.json(), json!(expected));
    assert_eq!(server.get(&format!("{path}?format=jsonl&omit=none")).await.text(), lines);
    let window = server.get(&format!("{path}?offset=700&limit=100&fields=n,push")).await.json();
    let picked: Vec<Value> =
        expected[700..800].iter().map(|item| json!({"n": item["n"], "push": item["push"]})).collect();
    assert_eq!(window, json!(picked));
    expected.reverse();
    assert_eq!(server.get(&format!("{path}?desc=1")).await.json(), json!(expected));
}

#[tokio::test]
async fn items_are_shown_as_the_reader_wants_them() {
    let server = TestServer::start().await;
    let id = server
        .given_items(json!([
            {"#h": 1, "a": 1, "f": [{"b": 2}, {"b": 3}], "m": {"x": {"y": 1}}},
            {"#h": 2},
            {"errorInfo": {"code": 1}, "a": 5},
        ]))
        .await;
    let path = format!("/v2/datasets/{id}/items");

    for (query, expected) in [
        ("clean=1&fields=a", json!([{"a": 1}, {"a": 5}])),
        ("skipHidden=1&fields=a,%23h", json!([{"a": 1}, {}, {"a": 5}])),
        ("skipFailedPages=1&fields=a", json!([{"a": 1}, {}])),
        ("unwind=f&fields=a,b&skipEmpty=true", json!([{"a": 1, "b": 2}, {"a": 1, "b": 3}, {"a": 5}])),
        ("flatten=m&fields=m.x.y&skipEmpty=1", json!([{"m.x.y": 1}])),
        ("fields=a&outputFields=z&skipEmpty=1", json!([{"z": 1}, {"z": 5}])),
        ("omit=f,m,%23h,errorInfo", json!([{"a": 1}, {}, {"a": 5}])),
        ("clean=1&limit=1&offset=1", json!([])),
        ("whatever=1&delimiter=xx&limit=1&fields=a", json!([{"a": 1}])),
    ] {
        let reply = server.get(&format!("{path}?{query}")).await.expect(200);
        assert_eq!(reply.json(), expected, "{query}");
    }
    // The count is of stored items, whatever is shown of them.
    let reply = server.get(&format!("{path}?clean=1&limit=1&offset=1")).await;
    assert_eq!(reply.header("x-apify-pagination-count"), "1");
    for query in ["outputFields=a", "fields=a,b&outputFields=c"] {
        server.get(&format!("{path}?{query}")).await.expect_error(400, "invalid-input");
    }
    assert_eq!(server.get(&format!("{path}?format=jsonl&clean=1&fields=a")).await.text(), "{\"a\":1}\n{\"a\":5}\n");
}

#[tokio::test]
async fn formats_and_attachments() {
    let server = TestServer::start().await;
    let id = server.given("datasets").await;
    let path = format!("/v2/datasets/{id}/items");

    assert_eq!(server.get(&path).await.expect(200).text(), "[]");
    assert_eq!(server.get(&format!("{path}?format=jsonl")).await.expect(200).text(), "");
    assert_eq!(server.get(&format!("{path}?bom=1")).await.expect(200).text(), "\u{feff}[]");
    assert_eq!(server.get(&path).await.header("content-disposition"), "");
    let saved = server.get(&format!("{path}?attachment=true&format=jsonl")).await.expect(200);
    let disposition = saved.header("content-disposition");
    assert!(disposition.starts_with(&format!("attachment; filename=\"dataset_{id}_")), "{disposition}");
    assert!(disposition.ends_with(".jsonl\""), "{disposition}");
    for format in ["JSON", "nonsense", "CSV"] {
        server.get(&format!("{path}?format={format}")).await.expect_error(400, "param-not-one-of");
    }
}

#[tokio::test]
async fn a_schema_refuses_pushes_and_names_each_wrong_item() {
    let server = TestServer::start().await;
    let schema = json!({
        "actorSpecification": 1,
        "fields": {"type": "object", "properties": {"s": {"type": "string"}}, "required": ["s"]},
        "views": {"short": {"title": "Short", "transformation": {"fields": ["s"], "limit": 1}}},
    });
    let made = server.post("/v2/datasets").json(json!({"schema": schema})).await.expect(201).data();
    let path = format!("/v2/datasets/{}/items", made["id"].as_str().unwrap());

    server.post(&path).json(json!([{"s": "a", "t": 1}, {"s": "b"}])).await.expect(201);
    let reply = server.post(&path).json(json!([{"s": "c"}, {"s": 5}, {}])).await.expect(400);
    let error = &reply.json()["error"];
    assert_eq!(error["type"], "schema-validation-error");
    assert_eq!(error["message"], "Schema validation failed");
    let invalid = error["data"]["invalidItems"].as_array().unwrap();
    assert_eq!(invalid.len(), 2);
    assert_eq!((&invalid[0]["itemPosition"], &invalid[1]["itemPosition"]), (&json!(1), &json!(2)));
    assert_eq!(invalid[0]["validationErrors"][0]["message"], "must be string");

    assert_eq!(server.get(&path).await.json(), json!([{"s": "a", "t": 1}, {"s": "b"}]));
    assert_eq!(server.get(&format!("{path}?view=short")).await.json(), json!([{"s": "a"}]));
    assert_eq!(server.get(&format!("{path}?view=short&limit=5")).await.json(), json!([{"s": "a"}, {"s": "b"}]));
    server.get(&format!("{path}?view=long")).await.expect_error(400, "requested-dataset-view-does-not-exist");
    let plain = server.given("datasets").await;
    let ask = server.get(&format!("/v2/datasets/{plain}/items?view=short"));
    ask.await.expect_error(400, "dataset-does-not-have-schema");
}

#[tokio::test]
async fn statistics_tell_of_each_field_of_the_schema() {
    let server = TestServer::start().await;
    let properties = json!({"n": {}, "s": {}, "l": {}, "o": {}, "b": {}, "none": {}});
    let schema = json!({"fields": {"type": "object", "properties": properties}, "views": {}});
    let made = server.post("/v2/datasets").json(json!({"schema": schema})).await.expect(201).data();
    let path = format!("/v2/datasets/{}", made["id"].as_str().unwrap());
    let items = json!([
        {"n": 5, "s": "čau", "l": [1, 2], "o": {"a": 1}, "b": false},
        {"n": -1.5, "s": "", "l": [], "o": {}, "b": true},
        {"n": null, "s": null},
    ]);
    server.post(&format!("{path}/items")).json(items).await.expect(201);

    let statistics = server.get(&format!("{path}/statistics")).await.expect(200).data();
    assert_eq!(
        statistics["fieldStatistics"],
        json!({
            "n": {"min": -1.5, "max": 5, "nullCount": 1, "emptyCount": 0},
            "s": {"min": 0, "max": 3, "nullCount": 1, "emptyCount": 0},
            "l": {"min": 0, "max": 2, "nullCount": 0, "emptyCount": 1},
            "o": {"min": 0, "max": 1, "nullCount": 0, "emptyCount": 1},
            "b": {"min": 0, "max": 1, "nullCount": 0, "emptyCount": 1},
            "none": {"nullCount": 0, "emptyCount": 3},
        })
    );

    // What is pushed later is added to what was counted.
    server.post(&format!("{path}/items")).json(json!([{"n": 7, "none": "x"}, {"n": null}])).await.expect(201);
    let statistics = server.get(&format!("{path}/statistics")).await.expect(200).data();
    let fields = &statistics["fieldStatistics"];
    assert_eq!(fields["n"], json!({"min": -1.5, "max": 7, "nullCount": 2, "emptyCount": 0}));
    assert_eq!(fields["none"], json!({"min": 1, "max": 1, "nullCount": 0, "emptyCount": 4}));
    let names: Vec<_> = fields.as_object().unwrap().keys().collect();
    assert_eq!(names, ["n", "s", "l", "o", "b", "none"]);

    let plain = server.given_items(json!([{"a": 1}])).await;
    let statistics = server.get(&format!("/v2/datasets/{plain}/statistics")).await.expect(200).data();
    assert_eq!(statistics, json!({"fieldStatistics": null}));
}

#[tokio::test]
async fn fields_are_told_with_slashes() {
    let server = TestServer::start().await;
    let id = server.given_items(json!([{"b": [{"c": 1}], "a": 1}])).await;

    let object = server.get(&format!("/v2/datasets/{id}")).await.data();
    assert_eq!(object["fields"], json!(["a", "b/0/c"]));
}

#[tokio::test]
async fn unwinding_makes_far_more_entries_than_items() {
    let server = TestServer::start().await;
    let items: Vec<Value> = (0..500).map(|n| json!({"n": n, "f": vec![json!({"x": "y".repeat(100)}); 50]})).collect();
    let id = server.given_items(json!(items)).await;

    let reply = server.get(&format!("/v2/datasets/{id}/items?unwind=f&limit=200")).await.expect(200);
    assert_eq!(reply.json().as_array().unwrap().len(), 10_000);
}

#[tokio::test(start_paused = true)]
async fn statistics_go_on_after_a_restart_from_where_they_were_written_down() {
    let mut server = TestServer::start().await;
    let schema = json!({ "fields": { "type": "object", "properties": { "n": { "type": "integer" } } }, "views": {} });
    let dataset = server.post("/v2/datasets").json(json!({ "schema": schema })).await.expect(201).data();
    let id = StorageId::parse(dataset["id"].as_str().unwrap()).unwrap();
    let (items, statistics) = (format!("/v2/datasets/{id}/items"), format!("/v2/datasets/{id}/statistics"));
    let most = async |server: &TestServer| {
        server.get(&statistics).await.expect(200).data()["fieldStatistics"]["n"]["max"].clone()
    };
    let many: Vec<Value> = (0..10_000).map(|n| json!({ "n": n })).collect();
    server.post(&items).json(json!(many)).await.expect(201);
    assert_eq!(most(&server).await, 9999);

    let store = server.engine.engine.store().clone();
    let note = store.datasets.note(&id).await.unwrap().expect("it is written down");
    store.datasets.keep_note(&id, note.replace("9999", "7777")).await.unwrap();
    server.forget();
    server.post(&items).json(json!({ "n": 8888 })).await.expect(201);

    assert_eq!(most(&server).await, 8888, "what was counted before is not counted anew, and what came since is");
}
