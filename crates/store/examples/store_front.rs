//! Measures the store front and lists of Actors: `cargo run --release -p playhouse-store --example store_front [Actors]`.

use std::sync::Arc;
use std::time::Instant;

use model::{Actor, Clock as _, Page, SystemClock, Timestamp};
use playhouse_store::conformance::fixtures::{ForeseeableRandom, user};
use playhouse_store::conformance::jobs::{actor, given_run};
use playhouse_store::embedded::{EmbeddedOptions, EmbeddedStore};
use playhouse_store::{FrontFilter, FrontOrder, Store};

const WORDS: [&str; 12] = [
    "maps", "places", "reviews", "products", "prices", "jobs", "posts", "videos", "profiles", "hotels", "news",
    "flights",
];
const CATEGORIES: [&str; 4] = ["AI", "TRAVEL", "NEWS", "JOBS"];

#[tokio::main(worker_threads = 2)]
async fn main() {
    let count: usize = std::env::args().nth(1).map_or(10_000, |argument| argument.parse().expect("a number"));
    let dir = tempfile::tempdir_in(".").expect("a directory");
    let options =
        EmbeddedOptions { clock: Arc::new(SystemClock), random: Arc::new(ForeseeableRandom::default()), inline: false };
    let store = EmbeddedStore::open(dir.path(), options).await.expect("a store");
    let started = Instant::now();
    for number in 0..count {
        let id = store.actors.create(made(number), vec![]).await.expect("an Actor").id;
        if number % 3 == 0 {
            given_run(&store, id, i64::try_from(number).expect("small")).await;
        }
    }
    println!("{count} public Actors made in {:.1} s", started.elapsed().as_secs_f64());

    let search = |text: &str| FrontFilter { search: Some(text.to_owned()), ..FrontFilter::default() };
    let by = |order| FrontFilter { order, ..FrontFilter::default() };
    for (what, wanted) in [
        ("popularity", by(FrontOrder::Popularity)),
        ("newest", by(FrontOrder::Newest)),
        ("lastUpdate", by(FrontOrder::LastUpdate)),
        ("one Actor's number", search("actor-77")),
        ("two words", search("google maps")),
        ("a word of all", search("scraper")),
        ("category", FrontFilter { category: Some("AI".into()), ..FrontFilter::default() }),
        ("user", FrontFilter { user: Some(user()), ..FrontFilter::default() }),
        ("pricing model", FrontFilter { pricing_model: Some("FREE".into()), ..FrontFilter::default() }),
        ("word and category", FrontFilter { category: Some("AI".into()), ..search("hotels") }),
    ] {
        for page in
            [Page { offset: 0, limit: 20, desc: false }, Page { offset: 5000, limit: 20, desc: false }, Page::default()]
        {
            measure(&store, what, wanted.clone(), page).await;
        }
    }
    for (only_own, by_last_run) in [(true, false), (false, false), (false, true)] {
        for page in [Page { offset: 5000, limit: 20, desc: true }, Page::default()] {
            let mut times = Vec::new();
            for _ in 0..30 {
                let started = Instant::now();
                store.actors.list(&user(), only_own, by_last_run, page).await.expect("a page");
                times.push(started.elapsed().as_secs_f64() * 1000.0);
            }
            tell(&format!("list own {only_own} by run {by_last_run}"), page, times, count as u64);
        }
    }
}

async fn measure(store: &Store, what: &str, wanted: FrontFilter, page: Page) {
    let (mut times, mut total) = (Vec::new(), 0);
    for _ in 0..30 {
        let started = Instant::now();
        total = store.actors.front(wanted.clone(), page, SystemClock.now()).await.expect("a page").total;
        times.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    tell(what, page, times, total);
}

fn tell(what: &str, page: Page, mut times: Vec<f64>, total: u64) {
    times.sort_by(f64::total_cmp);
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    let Page { offset, limit, .. } = page;
    println!("{what:<24} offset {offset:>5} limit {limit:>5}: p50 {median:6.2} ms, worst {worst:6.2} ms, of {total}");
}

fn made(number: usize) -> Actor {
    let word = |step: usize| WORDS[number / step % WORDS.len()];
    Actor {
        is_public: true,
        title: Some(format!("Google {} scraper {number}", word(1))),
        description: Some(format!(
            "Extracts {} and {} with all of their {} from the web, fast and without limits, into a dataset of clean items.",
            word(1),
            word(12),
            word(144)
        )),
        categories: vec![CATEGORIES[number % 4].to_owned()],
        modified_at: Timestamp::from_millis(i64::try_from(number * 7919 % 100_000).expect("small")),
        ..actor(&format!("actor-{number}"), i64::try_from(number).expect("small"))
    }
}
