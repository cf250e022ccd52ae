//! Fills a data directory for measurements, straight through the store:
//! `cargo run --release -p playhouse-store --example fill DIRECTORY USER_ID ACTORS RUNS`.
//!
//! The Actors are the user's and public, the runs have ended, and nothing else than what a list shows is made of them, but for
//! some datasets. A hundred thousand schedules come on top.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use model::schedule::Schedule;
use model::{Actor, ActorId, Clock as _, JobStatus, Storage, StorageKind, SystemClock, Timestamp, UserId};
use playhouse_store::Store;
use playhouse_store::conformance::fixtures::{ForeseeableRandom, fresh, storage};
use playhouse_store::conformance::jobs::run_of;
use playhouse_store::embedded::{EmbeddedOptions, EmbeddedStore};

/// How many makers work at once: what waits together is committed together.
const MAKERS: usize = 512;
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

    let started = Instant::now();
    let made = make_actors(&store, user, actors).await;
    println!("{actors} Actors made in {:.1} s", started.elapsed().as_secs_f64());
    let started = Instant::now();
    make_runs(&store, user, made, runs).await;
    println!("{runs} runs made in {:.1} s", started.elapsed().as_secs_f64());
    let started = Instant::now();
    make_schedules(&store, user, SCHEDULES).await;
    println!("{SCHEDULES} schedules made in {:.1} s", started.elapsed().as_secs_f64());
}

async fn make_actors(store: &Store, user: UserId, count: usize) -> Arc<Vec<ActorId>> {
    let now = SystemClock.now();
    let ids: Vec<ActorId> = (0..count).map(|_| fresh()).collect();
    let makers = (0..MAKERS).map(|maker| {
        let (store, ids) = (store.clone(), ids.clone());
        tokio::spawn(async move {
            for number in (maker..count).step_by(MAKERS) {
                let at = now.plus_millis(number as i64 - count as i64);
                let mut actor = Actor::new(ids[number], user, &format!("filled-{number}"), at);
                actor.title = Some(format!("Crawler number {number}"));
                actor.is_public = true;
                store.actors.create(actor, vec![]).await.expect("an Actor");
            }
        })
    });
    for maker in makers.collect::<Vec<_>>() {
        maker.await.expect("a maker");
    }
    Arc::new(ids)
}

async fn make_runs(store: &Store, user: UserId, actors: Arc<Vec<ActorId>>, count: usize) {
    let first = SystemClock.now().plus_millis(-(count as i64) * MILLIS_BETWEEN);
    let makers = (0..MAKERS).map(|maker| {
        let (store, actors) = (store.clone(), actors.clone());
        tokio::spawn(async move {
            for number in (maker..count).step_by(MAKERS) {
                let (mut run, _) = run_of(user, actors[number % actors.len()], 0);
                run.started_at = after(first, number);
                run.finished_at = Some(after(first, number + 30));
                run.status = if number % 20 == 0 { JobStatus::Failed } else { JobStatus::Succeeded };
                run.exit_code = Some(i32::from(number % 20 == 0));
                let mut storages = Vec::new();
                if number % RUNS_PER_DATASET == 0 {
                    storages.push(Storage {
                        id: run.storages.dataset,
                        user_id: user,
                        created_at: run.started_at,
                        lives_with: Some(run.id),
                        ..storage(StorageKind::Dataset, None)
                    });
                }
                store.runs.create(run, storages, None).await.expect("a run");
            }
        })
    });
    for maker in makers.collect::<Vec<_>>() {
        maker.await.expect("a maker");
    }
}

/// All of them are due at some time of tomorrow's night.
async fn make_schedules(store: &Store, user: UserId, count: usize) {
    let now = SystemClock.now();
    let makers = (0..MAKERS).map(|maker| {
        let store = store.clone();
        tokio::spawn(async move {
            for number in (maker..count).step_by(MAKERS) {
                let schedule = Schedule {
                    id: fresh(),
                    user_id: user,
                    name: format!("filled-{number}"),
                    title: None,
                    description: None,
                    is_enabled: true,
                    is_exclusive: true,
                    cron_expression: "0 3 * * *".to_owned(),
                    timezone: "UTC".to_owned(),
                    notify_by_email: false,
                    actions: vec![],
                    token_id: None,
                    created_at: now,
                    modified_at: now,
                };
                let due = now.plus_secs(86_400 + number as i64 % 3600);
                store.schedules.create(schedule, Some(due)).await.expect("a schedule");
            }
        })
    });
    for maker in makers.collect::<Vec<_>>() {
        maker.await.expect("a maker");
    }
}

fn after(first: Timestamp, number: usize) -> Timestamp {
    first.plus_millis(number as i64 * MILLIS_BETWEEN)
}
