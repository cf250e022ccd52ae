//! Actors, builds and runs as cases need them.

use model::{
    Actor, ActorId, Build, BuildId, JobStatus, Run, RunId, Source, SourceFile, Storage, StorageKind, Timestamp, UserId,
    Version,
};
use serde_json::json;

use super::fixtures::{fresh, storage, user};
use crate::Store;

/// A moment, `millis` after the first.
pub fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_790_000_000_000 + millis)
}

/// An Actor of the user of most cases.
pub fn actor(name: &str, millis: i64) -> Actor {
    Actor::new(fresh(), user(), name, at(millis))
}

/// A version with one file.
pub fn version(number: &str, content: &str) -> Version {
    Version {
        version_number: number.to_owned(),
        source: source(content),
        build_tag: Some("latest".to_owned()),
        env_vars: vec![],
        apply_env_vars_to_build: false,
    }
}

/// One file.
pub fn source(content: &str) -> Source {
    let file = SourceFile { name: "main.js".to_owned(), format: None, content: Some(content.to_owned()), folder: None };
    Source::SourceFiles { source_files: vec![file] }
}

/// Makes an Actor without versions.
pub async fn given_actor(store: &Store, name: &str) -> ActorId {
    store.actors.create(actor(name, 0), vec![]).await.unwrap().id
}

/// A build that waits to begin.
pub fn build(actor: ActorId, number: &str, millis: i64) -> Build {
    serde_json::from_value(json!({
        "id": fresh::<model::kind::Build>(),
        "actorId": actor,
        "userId": user(),
        "buildNumber": number,
        "status": "READY",
        "startedAt": at(millis),
        "finishedAt": null,
        "meta": { "origin": "API" },
        "options": {
            "useCache": false, "betaPackages": false, "memoryMbytes": 4096, "diskMbytes": 8192, "timeoutSecs": 1800
        },
        "tag": null,
        "sourceKind": "SOURCE_FILES",
    }))
    .unwrap()
}

/// Makes the next build of version 0.1.
pub async fn given_build(store: &Store, actor: ActorId, millis: i64) -> BuildId {
    let make = Box::new(move |number| build(actor, &format!("0.1.{number}"), millis));
    store.builds.create(&actor, "0.1", source("x"), make).await.unwrap().id
}

/// A run of the user of most cases, with its default storages.
pub fn run(actor: ActorId, millis: i64) -> (Run, Vec<Storage>) {
    run_of(user(), actor, millis)
}

/// A run with its default storages.
pub fn run_of(user: UserId, actor: ActorId, millis: i64) -> (Run, Vec<Storage>) {
    let id: RunId = fresh();
    let storages: Vec<Storage> = [StorageKind::KeyValueStore, StorageKind::Dataset, StorageKind::RequestQueue]
        .into_iter()
        .map(|kind| Storage { user_id: user, run_id: Some(id), lives_with: Some(id), ..storage(kind, None) })
        .collect();
    let run = serde_json::from_value(json!({
        "id": id,
        "actorId": actor,
        "userId": user,
        "taskId": null,
        "buildId": fresh::<model::kind::Build>(),
        "buildNumber": "0.1.1",
        "status": "READY",
        "startedAt": at(millis),
        "meta": { "origin": "API" },
        "options": { "build": "latest", "timeoutSecs": 3600, "memoryMbytes": 1024, "diskMbytes": 2048 },
        "storages": {
            "keyValueStore": storages[0].id, "dataset": storages[1].id, "requestQueue": storages[2].id
        },
        "inputKey": "INPUT",
        "permissionLevel": "LIMITED_PERMISSIONS",
        "containerSecret": "secret",
    }))
    .unwrap();
    (run, storages)
}

/// Makes a run of the user of most cases.
pub async fn given_run(store: &Store, actor: ActorId, millis: i64) -> RunId {
    let (run, storages) = run(actor, millis);
    store.runs.create(run, storages, None).await.unwrap().id
}

/// Moves a run to another status.
pub async fn set_status(store: &Store, id: &RunId, status: JobStatus) {
    let change = move |run: &mut Run| {
        run.status = status;
        true
    };
    store.runs.modify(id, Box::new(change)).await.unwrap();
}
