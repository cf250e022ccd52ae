//! Who may read and change storages (storages, section 10; platform, AUTH-5 to AUTH-13).

use std::time::Duration;

use model::{StorageId, signature};
use serde_json::{Value, json};

use crate::harness::TestServer;

const DATASET_REFUSED: &str = "Insufficient permissions for the dataset. Make sure you're passing a correct API token and that it has the required permissions.";
const STORE_REFUSED: &str = "Insufficient permissions for the key-value store. Make sure you're passing a correct API token and that it has the required permissions.";

#[tokio::test]
async fn a_restricted_storage_is_refused_in_the_words_that_callers_match() {
    let server = TestServer::start().await;
    let bob = server.given_user("bob").await;
    let dataset = server.given("datasets").await;
    let store = server.given("key-value-stores").await;
    let queue = server.given("request-queues").await;

    for (path, message) in [
        (format!("/v2/datasets/{dataset}"), DATASET_REFUSED),
        (format!("/v2/datasets/{dataset}/items"), DATASET_REFUSED),
        (format!("/v2/datasets/{dataset}/statistics"), DATASET_REFUSED),
        (format!("/v2/key-value-stores/{store}"), STORE_REFUSED),
        (format!("/v2/key-value-stores/{store}/keys"), STORE_REFUSED),
        (format!("/v2/key-value-stores/{store}/records"), STORE_REFUSED),
        (format!("/v2/key-value-stores/{store}/records/x"), STORE_REFUSED),
    ] {
        assert_eq!(server.get(&path).token(&bob).await.expect_error(403, "insufficient-permissions"), message);
        assert_eq!(server.get(&path).anonymous().await.expect_error(403, "insufficient-permissions"), message);
        let ask = server.get(&format!("{path}?signature=wrong")).anonymous();
        assert_eq!(ask.await.expect_error(403, "insufficient-permissions"), message);
        server.get(&format!("{path}?signature=wrong")).await.expect_owner();
    }
    let path = format!("/v2/request-queues/{queue}/head");
    server.get(&path).token(&bob).await.expect_error(403, "insufficient-permissions");
}

trait ExpectOwner {
    fn expect_owner(self);
}

impl ExpectOwner for crate::harness::Reply {
    /// Whatever it is, it is not a refusal.
    #[track_caller]
    fn expect_owner(self) {
        assert!(matches!(self.status.as_u16(), 200 | 404), "{self:?}");
    }
}

#[tokio::test]
async fn writing_needs_the_token_of_the_owner() {
    let server = TestServer::start().await;
    let bob = server.given_user("bob").await;
    let dataset = server.given("datasets").await;
    let store = server.given("key-value-stores").await;
    let queue = server.given("request-queues").await;
    let open = json!({"generalAccess": "ANYONE_WITH_ID_CAN_READ"});

    for (plural, id) in [("datasets", &dataset), ("key-value-stores", &store), ("request-queues", &queue)] {
        server.put(&format!("/v2/{plural}/{id}")).json(open.clone()).await.expect(200);
        server.get(&format!("/v2/{plural}/{id}")).anonymous().await.expect(200);
    }
    for (method, path) in [
        ("PUT", format!("/v2/datasets/{dataset}")),
        ("DELETE", format!("/v2/datasets/{dataset}")),
        ("POST", format!("/v2/datasets/{dataset}/items")),
        ("PUT", format!("/v2/key-value-stores/{store}/records/x")),
        ("POST", format!("/v2/key-value-stores/{store}/records/x")),
        ("DELETE", format!("/v2/key-value-stores/{store}/records/x")),
        ("POST", format!("/v2/request-queues/{queue}/requests")),
        ("POST", format!("/v2/request-queues/{queue}/requests/batch")),
        ("DELETE", format!("/v2/request-queues/{queue}/requests/batch")),
        ("POST", format!("/v2/request-queues/{queue}/requests/unlock")),
        ("PUT", format!("/v2/request-queues/{queue}/requests/lAkd1kohlCFLxtF")),
        ("DELETE", format!("/v2/request-queues/{queue}/requests/lAkd1kohlCFLxtF")),
        ("PUT", format!("/v2/request-queues/{queue}/requests/lAkd1kohlCFLxtF/lock?lockSecs=1")),
        ("DELETE", format!("/v2/request-queues/{queue}/requests/lAkd1kohlCFLxtF/lock")),
        ("POST", format!("/v2/request-queues/{queue}/head/lock?lockSecs=1")),
    ] {
        let ask = |path: &str| server.ask(method.parse().unwrap(), path);
        ask(&path).anonymous().await.expect_error(401, "token-not-provided");
        ask(&path).token(&bob).await.expect_error(403, "insufficient-permissions");
    }
    for plural in ["datasets", "key-value-stores", "request-queues"] {
        server.get(&format!("/v2/{plural}")).anonymous().await.expect_error(401, "token-not-provided");
        server.post(&format!("/v2/{plural}")).anonymous().await.expect_error(401, "token-not-provided");
    }
}

#[tokio::test]
async fn levels_open_by_id_or_by_name() {
    let server = TestServer::start().await;
    let bob = server.given_user("bob").await;
    let id = server.post("/v2/datasets?name=shared").await.expect(201).data()["id"].as_str().unwrap().to_owned();

    for (level, by_id, by_name) in [
        ("RESTRICTED", 403, 403),
        ("FOLLOW_USER_SETTING", 403, 403),
        ("ANYONE_WITH_ID_CAN_READ", 200, 403),
        ("ANYONE_WITH_NAME_CAN_READ", 200, 200),
    ] {
        server.put(&format!("/v2/datasets/{id}")).json(json!({"generalAccess": level})).await.expect(200);

        server.get(&format!("/v2/datasets/{id}")).anonymous().await.expect(by_id);
        server.get(&format!("/v2/datasets/{id}/items")).token(&bob).await.expect(by_id);
        server.get("/v2/datasets/ada~shared").anonymous().await.expect(by_name);
        server.get("/v2/datasets/ada~shared/items").token(&bob).await.expect(by_name);
        server.get("/v2/datasets/~shared").anonymous().await.expect_error(401, "token-not-provided");
        server.get("/v2/datasets/~shared").token(&bob).await.expect_error(404, "record-not-found");
    }
}

#[tokio::test]
async fn the_key_of_signatures_is_shown_to_the_owner_only() {
    let server = TestServer::start().await;
    let id = server.given("key-value-stores").await;
    let path = format!("/v2/key-value-stores/{id}");
    server.put(&path).json(json!({"generalAccess": "ANYONE_WITH_ID_CAN_READ"})).await.expect(200);

    let own = server.get(&path).await.expect(200).data();
    assert!(own["urlSigningSecretKey"].as_str().unwrap().len() >= 32);
    let other = server.get(&path).anonymous().await.expect(200).data();
    assert!(other.get("urlSigningSecretKey").is_none());
    assert_eq!(other["keysPublicUrl"], format!("http://localhost:3333/v2/key-value-stores/{id}/keys"));
}

#[tokio::test(start_paused = true)]
async fn signatures_open_what_they_sign_for_two_weeks() {
    let server = TestServer::start().await;
    let bob = server.given_user("bob").await;
    let dataset = server.given_items(json!([{"a": 1}])).await;
    let store = server.given("key-value-stores").await;
    server.put(&format!("/v2/key-value-stores/{store}/records/K")).body("v").await.expect(201);
    let local = |url: &Value| url.as_str().unwrap().strip_prefix("http://localhost:3333").unwrap().to_owned();

    let object = server.get(&format!("/v2/datasets/{dataset}")).await.data();
    let items = local(&object["itemsPublicUrl"]);
    let object = server.get(&format!("/v2/key-value-stores/{store}")).await.data();
    let (keys, records) = (local(&object["keysPublicUrl"]), local(&object["recordsPublicUrl"]));
    for path in [&items, &keys, &records] {
        assert!(path.contains("?signature="), "{path}");
        server.get(path).anonymous().await.expect(200);
        server.get(path).token(&bob).await.expect(200);
        server.get(&path.replace("signature=", "signature=A")).anonymous().await.expect(403);
    }
    server.head(&format!("{items}&format=jsonl&clean=1")).anonymous().await.expect(200);
    // The content's signature does not open a record, but the list carries what does.
    let signature = keys.split("signature=").nth(1).unwrap();
    let record = format!("/v2/key-value-stores/{store}/records/K");
    server.get(&format!("{record}?signature={signature}")).anonymous().await.expect(403);
    let listed = server.get(&keys).anonymous().await.data();
    let record = local(&listed["items"][0]["recordPublicUrl"]);
    assert_eq!(server.get(&record).anonymous().await.expect(200).text(), "v");
    server.get(&record.replace("/K?", "/L?")).anonymous().await.expect(403);

    tokio::time::sleep(Duration::from_secs(14 * 24 * 3600 + 1)).await;
    server.get(&items).anonymous().await.expect(403);
    server.get(&record).anonymous().await.expect(200);
}

#[tokio::test]
async fn signatures_of_the_clients_are_accepted_with_padding_and_without() {
    let server = TestServer::start().await;
    let id = server.given("datasets").await;
    let secret = server.get(&format!("/v2/datasets/{id}")).await.data()["urlSigningSecretKey"].clone();
    let signature = signature::sign_content(secret.as_str().unwrap(), &StorageId::parse(&id).unwrap(), None);

    for padding in ["", "%3D", "%3D%3D"] {
        let path = format!("/v2/datasets/{id}/items?signature={signature}{padding}");
        server.get(&path).anonymous().await.expect(200);
    }
    server.post(&format!("/v2/datasets/{id}/items?signature={signature}")).anonymous().await.expect(401);
}

#[tokio::test]
async fn the_storages_of_a_run_follow_the_run() {
    let server = TestServer::start().await;
    let bob = server.given_user("bob").await;
    let run = server.engine.run().await;
    let (by_run, by_id) =
        (format!("/v2/actor-runs/{}/dataset", run.id), format!("/v2/datasets/{}", run.storages.dataset));
    let restrict = |level| {
        let change = Box::new(move |run: &mut model::Run| {
            run.general_access = level;
            true
        });
        server.engine.engine.store().runs.modify(&run.id, change)
    };

    // Runs are open by default.
    for path in [&by_run, &by_id] {
        server.get(path).anonymous().await.expect(200);
        server.get(path).token(&bob).await.expect(200);
    }
    server.delete(&by_run).token(&bob).await.expect_error(403, "insufficient-permissions");

    restrict(model::GeneralAccess::Restricted).await.unwrap();
    server.get(&by_run).anonymous().await.expect_error(404, "record-or-token-not-found");
    server.get(&by_run).token(&bob).await.expect_error(404, "record-not-found");
    server.delete(&by_run).token(&bob).await.expect_error(404, "record-not-found");
    server.get(&by_id).anonymous().await.expect_error(403, "insufficient-permissions");
    server.get(&by_run).await.expect(200);

    // An open storage is read by its id, but not at the address of a run that is not.
    server.put(&by_id).json(json!({"generalAccess": "ANYONE_WITH_ID_CAN_READ"})).await.expect(200);
    server.get(&by_id).anonymous().await.expect(200);
    server.get(&by_run).anonymous().await.expect_error(404, "record-or-token-not-found");

    // And a restricted one is not read at the address of a run that is open.
    restrict(model::GeneralAccess::AnyoneWithIdCanRead).await.unwrap();
    server.put(&by_id).json(json!({"generalAccess": "RESTRICTED"})).await.expect(200);
    server.get(&by_run).anonymous().await.expect_error(403, "insufficient-permissions");
    let secret = server.get(&by_id).await.data()["urlSigningSecretKey"].clone();
    let signature = signature::sign_content(secret.as_str().unwrap(), &run.storages.dataset, None);
    server.get(&format!("{by_run}/items?signature={signature}")).anonymous().await.expect(200);
}

#[tokio::test]
async fn what_a_run_makes_and_uses_is_its_own_and_metered() {
    let server = TestServer::start().await;
    let run = server.engine.running(Default::default()).await;
    let token = server.run_token(&run.id);

    let made = server.post("/v2/datasets").token(&token).await.expect(201).data();
    assert_eq!(made["actRunId"], run.id.to_string());
    assert_eq!(made["actId"], run.actor_id.to_string());
    let id = made["id"].as_str().unwrap();
    server.post(&format!("/v2/datasets/{id}/items")).token(&token).json(json!([{}, {}, {}])).await.expect(201);
    server.get(&format!("/v2/datasets/{id}/items?limit=2")).token(&token).await.expect(200);
    let record = format!("/v2/key-value-stores/{}/records/K", run.storages.key_value_store);
    server.put(&record).token(&token).body("v").await.expect(201);
    server.get(&record).token(&token).await.expect(200);
    server.get(&record).await.expect(200);
    server.delete(&record).token(&token).await.expect(204);
    let queue = format!("/v2/request-queues/{}", run.storages.request_queue);
    server.get(&format!("/v2/key-value-stores/{}/keys", run.storages.key_value_store)).token(&token).await.expect(200);
    let requests = json!([{"uniqueKey": "a", "url": "a"}, {"uniqueKey": "b", "url": "b"}]);
    server.post(&format!("{queue}/requests/batch")).token(&token).json(requests).await.expect(201);
    server.post(&format!("{queue}/head/lock?lockSecs=60&limit=1")).token(&token).await.expect(201);
    server.get(&format!("{queue}/requests")).token(&token).await.expect(200);

    server.engine.exit(&run.id, 0);
    let usage = server.engine.ended(&run.id).await.usage;
    assert_eq!((usage.dataset_writes, usage.dataset_reads), (3, 2));
    assert_eq!((usage.key_value_store_writes, usage.key_value_store_reads, usage.key_value_store_lists), (2, 1, 1));
    assert_eq!((usage.request_queue_writes, usage.request_queue_reads), (3, 2));
    assert!(usage.data_transfer_internal_gbytes > 0.0);
}
