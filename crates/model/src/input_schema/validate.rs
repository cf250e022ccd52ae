//! Judging an input by the keywords of its schema.
//!
//! All failures are collected, keyword by keyword in the order of the validator that callers know: type, numbers, strings,
//! `enum`, arrays, objects; of an object first its count and what is missing, then what is too much, then what is inside.

use std::collections::HashMap;

use serde_json::{Map, Number, Value};

use super::field::{Field, is_of_type};
use super::secrets;

/// More failures than this are not told; an input of a million wrong items gets a readable answer.
const MAX_MESSAGES: usize = 200;

pub(super) fn validate(root: &Field, input: &Map<String, Value>) -> Vec<String> {
    let mut judge = Judge { messages: Vec::new() };
    judge.object(root, input, "input");
    judge.messages
}

struct Judge {
    messages: Vec<String>,
}

impl Judge {
    fn value(&mut self, field: &Field, value: &Value, path: &str) {
        if self.messages.len() >= MAX_MESSAGES || value.is_null() && field.nullable {
            return;
        }
        if field.is_secret && secrets::is_encrypted(field.is_text(), value) {
            return;
        }
        if !field.types.is_empty() && !field.types.iter().any(|name| is_of_type(value, name)) {
            self.fail(field, "type", path, &format!("must be {}", field.types.join(",")));
        } else if let Value::Number(number) = value {
            self.number(field, number, path);
        } else if let Value::String(text) = value {
            self.text(field, text, path);
        }
        if let Some(allowed) = &field.allowed
            && !allowed.contains(value)
        {
            let allowed = allowed.iter().map(js_text).collect::<Vec<_>>().join("\", \"");
            self.fail(field, "enum", path, &format!("must be equal to one of the allowed values: \"{allowed}\""));
        }
        let fits = |name: &str| field.types.is_empty() || field.types.iter().any(|own| own == name);
        match value {
            Value::Array(items) if fits("array") => self.array(field, items, path),
            Value::Object(object) if fits("object") => self.object(field, object, path),
            _ => {}
        }
    }

    fn number(&mut self, field: &Field, number: &Number, path: &str) {
        let Some(value) = number.as_f64() else { return };
        if let Some(limit) = &field.maximum
            && limit.as_f64().is_some_and(|limit| value > limit)
        {
            self.fail(field, "maximum", path, &format!("must be <= {}", js_number(limit)));
        }
        if let Some(limit) = &field.minimum
            && limit.as_f64().is_some_and(|limit| value < limit)
        {
            self.fail(field, "minimum", path, &format!("must be >= {}", js_number(limit)));
        }
    }

    fn text(&mut self, field: &Field, text: &str, path: &str) {
        let bounds = [("maxLength", field.max_length), ("minLength", field.min_length)];
        if bounds.iter().any(|(_, bound)| bound.is_some()) {
            self.count(field, text.chars().count(), bounds, "characters", path);
        }
        if let Some(pattern) = &field.pattern
            && !pattern.matches(text)
        {
            self.fail(field, "pattern", path, &format!("must match pattern \"{}\"", pattern.source()));
        }
    }

    fn array(&mut self, field: &Field, items: &[Value], path: &str) {
        let bounds = [("maxItems", field.max_items), ("minItems", field.min_items)];
        self.count(field, items.len(), bounds, "items", path);
        if field.unique_items
            && let Some((later, earlier)) = find_duplicates(items)
        {
            let text = format!("must NOT have duplicate items (items ## {later} and {earlier} are identical)");
            self.fail(field, "uniqueItems", path, &text);
        }
        if let Some(item_field) = &field.items {
            for (index, item) in items.iter().enumerate() {
                self.value(item_field, item, &format!("{path}.{index}"));
            }
        }
    }

    fn object(&mut self, field: &Field, object: &Map<String, Value>, path: &str) {
        let bounds = [("maxProperties", field.max_properties), ("minProperties", field.min_properties)];
        self.count(field, object.len(), bounds, "properties", path);
        for name in field.required.iter().filter(|name| !object.contains_key(*name)) {
            let own = field.properties.get(name).and_then(|missing| missing.messages.get("required"));
            let own = own.or_else(|| field.messages.get("required"));
            self.messages.push(own.cloned().unwrap_or_else(|| format!("Field {path}.{name} is required")));
        }
        if field.closed {
            for name in object.keys().filter(|name| field.properties.get(name).is_none()).take(MAX_MESSAGES) {
                let own = field.messages.get("additionalProperties").cloned();
                self.messages.push(own.unwrap_or_else(|| format!("Property {path}.{name} is not allowed.")));
            }
        }
        for (name, inner) in field.properties.iter() {
            if let Some(value) = object.get(name) {
                self.value(inner, value, &format!("{path}.{name}"));
            }
        }
    }

    fn count(&mut self, field: &Field, count: usize, bounds: [(&str, Option<u64>); 2], what: &str, path: &str) {
        let count = count as u64;
        let [(at_most, maximum), (at_least, minimum)] = bounds;
        if let Some(limit) = maximum.filter(|&limit| count > limit) {
            self.fail(field, at_most, path, &format!("must NOT have more than {limit} {what}"));
        }
        if let Some(limit) = minimum.filter(|&limit| count < limit) {
            self.fail(field, at_least, path, &format!("must NOT have fewer than {limit} {what}"));
        }
    }

    fn fail(&mut self, field: &Field, keyword: &str, path: &str, text: &str) {
        let own = field.messages.get(keyword).cloned();
        self.messages.push(own.unwrap_or_else(|| format!("Field {path} {text}")));
    }
}

/// The places of two equal items, the later one first.
pub(super) fn find_duplicates(items: &[Value]) -> Option<(usize, usize)> {
    let mut seen = HashMap::new();
    for (index, item) in items.iter().enumerate().rev() {
        if let Some(later) = seen.insert(canonical(item), index) {
            return Some((later, index));
        }
    }
    None
}

/// A text that equal values share, whatever the order of their keys and the spelling of their numbers.
fn canonical(value: &Value) -> String {
    match value {
        Value::Number(number) => js_number(number),
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        Value::Object(object) => {
            let mut members: Vec<_> = object.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            let members = members.into_iter().map(|(name, value)| format!("{name:?}:{}", canonical(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
        scalar => scalar.to_string(),
    }
}

/// A number as JavaScript prints it: without a fraction that is zero.
pub(crate) fn js_number(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if float.fract() == 0.0 && float.abs() < 1e15 => format!("{float:.0}"),
        _ => number.to_string(),
    }
}

/// A value as JavaScript makes it part of a text.
pub(super) fn js_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => js_number(number),
        other => other.to_string(),
    }
}
