//! Small operations: CPU of the server for each of them, as a multiple of what HTTP alone takes in the same run.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::load::{self, scatter};
use super::queue::{add, timed};
use super::server::{Server, cpu_seconds};
use super::{null, p50_p90};

const CLIENTS: usize = 16;
const TIME: Duration = Duration::from_secs(4);
const PAGE: usize = 1_000;
/// Sealed items of which pages are read.
const ITEMS: usize = 10_000;
/// Requests that are locked at a time.
const LOCKED: usize = 25;

/// Does something once, with an agent, at the server of that address.
type Run<'a> = Box<dyn Fn(&ureq::Agent, &str) -> anyhow::Result<()> + Sync + 'a>;

/// What is done over and over, against whichever server stands at an address.
struct Operation<'a> {
    name: &'static str,
    /// The bound of the ratio.
    bound: f64,
    /// How many of what is counted one call does.
    counts: usize,
    run: Run<'a>,
}

pub fn measure() -> anyhow::Result<()> {
    let server = Server::start()?;
    null::with(|id, address| compare(&server, id, address))
}

fn compare(server: &Server, null_id: u32, null: &str) -> anyhow::Result<()> {
    println!("{:<44} {:>6} {:>6} {:>10} {:>8}", "with 16 connections", "bound", "ratio", "a second", "p50 ms");
    for operation in operations(server)? {
        load::settle(server)?;
        let measured = |id: u32, url: &str| {
            let cpu = cpu_seconds(id)?;
            let mut samples = timed(CLIENTS, TIME, |agent| {
                let started = std::time::Instant::now();
                (operation.run)(agent, url)?;
                Ok(started.elapsed())
            })?;
            let done = (samples.len() * operation.counts) as f64;
            Ok::<_, anyhow::Error>((cpu_seconds(id)?, cpu, done, p50_p90(&mut samples).0))
        };
        let per_operation = |(after, before, done, _): (f64, f64, f64, f64)| (after - before) / done;
        let alone = measured(null_id, null)?;
        let real = measured(server.id(), &server.url)?;
        println!(
            "{:<44} {:>6} {:>6.1} {:>10.0} {:>8.2}",
            operation.name,
            operation.bound,
            per_operation(real) / per_operation(alone),
            real.2 / TIME.as_secs_f64(),
            real.3
        );
    }
    Ok(())
}

fn operations(server: &Server) -> anyhow::Result<Vec<Operation<'_>>> {
    let next = AtomicUsize::new(0);
    let next = move |count: usize| next.fetch_add(count, Ordering::Relaxed);
    let next: &'static _ = Box::leak(Box::new(next));
    let storage = |plural: &str| Ok::<_, anyhow::Error>(format!("{plural}/{}", load::new_storage(server, plural)?));
    let (single, bulk) = (storage("datasets")?, storage("datasets")?);
    let records = storage("key-value-stores")?;
    let (fresh, known, crawl) = (storage("request-queues")?, storage("request-queues")?, storage("request-queues")?);
    let sealed = load::fill(server, ITEMS)?.path;
    add(&server.agent, server, &server.url, &known, &AtomicUsize::new(0))?;
    let token = server.bearer();

    let send = move |agent: &ureq::Agent, method: &str, address: String, body: Vec<u8>| {
        let request = ureq::http::Request::builder().method(method).uri(address).header("authorization", &token);
        let request = request.header("content-type", "application/json").body(body)?;
        let mut response = agent.run(request)?;
        anyhow::Ok(response.body_mut().with_config().limit(64 << 20).read_to_vec()?)
    };
    let send: &'static _ = Box::leak(Box::new(send));
    let item = |number: usize| load::item(number).into_bytes();
    let operation = |name, bound, counts, run| Operation { name, bound, counts, run };
    Ok(vec![
        operation(
            "push one item of 1 KB",
            6.0,
            1,
            Box::new(move |agent, url| {
                send(agent, "POST", format!("{url}/v2/{single}/items"), item(next(1))).map(drop)
            }),
        ),
        operation(
            "push 500 items of 1 KB",
            15.0,
            1,
            Box::new(move |agent, url| {
                send(agent, "POST", format!("{url}/v2/{bulk}/items"), load::batch(next(500), 500)).map(drop)
            }),
        ),
        operation(
            "read a page of 1,000 sealed items",
            6.0,
            1,
            Box::new(move |agent, url| {
                let offset = next(1) % (ITEMS / PAGE) * PAGE;
                let page =
                    send(agent, "GET", format!("{url}/v2/{sealed}/items?offset={offset}&limit={PAGE}"), Vec::new())?;
                anyhow::ensure!(page.len() > PAGE * load::ITEM_BYTES, "a page of {} bytes", page.len());
                Ok(())
            }),
        ),
        operation(
            "put a record of 1 KB",
            6.0,
            1,
            Box::new({
                let records = records.clone();
                move |agent, url| {
                    let key = scatter(next(1) as u64) % 1_000;
                    send(agent, "PUT", format!("{url}/v2/{records}/records/key-{key}"), item(0)).map(drop)
                }
            }),
        ),
        operation(
            "get a record of 1 KB",
            3.0,
            1,
            Box::new(move |agent, url| {
                let key = scatter(next(1) as u64) % 500;
                send(agent, "GET", format!("{url}/v2/{records}/records/key-{key}"), Vec::new()).map(drop)
            }),
        ),
        operation(
            "add 25 requests",
            40.0,
            1,
            Box::new(move |agent, url| add(agent, server, url, &fresh, &AtomicUsize::new(next(LOCKED)))),
        ),
        operation(
            "add 25 requests that are there already",
            25.0,
            1,
            Box::new(move |agent, url| add(agent, server, url, &known, &AtomicUsize::new(0))),
        ),
        operation(
            "one request through a crawl loop",
            6.0,
            LOCKED,
            Box::new(move |agent, url| {
                let queue = format!("{url}/v2/{crawl}");
                add(agent, server, url, &crawl, &AtomicUsize::new(next(LOCKED)))?;
                let lock = format!("{queue}/head/lock?limit={LOCKED}&lockSecs=60&clientKey=bench");
                let head: serde_json::Value = serde_json::from_slice(&send(agent, "POST", lock, Vec::new())?)?;
                for request in head["data"]["items"].as_array().into_iter().flatten() {
                    let mut request = request.clone();
                    request["handledAt"] = "2026-01-01T00:00:00.000Z".into();
                    let id = request["id"].as_str().unwrap_or_default();
                    let address = format!("{queue}/requests/{id}?clientKey=bench");
                    send(agent, "PUT", address, request.to_string().into_bytes())?;
                }
                Ok(())
            }),
        ),
    ])
}
