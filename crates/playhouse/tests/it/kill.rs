//! `kill -9` of the server in the middle of writes, runs and builds: nothing that was acknowledged is lost, and jobs go on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::actors::{finished, numbers, says, shell_actor, start, start_build, unbuilt_actor, until};
use crate::server::Server;

const ROUNDS: u32 = 6;
const WRITERS: u32 = 8;

/// What the server has confirmed.
#[derive(Default)]
struct Confirmed {
    items: BTreeSet<String>,
    records: BTreeSet<String>,
    requests: BTreeSet<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kill_9_in_the_middle_of_writes() {
    let directory = tempfile::tempdir().unwrap();
    let data_dir = directory.path().join("data");
    let mut confirmed = Confirmed::default();

    for round in 0..ROUNDS {
        let mut server = Server::start(&data_dir);
        let dataset = server.storage("datasets", "items").await;
        let store = server.storage("key-value-stores", "records").await;
        let queue = server.storage("request-queues", "requests").await;
        assert_kept(&server, &dataset, &store, &queue, &confirmed).await;

        let server_now = Arc::new(server);
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (server, stop) = (server_now.clone(), stop.clone());
                let (dataset, store, queue) = (dataset.clone(), store.clone(), queue.clone());
                tokio::spawn(async move { write(&server, &stop, &dataset, &store, &queue, round, writer).await })
            })
            .collect();
        // Long enough for some hundred writes; the moment of the kill is different in each round.
        tokio::time::sleep(Duration::from_millis(150 + 70 * u64::from(round))).await;
        let pid = nix::unistd::Pid::from_raw(i32::try_from(server_now.pid()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            let wrote = writer.await.unwrap();
            confirmed.items.extend(wrote.items);
            confirmed.records.extend(wrote.records);
            confirmed.requests.extend(wrote.requests);
        }
        server = Arc::into_inner(server_now).unwrap();
        server.kill();
    }

    assert!(confirmed.items.len() > 100, "only {} items were confirmed", confirmed.items.len());
    let server = Server::start(&data_dir);
    let dataset = server.storage("datasets", "items").await;
    let store = server.storage("key-value-stores", "records").await;
    let queue = server.storage("request-queues", "requests").await;
    assert_kept(&server, &dataset, &store, &queue, &confirmed).await;
}

async fn write(
    server: &Server,
    stop: &AtomicBool,
    dataset: &str,
    store: &str,
    queue: &str,
    round: u32,
    writer: u32,
) -> Confirmed {
    let mut confirmed = Confirmed::default();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let name = format!("{round}-{writer}-{number}");
        let item = json!({ "uid": name, "text": "x".repeat(500) }).to_string();
        if is_confirmed(server.try_send(Method::POST, &format!("datasets/{dataset}/items"), item).await) {
            confirmed.items.insert(name.clone());
        }
        let path = format!("key-value-stores/{store}/records/{name}");
        if is_confirmed(server.try_send(Method::PUT, &path, json!({ "name": name }).to_string()).await) {
            confirmed.records.insert(name.clone());
        }
        let request = json!({ "url": format!("http://example.com/{name}"), "uniqueKey": name }).to_string();
        if is_confirmed(server.try_send(Method::POST, &format!("request-queues/{queue}/requests"), request).await) {
            confirmed.requests.insert(name);
        }
    }
    confirmed
}

fn is_confirmed(answer: Option<(StatusCode, Value)>) -> bool {
    answer.is_some_and(|(status, _)| status.is_success())
}

async fn assert_kept(server: &Server, dataset: &str, store: &str, queue: &str, confirmed: &Confirmed) {
    let items = server.get(&format!("datasets/{dataset}/items")).await;
    let uids: Vec<&str> = items.as_array().unwrap().iter().map(|item| item["uid"].as_str().unwrap()).collect();
    let kept: BTreeSet<String> = uids.iter().map(ToString::to_string).collect();
    assert_eq!(kept.len(), uids.len(), "an item was stored twice");
    assert_eq!(confirmed.items.difference(&kept).next(), None, "an acknowledged item is lost");
    let info = server.get(&format!("datasets/{dataset}")).await;
    assert_eq!(info["data"]["itemCount"], uids.len());

    let mut records = BTreeSet::new();
    let mut after = String::new();
    loop {
        let page = server.get(&format!("key-value-stores/{store}/keys?exclusiveStartKey={after}")).await;
        let keys = page["data"]["items"].as_array().unwrap();
        records.extend(keys.iter().map(|item| item["key"].as_str().unwrap().to_owned()));
        let Some(next) = page["data"]["nextExclusiveStartKey"].as_str() else { break };
        after = next.to_owned();
    }
    assert_eq!(confirmed.records.difference(&records).next(), None, "an acknowledged record is lost");

    let listed = server.get(&format!("request-queues/{queue}/requests?limit=10000")).await;
    let requests = listed["data"]["items"].as_array().unwrap();
    let requests: BTreeSet<String> =
        requests.iter().map(|item| item["uniqueKey"].as_str().unwrap().to_owned()).collect();
    assert_eq!(confirmed.requests.difference(&requests).next(), None, "an acknowledged request is lost");
    let info = server.get(&format!("request-queues/{queue}")).await;
    assert_eq!(info["data"]["totalRequestCount"], requests.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_go_on_while_the_server_is_killed_and_are_taken_up_again() {
    let directory = tempfile::tempdir().unwrap();
    let data_dir = directory.path().join("data");
    let mut server = Server::start(&data_dir);
    let counting = "i=0; while [ $i -lt 40 ]; do echo line $i; i=$((i+1)); sleep 0.1; done; exit 3";
    let actor = shell_actor(&server, "counter", counting).await;
    let mut runs = Vec::new();
    for _ in 0..3 {
        runs.push(start(&server, &actor, "memory=128").await);
    }

    for _ in 0..3 {
        server.kill();
        server = Server::start(&data_dir);
    }

    for run in &runs {
        let ended = finished(&server, &format!("actor-runs/{run}")).await;
        assert_eq!(ended["status"], "FAILED", "{ended}");
        assert_eq!(ended["exitCode"], 3, "{ended}");
        assert_eq!(ended["stats"]["restartCount"], 0, "{ended}");
        assert_eq!(numbers(&server, run).await, (0..40).collect::<Vec<_>>(), "lines are missing or doubled");
    }
    let everything = server.get("actor-runs").await;
    assert_eq!(everything["data"]["total"], 3, "a run was lost or invented");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_ended_while_no_server_was_there_has_its_true_end() {
    let directory = tempfile::tempdir().unwrap();
    let data_dir = directory.path().join("data");
    let mut server = Server::start(&data_dir);
    let actor = shell_actor(&server, "short", "echo started; sleep 1; echo done").await;
    let run = start(&server, &actor, "memory=128").await;
    says(&server, &run, "Z started\n").await;

    server.kill();
    let exit_file = data_dir.join("runs").join(&run).join("1/exit.json");
    until("the supervisor has written how the run ended", async || exit_file.exists()).await;
    let server = Server::start(&data_dir);

    let ended = finished(&server, &format!("actor-runs/{run}")).await;
    assert_eq!(ended["status"], "SUCCEEDED", "{ended}");
    assert!(server.text(&format!("actor-runs/{run}/log")).await.contains("Z done\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_goes_on_while_the_server_is_killed_and_is_taken_up_again() {
    let directory = tempfile::tempdir().unwrap();
    let data_dir = directory.path().join("data");
    let mut server = Server::start(&data_dir);
    let steps = "RUN echo half way && sleep 2 && echo made > made\nCMD [\"sh\", \"main.sh\"]\n";
    let actor = unbuilt_actor(&server, "built", steps, "echo it was $(cat made)").await;
    let build = start_build(&server, &actor).await;
    says(&server, &build, "half way\n").await;

    server.kill();
    let server = Server::start(&data_dir);

    let ended = finished(&server, &format!("actor-builds/{build}")).await;
    let log = server.text(&format!("logs/{build}")).await;
    assert_eq!(ended["status"], "SUCCEEDED", "{ended} {log}");
    assert_eq!(log.matches("Z half way\n").count(), 1, "the step was done twice: {log}");
    let run = start(&server, &actor, "memory=128").await;
    let ended = finished(&server, &format!("actor-runs/{run}")).await;
    assert_eq!(ended["status"], "SUCCEEDED", "{ended}");
    assert!(server.text(&format!("logs/{run}")).await.contains("Z it was made\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_ended_while_no_server_was_there_has_its_true_end() {
    let directory = tempfile::tempdir().unwrap();
    let data_dir = directory.path().join("data");
    let mut server = Server::start(&data_dir);
    let actor = unbuilt_actor(&server, "broken", "RUN echo half way && sleep 1 && exit 9\n", "").await;
    let build = start_build(&server, &actor).await;
    says(&server, &build, "half way\n").await;

    server.kill();
    let exit_file = data_dir.join("builds").join(&build).join("1/exit.json");
    until("the supervisor has written how the build ended", async || exit_file.exists()).await;
    let server = Server::start(&data_dir);

    let ended = finished(&server, &format!("actor-builds/{build}")).await;
    let log = server.text(&format!("logs/{build}")).await;
    assert_eq!(ended["status"], "FAILED", "{ended} {log}");
    assert!(ended["statusMessage"].as_str().is_some_and(|message| message.contains('9')), "{ended} {log}");
}
