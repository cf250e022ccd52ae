//! What failed is counted, and goes back.

use serde_json::{Value, json};

use super::{given_queue, head, keys_of, request};
use crate::harness::TestServer;

/// Adds requests of which some failed, as crawlers note it; `a` and `b` on one host, `d` with more retries.
async fn given_failures(server: &TestServer, path: &str) {
    let crawled = |key: &str, state: u32, errors: Value, retries: u32| {
        json!({
            "uniqueKey": key,
            "url": format!("https://{}.example.com/{key}", if key < "c" { "ab" } else { key }),
            "method": if key == "d" { "POST" } else { "GET" },
            "retryCount": retries,
            "handledAt": "2026-08-31T09:13:25.000Z",
            "errorMessages": errors,
            "userData": {"label": "x", "__crawlee": {"state": state, "sessionRotationCount": 1}},
        })
    };
    let requests = json!([
        crawled("a", 6, json!(["Error: timeout of 30 s"]), 3),
        crawled("b", 6, json!(["Error: 500", "Error: 404"]), 3),
        crawled("c", 5, json!(["Error: 404"]), 3),
        crawled("d", 6, json!(["Error: timeout of 30 s"]), 5),
        crawled("fine", 4, json!(["Error: 500"]), 1),
        crawled("skipped", 7, json!([]), 0),
        request("new"),
    ]);
    server.post(&format!("{path}/requests/batch?clientKey=tester")).json(requests).await.expect(201);
}

#[tokio::test]
async fn all_failed_requests_go_back_as_if_they_had_just_been_added() {
    let (server, path) = given_queue().await;
    given_failures(&server, &path).await;

    let requeued = server.post(&format!("{path}/x-requeue")).await.expect(200).data();
    assert_eq!(requeued, json!({"requeuedCount": 4, "handledRequestCount": 2, "pendingRequestCount": 5}));
    assert_eq!(server.post(&format!("{path}/x-requeue")).json(json!({})).await.data()["requeuedCount"], 0);

    let mut head = head(&server, &path).await;
    assert_eq!(head[0], "new", "they come behind what waits already");
    head.sort();
    assert_eq!(head, ["a", "b", "c", "d", "new"]);
    let stored = server.get(&format!("{path}/requests/{}", model::RequestId::of("d"))).await.data();
    let expected = json!({
        "id": model::RequestId::of("d").as_str(),
        "uniqueKey": "d",
        "url": "https://d.example.com/d",
        "method": "POST",
        "retryCount": 5,
        "userData": {"label": "x", "__crawlee": {"state": 0, "sessionRotationCount": 1}},
    });
    assert_eq!(stored, expected);
    let queue = server.get(&path).await.data();
    assert_eq!((&queue["totalRequestCount"], &queue["handledRequestCount"]), (&json!(7), &json!(2)));
    assert_eq!(queue["hadMultipleClients"], false);
}

#[tokio::test]
async fn failed_requests_are_chosen_by_what_they_are_and_how_they_failed() {
    for (filter, expected) in [
        (json!({"hosts": ["AB.example.com"]}), "a b"),
        (json!({"hosts": ["example.com"]}), ""),
        (json!({"methods": ["post"]}), "d"),
        (json!({"errorContains": "timeout"}), "a d"),
        (json!({"errorContains": "timeout", "minRetryCount": 4}), "d"),
        (json!({"errorContains": null, "minRetryCount": 4, "hosts": null}), "d"),
        (json!({"uniqueKeys": ["a", "fine", "unknown"]}), "a"),
        (json!({"ids": [model::RequestId::of("b").as_str(), "strange"], "uniqueKeys": ["c"]}), "b c"),
        (json!({"ids": []}), ""),
        (json!({"uniqueKeys": ["a", "b"], "errorContains": "500"}), "b"),
        (json!({"limit": 0}), ""),
    ] {
        let (server, path) = given_queue().await;
        given_failures(&server, &path).await;

        let requeued = server.post(&format!("{path}/x-requeue")).json(filter.clone()).await.expect(200).data();

        let mut found: Vec<_> = head(&server, &path).await.into_iter().filter(|key| key != "new").collect();
        found.sort();
        assert_eq!(found.join(" "), expected, "{filter}");
        assert_eq!(requeued["requeuedCount"], found.len(), "{filter}");
    }
}

#[tokio::test]
async fn failed_requests_go_to_the_front_and_begin_anew_when_asked() {
    let (server, path) = given_queue().await;
    given_failures(&server, &path).await;
    let ask = json!({"limit": 2, "forefront": true, "resetRetryCount": true});

    assert_eq!(server.post(&format!("{path}/x-requeue")).json(ask).await.expect(200).data()["requeuedCount"], 2);

    let shown = server.get(&format!("{path}/head?clientKey=tester")).await.data();
    assert_eq!(keys_of(&shown).len(), 3);
    assert_eq!(keys_of(&shown)[2], "new");
    for item in &shown["items"].as_array().unwrap()[..2] {
        assert_eq!(item["retryCount"], 0);
        let id = item["id"].as_str().unwrap();
        let stored = server.get(&format!("{path}/requests/{id}")).await.data();
        assert_eq!(stored["retryCount"], 0);
        assert_eq!(stored["userData"]["__crawlee"], json!({"state": 0}));
    }
    let queue = server.get(&path).await.data();
    assert_eq!((&queue["handledRequestCount"], &queue["pendingRequestCount"]), (&json!(4), &json!(3)));
}

#[tokio::test]
async fn what_is_no_filter_requeues_nothing() {
    let (server, path) = given_queue().await;
    given_failures(&server, &path).await;

    for body in [
        r#"{"host":["a"]}"#,
        r#"{"hosts":"a"}"#,
        r#"{"hosts":[5]}"#,
        r#"{"limit":-1}"#,
        r#"{"limit":1.5}"#,
        r#"{"minRetryCount":"1"}"#,
        r#"{"forefront":1}"#,
        "[]",
        "{",
        "5",
    ] {
        let ask = server.post(&format!("{path}/x-requeue")).header("content-type", "application/json").body(body);
        ask.await.expect_error(400, "invalid-request");
    }
    assert_eq!(server.get(&path).await.data()["handledRequestCount"], 6);
}

#[tokio::test]
async fn the_stats_of_a_queue_count_states_hosts_and_retries() {
    let (server, path) = given_queue().await;
    let empty = server.get(&format!("{path}/x-stats")).await.expect(200).data();
    let nothing = json!({"total": 0, "pending": 0, "locked": 0, "handled": 0, "failed": 0});
    assert_eq!(empty, json!({"requests": nothing, "hosts": [], "otherHosts": nothing, "retryHistogram": []}));

    given_failures(&server, &path).await;
    let odd = json!({"uniqueKey": "odd", "url": "no url at all"});
    server.post(&format!("{path}/requests?clientKey=tester")).json(odd).await.expect(201);
    server.post(&format!("{path}/head/lock?lockSecs=60&limit=1&clientKey=tester")).await.expect(201);

    let stats = server.get(&format!("{path}/x-stats")).await.expect(200).data();
    assert_eq!(stats["requests"], json!({"total": 8, "pending": 1, "locked": 1, "handled": 6, "failed": 4}));
    let hosts = stats["hosts"].as_array().unwrap();
    let ab = json!({"host": "ab.example.com", "total": 2, "pending": 0, "locked": 0, "handled": 2, "failed": 2});
    assert_eq!((hosts.len(), &hosts[0]), (6, &ab));
    assert_eq!(stats["otherHosts"]["pending"], 1);
    assert_eq!(stats["retryHistogram"], json!([3, 1, 0, 3, 0, 1]));
    assert_eq!(server.get(&path).await.data()["hadMultipleClients"], false);
}
