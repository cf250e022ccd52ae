//! Logs (section 13 of the contract).

use tokio::time::Instant;

use crate::harness::TestServer;
use crate::platform::{ACTOR, secs};

const LINE: &str = "2026-08-31T09:13:25.123Z \u{1b}[32mINFO\u{1b}[0m Started.\n";
const PLAIN: &str = "2026-08-31T09:13:25.123Z INFO Started.\n";

#[tokio::test(start_paused = true)]
async fn a_log_is_plain_text_with_or_without_escapes_under_every_address() {
    let server = TestServer::start().await;
    let run = server.given_running().await;
    server.write_log(&run, LINE).await;
    server.end(&run, 0).await;

    for url in [
        format!("/v2/logs/{run}"),
        format!("/v2/actor-runs/{run}/log"),
        format!("{ACTOR}/runs/{run}/log"),
        format!("{ACTOR}/runs/last/log"),
    ] {
        let plain = server.get(&url).header("accept-encoding", "gzip, br").await.expect(200);
        assert_eq!(plain.header("content-type"), "text/plain; charset=utf-8");
        assert_eq!((plain.header("content-encoding"), plain.header("content-disposition")), ("", ""));
        assert!(plain.text().contains(PLAIN), "{}", plain.text());
        let raw = server.get(&format!("{url}?raw=1&download=true")).await.expect(200);
        assert!(raw.text().contains(LINE), "{}", raw.text());
        assert!(raw.header("content-disposition").starts_with("attachment"));
        assert_eq!(
            server.get(&format!("{url}?stream=1")).await.expect(200).text(),
            plain.text(),
            "a finished log ends"
        );
    }
    for url in ["/v2/logs/x", "/v2/logs/aB3aB3aB3aB3aB3aB", "/v2/actor-runs/x/log"] {
        server.get(url).await.expect_error(404, "record-not-found");
        server.get(url).anonymous().await.expect_error(404, "record-or-token-not-found");
    }
    server.get(&format!("/v2/logs/{run}?stream=x")).await.expect_error(400, "invalid-request");
}

#[tokio::test(start_paused = true)]
async fn a_streamed_log_brings_what_comes_and_ends_with_the_run() {
    let server = TestServer::start().await;
    let run = server.given_running().await;
    server.write_log(&run, LINE).await;
    let start = Instant::now();
    let work = async {
        tokio::time::sleep(secs(5)).await;
        server.write_log(&run, "2026-08-31T09:13:30.000Z Last words.\n").await;
        tokio::time::sleep(secs(5)).await;
        server.end(&run, 0).await;
    };

    let url = format!("/v2/logs/{run}?stream=1&raw=1");
    let (log, ()) = tokio::join!(async { server.get(&url).await.expect(200) }, work);

    assert_eq!((start.elapsed().as_secs(), &log.broken), (10, &None));
    let text = log.text();
    assert!(text.contains(LINE) && text.contains("Last words.\n"), "{text}");
    assert_eq!(server.get(&format!("/v2/logs/{run}?raw=1")).await.expect(200).text(), text, "nothing is missing");
    assert_eq!(log.header("x-accel-buffering"), "no");
}

#[tokio::test(start_paused = true)]
async fn a_streamed_log_of_a_build_ends_with_the_build() {
    let server = TestServer::start().await;
    server.engine.driver.hold_builds();
    let build =
        server.post(&format!("{ACTOR}/builds?version=0.0")).await.expect(201).data()["id"].as_str().unwrap().to_owned();
    let finish = async {
        tokio::time::sleep(secs(3)).await;
        server.engine.driver.finish(&build, server.engine.driver.exited(0));
    };

    let url = format!("/v2/actor-builds/{build}/log?stream=1");
    let (log, ()) = tokio::join!(async { server.get(&url).await.expect(200) }, finish);

    assert!(!log.text().is_empty());
    for url in [
        format!("/v2/logs/{build}"),
        format!("{ACTOR}/builds/{build}/log"),
        format!("/v2/actor-builds/{build}/log?raw=1"),
    ] {
        assert_eq!(server.get(&url).await.expect(200).text(), log.text());
    }
}
