//! Request queues (storages, section 9).

mod requeue;

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::TestServer;

/// A server with an empty queue, and the address of the queue.
async fn given_queue() -> (TestServer, String) {
    let server = TestServer::start().await;
    let path = format!("/v2/request-queues/{}", server.given("request-queues").await);
    (server, path)
}

fn request(key: &str) -> Value {
    json!({"uniqueKey": key, "url": format!("http://{key}"), "userData": {"k": key}})
}

fn keys_of(head: &Value) -> Vec<&str> {
    head["items"].as_array().expect("an array").iter().map(|item| item["uniqueKey"].as_str().expect("text")).collect()
}

async fn head(server: &TestServer, path: &str) -> Vec<String> {
    let head = server.get(&format!("{path}/head?clientKey=tester")).await.expect(200).data();
    keys_of(&head).into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_request_is_added_once() {
    let (server, path) = given_queue().await;

    let added = server.post(&format!("{path}/requests")).json(request("k4")).await.expect(201).data();
    let expected = json!({"requestId": "lAkd1kohlCFLxtF", "uniqueKey": "k4", "wasAlreadyPresent": false, "wasAlreadyHandled": false});
    assert_eq!(added, expected);
    let again = json!({"id": "lAkd1kohlCFLxtF", "uniqueKey": "k4", "url": "http://other"});
    let added = server.post(&format!("{path}/requests?forefront=1&clientKey=ck")).json(again).await.expect(201).data();
    assert_eq!((&added["wasAlreadyPresent"], &added["wasAlreadyHandled"]), (&json!(true), &json!(false)));

    let stored = server.get(&format!("{path}/requests/lAkd1kohlCFLxtF")).await.expect(200).data();
    let mut expected = request("k4");
    expected["id"] = json!("lAkd1kohlCFLxtF");
    expected["method"] = json!("GET");
    expected["retryCount"] = json!(0);
    assert_eq!(stored, expected);
}

#[tokio::test]
async fn a_request_that_comes_handled_is_handled() {
    let (server, path) = given_queue().await;
    let handled = json!({"uniqueKey": "k4", "url": "u", "handledAt": "2026-08-31T09:13:25.123Z"});

    let added = server.post(&format!("{path}/requests")).json(handled.clone()).await.expect(201).data();
    assert_eq!((&added["wasAlreadyPresent"], &added["wasAlreadyHandled"]), (&json!(false), &json!(false)));
    let added = server.post(&format!("{path}/requests")).json(request("k4")).await.expect(201).data();
    assert_eq!((&added["wasAlreadyPresent"], &added["wasAlreadyHandled"]), (&json!(true), &json!(true)));
    let queue = server.get(&path).await.data();
    let counts = ["totalRequestCount", "handledRequestCount", "pendingRequestCount"].map(|name| queue[name].clone());
    assert_eq!(counts, [json!(1), json!(1), json!(0)]);
    let stored = server.get(&format!("{path}/requests/lAkd1kohlCFLxtF")).await.data();
    assert_eq!(stored["handledAt"], "2026-08-31T09:13:25.123Z");
}

#[tokio::test]
async fn malformed_requests_are_refused_and_store_nothing() {
    let (server, path) = given_queue().await;

    for (body, kind) in [
        (json!({"url": "u"}), "invalid-input"),
        (json!({"uniqueKey": "k"}), "invalid-input"),
        (json!({"uniqueKey": "k", "url": null}), "invalid-input"),
        (json!({"uniqueKey": 5, "url": "u"}), "invalid-input"),
        (json!({"uniqueKey": "k", "url": "u", "id": "AAAAAAAAAAAAAAA"}), "request-id-invalid"),
        (json!({"uniqueKey": "k", "url": "u", "handledAt": "x"}), "invalid-input"),
        (json!([]), "invalid-request"),
        (json!("text"), "invalid-input"),
    ] {
        server.post(&format!("{path}/requests")).json(body.clone()).await.expect_error(400, kind);
        let batch = server.post(&format!("{path}/requests/batch")).json(json!([request("ok"), body])).await;
        assert_eq!(batch.status, 400);
    }
    for body in ["", "{", "nonsense"] {
        server.post(&format!("{path}/requests")).body(body).await.expect_error(400, "invalid-request");
        server.post(&format!("{path}/requests/batch")).body(body).await.expect_error(400, "invalid-request");
        let ask = server.delete(&format!("{path}/requests/batch")).body(body);
        ask.await.expect_error(400, "invalid-request");
    }
    for key in ["", &"k".repeat(33)] {
        for ask in [
            server.post(&format!("{path}/requests?clientKey={key}")).json(request("k")),
            server.post(&format!("{path}/head/lock?lockSecs=1&clientKey={key}")),
            server.get(&format!("{path}/head?clientKey={key}")),
            server.get(&format!("{path}/requests?clientKey={key}")),
            server.post(&format!("{path}/requests/unlock?clientKey={key}")),
        ] {
            ask.await.expect_error(400, "invalid-client-key");
        }
    }
    assert_eq!(server.get(&path).await.data()["totalRequestCount"], 0);
}

#[tokio::test]
async fn a_batch_has_one_to_25_requests_and_answers_for_each() {
    let (server, path) = given_queue().await;
    let batch = format!("{path}/requests/batch");
    let requests = |count: usize| json!((0..count).map(|n| request(&format!("k{n}"))).collect::<Vec<_>>());

    let answer = server.post(&batch).json(requests(25)).await.expect(201).data();
    assert_eq!(answer["unprocessedRequests"], json!([]));
    let processed = answer["processedRequests"].as_array().unwrap();
    assert_eq!(processed.len(), 25);
    assert_eq!(processed[4]["requestId"], "lAkd1kohlCFLxtF");
    for (at, one) in processed.iter().enumerate() {
        assert_eq!((&one["uniqueKey"], &one["wasAlreadyPresent"]), (&json!(format!("k{at}")), &json!(false)));
    }
    for count in [0, 26, 1000] {
        server.post(&batch).json(requests(count)).await.expect_error(400, "invalid-input");
    }
    // The same twice in one batch is there the second time.
    let twice = server.post(&batch).json(json!([request("new"), request("new")])).await.expect(201).data();
    let present: Vec<_> =
        twice["processedRequests"].as_array().unwrap().iter().map(|one| &one["wasAlreadyPresent"]).collect();
    assert_eq!(present, [&json!(false), &json!(true)]);
    assert_eq!(server.get(&path).await.data()["totalRequestCount"], 26);
}

#[tokio::test]
async fn the_head_is_first_in_first_out_but_for_the_forefront() {
    let (server, path) = given_queue().await;
    let batch = format!("{path}/requests/batch");

    server.post(&batch).json(json!([request("a"), request("b")])).await.expect(201);
    server.post(&format!("{path}/requests?forefront=true")).json(request("p1")).await.expect(201);
    server.post(&format!("{path}/requests?forefront=1")).json(request("p2")).await.expect(201);
    server.post(&format!("{batch}?forefront=1")).json(json!([request("q1"), request("q2")])).await.expect(201);
    server.post(&format!("{path}/requests?forefront=1")).json(request("b")).await.expect(201);

    assert_eq!(head(&server, &path).await, ["q2", "q1", "p2", "p1", "a", "b"]);
    let shown = server.get(&format!("{path}/head?limit=2&clientKey=tester")).await.data();
    assert_eq!((keys_of(&shown), &shown["limit"]), (vec!["q2", "q1"], &json!(2)));
    let mut members: Vec<_> = shown["items"][0].as_object().unwrap().keys().collect();
    members.sort();
    assert_eq!(members, ["id", "method", "retryCount", "uniqueKey", "url"]);
    for (query, limit) in [("", 100), ("limit=5000", 1000), ("limit=0", 100)] {
        assert_eq!(server.get(&format!("{path}/head?{query}")).await.expect(200).data()["limit"], limit, "{query}");
    }
    server.get(&format!("{path}/head?limit=-2")).await.expect_error(400, "invalid-request");
}

#[tokio::test(start_paused = true)]
async fn locks_hide_requests_until_they_end() {
    let (server, path) = given_queue().await;
    let requests: Vec<_> = ["a", "b", "c"].map(request).into();
    server.post(&format!("{path}/requests/batch?clientKey=me")).json(json!(requests)).await.expect(201);
    let lock = |query: &str| server.post(&format!("{path}/head/lock?{query}"));

    let mine = lock("lockSecs=60&limit=2&clientKey=me").await.expect(201).data();
    assert_eq!(keys_of(&mine), ["a", "b"]);
    assert_eq!(mine["items"][0]["lockExpiresAt"], "2026-08-31T09:14:25.000Z");
    for (member, value) in [
        ("lockSecs", json!(60)),
        ("clientKey", json!("me")),
        ("limit", json!(2)),
        ("queueHasLockedRequests", json!(true)),
        ("hadMultipleClients", json!(false)),
    ] {
        assert_eq!(mine[member], value, "{member}");
    }
    let yours = lock("lockSecs=30.5&clientKey=you").await.expect(201).data();
    assert_eq!((keys_of(&yours), &yours["lockSecs"], &yours["limit"]), (vec!["c"], &json!(31), &json!(25)));
    assert_eq!(yours["hadMultipleClients"], true);
    assert_eq!(lock("lockSecs=1&clientKey=you").await.data()["items"], json!([]));
    assert_eq!(head(&server, &path).await, Vec::<String>::new());

    let a = "ypeBEsobvcr6wjG";
    let stored = server.get(&format!("{path}/requests/{a}")).await.expect(200).data();
    assert_eq!((&stored["lockByClient"], &stored["lockExpiresAt"]), (&json!("me"), &json!("2026-08-31T09:14:25.000Z")));

    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(head(&server, &path).await, ["c"]);
    tokio::time::sleep(Duration::from_secs(30)).await;
    let stored = server.get(&format!("{path}/requests/{a}")).await.expect(200).data();
    assert!(stored.get("lockByClient").is_none() && stored.get("lockExpiresAt").is_none(), "{stored}");
    let all = lock("lockSecs=60").await.expect(201).data();
    assert_eq!(all["items"].as_array().unwrap().len(), 3);
    assert!(all["clientKey"].as_str().unwrap().len() > 8);
    for query in ["", "lockSecs=0", "lockSecs=-1", "lockSecs=x", "lockSecs=NaN", "lockSecs=1e999"] {
        assert_eq!(lock(query).await.status, 400, "{query}");
    }
    lock("").await.expect_error(400, "parameter-required");
}

#[tokio::test(start_paused = true)]
async fn only_the_holder_prolongs_and_releases() {
    let (server, path) = given_queue().await;
    server.post(&format!("{path}/requests")).json(request("k4")).await.expect(201);
    server.post(&format!("{path}/requests")).json(request("last")).await.expect(201);
    let lock = format!("{path}/requests/lAkd1kohlCFLxtF/lock");
    server.post(&format!("{path}/head/lock?lockSecs=60&limit=1&clientKey=me")).await.expect(201);

    server.put(&format!("{lock}?lockSecs=60&clientKey=you")).await.expect_error(403, "request-handled-or-locked");
    server.delete(&format!("{lock}?clientKey=you")).await.expect_error(403, "request-handled-or-locked");
    server
        .delete(&format!("{path}/requests/lAkd1kohlCFLxtF?clientKey=you"))
        .await
        .expect_error(403, "request-handled-or-locked");
    let longer = server.put(&format!("{lock}?lockSecs=120&clientKey=me")).await.expect(200).data();
    assert_eq!(longer, json!({"lockExpiresAt": "2026-08-31T09:15:25.000Z"}));
    server.put(&lock).await.expect_error(400, "parameter-required");
    server.delete(&format!("{lock}?clientKey=me")).await.expect(204);
    assert_eq!(head(&server, &path).await, ["last", "k4"]);
    server.delete(&format!("{lock}?clientKey=you")).await.expect(204);
    server.put(&format!("{lock}?lockSecs=5&clientKey=you")).await.expect(200);
    server.delete(&format!("{lock}?clientKey=you&forefront=1")).await.expect(204);
    assert_eq!(head(&server, &path).await, ["k4", "last"]);

    for id in ["AAAAAAAAAAAAAAA", "short", "not-an-id-at-all"] {
        let path = format!("{path}/requests/{id}");
        server.get(&path).await.expect_error(404, "record-not-found");
        server.delete(&path).await.expect_error(404, "record-not-found");
        server.put(&format!("{path}/lock?lockSecs=1")).await.expect_error(404, "record-not-found");
        server.delete(&format!("{path}/lock")).await.expect_error(404, "record-not-found");
    }
}

#[tokio::test(start_paused = true)]
async fn the_deletion_that_ends_a_reclaim_leaves_a_lock_taken_meanwhile() {
    let (server, path) = given_queue().await;
    server.post(&format!("{path}/requests")).json(request("k4")).await.expect(201);
    let one = format!("{path}/requests/lAkd1kohlCFLxtF");
    let body = json!({"id": "lAkd1kohlCFLxtF", "uniqueKey": "k4", "url": "http://k4"});
    let lock = async |client: &str| {
        let head = server.post(&format!("{path}/head/lock?lockSecs=60&clientKey={client}")).await.expect(201).data();
        head["items"].as_array().expect("an array").len()
    };
    let reclaim = async || {
        assert_eq!(lock("me").await, 1);
        server.put(&format!("{one}?clientKey=me")).json(body.clone()).await.expect(200);
    };
    let unlock = async |status: u16| {
        server.delete(&format!("{one}/lock?clientKey=me")).await.expect(status);
    };

    // The look at the head comes between the two halves.
    reclaim().await;
    assert_eq!(lock("me").await, 1);
    unlock(204).await;
    assert_eq!(lock("me").await, 0, "it is given out once");
    unlock(204).await;

    // It comes after both.
    reclaim().await;
    unlock(204).await;
    assert_eq!(lock("me").await, 1);
    unlock(204).await;

    // So quickly that the new lock is prolonged before the deletion arrives.
    reclaim().await;
    assert_eq!(lock("me").await, 1);
    server.put(&format!("{one}/lock?lockSecs=60&clientKey=me")).await.expect(200);
    unlock(204).await;
    assert_eq!(lock("me").await, 0);
    unlock(204).await;

    // There is no second half: a much later deletion means the new lock.
    reclaim().await;
    assert_eq!(lock("me").await, 1);
    tokio::time::sleep(Duration::from_secs(6)).await;
    unlock(204).await;

    // An update that handles the request is no reclaim.
    let mut handled = body.clone();
    handled["handledAt"] = json!("2026-08-31T09:00:00.000Z");
    assert_eq!(lock("me").await, 1);
    server.put(&format!("{one}?clientKey=me")).json(handled).await.expect(200);
    server.put(&one).json(body.clone()).await.expect(200);
    assert_eq!(lock("me").await, 1);
    unlock(204).await;

    // Somebody else was quicker.
    reclaim().await;
    assert_eq!(lock("you").await, 1);
    unlock(403).await;
}

#[tokio::test]
async fn all_locks_of_a_client_are_given_back_at_once() {
    let (server, path) = given_queue().await;
    let requests: Vec<_> = ["a", "b", "c"].map(request).into();
    server.post(&format!("{path}/requests/batch?clientKey=x")).json(json!(requests)).await.expect(201);
    server.post(&format!("{path}/head/lock?lockSecs=60&limit=2&clientKey=me")).await.expect(201);
    server.post(&format!("{path}/head/lock?lockSecs=60&limit=1&clientKey=you")).await.expect(201);

    let unlock = |query: &str| server.post(&format!("{path}/requests/unlock{query}"));
    assert_eq!(unlock("").await.expect(200).data(), json!({"unlockedCount": 0}));
    assert_eq!(unlock("?clientKey=me").await.expect(200).data(), json!({"unlockedCount": 2}));
    assert_eq!(unlock("?clientKey=me").await.expect(200).data(), json!({"unlockedCount": 0}));
    assert_eq!(head(&server, &path).await, ["a", "b"]);
}

#[tokio::test]
async fn an_update_replaces_the_request_and_gives_it_back() {
    let (server, path) = given_queue().await;
    let one = format!("{path}/requests/lAkd1kohlCFLxtF");
    server.post(&format!("{path}/requests/batch")).json(json!([request("k4"), request("last")])).await.expect(201);
    server.post(&format!("{path}/head/lock?lockSecs=60&limit=1&clientKey=me")).await.expect(201);

    let retried = json!({"uniqueKey": "k4", "url": "u", "retryCount": 1, "errorMessages": ["x"], "handledAt": null});
    let updated = server.put(&format!("{one}?clientKey=me")).json(retried).await.expect(200).data();
    assert_eq!((&updated["wasAlreadyPresent"], &updated["wasAlreadyHandled"]), (&json!(true), &json!(false)));
    assert_eq!(head(&server, &path).await, ["last", "k4"]);
    let stored = server.get(&one).await.data();
    assert_eq!((&stored["retryCount"], stored.get("userData")), (&json!(1), None));

    let handled =
        json!({"id": "lAkd1kohlCFLxtF", "uniqueKey": "k4", "url": "u", "handledAt": "2026-08-31T09:13:25.000Z"});
    let updated = server.put(&one).json(handled.clone()).await.expect(200).data();
    assert_eq!(updated["wasAlreadyHandled"], false);
    assert_eq!(server.put(&one).json(handled).await.expect(200).data()["wasAlreadyHandled"], true);
    assert_eq!(head(&server, &path).await, ["last"]);
    server.put(&format!("{one}/lock?lockSecs=1&clientKey=me")).await.expect_error(403, "request-handled-or-locked");
    let back = server.put(&format!("{one}?forefront=1")).json(request("k4")).await.expect(200).data();
    assert_eq!(back["wasAlreadyHandled"], true);
    assert_eq!(head(&server, &path).await, ["k4", "last"]);

    let inserted = server.put(&format!("{path}/requests/8OamqXBCpPHxyH9")).json(request("http://example.com"));
    assert_eq!(inserted.await.expect(200).data()["wasAlreadyPresent"], false);
    server.put(&one).json(request("other")).await.expect_error(400, "request-id-invalid");
    server.put(&one).json(json!({"url": "u"})).await.expect_error(400, "invalid-input");
    let queue = server.get(&path).await.data();
    assert_eq!((&queue["totalRequestCount"], &queue["handledRequestCount"]), (&json!(3), &json!(0)));
}

#[tokio::test]
async fn requests_are_deleted_one_by_one_and_in_batches_with_a_body() {
    let (server, path) = given_queue().await;
    let requests: Vec<_> = ["k4", "a", "b", "c"].map(request).into();
    server.post(&format!("{path}/requests/batch")).json(json!(requests)).await.expect(201);
    let batch = format!("{path}/requests/batch?clientKey=me");

    server.delete(&format!("{path}/requests/lAkd1kohlCFLxtF")).await.expect(204);
    server.delete(&format!("{path}/requests/lAkd1kohlCFLxtF")).await.expect_error(404, "record-not-found");
    server.post(&format!("{path}/head/lock?lockSecs=60&limit=1&clientKey=you")).await.expect(201);
    let body = json!([{"uniqueKey": "a"}, {"uniqueKey": "b"}, {"id": "lAkd1kohlCFLxtF"}, {"id": "strange"}]);
    let answer = server.delete(&batch).json(body).await.expect(200).data();
    // `a` is locked by another client.
    assert_eq!(keys(&answer["unprocessedRequests"], "uniqueKey"), ["a"]);
    assert_eq!(answer["processedRequests"].as_array().unwrap().len(), 3);
    assert_eq!(answer["processedRequests"][0]["uniqueKey"], "b");
    assert_eq!(keys(&answer["processedRequests"], "id")[1..], ["lAkd1kohlCFLxtF", "strange"]);
    assert_eq!(head(&server, &path).await, ["c"]);

    for body in [json!([]), json!([{}]), json!([5]), json!(vec![json!({"uniqueKey": "x"}); 26])] {
        server.delete(&batch).json(body).await.expect_error(400, "invalid-input");
    }
    let mismatch = json!([{"id": "AAAAAAAAAAAAAAA", "uniqueKey": "k4"}]);
    server.delete(&batch).json(mismatch).await.expect_error(400, "request-id-invalid");
}

fn keys(list: &Value, member: &str) -> Vec<String> {
    list.as_array().expect("an array").iter().map(|one| one[member].as_str().expect("text").to_owned()).collect()
}

#[tokio::test]
async fn requests_are_listed_by_id_page_by_page() {
    let (server, path) = given_queue().await;
    for start in [0, 25, 50] {
        let requests: Vec<_> = (start..start + 25).map(|n| request(&format!("k{n}"))).collect();
        server.post(&format!("{path}/requests/batch?clientKey=tester")).json(json!(requests)).await.expect(201);
    }
    let list = format!("{path}/requests");

    let all = server.get(&list).await.expect(200).data();
    let ids = keys(&all["items"], "id");
    assert_eq!((ids.len(), &all["limit"], all.get("nextCursor")), (75, &json!(10_000), None));
    assert!(ids.is_sorted());
    assert!(all["items"][0]["userData"]["k"].is_string());

    let mut listed = Vec::new();
    let mut query = "limit=20".to_owned();
    loop {
        let page = server.get(&format!("{list}?{query}")).await.expect(200).data();
        listed.extend(keys(&page["items"], "id"));
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        query = format!("limit=20&cursor={cursor}");
    }
    assert_eq!(listed, ids);
    let page = server.get(&format!("{list}?exclusiveStartId={}&limit=1", ids[9])).await.expect(200).data();
    assert_eq!((keys(&page["items"], "id"), &page["exclusiveStartId"]), (vec![ids[10].clone()], &json!(ids[9])));

    server.post(&format!("{path}/head/lock?lockSecs=60&limit=5&clientKey=tester")).await.expect(201);
    let handled = json!({"uniqueKey": "k74", "url": "u", "handledAt": "2026-08-31T09:13:25.000Z"});
    server.post(&list).json(handled.clone()).await.expect(201);
    let id = model::RequestId::of("k74");
    server.put(&format!("{list}/{id}")).json(handled).await.expect(200);
    for (filter, count) in [("locked", 5), ("pending", 69), ("locked,pending", 74), ("locked%2Cpending", 74)] {
        let page = server.get(&format!("{list}?filter={filter}")).await.expect(200).data();
        assert_eq!(page["items"].as_array().unwrap().len(), count, "{filter}");
    }
    let locked = server.get(&format!("{list}?filter=locked")).await.data();
    assert_eq!(locked["items"][0]["lockByClient"], "tester");

    server.get(&format!("{list}?filter=handled")).await.expect_error(400, "param-not-one-of");
    server.get(&format!("{list}?cursor=nonsense")).await.expect_error(400, "invalid-value");
    server.get(&format!("{list}?exclusiveStartId=x&filter=locked")).await.expect_error(400, "invalid-request");
    server.get(&format!("{list}?limit=x")).await.expect_error(400, "invalid-request");
}

#[tokio::test]
async fn one_client_key_is_one_client() {
    let (server, path) = given_queue().await;
    let had_many = async || server.get(&path).await.data()["hadMultipleClients"] == json!(true);

    server.post(&format!("{path}/requests?clientKey=me")).json(request("a")).await.expect(201);
    server.post(&format!("{path}/head/lock?lockSecs=60&clientKey=me")).await.expect(201);
    server.get(&format!("{path}/head?clientKey=me")).await.expect(200);
    server.get(&format!("{path}/requests?clientKey=me")).await.expect(200);
    assert!(!had_many().await);
    server.get(&format!("{path}/head")).await.expect(200);
    assert!(had_many().await);
}

#[tokio::test]
async fn a_run_holds_locks_by_its_token() {
    let server = TestServer::start().await;
    let run = server.engine.running(Default::default()).await;
    let token = server.run_token(&run.id);
    let path = format!("/v2/request-queues/{}", run.storages.request_queue);
    server.post(&format!("{path}/requests")).json(request("k4")).await.expect(201);

    server.post(&format!("{path}/head/lock?lockSecs=60&clientKey=one")).token(&token).await.expect(201);
    let lock = format!("{path}/requests/lAkd1kohlCFLxtF/lock?lockSecs=60&clientKey=two");
    server.put(&lock).await.expect_error(403, "request-handled-or-locked");
    server.put(&lock).token(&token).await.expect(200);
    let unlocked = server.post(&format!("{path}/requests/unlock")).token(&token).await.expect(200).data();
    assert_eq!(unlocked, json!({"unlockedCount": 1}));
}

#[tokio::test]
async fn pages_end_exactly_and_take_any_cursor_that_names_a_place() {
    let (server, path) = given_queue().await;
    let requests: Vec<_> = (0..20).map(|n| request(&format!("k{n}"))).collect();
    server.post(&format!("{path}/requests/batch?clientKey=tester")).json(json!(requests)).await.expect(201);
    let list = format!("{path}/requests");
    let ids = keys(&server.get(&list).await.data()["items"], "id");

    let first = server.get(&format!("{list}?limit=10")).await.expect(200).data();
    let cursor = first["nextCursor"].as_str().expect("more remain").to_owned();
    let second = server.get(&format!("{list}?limit=10&cursor={cursor}")).await.expect(200).data();
    assert_eq!((keys(&second["items"], "id"), &second["cursor"]), (ids[10..].to_vec(), &json!(cursor)));
    assert_eq!(second.get("nextCursor"), None, "a full page is the last one, too");

    // A place in the order of ids is one in every queue, whether a request is there or not.
    let other = format!("/v2/request-queues/{}", server.given("request-queues").await);
    server.post(&format!("{other}/requests")).json(request("k1")).await.expect(201);
    let there = server.get(&format!("{other}/requests?cursor={cursor}%3D%3D")).await.expect(200).data();
    let expected: Vec<_> = [model::RequestId::of("k1").to_string()].into_iter().filter(|id| *id > ids[9]).collect();
    assert_eq!(keys(&there["items"], "id"), expected);
    let both = format!("{list}?cursor={cursor}&exclusiveStartId={}", ids[3]);
    server.get(&both).await.expect_error(400, "invalid-request");
    assert_eq!(server.get(&format!("{list}?limit=99999")).await.expect(200).data()["limit"], 10_000);
}

#[tokio::test(start_paused = true)]
async fn looking_at_a_queue_does_not_make_it_look_changed() {
    let (server, path) = given_queue().await;
    server.post(&format!("{path}/requests?clientKey=me")).json(request("a")).await.expect(201);
    let modified_at = server.get(&path).await.data()["modifiedAt"].clone();

    tokio::time::sleep(Duration::from_secs(20)).await;
    for look in ["", "/head?clientKey=me", "/head", "/requests", "/x-stats"] {
        server.get(&format!("{path}{look}")).await.expect(200);
    }
    server.post(&format!("{path}/x-requeue")).await.expect(200);
    server.post(&format!("{path}/requests?forefront=1")).json(request("a")).await.expect(201);

    let head = server.get(&format!("{path}/head")).await.expect(200).data();
    assert_eq!((&head["queueModifiedAt"], &head["hadMultipleClients"]), (&modified_at, &json!(true)));
    let locked = server.post(&format!("{path}/head/lock?lockSecs=60&limit=100")).await.expect(201).data();
    assert_eq!((&locked["limit"], &locked["queueModifiedAt"]), (&json!(25), &json!("2026-08-31T09:13:45.000Z")));
}
