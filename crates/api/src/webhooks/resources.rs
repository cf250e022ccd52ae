//! Runs and builds as webhooks show them: as their owners' GET does (`WH-11`).

use anyhow::Context as _;
use async_trait::async_trait;
use engine::Resources;
use model::{Build, Run, Timestamp};
use serde_json::Value;

use crate::app::App;
use crate::runs;
use crate::wire::{BuildBody, Viewer};

#[async_trait]
impl Resources for App {
    async fn run(&self, run: &Run, at: Timestamp) -> anyhow::Result<Value> {
        let body = runs::body(self, run, Viewer::Owner, at).await?;
        serde_json::to_value(&body).context("cannot show a run")
    }

    async fn build(&self, build: &Build) -> anyhow::Result<Value> {
        serde_json::to_value(BuildBody::new(build, Viewer::Owner, self.engine_config())).context("cannot show a build")
    }
}

impl App {
    /// Lets the engine send what is due for webhooks, from now on until it stops.
    pub fn deliver_webhooks(&self) {
        self.engine().deliver_webhooks(std::sync::Arc::new(self.clone()));
    }
}
