//! What tests of Actors, builds and runs begin with.

use std::time::Duration;

use serde_json::{Value, json};
use store::JobLog;

use crate::harness::TestServer;

/// The Actor that every server begins with.
pub const ACTOR: &str = "/v2/actors/ada~my-actor";

impl TestServer {
    /// Starts a run of `my-actor` and returns its id.
    pub async fn given_run(&self) -> String {
        id(&self.post(&format!("{ACTOR}/runs")).await.expect(201).data())
    }

    /// Starts a run of `my-actor` and waits until it is executed.
    pub async fn given_running(&self) -> String {
        let run = self.given_run().await;
        self.running(&run, 1).await;
        run
    }

    /// Waits until that life of a run is executed.
    pub async fn running(&self, run: &str, life: u32) {
        self.engine.driver.started_life(run, life).await;
        self.engine.started(&run_id(run), life).await;
    }

    /// Ends a run with an exit code and waits for its last status.
    pub async fn end(&self, run: &str, code: i32) {
        self.engine.exit(&run_id(run), code);
        self.engine.ended(&run_id(run)).await;
    }

    /// Starts a run of `my-actor` and lets it succeed.
    pub async fn given_finished(&self) -> String {
        let run = self.given_running().await;
        self.end(&run, 0).await;
        run
    }

    /// Makes `my-actor` public.
    pub async fn given_public_actor(&self) -> String {
        let body = json!({ "isPublic": true, "title": "My Actor", "categories": ["AI"] });
        id(&self.put(ACTOR).json(body).await.expect(200).data())
    }

    /// A token with which a run calls.
    pub async fn token_of(&self, run: &str) -> String {
        self.engine.driver.started(run).await.env["APIFY_TOKEN"].clone()
    }

    /// Writes lines as an Actor would.
    pub async fn write_log(&self, run: &str, lines: &str) {
        self.engine.engine.store().logs.append(&JobLog::Run(run_id(run)), lines).await.expect("a log");
    }

    /// The only build of `my-actor`.
    pub async fn build(&self) -> String {
        id(&self.get(&format!("{ACTOR}/builds/default")).await.expect(200).data())
    }
}

/// The id of an object.
#[track_caller]
pub fn id(object: &Value) -> String {
    object["id"].as_str().expect("an id").to_owned()
}

pub fn run_id(id: &str) -> model::RunId {
    model::RunId::parse(id).expect("an id")
}

pub fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Insists on fields that are there and not null, since the Python client refuses an object without (`VAL-4`).
#[track_caller]
pub fn insist(object: &Value, fields: &[&str]) {
    for field in fields {
        let found = field.split('.').fold(object, |object, name| &object[name]);
        assert!(!found.is_null(), "no {field} in {object:#}");
    }
}
