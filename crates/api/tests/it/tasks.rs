//! Tasks (section 19 of the contract), their runs and the storages of their last run.

use engine::testing::a_version;
use http::Method;
use serde_json::{Value, json};

use crate::harness::TestServer;
use crate::platform::{ACTOR, id, insist, secs};

impl TestServer {
    /// Makes a task of `my-actor` with these fields besides its name.
    async fn given_task(&self, name: &str, fields: Value) -> Value {
        let mut body = json!({ "actId": "ada~my-actor", "name": name });
        body.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        self.post("/v2/actor-tasks").json(body).await.expect(201).data()
    }

    /// The last run of the task at that address, as soon as it is executed.
    async fn running_run_of(&self, task: &str) -> Value {
        loop {
            tokio::time::sleep(secs(1)).await;
            let last = self.get(&format!("{task}/runs/last?status=RUNNING")).await;
            if last.status == 200 {
                return last.data();
            }
        }
    }

    /// The input that a run was given.
    async fn input_of(&self, run: &Value) -> Value {
        let store = run["defaultKeyValueStoreId"].as_str().expect("an id");
        self.get(&format!("/v2/key-value-stores/{store}/records/INPUT")).await.expect(200).json()
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_is_created_found_in_every_way_changed_and_deleted() {
    let server = TestServer::start().await;
    let actor = server.get(ACTOR).await.expect(200).data();

    let body = json!({
        "actId": "ada/my-actor",
        "name": "My-Task",
        "title": "Title",
        "description": "Text",
        "options": { "build": "latest", "timeoutSecs": 0, "memoryMbytes": 256, "maxItems": null },
        "input": { "hello": "world", "number": 1.50 },
        "userId": "ignored",
    });
    let created = server.post("/v2/actor-tasks").json(body).await.expect(201);
    let task = created.data();
    assert_eq!(created.header("location").rsplit('/').next(), task["id"].as_str());
    insist(&task, &["id", "userId", "actId", "name", "username", "createdAt", "modifiedAt", "stats", "isPublic"]);
    assert_eq!((&task["actId"], &task["actName"]), (&actor["id"], &json!("my-actor")));
    assert_eq!((&task["actUsername"], &task["username"]), (&json!("ada"), &json!("ada")));
    assert_eq!((&task["title"], &task["description"]), (&json!("Title"), &json!("Text")));
    assert_eq!(task["options"], json!({ "build": "latest", "timeoutSecs": 0, "memoryMbytes": 256 }));
    assert_eq!(task["input"], json!({ "hello": "world", "number": 1.5 }));
    assert_eq!((&task["stats"], &task["isPublic"]), (&json!({ "totalRuns": 0 }), &json!(false)));
    for null in ["removedAt", "standbyUrl", "publicConfig"] {
        assert_eq!(task.get(null), Some(&Value::Null), "{null}");
    }

    let (task_id, user_id) = (id(&task), task["userId"].as_str().unwrap());
    for reference in [
        task_id.clone(),
        "ada~My-Task".to_owned(),
        "ADA~my-task".to_owned(),
        "ada%7Emy-task".to_owned(),
        "~my-task".to_owned(),
        format!("{user_id}~my-task"),
        "my-task".to_owned(),
    ] {
        assert_eq!(server.get(&format!("/v2/actor-tasks/{reference}")).await.expect(200).data(), task, "{reference}");
    }

    tokio::time::sleep(secs(60)).await;
    let path = format!("/v2/actor-tasks/{task_id}");
    let same = server.put(&path).json(json!({ "name": "My-Task", "isPublic": false })).await.expect(200).data();
    assert_eq!(same, task, "what changes nothing is no change");
    let body = json!({ "name": "renamed", "title": null, "options": { "timeoutSecs": 9 }, "input": { "a": 1 } });
    let changed = server.put(&path).json(body).await.expect(200).data();
    assert_eq!((&changed["name"], changed.get("title")), (&json!("renamed"), None));
    assert_eq!(changed["options"], json!({ "build": "latest", "timeoutSecs": 9, "memoryMbytes": 256 }));
    assert_eq!(changed["input"], json!({ "a": 1 }), "an input is replaced whole");
    assert_ne!(changed["modifiedAt"], task["modifiedAt"]);

    server.delete(&path).await.expect(204);
    server.get("/v2/actor-tasks/~renamed").await.expect_error(404, "record-not-found");
    server.delete(&path).await.expect_error(404, "record-not-found");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_a_task_is_refused() {
    let server = TestServer::start().await;
    server.given_task("taken", json!({})).await;
    let other = server.given_task("other", json!({ "input": { "a": 1 } })).await;
    let create = |body: Value| server.post("/v2/actor-tasks").json(body);
    let with = |fields: Value| {
        let mut body = json!({ "actId": "ada~my-actor", "name": "new-task" });
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        body
    };

    create(with(json!({ "name": "TAKEN" }))).await.expect_error(409, "actor-task-name-not-unique");
    create(json!({ "name": "new-task" })).await.expect_error(400, "invalid-request");
    for unknown in ["aB3aB3aB3aB3aB3aB", "nobody~my-actor", "nothing"] {
        let message = create(with(json!({ "actId": unknown }))).await.expect_error(404, "record-not-found");
        assert_eq!(message, "Actor was not found");
    }
    for (fields, kind) in [
        (json!({ "name": "a b" }), "invalid-value"),
        (json!({ "name": 7 }), "invalid-request"),
        (json!({ "input": [1] }), "invalid-input"),
        (json!({ "options": { "memoryMbytes": 100 } }), "invalid-request"),
        (json!({ "options": { "timeoutSecs": -1 } }), "invalid-request"),
        (json!({ "options": { "maxItems": 0 } }), "max-items-must-be-greater-than-zero"),
        (json!({ "options": "none" }), "invalid-request"),
        (json!({ "isPublic": "yes" }), "invalid-request"),
        (json!({ "actorStandby": { "nonsense": 1 } }), "invalid-request"),
    ] {
        create(with(fields.clone())).await.expect_error(400, kind);
        server.put("/v2/actor-tasks/~other").json(fields).await.expect_error(400, kind);
    }
    create(json!([1])).await.expect_error(400, "invalid-request");
    server.post("/v2/actor-tasks").body("{").await.expect_error(400, "invalid-request");
    create(with(json!({}))).anonymous().await.expect_error(401, "token-not-provided");
    let rename = server.put("/v2/actor-tasks/~other").json(json!({ "name": "taken" }));
    rename.await.expect_error(409, "actor-task-name-not-unique");

    assert_eq!(server.get("/v2/actor-tasks").await.expect(200).data()["total"], 2, "nothing else was stored");
    assert_eq!(server.get("/v2/actor-tasks/~other").await.expect(200).data(), other);
    for empty in ["~", "ada~"] {
        server.get(&format!("/v2/actor-tasks/{empty}")).await.expect_error(400, "invalid-request");
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_without_a_name_gets_one() {
    let server = TestServer::start().await;
    let actor = id(&server.get(ACTOR).await.expect(200).data());

    for name in [Value::Null, json!("")] {
        let body = json!({ "actId": actor, "name": name });
        let task = server.post("/v2/actor-tasks").json(body).await.expect(201).data();

        assert_eq!(task["name"], format!("task-{}", id(&task)));
        assert_eq!((&task["options"], &task["input"]), (&json!({}), &Value::Null));
        server.get(&format!("/v2/actor-tasks/~{}", task["name"].as_str().unwrap())).await.expect(200);
    }
}

#[tokio::test(start_paused = true)]
async fn an_input_is_read_and_merged_without_an_envelope() {
    let server = TestServer::start().await;
    server.given_task("my-task", json!({})).await;
    let path = "/v2/actor-tasks/~my-task/input";
    assert_eq!(server.get(path).await.expect(200).text(), "{}");
    assert_eq!(server.put(path).await.expect(200).text(), "{}");

    let put = |body: &'static str| server.put(path).header("content-type", "application/json").body(body);
    assert_eq!(put(r#"{"a":1.50,"b":{"x":1}}"#).await.expect(200).text(), r#"{"a":1.50,"b":{"x":1}}"#);
    assert_eq!(put(r#"{"b":{"y":2},"c":null}"#).await.expect(200).text(), r#"{"a":1.50,"b":{"y":2},"c":null}"#);
    assert_eq!(put("null").await.expect(200).text(), r#"{"a":1.50,"b":{"y":2},"c":null}"#);
    for bad in ["[1]", "1", "\"a\"", "{"] {
        put(bad).await.expect_error(400, "invalid-input");
    }

    assert_eq!(server.get(path).await.expect(200).text(), r#"{"a":1.50,"b":{"y":2},"c":null}"#);
    let task = server.get("/v2/actor-tasks/~my-task").await.expect(200).data();
    assert_eq!(task["input"], json!({ "a": 1.5, "b": { "y": 2 }, "c": null }));
    server.get(path).anonymous().await.expect_error(401, "token-not-provided");
    server.get("/v2/actor-tasks/~none/input").await.expect_error(404, "record-not-found");
}

#[tokio::test(start_paused = true)]
async fn tasks_are_listed_by_creation_in_short_form() {
    let server = TestServer::start().await;
    let bob = server.given_user("bob").await;
    for number in 0..5 {
        server.given_task(&format!("task-{number}"), json!({ "input": { "a": 1 }, "title": "T" })).await;
        tokio::time::sleep(secs(1)).await;
    }
    let names = async |query: &str| {
        let page = server.get(&format!("/v2/actor-tasks{query}")).await.expect(200).data();
        assert_eq!(page["total"], 5);
        assert_eq!(page["count"], page["items"].as_array().unwrap().len());
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|task| task["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };

    assert_eq!(names("").await, ["task-0", "task-1", "task-2", "task-3", "task-4"]);
    assert_eq!(names("?desc=1&limit=2&offset=1").await, ["task-3", "task-2"]);
    assert_eq!(names("?offset=9").await, [""; 0]);
    let page = server.get("/v2/actor-tasks?limit=5000").await.expect(200).data();
    assert_eq!((&page["limit"], &page["offset"], &page["desc"]), (&json!(1000), &json!(0), &json!(false)));
    let item = &page["items"][0];
    insist(item, &["id", "userId", "actId", "actName", "actUsername", "username", "createdAt", "modifiedAt", "stats"]);
    assert_eq!((item.get("input"), item.get("options")), (None, None));
    assert_eq!(server.get("/v2/actor-tasks").token(&bob).await.expect(200).data()["total"], 0);
    server.get("/v2/actor-tasks?limit=x").await.expect_error(400, "invalid-request");
}

#[tokio::test(start_paused = true)]
async fn a_run_of_a_task_has_its_input_and_options_with_those_of_the_call_over_them() {
    let server = TestServer::start().await;
    let fields = json!({
        "input": { "a": { "x": 1 }, "b": 2 },
        "options": { "timeoutSecs": 77, "memoryMbytes": 256, "restartOnError": true },
    });
    let task = server.given_task("my-task", fields).await;

    let started = server.post("/v2/actor-tasks/~my-task/runs").await.expect(201);
    let run = started.data();
    assert_eq!((&run["actorTaskId"], &run["actId"]), (&task["id"], &task["actId"]));
    assert_eq!(started.header("location").rsplit('/').next(), run["id"].as_str());
    assert_eq!((&run["options"]["timeoutSecs"], &run["options"]["memoryMbytes"]), (&json!(77), &json!(256)));
    assert_eq!(run["options"]["restartOnError"], true);
    assert_eq!(server.input_of(&run).await, json!({ "a": { "x": 1 }, "b": 2 }));
    let env = server.engine.driver.started(&id(&run)).await.env;
    assert_eq!(env["ACTOR_TASK_ID"], id(&task));

    let query = "?timeout=0&memory=512&forcePermissionLevel=FULL_PERMISSIONS";
    let body = json!({ "a": { "y": 2 } });
    let run = server.post(&format!("/v2/actor-tasks/{}/runs{query}", id(&task))).json(body).await.expect(201).data();
    assert_eq!((&run["options"]["timeoutSecs"], &run["options"]["memoryMbytes"]), (&json!(0), &json!(512)));
    assert_eq!(server.input_of(&run).await, json!({ "a": { "y": 2 }, "b": 2 }));
    let env = server.engine.driver.started(&id(&run)).await.env;
    assert_eq!(env["ACTOR_PERMISSION_LEVEL"], "LIMITED_PERMISSIONS", "a level is forced upon runs of Actors only");

    for (body, content_type) in [("[1]", "application/json"), ("{}", "text/plain"), ("{", "application/json")] {
        let ask = server.post("/v2/actor-tasks/~my-task/runs").header("content-type", content_type).body(body);
        ask.await.expect_error(400, "invalid-input");
    }
    let message = server.post("/v2/actor-tasks/~my-task/runs").json(json!("text")).await;
    let message = message.expect_error(400, "invalid-input");
    assert_eq!(message, "Provided input must be object, got \"string\" instead.");
    server.post("/v2/actor-tasks/~my-task/runs?build=none").await.expect_error(404, "record-not-found");
    server.post("/v2/actor-tasks/~my-task/runs").anonymous().await.expect_error(401, "token-not-provided");

    let task = server.get("/v2/actor-tasks/~my-task").await.expect(200).data();
    assert_eq!(task["stats"]["totalRuns"], 2);
    assert_eq!(server.get("/v2/actor-tasks").await.data()["items"][0]["stats"]["totalRuns"], 2);
    assert_eq!(server.get(ACTOR).await.data()["stats"]["totalRuns"], 2);
}

#[tokio::test(start_paused = true)]
async fn the_schema_of_the_actor_completes_and_judges_the_merged_input() {
    let server = TestServer::start().await;
    let schema = json!({
        "title": "Input", "type": "object", "schemaVersion": 1, "required": ["url"],
        "properties": {
            "url": { "title": "URL", "type": "string", "description": "D", "editor": "textfield" },
            "depth": { "title": "Depth", "type": "integer", "description": "D", "default": 3 },
        },
    });
    let files = [
        (".actor/actor.json", r#"{"actorSpecification":1,"name":"my-actor","version":"0.1","input":"./input.json"}"#),
        (".actor/input.json", &schema.to_string()),
        ("Dockerfile", "FROM node:20"),
    ];
    let now = server.engine.engine.clock().now();
    let version = a_version("0.1", &files);
    server.engine.engine.store().actors.create_version(&server.engine.actor.id, version, now).await.unwrap();
    let build = server.engine.start_build("0.1").await;
    server.engine.built(&build.id).await;

    server.given_task("complete", json!({ "input": { "url": "a" } })).await;
    let run = server.post("/v2/actor-tasks/~complete/runs").await.expect(201).data();
    assert_eq!(server.input_of(&run).await, json!({ "url": "a", "depth": 3 }));

    server.given_task("lacking", json!({})).await;
    server.post("/v2/actor-tasks/~lacking/runs").await.expect_error(400, "invalid-input");
    let body = json!({ "url": "b", "depth": "deep" });
    server.post("/v2/actor-tasks/~complete/runs").json(body).await.expect_error(400, "invalid-input");
    assert_eq!(server.get("/v2/actor-tasks/~lacking/runs").await.expect(200).data()["total"], 0);
}

#[tokio::test(start_paused = true)]
async fn runs_of_a_task_are_listed_apart_and_the_last_is_found() {
    let server = TestServer::start().await;
    server.given_task("my-task", json!({})).await;
    let base = "/v2/actor-tasks/~my-task/runs";
    server.get(&format!("{base}/last")).await.expect_error(404, "record-not-found");
    let first = id(&server.post(base).await.expect(201).data());
    server.running(&first, 1).await;
    server.end(&first, 0).await;
    tokio::time::sleep(secs(1)).await;
    let second = id(&server.post(base).header("x-apify-request-origin", "CLI").await.expect(201).data());
    server.running(&second, 1).await;
    server.given_run().await;

    let ids = async |query: &str| {
        let page = server.get(&format!("{base}{query}")).await.expect(200).data();
        let items = page["items"].as_array().unwrap();
        assert_eq!(page["total"], items.len());
        items.iter().map(id).collect::<Vec<_>>()
    };
    assert_eq!(ids("").await, [first.clone(), second.clone()]);
    assert_eq!(ids("?desc=1").await, [second.clone(), first.clone()]);
    assert_eq!(ids("?status=SUCCEEDED,FAILED").await, std::slice::from_ref(&first));
    assert_eq!(ids("?startedBefore=2020-01-01").await, [""; 0]);
    server.get(&format!("{base}?status=FINISHED")).await.expect_error(400, "invalid-request");

    let last = async |query: &str| id(&server.get(&format!("{base}/last{query}")).await.expect(200).data());
    assert_eq!(last("").await, second);
    assert_eq!(last("?status=SUCCEEDED").await, first);
    assert_eq!(last("?origin=API").await, first);
    assert_eq!(last("?origin=CLI&waitForFinish=1").await, second);
    server.get(&format!("{base}/last?origin=ACTOR")).await.expect_error(404, "record-not-found");
    let bad = server.get("/v2/actor-tasks/~none/runs/last?status=x").await;
    assert_eq!(bad.expect_error(400, "invalid-request"), "Status parameter has an invalid value");
    let none = server.get("/v2/actor-tasks/~none/runs/last").await.expect_error(404, "record-not-found");
    assert_eq!(none, "Actor task was not found");
    server.get(&format!("{base}/last")).anonymous().await.expect_error(401, "token-not-provided");
}

#[tokio::test(start_paused = true)]
async fn the_last_run_of_a_task_can_be_read_and_worked_on() {
    let server = TestServer::start().await;
    server.given_task("my-task", json!({})).await;
    let other = server.engine.engine.give_actor(&server.engine.ada.user, "other").await;
    let image = other.tagged_builds["latest"].build_id;
    server.engine.driver.put_image(image.as_str(), drivers::fake::FakeDriver::default_image());
    let last = "/v2/actor-tasks/~my-task/runs/last";
    let run = id(&server.post("/v2/actor-tasks/~my-task/runs").await.expect(201).data());
    server.running(&run, 1).await;
    server.write_log(&run, "2026-08-31T09:13:25.123Z hello\n").await;

    assert!(server.get(&format!("{last}/log?status=RUNNING&raw=1")).await.expect(200).text().contains("hello"));
    assert_eq!(id(&server.post(&format!("{last}/reboot")).await.expect(200).data()), run);
    server.running(&run, 2).await;
    let metamorph = format!("{last}/metamorph?targetActorId=ada~other");
    assert_eq!(server.post(&metamorph).await.expect(200).data()["actId"], other.id.as_str());
    server.running(&run, 3).await;
    let aborted = server.post(&format!("{last}/abort")).await.expect(200).data();
    assert_eq!((id(&aborted), &aborted["status"]), (run.clone(), &json!("ABORTED")));
    assert_eq!(aborted["actorTaskId"], server.get("/v2/actor-tasks/~my-task").await.data()["id"]);

    server.post(&format!("{last}/resurrect")).await.expect_error(404, "page-not-found");
    server.put(last).json(json!({})).await.expect_error(405, "method-not-allowed");
    server.post(&format!("{last}/abort")).anonymous().await.expect_error(401, "token-not-provided");
}

#[tokio::test(start_paused = true)]
async fn every_storage_operation_answers_below_the_last_run_of_a_task() {
    let server = TestServer::start().await;
    server.given_task("my-task", json!({})).await;
    let run = server.post("/v2/actor-tasks/~my-task/runs").await.expect(201).data();
    let request = json!({ "uniqueKey": "k", "url": "http://example.com" });
    let request_id = model::RequestId::of("k");

    let base = "/v2/actor-tasks/~my-task/runs/last";
    let mut asked = 0;
    for (kind, operations) in [
        (
            "dataset",
            vec![
                ("POST", "/items".to_owned(), json!([{ "a": 1 }]), 201),
                ("GET", "/items".to_owned(), Value::Null, 200),
                ("GET", "/statistics".to_owned(), Value::Null, 200),
                ("PUT", String::new(), json!({}), 200),
                ("GET", String::new(), Value::Null, 200),
                ("DELETE", String::new(), Value::Null, 204),
            ],
        ),
        (
            "key-value-store",
            vec![
                ("PUT", "/records/K".to_owned(), json!({ "a": 1 }), 201),
                ("POST", "/records/L".to_owned(), json!({ "a": 1 }), 201),
                ("GET", "/records/K".to_owned(), Value::Null, 200),
                ("GET", "/records".to_owned(), Value::Null, 200),
                ("GET", "/keys".to_owned(), Value::Null, 200),
                ("DELETE", "/records/K".to_owned(), Value::Null, 204),
                ("PUT", String::new(), json!({}), 200),
                ("GET", String::new(), Value::Null, 200),
                ("DELETE", String::new(), Value::Null, 204),
            ],
        ),
        (
            "request-queue",
            vec![
                ("POST", "/requests".to_owned(), request.clone(), 201),
                ("POST", "/requests/batch".to_owned(), json!([request]), 201),
                ("GET", "/requests".to_owned(), Value::Null, 200),
                ("GET", format!("/requests/{request_id}"), Value::Null, 200),
                ("PUT", format!("/requests/{request_id}"), request.clone(), 200),
                ("GET", "/head".to_owned(), Value::Null, 200),
                ("POST", "/head/lock?lockSecs=60&clientKey=c".to_owned(), Value::Null, 201),
                ("PUT", format!("/requests/{request_id}/lock?lockSecs=60&clientKey=c"), Value::Null, 200),
                ("DELETE", format!("/requests/{request_id}/lock?clientKey=c"), Value::Null, 204),
                ("POST", "/requests/unlock".to_owned(), Value::Null, 200),
                ("DELETE", format!("/requests/{request_id}"), Value::Null, 204),
                ("DELETE", "/requests/batch".to_owned(), json!([{ "uniqueKey": "k" }]), 200),
                ("PUT", String::new(), json!({}), 200),
                ("GET", String::new(), Value::Null, 200),
                ("DELETE", String::new(), Value::Null, 204),
            ],
        ),
    ] {
        for (method, path, body, status) in operations {
            // The client of the last run sends its filter along with everything (LAST-4).
            let joint = if path.contains('?') { '&' } else { '?' };
            let path = format!("{base}/{kind}{path}{joint}status=READY,RUNNING");
            let path = path.replace("READY,RUNNING", server.get(base).await.data()["status"].as_str().unwrap());
            let ask = server.ask(Method::from_bytes(method.as_bytes()).unwrap(), &path);
            let ask = if body.is_null() { ask } else { ask.json(body) };
            let reply = ask.await.expect(status);
            if path.ends_with(&format!("{base}/{kind}?status=RUNNING")) && method == "GET" {
                assert_eq!(reply.data()["actRunId"], run["id"]);
            }
            server.ask(Method::from_bytes(method.as_bytes()).unwrap(), &path).anonymous().await.expect(401);
            asked += 1;
        }
    }
    assert_eq!(asked, 30);
}

#[tokio::test(start_paused = true)]
async fn a_synchronous_run_of_a_task_answers_with_its_result() {
    let server = TestServer::start().await;
    server.given_task("my-task", json!({ "input": { "a": 1 } })).await;
    let base = "/v2/actor-tasks/~my-task";

    for method in [Method::GET, Method::POST] {
        let sync = server.ask(method.clone(), &format!("{base}/run-sync?outputRecordKey=RESULT"));
        let sync = if method == Method::POST { sync.json(json!({ "b": 2 })) } else { sync };
        let work = async {
            let run = server.running_run_of(base).await;
            let store = run["defaultKeyValueStoreId"].as_str().unwrap();
            server.put(&format!("/v2/key-value-stores/{store}/records/RESULT")).body("done").await.expect(201);
            server.end(&id(&run), 0).await;
            server.input_of(&run).await
        };
        let (reply, input) = tokio::join!(sync, work);
        assert_eq!(reply.expect(201).text(), "done");
        let expected = if method == Method::POST { json!({ "a": 1, "b": 2 }) } else { json!({ "a": 1 }) };
        assert_eq!(input, expected);
    }

    for method in [Method::GET, Method::POST] {
        let sync = server.ask(method, &format!("{base}/run-sync-get-dataset-items?format=jsonl"));
        let work = async {
            let run = server.running_run_of(base).await;
            let dataset = run["defaultDatasetId"].as_str().unwrap();
            server
                .post(&format!("/v2/datasets/{dataset}/items"))
                .json(json!([{ "n": 1 }, { "n": 2 }]))
                .await
                .expect(201);
            server.end(&id(&run), 0).await;
        };
        let (reply, ()) = tokio::join!(sync, work);
        assert_eq!(reply.expect(201).text(), "{\"n\":1}\n{\"n\":2}\n");
    }
    server.head(&format!("{base}/run-sync")).await.expect(405);
    assert_eq!(server.get(base).await.data()["stats"]["totalRuns"], 4);
}

#[tokio::test(start_paused = true)]
async fn others_neither_see_nor_touch_a_task() {
    let server = TestServer::start().await;
    let bob = server.given_user("bob").await;
    let task = id(&server.given_task("my-task", json!({})).await);
    let run = id(&server.post("/v2/actor-tasks/~my-task/runs").await.expect(201).data());

    for reference in [task, "ada~my-task".to_owned(), "my-task".to_owned()] {
        for (method, path) in [
            ("GET", ""),
            ("PUT", ""),
            ("DELETE", ""),
            ("GET", "/input"),
            ("PUT", "/input"),
            ("GET", "/runs"),
            ("POST", "/runs"),
            ("POST", "/run-sync"),
            ("GET", "/runs/last"),
            ("POST", "/runs/last/abort"),
            ("GET", "/runs/last/dataset/items"),
        ] {
            let path = format!("/v2/actor-tasks/{reference}{path}");
            let ask = || server.ask(method.parse().unwrap(), &path);
            let message = ask().token(&bob).await.expect_error(404, "record-not-found");
            assert_eq!(message, "Actor task was not found", "{method} {path}");
            ask().anonymous().await.expect_error(401, "token-not-provided");
        }
    }
    assert_ne!(server.get(&format!("/v2/actor-runs/{run}")).await.data()["status"], "ABORTED");
}

#[tokio::test(start_paused = true)]
async fn a_public_actor_of_another_user_can_be_used_in_a_task() {
    let server = TestServer::start().await;
    let bob = server.given_user("bob").await;
    let actor = id(&server.get(ACTOR).await.data());
    let create = || server.post("/v2/actor-tasks").token(&bob).json(json!({ "actId": actor, "name": "bobs-task" }));
    create().await.expect_error(404, "record-not-found");

    server.given_public_actor().await;
    let task = create().await.expect(201).data();
    assert_eq!((&task["username"], &task["actUsername"]), (&json!("bob"), &json!("ada")));
    let run = server.post("/v2/actor-tasks/~bobs-task/runs").token(&bob).await.expect(201).data();
    assert_eq!(run["userId"], task["userId"]);
    assert_eq!(server.get("/v2/actor-tasks/~bobs-task/runs").token(&bob).await.data()["total"], 1);

    server.put(ACTOR).json(json!({ "isPublic": false })).await.expect(200);
    let message = server.post("/v2/actor-tasks/~bobs-task/runs").token(&bob).await;
    assert_eq!(message.expect_error(404, "record-not-found"), "Actor was not found");
    server.get("/v2/actor-tasks/~bobs-task").token(&bob).await.expect(200);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_actor_takes_its_tasks_along_and_leaves_their_runs() {
    let server = TestServer::start().await;
    let task = id(&server.given_task("my-task", json!({})).await);
    let run = server.post("/v2/actor-tasks/~my-task/runs").await.expect(201).data();

    server.delete(ACTOR).await.expect(204);

    server.get(&format!("/v2/actor-tasks/{task}")).await.expect_error(404, "record-not-found");
    server.get("/v2/actor-tasks/~my-task/runs").await.expect_error(404, "record-not-found");
    assert_eq!(server.get("/v2/actor-tasks").await.expect(200).data()["total"], 0);
    let kept = server.get(&format!("/v2/actor-runs/{}", id(&run))).await.expect(200).data();
    assert_eq!(kept["actorTaskId"], task);
}

#[tokio::test(start_paused = true)]
async fn publishing_needs_the_actor_a_public_one_and_a_configuration() {
    let server = TestServer::start().await;
    let bob = server.given_user("bob").await;
    server.given_task("my-task", json!({ "title": "T" })).await;
    let path = "/v2/actor-tasks/~my-task";
    let put = |body: Value| server.put(path).json(body);
    let publish = || put(json!({ "isPublic": true }));

    publish().await.expect_error(400, "cannot-publish-actor-task");
    put(json!({ "publicConfig": { "seoDescription": "D" } })).await.expect(200);
    publish().await.expect_error(400, "cannot-publish-actor-task");
    server.given_public_actor().await;
    assert_eq!(server.get(path).await.data()["publicConfig"]["publishedAt"], Value::Null);
    let published = publish().await.expect(200).data();
    assert_eq!(published["isPublic"], true);
    assert!(published["publicConfig"]["publishedAt"].is_string());
    assert_eq!(publish().await.expect(200).data(), published, "once more changes nothing");

    for (config, what) in [
        (json!({ "inputSchemaFields": ["none"] }), "input field"),
        (json!({ "datasetView": "none" }), "dataset view"),
        (json!({ "datasetName": "none" }), "dataset"),
    ] {
        let message = put(json!({ "publicConfig": config })).await.expect_error(400, "invalid-value");
        assert!(message.contains(what), "{message}");
    }
    let back = put(json!({ "isPublic": false })).await.expect(200).data();
    assert_eq!((&back["isPublic"], &back["publicConfig"]["seoDescription"]), (&json!(false), &json!("D")));
    assert_eq!(back["publicConfig"]["publishedAt"], Value::Null);

    let create = json!({ "actId": "ada~my-actor", "name": "bobs-task" });
    server.post("/v2/actor-tasks").token(&bob).json(create).await.expect(201);
    let bobs = |body: Value| server.put("/v2/actor-tasks/~bobs-task").token(&bob).json(body);
    bobs(json!({ "isPublic": true })).await.expect_error(403, "insufficient-permissions");
    bobs(json!({ "publicConfig": { "seoTitle": "T" } })).await.expect_error(403, "insufficient-permissions");
    bobs(json!({ "isPublic": false, "publicConfig": {}, "title": "T" })).await.expect(200);
}
