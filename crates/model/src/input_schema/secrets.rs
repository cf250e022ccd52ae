//! Which fields of an input are secrets, and which values were made unreadable already (`INP-24`).

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::InputSchema;

/// Keywords that shape the input form and say nothing about the value.
const UI_KEYWORDS: [&str; 13] = [
    "title",
    "description",
    "sectionCaption",
    "sectionDescription",
    "editor",
    "prefill",
    "example",
    "enumTitles",
    "enumSuggestedValues",
    "placeholderKey",
    "placeholderValue",
    "unit",
    "errorMessage",
];

/// A root field whose value must not be stored or shown readable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretField<'a> {
    /// The name of the field in the input.
    pub name: &'a str,
    /// Whether the value is a string; otherwise it is an object or an array and encrypted as JSON.
    pub is_text: bool,
    /// Ten hexadecimal digits that tell this field's schema from others, whatever its texts for people.
    pub schema_hash: String,
}

impl InputSchema {
    /// The fields with `isSecret`, in the order of the schema.
    pub fn secret_fields(&self) -> impl Iterator<Item = SecretField<'_>> {
        let fields = self.root.properties.iter().filter(|(_, field)| field.is_secret);
        fields.map(|(name, field)| SecretField {
            name,
            is_text: field.types == ["string"],
            schema_hash: schema_hash(&self.source["properties"][name]),
        })
    }
}

/// Whether the value is the encrypted form of another.
pub(super) fn is_encrypted(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.starts_with("ENCRYPTED_VALUE:") || text.starts_with("ENCRYPTED_JSON:"))
}

/// The hash of the schema that an encrypted object or array was checked against, if it carries one.
pub(super) fn hash_within(value: &Value) -> Option<&str> {
    let mut parts = value.as_str()?.strip_prefix("ENCRYPTED_JSON:")?.split(':');
    let (hash, _key, _text) = (parts.next()?, parts.next()?, parts.next()?);
    Some(hash)
}

pub(super) fn schema_hash(field: &Value) -> String {
    let digest = Sha256::digest(for_hashing(field).to_string());
    digest.iter().take(5).map(|byte| format!("{byte:02x}")).collect()
}

/// The schema with sorted keys and without what only people read.
fn for_hashing(schema: &Value) -> Value {
    match schema {
        Value::Object(members) => {
            let mut kept: Vec<_> = members.iter().filter(|(key, _)| !UI_KEYWORDS.contains(&key.as_str())).collect();
            kept.sort_unstable_by_key(|(key, _)| *key);
            let named_fields = |fields: &Value| match fields {
                Value::Object(fields) => {
                    let mut fields: Vec<_> = fields.iter().collect();
                    fields.sort_unstable_by_key(|(name, _)| *name);
                    let fields = fields.into_iter().map(|(name, field)| (name.clone(), for_hashing(field)));
                    Value::Object(fields.collect::<Map<_, _>>())
                }
                other => other.clone(),
            };
            // The keys of `properties` are names of fields, which may well be called "title".
            let cleaned = kept.into_iter().map(|(key, value)| {
                (key.clone(), if key == "properties" { named_fields(value) } else { for_hashing(value) })
            });
            Value::Object(cleaned.collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(for_hashing).collect()),
        scalar => scalar.clone(),
    }
}
