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
