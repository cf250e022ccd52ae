//! Fills a data directory for measurements, straight through the store:
//! `cargo run --release -p playhouse-store --example fill DIRECTORY USER_ID ACTORS RUNS`.
//!
//! The Actors are the user's and public, each with a build, a task and a webhook; the runs have ended, and nothing else than what
//! a list shows is made of them, but for some datasets. A hundred thousand schedules come on top.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use futures::{StreamExt as _, stream};
use model::schedule::Schedule;
use model::{
    Actor, ActorId, Build, Clock as _, JobStatus, Run, Storage, StorageKind, SystemClock, Task, Timestamp, UserId,
    Webhook, WebhookCondition, WebhookEvent,
};
use playhouse_store::conformance::fixtures::{ForeseeableRandom, fresh, storage};
use playhouse_store::conformance::jobs::{build, run_of, source};
use playhouse_store::conformance::schedules::schedule;
use playhouse_store::conformance::webhooks::webhook;
use playhouse_store::embedded::{EmbeddedOptions, EmbeddedStore};

/// How many are made at once: what waits together is committed together.
const AT_ONCE: usize = 512;
/// Runs start a second apart, up to now.
const MILLIS_BETWEEN: i64 = 1000;
/// Of so many runs one has a dataset.
const RUNS_PER_DATASET: usize = 10;
const SCHEDULES: usize = 100_000;

#[tokio::main(worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, user, actors, runs] = &arguments[..] else { panic!("DIRECTORY USER_ID ACTORS RUNS") };
    let user = UserId::parse(user).expect("a user id");
    let (actors, runs): (usize, usize) = (actors.parse().expect("a number"), runs.parse().expect("a number"));
    let options =
        EmbeddedOptions { clock: Arc::new(SystemClock), random: Arc::new(ForeseeableRandom::default()), inline: false };
    let store = EmbeddedStore::open(&PathBuf::from(directory), options).await.expect("a store");

    let store = &store;
    let ids: Arc<Vec<ActorId>> = Arc::new((0..actors).map(|_| fresh()).collect());
    let now = SystemClock.now();
    let id_of = |number: usize| ids[number % ids.len()];

    all("Actors", actors, |number| {
        let at = now.plus_millis(number as i64 - actors as i64);
        let mut actor = Actor::new(id_of(number), user, &format!("filled-{number}"), at);
        actor.title = Some(format!("Crawler number {number}"));
        actor.is_public = true;
        let store = store.clone();
        async move { drop(store.actors.create(actor, vec![]).await.expect("an Actor")) }
    })
    .await;
    all("builds", actors, |number| {
        let (store, actor) = (store.clone(), id_of(number));
        let make = move |number| {
            let ready = build(actor, &format!("0.1.{number}"), 0);
            Build { status: JobStatus::Succeeded, finished_at: Some(ready.started_at), ..ready }
        };
        async move { drop(store.builds.create(&actor, "0.1", source("x"), Box::new(make)).await.expect("a build")) }
    })
    .await;
    all("tasks", actors, |number| {
        let task = Task::new(fresh(), user, id_of(number), &format!("filled-{number}"), now);
        let store = store.clone();
        async move { drop(store.tasks.create(task).await.expect("a task")) }
    })
    .await;
    all("webhooks", actors, |number| {
        let condition = WebhookCondition { actor_id: Some(id_of(number)), ..WebhookCondition::default() };
        let webhook = Webhook { user_id: user, ..webhook(condition, &[WebhookEvent::RunFailed]) };
        let store = store.clone();
        async move { drop(store.webhooks.create(webhook).await.expect("a webhook")) }
    })
    .await;
    let first = now.plus_millis(-(runs as i64) * MILLIS_BETWEEN);
    all("runs", runs, |number| {
        let (run, storages) = ended_run(user, id_of(number), first, number);
        let store = store.clone();
        async move { drop(store.runs.create(run, storages, None).await.expect("a run")) }
    })
    .await;
    all("schedules", SCHEDULES, |number| {
        let schedule =
            Schedule { user_id: user, created_at: now, modified_at: now, ..schedule(&format!("filled-{number}"), 0) };
        // All of them are due at some time of tomorrow's night.
        let due = now.plus_secs(86_400 + number as i64 % 3600);
        let store = store.clone();
        async move { drop(store.schedules.create(schedule, Some(due)).await.expect("a schedule")) }
    })
    .await;
}

/// Makes so many, some of them at once.
async fn all<F: Future<Output = ()>>(what: &str, count: usize, make: impl FnMut(usize) -> F) {
    let started = Instant::now();
    stream::iter(0..count).map(make).buffer_unordered(AT_ONCE).collect::<()>().await;
    println!("{count} {what} made in {:.1} s", started.elapsed().as_secs_f64());
}

/// A run that has ended, and its dataset, if it has one.
fn ended_run(user: UserId, actor: ActorId, first: Timestamp, number: usize) -> (Run, Vec<Storage>) {
    let (mut run, _) = run_of(user, actor, 0);
    let failed = number.is_multiple_of(20);
    run.started_at = first.plus_millis(number as i64 * MILLIS_BETWEEN);
    run.finished_at = Some(run.started_at.plus_secs(30));
    run.status = if failed { JobStatus::Failed } else { JobStatus::Succeeded };
    run.exit_code = Some(i32::from(failed));
    let dataset = number.is_multiple_of(RUNS_PER_DATASET).then(|| Storage {
        id: run.storages.dataset,
        user_id: user,
        created_at: run.started_at,
        lives_with: Some(run.id),
        ..storage(StorageKind::Dataset, None)
    });
    (run, dataset.into_iter().collect())
}
