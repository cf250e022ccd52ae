//! What the token of a run may do, with limited permissions and with full ones (`AUTH-15`).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use engine::EngineConfig;
use model::GeneralAccess;
use serde_json::{Value, json};

use crate::harness::{Reply, TestServer};
use crate::platform::{ACTOR, id};

const SCHEMA: &str = r#"{"title":"I","type":"object","schemaVersion":1,"properties":{
    "source":{"title":"S","description":"S","type":"string","editor":"textfield","resourceType":"dataset",
        "resourcePermissions":["READ"]},
    "target":{"title":"T","description":"T","type":"string","editor":"textfield","resourceType":"keyValueStore",
        "resourcePermissions":["READ","WRITE"]}
}}"#;

/// A run, and everything that its token may or may not touch.
struct Given {
    server: TestServer,
    token: String,
    names: Vec<(&'static str, String)>,
}

impl Given {
    async fn with(level: &str) -> Self {
        let config = EngineConfig { run_access: GeneralAccess::Restricted, ..EngineConfig::default() };
        let mut server = TestServer::start_with(config).await;
        let build = server.engine.build("0.1", &[("INPUT_SCHEMA.json", SCHEMA)]).await;
        server.engine.built(&build.id).await;
        server.engine.reload_actor().await;
        given_actor(&server, "helper").await;
        given_actor(&server, "powerful").await;
        let full = json!({ "actorPermissionLevel": "FULL_PERMISSIONS" });
        server.put("/v2/actors/ada~powerful").json(full).await.expect(200);

        let mine = id(&server.post("/v2/datasets?name=mine").await.expect(201).data());
        let source = id(&server.post("/v2/datasets?name=source").await.expect(201).data());
        let target = id(&server.post("/v2/key-value-stores?name=target").await.expect(201).data());
        let before = server.given_running().await;
        let by_former = server.token_of(&before).await;
        let earlier = id(&server.post("/v2/datasets?name=earlier").token(&by_former).await.expect(201).data());
        server.end(&before, 0).await;
        // So that its own is the newest.
        tokio::time::sleep(Duration::from_millis(10)).await;
        let stranger = server.post("/v2/actors/ada~helper/runs").await.expect(201).data();
        let (stranger, strangers) = (id(&stranger), stranger["defaultDatasetId"].as_str().unwrap().to_owned());

        let input = json!({ "source": source, "target": "ada/target" });
        let start = server.post(&format!("{ACTOR}/runs?forcePermissionLevel={level}")).json(input);
        let own = start.await.expect(201).data();
        let (own, dataset) = (id(&own), own["defaultDatasetId"].as_str().unwrap().to_owned());
        server.running(&own, 1).await;
        let token = server.token_of(&own).await;
        let child = server.post("/v2/actors/ada~helper/runs").token(&token).await.expect(201).data();
        let names = vec![
            ("{mine}", mine),
            ("{source}", source),
            ("{target}", target),
            ("{earlier}", earlier),
            ("{before}", before),
            ("{stranger}", stranger),
            ("{strangers}", strangers),
            ("{own}", own),
            ("{dataset}", dataset),
            ("{child}", id(&child)),
            ("{results}", child["defaultDatasetId"].as_str().unwrap().to_owned()),
        ];
        server.running(&names[9].1.clone(), 1).await;
        Self { server, token, names }
    }

    fn path(&self, path: &str) -> String {
        self.names.iter().fold(path.to_owned(), |path, (name, value)| path.replace(name, value))
    }

    async fn ask(&self, method: &str, path: &str, body: Value) -> Reply {
        let ask = self.server.ask(method.parse().unwrap(), &self.path(path)).token(&self.token);
        if body.is_null() { ask.await } else { ask.json(body).await }
    }
}

async fn given_actor(server: &TestServer, name: &str) {
    let actor = server.engine.engine.give_actor(&server.engine.ada.user, name).await;
    let build = actor.tagged_builds["latest"].build_id;
    server.engine.driver.put_image(build.as_str(), drivers::fake::FakeDriver::default_image());
}

/// What a run is answered that has full permissions, and whether one with limited permissions is answered the same; else it
/// is refused.
const OPERATIONS: &[(&str, &str, &str, u16, bool)] = &[
    // Its own run and default storages.
    ("GET", "/v2/actor-runs/{own}", "", 200, true),
    ("PUT", "/v2/actor-runs/{own}", r#"{"statusMessage":"Hello"}"#, 200, true),
    ("GET", "/v2/actor-runs/{own}/log", "", 200, true),
    ("GET", "/v2/logs/{own}", "", 200, true),
    ("GET", "/v2/actor-runs/{own}/dataset", "", 200, true),
    ("POST", "/v2/actor-runs/{own}/dataset/items", "[{}]", 201, true),
    ("GET", "/v2/datasets/{dataset}/items", "", 200, true),
    ("PUT", "/v2/actor-runs/{own}/key-value-store/records/K", "{}", 201, true),
    ("POST", "/v2/actor-runs/{own}/request-queue/requests", r#"{"uniqueKey":"a","url":"http://a"}"#, 201, true),
    ("GET", "/v2/actors/ada~my-actor/runs/last", "", 200, true),
    ("GET", "/v2/actors/ada~my-actor/runs/last/dataset/items", "", 200, true),
    // What it and earlier runs of its Actor have made.
    ("POST", "/v2/datasets?name=fresh", "", 201, true),
    ("POST", "/v2/key-value-stores", "", 201, true),
    ("POST", "/v2/request-queues", "", 201, true),
    ("POST", "/v2/datasets/~fresh/items", "[{}]", 201, true),
    ("DELETE", "/v2/datasets/ada~fresh", "", 204, true),
    ("POST", "/v2/datasets?name=earlier", "", 200, true),
    ("POST", "/v2/datasets/{earlier}/items", "[{}]", 201, true),
    ("GET", "/v2/datasets/{earlier}/items", "", 200, true),
    ("GET", "/v2/actor-runs/{before}/dataset/items", "", 200, true),
    ("GET", "/v2/actor-runs/{before}", "", 200, false),
    // What its input names.
    ("POST", "/v2/datasets?name=source", "", 200, true),
    ("GET", "/v2/datasets/{source}/items", "", 200, true),
    ("GET", "/v2/datasets/ada~source", "", 200, true),
    ("POST", "/v2/datasets/{source}/items", "[{}]", 201, false),
    ("PUT", "/v2/datasets/{source}", "{}", 200, false),
    ("PUT", "/v2/key-value-stores/{target}/records/K", "{}", 201, true),
    ("GET", "/v2/key-value-stores/{target}/records/K", "", 200, true),
    ("DELETE", "/v2/key-value-stores/{target}/records/K", "", 204, true),
    ("PUT", "/v2/key-value-stores/{target}", "{}", 200, false),
    ("DELETE", "/v2/key-value-stores/{target}", "", 204, false),
    // Everything else of its user's.
    ("GET", "/v2/datasets/{mine}", "", 200, false),
    ("GET", "/v2/datasets/{mine}/items", "", 200, false),
    ("GET", "/v2/datasets/~mine/items", "", 200, false),
    ("POST", "/v2/datasets?name=mine", "", 200, false),
    ("POST", "/v2/datasets/{mine}/items", "[{}]", 201, false),
    ("PUT", "/v2/datasets/{mine}", "{}", 200, false),
    ("DELETE", "/v2/datasets/{mine}", "", 204, false),
    ("GET", "/v2/datasets/{strangers}/items", "", 200, false),
    ("GET", "/v2/actor-runs/{stranger}", "", 200, false),
    ("GET", "/v2/actor-runs/{stranger}/dataset", "", 200, false),
    ("GET", "/v2/logs/{stranger}", "", 200, false),
    ("PUT", "/v2/actor-runs/{stranger}", "{}", 200, false),
    ("GET", "/v2/datasets", "", 200, false),
    ("GET", "/v2/key-value-stores?unnamed=1", "", 200, false),
    ("GET", "/v2/request-queues", "", 200, false),
    ("GET", "/v2/actor-runs", "", 200, false),
    ("GET", "/v2/actor-builds", "", 200, false),
    ("GET", "/v2/actors", "", 200, false),
    ("GET", "/v2/actors/ada~helper", "", 200, false),
    ("GET", "/v2/actors/ada~helper/runs", "", 200, false),
    ("GET", "/v2/actors/ada~helper/builds", "", 200, false),
    ("GET", "/v2/actors/ada~my-actor/builds/default", "", 200, false),
    ("GET", "/v2/actors/ada~my-actor/versions", "", 200, false),
    ("GET", "/v2/actors/ada~my-actor/versions/0.0/env-vars", "", 200, false),
    ("POST", "/v2/actors", r#"{"name":"new-actor"}"#, 201, false),
    ("PUT", "/v2/actors/ada~helper", "{}", 200, false),
    ("DELETE", "/v2/actors/ada~powerful/versions/0.0", "", 400, false),
    ("POST", "/v2/actors/ada~my-actor/builds?version=0.1", "", 201, false),
    ("GET", "/v2/users/me/limits", "", 200, false),
    ("GET", "/v2/users/me/usage/monthly", "", 200, false),
    // What tells nothing.
    ("GET", "/v2/users/me", "", 200, true),
    ("GET", "/v2/users/ada", "", 200, true),
    ("GET", "/v2/store", "", 200, true),
    ("POST", "/v2/tools/encode-and-sign", "{}", 200, true),
    ("GET", "/v2/browser-info", "", 200, true),
    // Other Actors.
    ("POST", "/v2/actors/ada~helper/validate-input", "{}", 200, true),
    ("GET", "/v2/actor-runs/{child}", "", 200, true),
    ("GET", "/v2/actor-runs/{child}/log", "", 200, true),
    ("GET", "/v2/datasets/{results}/items", "", 200, true),
    ("POST", "/v2/datasets/{results}/items", "[{}]", 201, false),
    ("POST", "/v2/actor-runs/{child}/abort", "", 200, true),
    ("POST", "/v2/actor-runs/{child}/resurrect", "", 200, false),
    ("DELETE", "/v2/actor-runs/{stranger}", "", 400, false),
    ("POST", "/v2/actors/ada~helper/runs", "", 201, true),
    ("POST", "/v2/actors/ada~helper/runs?forcePermissionLevel=FULL_PERMISSIONS", "", 201, false),
    ("POST", "/v2/actors/ada~powerful/runs", "", 201, false),
    ("POST", "/v2/actors/ada~powerful/runs?forcePermissionLevel=LIMITED_PERMISSIONS", "", 201, true),
    ("POST", "/v2/actor-runs/{own}/resurrect", "", 400, false),
    ("DELETE", "/v2/actor-runs/{own}", "", 400, false),
    ("POST", "/v2/actor-runs/{own}/charge", r#"{"eventName":"e"}"#, 400, true),
    ("POST", "/v2/actor-runs/{stranger}/abort", "", 200, false),
    ("POST", "/v2/actor-runs/{own}/reboot", "", 200, true),
    ("POST", "/v2/actor-runs/{own}/abort?gracefully=1", "", 200, true),
];

/// What is not there for a limited run: the clients look at Actors that they call, and can do without what they do not find.
const HIDDEN: &[&str] = &["/v2/actors/ada~helper", "/v2/actors/ada~helper/runs", "/v2/actors/ada~helper/builds"];

#[tokio::test(start_paused = true)]
async fn a_run_may_do_what_its_permissions_say_and_nothing_else() {
    for level in ["FULL_PERMISSIONS", "LIMITED_PERMISSIONS"] {
        let given = Given::with(level).await;
        for (method, path, body, status, for_limited) in OPERATIONS {
            let body = if body.is_empty() { Value::Null } else { serde_json::from_str(body).unwrap() };

            let reply = given.ask(method, path, body).await;

            let what = format!("{level}: {method} {path}");
            let is_allowed = level == "FULL_PERMISSIONS" || *for_limited;
            let is_hidden = *method == "GET" && HIDDEN.contains(path);
            let expected = if is_allowed {
                *status
            } else if is_hidden {
                404
            } else {
                403
            };
            assert_eq!(reply.status.as_u16(), expected, "{what}: {}", reply.text());
            if !is_allowed {
                let kind = if is_hidden { "record-not-found" } else { "insufficient-permissions" };
                assert_eq!(reply.json()["error"]["type"], kind, "{what}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_limited_run_becomes_only_what_is_limited_and_gets_what_its_new_input_names() {
    for (level, target, status) in [
        ("FULL_PERMISSIONS", "powerful", 200),
        ("LIMITED_PERMISSIONS", "powerful", 403),
        ("LIMITED_PERMISSIONS", "my-actor", 200),
    ] {
        let given = Given::with(level).await;
        let path = format!("/v2/actor-runs/{{own}}/metamorph?targetActorId=ada~{target}");

        given.ask("POST", &path, json!({ "source": "mine" })).await.expect(status);

        // It has no right to `mine` itself, so it gains none by naming it to what it becomes.
        let may_read = level == "FULL_PERMISSIONS";
        given.ask("GET", "/v2/datasets/{mine}", Value::Null).await.expect(if may_read { 200 } else { 403 });
        let keeps_source = may_read || status == 403;
        given.ask("GET", "/v2/datasets/{source}", Value::Null).await.expect(if keeps_source { 200 } else { 403 });
    }
}

#[tokio::test(start_paused = true)]
async fn a_limited_run_cannot_use_another_to_get_at_what_is_closed_to_it() {
    let given = Given::with("LIMITED_PERMISSIONS").await;
    let input = json!({ "source": given.path("{mine}"), "target": "target" });

    let accomplice = given.ask("POST", &format!("{ACTOR}/runs"), input.clone()).await.expect(201).data();
    let trusted = given.server.post(&format!("{ACTOR}/runs")).json(input).await.expect(201).data();

    for (run, mine) in [(accomplice, 403), (trusted, 200)] {
        let run = id(&run);
        given.server.running(&run, 1).await;
        let token = given.server.token_of(&run).await;
        let read = |path: &str| given.server.get(&given.path(path)).token(&token);
        read("/v2/datasets/{mine}/items").await.expect(mine);
        read("/v2/key-value-stores/{target}/keys").await.expect(200);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_open_to_everybody_is_open_to_a_limited_run_too() {
    let given = Given::with("LIMITED_PERMISSIONS").await;
    let open = json!({ "generalAccess": "ANYONE_WITH_ID_CAN_READ" });
    given.server.put(&given.path("/v2/datasets/{mine}")).json(open.clone()).await.expect(200);
    given.server.put(&given.path("/v2/actor-runs/{stranger}")).json(open).await.expect(200);
    given.server.given_public_actor().await;

    let read = given.ask("GET", "/v2/datasets/{mine}", Value::Null).await.expect(200).data();
    given.ask("GET", "/v2/actor-runs/{stranger}", Value::Null).await.expect(200);
    given.ask("GET", ACTOR, Value::Null).await.expect(200);

    assert_eq!(read["urlSigningSecretKey"], Value::Null, "it may not write, so it may not sign");
    given.ask("POST", "/v2/datasets/{mine}/items", json!([{}])).await.expect(403);
}
