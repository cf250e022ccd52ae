//! What every handler can reach.

use std::sync::Arc;

use engine::{Engine, EngineConfig};
use model::{MAX_JSON_BODY, Timestamp};
use store::Store;

use crate::runs::Outputs;
use crate::storages::dataset::{Counted, Lengths};
use crate::storages::{Reclaims, Schemas};

/// The engine and the settings of the HTTP face. Cheap to clone.
#[derive(Clone, Debug)]
pub struct App {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    engine: Engine,
    config: ApiConfig,
    schemas: Schemas,
    outputs: Outputs,
    reclaims: Reclaims,
    export_lengths: Lengths,
    counted: Counted,
}

/// Settings of the HTTP face.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// Longest JSON body after decompression, in bytes (`G8`).
    pub max_json_body: usize,
    /// Largest record of a key-value store, in bytes as it arrives; any size if `None` (`K11`).
    pub max_record: Option<u64>,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self { max_json_body: MAX_JSON_BODY, max_record: None }
    }
}

impl App {
    /// Puts the HTTP face before an engine.
    pub fn new(engine: Engine, config: ApiConfig) -> Self {
        let (schemas, outputs, reclaims, export_lengths, counted) = Default::default();
        Self { inner: Arc::new(Inner { engine, config, schemas, outputs, reclaims, export_lengths, counted }) }
    }

    /// The verbs.
    pub fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    /// What is kept.
    pub fn store(&self) -> &Store {
        self.inner.engine.store()
    }

    /// The settings of the HTTP face.
    pub fn config(&self) -> &ApiConfig {
        &self.inner.config
    }

    /// The output templates of builds.
    pub(crate) fn outputs(&self) -> &Outputs {
        &self.inner.outputs
    }

    /// How long exports are.
    pub(crate) fn export_lengths(&self) -> &Lengths {
        &self.inner.export_lengths
    }

    /// What was counted of the fields of datasets.
    pub(crate) fn counted(&self) -> &Counted {
        &self.inner.counted
    }

    /// The requests that clients have just given back.
    pub(crate) fn reclaims(&self) -> &Reclaims {
        &self.inner.reclaims
    }

    /// The schemas of storages, ready for use.
    pub(crate) fn schemas(&self) -> &Schemas {
        &self.inner.schemas
    }

    /// The settings of the engine, with the addresses under which this server is reached.
    pub fn engine_config(&self) -> &EngineConfig {
        self.inner.engine.config()
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        self.inner.engine.clock().now()
    }

    /// The address of a resource as outsiders reach it: `path` begins behind `/v2/`.
    pub fn public_url(&self, path: &str) -> String {
        format!("{}/v2/{path}", self.engine_config().public_url)
    }

    /// The address of a page of the console; `path` has no leading slash.
    pub fn console_url(&self, path: &str) -> String {
        format!("{}/{path}", self.engine_config().console_url)
    }
}
