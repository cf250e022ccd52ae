//! Data to measure with: items of 1 KB whose text compresses about as crawled text does.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::json;

use super::server::Server;

/// Bytes of one item.
pub const ITEM_BYTES: usize = 1024;
const BATCH: usize = 5_000;
const POOL_BYTES: usize = 16 << 20;
const DEFAULT_ITEMS: usize = 1_000_000;
const MAX_SETTLING: Duration = Duration::from_secs(600);

/// A dataset full of items.
pub struct Filled {
    /// Its path below the API's root.
    pub path: String,
    pub items: usize,
    /// How long the pushes took,
    pub pushed: Duration,
    /// and how long after the last one the server was still at work: sealing, mostly.
    pub settled: Duration,
}

/// How many items to measure with: `PLAYHOUSE_BENCH_ITEMS`, or a million.
pub fn items() -> anyhow::Result<usize> {
    number_of("PLAYHOUSE_BENCH_ITEMS", DEFAULT_ITEMS)
}

/// The number in a variable, or another if it is not set.
pub fn number_of(variable: &'static str, otherwise: usize) -> anyhow::Result<usize> {
    match std::env::var(variable) {
        Ok(number) => number.parse().context(variable),
        Err(_) => Ok(otherwise),
    }
}

/// Pushes items in large batches at full speed and waits until the server rests.
pub fn fill(server: &Server, items: usize) -> anyhow::Result<Filled> {
    let path = format!("datasets/{}", new_storage(server, "datasets")?);
    let address = server.address(&format!("{path}/items"));
    // The first batch makes the pool of words.
    batch(0, 1);
    let started = Instant::now();
    for from in (0..items).step_by(BATCH) {
        let request = server.agent.post(&address).header("authorization", server.bearer());
        request.content_type("application/json").send(&batch(from, BATCH.min(items - from))[..])?;
    }
    let pushed = started.elapsed();
    let settled = settle(server)?;
    Ok(Filled { path, items, pushed, settled })
}

/// Waits until the server does next to nothing, and tells how long it went on.
pub fn settle(server: &Server) -> anyhow::Result<Duration> {
    const TICK: Duration = Duration::from_millis(500);
    let started = Instant::now();
    let mut rest = 0;
    let mut before = server.cpu_seconds()?;
    while rest < 4 {
        anyhow::ensure!(started.elapsed() < MAX_SETTLING, "the server does not come to rest");
        std::thread::sleep(TICK);
        let now = server.cpu_seconds()?;
        rest = if now - before < 0.03 { rest + 1 } else { 0 };
        before = now;
    }
    Ok(started.elapsed().saturating_sub(TICK * 4))
}

/// Makes a storage and returns its id.
pub fn new_storage(server: &Server, plural: &str) -> anyhow::Result<String> {
    let made = server.post(plural, &json!({}))?;
    Ok(made["data"]["id"].as_str().context("no id")?.to_owned())
}

/// The body of a push.
pub fn batch(from: usize, count: usize) -> Vec<u8> {
    let mut body = Vec::with_capacity(count * (ITEM_BYTES + 1) + 1);
    for number in from..from + count {
        body.push(if number == from { b'[' } else { b',' });
        body.extend_from_slice(item(number).as_bytes());
    }
    body.push(b']');
    body
}

/// One item, each number another one.
pub fn item(number: usize) -> String {
    let mut item = format!(
        r#"{{"uid":"{number:015}","url":"https://shop.example.com/c/garden/p/{number:015}","title":"Adjustable trellis","price":24.9,"inStock":true,"scrapedAt":"2026-01-01T00:00:00.000Z","tags":["garden","wood","outdoor"],"text":""#
    );
    let start = scatter(number as u64) as usize % (POOL_BYTES - ITEM_BYTES);
    item.push_str(&pool()[start..start + ITEM_BYTES - 2 - item.len()]);
    item.push_str("\"}");
    item
}

/// A number that looks random.
pub fn scatter(number: u64) -> u64 {
    let mixed = (number ^ number >> 33).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    mixed ^ mixed >> 29
}

/// Made-up words, the frequent ones short of number, as in language.
fn pool() -> &'static str {
    static POOL: OnceLock<String> = OnceLock::new();
    POOL.get_or_init(|| {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut next = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let letters = b"etaoinshrdlucmfwypvbgkjqxz";
        let words: Vec<String> = (0..8192)
            .map(|_| (0..3 + next(8)).map(|_| char::from(letters[(next(26) * next(26) / 25) as usize])).collect())
            .collect();
        let mut pool = String::with_capacity(POOL_BYTES + 16);
        while pool.len() < POOL_BYTES {
            pool.push_str(&words[(next(8192) * next(8192) / 8192 * next(8192) / 8192) as usize]);
            pool.push(' ');
        }
        pool
    })
}
