//! The schema of a key-value store: collections of records, by key.

use serde_json::Value;

use super::json_schema::{AjvError, JsonSchema};
use super::{StorageSchemaError, optional_names, optional_object, optional_text, version_must_be_one};

/// What the records of a store may be (`K40`).
#[derive(Clone, Debug)]
pub struct KeyValueStoreSchema {
    source: Value,
    collections: Vec<(String, Collection)>,
}

/// Records that belong together.
#[derive(Clone, Debug)]
pub struct Collection {
    /// Which records these are.
    pub keys: CollectionKeys,
    /// The media types they may have, lower case; any if empty.
    pub content_types: Vec<String>,
    json_schema: Option<JsonSchema>,
}

/// Which keys belong to a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CollectionKeys {
    /// This one.
    Exactly(String),
    /// Those that start so.
    Prefix(String),
}

/// A record that its store's schema does not allow.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RecordRefused {
    /// Its media type is not among those of the collection.
    #[error("Schema validation failed: content type \"{given}\" is not allowed in collection \"{collection}\", only {}", .allowed.join(", "))]
    ContentType {
        /// The collection that the key belongs to.
        collection: String,
        /// The record's media type.
        given: String,
        /// The media types of the collection.
        allowed: Vec<String>,
    },
    /// Its JSON breaks the collection's schema.
    #[error("Schema validation failed")]
    Json {
        /// The collection that the key belongs to.
        collection: String,
        /// What is wrong with the value.
        errors: Vec<AjvError>,
    },
}

impl KeyValueStoreSchema {
    /// Checks a schema and compiles what validates records.
    ///
    /// # Errors
    /// Says what is wrong with the schema (`store-schema-invalid`).
    pub fn new(source: Value) -> Result<Self, StorageSchemaError> {
        version_must_be_one(&source, "actorKeyValueStoreSchemaVersion")?;
        optional_text(&source, "title", "schema")?;
        let collections = optional_object(&source, "collections", "schema")?
            .map(|(id, collection)| {
                Ok((id.clone(), Collection::read(collection, &format!("schema.collections.{id}"))?))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { source, collections })
    }

    /// The schema as it was given.
    pub const fn source(&self) -> &Value {
        &self.source
    }

    /// The collection of that id, for listing its keys (`K30`).
    pub fn collection(&self, id: &str) -> Option<&Collection> {
        self.collections.iter().find(|(other, _)| other == id).map(|(_, collection)| collection)
    }

    /// Checks a record's content type before its body is there, and tells whether the body must be checked, too.
    ///
    /// # Errors
    /// A collection of the key does not allow the type.
    pub fn check_content_type(&self, key: &str, content_type: &str) -> Result<bool, RecordRefused> {
        let given = media_type(content_type);
        let mut reads_body = false;
        for (id, collection) in self.collections_of(key) {
            if !collection.content_types.is_empty() && !collection.content_types.contains(&given) {
                let allowed = collection.content_types.clone();
                return Err(RecordRefused::ContentType { collection: id.to_owned(), given, allowed });
            }
            reads_body |= collection.json_schema.is_some() && given == "application/json";
        }
        Ok(reads_body)
    }

    /// Checks the decoded body of a JSON record.
    ///
    /// # Errors
    /// The value breaks the schema of a collection that the key belongs to.
    pub fn check_json(&self, key: &str, body: &[u8]) -> Result<(), RecordRefused> {
        for (id, collection) in self.collections_of(key) {
            let errors =
                collection.json_schema.iter().flat_map(|schema| schema.failures(body, 1000)).collect::<Vec<_>>();
            if !errors.is_empty() {
                return Err(RecordRefused::Json { collection: id.to_owned(), errors });
            }
        }
        Ok(())
    }

    fn collections_of(&self, key: &str) -> impl Iterator<Item = (&str, &Collection)> {
        let of_key = self.collections.iter().filter(move |(_, collection)| collection.keys.contain(key));
        of_key.map(|(id, collection)| (id.as_str(), collection))
    }
}

impl Collection {
    fn read(collection: &Value, path: &str) -> Result<Self, StorageSchemaError> {
        if !collection.is_object() {
            return Err(StorageSchemaError::at(path, "must be object"));
        }
        let keys = match (optional_text(collection, "key", path)?, optional_text(collection, "keyPrefix", path)?) {
            (Some(key), None) => CollectionKeys::Exactly(key),
            (None, Some(prefix)) => CollectionKeys::Prefix(prefix),
            _ => return Err(StorageSchemaError::at(path, "must have exactly one of \"key\" and \"keyPrefix\"")),
        };
        let content_types = optional_names(collection, "contentTypes", path)?;
        let json_schema = match &collection["jsonSchema"] {
            Value::Null => None,
            schema => Some(JsonSchema::compile(schema, &format!("{path}.jsonSchema"))?),
        };
        Ok(Self { keys, content_types: content_types.iter().map(|name| media_type(name)).collect(), json_schema })
    }
}

impl CollectionKeys {
    /// Whether a record of this key belongs to the collection.
    pub fn contain(&self, key: &str) -> bool {
        match self {
            Self::Exactly(own) => own == key,
            Self::Prefix(prefix) => key.starts_with(prefix.as_str()),
        }
    }
}

/// A content type without its parameters, in lower case.
fn media_type(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or(content_type).trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> KeyValueStoreSchema {
        KeyValueStoreSchema::new(json!({
            "actorKeyValueStoreSchemaVersion": 1,
            "title": "Store",
            "collections": {
                "images": {"title": "Images", "keyPrefix": "image-", "contentTypes": ["image/png", "image/JPEG"]},
                "output": {"title": "Output", "key": "OUTPUT", "jsonSchema": {"type": "object", "required": ["a"]}},
            },
        }))
        .unwrap()
    }

    #[test]
    fn every_collection_of_the_key_checks_the_record() {
        let schema = schema();

        assert_eq!(schema.check_content_type("image-1", "Image/Jpeg; q=1"), Ok(false));
        assert_eq!(schema.check_content_type("OUTPUT", "application/json; charset=utf-8"), Ok(true));
        assert_eq!(schema.check_content_type("OUTPUT", "text/plain"), Ok(false));
        assert_eq!(schema.check_content_type("other", "text/plain"), Ok(false));
        assert_eq!(
            schema.check_content_type("image-1", "text/plain").unwrap_err().to_string(),
            "Schema validation failed: content type \"text/plain\" is not allowed in collection \"images\", \
             only image/png, image/jpeg"
        );
        assert_eq!(schema.check_json("OUTPUT", br#"{"a":1}"#), Ok(()));
        assert_eq!(schema.check_json("OUTPUT2", b"{}"), Ok(()));
        let Err(RecordRefused::Json { collection, errors }) = schema.check_json("OUTPUT", b"{}") else {
            panic!("accepted")
        };
        assert_eq!((collection.as_str(), errors[0].message.as_str()), ("output", "must have required property 'a'"));
        assert!(schema.check_json("OUTPUT", b"{").is_err());
    }

    #[test]
    fn a_collection_has_a_key_or_a_prefix() {
        let schema = schema();
        assert_eq!(schema.collection("images").unwrap().keys, CollectionKeys::Prefix("image-".to_owned()));
        assert!(schema.collection("none").is_none());

        for (collection, message) in [
            (json!({}), "Field schema.collections.c must have exactly one of \"key\" and \"keyPrefix\""),
            (
                json!({"key": "a", "keyPrefix": "b"}),
                "Field schema.collections.c must have exactly one of \"key\" and \"keyPrefix\"",
            ),
            (json!({"key": 1}), "Field schema.collections.c.key must be string"),
            (
                json!({"key": "a", "contentTypes": [1]}),
                "Field schema.collections.c.contentTypes must be an array of strings",
            ),
        ] {
            let source = json!({"actorKeyValueStoreSchemaVersion": 1, "title": "S", "collections": {"c": collection}});
            assert_eq!(KeyValueStoreSchema::new(source).unwrap_err().to_string(), message);
        }
    }
}
