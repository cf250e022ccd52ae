//! Storages as objects (storages, sections 2 and 3).

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::TestServer;

const PLURALS: [&str; 3] = ["datasets", "key-value-stores", "request-queues"];

#[tokio::test]
async fn a_name_is_made_once_and_found_in_any_case() {
    let server = TestServer::start().await;

    for plural in PLURALS {
        let made = server.post(&format!("/v2/{plural}?name=My-Name")).await.expect(201);
        let storage = made.data();
        let id = storage["id"].as_str().unwrap();
        assert_eq!(made.header("location"), format!("http://localhost:3333/v2/{plural}/{id}"));

        let again = server.post(&format!("/v2/{plural}?name=my-name")).await.expect(200).data();
        assert_eq!((&again["id"], &again["name"]), (&storage["id"], &json!("My-Name")));
        let by_body = server.post(&format!("/v2/{plural}")).json(json!({"name": "MY-NAME"})).await.expect(200).data();
        assert_eq!(by_body["id"], storage["id"]);
        for reference in ["~my-name", "ada~MY-name", "ADA~my-name", "ada%2Fmy-name", "ada%7Emy-name"] {
            let found = server.get(&format!("/v2/{plural}/{reference}")).await.expect(200).data();
            assert_eq!(found["id"], storage["id"], "{reference}");
        }
        let owner = storage["userId"].as_str().unwrap();
        server.get(&format!("/v2/{plural}/{owner}~my-name")).await.expect(200);
    }
}

#[tokio::test]
async fn concurrent_creations_of_a_name_give_one_storage() {
    let server = TestServer::start().await;

    let asks = (0..20).map(|_| async { server.post("/v2/datasets?name=same").await.data()["id"].clone() });
    let ids = futures::future::join_all(asks).await;

    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[tokio::test]
async fn names_of_the_wrong_shape_are_refused() {
    let server = TestServer::start().await;

    for name in ["-a", "a-", "a_b", "a%20b", "%C3%A9", "a.b", &"x".repeat(64)] {
        server.post(&format!("/v2/datasets?name={name}")).await.expect_error(400, "invalid-value");
    }
    let id = server.given("datasets").await;
    for name in ["", "a b", "-"] {
        server.put(&format!("/v2/datasets/{id}")).json(json!({"name": name})).await.expect_error(400, "invalid-value");
    }
    for name in ["a", &"x".repeat(63)] {
        server.post(&format!("/v2/datasets?name={name}")).await.expect(201);
    }
}

#[tokio::test]
async fn references_that_name_nothing_are_unknown_and_empty_ones_malformed() {
    let server = TestServer::start().await;
    server.post("/v2/datasets?name=named").await.expect(201);

    for reference in ["named", "short", "aaaaaaaaaaaaaaaaa", "nobody~named", "~other", "a%20b", "%00", "%ff", "é"] {
        let path = format!("/v2/datasets/{reference}");
        let reply = if path.is_ascii() { server.get(&path).await } else { continue };
        reply.expect_error(404, "record-not-found");
    }
    let message = server.get("/v2/datasets/nothing").await.expect_error(404, "record-not-found");
    assert_eq!(message, "Store was not found");
    for reference in ["~", "ada~", "ada%2F"] {
        let message = server.get(&format!("/v2/datasets/{reference}")).await.expect_error(400, "invalid-request");
        assert_eq!(message, "Resource name parameter cannot be empty");
    }
}

#[tokio::test]
async fn an_id_is_of_one_kind_only() {
    let server = TestServer::start().await;
    let id = server.given("datasets").await;

    server.get(&format!("/v2/key-value-stores/{id}")).await.expect_error(404, "record-not-found");
    server.delete(&format!("/v2/request-queues/{id}")).await.expect_error(404, "record-not-found");
}

#[tokio::test(start_paused = true)]
async fn objects_have_every_member_that_clients_need() {
    let server = TestServer::start().await;

    let common = ["id", "name", "userId", "username", "createdAt", "modifiedAt", "accessedAt", "actId", "actRunId"];
    for (plural, own) in [
        ("datasets", &["itemCount", "cleanItemCount", "itemsPublicUrl", "urlSigningSecretKey", "schema", "fields"][..]),
        ("key-value-stores", &["keysPublicUrl", "recordsPublicUrl", "urlSigningSecretKey", "schema"]),
        ("request-queues", &["totalRequestCount", "handledRequestCount", "pendingRequestCount", "hadMultipleClients"]),
    ] {
        let id = server.given(plural).await;
        let object = server.get(&format!("/v2/{plural}/{id}")).await.expect(200).data();

        for member in common.iter().chain(own).chain(&["consoleUrl", "generalAccess", "stats"]) {
            assert!(object.get(member).is_some(), "{plural} lacks {member}: {object}");
        }
        assert_eq!(object["name"], Value::Null);
        assert_eq!(object["username"], "ada");
        assert_eq!(object["generalAccess"], "FOLLOW_USER_SETTING");
        assert_eq!(object["createdAt"], "2026-08-31T09:13:25.000Z");
        assert_eq!(object["consoleUrl"], format!("http://localhost:3333/storage/{plural}/{id}"));
        assert_eq!(object["stats"]["readCount"], 0);
    }
}

#[tokio::test]
async fn lists_have_named_storages_and_all_with_unnamed() {
    let server = TestServer::start().await;

    for plural in PLURALS {
        let named = server.post(&format!("/v2/{plural}?name=a")).await.expect(201).data();
        let unnamed = server.given(plural).await;

        let list = server.get(&format!("/v2/{plural}")).await.expect(200).data();
        assert_eq!(list["total"], 1);
        assert_eq!(list["items"][0]["id"], named["id"]);
        for (member, value) in [("offset", json!(0)), ("limit", json!(1000)), ("desc", json!(false))] {
            assert_eq!(list[member], value);
        }
        assert_eq!((&list["count"], &list["unnamed"]), (&json!(1), &json!(false)));

        let all = server.get(&format!("/v2/{plural}?unnamed=1&desc=true")).await.expect(200).data();
        assert_eq!((&all["total"], &all["unnamed"], &all["desc"]), (&json!(2), &json!(true), &json!(true)));
        // Python wants a string as the name of every item.
        let item = all["items"].as_array().unwrap().iter().find(|item| item["id"] == json!(unnamed)).unwrap();
        assert_eq!(item["name"], json!(unnamed));
        assert_eq!(item["username"], "ada");
        assert_eq!(item["stats"].get("s3StorageBytes"), None, "the CLI cannot print a size of 0");

        let page = server.get(&format!("/v2/{plural}?unnamed=true&limit=1&offset=1")).await.expect(200).data();
        assert_eq!((&page["total"], &page["count"], &page["limit"]), (&json!(2), &json!(1), &json!(1)));
        let shared = server.get(&format!("/v2/{plural}?ownership=sharedWithMe")).await.expect(200).data();
        assert_eq!((&shared["total"], &shared["items"]), (&json!(0), &json!([])));
    }
}

#[tokio::test]
async fn list_parameters_are_checked_and_clamped() {
    let server = TestServer::start().await;

    for query in ["limit=-1", "limit=x", "offset=-5", "offset=NaN", "desc=maybe", "unnamed=2", "limit=1.5"] {
        server.get(&format!("/v2/datasets?{query}")).await.expect_error(400, "invalid-request");
    }
    server.get("/v2/datasets?ownership=stolen").await.expect_error(400, "param-not-one-of");
    for query in ["limit=0", "limit=5000", "limit=1e9", "limit=", "limit=999999999999999999999"] {
        assert_eq!(server.get(&format!("/v2/datasets?{query}")).await.expect(200).data()["limit"], 1000, "{query}");
    }
    server.get("/v2/datasets?offset=18446744073709551615&whatever=1").await.expect(200);
}

#[tokio::test]
async fn any_text_is_a_name_or_is_refused_as_none() {
    let server = TestServer::start().await;
    let id = server.given("key-value-stores").await;
    let encode = |name: &str| name.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let texts = (1..=127_u8).flat_map(|byte| {
        let letter = byte as char;
        [format!("{letter}"), format!("a{letter}b"), format!("{letter}b"), format!("a{letter}")]
    });

    for name in texts.chain(["é".to_owned(), "a\u{202e}b".to_owned(), "K".repeat(63), "K".repeat(64)]) {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let is_name = name.len() <= 63 && name.bytes().all(inner) && !name.starts_with('-') && !name.ends_with('-');
        let made = server.post(&format!("/v2/datasets?name={}", encode(&name))).await;
        let renamed = server.put(&format!("/v2/key-value-stores/{id}")).json(json!({"name": name})).await;
        if is_name {
            let made = made.json()["data"].clone();
            let found = server.get(&format!("/v2/datasets/~{}", name.to_uppercase())).await.expect(200).data();
            assert_eq!(made["id"], found["id"], "{name}");
            assert_eq!(renamed.expect(200).data()["name"], name);
        } else {
            made.expect_error(400, "invalid-value");
            renamed.expect_error(400, "invalid-value");
        }
    }
}

#[tokio::test]
async fn an_offset_of_a_hundred_million_is_past_the_end_of_everything() {
    let server = TestServer::start().await;
    let dataset = server.given_items(json!([{"a": 1}])).await;

    for offset in ["100000000", "9007199254740993", "18446744073709551615"] {
        let items = server.get(&format!("/v2/datasets/{dataset}/items?offset={offset}&limit=1000")).await.expect(200);
        assert_eq!((items.text().as_str(), items.header("x-apify-pagination-total")), ("[]", "1"), "{offset}");
        let desc = server.get(&format!("/v2/datasets/{dataset}/items?offset={offset}&desc=1")).await.expect(200);
        assert_eq!(desc.text(), "[]");
        let list = server.get(&format!("/v2/datasets?unnamed=1&offset={offset}")).await.expect(200).data();
        assert_eq!((&list["total"], &list["count"]), (&json!(1), &json!(0)), "{offset}");
    }
}

#[tokio::test]
async fn updates_change_what_they_name() {
    let server = TestServer::start().await;
    let id = server.post("/v2/datasets?name=first").await.expect(201).data()["id"].as_str().unwrap().to_owned();
    let path = format!("/v2/datasets/{id}");

    let renamed = server.put(&path).json(json!({"name": "First", "other": 1})).await.expect(200).data();
    assert_eq!(renamed["name"], "First");
    let titled = server.put(&path).json(json!({"title": "A title", "generalAccess": "RESTRICTED"})).await.expect(200);
    assert_eq!(titled.data()["title"], "A title");
    assert_eq!(titled.data()["generalAccess"], "RESTRICTED");
    assert_eq!(titled.data()["name"], "First");
    let unnamed = server.put(&path).json(json!({"name": null, "generalAccess": null})).await.expect(200).data();
    assert_eq!((&unnamed["name"], &unnamed["generalAccess"]), (&Value::Null, &json!("FOLLOW_USER_SETTING")));
    server.get("/v2/datasets/~first").await.expect_error(404, "record-not-found");
    server.put(&path).await.expect(200);
    for body in [json!({"generalAccess": "EVERYBODY"}), json!({"name": 5}), json!([])] {
        server.put(&path).json(body).await.expect_error(400, "invalid-request");
    }
}

#[tokio::test]
async fn a_name_that_is_taken_is_a_conflict() {
    let server = TestServer::start().await;
    server.post("/v2/datasets?name=taken").await.expect(201);
    let id = server.given("datasets").await;

    let ask = server.put(&format!("/v2/datasets/{id}")).json(json!({"name": "TAKEN"}));
    ask.await.expect_error(409, "name-not-unique");
    // Another kind has names of its own.
    let store = server.given("key-value-stores").await;
    server.put(&format!("/v2/key-value-stores/{store}")).json(json!({"name": "taken"})).await.expect(200);
}

#[tokio::test]
async fn a_deleted_storage_is_gone_at_once_and_its_name_free() {
    let server = TestServer::start().await;

    for plural in PLURALS {
        let first = server.post(&format!("/v2/{plural}?name=again")).await.expect(201).data();
        let path = format!("/v2/{plural}/{}", first["id"].as_str().unwrap());

        let reply = server.delete(&path).await.expect(204);
        assert!(reply.body.is_empty());
        server.get(&path).await.expect_error(404, "record-not-found");
        server.delete(&path).await.expect_error(404, "record-not-found");
        let second = server.post(&format!("/v2/{plural}?name=again")).await.expect(201).data();
        assert_ne!(first["id"], second["id"]);
    }
}

#[tokio::test(start_paused = true)]
async fn times_tell_making_change_and_use() {
    let server = TestServer::start().await;
    let id = server.given("datasets").await;

    tokio::time::sleep(Duration::from_secs(60)).await;
    server.post(&format!("/v2/datasets/{id}/items")).json(json!({"a": 1})).await.expect(201);
    tokio::time::sleep(Duration::from_secs(60)).await;
    server.get(&format!("/v2/datasets/{id}/items")).await.expect(200);

    let object = server.get(&format!("/v2/datasets/{id}")).await.expect(200).data();
    assert_eq!(object["createdAt"], "2026-08-31T09:13:25.000Z");
    assert_eq!(object["modifiedAt"], "2026-08-31T09:14:25.000Z");
    assert!(object["accessedAt"].as_str() >= object["modifiedAt"].as_str());
}

#[tokio::test]
async fn the_storages_of_a_run_answer_under_every_address() {
    let server = TestServer::start().await;
    let run = server.engine.run().await;
    let actor = &server.engine.actor.id;

    for (plural, singular, id) in [
        ("datasets", "dataset", run.storages.dataset),
        ("key-value-stores", "key-value-store", run.storages.key_value_store),
        ("request-queues", "request-queue", run.storages.request_queue),
    ] {
        for path in [
            format!("/v2/{plural}/{id}"),
            format!("/v2/actor-runs/{}/{singular}", run.id),
            format!("/v2/actors/{actor}/runs/last/{singular}"),
            format!("/v2/actors/~my-actor/runs/last/{singular}?status=READY&origin=API"),
            format!("/v2/acts/ada~my-actor/runs/last/{singular}"),
            format!("/v2/actors/my-actor/runs/last/{singular}"),
        ] {
            let ready = path.contains("status=");
            let reply = server.get(&path).await;
            if ready && reply.status == 404 {
                // The run may have started meanwhile.
                continue;
            }
            let object = reply.expect(200).data();
            assert_eq!(object["id"], id.to_string(), "{path}");
            assert_eq!(object["actRunId"], run.id.to_string(), "{path}");
            assert_eq!(object["actId"], actor.to_string(), "{path}");
        }
        let path = format!("/v2/actors/{actor}/runs/last/{singular}");
        server.get(&format!("{path}?status=DONE")).await.expect_error(400, "invalid-request");
        server.get(&format!("{path}?origin=SKY")).await.expect_error(400, "invalid-request");
        server.get(&format!("{path}?origin=WEB")).await.expect_error(404, "record-not-found");
        server.get(&path).anonymous().await.expect_error(401, "token-not-provided");
        server.get(&format!("/v2/actors/other/runs/last/{singular}")).await.expect_error(404, "record-not-found");
        server.get(&format!("/v2/actor-tasks/x/runs/last/{singular}")).await.expect_error(404, "record-not-found");
        server.get(&format!("/v2/actor-runs/aaaaaaaaaaaaaaaaa/{singular}")).await.expect_error(404, "record-not-found");
    }
}

#[tokio::test]
async fn data_written_under_one_address_is_read_under_the_others() {
    let server = TestServer::start().await;
    let run = server.engine.run().await;
    let actor = &server.engine.actor.id;

    let last = format!("/v2/actors/{actor}/runs/last");
    let by_run = format!("/v2/actor-runs/{}", run.id);
    server.post(&format!("{last}/dataset/items")).json(json!([{"a": 1}])).await.expect(201);
    let items = server.get(&format!("{by_run}/dataset/items?status=READY&origin=API")).await.expect(200);
    assert_eq!(items.json(), json!([{"a": 1}]));
    assert_eq!(items.header("x-apify-pagination-total"), "1");

    server.put(&format!("{by_run}/key-value-store/records/K")).body("v").await.expect(201);
    assert_eq!(server.get(&format!("{last}/key-value-store/records/K")).await.expect(200).text(), "v");
    server.head(&format!("{last}/key-value-store/records/K")).await.expect(200);

    let request = json!({"uniqueKey": "k4", "url": "http://x"});
    server.post(&format!("{last}/request-queue/requests")).json(request).await.expect(201);
    let head = server.post(&format!("{by_run}/request-queue/head/lock?lockSecs=60")).await.expect(201).data();
    assert_eq!(head["items"][0]["id"], "lAkd1kohlCFLxtF");
    server.delete(&format!("{last}/request-queue/requests/lAkd1kohlCFLxtF/lock?clientKey=other")).await.expect(403);
}

#[tokio::test]
async fn schemas_of_new_storages_are_checked_and_shown() {
    let server = TestServer::start().await;
    let schema = json!({"actorSpecification": 1, "fields": {}, "views": {}});

    let made = server.post("/v2/datasets?name=a").json(json!({"schema": schema})).await.expect(201).data();
    assert_eq!(made["schema"], schema);
    let same =
        server.post("/v2/datasets?name=a").json(json!({"schema": {"views": {"x": {}}}})).await.expect(200).data();
    assert_eq!(same["schema"], schema);
    let list = server.get("/v2/datasets").await.expect(200).data();
    assert!(list["items"][0].get("schema").is_none());

    for wrong in [json!(5), json!([]), json!({"fields": 5}), json!({"views": []})] {
        let ask = server.post("/v2/datasets").json(json!({"schema": wrong}));
        let reply = ask.await.expect(400).json();
        assert!(
            ["dataset-schema-invalid", "invalid-request"].contains(&reply["error"]["type"].as_str().unwrap()),
            "{reply}"
        );
    }
    let wrong = json!({"schema": {"actorKeyValueStoreSchemaVersion": 1, "collections": {"a": {}}}});
    server.post("/v2/key-value-stores").json(wrong).await.expect_error(400, "store-schema-invalid");
}
