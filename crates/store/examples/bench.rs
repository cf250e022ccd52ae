//! Measures the embedded store: durable operations from many clients, their CPU, and reads.
//!
//! `cargo run --release -p playhouse-store --example bench [-- CLIENTS [SECONDS [WHAT]]]`. CPU counts the whole process, clients too.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::TryStreamExt as _;
use model::push::split_items;
use model::{StorageId, StorageKind, SystemClock};
use playhouse_store::conformance::fixtures::{ForeseeableRandom, given};
use playhouse_store::embedded::{EmbeddedOptions, EmbeddedStore};
use playhouse_store::{KeyQuery, NewRecord, RecordBody, Store, Window};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let clients: usize = arguments.next().map_or(Ok(64), |clients| clients.parse())?;
    let time = Duration::from_secs(arguments.next().map_or(Ok(5), |seconds| seconds.parse())?);
    let dir = tempfile::tempdir_in(".")?;
    let options =
        EmbeddedOptions { clock: Arc::new(SystemClock), random: Arc::new(ForeseeableRandom::default()), inline: false };
    let store = EmbeddedStore::open(dir.path(), options).await?;
    println!("{clients} clients, {time:?} each");

    let mut datasets = Vec::new();
    let mut stores = Vec::new();
    for _ in 0..clients {
        datasets.push(given(&store, StorageKind::Dataset).await);
        stores.push(given(&store, StorageKind::KeyValueStore).await);
    }
    let item = Bytes::from(format!("{{\"text\":\"{}\"}}", "x".repeat(1010)));
    let record = Bytes::from("y".repeat(1024));

    let push = |store: Store, id: StorageId, body: Bytes| async move {
        store.datasets.append(&id, split_items(&body)?).await?;
        anyhow::Ok(())
    };
    measure("push 1 KB, a dataset each", clients, time, |client, _| {
        push(store.clone(), datasets[client], item.clone())
    })
    .await?;
    measure("push 1 KB, one dataset", clients, time, |_, _| push(store.clone(), datasets[0], item.clone())).await?;
    let batch = Bytes::from(format!("[{}]", vec![std::str::from_utf8(&item)?; 500].join(",")));
    measure("push 500 of 1 KB, one dataset", clients.min(4), time, |_, _| {
        push(store.clone(), datasets[0], batch.clone())
    })
    .await?;
    let put = |store: Store, id: StorageId, key: String, body: Bytes| async move {
        let record = NewRecord { key, content_type: "text/plain".to_owned(), content_encoding: None };
        store.records.put(&id, record, RecordBody::Whole(body)).await?;
        anyhow::Ok(())
    };
    measure("put 1 KB, new keys", clients, time, |client, turn| {
        put(store.clone(), stores[client], format!("key-{turn}"), record.clone())
    })
    .await?;
    measure("put 1 KB, same keys", clients, time, |client, turn| {
        put(store.clone(), stores[client], format!("key-{}", turn % 100), record.clone())
    })
    .await?;
    measure("get 1 KB", clients, time, |client, turn| {
        let (store, id) = (store.clone(), stores[client]);
        async move {
            anyhow::ensure!(
                store.records.get(&id, &format!("key-{}", turn % 100)).await?.is_some(),
                "a record is missing"
            );
            Ok(())
        }
    })
    .await?;
    measure("list 1000 keys", 1, time, |_, _| {
        let (store, id) = (store.clone(), stores[0]);
        async move {
            store.records.keys(&id, KeyQuery { limit: 1000, ..KeyQuery::default() }).await?;
            Ok(())
        }
    })
    .await?;
    let large = Bytes::from("z".repeat(100 * 1024));
    measure("put 100 KB", clients.min(8), time, |client, turn| {
        put(store.clone(), stores[client], format!("large-{}", turn % 100), large.clone())
    })
    .await?;
    store.upkeep.run().await?;
    let total = store.storages.counters(&datasets[0]).await?.items;
    println!("one dataset has {total} items");
    measure("random page of 1000, sealed", 1, time, |_, turn| {
        let (store, id) = (store.clone(), datasets[0]);
        async move {
            let offset = (turn * 7_919_777) % (total - 6000);
            let window = Window { offset, limit: Some(1000), desc: turn % 2 == 1 };
            let chunks: Vec<_> = store.datasets.read(&id, window).await?.chunks.try_collect().await?;
            anyhow::ensure!(chunks.iter().map(|chunk| chunk.count).sum::<u64>() == 1000, "items are missing");
            Ok(())
        }
    })
    .await?;
    let begin = Instant::now();
    let mut chunks = store.datasets.read(&datasets[0], Window::default()).await?.chunks;
    let mut bytes = 0;
    while let Some(chunk) = chunks.try_next().await? {
        bytes += chunk.lines.len();
    }
    let took = begin.elapsed();
    println!(
        "scan: {:.0} items/s, {:.0} MB/s",
        total as f64 / took.as_secs_f64(),
        bytes as f64 / 1e6 / took.as_secs_f64()
    );
    Ok(())
}

/// Runs `op` from so many clients at a time.
async fn measure<F>(what: &str, clients: usize, time: Duration, op: impl Fn(usize, u64) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    // What others build upon is only done in short.
    let wanted = std::env::args().nth(3).is_none_or(|wanted| what.contains(&wanted));
    let time = if wanted { time } else { Duration::from_millis(200) };
    let op = &op;
    let done = &AtomicU64::new(0);
    let (cpu, begin) = (cpu_time()?, Instant::now());
    let each = (0..clients).map(|client| async move {
        let mut took = Vec::new();
        let mut turn = 0;
        while begin.elapsed() < time {
            let start = Instant::now();
            // A task of its own, as each request of a server has.
            tokio::spawn(op(client, turn)).await??;
            took.push(start.elapsed());
            turn += 1;
            done.fetch_add(1, Ordering::Relaxed);
        }
        anyhow::Ok(took)
    });
    let mut took: Vec<Duration> = futures::future::try_join_all(each).await?.concat();
    let (elapsed, cpu) = (begin.elapsed(), cpu_time()? - cpu);
    took.sort_unstable();
    let n = done.load(Ordering::Relaxed);
    let at = |part: usize| took.get(took.len() * part / 100).copied().unwrap_or_default();
    println!(
        "{what:32} {:>9.0}/s   p50 {:>8.2?}   p99 {:>8.2?}   CPU {:>7.1} us each",
        n as f64 / elapsed.as_secs_f64(),
        at(50),
        at(99),
        cpu.as_secs_f64() * 1e6 / n as f64,
    );
    Ok(())
}

/// CPU time of this process, in both modes, in all threads.
fn cpu_time() -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(Duration::from_millis(ticks * 10))
}
