//! Completing an input with the defaults of its schema (`INP-8` to `INP-11`).

use serde_json::{Map, Value};

use super::field::Field;

/// Gives every declared property that is absent its default. `null` is a value, not absent.
pub(super) fn fill(holder: &Field, object: &mut Map<String, Value>) {
    for (name, field) in holder.properties.iter() {
        match object.get_mut(name) {
            None => {
                if let Some(default) = default_of(field) {
                    object.insert(name.to_owned(), default);
                }
            }
            // Of given values only the items of arrays are completed, not objects (`INP-10`).
            Some(Value::Array(items)) => fill_items(field, items),
            Some(_) => {}
        }
    }
}

fn fill_items(array: &Field, items: &mut [Value]) {
    let Some(item_field) = &array.items else { return };
    for item in items {
        match item {
            Value::Object(item) => fill(item_field, item),
            Value::Array(inner) => fill_items(item_field, inner),
            _ => {}
        }
    }
}

/// The default of a field: for an object with declared properties theirs, overridden key by key by its own (`INP-9`).
fn default_of(field: &Field) -> Option<Value> {
    if field.properties.is_empty() || !matches!(field.default, None | Some(Value::Object(_))) {
        return field.default.clone();
    }
    let mut merged: Map<String, Value> =
        field.properties.iter().filter_map(|(name, inner)| Some((name.to_owned(), default_of(inner)?))).collect();
    if let Some(Value::Object(own)) = &field.default {
        merged.extend(own.clone());
    } else if merged.is_empty() {
        return None;
    }
    Some(Value::Object(merged))
}
