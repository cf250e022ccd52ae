//! Schemas of datasets and key-value stores (storages, sections 7 and 8.6).

use std::collections::BTreeMap;

use model::StorageKind;
use model::item_view::ItemView;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::{ApiError, Problem};

/// Checks a schema that a new storage is to have (`S12`).
pub(super) fn check(kind: StorageKind, schema: &RawValue) -> Result<(), ApiError> {
    let problem = match kind {
        StorageKind::Dataset => Problem::DatasetSchemaInvalid,
        StorageKind::KeyValueStore | StorageKind::RequestQueue => Problem::StoreSchemaInvalid,
    };
    if schema.get().starts_with('{') { Ok(()) } else { Err(ApiError::new(problem, "The schema must be a JSON object")) }
}

/// The transformation of a view, as defaults of what a reader asks for (`D39`).
///
/// # Errors
/// `400` if the dataset has no schema, or its schema no view of that name.
pub(super) fn view(schema: Option<&RawValue>, name: &str) -> Result<ItemView, ApiError> {
    #[derive(Deserialize)]
    struct Schema {
        #[serde(default)]
        views: BTreeMap<String, View>,
    }
    #[derive(Deserialize)]
    struct View {
        #[serde(default)]
        transformation: Transformation,
    }
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Transformation {
        fields: Option<Vec<String>>,
        unwind: Option<Vec<String>>,
        flatten: Option<Vec<String>>,
        omit: Option<Vec<String>>,
        limit: Option<u64>,
        desc: Option<bool>,
    }

    let Some(schema) = schema else {
        return Err(ApiError::new(Problem::DatasetDoesNotHaveSchema, "The dataset does not have a schema"));
    };
    let schema: Schema = serde_json::from_str(schema.get()).unwrap_or(Schema { views: BTreeMap::new() });
    let Some(View { transformation }) = schema.views.into_iter().find(|(id, _)| id == name).map(|(_, view)| view) else {
        let message = format!("The dataset has no view called \"{name}\"");
        return Err(ApiError::new(Problem::RequestedDatasetViewDoesNotExist, message));
    };
    Ok(ItemView {
        fields: transformation.fields.unwrap_or_default(),
        unwind: transformation.unwind.unwrap_or_default(),
        flatten: transformation.flatten.unwrap_or_default(),
        omit: transformation.omit.unwrap_or_default(),
        limit: transformation.limit,
        desc: transformation.desc,
        ..ItemView::default()
    })
}
