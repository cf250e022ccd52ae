//! The schemas that storages carry: what the items of a dataset look like and how to show them (`D50`-`D54`), and what the
//! records of a key-value store may be (`K40`).

mod dataset;
mod json_schema;
mod key_value_store;

pub use dataset::{DatasetSchema, DatasetView, InvalidItem};
pub use json_schema::AjvError;
pub use key_value_store::{Collection, CollectionKeys, KeyValueStoreSchema, RecordRefused};

use serde_json::Value;

/// A storage schema that cannot be used; says what is wrong with it and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StorageSchemaError(String);

impl StorageSchemaError {
    fn at(path: &str, problem: impl std::fmt::Display) -> Self {
        Self(format!("Field {path} {problem}"))
    }
}

/// The members of an object that may be missing. `null` counts as missing.
fn optional_object<'a>(
    holder: &'a Value,
    name: &str,
    path: &str,
) -> Result<impl Iterator<Item = (&'a String, &'a Value)> + use<'a>, StorageSchemaError> {
    let members = match &holder[name] {
        Value::Null => None,
        Value::Object(members) => Some(members),
        _ => return Err(StorageSchemaError::at(&format!("{path}.{name}"), "must be object")),
    };
    Ok(members.into_iter().flatten())
}

fn version_must_be_one(schema: &Value, name: &str) -> Result<(), StorageSchemaError> {
    if !schema.is_object() {
        return Err(StorageSchemaError::at("schema", "must be object"));
    }
    let version = &schema[name];
    if version.is_null() || version.as_f64() == Some(1.0) {
        return Ok(());
    }
    Err(StorageSchemaError::at(&format!("schema.{name}"), "must be 1"))
}

fn optional_text(holder: &Value, name: &str, path: &str) -> Result<Option<String>, StorageSchemaError> {
    match &holder[name] {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        _ => Err(StorageSchemaError::at(&format!("{path}.{name}"), "must be string")),
    }
}

fn optional_names(holder: &Value, name: &str, path: &str) -> Result<Vec<String>, StorageSchemaError> {
    let names = match &holder[name] {
        Value::Null => return Ok(Vec::new()),
        Value::String(name) => return Ok(vec![name.clone()]),
        Value::Array(names) => names.iter().map(|name| name.as_str().map(str::to_owned)).collect(),
        _ => None,
    };
    names.ok_or_else(|| StorageSchemaError::at(&format!("{path}.{name}"), "must be an array of strings"))
}
