//! Webhooks and dispatches (section 21 of the contract).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};

use crate::harness::TestServer;
use crate::platform::{ACTOR, id, insist, secs};

const WEBHOOKS: &str = "/v2/webhooks";
const URL: &str = "http://target/";

async fn actor_id(server: &TestServer) -> String {
    id(&server.get(ACTOR).await.expect(200).data())
}

async fn body(server: &TestServer, events: Value) -> Value {
    json!({ "eventTypes": events, "condition": { "actorId": actor_id(server).await }, "requestUrl": URL })
}

impl TestServer {
    async fn given_webhook(&self, events: Value) -> String {
        let body = body(self, events).await;
        id(&self.post(WEBHOOKS).json(body).await.expect(201).data())
    }

    /// Waits until a dispatch has ended and returns it.
    async fn dispatch_ended(&self, id: &str) -> Value {
        loop {
            let dispatch = self.get(&format!("/v2/webhook-dispatches/{id}")).await.expect(200).data();
            if dispatch["status"] != "ACTIVE" {
                return dispatch;
            }
            tokio::time::sleep(secs(1)).await;
        }
    }

    async fn sent(&self, count: usize) -> Vec<Value> {
        let sent = self.engine.courier.until_sent(count).await;
        sent.iter().map(|parcel| serde_json::from_slice(&parcel.body).expect("JSON")).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_webhook_is_made_shown_changed_and_deleted() {
    let server = TestServer::start().await;
    let actor = actor_id(&server).await;

    let created = server
        .post(WEBHOOKS)
        .json(body(&server, json!(["ACTOR.RUN.SUCCEEDED", "ACTOR.RUN.SUCCEEDED"])).await)
        .await
        .expect(201);
    let webhook = created.data();
    let url = format!("{WEBHOOKS}/{}", id(&webhook));
    assert!(created.header("location").ends_with(&url), "{}", created.header("location"));
    insist(
        &webhook,
        &[
            "id",
            "createdAt",
            "modifiedAt",
            "userId",
            "eventTypes",
            "condition",
            "ignoreSslErrors",
            "doNotRetry",
            "requestUrl",
        ],
    );
    assert_eq!(webhook["eventTypes"], json!(["ACTOR.RUN.SUCCEEDED"]));
    assert_eq!((&webhook["condition"], &webhook["isAdHoc"]), (&json!({ "actorId": actor }), &json!(false)));
    assert_eq!((&webhook["stats"]["totalDispatches"], &webhook["lastDispatch"]), (&json!(0), &Value::Null));
    assert_eq!(server.get(&url).await.expect(200).data(), webhook);

    tokio::time::sleep(secs(1)).await;
    let change = json!({
        "payloadTemplate": "{\"a\": {{resource.id}}}", "description": "what for", "shouldInterpolateStrings": true,
        "doNotRetry": true, "isAdHoc": null, "condition": { "actorId": actor }, "unknown": 1,
    });
    let changed = server.put(&url).json(change.clone()).await.expect(200).data();
    for (name, value) in change.as_object().unwrap() {
        if !value.is_null() && name != "unknown" {
            assert_eq!(&changed[name], value, "{name}");
        }
    }
    assert_eq!((&changed["requestUrl"], &changed["createdAt"]), (&json!(URL), &webhook["createdAt"]));
    assert_ne!(changed["modifiedAt"], webhook["modifiedAt"]);
    let cleared =
        server.put(&url).json(json!({ "payloadTemplate": null, "description": null })).await.expect(200).data();
    assert_eq!((&cleared["payloadTemplate"], &cleared["description"]), (&Value::Null, &Value::Null));
    assert_eq!(server.put(&url).await.expect(200).data(), cleared, "nothing was asked for");

    server.delete(&url).await.expect(204);
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        server.ask(method, &url).await.expect_error(404, "record-not-found");
    }
    for path in ["test", "dispatches"] {
        let method = if path == "test" { Method::POST } else { Method::GET };
        server.ask(method, &format!("{url}/{path}")).await.expect_error(404, "record-not-found");
    }
}

#[tokio::test(start_paused = true)]
async fn what_could_never_be_delivered_is_refused_and_nothing_is_made() {
    let server = TestServer::start().await;
    let good = body(&server, json!(["ACTOR.RUN.SUCCEEDED"])).await;
    let kept = server.given_webhook(json!(["ACTOR.RUN.SUCCEEDED"])).await;
    let before = server.get(&format!("{WEBHOOKS}/{kept}")).await.expect(200).data();

    for (field, value, kind) in [
        ("eventTypes", json!(null), "invalid-request"),
        ("eventTypes", json!([]), "invalid-value"),
        ("eventTypes", json!(["ACTOR.RUN.TIMED-OUT"]), "invalid-value"),
        ("eventTypes", json!("ACTOR.RUN.SUCCEEDED"), "invalid-request"),
        ("requestUrl", json!(null), "invalid-request"),
        ("requestUrl", json!("ftp://example.com"), "invalid-value"),
        ("requestUrl", json!("example.com"), "invalid-value"),
        ("condition", json!(null), "invalid-request"),
        ("condition", json!({}), "invalid-value"),
        ("condition", json!({ "actorId": "ada~my-actor" }), "invalid-value"),
        ("payloadTemplate", json!("{"), "invalid-value"),
        ("payloadTemplate", json!("x".repeat(70_000)), "invalid-value"),
        ("headersTemplate", json!("[]"), "invalid-value"),
        ("headersTemplate", json!("{\"a b\": \"c\"}"), "invalid-value"),
        ("idempotencyKey", json!("x".repeat(2000)), "invalid-value"),
        ("xSecret", json!("secret"), "invalid-value"),
        ("doNotRetry", json!("yes"), "invalid-request"),
    ] {
        let mut bad = good.clone();
        bad[field] = value.clone();
        server.post(WEBHOOKS).json(bad).await.expect_error(400, kind);
        if !value.is_null() && field != "idempotencyKey" {
            let change = json!({ field: value });
            server.put(&format!("{WEBHOOKS}/{kept}")).json(change).await.expect_error(400, kind);
        }
    }
    let mut unknown = good.clone();
    unknown["payloadTemplate"] = json!("{\"a\": {{secrets.b}}}");
    let message = server.post(WEBHOOKS).json(unknown).await.expect_error(400, "invalid-value");
    assert_eq!(message, "Invalid payload template variable: secrets");
    server.post(WEBHOOKS).body("[]").await.expect_error(400, "invalid-request");
    server.post(WEBHOOKS).body("{").await.expect_error(400, "invalid-request");
    server.post(WEBHOOKS).json(good).anonymous().await.expect_error(401, "token-not-provided");

    assert_eq!(server.get(&format!("{WEBHOOKS}/{kept}")).await.expect(200).data(), before);
    assert_eq!(server.get(WEBHOOKS).await.expect(200).data()["total"], 1);
}

#[tokio::test(start_paused = true)]
async fn neither_what_a_condition_names_nor_the_target_is_looked_up() {
    let server = TestServer::start().await;
    for condition in ["actorId", "actorTaskId", "actorRunId"] {
        let body = json!({
            "eventTypes": ["ACTOR.RUN.SUCCEEDED"], "condition": { condition: "aB3aB3aB3aB3aB3aB", "other": null },
            "requestUrl": "http://169.254.169.254/",
        });

        let webhook = server.post(WEBHOOKS).json(body).await.expect(201).data();

        assert_eq!(webhook["condition"], json!({ condition: "aB3aB3aB3aB3aB3aB" }));
    }
    assert!(server.engine.courier.sent().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_repeated_key_gets_the_webhook_that_is_there() {
    let server = TestServer::start().await;
    let mut keyed = body(&server, json!(["ACTOR.RUN.SUCCEEDED"])).await;
    keyed["idempotencyKey"] = json!("once");

    let first = server.post(WEBHOOKS).json(keyed.clone()).await.expect(201).data();
    keyed["requestUrl"] = json!("http://other/");
    let second = server.post(WEBHOOKS).json(keyed.clone()).await.expect(201).data();

    assert_eq!(first, second);
    let other = server.given_user("bob").await;
    assert_ne!(server.post(WEBHOOKS).token(&other).json(keyed).await.expect(201).data()["id"], first["id"]);
    assert_eq!(server.get(WEBHOOKS).await.expect(200).data()["total"], 1);
}

#[tokio::test(start_paused = true)]
async fn webhooks_and_dispatches_are_their_owners_alone() {
    let server = TestServer::start().await;
    let webhook = server.given_webhook(json!(["ACTOR.RUN.CREATED"])).await;
    let dispatch = id(&server.post(&format!("{WEBHOOKS}/{webhook}/test")).await.expect(201).data());
    let bob = server.given_user("bob").await;

    for (method, path) in [
        (Method::GET, format!("webhooks/{webhook}")),
        (Method::PUT, format!("webhooks/{webhook}")),
        (Method::DELETE, format!("webhooks/{webhook}")),
        (Method::POST, format!("webhooks/{webhook}/test")),
        (Method::GET, format!("webhooks/{webhook}/dispatches")),
        (Method::GET, format!("webhook-dispatches/{dispatch}")),
        (Method::GET, "webhook-dispatches/short".to_owned()),
        (Method::GET, "webhooks/aB3aB3aB3aB3aB3aB".to_owned()),
    ] {
        let path = format!("/v2/{path}");
        server.ask(method.clone(), &path).token(&bob).await.expect_error(404, "record-not-found");
        server.ask(method, &path).anonymous().await.expect_error(401, "token-not-provided");
    }
    for path in [WEBHOOKS, "/v2/webhook-dispatches"] {
        assert_eq!(server.get(path).token(&bob).await.expect(200).data()["total"], 0);
    }
    // He may wait for a public Actor, but hears of his own runs alone.
    server.given_public_actor().await;
    let body = body(&server, json!(["ACTOR.RUN.CREATED"])).await;
    server.post(WEBHOOKS).token(&bob).json(body).await.expect(201);
    server.given_run().await;
    assert_eq!(server.get("/v2/webhook-dispatches").token(&bob).await.expect(200).data()["total"], 0);
    server.post(&format!("{ACTOR}/runs")).token(&bob).await.expect(201);
    assert_eq!(server.get("/v2/webhook-dispatches").token(&bob).await.expect(200).data()["total"], 1);
}

#[tokio::test(start_paused = true)]
async fn webhooks_are_listed_also_below_their_actor() {
    let server = TestServer::start().await;
    let actor = actor_id(&server).await;
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(server.given_webhook(json!(["ACTOR.RUN.CREATED"])).await);
        tokio::time::sleep(secs(1)).await;
    }
    let of_task =
        json!({ "eventTypes": ["TEST"], "condition": { "actorTaskId": "aB3aB3aB3aB3aB3aB" }, "requestUrl": URL });
    let of_task = id(&server.post(WEBHOOKS).json(of_task).await.expect(201).data());

    let ids = |page: &Value| -> Vec<String> { page["items"].as_array().unwrap().iter().map(id).collect() };
    for path in [
        format!("{ACTOR}/webhooks"),
        format!("/v2/actors/{actor}/webhooks"),
        "/v2/acts/ada~my-actor/webhooks".to_owned(),
    ] {
        let page = server.get(&format!("{path}?desc=1&limit=2")).await.expect(200).data();
        assert_eq!((&page["total"], &page["count"], &page["limit"]), (&json!(3), &json!(2), &json!(2)));
        assert_eq!(ids(&page), [made[2].clone(), made[1].clone()]);
        let item = &page["items"][0];
        insist(
            item,
            &[
                "id",
                "createdAt",
                "modifiedAt",
                "userId",
                "eventTypes",
                "condition",
                "ignoreSslErrors",
                "doNotRetry",
                "requestUrl",
                "stats",
            ],
        );
        assert!(item.get("payloadTemplate").is_none());
    }
    let all = server.get(WEBHOOKS).await.expect(200).data();
    made.push(of_task);
    assert_eq!((ids(&all), &all["total"]), (made, &json!(4)));
    server.get("/v2/actors/ada~nothing/webhooks").await.expect_error(404, "record-not-found");
    server.get(&format!("{WEBHOOKS}?limit=-1")).await.expect_error(400, "invalid-request");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_succeeds_is_told_of_as_get_shows_it() {
    let server = TestServer::start().await;
    let webhook = server.given_webhook(json!(["ACTOR.RUN.CREATED", "ACTOR.RUN.SUCCEEDED"])).await;

    let created = server.post(&format!("{ACTOR}/runs")).json(json!({ "a": 1 })).await.expect(201).data();
    let run = id(&created);
    server.running(&run, 1).await;
    tokio::time::sleep(secs(5)).await;
    server.end(&run, 0).await;
    let sent = server.sent(2).await;

    assert_eq!(sent[0]["resource"], created, "what the start has answered");
    let shown = server.get(&format!("/v2/actor-runs/{run}")).await.expect(200).data();
    assert_eq!(sent[1]["resource"], shown);
    assert_eq!(
        (&sent[1]["eventType"], &sent[1]["resource"]["status"]),
        (&json!("ACTOR.RUN.SUCCEEDED"), &json!("SUCCEEDED"))
    );
    assert_eq!(sent[1]["eventData"], json!({ "actorId": shown["actId"], "actorRunId": run }));
    assert_eq!(sent[1]["userId"], shown["userId"]);

    let page = server.get(&format!("{WEBHOOKS}/{webhook}/dispatches?desc=true&limit=1")).await.expect(200).data();
    assert_eq!((&page["total"], &page["count"], &page["desc"]), (&json!(2), &json!(1), &json!(true)));
    let dispatch = server.dispatch_ended(&id(&page["items"][0])).await;
    insist(&dispatch, &["id", "userId", "webhookId", "createdAt", "status", "eventType", "eventData.actorId"]);
    assert_eq!((&dispatch["status"], &dispatch["webhookId"]), (&json!("SUCCEEDED"), &json!(webhook)));
    assert_eq!((&dispatch["webhook"]["requestUrl"], &dispatch["webhook"]["isAdHoc"]), (&json!(URL), &json!(false)));
    let call = &dispatch["calls"][0];
    assert_eq!(
        (&call["responseStatus"], &call["responseBody"], &call["errorMessage"]),
        (&json!(200), &json!("ok"), &Value::Null)
    );
    insist(call, &["startedAt", "finishedAt"]);
    let webhook = server.get(&format!("{WEBHOOKS}/{webhook}")).await.expect(200).data();
    assert_eq!(
        (&webhook["stats"]["totalDispatches"], &webhook["lastDispatch"]["status"]),
        (&json!(2), &json!("SUCCEEDED"))
    );
    insist(&webhook, &["lastDispatch.finishedAt"]);
}

#[tokio::test(start_paused = true)]
async fn a_build_is_told_of_as_get_shows_it() {
    let server = TestServer::start().await;
    server
        .given_webhook(json!([
            "ACTOR.BUILD.CREATED",
            "ACTOR.BUILD.ABORTED",
            "ACTOR.BUILD.FAILED",
            "ACTOR.BUILD.SUCCEEDED"
        ]))
        .await;

    let build = server.post(&format!("{ACTOR}/builds?version=0.0&waitForFinish=60")).await.expect(201).data();
    let sent = server.sent(2).await;

    let shown = server.get(&format!("/v2/actor-builds/{}", id(&build))).await.expect(200).data();
    assert_eq!(
        (&sent[0]["eventType"], &sent[0]["resource"]["status"]),
        (&json!("ACTOR.BUILD.CREATED"), &json!("READY"))
    );
    let ended = format!("ACTOR.BUILD.{}", shown["status"].as_str().unwrap());
    assert_eq!((&sent[1]["eventType"], &sent[1]["resource"]), (&json!(ended), &shown));
    assert_eq!(sent[1]["eventData"], json!({ "actorId": shown["actId"], "actorBuildId": shown["id"] }));
}

#[tokio::test(start_paused = true)]
async fn every_end_of_a_run_is_an_event_and_so_is_its_return() {
    let server = TestServer::start().await;
    server
        .given_webhook(json!(["ACTOR.RUN.FAILED", "ACTOR.RUN.ABORTED", "ACTOR.RUN.TIMED_OUT", "ACTOR.RUN.RESURRECTED"]))
        .await;

    let run = server.given_running().await;
    server.end(&run, 1).await;
    server.post(&format!("/v2/actor-runs/{run}/resurrect?timeout=10")).await.expect(200);
    server.running(&run, 2).await;
    tokio::time::sleep(secs(11)).await;
    server.post(&format!("/v2/actor-runs/{run}/resurrect?timeout=100")).await.expect(200);
    server.post(&format!("/v2/actor-runs/{run}/abort")).await.expect(200);
    let sent = server.sent(5).await;

    let told: Vec<_> = sent
        .iter()
        .map(|payload| (payload["eventType"].as_str().unwrap(), payload["resource"]["status"].as_str().unwrap()))
        .collect();
    let expected = [
        ("ACTOR.RUN.FAILED", "FAILED"),
        ("ACTOR.RUN.RESURRECTED", "READY"),
        ("ACTOR.RUN.TIMED_OUT", "TIMED-OUT"),
        ("ACTOR.RUN.RESURRECTED", "READY"),
        ("ACTOR.RUN.ABORTED", "ABORTED"),
    ];
    assert_eq!(told, expected);
}

#[tokio::test(start_paused = true)]
async fn a_start_may_bring_webhooks_of_its_own() {
    let server = TestServer::start().await;
    let webhooks = json!([
        {
            "eventTypes": ["ACTOR.RUN.CREATED", "ACTOR.RUN.SUCCEEDED"], "requestUrl": "http://mine/", "idempotencyKey": "mine",
            "payloadTemplate": "{\"id\": \"{{resource.id}}\", \"event\": {{eventType}}}", "shouldInterpolateStrings": true,
            "isApifyIntegration": true, "headersTemplate": null,
        },
        { "eventTypes": ["ACTOR.RUN.FAILED"], "requestUrl": "http://never/" },
    ]);
    let encoded = STANDARD.encode(webhooks.to_string()).replace('=', "%3D").replace('+', "%2B");

    let run = id(&server.post(&format!("{ACTOR}/runs?webhooks={encoded}")).await.expect(201).data());
    server.given_run().await;
    server.running(&run, 1).await;
    server.end(&run, 0).await;
    let sent = server.sent(2).await;

    assert_eq!(sent[0], json!({ "id": run, "event": "ACTOR.RUN.CREATED" }));
    assert_eq!(sent[1], json!({ "id": run, "event": "ACTOR.RUN.SUCCEEDED" }));
    let listed = server.get(WEBHOOKS).await.expect(200).data();
    let items = listed["items"].as_array().unwrap();
    assert_eq!(items.len(), 2);
    assert!(items.iter().all(|item| item["isAdHoc"] == true && item["condition"] == json!({ "actorRunId": run })));
    // The same start again, as after a lost answer: its webhook is there already.
    server.post(&format!("{ACTOR}/runs?webhooks={encoded}")).await.expect(201);
    assert_eq!(server.get(WEBHOOKS).await.expect(200).data()["total"], 3, "only the one without a key is made again");

    let runs = server.get("/v2/actor-runs").await.expect(200).data()["total"].clone();
    for bad in [
        json!([{ "eventTypes": ["ACTOR.RUN.SUCCEEDED"] }]),
        json!([{ "requestUrl": URL }]),
        json!([{ "eventTypes": [], "requestUrl": URL }]),
        json!([{ "eventTypes": ["A"], "requestUrl": URL }]),
        json!([{ "eventTypes": ["ACTOR.RUN.SUCCEEDED"], "requestUrl": URL, "payloadTemplate": "{{x}}" }]),
        json!({}),
    ] {
        let encoded = STANDARD.encode(bad.to_string()).replace('=', "%3D").replace('+', "%2B");
        let message =
            server.post(&format!("{ACTOR}/runs?webhooks={encoded}")).await.expect_error(400, "invalid-request");
        assert!(message.contains("webhooks"), "{message}");
    }
    assert_eq!(server.get("/v2/actor-runs").await.expect(200).data()["total"], runs, "no run was made");
}

#[tokio::test(start_paused = true)]
async fn a_run_adds_webhooks_for_itself() {
    let server = TestServer::start().await;
    let run = server.given_running().await;
    let token = server.token_of(&run).await;
    let body = json!({
        "isAdHoc": true, "eventTypes": ["ACTOR.RUN.FAILED"], "condition": { "actorRunId": run }, "requestUrl": URL,
        "idempotencyKey": "added",
    });

    let added = server.post(WEBHOOKS).token(&token).json(body.clone()).await.expect(201).data();
    let again = server.post(WEBHOOKS).token(&token).json(body).await.expect(201).data();
    let other = json!({ "eventTypes": ["ACTOR.RUN.FAILED"], "condition": { "actorId": actor_id(&server).await }, "requestUrl": URL });
    server.post(WEBHOOKS).token(&token).json(other).await.expect_error(403, "insufficient-permissions");
    server.get(WEBHOOKS).token(&token).await.expect_error(403, "insufficient-permissions");
    server.end(&run, 1).await;

    assert_eq!((&added["isAdHoc"], &again["id"]), (&json!(true), &added["id"]));
    assert!(server.engine.courier.until_sent(1).await[0].token.is_none(), "its token is limited, so this brings none");
    assert_eq!(server.sent(1).await[0]["eventData"]["actorRunId"], json!(run));
    server.delete(&format!("/v2/actor-runs/{run}")).await.expect(204);
    let listed = server.get("/v2/webhook-dispatches").await.expect(200).data();
    server.dispatch_ended(&id(&listed["items"][0])).await;
    assert_eq!(server.get(WEBHOOKS).await.expect(200).data()["total"], 0, "it went with its run");
}

#[tokio::test(start_paused = true)]
async fn a_test_is_a_dispatch_at_once_whatever_becomes_of_it() {
    let server = TestServer::start().await;
    let webhook = server.given_webhook(json!(["ACTOR.RUN.SUCCEEDED"])).await;
    server.engine.courier.answer(URL, [None]);

    let dispatch = server.post(&format!("{WEBHOOKS}/{webhook}/test")).await.expect(201).data();

    assert_eq!((&dispatch["status"], &dispatch["eventType"]), (&json!("ACTIVE"), &json!("TEST")));
    assert_eq!((&dispatch["eventData"], &dispatch["calls"]), (&Value::Null, &json!([])));
    for path in [format!("{WEBHOOKS}/{webhook}/dispatches"), "/v2/webhook-dispatches".to_owned()] {
        let page = server.get(&path).await.expect(200).data();
        assert_eq!((&page["total"], &page["items"][0]["id"]), (&json!(1), &dispatch["id"]));
    }
    let ended = server.dispatch_ended(&id(&dispatch)).await;
    assert_eq!((&ended["status"], ended["calls"].as_array().unwrap().len()), (&json!("FAILED"), 1));
    assert_eq!(ended["calls"][0]["errorMessage"], "The target did not answer within 120 s.");
    server.get(&format!("{WEBHOOKS}/{webhook}/test")).await.expect_error(405, "method-not-allowed");
}

#[tokio::test(start_paused = true)]
async fn a_secret_signs_and_is_never_shown() {
    let server = TestServer::start().await;
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let mut signed = body(&server, json!(["ACTOR.RUN.SUCCEEDED"])).await;
    signed["xSecret"] = json!(secret);

    let created = server.post(WEBHOOKS).json(signed).await.expect(201);
    assert!(!created.text().contains("MfKQ9r8"), "{}", created.text());
    let webhook = created.data();
    assert_eq!(webhook["xIsSigned"], true);
    let url = format!("{WEBHOOKS}/{}", id(&webhook));
    server.post(&format!("{url}/test")).await.expect(201);
    let sent = server.engine.courier.until_sent(1).await;
    assert!(sent[0].marks.iter().any(|(name, value)| *name == "webhook-signature" && value.starts_with("v1,")));

    assert_eq!(server.put(&url).json(json!({ "description": "x" })).await.expect(200).data()["xIsSigned"], true);
    assert_eq!(server.put(&url).json(json!({ "xSecret": null })).await.expect(200).data()["xIsSigned"], false);
    server.post(&format!("{url}/test")).await.expect(201);
    let sent = server.engine.courier.until_sent(2).await;
    assert!(sent[1].marks.iter().all(|(name, _)| *name != "webhook-signature"));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_actor_takes_its_webhooks_along() {
    let server = TestServer::start().await;
    let run = server.given_running().await;
    let webhook = server.given_webhook(json!(["ACTOR.RUN.SUCCEEDED"])).await;

    server.delete(ACTOR).await.expect(204);
    server.end(&run, 0).await;

    server.get(&format!("{WEBHOOKS}/{webhook}")).await.expect_error(404, "record-not-found");
    assert_eq!(server.get("/v2/webhook-dispatches").await.expect(200).data()["total"], 0);
}

#[tokio::test(start_paused = true)]
async fn a_webhook_may_start_a_run_with_the_token_it_brings() {
    let server = TestServer::start().await;
    server.given_webhook(json!(["ACTOR.RUN.SUCCEEDED"])).await;
    let run = server.given_running().await;
    server.end(&run, 0).await;
    let parcel = server.engine.courier.until_sent(1).await[0].clone();

    let mut request = server.post(&format!("{ACTOR}/runs")).token(parcel.token.as_ref().unwrap()).body(parcel.body);
    for (name, value) in &parcel.marks {
        request = request.header(name, value);
    }
    let started = request.await.expect(201).data();

    assert_eq!(started["meta"]["origin"], "WEBHOOK");
    assert_eq!(started["userId"], server.get("/v2/users/me").await.expect(200).data()["id"]);
}
