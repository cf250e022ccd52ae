//! What is seen of a run while it lives: events, logs, its token, its web server.

use std::net::SocketAddr;
use std::time::Duration;

use drivers::{Job, JobKind, Usage};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use serde_json::Value;
use store::JobLog;

use crate::testing::TestEngine;
use crate::{EventStream, RunOptionsGiven};

async fn next(events: &mut EventStream) -> Value {
    serde_json::from_str(&events.next().await.expect("an event")).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_run_is_told_each_second_what_it_uses() {
    let test = TestEngine::start().await;
    let run = test.running(RunOptionsGiven { memory_mbytes: Some(1024), ..Default::default() }).await;
    let secret = test.events_secret(&run.id);
    let mut events = test.engine.events(&run.id, &secret).unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    test.driver.set_usage(run.id.as_str(), Usage { cpu_micros: 240_000, memory_bytes: 1 << 28, ..Usage::default() });

    let event = loop {
        let event = next(&mut events).await;
        if event["data"]["memCurrentBytes"] != 0 {
            break event;
        }
    };

    assert_eq!(event["name"], "systemInfo");
    let data = &event["data"];
    assert_eq!((&data["memCurrentBytes"], &data["memMaxBytes"]), (&(1 << 28).into(), &(1 << 30).into()), "EVT-7");
    assert!((data["cpuCurrentUsage"].as_f64().unwrap() - 24.0).abs() < 1.0, "EVT-7: {data}");
    assert_eq!(data["isCpuOverloaded"], true, "EVT-8: 24 % of one core is 96 % of a quarter");
    for name in ["memAvgBytes", "cpuAvgUsage", "cpuMaxUsage", "createdAt"] {
        assert!(!data[name].is_null(), "EVT-6: {name}");
    }
    assert!(event["createdAt"].is_string(), "EVT-2");
}

#[tokio::test(start_paused = true)]
async fn a_graceful_abort_is_announced_to_every_listener() {
    let test = TestEngine::start().await;
    let run = test.running(RunOptionsGiven::default()).await;
    let secret = test.events_secret(&run.id);
    let listeners: Vec<_> = (0..3).map(|_| test.engine.events(&run.id, &secret).unwrap()).collect();
    // Far more measurements than anybody keeps, and nobody has read one.
    tokio::time::sleep(Duration::from_secs(500)).await;

    test.engine.abort_run(&test.ada, &run.id, true).await.unwrap();
    test.ended(&run.id).await;

    for events in listeners {
        let names: Vec<String> = events
            .map(|event| serde_json::from_str::<Value>(&event).unwrap())
            .filter(|event| std::future::ready(event["name"] != "systemInfo"))
            .map(|event| format!("{} {}", event["name"].as_str().unwrap(), event["data"]))
            .collect()
            .await;
        assert_eq!(names, ["aborting null", "persistState {\"isMigrating\":false}"], "EVT-13, EVT-12");
    }
}

#[tokio::test(start_paused = true)]
async fn events_are_for_live_runs_and_those_who_know_the_secret() {
    let test = TestEngine::start().await;
    let run = test.run().await;
    let secret = test.events_secret(&run.id);

    assert!(test.engine.events(&run.id, &secret).is_some(), "EVT-3: also before it runs");
    assert!(test.engine.events(&run.id, "wrong").is_none());
    let other = model::RunId::parse("aaaaaaaaaaaaaaaaa").unwrap();
    assert!(test.engine.events(&other, &secret).is_none(), "EVT-4");
    test.started(&run.id, 1).await;
    let url = &test.driver.started(run.id.as_str()).await.env["ACTOR_EVENTS_WEBSOCKET_URL"];
    assert_eq!(*url, format!("ws://127.0.0.1:3333/x-events/{}/{secret}", run.id), "EVT-1");
    test.exit(&run.id, 0);
    test.ended(&run.id).await;
    assert!(test.engine.events(&run.id, &secret).is_none(), "EVT-4");
}

#[tokio::test(start_paused = true)]
async fn statistics_come_from_the_measurements() {
    let test = TestEngine::start().await;
    let run = test.running(RunOptionsGiven::default()).await;
    let usage = Usage { cpu_micros: 0, memory_bytes: 500, memory_peak_bytes: 900, net_rx_bytes: 7, net_tx_bytes: 8 };
    test.driver.set_usage(run.id.as_str(), usage);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let mut exit = test.driver.exited(0);
    exit.usage = Usage { memory_peak_bytes: 1000, net_tx_bytes: 9, ..usage };
    test.driver.finish(run.id.as_str(), exit);

    let stats = test.ended(&run.id).await.stats.clone();

    assert_eq!((stats.mem_current_bytes, stats.mem_max_bytes), (500, 1000), "RUN-8");
    assert_eq!((stats.net_rx_bytes, stats.net_tx_bytes), (7, 9));
    assert!(stats.mem_avg_bytes > 0.0);
}

#[tokio::test(start_paused = true)]
async fn followers_of_a_log_see_everything_and_are_let_go_at_the_end() {
    let test = TestEngine::start().await;
    let run = test.running(RunOptionsGiven::default()).await;
    let log = JobLog::Run(run.id);
    let store = test.engine.store();
    store.logs.append(&log, "2026-08-31T09:13:25.123Z one\n").await.unwrap();

    let followers: Vec<_> = futures::future::join_all((0..50).map(|_| test.engine.log(log, true))).await;
    let read =
        futures::future::try_join_all(followers.into_iter().map(|follower| follower.unwrap().try_collect::<Vec<_>>()));
    let write = async {
        for line in 0..10 {
            tokio::time::sleep(Duration::from_secs(7)).await;
            store.logs.append(&log, &format!("2026-08-31T09:13:25.123Z line {line}\n")).await.unwrap();
        }
        test.exit(&run.id, 0);
    };
    let (read, ()) = tokio::join!(read, write);

    let whole = test.log(log).await;
    for chunks in read.unwrap() {
        assert!(chunks.iter().all(|chunk| chunk.ends_with(b"\n")), "LOG-8");
        assert_eq!(String::from_utf8(chunks.concat()).unwrap(), whole, "LOG-6");
    }
    assert!(whole.contains("line 9\n") && whole.ends_with("ACTOR: Actor finished with exit code 0.\n"), "{whole}");
    let ended = test.engine.log(log, true).await.unwrap().try_collect::<Vec<_>>().now_or_never();
    assert!(ended.is_none() || ended.unwrap().unwrap().concat() == whole.as_bytes(), "a finished log just ends");
}

#[tokio::test(start_paused = true)]
async fn a_log_is_seen_while_it_grows() {
    let test = TestEngine::start().await;
    let run = test.running(RunOptionsGiven::default()).await;
    let mut follower = test.engine.log(JobLog::Run(run.id), true).await.unwrap();

    let first = follower.next().await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&first).contains(" ACTOR: Starting build 0.0.1"), "LOG-3");
    test.engine.store().logs.append(&JobLog::Run(run.id), "2026-08-31T09:13:25.123Z new\n").await.unwrap();
    let second = follower.next().await.unwrap().unwrap();

    assert_eq!(&second[..], b"2026-08-31T09:13:25.123Z new\n");
}

#[tokio::test(start_paused = true)]
async fn a_token_of_a_run_is_valid_for_its_life_and_a_minute_longer() {
    let mut test = TestEngine::start().await;
    let run = test.running(RunOptionsGiven::default()).await;
    let token = test.driver.started(run.id.as_str()).await.env["APIFY_TOKEN"].clone();

    assert_eq!(test.engine.authenticate(&token).await.unwrap().unwrap().user.username, "ada");
    let last = if token.ends_with('0') { "1" } else { "0" };
    let forged = format!("{}{last}", &token[..token.len() - 1]);
    assert!(test.engine.authenticate(&forged).await.unwrap().is_none());
    test.exit(&run.id, 0);
    test.ended(&run.id).await;
    tokio::time::sleep(Duration::from_secs(55)).await;
    assert!(test.engine.authenticate(&token).await.unwrap().is_some());
    test.crash().await;
    assert!(test.engine.authenticate(&token).await.unwrap().is_some(), "also after a restart");
    assert!(test.engine.authenticate(&forged).await.unwrap().is_none());
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(test.engine.authenticate(&token).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn tokens_of_users_are_known_until_they_expire_or_are_taken_back() {
    let test = TestEngine::start().await;
    let soon = test.engine.clock().now().plus_secs(60);
    let (_, expiring) = test.engine.create_token(&test.ada.user.id, "short", Some(soon)).await.unwrap();
    let (lasting, value) = test.engine.create_token(&test.ada.user.id, "long", None).await.unwrap();
    let known = async |token: &str| test.engine.authenticate(token).await.unwrap().is_some();

    assert!(known(&expiring).await && known(&value).await && known(&test.token).await);
    for token in ["", "playhouse_api_", "playhouse_run_", "playhouse_run_x_y", "é", &"x".repeat(10_000)] {
        assert!(!known(token).await, "{token}");
    }
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert!(!known(&expiring).await);
    test.engine.revoke_token(&lasting.id).await.unwrap();
    assert!(!known(&value).await && known(&test.token).await);
}

#[tokio::test(start_paused = true)]
async fn the_web_server_of_a_run_is_found_by_its_secret() {
    let test = TestEngine::start().await;
    let run = test.running(RunOptionsGiven::default()).await;
    let address: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let job = Job { kind: JobKind::Run, id: run.id.to_string(), life: 1 };
    test.driver.put_address(&job, run.web_port.unwrap(), address);

    assert_eq!(test.engine.web_server_of(&run.container_secret).await, Some(address), "WEB-1");
    assert_eq!(test.engine.web_server_of("nope").await, None);
    test.exit(&run.id, 0);
    test.ended(&run.id).await;
    assert_eq!(test.engine.web_server_of(&run.container_secret).await, None, "WEB-3");
}
