//! A build as its runs see it: what their input must be and what storages they get.

use std::sync::Arc;

use model::actor_json::{ActorDefinition, ActorJson, Embedded};
use model::input_schema::{InputError, InputSchema};
use model::{Build, BuildId, RunOptions};
use moka::sync::Cache;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use crate::{Engine, EngineError};

/// Builds taken apart, so that a start need not parse anything; builds do not change once they can be run.
pub(crate) struct Views(Cache<BuildId, Arc<BuildView>>);

impl Default for Views {
    fn default() -> Self {
        Self(Cache::new(256))
    }
}

/// What a build's `actorDefinition` says about its runs.
#[derive(Debug, Default)]
pub(crate) struct BuildView {
    /// Everything passes without one (`INP-1`).
    pub(crate) input_schema: Option<InputSchema>,
    pub(crate) dataset_schema: Option<Box<RawValue>>,
    pub(crate) key_value_store_schema: Option<Box<RawValue>>,
    /// Further datasets by alias (`RUN-14`).
    pub(crate) aliased_datasets: Vec<(String, Option<Box<RawValue>>)>,
    actor_json: ActorJson,
}

impl Engine {
    /// The names of the fields of a build's input that are secret, which only its runs may read in the clear (`INP-25`).
    ///
    /// # Errors
    /// If the build's schema cannot be read.
    pub fn secret_input_fields(&self, build: &Build) -> Result<Vec<String>, EngineError> {
        let view = self.view(build)?;
        let fields = view.input_schema.iter().flat_map(InputSchema::secret_fields);
        Ok(fields.map(|field| field.name.to_owned()).collect())
    }

    pub(crate) fn view(&self, build: &Build) -> Result<Arc<BuildView>, EngineError> {
        if let Some(view) = self.inner.views.0.get(&build.id) {
            return Ok(view);
        }
        let view = Arc::new(BuildView::of(build)?);
        self.inner.views.0.insert(build.id, view.clone());
        Ok(view)
    }
}

impl BuildView {
    fn of(build: &Build) -> Result<Self, EngineError> {
        let input_schema = build.input_schema.as_deref().map(InputSchema::parse).transpose();
        let input_schema = input_schema.map_err(InputError::Schema)?;
        let Some(definition) = &build.actor_definition else { return Ok(Self { input_schema, ..Self::default() }) };
        let definition: Value = serde_json::from_str(definition.get()).map_err(anyhow::Error::new)?;
        let (dataset, key_value_store) = ActorDefinition::default_storage_schemas(&definition);
        let raw = |schema: &Value| to_raw_value(schema).ok();
        let (dataset_schema, key_value_store_schema) = (dataset.and_then(raw), key_value_store.and_then(raw));
        // It was checked when the build was made; what a former version took must not keep its runs from starting.
        let actor_json = ActorJson::from_value(definition).unwrap_or_default();
        let aliased = actor_json.datasets.iter().filter(|(alias, _)| alias != "default");
        let schema = |part: &Embedded| match part {
            Embedded::Inline(schema) => raw(schema),
            Embedded::Path(_) => None,
        };
        let aliased_datasets = aliased.map(|(alias, part)| (alias.clone(), schema(part))).collect();
        Ok(Self { input_schema, dataset_schema, key_value_store_schema, aliased_datasets, actor_json })
    }

    /// The values in an input that must not be seen in a log (`INP-24`): the texts in its secret fields.
    pub(crate) fn secrets_in(&self, input: &Map<String, Value>) -> Vec<String> {
        let fields = self.input_schema.iter().flat_map(InputSchema::secret_fields);
        let mut texts = Vec::new();
        fields.filter_map(|field| input.get(field.name)).for_each(|value| collect_texts(value, &mut texts));
        texts
    }

    pub(crate) fn has_secrets(&self) -> bool {
        self.input_schema.as_ref().is_some_and(|schema| schema.secret_fields().next().is_some())
    }

    /// The memory of a run that asks for none, in megabytes (`START-8`). `options` carry the Actor's default.
    pub(crate) fn memory(&self, options: &RunOptions, input: Option<&[u8]>) -> u32 {
        let input = input.and_then(|body| serde_json::from_slice(body).ok()).unwrap_or_else(|| json!({}));
        let run_options = serde_json::to_value(options).unwrap_or_default();
        self.actor_json.run_memory(&input, &run_options, options.memory_mbytes)
    }
}

fn collect_texts(value: &Value, texts: &mut Vec<String>) {
    match value {
        // Masking a letter or two would only spoil the log.
        Value::String(text) if text.len() >= 4 => texts.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect_texts(item, texts)),
        Value::Object(members) => members.values().for_each(|member| collect_texts(member, texts)),
        _ => {}
    }
}
