//! Measures queues and lists of runs: `cargo run --release -p playhouse-store --example queue_and_runs [requests] [runs]`.

use std::sync::Arc;
use std::time::Instant;

use model::{Clock as _, JobStatus, Page, RequestId, StorageId, StorageKind, SystemClock};
use playhouse_store::conformance::fixtures::{ForeseeableRandom, given, user};
use playhouse_store::conformance::jobs::{given_actor, run};
use playhouse_store::embedded::{EmbeddedOptions, EmbeddedStore};
use playhouse_store::{Locker, NewRequest, RunFilter, Store};

const CLIENTS: usize = 16;

#[tokio::main(worker_threads = 2)]
async fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse().expect("a number"));
    let requests: usize = arguments.next().unwrap_or(1_000_000);
    let runs: usize = arguments.next().unwrap_or(100_000);
    let dir = tempfile::tempdir_in(".").expect("a directory");
    let options =
        EmbeddedOptions { clock: Arc::new(SystemClock), random: Arc::new(ForeseeableRandom::default()), inline: false };
    let store = EmbeddedStore::open(dir.path(), options).await.expect("a store");
    queue(&store, requests).await;
    list_runs(&store, runs).await;
}

async fn queue(store: &Store, requests: usize) {
    let queue = given(store, StorageKind::RequestQueue).await;
    let started = Instant::now();
    let adders = (0..64).map(|client| {
        let store = store.clone();
        tokio::spawn(async move {
            for batch in (client..requests / 25).step_by(64) {
                store.queues.add(&queue, batch_of(batch), false, &locker(0)).await.expect("added");
            }
        })
    });
    for adder in adders.collect::<Vec<_>>() {
        adder.await.expect("an adder");
    }
    println!("{requests} requests added in {:.1} s", started.elapsed().as_secs_f64());

    for clients in [1, CLIENTS] {
        measure("add 25", clients, 200, store, queue, Call::Add).await;
        measure("lock_head 25", clients, 200, store, queue, Call::LockHead).await;
        measure("head 100", clients, 500, store, queue, Call::Head).await;
        measure("get", clients, 2000, store, queue, Call::Get).await;
        measure("update handled", clients, 1000, store, queue, Call::Update).await;
    }
}

#[derive(Clone, Copy)]
enum Call {
    Add,
    LockHead,
    Head,
    Get,
    Update,
}

async fn measure(what: &str, clients: usize, calls: usize, store: &Store, queue: StorageId, call: Call) {
    let (cpu, started) = (cpu_seconds(), Instant::now());
    let workers = (0..clients).map(|client| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut times = Vec::with_capacity(calls);
            for number in 0..calls {
                let begun = Instant::now();
                one(&store, &queue, call, client * calls + number).await;
                times.push(begun.elapsed());
            }
            times
        })
    });
    let mut times = Vec::new();
    for worker in workers.collect::<Vec<_>>() {
        times.extend(worker.await.expect("a worker"));
    }
    times.sort_unstable();
    let (all, spent) = (times.len() as f64, cpu_seconds() - cpu);
    println!(
        "{what:>16} x{clients:<2} p50 {:>7.3} ms  p99 {:>7.3} ms  {:>7.0}/s  {:>6.0} us CPU each",
        times[times.len() / 2].as_secs_f64() * 1e3,
        times[times.len() * 99 / 100].as_secs_f64() * 1e3,
        all / started.elapsed().as_secs_f64(),
        spent / all * 1e6,
    );
}

async fn one(store: &Store, queue: &StorageId, call: Call, number: usize) {
    match call {
        Call::Add => {
            let new =
                100_000_000 + usize::try_from(SystemClock.now().as_millis() % 10_000_000).unwrap_or(0) * 100 + number;
            store.queues.add(queue, batch_of(new), false, &locker(0)).await.map(drop)
        }
        Call::LockHead => store.queues.lock_head(queue, 25, 60_000, &locker(number % 7)).await.map(drop),
        Call::Head => store.queues.head(queue, 100, &locker(0)).await.map(drop),
        Call::Get => store.queues.get(queue, &request(number * 17).id).await.map(drop),
        Call::Update => {
            let handled = NewRequest { handled_at: Some(SystemClock.now()), ..request(number * 31) };
            store.queues.update(queue, handled, false, &locker(0)).await.map(drop)
        }
    }
    .expect("a call");
}

fn locker(number: usize) -> Locker {
    Locker { client_key: Some(format!("client{number}")), run: None }
}

fn batch_of(batch: usize) -> Vec<NewRequest> {
    (batch * 25..batch * 25 + 25).map(request).collect()
}

fn request(number: usize) -> NewRequest {
    let url = format!("https://www.example.com/shop/category-{}/product-{number}", number % 97);
    let body = format!(
        "{{\"uniqueKey\":\"{url}\",\"url\":\"{url}\",\"method\":\"GET\",\"userData\":{{\"label\":\"DETAIL\",\"padding\":\"{}\"}}}}",
        "x".repeat(400)
    );
    NewRequest {
        id: RequestId::of(&url),
        unique_key: url.clone(),
        url,
        method: "GET".to_owned(),
        retry_count: 0,
        handled_at: None,
        body: body.into(),
    }
}

async fn list_runs(store: &Store, runs: usize) {
    let mut actors = Vec::new();
    for number in 0..10 {
        actors.push(given_actor(store, &format!("actor-{number}")).await);
    }
    let started = Instant::now();
    let makers = (0..64).map(|client| {
        let (store, actors) = (store.clone(), actors.clone());
        tokio::spawn(async move {
            for number in (client..runs).step_by(64) {
                let (mut run, _) = run(actors[number % 10], i64::try_from(number).unwrap_or(0));
                run.status = if number % 20 == 0 { JobStatus::Failed } else { JobStatus::Succeeded };
                store.runs.create(run, vec![], None).await.expect("a run");
            }
        })
    });
    for maker in makers.collect::<Vec<_>>() {
        maker.await.expect("a maker");
    }
    println!("{runs} runs made in {:.1} s", started.elapsed().as_secs_f64());
    let of_user = RunFilter { user: Some(user()), ..RunFilter::default() };
    let filters = [
        ("user", of_user.clone()),
        ("user + status", RunFilter { statuses: vec![JobStatus::Failed], ..of_user.clone() }),
        ("actor", RunFilter { actor: Some(actors[3]), ..of_user }),
    ];
    for (what, filter) in filters {
        for offset in [0, 5000] {
            let mut times = Vec::new();
            for _ in 0..30 {
                let begun = Instant::now();
                let page = Page { offset, limit: 1000, desc: true };
                store.runs.list(filter.clone(), page).await.expect("a list");
                times.push(begun.elapsed());
            }
            times.sort_unstable();
            println!("{what:>16} newest 1000 from {offset:<5} p50 {:>7.3} ms", times[15].as_secs_f64() * 1e3);
        }
    }
}

/// CPU time of this process so far.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
    (ticks(11) + ticks(12)) / 100.0
}
