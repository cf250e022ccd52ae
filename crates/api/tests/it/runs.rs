//! Runs: started, shown, listed (sections 8 to 10 of the contract).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::harness::TestServer;
use crate::platform::{ACTOR, id, insist, run_id, secs};

/// What the Python client demands of a run (`VAL-4`).
const REQUIRED: [&str; 18] = [
    "id",
    "actId",
    "userId",
    "startedAt",
    "status",
    "meta.origin",
    "stats",
    "options.build",
    "options.timeoutSecs",
    "options.memoryMbytes",
    "options.diskMbytes",
    "buildId",
    "buildNumber",
    "generalAccess",
    "containerUrl",
    "defaultKeyValueStoreId",
    "defaultDatasetId",
    "defaultRequestQueueId",
];

#[tokio::test(start_paused = true)]
async fn a_run_starts_at_once_with_everything_that_clients_need() {
    let server = TestServer::start().await;

    let started = server.post(&format!("{ACTOR}/runs")).json(json!({ "a": 1 })).await.expect(201);
    let run = started.data();
    assert!(started.header("location").ends_with(&format!("/v2/actor-runs/{}", id(&run))));
    insist(&run, &REQUIRED);
    assert_eq!((&run["status"], &run["generalAccess"]), (&json!("READY"), &json!("FOLLOW_USER_SETTING")));
    assert_eq!((&run["options"]["build"], &run["buildNumber"]), (&json!("latest"), &json!("0.0.1")));
    assert_eq!((&run["finishedAt"], &run["exitCode"]), (&json!(null), &json!(null)));
    assert_eq!((run.get("pricingInfo"), run.get("chargedEventCounts")), (None, None), "presence means prices");
    assert_eq!(run["stats"]["inputBodyLen"], 7);
    assert_eq!(run["storageIds"]["datasets"]["default"], run["defaultDatasetId"]);
    assert_eq!((&run["meta"]["origin"], &run["meta"]["clientIp"]), (&json!("API"), &json!("127.0.0.1")));
    assert!(run["usageTotalUsd"].is_number() && run["usageUsd"].is_object() && run["usage"].is_object());

    let input = format!("/v2/key-value-stores/{}/records/INPUT", run["defaultKeyValueStoreId"].as_str().unwrap());
    assert_eq!(server.get(&input).await.expect(200).json(), json!({ "a": 1 }));
    let stats = server.get(ACTOR).await.expect(200).data()["stats"].clone();
    assert_eq!((&stats["totalRuns"], &stats["lastRunStartedAt"]), (&json!(1), &run["startedAt"]));
}

#[tokio::test(start_paused = true)]
async fn options_come_from_the_query_and_then_from_the_actor() {
    let server = TestServer::start().await;
    let query = "timeout=0&memory=512&build=0.0.1&maxItems=3&maxTotalChargeUsd=0.5&restartOnError=true&webhooks=";
    let webhook = json!([{ "eventTypes": ["ACTOR.RUN.SUCCEEDED"], "requestUrl": "https://example.com/" }]);
    let webhooks = STANDARD.encode(webhook.to_string()).replace('+', "%2B").replace('=', "%3D");

    let run = server.post(&format!("{ACTOR}/runs?{query}{webhooks}")).await.expect(201).data();
    assert_eq!(
        run["options"],
        json!({ "build": "0.0.1", "timeoutSecs": 0, "memoryMbytes": 512, "diskMbytes": 1024, "maxItems": 3,
                "maxTotalChargeUsd": 0.5, "restartOnError": true })
    );
    let options = json!({ "timeoutSecs": 77, "memoryMbytes": 256 });
    server.put(ACTOR).json(json!({ "defaultRunOptions": options })).await.expect(200);
    let run = server.post(&format!("{ACTOR}/runs")).await.expect(201).data();
    assert_eq!((&run["options"]["timeoutSecs"], &run["options"]["memoryMbytes"]), (&json!(77), &json!(256)));
}

#[tokio::test(start_paused = true)]
async fn a_start_that_cannot_be_is_refused_and_no_run_is_there() {
    let server = TestServer::start().await;
    for (query, status, kind) in [
        ("memory=100", 400, "invalid-request"),
        ("memory=65536", 400, "invalid-request"),
        ("memory=much", 400, "invalid-request"),
        ("timeout=-1", 400, "invalid-request"),
        ("maxItems=0", 400, "max-items-must-be-greater-than-zero"),
        ("maxTotalChargeUsd=-1", 400, "max-total-charge-usd-must-be-greater-than-zero"),
        ("webhooks=%7B%7D", 400, "invalid-request"),
        ("restartOnError=maybe", 400, "invalid-request"),
        ("forcePermissionLevel=ALL", 400, "invalid-request"),
        ("build=nothing", 404, "record-not-found"),
        ("build=0.0.9", 404, "record-not-found"),
    ] {
        server.post(&format!("{ACTOR}/runs?{query}")).await.expect_error(status, kind);
    }
    server.post("/v2/actors/nothing/runs").await.expect_error(404, "record-not-found");
    server.post(&format!("{ACTOR}/runs")).anonymous().await.expect_error(401, "token-not-provided");
    server.post(&format!("{ACTOR}/runs")).token("x").await.expect_error(401, "user-or-token-not-found");
    server.put(&format!("{ACTOR}/runs")).await.expect_error(405, "method-not-allowed");
    assert_eq!(server.get("/v2/actor-runs").await.expect(200).data()["total"], 0);
}

#[tokio::test(start_paused = true)]
async fn the_origin_is_the_callers_word_or_the_kind_of_its_token() {
    let server = TestServer::start().await;
    let outer = server.given_running().await;
    let token = server.token_of(&outer).await;
    let url = format!("{ACTOR}/runs");
    let origin = |run: Value| run["meta"]["origin"].clone();

    let by_cli = server.post(&url).header("x-apify-request-origin", "CLI").await.expect(201).data();
    let by_nonsense = server.post(&url).header("x-apify-request-origin", "NONSENSE").await.expect(201).data();
    let by_run = server.post(&url).token(&token).await.expect(201).data();

    assert_eq!((origin(by_cli), origin(by_nonsense), origin(by_run)), (json!("CLI"), json!("API"), json!("ACTOR")));
}

#[tokio::test(start_paused = true)]
async fn waiting_wakes_at_once_when_the_run_ends_and_never_waits_longer_than_a_minute() {
    let server = TestServer::start().await;
    let run = server.given_running().await;
    let url = format!("/v2/actor-runs/{run}");
    let waited = async |query: &str| {
        let start = Instant::now();
        let run = server.get(&format!("{url}?waitForFinish={query}")).await.expect(200).data();
        (run["status"].as_str().unwrap().to_owned(), start.elapsed().as_secs())
    };
    for (query, expected) in [("0", 0), ("5", 5), ("999999", 60), ("soon", 0), ("", 0), ("-3", 0)] {
        assert_eq!(waited(query).await, ("RUNNING".to_owned(), expected), "{query}");
    }

    let finish = async {
        tokio::time::sleep(secs(7)).await;
        server.engine.exit(&run_id(&run), 0);
    };
    let (by_one, by_other, ()) = tokio::join!(waited("60"), waited("999999"), finish);
    assert_eq!((by_one.clone(), by_other), (("SUCCEEDED".to_owned(), 7), by_one));
    assert_eq!(waited("60").await.1, 0, "nothing to wait for");

    let start = Instant::now();
    let slow = server.post(&format!("{ACTOR}/runs?waitForFinish=2")).await.expect(201).data();
    assert_eq!((&slow["status"], start.elapsed().as_secs()), (&json!("RUNNING"), 2));
}

#[tokio::test(start_paused = true)]
async fn a_run_has_the_same_answer_under_all_of_its_addresses() {
    let server = TestServer::start().await;
    let run = server.given_finished().await;
    let actor = id(&server.get(ACTOR).await.expect(200).data());
    let shown = server.get(&format!("/v2/actor-runs/{run}")).await.expect(200).data();
    insist(&shown, &REQUIRED);
    insist(&shown, &["finishedAt", "exitCode", "statusMessage", "usage.ACTOR_COMPUTE_UNITS", "stats.computeUnits"]);

    for url in [
        format!("{ACTOR}/runs/{run}"),
        format!("/v2/acts/{actor}/runs/{run}"),
        format!("{ACTOR}/runs/last"),
        format!("{ACTOR}/runs/last?status=SUCCEEDED&origin=API"),
    ] {
        assert_eq!(server.get(&url).await.expect(200).data(), shown, "{url}");
    }
    server.post("/v2/actors").json(json!({ "name": "other" })).await.expect(201);
    server.get(&format!("/v2/actors/~other/runs/{run}")).await.expect_error(404, "record-not-found");
    server.put(&format!("{ACTOR}/runs/last")).json(json!({})).await.expect_error(405, "method-not-allowed");
}

#[tokio::test(start_paused = true)]
async fn the_last_run_is_the_newest_that_matches() {
    let server = TestServer::start().await;
    let last = format!("{ACTOR}/runs/last");
    server.get(&last).await.expect_error(404, "record-not-found");
    let first = server.given_finished().await;
    tokio::time::sleep(secs(1)).await;
    let second = server.given_running().await;

    assert_eq!(id(&server.get(&last).await.expect(200).data()), second);
    assert_eq!(id(&server.get(&format!("{last}?status=SUCCEEDED")).await.expect(200).data()), first);
    server.get(&format!("{last}?status=FAILED")).await.expect_error(404, "record-not-found");
    server.get(&format!("{last}?origin=CLI")).await.expect_error(404, "record-not-found");
    let status = server.get("/v2/actors/nothing/runs/last?status=FINISHED").await.expect_error(400, "invalid-request");
    let origin = server.get(&format!("{last}?origin=MARS")).await.expect_error(400, "invalid-request");
    assert_eq!(
        (status.as_str(), origin.as_str()),
        ("Status parameter has an invalid value", "Origin parameter has an invalid value")
    );
    server.get(&last).anonymous().await.expect_error(401, "token-not-provided");

    let aborted = server.post(&format!("{last}/abort?status=RUNNING")).await.expect(200).data();
    assert_eq!((id(&aborted), &aborted["status"]), (second, &json!("ABORTED")));
    server.get(&format!("{last}/dataset/items?status=SUCCEEDED&format=json")).await.expect(200);
    server.get(&format!("{last}/log?status=SUCCEEDED&stream=1")).await.expect(200);
}

#[tokio::test(start_paused = true)]
async fn lists_of_runs_are_filtered_paged_and_in_order() {
    let server = TestServer::start().await;
    let first = server.given_finished().await;
    tokio::time::sleep(secs(10)).await;
    let second = server.given_running().await;
    tokio::time::sleep(secs(10)).await;
    let third = server.given_running().await;
    server.end(&third, 1).await;
    let started = server.get(&format!("/v2/actor-runs/{second}")).await.expect(200).data()["startedAt"].clone();
    let started = started.as_str().unwrap();

    for url in ["/v2/actor-runs".to_owned(), format!("{ACTOR}/runs")] {
        let listed = async |query: &str| -> Vec<String> {
            let list = server.get(&format!("{url}?{query}")).await.expect(200).data();
            insist(&list, &["total", "offset", "limit", "count", "desc", "items"]);
            for item in list["items"].as_array().unwrap() {
                insist(item, &["id", "actId", "status", "startedAt", "buildId", "buildNumber", "meta.origin"]);
                insist(item, &["defaultKeyValueStoreId", "defaultDatasetId", "defaultRequestQueueId"]);
                assert!(item["usageTotalUsd"].is_number());
            }
            list["items"].as_array().unwrap().iter().map(id).collect()
        };
        assert_eq!(listed("").await, [first.clone(), second.clone(), third.clone()]);
        assert_eq!(listed("desc=1&limit=1&offset=1").await, [second.as_str()]);
        assert_eq!(listed("status=SUCCEEDED,FAILED").await, [first.clone(), third.clone()]);
        assert_eq!(listed("status=TIMED-OUT").await, Vec::<String>::new());
        assert_eq!(listed(&format!("startedAfter={started}")).await, [second.clone(), third.clone()]);
        assert_eq!(listed(&format!("startedAfter={started}&startedBefore={started}")).await, [second.as_str()]);
        assert_eq!(listed("startedAfter=2030-01-01&startedBefore=2020-01-01").await, Vec::<String>::new());
        for bad in ["status=FINISHED", "startedAfter=soon", "limit=x", "offset=-1"] {
            server.get(&format!("{url}?{bad}")).await.expect_error(400, "invalid-request");
        }
    }
    let bob = server.given_user("bob").await;
    assert_eq!(server.get("/v2/actor-runs").token(&bob).await.expect(200).data()["total"], 0);
}

#[tokio::test(start_paused = true)]
async fn a_run_is_read_without_a_token_but_not_its_costs() {
    let server = TestServer::start().await;
    let run = server.given_finished().await;
    let url = format!("/v2/actor-runs/{run}");

    let seen = server.get(&url).anonymous().await.expect(200).data();
    insist(&seen, &REQUIRED);
    for hidden in ["usage", "usageUsd", "usageTotalUsd"] {
        assert_eq!(seen.get(hidden), None, "{hidden}");
    }
    assert_eq!((seen["meta"].get("clientIp"), seen["meta"].get("userAgent")), (None, None));
    server.get(&format!("{url}/log")).anonymous().await.expect(200);
    server.get(&format!("/v2/logs/{run}")).anonymous().await.expect(200);
    let bob = server.given_user("bob").await;
    let seen = server.get(&url).token(&bob).await.expect(200).data();
    assert_eq!((seen.get("usageUsd"), seen.get("usageTotalUsd")), (None, None));
    for operation in ["abort", "resurrect", "reboot", "metamorph?targetActorId=x", "charge"] {
        let url = format!("{url}/{operation}");
        server.post(&url).anonymous().await.expect_error(401, "token-not-provided");
        server.post(&url).token(&bob).await.expect_error(404, "record-not-found");
    }

    server.put(&url).json(json!({ "generalAccess": "RESTRICTED" })).await.expect(200);
    for url in [url.clone(), format!("{url}/log"), format!("/v2/logs/{run}")] {
        server.get(&url).anonymous().await.expect_error(404, "record-or-token-not-found");
        server.get(&url).token(&bob).await.expect_error(404, "record-not-found");
        server.get(&url).await.expect(200);
    }
    for unknown in ["x", "aB3aB3aB3aB3aB3aB"] {
        server.get(&format!("/v2/actor-runs/{unknown}")).await.expect_error(404, "record-not-found");
        let anonymous = server.get(&format!("/v2/actor-runs/{unknown}")).anonymous().await;
        anonymous.expect_error(404, "record-or-token-not-found");
    }
}

#[tokio::test(start_paused = true)]
async fn a_synchronous_run_answers_with_its_output() {
    let server = TestServer::start().await;
    // The newest could be the one before, since both may have started at the same time.
    let running = async || server.get("/v2/actor-runs?status=RUNNING").await.expect(200).data()["items"][0].clone();
    let act = async |key: &str, content_type: &str, body: &'static str| {
        let run = loop {
            let run = running().await;
            if !run.is_null() {
                break run;
            }
            tokio::time::sleep(secs(1)).await;
        };
        let store = run["defaultKeyValueStoreId"].as_str().unwrap();
        let record = format!("/v2/key-value-stores/{store}/records/{key}");
        server.put(&record).header("content-type", content_type).body(body).await.expect(201);
        server
            .post(&format!("/v2/actor-runs/{}/dataset/items", id(&run)))
            .json(json!([{ "n": 1 }, { "n": 2 }]))
            .await
            .expect(201);
        server.end(&id(&run), 0).await;
    };

    let url = format!("{ACTOR}/run-sync");
    let post = async { server.post(&url).json(json!({ "x": 1 })).await.expect(201) };
    let (answer, ()) = tokio::join!(post, act("OUTPUT", "text/csv", "a,b"));
    assert_eq!((answer.header("content-type").starts_with("text/csv"), answer.text()), (true, "a,b".to_owned()));

    let url = format!("{ACTOR}/run-sync?outputRecordKey=OTHER");
    let get = async { server.get(&url).await.expect(201) };
    let (answer, ()) = tokio::join!(get, act("OTHER", "application/json", "[1]"));
    assert_eq!(answer.json(), json!([1]));

    let get = async { server.get(&url).await.expect(201) };
    let (answer, ()) = tokio::join!(get, act("SOMETHING", "application/json", "[1]"));
    assert_eq!(answer.text(), "", "no such record is no failure");

    let url = format!("{ACTOR}/run-sync-get-dataset-items?desc=1&limit=1&format=jsonl");
    let post = async { server.post(&url).json(json!({})).await.expect(201) };
    let (answer, ()) = tokio::join!(post, act("OUTPUT", "text/plain", ""));
    assert_eq!((answer.text().trim(), answer.header("x-apify-pagination-total")), ("{\"n\":2}", "2"));
    let get = async { server.get(&url.replace("jsonl", "json")).await.expect(201) };
    let (answer, ()) = tokio::join!(get, act("OUTPUT", "text/plain", ""));
    assert_eq!(answer.json(), json!([{ "n": 2 }]));
}

#[tokio::test(start_paused = true)]
async fn a_synchronous_run_that_fails_or_takes_too_long_is_told_so() {
    let server = TestServer::start().await;
    let running = async || {
        loop {
            let run = server.get("/v2/actor-runs?status=RUNNING").await.expect(200).data()["items"][0].clone();
            if !run.is_null() {
                return id(&run);
            }
            tokio::time::sleep(secs(1)).await;
        }
    };
    for path in ["run-sync", "run-sync-get-dataset-items"] {
        let url = format!("{ACTOR}/{path}");
        let post = async { server.post(&url).await.expect_error(400, "run-failed") };
        let fail = async {
            let run = running().await;
            server.end(&run, 1).await;
            run
        };
        let (message, run) = tokio::join!(post, fail);
        assert_eq!(message, format!("Actor run did not succeed (run ID: {run}, status: FAILED)"));

        let start = Instant::now();
        let message = server.post(&format!("{url}?timeout=0")).await.expect_error(408, "run-timeout-exceeded");
        assert_eq!(message, "Actor run exceeded the timeout of 300 seconds for this API endpoint");
        assert_eq!(start.elapsed().as_secs(), 300);
        server.end(&running().await, 0).await;
        server.post(&format!("{url}?memory=1")).await.expect_error(400, "invalid-request");
    }
    let url = format!("{ACTOR}/run-sync-get-dataset-items?format=nonsense");
    let before = server.get("/v2/actor-runs").await.expect(200).data()["total"].clone();
    server.post(&url).await.expect_error(400, "param-not-one-of");
    assert_eq!(
        server.get("/v2/actor-runs").await.expect(200).data()["total"],
        before,
        "no run for a view that is wrong"
    );
}

#[tokio::test(start_paused = true)]
async fn a_run_shows_where_its_output_will_be() {
    let server = TestServer::start().await;
    let build = server.build().await;
    let definition = json!({ "actorSpecification": 1, "output": { "properties": {
        "results": { "type": "string", "template": "{{links.apiDefaultDatasetUrl}}/items" },
        "site": { "type": "string", "template": "{{run.containerUrl}}" },
    } } });
    let change = Box::new(move |build: &mut model::Build, _: Option<&mut model::Actor>| {
        build.actor_definition = serde_json::value::to_raw_value(&definition).ok();
        true
    });
    server.engine.engine.store().builds.modify(&model::BuildId::parse(&build).unwrap(), change).await.unwrap();

    let started = server.post(&format!("{ACTOR}/runs")).await.expect(201).data();

    let dataset = started["defaultDatasetId"].as_str().unwrap();
    assert!(started["output"]["results"].as_str().unwrap().ends_with(&format!("/v2/datasets/{dataset}/items")));
    assert_eq!(started["output"]["site"], started["containerUrl"]);
    let shown = server.get(&format!("/v2/actor-runs/{}", id(&started))).await.expect(200).data();
    assert_eq!(shown["output"], started["output"]);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_only_looks_starts_nothing() {
    let server = TestServer::start().await;

    server.head(&format!("{ACTOR}/run-sync")).await.expect(405);
    server.head(&format!("{ACTOR}/run-sync-get-dataset-items")).await.expect(405);

    assert_eq!(server.get("/v2/actor-runs").await.expect(200).data()["total"], 0);
}
