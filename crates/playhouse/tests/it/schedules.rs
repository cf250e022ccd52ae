//! Schedules of a server that is killed while they are invoked.

use std::collections::BTreeMap;

use bytes::Bytes;
use hyper::Method;
use serde_json::json;

use crate::actors::{shell_actor, until};
use crate::server::Server;

const SCHEDULES: usize = 20;
const ROUNDS: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_in_the_middle_of_invocations_starts_nothing_twice_and_leaves_nothing_half_done() {
    let directory = tempfile::tempdir().unwrap();
    let data_dir = directory.path().join("data");
    let mut server = Server::start(&data_dir);
    let actor = shell_actor(&server, "quick", "true").await;
    let action = json!({ "type": "RUN_ACTOR", "actorId": actor, "runOptions": { "memoryMbytes": 128 } });
    let mut schedules = Vec::new();
    for _ in 0..SCHEDULES {
        let body = json!({
            "cronExpression": "*/10 * * * * *", "isEnabled": true, "isExclusive": false, "actions": [action, action],
        });
        let schedule = server.send(Method::POST, "schedules", body.to_string()).await;
        schedules.push(schedule["data"]["id"].as_str().unwrap().to_owned());
    }

    let mut seen = 0;
    for _ in 0..ROUNDS {
        until("a schedule is invoked", async || total(&server).await > seen).await;
        server.kill();
        server = Server::start(&data_dir);
        // Those that were not reached when the server was killed are late now, not missed.
        let whole = |total: u64| total > seen && total.is_multiple_of(2 * SCHEDULES as u64);
        until("all schedules are invoked", async || whole(total(&server).await)).await;
        seen = total(&server).await;
    }
    for schedule in schedules {
        server.send(Method::DELETE, &format!("schedules/{schedule}"), Bytes::new()).await;
    }

    let runs = server.get("actor-runs?limit=1000").await;
    let mut started: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for run in runs["data"]["items"].as_array().unwrap() {
        let meta = &run["meta"];
        let invocation = (meta["scheduledAt"].as_str().unwrap(), meta["scheduleId"].as_str().unwrap());
        *started.entry(invocation).or_default() += 1;
    }
    assert!(started.len() >= ROUNDS * SCHEDULES, "{} invocations", started.len());
    assert_eq!(started.iter().find(|(_, runs)| **runs != 2), None, "each invocation has two actions");
}

async fn total(server: &Server) -> u64 {
    server.get("actor-runs?limit=1").await["data"]["total"].as_u64().unwrap()
}
