//! Storages that an input names in fields with a `resourceType`, and what the schema asks for them (`INP-3`, `AUTH-15`).

use serde_json::{Map, Value};

use super::InputSchema;
use crate::StorageKind;

/// A storage as an input names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedResource {
    /// Of which kind.
    pub kind: StorageKind,
    /// Its id or name, as the user wrote it.
    pub reference: String,
    /// Whether the schema asks for the right to write, too.
    pub write: bool,
}

impl InputSchema {
    /// The storages that the input names, with what `resourcePermissions` asks for them; without such there is nothing to be
    /// asked for. Other resources than storages are left out.
    pub fn named_resources(&self, input: &Map<String, Value>) -> Vec<NamedResource> {
        let mut found = Vec::new();
        within(&self.source()["properties"], input, &mut found);
        found
    }
}

fn within(properties: &Value, object: &Map<String, Value>, found: &mut Vec<NamedResource>) {
    for (name, field) in properties.as_object().into_iter().flatten() {
        if let Some(value) = object.get(name) {
            of_field(field, value, found);
        }
    }
}

fn of_field(field: &Value, value: &Value, found: &mut Vec<NamedResource>) {
    if let Some(kind) = field["resourceType"].as_str() {
        let asked: Vec<&str> =
            field["resourcePermissions"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let Some(kind) = storage_kind(kind).filter(|_| !asked.is_empty()) else { return };
        let references = match value {
            Value::Array(items) => items.as_slice(),
            single => std::slice::from_ref(single),
        };
        let named = references.iter().filter_map(Value::as_str).filter(|text| !text.is_empty());
        found.extend(named.map(|reference| NamedResource {
            kind,
            reference: reference.to_owned(),
            write: asked.contains(&"WRITE"),
        }));
        return;
    }
    match value {
        Value::Object(object) => within(&field["properties"], object, found),
        Value::Array(items) => items.iter().for_each(|item| of_field(&field["items"], item, found)),
        _ => {}
    }
}

fn storage_kind(name: &str) -> Option<StorageKind> {
    Some(match name {
        "dataset" => StorageKind::Dataset,
        "keyValueStore" => StorageKind::KeyValueStore,
        "requestQueue" => StorageKind::RequestQueue,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn storages_are_found_wherever_a_field_may_name_them() {
        let resource = |kind: &str, permissions: Value| {
            json!({"title": "T", "description": "D", "type": "string", "resourceType": kind, "editor": "textfield",
                "resourcePermissions": permissions})
        };
        let mut unasked = resource("dataset", json!(["READ"]));
        unasked.as_object_mut().unwrap().remove("resourcePermissions");
        let schema = InputSchema::from_value(json!({
            "title": "T", "type": "object", "schemaVersion": 1,
            "properties": {
                "source": resource("dataset", json!(["READ"])),
                "target": resource("keyValueStore", json!(["READ", "WRITE"])),
                "queues": {"title": "T", "description": "D", "type": "array", "resourceType": "requestQueue",
                    "editor": "resourcePicker", "resourcePermissions": ["READ"]},
                "deep": {"title": "T", "description": "D", "type": "array", "editor": "json", "items": {
                    "type": "object", "properties": {"inner": resource("dataset", json!(["READ", "WRITE"]))},
                }},
                "unasked": unasked,
                "connector": resource("mcpConnector", json!(["READ"])),
                "plain": {"title": "T", "description": "D", "type": "string", "editor": "textfield"},
            },
        }))
        .unwrap();
        let input = json!({
            "source": "ada/items", "target": "~store", "queues": ["q1", "", 5, "q2"], "deep": [{"inner": "d"}, {}, 1],
            "unasked": "no", "connector": "no", "plain": "no", "undeclared": "no",
        });

        let found = schema.named_resources(input.as_object().unwrap());

        let named = |kind, reference: &str, write| NamedResource { kind, reference: reference.to_owned(), write };
        assert_eq!(
            found,
            [
                named(StorageKind::Dataset, "ada/items", false),
                named(StorageKind::KeyValueStore, "~store", true),
                named(StorageKind::RequestQueue, "q1", false),
                named(StorageKind::RequestQueue, "q2", false),
                named(StorageKind::Dataset, "d", true),
            ]
        );
    }
}
