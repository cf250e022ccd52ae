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

/// What stands before the key and the text of an encrypted string, and of an encrypted object or array.
const TEXT: &str = "ENCRYPTED_VALUE";
const JSON: &str = "ENCRYPTED_JSON";

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
            is_text: field.is_text(),
            schema_hash: schema_hash(&self.source["properties"][name]),
        })
    }
}

/// A value that was made unreadable (`INP-24`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncryptedValue<'a> {
    /// Whether a string was encrypted; otherwise the JSON of an object or array.
    pub is_text: bool,
    /// Hash of the schema that the value was checked against, if it carries one.
    pub schema_hash: Option<&'a str>,
    /// The key of the text, itself encrypted, in base64.
    pub key: &'a str,
    /// The encrypted text in base64.
    pub text: &'a str,
}

impl<'a> EncryptedValue<'a> {
    /// Reads an encrypted value; `None` for any other.
    pub fn parse(value: &'a Value) -> Option<Self> {
        let (prefix, rest) = value.as_str()?.split_once(':')?;
        let is_text = match prefix {
            TEXT => true,
            JSON => false,
            _ => return None,
        };
        let parts: Vec<&str> = rest.split(':').collect();
        let (schema_hash, key, text) = match *parts.as_slice() {
            [key, text] => (None, key, text),
            [hash, key, text] => (Some(hash), key, text),
            _ => return None,
        };
        let is_base64 = |part: &str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/-=".contains(&byte))
        };
        (is_base64(key) && is_base64(text)).then_some(Self { is_text, schema_hash, key, text })
    }
}

impl SecretField<'_> {
    /// What of a value has to be encrypted: a string itself, an object or an array as JSON. `None` for what is kept as it is:
    /// nothing, and what is encrypted already.
    pub fn plain_text(&self, value: &Value) -> Option<String> {
        if is_encrypted(self.is_text, value) {
            return None;
        }
        match value {
            Value::String(text) => (!text.is_empty()).then(|| text.clone()),
            Value::Object(_) | Value::Array(_) => Some(value.to_string()),
            // No schema lets these through in a secret field, but for the null of a nullable one.
            Value::Null | Value::Bool(_) | Value::Number(_) => None,
        }
    }

    /// The value that stands for an encrypted one; `key` and `text` are base64.
    pub fn encrypted(&self, key: &str, text: &str) -> Value {
        match self.is_text {
            true => format!("{TEXT}:{key}:{text}").into(),
            false => format!("{JSON}:{}:{key}:{text}", self.schema_hash).into(),
        }
    }
}

/// Whether the value is the encrypted form of one that a secret field may hold: of a text, or of an object or array.
pub(super) fn is_encrypted(is_text: bool, value: &Value) -> bool {
    EncryptedValue::parse(value).is_some_and(|encrypted| encrypted.is_text == is_text)
}

/// The hash of the schema that an encrypted value was checked against, if it carries one.
pub(super) fn hash_within(value: &Value) -> Option<&str> {
    EncryptedValue::parse(value)?.schema_hash
}

/// Ten digits over the schema as JSON, with sorted keys and without what says nothing about values (`INP-24`).
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
