//! What can be done to a run (sections 11 and 12 of the contract).

use serde_json::json;

use crate::harness::TestServer;
use crate::platform::{ACTOR, id, insist, run_id, secs};

#[tokio::test(start_paused = true)]
async fn a_run_is_aborted_at_once_or_with_time_to_clean_up() {
    let server = TestServer::start().await;
    let run = server.given_running().await;
    let abort = format!("/v2/actor-runs/{run}/abort");

    let asked = server.post(&format!("{abort}?gracefully=1")).await.expect(200).data();
    assert_eq!(asked["status"], "ABORTING");
    let now = server.post(&format!("{abort}?gracefully=0")).await.expect(200).data();
    assert_eq!(now["status"], "ABORTED", "the second call kills");
    server.delete(&format!("/v2/actor-runs/{run}")).await.expect(204);

    let run = server.given_running().await;
    let aborted = server.post(&format!("{ACTOR}/runs/{run}/abort")).await.expect(200).data();
    assert_eq!(aborted["status"], "ABORTED");
    let again = server.post(&format!("/v2/actor-runs/{run}/abort")).await.expect(200).data();
    assert_eq!(again, aborted, "a late abort changes nothing");
    server.post(&format!("/v2/actor-runs/{run}/abort?gracefully=x")).await.expect_error(400, "invalid-request");
    server.post("/v2/actor-runs/aB3aB3aB3aB3aB3aB/abort").await.expect_error(404, "record-not-found");
}

#[tokio::test(start_paused = true)]
async fn a_finished_run_is_resurrected_with_other_options() {
    let server = TestServer::start().await;
    let run = server.given_finished().await;

    let url = format!("/v2/actor-runs/{run}/resurrect?timeout=99&memory=256&restartOnError=1");
    let back = server.post(&url).await.expect(200).data();
    assert!(back["status"] == "READY" || back["status"] == "RUNNING", "{}", back["status"]);
    assert_eq!((id(&back), &back["finishedAt"], &back["exitCode"]), (run.clone(), &json!(null), &json!(null)));
    assert_eq!((&back["options"]["timeoutSecs"], &back["options"]["memoryMbytes"]), (&json!(99), &json!(256)));
    assert_eq!(back["stats"]["resurrectCount"], 1);
    server.running(&run, 2).await;
    server.post(&url).await.expect_error(400, "invalid-request");
    server.end(&run, 0).await;
    server.post(&format!("{ACTOR}/runs/{run}/resurrect")).await.expect(200);
    server.post(&format!("{ACTOR}/runs/last/resurrect")).await.expect_error(404, "record-not-found");
}

#[tokio::test(start_paused = true)]
async fn a_running_run_is_rebooted_and_a_finished_one_is_not() {
    let server = TestServer::start().await;
    let run = server.given_running().await;

    let rebooted = server.post(&format!("{ACTOR}/runs/last/reboot")).await.expect(200).data();
    assert_eq!((&rebooted["status"], &rebooted["stats"]["rebootCount"]), (&json!("RUNNING"), &json!(1)));
    server.running(&run, 2).await;
    server.end(&run, 0).await;
    for operation in ["reboot", "metamorph?targetActorId=~my-actor"] {
        let message = server.post(&format!("/v2/actor-runs/{run}/{operation}")).await.expect_error(403, "job-finished");
        assert!(message.contains("already finished"), "{message}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_migrates_on_demand() {
    let server = TestServer::start().await;
    let run = server.given_running().await;
    let url = format!("/v2/actor-runs/{run}/x-migrate");

    let migrating = server.post(&url).await.expect(200).data();
    assert_eq!((&migrating["status"], &migrating["stats"]["migrationCount"]), (&json!("RUNNING"), &json!(1)));
    server.running(&run, 2).await;

    server.end(&run, 0).await;
    server.post(&url).await.expect_error(403, "job-finished");
}

#[tokio::test(start_paused = true)]
async fn a_run_becomes_one_of_another_actor_with_a_new_input() {
    let server = TestServer::start().await;
    let engine = &server.engine.engine;
    let other = engine.give_actor(&server.engine.ada.user, "other").await;
    let run = server.given_running().await;
    let url = format!("/v2/actor-runs/{run}/metamorph");

    server.post(&url).await.expect_error(400, "parameter-required");
    server.post(&format!("{url}?targetActorId=ada~nothing")).await.expect_error(404, "record-not-found");
    server.post(&format!("{url}?targetActorId=ada~other&build=nothing")).await.expect_error(404, "record-not-found");
    let changed = server.post(&format!("{url}?targetActorId=ada~other&build=latest")).json(json!({ "b": 2 })).await;
    let changed = changed.expect(200).data();
    assert_eq!((id(&changed), &changed["actId"]), (run.clone(), &json!(other.id)));
    assert_eq!(changed["stats"]["metamorph"], 1);
    insist(&changed["metamorphs"][0], &["createdAt", "actorId", "buildId", "inputKey"]);
    let store = changed["defaultKeyValueStoreId"].as_str().unwrap();
    let input = server.get(&format!("/v2/key-value-stores/{store}/records/INPUT-METAMORPH-1")).await.expect(200);
    assert_eq!(input.json(), json!({ "b": 2 }));
    let spec = server.engine.driver.started_life(&run, 2).await;
    assert_eq!(spec.env["ACTOR_INPUT_KEY"], "INPUT-METAMORPH-1");
}

#[tokio::test(start_paused = true)]
async fn a_run_tells_its_status_also_after_its_end() {
    let server = TestServer::start().await;
    let run = server.given_running().await;
    let token = server.token_of(&run).await;
    let url = format!("/v2/actor-runs/{run}");

    let body = json!({ "statusMessage": "Crawled 1", "level": "INFO", "runId": run });
    let told = server.put(&url).token(&token).json(body).await.expect(200).data();
    assert_eq!((&told["statusMessage"], &told["status"]), (&json!("Crawled 1"), &json!("RUNNING")));
    server.end(&run, 0).await;
    let body = json!({ "statusMessage": "Done", "isStatusMessageTerminal": true });
    let told = server.put(&url).token(&token).json(body).await.expect(200).data();
    assert_eq!((&told["statusMessage"], &told["isStatusMessageTerminal"]), (&json!("Done"), &json!(true)));
    let told = server.put(&url).json(json!({ "generalAccess": "ANYONE_WITH_ID_CAN_READ" })).await.expect(200).data();
    assert_eq!((&told["generalAccess"], &told["statusMessage"]), (&json!("ANYONE_WITH_ID_CAN_READ"), &json!("Done")));
    server.put(&url).await.expect(200);

    server
        .put(&url)
        .json(json!({ "generalAccess": "ANYONE_WITH_NAME_CAN_READ" }))
        .await
        .expect_error(400, "invalid-value");
    server.put(&url).json(json!({ "generalAccess": "X" })).await.expect_error(400, "invalid-request");
    server.put(&url).json(json!({ "statusMessage": 1 })).await.expect_error(400, "invalid-request");
    server.put(&url).json(json!({ "runId": "other" })).await.expect_error(400, "id-does-not-match");
    tokio::time::sleep(secs(61)).await;
    server.put(&url).token(&token).json(json!({})).await.expect_error(401, "user-or-token-not-found");
}

#[tokio::test(start_paused = true)]
async fn a_finished_run_is_deleted_with_its_storages() {
    let server = TestServer::start().await;
    let run = server.given_running().await;
    let url = format!("/v2/actor-runs/{run}");
    let message = server.delete(&url).await.expect_error(400, "cannot-remove-running-run");
    assert_eq!(message, "It is not possible to delete a run that has not finished yet.");
    server.end(&run, 0).await;
    let dataset = server.get(&url).await.expect(200).data()["defaultDatasetId"].as_str().unwrap().to_owned();

    server.delete(&url).await.expect(204);
    server.get(&url).await.expect_error(404, "record-not-found");
    server.delete(&url).await.expect_error(404, "record-not-found");
    server.get(&format!("/v2/logs/{run}")).await.expect_error(404, "record-not-found");
    server.get(&format!("/v2/datasets/{dataset}")).await.expect_error(404, "record-not-found");
}

#[tokio::test(start_paused = true)]
async fn a_run_charges_events_with_its_own_token_and_once_for_each_key() {
    let server = TestServer::start().await;
    let pricing = json!({ "pricingInfos": [{
        "pricingModel": "PAY_PER_EVENT",
        "apifyMarginPercentage": 0.2,
        "pricingPerEvent": { "actorChargeEvents": {
            "page": { "eventTitle": "Page", "eventDescription": "One page", "eventPriceUsd": 0.25 },
        } },
    }] });
    server.put(ACTOR).json(pricing).await.expect(200);
    let run = server.given_running().await;
    let token = server.token_of(&run).await;
    let url = format!("/v2/actor-runs/{run}/charge");
    let charge = |key: &str, body| server.post(&url).token(&token).header("idempotency-key", key).json(body);

    let charged = charge("a", json!({ "eventName": "page", "count": 2 })).await.expect(201);
    assert_eq!(charged.json(), json!({}), "no envelope");
    charge("a", json!({ "eventName": "page", "count": 2 })).await.expect(201);
    charge("b", json!({ "eventName": "page" })).await.expect(201);
    let seen = server.get(&format!("/v2/actor-runs/{run}")).await.expect(200).data();
    assert_eq!(seen["chargedEventCounts"], json!({ "page": 3 }));
    insist(&seen["pricingInfo"], &["pricingModel", "apifyMarginPercentage", "createdAt", "startedAt"]);
    assert!(seen["usageTotalUsd"].as_f64().unwrap() >= 0.75);
    let bob = server.given_user("bob").await;
    let seen = server.get(&format!("/v2/actor-runs/{run}")).token(&bob).await.expect(200).data();
    assert_eq!((&seen["usageTotalUsd"], seen.get("usageUsd")), (&json!(0.75), None));

    for (key, body, status, kind) in [
        ("c", json!({ "eventName": "apify-x" }), 405, "cannot-charge-apify-event"),
        (" ", json!({ "eventName": "apify-x", "count": 0 }), 405, "cannot-charge-apify-event"),
        ("c", json!({ "eventName": "nothing" }), 404, "record-not-found"),
        ("c", json!({ "eventName": "page", "count": 0 }), 400, "invalid-request"),
        ("c", json!({ "eventName": "page", "count": 1.5 }), 400, "invalid-request"),
        ("c", json!({ "eventName": "page", "count": 10_000_001 }), 400, "invalid-request"),
        ("c", json!({ "eventName": "page", "count": "1" }), 400, "invalid-request"),
        ("c", json!({ "eventName": " " }), 400, "invalid-request"),
        ("c", json!({}), 400, "invalid-request"),
        (" ", json!({ "eventName": "page" }), 400, "invalid-request"),
    ] {
        charge(key, body).await.expect_error(status, kind);
    }
    let without_key = server.post(&url).token(&token).json(json!({ "eventName": "page" })).await;
    without_key.expect_error(400, "invalid-request");
    let by_owner = server.post(&url).header("idempotency-key", "d").json(json!({ "eventName": "page" })).await;
    by_owner.expect_error(403, "insufficient-permissions");
    server.end(&run, 0).await;
    charge("late", json!({ "eventName": "page" })).await.expect(201);
}

#[tokio::test(start_paused = true)]
async fn a_run_without_prices_cannot_charge() {
    let server = TestServer::start().await;
    let run = server.given_running().await;
    let token = server.token_of(&run).await;
    let url = format!("/v2/actor-runs/{run}/charge");

    let charge =
        server.post(&url).token(&token).header("idempotency-key", "a").json(json!({ "eventName": "page" })).await;
    charge.expect_error(400, "cannot-charge-non-pay-per-event-actor");
    assert!(server.engine.stored(&run_id(&run)).await.charged_event_counts.is_empty());
}
