//! What every handler can reach.

use std::sync::Arc;

use engine::{Engine, EngineConfig};
use model::{MAX_JSON_BODY, Timestamp};
use store::Store;

use crate::runs::Outputs;
use crate::storages::dataset::Lengths;
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
}

/// Settings of the HTTP face.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// Longest JSON body after decompression, in bytes (`G8`).
    pub max_json_body: usize,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self { max_json_body: MAX_JSON_BODY }
    }
}

impl App {
    /// Puts the HTTP face before an engine.
    pub fn new(engine: Engine, config: ApiConfig) -> Self {
        let (schemas, outputs, reclaims, export_lengths) = Default::default();
        Self { inner: Arc::new(Inner { engine, config, schemas, outputs, reclaims, export_lengths }) }
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
