//! Deliveries of webhooks to a target on this machine.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::p50_p90;
use super::server::Server;

/// Webhooks that hear of each event.
const WEBHOOKS: usize = 500;
/// Events.
const EVENTS: usize = 40;
const DELIVERIES: usize = WEBHOOKS * EVENTS;
const MAX_WAIT: Duration = Duration::from_secs(120);

/// Builds are asked for that fail at once: each is an event that 500 webhooks hear of.
pub fn measure() -> anyhow::Result<()> {
    let server = Server::start()?;
    let (url, heard) = sink()?;
    let actor = server.post("actors", &json!({ "name": "heard-of", "versions": [{ "versionNumber": "0.0" }] }))?;
    let actor = actor["data"]["id"].as_str().context("no Actor")?.to_owned();
    for number in 0..WEBHOOKS {
        let webhook = json!({
            "eventTypes": ["ACTOR.BUILD.CREATED"], "condition": { "actorId": actor }, "requestUrl": format!("{url}/{number}"),
        });
        server.post("webhooks", &webhook)?;
    }

    let cpu = server.cpu_seconds()?;
    let started = Instant::now();
    for _ in 0..EVENTS {
        server.post(&format!("actors/{actor}/builds?version=0.0"), &Value::Null)?;
    }
    let asked = started.elapsed();
    wait_for("all deliveries", || Ok(heard.load(Ordering::Relaxed) >= DELIVERIES))?;
    let took = started.elapsed();
    let cpu = server.cpu_seconds()? - cpu;
    let first = server.get("webhook-dispatches?limit=1")?["data"]["total"].as_u64().unwrap_or_default();
    anyhow::ensure!(first == DELIVERIES as u64, "{first} dispatches instead of {DELIVERIES}");
    wait_for("all dispatches to be written down", || all_succeeded(&server))?;

    let mut pages = Vec::new();
    for offset in (0..DELIVERIES).step_by(DELIVERIES / 50) {
        let before = Instant::now();
        server.get(&format!("webhook-dispatches?limit=100&offset={offset}"))?;
        pages.push(before.elapsed().as_secs_f64() * 1000.0);
    }
    let (p50, p90) = p50_p90(&mut pages);
    println!(
        "webhooks: {DELIVERIES} deliveries in {:.2} s, {:.0} per second ({:.2} ms of CPU each; the events took {:.2} s to cause); \
         heard {} times; a page of 100 dispatches: p50 {p50:.1} ms, p90 {p90:.1} ms",
        took.as_secs_f64(),
        DELIVERIES as f64 / took.as_secs_f64(),
        cpu * 1000.0 / DELIVERIES as f64,
        asked.as_secs_f64(),
        heard.load(Ordering::Relaxed),
    );
    Ok(())
}

fn all_succeeded(server: &Server) -> anyhow::Result<bool> {
    for offset in (0..DELIVERIES).step_by(1000) {
        let page = server.get(&format!("webhook-dispatches?offset={offset}"))?;
        let items = page["data"]["items"].as_array().context("no items")?;
        if items.iter().any(|dispatch| dispatch["status"] != "SUCCEEDED") {
            return Ok(false);
        }
    }
    Ok(true)
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let started = Instant::now();
    while !is_so()? {
        anyhow::ensure!(started.elapsed() < MAX_WAIT, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// A target that answers everything with 200, and how much it has heard.
fn sink() -> anyhow::Result<(String, Arc<AtomicUsize>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    let heard = Arc::new(AtomicUsize::new(0));
    let counted = heard.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let heard = counted.clone();
            // A client that closes in the middle has nothing more to say.
            std::thread::spawn(move || answer(stream, &heard).ok());
        }
    });
    Ok((url, heard))
}

fn answer(stream: TcpStream, heard: &AtomicUsize) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
            if line == "\r\n" {
                break;
            }
        }
        reader.by_ref().take(length).read_to_end(&mut Vec::new())?;
        heard.fetch_add(1, Ordering::Relaxed);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")?;
    }
}
