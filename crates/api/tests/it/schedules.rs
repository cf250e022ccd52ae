//! Schedules (section 20 of the contract).

use serde_json::{Value, json};

use crate::harness::TestServer;
use crate::platform::{ACTOR, id, insist, secs};

impl TestServer {
    /// Makes a schedule with these fields besides its name and expression.
    async fn given_schedule(&self, name: &str, fields: Value) -> Value {
        let mut body = json!({ "name": name, "cronExpression": "* * * * *" });
        body.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        self.post("/v2/schedules").json(body).await.expect(201).data()
    }

    /// Makes a task of `my-actor` and returns its id.
    async fn given_task_id(&self) -> String {
        let body = json!({ "actId": "ada~my-actor", "name": "my-task", "input": { "a": 1 } });
        id(&self.post("/v2/actor-tasks").json(body).await.expect(201).data())
    }

    async fn actor_id(&self) -> String {
        id(&self.get(ACTOR).await.expect(200).data())
    }
}

#[tokio::test(start_paused = true)]
async fn a_schedule_is_created_found_changed_and_deleted() {
    let server = TestServer::start().await;
    let (actor, task) = (server.actor_id().await, server.given_task_id().await);
    let body = json!({
        "name": "My-Schedule",
        "title": "Title",
        "description": "Text",
        "cronExpression": "*/30 * * * * *",
        "timezone": "Europe/Prague",
        "isEnabled": true,
        "isExclusive": false,
        "notifications": { "email": true },
        "userId": "ignored",
        "actions": [
            {
                "type": "RUN_ACTOR",
                "actorId": actor,
                "runInput": { "body": "{\"a\":1}", "contentType": "application/json" },
                "runOptions": { "build": "latest", "timeoutSecs": 60, "memoryMbytes": 256, "maxItems": null },
            },
            { "type": "RUN_ACTOR_TASK", "actorTaskId": task, "input": { "b": 2 } },
        ],
    });

    let created = server.post("/v2/schedules").json(body).await.expect(201);
    let schedule = created.data();
    assert_eq!(created.header("location").rsplit('/').next(), schedule["id"].as_str());
    insist(&schedule, &["id", "userId", "name", "cronExpression", "timezone", "createdAt", "modifiedAt", "actions"]);
    assert_eq!((&schedule["title"], &schedule["description"]), (&json!("Title"), &json!("Text")));
    assert_eq!((&schedule["isEnabled"], &schedule["isExclusive"]), (&json!(true), &json!(false)));
    assert_eq!(
        (&schedule["notifications"], &schedule["timezone"]),
        (&json!({ "email": true }), &json!("Europe/Prague"))
    );
    assert_eq!(schedule["nextRunAt"], "2026-08-31T09:13:30.000Z");
    assert_eq!(schedule.get("lastRunAt"), Some(&Value::Null));
    let [first, second] = &schedule["actions"].as_array().unwrap()[..] else { panic!("two actions: {schedule}") };
    insist(first, &["id", "type", "actorId"]);
    assert_eq!(first["runInput"], json!({ "body": "{\"a\":1}", "contentType": "application/json" }));
    assert_eq!(first["runOptions"], json!({ "build": "latest", "timeoutSecs": 60, "memoryMbytes": 256 }));
    assert_eq!((&second["actorTaskId"], &second["input"]), (&json!(task), &json!({ "b": 2 })));
    let user = schedule["userId"].as_str().unwrap();
    for reference in
        [id(&schedule), "~my-schedule".to_owned(), "ADA~My-Schedule".to_owned(), format!("{user}~my-schedule")]
    {
        let found = server.get(&format!("/v2/schedules/{reference}")).await.expect(200).data();
        assert_eq!(found, schedule, "{reference}");
    }

    tokio::time::sleep(secs(1)).await;
    let path = format!("/v2/schedules/{}", id(&schedule));
    let same = server.put(&path).json(json!({ "name": "My-Schedule", "isEnabled": true })).await.expect(200).data();
    assert_eq!(same, schedule, "what changes nothing is no change");
    let renamed =
        json!({ "name": "renamed", "title": null, "cronExpression": "@daily", "notifications": { "email": false } });
    let changed = server.put(&path).json(renamed).await.expect(200).data();
    assert_eq!((&changed["name"], changed.get("title")), (&json!("renamed"), None));
    assert_eq!(changed["nextRunAt"], "2026-08-31T22:00:00.000Z", "midnight in Prague");
    assert_eq!((&changed["notifications"], &changed["actions"]), (&json!({ "email": false }), &schedule["actions"]));
    assert_ne!(changed["modifiedAt"], schedule["modifiedAt"]);
    let disabled = server.put(&path).json(json!({ "isEnabled": false })).await.expect(200).data();
    assert_eq!(disabled["nextRunAt"], Value::Null);

    server.delete(&path).await.expect(204);
    server.get(&path).await.expect_error(404, "record-not-found");
    server.get(&format!("{path}/log")).await.expect_error(404, "record-not-found");
    server.delete(&path).await.expect_error(404, "record-not-found");
}

#[tokio::test(start_paused = true)]
async fn a_schedule_of_which_little_is_said_is_disabled_exclusive_and_in_utc() {
    let server = TestServer::start().await;

    let schedule = server.post("/v2/schedules").json(json!({ "cronExpression": "0 0 * * *" })).await.expect(201).data();

    assert_eq!(schedule["name"], format!("schedule-{}", id(&schedule)));
    assert_eq!((&schedule["isEnabled"], &schedule["isExclusive"]), (&json!(false), &json!(true)));
    assert_eq!((&schedule["timezone"], &schedule["actions"]), (&json!("UTC"), &json!([])));
    assert_eq!((&schedule["notifications"], &schedule["nextRunAt"]), (&json!({ "email": false }), &Value::Null));
    let path = format!("/v2/schedules/{}", id(&schedule));
    assert_eq!(server.get(&format!("{path}/log")).await.expect(200).json(), json!({ "data": [] }));
}

#[tokio::test(start_paused = true)]
async fn actions_are_replaced_together_and_keep_the_ids_they_are_sent_with() {
    let server = TestServer::start().await;
    let (actor, task) = (server.actor_id().await, server.given_task_id().await);
    let of_actor = json!({ "type": "RUN_ACTOR", "actorId": actor });
    let of_task = json!({ "type": "RUN_ACTOR_TASK", "actorTaskId": task, "input": "{\"c\":3}" });
    let schedule = server.given_schedule("schedule", json!({ "actions": [of_actor, of_task] })).await;
    let path = format!("/v2/schedules/{}", id(&schedule));
    let (first, second) = (schedule["actions"][0].clone(), schedule["actions"][1].clone());
    assert_eq!(second["input"], json!({ "c": 3 }), "an object may come as text");

    let put = async |actions: Value| {
        let changed = server.put(&path).json(json!({ "actions": actions })).await.expect(200).data();
        changed["actions"].as_array().unwrap().clone()
    };
    let kept = put(json!([second.clone(), of_actor])).await;
    assert_eq!(kept[0], second);
    assert_ne!(kept[1]["id"], first["id"], "an id that is not sent is not kept");
    let twice = put(json!([second.clone(), second.clone()])).await;
    assert_eq!(twice[0]["id"], second["id"]);
    assert_ne!(twice[1]["id"], second["id"]);
    let strange = put(json!([{ "id": "aB3aB3aB3aB3aB3aB", "type": "RUN_ACTOR", "actorId": actor }])).await;
    assert_ne!(strange[0]["id"], "aB3aB3aB3aB3aB3aB");
    assert_eq!(put(json!([])).await, Vec::<Value>::new());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_a_schedule_is_refused() {
    let server = TestServer::start().await;
    let bob = server.given_user("bob").await;
    let (actor, task) = (server.actor_id().await, server.given_task_id().await);
    server.given_schedule("taken", json!({})).await;
    let other = server.given_schedule("other", json!({ "isEnabled": true })).await;
    let path = format!("/v2/schedules/{}", id(&other));
    let of_actor = json!({ "type": "RUN_ACTOR", "actorId": actor });
    let of_task = json!({ "type": "RUN_ACTOR_TASK", "actorTaskId": task });

    for (fields, kind) in [
        (json!({ "cronExpression": "" }), "cron-expression-invalid"),
        (json!({ "cronExpression": "* * *" }), "cron-expression-invalid"),
        (json!({ "cronExpression": "61 * * * *" }), "cron-expression-invalid"),
        (json!({ "cronExpression": "* ".repeat(100_000) }), "cron-expression-invalid"),
        (json!({ "cronExpression": "0 0 30 2 *" }), "next-runtime-computation-failed"),
        (json!({ "timezone": "Mars/Olympus" }), "invalid-value"),
        (json!({ "timezone": "../../etc/passwd" }), "invalid-value"),
        (json!({ "name": "a b" }), "invalid-value"),
        (json!({ "isEnabled": "yes" }), "invalid-request"),
        (json!({ "actions": {} }), "invalid-request"),
        (json!({ "actions": [{}] }), "invalid-request"),
        (json!({ "actions": [{ "type": "RUN_ALL" }] }), "invalid-request"),
        (json!({ "actions": [{ "type": "RUN_ACTOR" }] }), "schedule-actor-not-found"),
        (json!({ "actions": [{ "type": "RUN_ACTOR", "actorId": "ada~my-actor" }] }), "schedule-actor-not-found"),
        (json!({ "actions": [{ "type": "RUN_ACTOR", "actorId": task }] }), "schedule-actor-not-found"),
        (json!({ "actions": [{ "type": "RUN_ACTOR_TASK", "actorTaskId": actor }] }), "schedule-actor-task-not-found"),
        (json!({ "actions": [{ "type": "RUN_ACTOR_TASK", "actorTaskId": task, "input": [1] }] }), "invalid-input"),
        (
            json!({ "actions": [{ "type": "RUN_ACTOR", "actorId": actor, "runOptions": { "memoryMbytes": 1 } }] }),
            "invalid-request",
        ),
        (json!({ "actions": vec![of_actor.clone(); 11] }), "invalid-value"),
        (json!({ "actions": vec![of_task.clone(); 11] }), "invalid-value"),
    ] {
        let mut body = json!({ "name": "new-schedule", "cronExpression": "* * * * *" });
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        server.post("/v2/schedules").json(body).await.expect_error(400, kind);
        server.put(&path).json(fields).await.expect_error(400, kind);
    }
    let create = |body: Value| server.post("/v2/schedules").json(body);
    create(json!({})).await.expect_error(400, "cron-expression-invalid");
    create(json!([])).await.expect_error(400, "invalid-request");
    let taken = json!({ "name": "TAKEN", "cronExpression": "@daily" });
    create(taken.clone()).await.expect_error(409, "schedule-name-not-unique");
    server.put(&path).json(taken).await.expect_error(409, "schedule-name-not-unique");
    create(json!({ "cronExpression": "@daily" })).anonymous().await.expect_error(401, "token-not-provided");
    let strange = json!({ "cronExpression": "@daily", "actions": [of_actor] });
    create(strange).token(&bob).await.expect_error(400, "schedule-actor-not-found");
    let strange = json!({ "cronExpression": "@daily", "actions": [of_task] });
    create(strange).token(&bob).await.expect_error(400, "schedule-actor-task-not-found");

    assert_eq!(server.get(&path).await.expect(200).data(), other, "nothing was changed");
    assert_eq!(server.get("/v2/schedules").await.expect(200).data()["total"], 2, "nothing else was stored");
}

#[tokio::test(start_paused = true)]
async fn schedules_are_listed_by_creation_in_short_form() {
    let server = TestServer::start().await;
    let bob = server.given_user("bob").await;
    let actor = server.actor_id().await;
    let input = json!({ "body": "x", "contentType": "text/plain" });
    let actions = json!([{ "type": "RUN_ACTOR", "actorId": actor, "runInput": input }]);
    for number in 0..3 {
        server.given_schedule(&format!("schedule-{number}"), json!({ "actions": actions })).await;
        tokio::time::sleep(secs(1)).await;
    }
    let names = async |query: &str| {
        let page = server.get(&format!("/v2/schedules{query}")).await.expect(200).data();
        assert_eq!(page["total"], 3);
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };

    assert_eq!(names("").await, ["schedule-0", "schedule-1", "schedule-2"]);
    assert_eq!(names("?desc=1&limit=1&offset=1").await, ["schedule-1"]);
    let page = server.get("/v2/schedules").await.expect(200).data();
    let item = &page["items"][0];
    insist(
        item,
        &["id", "userId", "cronExpression", "timezone", "isEnabled", "isExclusive", "createdAt", "modifiedAt"],
    );
    assert_eq!(item["actions"][0].as_object().unwrap().keys().collect::<Vec<_>>(), ["id", "type", "actorId"]);
    assert_eq!(server.get("/v2/schedules").token(&bob).await.expect(200).data()["total"], 0);
}

#[tokio::test(start_paused = true)]
async fn others_neither_see_nor_touch_a_schedule() {
    let server = TestServer::start().await;
    let bob = server.given_user("bob").await;
    let schedule = id(&server.given_schedule("my-schedule", json!({})).await);

    for reference in [schedule.as_str(), "ada~my-schedule", "my-schedule"] {
        for (method, path) in [("GET", ""), ("PUT", ""), ("DELETE", ""), ("GET", "/log")] {
            let path = format!("/v2/schedules/{reference}{path}");
            let ask = || server.ask(method.parse().unwrap(), &path);
            let message = ask().token(&bob).await.expect_error(404, "record-not-found");
            assert_eq!(message, "Schedule was not found");
            ask().anonymous().await.expect_error(401, "token-not-provided");
        }
    }
    server.get(&format!("/v2/schedules/{schedule}")).await.expect(200);
}

#[tokio::test(start_paused = true)]
async fn a_schedule_that_is_due_starts_runs_that_say_so_and_tells_of_it_in_its_log() {
    let server = TestServer::start().await;
    let (actor, task) = (server.actor_id().await, server.given_task_id().await);
    let of_actor = json!({ "type": "RUN_ACTOR", "actorId": actor });
    let of_task = json!({ "type": "RUN_ACTOR_TASK", "actorTaskId": task, "input": { "b": 2 } });
    let fields = json!({ "isEnabled": true, "isExclusive": false, "actions": [of_actor, of_task] });
    let schedule = id(&server.given_schedule("schedule", fields).await);
    let path = format!("/v2/schedules/{schedule}");

    tokio::time::sleep(secs(36)).await;

    for runs in [format!("/v2/actor-tasks/{task}/runs/last"), format!("{ACTOR}/runs/last?origin=SCHEDULER")] {
        let run = server.get(&runs).await.expect(200).data();
        assert_eq!(
            run["meta"],
            json!({
                "origin": "SCHEDULER", "scheduleId": schedule, "scheduledAt": "2026-08-31T09:14:00.000Z",
            })
        );
    }
    let runs = server.get("/v2/actor-runs").await.expect(200).data();
    assert_eq!((&runs["total"], &runs["items"][0]["meta"]["scheduleId"]), (&json!(2), &json!(schedule)));
    let shown = server.get(&path).await.expect(200).data();
    assert_eq!(shown["nextRunAt"], "2026-08-31T09:15:00.000Z");
    assert!(shown["lastRunAt"].as_str().unwrap().starts_with("2026-08-31T09:14:00."), "{shown}");

    server.delete(&format!("/v2/actor-tasks/{task}")).await.expect(204);
    tokio::time::sleep(secs(60)).await;
    let log = server.get(&format!("{path}/log")).await.expect(200).data();
    let log = log.as_array().unwrap();
    let lines: Vec<_> =
        log.iter().map(|entry| (entry["level"].as_str().unwrap(), entry["message"].as_str().unwrap())).collect();
    let lost = format!("Cannot start Actor task \"{task}\": Actor task was not found");
    assert_eq!(lines[..2], [("INFO", "Schedule invoked"), ("INFO", "Schedule invoked")]);
    assert!(lines.contains(&("ERROR", &lost)), "{lines:?}");
    assert!(log.iter().all(|entry| entry["createdAt"].is_string()));
}
