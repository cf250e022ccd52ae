//! Schemas of datasets and key-value stores (storages, sections 7 and 8.6), compiled once and kept.

use std::fmt;
use std::sync::Arc;

use model::push::Items;
use model::storage_schema::{DatasetSchema, KeyValueStoreSchema, RecordRefused, StorageSchemaError};
use model::{Storage, StorageId, StorageKind};
use moka::sync::Cache;
use serde_json::json;
use serde_json::value::RawValue;

use crate::error::{ApiError, Problem};

/// Compiled schemas by storage. A storage never changes its schema, so what is here stays right.
pub(crate) struct Schemas {
    datasets: Cache<StorageId, Arc<DatasetSchema>>,
    key_value_stores: Cache<StorageId, Arc<KeyValueStoreSchema>>,
}

impl Default for Schemas {
    fn default() -> Self {
        Self { datasets: Cache::new(1000), key_value_stores: Cache::new(1000) }
    }
}

impl fmt::Debug for Schemas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schemas").finish_non_exhaustive()
    }
}

impl Schemas {
    /// The schema of a dataset, if it has one.
    pub(super) fn of_dataset(&self, dataset: &Storage) -> Result<Option<Arc<DatasetSchema>>, ApiError> {
        let Some(source) = &dataset.schema else { return Ok(None) };
        if let Some(schema) = self.datasets.get(&dataset.id) {
            return Ok(Some(schema));
        }
        let schema = Arc::new(dataset_schema(source)?);
        self.datasets.insert(dataset.id, schema.clone());
        Ok(Some(schema))
    }

    /// The schema of a key-value store, if it has one.
    pub(super) fn of_store(&self, store: &Storage) -> Result<Option<Arc<KeyValueStoreSchema>>, ApiError> {
        let Some(source) = &store.schema else { return Ok(None) };
        if let Some(schema) = self.key_value_stores.get(&store.id) {
            return Ok(Some(schema));
        }
        let schema = Arc::new(store_schema(source)?);
        self.key_value_stores.insert(store.id, schema.clone());
        Ok(Some(schema))
    }
}

/// Checks a schema that a new storage is to have (`S12`).
pub(super) fn check(kind: StorageKind, schema: &RawValue) -> Result<(), ApiError> {
    match kind {
        StorageKind::Dataset => dataset_schema(schema).map(drop),
        StorageKind::KeyValueStore => store_schema(schema).map(drop),
        StorageKind::RequestQueue => Ok(()),
    }
}

/// Pushes larger than this are validated aside, so that other requests get their turn.
const LARGE: usize = 64 << 10;

/// Gives the items back, or refuses a push of which any item breaks the schema (`D52`, `D53`).
pub(super) async fn check_items(schema: Arc<DatasetSchema>, items: Items) -> Result<Items, ApiError> {
    if !schema.checks_items() {
        return Ok(items);
    }
    let is_large = items.lines.len() > LARGE;
    let check = move || (schema.invalid_items(items.iter()), items);
    let (invalid, items) =
        if is_large { tokio::task::spawn_blocking(check).await.map_err(ApiError::internal)? } else { check() };
    if invalid.is_empty() {
        return Ok(items);
    }
    let refusal = ApiError::new(Problem::SchemaValidationError, "Schema validation failed");
    Err(refusal.with_data(json!({ "invalidItems": invalid })))
}

/// The answer for a record that its store's schema does not allow (`K40`).
pub(super) fn record_refused(refused: RecordRefused) -> ApiError {
    let message = refused.to_string();
    let refusal = ApiError::new(Problem::SchemaValidationError, message);
    match refused {
        RecordRefused::ContentType { collection, .. } => refusal.with_data(json!({ "collection": collection })),
        RecordRefused::Json { collection, errors } => {
            refusal.with_data(json!({ "collection": collection, "validationErrors": errors }))
        }
    }
}

fn dataset_schema(source: &RawValue) -> Result<DatasetSchema, ApiError> {
    let invalid = |error: StorageSchemaError| ApiError::new(Problem::DatasetSchemaInvalid, error.to_string());
    DatasetSchema::new(crate::extract::from_json(source.get().as_bytes())?).map_err(invalid)
}

fn store_schema(source: &RawValue) -> Result<KeyValueStoreSchema, ApiError> {
    let invalid = |error: StorageSchemaError| ApiError::new(Problem::StoreSchemaInvalid, error.to_string());
    KeyValueStoreSchema::new(crate::extract::from_json(source.get().as_bytes())?).map_err(invalid)
}
