//! Queues of any length: heads, locks and additions; what goes over all of one; its deletion beside other work.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::Value;
use ureq::Agent;

use super::load::{self, scatter};
use super::server::Server;

/// Requests in one call.
const BATCH: usize = 25;
/// How long each operation is measured.
const TIME: Duration = Duration::from_secs(4);
/// How long additions are measured while a queue is deleted.
const BESIDE: Duration = Duration::from_secs(15);
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(5);
/// Clients that fill a queue.
const FILLERS: usize = 16;
/// One in so many requests failed.
const FAILED: usize = 4;

/// Everything that depends on the length of a queue, and additions to an empty one to compare.
pub fn measure() -> anyhow::Result<()> {
    let server = Server::start()?;
    let length = load::items()?;
    let empty = format!("request-queues/{}", load::new_storage(&server, "request-queues")?);
    let elsewhere = AtomicUsize::new(1 << 40);
    for clients in [1, 16] {
        report(
            "add of 25, empty queue",
            clients,
            many(clients, TIME, |agent| add(agent, &server, &server.url, &empty, &elsewhere))?,
        );
    }

    let queue = format!("request-queues/{}", load::new_storage(&server, "request-queues")?);
    let next = AtomicUsize::new(0);
    let started = Instant::now();
    at_once(FILLERS, |agent| {
        while next.load(Ordering::Relaxed) < length {
            add(agent, &server, &server.url, &queue, &next)?;
        }
        Ok(())
    })?;
    println!("{length} requests added in {:.0} s", started.elapsed().as_secs_f64());
    load::settle(&server)?;

    for clients in [1, 16] {
        report("add of 25", clients, many(clients, TIME, |agent| add(agent, &server, &server.url, &queue, &next))?);
        let show = format!("{queue}/head?limit=25&clientKey=bench");
        report("head of 25", clients, many(clients, TIME, |agent| call(agent, &server, "GET", &show, ""))?);
        let lock = format!("{queue}/head/lock?limit=25&lockSecs=600&clientKey=bench");
        report("head and lock of 25", clients, many(clients, TIME, |agent| call(agent, &server, "POST", &lock, ""))?);
    }
    for (what, method, path) in [("x-stats", "GET", "x-stats"), ("x-requeue", "POST", "x-requeue")] {
        let (started, cpu) = (Instant::now(), server.cpu_seconds()?);
        server.forget_peak()?;
        let resident = server.resident_mb()?;
        call(&server.agent, &server, method, &format!("{queue}/{path}"), "")?;
        println!(
            "{what} of all: {:.1} s, CPU {:.1} s, memory + {:.0} MB",
            started.elapsed().as_secs_f64(),
            server.cpu_seconds()? - cpu,
            server.peak_mb()? - resident
        );
    }
    delete(&server, &queue, &empty, &elsewhere)
}

/// How long additions to another queue take while the large one goes away.
fn delete(server: &Server, queue: &str, other: &str, next: &AtomicUsize) -> anyhow::Result<()> {
    let beside = || {
        timed(1, BESIDE, |agent| {
            // As somebody who has other things to do: at full speed the disk would be all that is measured.
            std::thread::sleep(PAUSE);
            let started = Instant::now();
            add(agent, server, &server.url, other, next)?;
            Ok(started.elapsed())
        })
    };
    load::settle(server)?;
    report("add of 25 to another queue", 1, beside()?);
    let started = Instant::now();
    call(&server.agent, server, "DELETE", queue, "")?;
    let answered = started.elapsed();
    report("the same during the deletion", 1, beside()?);
    load::settle(server)?;
    let (answered, gone) = (answered.as_secs_f64() * 1000.0, started.elapsed().as_secs_f64());
    println!("deletion answered in {answered:.1} ms, the server at rest after {gone:.0} s");
    Ok(())
}

/// Adds the next requests to a queue of the server at `url`.
pub(super) fn add(agent: &Agent, server: &Server, url: &str, queue: &str, next: &AtomicUsize) -> anyhow::Result<()> {
    let from = next.fetch_add(BATCH, Ordering::Relaxed);
    let mut body = String::with_capacity(BATCH * 512);
    for number in from..from + BATCH {
        body.push(if number == from { '[' } else { ',' });
        let (host, noise) = (scatter(number as u64) % 500, scatter(number as u64 + 7));
        let (handled, state) = if number % FAILED == 0 {
            (
                r#","handledAt":"2026-01-01T00:00:00.000Z","errorMessages":["Error: Request timed out after 30 seconds."]"#,
                6,
            )
        } else {
            ("", 0)
        };
        write!(
            body,
            r#"{{"uniqueKey":"https://shop-{host}.example.com/c/garden/p/{number}","url":"https://shop-{host}.example.com/c/garden/p/{number}","userData":{{"label":"DETAIL","category":"{noise:x}","__crawlee":{{"state":{state},"enqueueStrategy":"same-hostname","maxRetries":3}}}}{handled}}}"#
        )?;
    }
    body.push(']');
    call_at(agent, server, url, "POST", &format!("{queue}/requests/batch?clientKey=bench"), &body)
}

fn call(agent: &Agent, server: &Server, method: &str, path: &str, body: &str) -> anyhow::Result<()> {
    call_at(agent, server, &server.url, method, path, body)
}

fn call_at(agent: &Agent, server: &Server, url: &str, method: &str, path: &str, body: &str) -> anyhow::Result<()> {
    let request = ureq::http::Request::builder().method(method).uri(format!("{url}/v2/{path}"));
    let request = request.header("authorization", server.bearer()).header("content-type", "application/json");
    let mut response = agent.run(request.body(body.to_owned())?).with_context(|| path.to_owned())?;
    if method != "DELETE" {
        let answer: Value = response.body_mut().with_config().limit(64 << 20).read_json()?;
        anyhow::ensure!(answer["data"].is_object(), "{path}: no answer");
    }
    Ok(())
}

/// Lets clients do the same over and over, and returns what each call took, in milliseconds.
fn many(
    clients: usize,
    time: Duration,
    operation: impl Fn(&Agent) -> anyhow::Result<()> + Sync,
) -> anyhow::Result<Vec<f64>> {
    timed(clients, time, |agent| {
        let started = Instant::now();
        operation(agent)?;
        Ok(started.elapsed())
    })
}

/// The same with operations that take their own time.
pub(super) fn timed(
    clients: usize,
    time: Duration,
    operation: impl Fn(&Agent) -> anyhow::Result<Duration> + Sync,
) -> anyhow::Result<Vec<f64>> {
    let samples = std::sync::Mutex::new(Vec::new());
    let begun = Instant::now();
    at_once(clients, |agent| {
        let mut own = Vec::new();
        while begun.elapsed() < time {
            own.push(operation(agent)?.as_secs_f64() * 1000.0);
        }
        samples.lock().map_err(|_| anyhow::anyhow!("a client panicked"))?.extend(own);
        Ok(())
    })?;
    Ok(samples.into_inner()?)
}

fn at_once(clients: usize, work: impl Fn(&Agent) -> anyhow::Result<()> + Sync) -> anyhow::Result<()> {
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..clients).map(|_| scope.spawn(|| work(&Agent::new_with_defaults()))).collect();
        clients
            .into_iter()
            .try_for_each(|client| client.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a client panicked"))))
    })
}

fn report(what: &str, clients: usize, mut samples: Vec<f64>) {
    samples.sort_by(f64::total_cmp);
    let at = |share: usize| samples.get(samples.len() * share / 100).copied().unwrap_or_default();
    println!(
        "{what}, {clients} clients: {} calls, p50 {:.2} ms, p90 {:.2} ms, p99 {:.2} ms",
        samples.len(),
        at(50),
        at(90),
        at(99)
    );
}
