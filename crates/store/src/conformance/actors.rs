//! Actors and their versions.

use std::sync::Arc;

use futures::StreamExt as _;
use model::pricing::PricingInfo;
use model::{Actor, ActorId, Clock as _, EnvVar, Page, Source, TaggedBuild, Timestamp};

use super::fixtures::{StoppedClock, fresh, shared, user};
use super::jobs::{actor, at, given_actor, given_build, given_run, run_of, set_status, source, version};
use crate::{FrontFilter, FrontOrder, JobLog, Noun, Store, StoreError};

async fn names(store: &Store, only_own: bool, by_last_run: bool, page: Page) -> (u64, Vec<String>) {
    let listed = store.actors.list(&user(), only_own, by_last_run, page).await.unwrap();
    (listed.total, listed.items.iter().map(|(actor, _)| actor.name.clone()).collect())
}

async fn numbers(store: &Store, id: &ActorId) -> Vec<String> {
    store.actors.versions(id).await.unwrap().into_iter().map(|version| version.version_number).collect()
}

pub async fn an_actor_is_found_by_id_and_by_its_owners_name_in_any_case(store: &Store) {
    let mine = actor("My-Actor", 0);
    let created = store.actors.create(mine.clone(), vec![version("0.1", "a")]).await.unwrap();
    let other = Actor { user_id: fresh(), ..actor("my-actor", 0) };
    store.actors.create(other.clone(), vec![]).await.unwrap();

    assert_eq!(*created, mine);
    assert_eq!(*store.actors.get(&mine.id).await.unwrap().unwrap(), mine);
    assert_eq!(store.actors.find(&user(), "MY-ACTOR").await.unwrap().unwrap().id, mine.id);
    assert_eq!(store.actors.find(&other.user_id, "My-Actor").await.unwrap().unwrap().id, other.id);
    assert!(store.actors.find(&user(), "other").await.unwrap().is_none());
    assert!(store.actors.get(&fresh()).await.unwrap().is_none());
    assert!(matches!(store.actors.create(actor("my-ACTOR", 1), vec![]).await, Err(StoreError::NameTaken)));
}

pub async fn an_actor_is_changed_whole_or_not_at_all(store: &Store) {
    let id = given_actor(store, "first").await;
    given_actor(store, "taken").await;

    let changed = store
        .actors
        .modify(
            &id,
            Box::new(|actor| {
                actor.title = Some("Title".to_owned());
                actor.name = "renamed".to_owned();
                true
            }),
        )
        .await
        .unwrap();
    assert_eq!(changed.title.as_deref(), Some("Title"));
    assert_eq!(store.actors.get(&id).await.unwrap().unwrap(), changed);
    assert_eq!(store.actors.find(&user(), "renamed").await.unwrap().unwrap(), changed);
    assert!(store.actors.find(&user(), "first").await.unwrap().is_none(), "its old name is free");

    let refused = store
        .actors
        .modify(
            &id,
            Box::new(|actor| {
                actor.title = None;
                false
            }),
        )
        .await
        .unwrap();
    assert_eq!(refused, changed);
    let rename = |name: &'static str| {
        store.actors.modify(
            &id,
            Box::new(move |actor| {
                actor.name = name.to_owned();
                true
            }),
        )
    };
    assert!(matches!(rename("TAKEN").await, Err(StoreError::NameTaken)));
    assert_eq!(rename("Renamed").await.unwrap().name, "Renamed", "its own name in another case");
    let unknown = store.actors.modify(&fresh(), Box::new(|_| true)).await;
    assert!(matches!(unknown, Err(StoreError::NotFound(Noun::Actor))));
}

pub async fn versions_keep_their_order_and_their_source(store: &Store) {
    let long = "x".repeat(2_000_000);
    let versions = vec![version("0.2", &long), version("0.10", "b")];
    let id = store.actors.create(actor("a", 0), versions.clone()).await.unwrap().id;
    store.actors.create_version(&id, version("0.1", "c"), at(5)).await.unwrap();

    assert_eq!(numbers(store, &id).await, ["0.2", "0.10", "0.1"]);
    assert_eq!(store.actors.versions(&id).await.unwrap()[..2], versions);
    assert_eq!(store.actors.version(&id, "0.2").await.unwrap().unwrap(), versions[0]);
    assert!(store.actors.version(&id, "0.3").await.unwrap().is_none());
    assert_eq!(store.actors.get(&id).await.unwrap().unwrap().modified_at, at(5));
    let again = store.actors.create_version(&id, version("0.1", "d"), at(6)).await;
    assert!(matches!(again, Err(StoreError::NameTaken)));

    store.actors.delete_version(&id, "0.10", at(7)).await.unwrap();
    assert_eq!(numbers(store, &id).await, ["0.2", "0.1"]);
    let again = store.actors.delete_version(&id, "0.10", at(8)).await;
    assert!(matches!(again, Err(StoreError::NotFound(Noun::Version))));

    store.actors.replace_versions(&id, vec![version("0.1", "e"), version("1.0", "f")], at(9)).await.unwrap();
    assert_eq!(numbers(store, &id).await, ["0.1", "1.0"]);
    assert_eq!(store.actors.get(&id).await.unwrap().unwrap().modified_at, at(9));
    let unknown = store.actors.create_version(&fresh(), version("0.1", "a"), at(0)).await;
    assert!(matches!(unknown, Err(StoreError::NotFound(Noun::Actor))));
}

pub async fn a_version_is_changed_by_many_at_once_without_loss(store: &Store) {
    let id = store.actors.create(actor("a", 0), vec![version("0.1", "a")]).await.unwrap().id;
    let store = shared(store);

    let changes: Vec<_> = (0..10)
        .map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let add = move |version: &mut model::Version| {
                    let name = format!("VAR{number}");
                    version.env_vars.push(EnvVar { name, value: None, is_secret: false });
                    true
                };
                store.actors.modify_version(&id, "0.1", Box::new(add), at(number)).await.unwrap();
            })
        })
        .collect();
    for change in changes {
        change.await.unwrap();
    }

    let version = store.actors.version(&id, "0.1").await.unwrap().unwrap();
    assert_eq!(version.env_vars.len(), 10);
    assert_eq!(store.actors.get(&id).await.unwrap().unwrap().modified_at, at(9));
    let kept = store
        .actors
        .modify_version(
            &id,
            "0.1",
            Box::new(|version| {
                version.source = Source::GitRepo { git_repo_url: "x".to_owned() };
                false
            }),
            at(99),
        )
        .await
        .unwrap();
    assert_eq!(kept, version);
    assert_eq!(store.actors.get(&id).await.unwrap().unwrap().modified_at, at(9));
    let unknown = store.actors.modify_version(&id, "9.9", Box::new(|_| true), at(0)).await;
    assert!(matches!(unknown, Err(StoreError::NotFound(Noun::Version))));
}

pub async fn statistics_are_counted_apart_from_the_actor(store: &Store) {
    let id = given_actor(store, "a").await;
    let before = store.actors.get(&id).await.unwrap().unwrap();

    given_run(store, id, 20).await;
    let run = given_run(store, id, 10).await;
    store.runs.delete(&run).await.unwrap();
    let build = given_build(store, id, 1).await;
    given_build(store, id, 2).await;
    for _ in 0..2 {
        store
            .builds
            .modify(
                &build,
                Box::new(|build, _| {
                    build.status = model::JobStatus::Succeeded;
                    true
                }),
            )
            .await
            .unwrap();
    }

    let stats = store.actors.stats(&id).await.unwrap();
    assert_eq!((stats.total_runs, stats.total_builds), (2, 1));
    assert_eq!(stats.last_run_started_at, Some(at(20)));
    assert_eq!(store.actors.get(&id).await.unwrap().unwrap().modified_at, before.modified_at);
    assert!(matches!(store.actors.stats(&fresh()).await, Err(StoreError::NotFound(Noun::Actor))));
}

pub async fn actors_are_listed_with_those_that_the_user_has_run(store: &Store) {
    for (name, millis) in [("bbb", 2), ("aaa", 1), ("ccc", 3)] {
        store.actors.create(actor(name, millis), vec![]).await.unwrap();
    }
    let stranger = fresh();
    let public = Actor { user_id: stranger, is_public: true, ..actor("public", 4) };
    let private = Actor { user_id: stranger, ..actor("private", 5) };
    let unused = Actor { user_id: stranger, is_public: true, ..actor("unused", 6) };
    for actor in [&public, &private, &unused] {
        store.actors.create(actor.clone(), vec![]).await.unwrap();
    }
    let mine = store.actors.find(&user(), "bbb").await.unwrap().unwrap().id;
    let run = given_run(store, public.id, 10).await;
    set_status(store, &run, model::JobStatus::Running).await;
    given_run(store, private.id, 11).await;
    given_run(store, mine, 12).await;
    let (of_stranger, storages) = run_of(stranger, unused.id, 13);
    store.runs.create(of_stranger, storages, None).await.unwrap();

    let page = Page::default();
    let desc = Page { desc: true, ..page };
    assert_eq!(names(store, true, false, page).await, (3, vec!["aaa".into(), "bbb".into(), "ccc".into()]));
    assert_eq!(
        names(store, false, false, desc).await,
        (4, vec!["public".into(), "ccc".into(), "bbb".into(), "aaa".into()])
    );
    let (total, by_run) = names(store, false, true, desc).await;
    assert_eq!((total, &by_run[..2]), (4, &["bbb".to_owned(), "public".to_owned()][..]));
    let (_, by_run) = names(store, false, true, page).await;
    assert_eq!(by_run[2..], ["public".to_owned(), "bbb".to_owned()], "never run counts as the oldest");
    let second = Page { offset: 1, limit: 1, desc: false };
    assert_eq!(names(store, true, false, second).await, (3, vec!["bbb".into()]));
    let beyond = Page { offset: 9, limit: 1, desc: false };
    assert_eq!(names(store, true, false, beyond).await, (3, vec![]));
}

/// The names of a page of the store front, and how many there are in all.
async fn shown(store: &Store, wanted: FrontFilter, page: Page) -> (u64, Vec<String>) {
    let listed = store.actors.front(wanted, page, at(1000)).await.unwrap();
    (listed.total, listed.items.iter().map(|(actor, _)| actor.name.clone()).collect())
}

fn search(text: &str) -> FrontFilter {
    FrontFilter { search: Some(text.to_owned()), ..FrontFilter::default() }
}

async fn given_public(store: &Store, name: &str, millis: i64, change: impl Fn(&mut Actor)) -> ActorId {
    let mut public = Actor { is_public: true, ..actor(name, millis) };
    change(&mut public);
    store.actors.create(public, vec![]).await.unwrap().id
}

pub async fn the_store_front_shows_public_actors_in_every_order(store: &Store) {
    let stranger = fresh();
    let old = given_public(store, "old", 1, |_| {}).await;
    let new = given_public(store, "new", 2, |actor| actor.user_id = stranger).await;
    let middle = given_public(store, "middle", 1, |actor| actor.categories = vec!["AI".into(), "NEWS".into()]).await;
    given_actor(store, "private").await;
    for millis in [10, 11] {
        given_run(store, new, millis).await;
    }
    for user in [stranger, fresh()] {
        let (run, storages) = run_of(user, old, 12);
        store.runs.create(run, storages, None).await.unwrap();
    }
    store.actors.create_version(&middle, version("0.1", "x"), at(50)).await.unwrap();

    let by = |order| FrontFilter { order, ..FrontFilter::default() };
    let page = Page::default();
    for order in [FrontOrder::Popularity, FrontOrder::Relevance] {
        assert_eq!(shown(store, by(order), page).await, (3, vec!["old".into(), "new".into(), "middle".into()]));
    }
    let (_, newest) = shown(store, by(FrontOrder::Newest), page).await;
    assert_eq!(newest[0], "new");
    assert_eq!(shown(store, by(FrontOrder::LastUpdate), page).await.1[0], "middle");
    let second = Page { offset: 1, limit: 1, desc: false };
    assert_eq!(shown(store, by(FrontOrder::Popularity), second).await, (3, vec!["new".into()]));
    let of = |user| FrontFilter { user: Some(user), ..FrontFilter::default() };
    assert_eq!(shown(store, of(stranger), page).await, (1, vec!["new".into()]));
    let news = FrontFilter { category: Some("NEWS".into()), ..FrontFilter::default() };
    assert_eq!(shown(store, news.clone(), page).await, (1, vec!["middle".into()]));
    let stats = store.actors.stats(&old).await.unwrap();
    assert_eq!((stats.total_users, stats.total_runs), (2, 2));
    assert_eq!(store.actors.stats(&new).await.unwrap().total_users, 1);

    let hide = |actor: &mut Actor| {
        actor.is_public = false;
        true
    };
    store.actors.modify(&middle, Box::new(hide)).await.unwrap();
    store.actors.delete(&old).await.unwrap();
    assert_eq!(shown(store, by(FrontOrder::Popularity), page).await, (1, vec!["new".into()]));
    assert_eq!(shown(store, news, page).await.0, 0);
    assert_eq!(shown(store, search("middle"), page).await.0, 0);
}

pub async fn the_store_front_is_searched_by_words_the_best_places_first(store: &Store) {
    let described =
        given_public(store, "described", 1, |actor| actor.description = Some("Reads Google Maps".into())).await;
    given_public(store, "titled", 2, |actor| actor.title = Some("Maps of Örebro".into())).await;
    let documented = given_public(store, "documented", 3, |_| {}).await;
    let build = given_build(store, documented, 1).await;
    let tag = move |build: &mut model::Build, actor: Option<&mut Actor>| {
        build.readme = Some("# Everything about maps".into());
        build.status = model::JobStatus::Succeeded;
        let tagged = TaggedBuild {
            build_id: build.id,
            build_number: build.build_number.clone(),
            build_number_int: 1,
            finished_at: None,
        };
        actor.unwrap().tagged_builds.insert("latest".into(), tagged);
        true
    };
    store.builds.modify(&build, Box::new(tag)).await.unwrap();
    given_run(store, documented, 5).await;

    let page = Page::default();
    let found = async |text: &str| shown(store, search(text), page).await.1;
    assert_eq!(found("MAPS").await, ["titled", "described", "documented"]);
    assert_eq!(found("goo map").await, ["described"], "every word, at least its beginning");
    assert_eq!(found("orebro").await, ["titled"], "without regard to marks");
    assert_eq!(found("everything").await, ["documented"]);
    assert!(found("aps").await.is_empty() && found("\"").await.is_empty() && found("nowhere").await.is_empty());
    for odd in ["a\"b", "NOT", "maps AND", "(", "name:x", "*", "^a", "-maps", "{", "\0", &"x ".repeat(5000)] {
        found(odd).await;
    }
    let rename = |actor: &mut Actor| {
        actor.description = Some("Reads the sky".into());
        true
    };
    store.actors.modify(&described, Box::new(rename)).await.unwrap();
    assert_eq!(found("google").await, Vec::<String>::new());
    assert_eq!(found("sky").await, ["described"]);
    store.builds.delete(&build).await.unwrap();
    assert!(found("everything").await.is_empty(), "its README is gone with its build");
}

pub async fn the_store_front_knows_the_prices_in_force(store: &Store) {
    let entry = |model: &str, start: i64| -> PricingInfo {
        let entry = serde_json::json!({ "pricingModel": model, "createdAt": at(0), "startedAt": at(start) });
        serde_json::from_value(entry).unwrap()
    };
    given_public(store, "paid", 1, |actor| actor.pricing_infos = vec![entry("PAY_PER_EVENT", -1)]).await;
    given_public(store, "free", 2, |_| {}).await;

    let of = |model: &str| FrontFilter { pricing_model: Some(model.into()), ..FrontFilter::default() };
    assert_eq!(shown(store, of("PAY_PER_EVENT"), Page::default()).await, (1, vec!["paid".into()]));
    assert_eq!(shown(store, of("FREE"), Page::default()).await, (1, vec!["free".into()]));
    assert_eq!(shown(store, of("FLAT_PRICE_PER_MONTH"), Page::default()).await.0, 0);
}

pub async fn prices_come_into_force_in_the_store_front(store: &Store, clock: &StoppedClock) {
    let start = clock.now().plus_secs(60);
    let entry = serde_json::json!({ "pricingModel": "PAY_PER_EVENT", "createdAt": clock.now(), "startedAt": start });
    let entry: PricingInfo = serde_json::from_value(entry).unwrap();
    given_public(store, "soon", 1, |actor| actor.pricing_infos = vec![entry.clone()]).await;
    let paid = async |now: Timestamp| {
        let wanted = FrontFilter { pricing_model: Some("PAY_PER_EVENT".into()), ..FrontFilter::default() };
        store.actors.front(wanted, Page::default(), now).await.unwrap().total
    };

    assert_eq!(paid(clock.now()).await, 0);
    clock.advance_millis(61_000);
    assert_eq!(paid(clock.now()).await, 1);
}

pub async fn a_deleted_actor_takes_versions_and_builds_along_but_no_runs(store: &Store) {
    let id = store.actors.create(actor("a", 0), vec![version("0.1", "a")]).await.unwrap().id;
    let run = given_run(store, id, 1).await;
    let build = given_build(store, id, 1).await;
    let log = JobLog::Build(build);
    store.logs.append(&log, "line\n").await.unwrap();
    let file = store.logs.file(&log).await.unwrap();
    assert!(file.exists());

    store.actors.delete(&id).await.unwrap();

    assert!(store.actors.get(&id).await.unwrap().is_none());
    assert!(store.actors.find(&user(), "a").await.unwrap().is_none());
    assert!(numbers(store, &id).await.is_empty());
    assert!(store.builds.get(&build).await.unwrap().is_none());
    assert!(store.builds.source(&build).await.unwrap().is_none());
    assert!(!file.exists());
    assert_eq!(store.logs.read(&log, 0, None).await.unwrap().count().await, 0);
    assert!(store.runs.get(&run).await.unwrap().is_some());
    assert!(matches!(store.actors.delete(&id).await, Err(StoreError::NotFound(Noun::Actor))));
    let build = store.builds.create(&id, "0.1", source("x"), Box::new(|_| unreachable!())).await;
    assert!(matches!(build, Err(StoreError::NotFound(Noun::Actor))));
    given_actor(store, "a").await;
}
