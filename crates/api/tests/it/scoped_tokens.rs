//! What tokens of limited scope may do, and the runs that are started with them (`AUTH-19`).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use engine::EngineConfig;
use model::{GeneralAccess, RunsMay, Scope};
use serde_json::{Value, json};

use crate::harness::TestServer;
use crate::platform::{ACTOR, id};

/// A server on which nothing is open to others, with what grants may name.
struct Given {
    server: TestServer,
    dataset: String,
    other: String,
    run: String,
}

impl Given {
    async fn start() -> Self {
        let config = EngineConfig { run_access: GeneralAccess::Restricted, ..EngineConfig::default() };
        let server = TestServer::start_with(config).await;
        let dataset = id(&server.post("/v2/datasets?name=named").await.expect(201).data());
        let other = server.given("datasets").await;
        let full = json!({ "actorPermissionLevel": "FULL_PERMISSIONS" });
        server.put(ACTOR).json(full).await.expect(200);
        let actor = server.engine.engine.give_actor(&server.engine.ada.user, "other-actor").await;
        let build = actor.tagged_builds["latest"].build_id;
        server.engine.driver.put_image(build.as_str(), drivers::fake::FakeDriver::default_image());
        let run = server.given_running().await;
        Self { server, dataset, other, run }
    }

    /// A token with these grants, in which `{dataset}` and `{actor}` stand for ids.
    async fn token(&self, grants: &[&str], runs_may: RunsMay, default_storages: bool) -> String {
        let ada = &self.server.engine.ada.user.id;
        let actor = self.server.engine.actor.id.to_string();
        let grants = grants.iter().map(|text| text.replace("{dataset}", &self.dataset).replace("{actor}", &actor));
        let scope = Scope { grants: grants.map(|text| text.parse().unwrap()).collect(), runs_may, default_storages };
        self.server.engine.engine.create_scoped_token(ada, "scoped", None, Some(scope)).await.unwrap().1
    }

    fn path(&self, path: &str) -> String {
        path.replace("{dataset}", &self.dataset).replace("{other}", &self.other).replace("{run}", &self.run)
    }
}

/// Operations, with the status when they are allowed.
const OPERATIONS: &[(&str, &str, u16)] = &[
    ("GET", "/v2/datasets", 200),
    ("POST", "/v2/datasets", 201),
    ("GET", "/v2/datasets/{dataset}", 200),
    ("POST", "/v2/datasets/{dataset}/items", 201),
    ("PUT", "/v2/datasets/{dataset}", 200),
    ("GET", "/v2/datasets/{other}/items", 200),
    ("POST", "/v2/datasets/{other}/items", 201),
    ("POST", "/v2/key-value-stores", 201),
    ("GET", "/v2/request-queues", 200),
    ("GET", "/v2/actors", 200),
    ("GET", "/v2/actors/ada~my-actor", 200),
    ("GET", "/v2/actors/ada~my-actor/runs", 200),
    ("GET", "/v2/actors/ada~my-actor/builds/default", 200),
    ("GET", "/v2/actor-runs", 200),
    ("GET", "/v2/actor-runs/{run}", 200),
    ("GET", "/v2/actor-runs/{run}/dataset/items", 200),
    ("POST", "/v2/actor-runs/{run}/dataset/items", 201),
    ("PUT", "/v2/actor-runs/{run}", 200),
    ("POST", "/v2/actors/ada~my-actor/runs", 201),
    ("POST", "/v2/actors/ada~other-actor/runs", 201),
    ("POST", "/v2/actors", 201),
    ("PUT", "/v2/actors/ada~my-actor", 200),
    ("POST", "/v2/actors/ada~my-actor/builds?version=0.0", 201),
    ("GET", "/v2/actors/ada~my-actor/versions", 200),
    ("GET", "/v2/users/me", 200),
    ("GET", "/v2/users/me/limits", 200),
    ("PUT", "/v2/users/me/limits", 201),
];

#[tokio::test(start_paused = true)]
async fn a_token_may_do_what_its_grants_say_and_nothing_else() {
    let own_run = [
        "GET /v2/actors/ada~my-actor",
        "GET /v2/actors/ada~my-actor/runs",
        "GET /v2/actors/ada~my-actor/builds/default",
        "GET /v2/actor-runs/{run}",
        "GET /v2/actor-runs/{run}/dataset/items",
        "PUT /v2/actor-runs/{run}",
        "POST /v2/actors/ada~my-actor/runs",
    ];
    for (grants, allowed) in [
        (&[][..], &[][..]),
        (
            &["dataset=read"],
            &[
                "GET /v2/datasets",
                "GET /v2/datasets/{dataset}",
                "GET /v2/datasets/{other}/items",
                "GET /v2/actor-runs/{run}/dataset/items",
            ],
        ),
        (&["dataset=create"], &["POST /v2/datasets"]),
        (&["dataset/{dataset}=read"], &["GET /v2/datasets/{dataset}"]),
        (
            &["dataset/{dataset}=write"],
            &["GET /v2/datasets/{dataset}", "POST /v2/datasets/{dataset}/items", "PUT /v2/datasets/{dataset}"],
        ),
        (&["key-value-store=create", "request-queue=read"], &["POST /v2/key-value-stores", "GET /v2/request-queues"]),
        (&["actor/{actor}=read"], &own_run[..5]),
        (&["actor/{actor}=run"], &own_run),
        (
            &["actor=read"],
            &[
                "GET /v2/actors",
                "GET /v2/actors/ada~my-actor",
                "GET /v2/actors/ada~my-actor/runs",
                "GET /v2/actors/ada~my-actor/builds/default",
                "GET /v2/actor-runs",
                "GET /v2/actor-runs/{run}",
                "GET /v2/actor-runs/{run}/dataset/items",
            ],
        ),
        (&["account=read"], &["GET /v2/users/me/limits"]),
    ] {
        let given = Given::start().await;
        let token = given.token(grants, RunsMay::Everything, false).await;
        for (method, path, status) in OPERATIONS {
            let body = if path.ends_with("/items") { json!([{}]) } else { json!({ "name": "my-new-actor" }) };
            let ask = given.server.ask(method.parse().unwrap(), &given.path(path)).token(&token);
            let is_free = *path == "/v2/users/me";
            let reply = if *method == "GET" || path.contains("/runs") {
                ask.await
            } else {
                ask.json(if path.starts_with("/v2/actors") || path.ends_with("/items") { body } else { json!({}) })
                    .await
            };

            let what = format!("{grants:?}: {method} {path}");
            let is_allowed = is_free || allowed.contains(&format!("{method} {path}").as_str());
            assert_eq!(reply.status.as_u16(), if is_allowed { *status } else { 403 }, "{what}: {}", reply.text());
            if !is_allowed {
                assert_eq!(reply.json()["error"]["type"], "insufficient-permissions", "{what}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_made_with_a_token_is_open_to_it_and_to_no_other() {
    let given = Given::start().await;
    let (maker, other) = (
        given.token(&["dataset=create"], RunsMay::Everything, false).await,
        given.token(&["dataset=create"], RunsMay::Everything, false).await,
    );
    let ask = |method: &str, path: &str, token: &str| given.server.ask(method.parse().unwrap(), path).token(token);

    let made = id(&ask("POST", "/v2/datasets?name=made", &maker).await.expect(201).data());

    let path = format!("/v2/datasets/{made}");
    ask("POST", &format!("{path}/items"), &maker).json(json!([{}])).await.expect(201);
    assert_eq!(ask("POST", "/v2/datasets?name=made", &maker).await.expect(200).data()["id"], made.as_str());
    for (method, path) in [("GET", path.as_str()), ("DELETE", &path), ("POST", "/v2/datasets?name=made")] {
        ask(method, path, &other).await.expect_error(403, "insufficient-permissions");
    }
    given.server.get(&path).await.expect(200);
    ask("DELETE", &path, &maker).await.expect(204);
}

#[tokio::test(start_paused = true)]
async fn runs_of_a_token_have_the_rights_of_their_actor_or_of_the_token() {
    let given = Given::start().await;
    let grants = ["actor/{actor}=run", "dataset/{dataset}=read"];
    for (runs_may, other) in [(RunsMay::Everything, 200), (RunsMay::Same, 403)] {
        let token = given.token(&grants, runs_may, false).await;
        let run = id(&given.server.post(&format!("{ACTOR}/runs")).token(&token).await.expect(201).data());
        given.server.running(&run, 1).await;
        let run_token = given.server.token_of(&run).await;
        let ask = |method: &str, path: &str| given.server.ask(method.parse().unwrap(), path).token(&run_token);

        ask("GET", &given.path("/v2/datasets/{dataset}")).await.expect(200);
        ask("GET", &given.path("/v2/datasets/{other}")).await.expect(other);
        ask("PUT", &format!("/v2/actor-runs/{run}")).json(json!({})).await.expect(200);
        ask("POST", &format!("/v2/actor-runs/{run}/dataset/items")).json(json!([{}])).await.expect(201);

        // And so do the runs of runs.
        let inner = id(&ask("POST", &format!("{ACTOR}/runs")).await.expect(201).data());
        given.server.running(&inner, 1).await;
        let inner_token = given.server.token_of(&inner).await;
        given.server.get(&given.path("/v2/datasets/{other}")).token(&inner_token).await.expect(other);
        let elsewhere = ask("POST", "/v2/actors/ada~other-actor/runs").await.status.as_u16();
        assert_eq!(elsewhere, if runs_may == RunsMay::Same { 403 } else { 201 });
    }
}

#[tokio::test(start_paused = true)]
async fn default_storages_are_written_by_the_token_that_may() {
    let given = Given::start().await;
    for (may, status) in [(false, 403), (true, 201)] {
        let token = given.token(&["actor/{actor}=run"], RunsMay::Everything, may).await;

        let run = given.server.post(&format!("{ACTOR}/runs")).token(&token).await.expect(201).data();

        let items = format!("/v2/datasets/{}/items", run["defaultDatasetId"].as_str().unwrap());
        given.server.get(&items).token(&token).await.expect(200);
        given.server.post(&items).token(&token).json(json!([{}])).await.expect(status);
    }
}

#[tokio::test(start_paused = true)]
async fn a_scoped_token_sees_of_its_user_what_it_was_given() {
    let given = Given::start().await;
    let plain = given.token(&["dataset=read"], RunsMay::Everything, false).await;
    let account = given.token(&["account=read"], RunsMay::Everything, false).await;

    for (token, tells_all) in [(&plain, false), (&account, true)] {
        let me = given.server.get("/v2/users/me").token(token).await.expect(200).data();
        assert_eq!(me["username"], "ada");
        assert_ne!(me["plan"], Value::Null, "USR-3");
        assert_eq!(me["profile"] != Value::Null, tells_all);
    }
}

/// Ids of what a user keeps: a task of each Actor, and schedules and webhooks for the first.
struct KeptThings {
    given: Given,
    ids: Vec<(&'static str, String)>,
}

impl KeptThings {
    async fn start() -> Self {
        let given = Given::start().await;
        let actor = given.server.engine.actor.id.to_string();
        let make = async |path: &str, body: Value| id(&given.server.post(path).json(body).await.expect(201).data());
        let task =
            make("/v2/actor-tasks", json!({ "actId": "ada~my-actor", "name": "one", "input": { "a": 1 } })).await;
        let second = make("/v2/actor-tasks", json!({ "actId": "ada~other-actor", "name": "two" })).await;
        let schedule = make("/v2/schedules", json!({ "name": "one", "cronExpression": "@daily" })).await;
        let webhook = json!({
            "eventTypes": ["ACTOR.RUN.SUCCEEDED"], "requestUrl": "http://example.com/", "condition": { "actorId": actor },
        });
        let hook = make("/v2/webhooks", webhook).await;
        let dispatch = id(&given.server.post(&format!("/v2/webhooks/{hook}/test")).await.expect(201).data());
        let run = id(&given.server.post(&format!("/v2/actor-tasks/{task}/runs")).await.expect(201).data());
        given.server.running(&run, 1).await;
        let ids = vec![
            ("task", task),
            ("second", second),
            ("schedule", schedule),
            ("webhook", hook),
            ("dispatch", dispatch),
            ("taskrun", run),
            ("actor", actor),
        ];
        Self { given, ids }
    }

    fn fill(&self, text: &str) -> String {
        let filled = self.ids.iter().fold(text.to_owned(), |text, (name, id)| text.replace(&format!("{{{name}}}"), id));
        self.given.path(&filled)
    }

    async fn token(&self, grants: &[&str]) -> String {
        let grants: Vec<String> = grants.iter().map(|text| self.fill(text)).collect();
        let grants: Vec<&str> = grants.iter().map(String::as_str).collect();
        self.given.token(&grants, RunsMay::Everything, false).await
    }
}

/// Operations on what a user keeps, with their bodies and the status when they are allowed. What takes something away is last.
const KEPT: &[(&str, &str, &str, u16)] = &[
    ("GET", "/v2/actor-tasks", "", 200),
    ("POST", "/v2/actor-tasks", r#"{"actId":"ada~my-actor"}"#, 201),
    ("GET", "/v2/actor-tasks/{task}", "", 200),
    ("GET", "/v2/actor-tasks/~one/input", "", 200),
    ("PUT", "/v2/actor-tasks/{task}", r#"{"title":"T"}"#, 200),
    ("PUT", "/v2/actor-tasks/{task}/input", r#"{"b":1}"#, 200),
    ("GET", "/v2/actor-tasks/{task}/runs", "", 200),
    ("GET", "/v2/actor-tasks/{task}/runs/last", "", 200),
    ("GET", "/v2/actor-tasks/{task}/runs/last/dataset/items", "", 200),
    ("GET", "/v2/actor-runs/{taskrun}", "", 200),
    ("PUT", "/v2/actor-runs/{taskrun}", "{}", 200),
    ("GET", "/v2/actor-runs/{run}", "", 200),
    ("POST", "/v2/actor-tasks/{task}/runs", "", 201),
    ("GET", "/v2/actor-tasks/{second}", "", 200),
    ("POST", "/v2/actor-tasks/{second}/runs", "", 201),
    ("GET", "/v2/schedules", "", 200),
    ("POST", "/v2/schedules", r#"{"cronExpression":"@daily"}"#, 201),
    ("GET", "/v2/schedules/{schedule}", "", 200),
    ("GET", "/v2/schedules/~one/log", "", 200),
    ("PUT", "/v2/schedules/{schedule}", r#"{"title":"T"}"#, 200),
    ("PUT", "/v2/schedules/{schedule}", r#"{"actions":[{"type":"RUN_ACTOR","actorId":"{actor}"}]}"#, 200),
    ("PUT", "/v2/schedules/{schedule}", r#"{"actions":[{"type":"RUN_ACTOR_TASK","actorTaskId":"{task}"}]}"#, 200),
    ("GET", "/v2/webhooks", "", 200),
    ("GET", "/v2/actor-tasks/{task}/webhooks", "", 200),
    ("GET", "/v2/actors/ada~my-actor/webhooks", "", 200),
    ("GET", "/v2/webhooks/{webhook}", "", 200),
    ("GET", "/v2/webhooks/{webhook}/dispatches", "", 200),
    ("GET", "/v2/webhook-dispatches", "", 200),
    ("GET", "/v2/webhook-dispatches/{dispatch}", "", 200),
    (
        "POST",
        "/v2/webhooks",
        r#"{"eventTypes":["TEST"],"requestUrl":"http://a.example","condition":{"actorId":"{actor}"}}"#,
        201,
    ),
    (
        "POST",
        "/v2/webhooks",
        r#"{"eventTypes":["TEST"],"requestUrl":"http://a.example","condition":{"actorTaskId":"{task}"}}"#,
        201,
    ),
    (
        "POST",
        "/v2/webhooks",
        r#"{"eventTypes":["TEST"],"requestUrl":"http://a.example","condition":{"actorRunId":"{run}"}}"#,
        201,
    ),
    ("PUT", "/v2/webhooks/{webhook}", r#"{"description":"D"}"#, 200),
    ("POST", "/v2/webhooks/{webhook}/test", "", 201),
    ("DELETE", "/v2/webhooks/{webhook}", "", 204),
    ("DELETE", "/v2/schedules/{schedule}", "", 204),
    ("DELETE", "/v2/actor-tasks/{second}", "", 204),
    ("DELETE", "/v2/actor-tasks/{task}", "", 204),
];

#[tokio::test(start_paused = true)]
async fn tasks_schedules_and_webhooks_are_open_to_the_tokens_that_were_given_them() {
    // Places in the table above.
    let of_task = [2, 3, 6, 7, 8, 9];
    let of_actor = [9, 10, 11];
    for (grants, allowed) in [
        (&[][..], vec![]),
        (&["task=read"], [&of_task[..], &[0, 13]].concat()),
        (&["task/{task}=read"], of_task.to_vec()),
        (&["task/{task}=write"], [&of_task[..], &[4, 5, 37]].concat()),
        (&["task/{task}=run"], [&of_task[..], &[10, 12]].concat()),
        (&["task=create"], vec![]),
        (&["task=create", "actor/{actor}=run"], [&of_actor[..], &[1]].concat()),
        (&["schedule=read"], vec![15, 17, 18]),
        (&["schedule/{schedule}=read"], vec![17, 18]),
        (&["schedule=create"], vec![16]),
        (&["schedule/{schedule}=write"], vec![17, 18, 19, 35]),
        (&["schedule=write", "actor=run"], [&of_actor[..], &[15, 17, 18, 19, 20, 35]].concat()),
        (&["schedule=write", "task=run"], [&of_task[..], &[0, 10, 12, 13, 14, 15, 17, 18, 19, 21, 35]].concat()),
        (&["webhook=read"], vec![22, 24, 25, 26, 27, 28]),
        (&["webhook=read", "task=read"], [&of_task[..], &[0, 13, 22, 23, 24, 25, 26, 27, 28]].concat()),
        (&["webhook/{webhook}=read"], vec![25, 26, 28]),
        (&["webhook=create"], vec![]),
        (&["webhook=create", "actor=read"], vec![9, 11, 29, 31]),
        (&["webhook=create", "task/{task}=read"], [&of_task[..], &[30]].concat()),
        (&["webhook/{webhook}=write"], vec![25, 26, 28, 33, 34]),
        (&["webhook/{webhook}=write", "actor/{actor}=read"], vec![9, 11, 25, 26, 28, 32, 33, 34]),
    ] {
        let kept = KeptThings::start().await;
        let token = kept.token(grants).await;
        for (at, (method, path, body, status)) in KEPT.iter().enumerate() {
            let mut ask = kept.given.server.ask(method.parse().unwrap(), &kept.fill(path)).token(&token);
            if !body.is_empty() {
                ask = ask.header("content-type", "application/json").body(kept.fill(body));
            }

            let reply = ask.await;

            let what = format!("{grants:?}: {at} {method} {path} {body}");
            let expected = if allowed.contains(&at) { *status } else { 403 };
            assert_eq!(reply.status.as_u16(), expected, "{what}: {}", reply.text());
            if expected == 403 {
                assert_eq!(reply.json()["error"]["type"], "insufficient-permissions", "{what}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_token_keeps_is_open_to_it_and_to_no_other() {
    let kept = KeptThings::start().await;
    let grants = ["task=create", "schedule=create", "webhook=create", "actor/{actor}=run"];
    let (maker, other) = (kept.token(&grants).await, kept.token(&grants).await);
    let hook = json!({ "eventTypes": ["TEST"], "requestUrl": "http://a.example", "condition": { "actorId": kept.fill("{actor}") } });
    for (plural, body) in [
        ("actor-tasks", json!({ "actId": "ada~my-actor" })),
        ("schedules", json!({ "cronExpression": "@daily" })),
        ("webhooks", hook),
    ] {
        let ask =
            |method: &str, path: &str, token: &str| kept.given.server.ask(method.parse().unwrap(), path).token(token);
        let made = id(&ask("POST", &format!("/v2/{plural}"), &maker).json(body).await.expect(201).data());
        let path = format!("/v2/{plural}/{made}");

        ask("GET", &path, &other).await.expect_error(403, "insufficient-permissions");
        ask("GET", &path, &maker).await.expect(200);
        ask("PUT", &path, &maker).json(json!({ "description": "D" })).await.expect(200);
        let shown = kept.given.server.get(&path).await.expect(200).data();
        assert_eq!((&shown["description"], &shown["tokenId"]), (&json!("D"), &Value::Null));
        if plural == "actor-tasks" {
            ask("POST", &format!("{path}/runs"), &maker).await.expect(201);
        }
        ask("DELETE", &path, &maker).await.expect(204);
    }
    let elsewhere = json!({ "actId": "ada~other-actor" });
    let elsewhere = kept.given.server.post("/v2/actor-tasks").token(&maker).json(elsewhere).await;
    elsewhere.expect_error(403, "insufficient-permissions");
}

#[tokio::test(start_paused = true)]
async fn a_token_cannot_get_at_more_by_way_of_what_it_keeps() {
    let kept = KeptThings::start().await;
    let server = &kept.given.server;
    let token = kept.token(&["webhook=write", "webhook=create", "actor=run", "task=write", "schedule=write"]).await;

    // A webhook that it changes brings no token to the API any more (WH-17).
    let hook = model::WebhookId::parse(&kept.fill("{webhook}")).unwrap();
    let is_limited = async || {
        let (webhook, _) = server.engine.engine.store().webhooks.get(&hook).await.unwrap().unwrap();
        webhook.settings.is_limited
    };
    assert!(!is_limited().await);
    let change = json!({ "requestUrl": "http://localhost:3333/v2/datasets" });
    server.put(&kept.fill("/v2/webhooks/{webhook}")).token(&token).json(change).await.expect(200);
    assert!(is_limited().await);

    // Publishing changes what an Actor shows, which takes a whole token (TASK-10).
    let publish = json!({ "publicConfig": { "seoTitle": "T" } });
    let publish = server.put(&kept.fill("/v2/actor-tasks/{task}")).token(&token).json(publish).await;
    publish.expect_error(403, "insufficient-permissions");

    // Another task may not be run by way of a schedule.
    let actions = json!({ "actions": [{ "type": "RUN_ACTOR_TASK", "actorTaskId": kept.fill("{task}") }] });
    let actions = server.put(&kept.fill("/v2/schedules/{schedule}")).token(&token).json(actions).await;
    actions.expect_error(403, "insufficient-permissions");
}
