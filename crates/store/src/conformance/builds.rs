//! Builds.

use std::sync::Arc;

use model::{Actor, Build, JobStatus, Page, TaggedBuild};
use serde_json::value::RawValue;

use super::fixtures::{fresh, shared, user};
use super::jobs::{actor, at, build, given_actor, given_build, source};
use crate::{BuildFilter, Noun, Store, StoreError};

fn tagged(build: &Build) -> TaggedBuild {
    TaggedBuild {
        build_id: build.id,
        build_number: build.build_number.clone(),
        build_number_int: 100_001,
        finished_at: Some(at(9)),
    }
}

pub async fn builds_are_numbered_by_version_and_no_number_comes_twice(store: &Store) {
    let actor = given_actor(store, "a").await;
    let modified_at = store.actors.get(&actor).await.unwrap().unwrap().modified_at;
    let store = shared(store);

    let creations: Vec<_> = (0..10)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { given_build(&store, actor, 1).await })
        })
        .collect();
    for creation in creations {
        creation.await.unwrap();
    }
    let last = store.builds.find(&actor, "0.1.10").await.unwrap().unwrap();
    store.builds.delete(&last.id).await.unwrap();
    let next = given_build(&store, actor, 1).await;
    let make = Box::new(move |number| build(actor, &format!("0.2.{number}"), 1));
    let other = store.builds.create(&actor, "0.2", source("x"), make).await.unwrap();

    assert_eq!(store.builds.get(&next).await.unwrap().unwrap().build_number, "0.1.11");
    assert_eq!(other.build_number, "0.2.1");
    for number in 1..10 {
        assert!(store.builds.find(&actor, &format!("0.1.{number}")).await.unwrap().is_some());
    }
    assert!(store.builds.find(&actor, "0.1.10").await.unwrap().is_none());
    assert_eq!(store.actors.get(&actor).await.unwrap().unwrap().modified_at, modified_at);
}

pub async fn a_build_comes_back_with_its_source_and_all_that_it_found(store: &Store) {
    let actor = given_actor(store, "a").await;
    let long = "x".repeat(500_000);
    let make =
        Box::new(move |number| Build { readme: Some("first".to_owned()), ..build(actor, &format!("0.1.{number}"), 1) });
    let id = store.builds.create(&actor, "0.1", source(&long), make).await.unwrap().id;
    assert_eq!(store.builds.get(&id).await.unwrap().unwrap().readme.as_deref(), Some("first"));

    let readme = long.clone();
    let changed = store
        .builds
        .modify(
            &id,
            Box::new(move |build, _| {
                build.readme = Some(readme.clone());
                build.input_schema = Some("{}".to_owned());
                build.actor_definition = Some(RawValue::from_string("{\"b\":1,\"a\":1.0}".to_owned()).unwrap());
                true
            }),
        )
        .await
        .unwrap();

    for build in [changed, store.builds.get(&id).await.unwrap().unwrap()] {
        assert_eq!(build.readme.as_ref(), Some(&long));
        assert_eq!(build.input_schema.as_deref(), Some("{}"));
        assert_eq!(build.actor_definition.as_ref().unwrap().get(), "{\"b\":1,\"a\":1.0}");
    }
    assert_eq!(store.builds.source(&id).await.unwrap(), Some(source(&long)));
    assert_eq!(store.builds.source(&fresh()).await.unwrap(), None);
    let listed = store.builds.list(BuildFilter::OfActor(actor), Page::default()).await.unwrap();
    assert_eq!(listed.items[0].id, id);
    assert!(listed.items[0].readme.is_none() && listed.items[0].actor_definition.is_none());
}

pub async fn a_tag_moves_with_the_status_of_a_build(store: &Store) {
    let actor = given_actor(store, "a").await;
    let id = given_build(store, actor, 1).await;

    let finish = |build: &mut Build, actor: Option<&mut Actor>| {
        build.status = JobStatus::Succeeded;
        actor.unwrap().tagged_builds.insert("latest".to_owned(), tagged(build));
        true
    };
    let finished = store.builds.modify(&id, Box::new(finish)).await.unwrap();
    assert_eq!(finished.status, JobStatus::Succeeded);
    assert_eq!(store.actors.get(&actor).await.unwrap().unwrap().tagged_builds["latest"], tagged(&finished));

    let undecided = |build: &mut Build, actor: Option<&mut Actor>| {
        build.status = JobStatus::Failed;
        actor.unwrap().tagged_builds.clear();
        false
    };
    let kept = store.builds.modify(&id, Box::new(undecided)).await.unwrap();
    assert_eq!(kept.status, JobStatus::Succeeded);
    assert_eq!(store.actors.get(&actor).await.unwrap().unwrap().tagged_builds.len(), 1);

    store.builds.delete(&id).await.unwrap();
    assert!(store.actors.get(&actor).await.unwrap().unwrap().tagged_builds.is_empty());
    assert!(store.builds.get(&id).await.unwrap().is_none());
    assert!(matches!(store.builds.delete(&id).await, Err(StoreError::NotFound(Noun::Build))));
    let unknown = store.builds.modify(&id, Box::new(|_, _| true)).await;
    assert!(matches!(unknown, Err(StoreError::NotFound(Noun::Build))));
}

pub async fn builds_are_listed_by_start_and_those_of_an_owner_together(store: &Store) {
    let mine = given_actor(store, "mine").await;
    let also_mine = given_actor(store, "also-mine").await;
    let strangers = Actor { user_id: fresh(), ..actor("strangers", 0) };
    store.actors.create(strangers.clone(), vec![]).await.unwrap();
    let mut expected = Vec::new();
    for millis in [3, 1, 2, 2, 2] {
        expected.push((millis, given_build(store, mine, millis).await));
    }
    given_build(store, also_mine, 9).await;
    given_build(store, strangers.id, 9).await;
    expected.sort_unstable();
    let ids: Vec<_> = expected.into_iter().map(|(_, id)| id).collect();

    for desc in [false, true] {
        let mut ids = ids.clone();
        if desc {
            ids.reverse();
        }
        let mut listed = Vec::new();
        for offset in 0..5 {
            let page = Page { offset, limit: 1, desc };
            let page = store.builds.list(BuildFilter::OfActor(mine), page).await.unwrap();
            assert_eq!(page.total, 5);
            listed.extend(page.items.iter().map(|build| build.id));
        }
        assert_eq!(listed, ids);
    }
    assert_eq!(store.builds.list(BuildFilter::OfUser(user()), Page::default()).await.unwrap().total, 6);
    assert_eq!(store.builds.list(BuildFilter::OfUser(strangers.user_id), Page::default()).await.unwrap().total, 1);
}

pub async fn builds_that_have_not_ended_are_known(store: &Store) {
    let actor = given_actor(store, "a").await;
    let mut ids = Vec::new();
    for status in JobStatus::ALL {
        let id = given_build(store, actor, 1).await;
        ids.push(id);
        let set = move |build: &mut Build, _: Option<&mut Actor>| {
            build.status = status;
            true
        };
        store.builds.modify(&id, Box::new(set)).await.unwrap();
    }

    let live: Vec<_> = store.builds.live().await.unwrap().iter().map(|build| build.id).collect();

    assert_eq!(live, ids[..4]);
}
