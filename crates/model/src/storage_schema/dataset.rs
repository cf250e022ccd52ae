//! The schema of a dataset.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::Value;

use super::json_schema::{AjvError, JsonSchema};
use super::{StorageSchemaError, optional_names, optional_object, optional_text, version_must_be_one};
use crate::item_view::ItemView;

/// More errors than this are not told for one push, lest a few megabytes of wrong items become a gigabyte of errors.
const MAX_ERRORS: usize = 10_000;

/// What the items of a dataset must look like, and the ways to show them.
#[derive(Clone, Debug)]
pub struct DatasetSchema {
    source: Value,
    /// Absent when any item will do.
    fields: Option<JsonSchema>,
    views: HashMap<String, DatasetView>,
}

/// A way to show a dataset (`D39`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatasetView {
    /// What people call it.
    pub title: Option<String>,
    /// What a reader gets who names this view and asks for nothing else; merge it with [`ItemView::or`].
    pub transformation: ItemView,
    /// Titles of columns in tables: property and label.
    pub labels: Vec<(String, String)>,
}

/// An item of a push that breaks the schema (`D52`).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InvalidItem {
    /// Where it stands in the push, counted from zero.
    pub item_position: usize,
    /// All that is wrong with it.
    pub validation_errors: Vec<AjvError>,
}

impl DatasetSchema {
    /// Checks a schema and compiles what validates items (`D50`, `D51`).
    ///
    /// # Errors
    /// Says what is wrong with the schema (`dataset-schema-invalid`).
    pub fn new(source: Value) -> Result<Self, StorageSchemaError> {
        version_must_be_one(&source, "actorSpecification")?;
        let fields = match &source["fields"] {
            Value::Null => None,
            Value::Object(fields) if fields.is_empty() => None,
            fields @ Value::Object(_) => {
                if !may_describe_object(&fields["type"]) {
                    return Err(StorageSchemaError::at("schema.fields.type", "must be \"object\""));
                }
                Some(JsonSchema::compile(fields, "schema.fields")?)
            }
            _ => return Err(StorageSchemaError::at("schema.fields", "must be object")),
        };
        let views = optional_object(&source, "views", "schema")?
            .map(|(name, view)| Ok((name.clone(), DatasetView::read(view, &format!("schema.views.{name}"))?)))
            .collect::<Result<_, _>>()?;
        Ok(Self { source, fields, views })
    }

    /// The schema as it was given.
    pub const fn source(&self) -> &Value {
        &self.source
    }

    /// The view of that name.
    pub fn view(&self, name: &str) -> Option<&DatasetView> {
        self.views.get(name)
    }

    /// Whether there is anything that items are checked for.
    pub const fn checks_items(&self) -> bool {
        self.fields.is_some()
    }

    /// The items of a push, as JSON, that break the schema; a push with any is refused whole (`D52`).
    pub fn invalid_items<'a>(&self, items: impl IntoIterator<Item = &'a [u8]>) -> Vec<InvalidItem> {
        let Some(fields) = &self.fields else { return Vec::new() };
        let mut invalid = Vec::new();
        let mut budget = MAX_ERRORS;
        for (item_position, item) in items.into_iter().enumerate() {
            let validation_errors = fields.failures(item, budget);
            if validation_errors.is_empty() {
                continue;
            }
            budget -= validation_errors.len();
            invalid.push(InvalidItem { item_position, validation_errors });
            if budget == 0 {
                break;
            }
        }
        invalid
    }
}

impl DatasetView {
    fn read(view: &Value, path: &str) -> Result<Self, StorageSchemaError> {
        if !view.is_object() {
            return Err(StorageSchemaError::at(path, "must be object"));
        }
        let transformation_path = format!("{path}.transformation");
        let transformation = match &view["transformation"] {
            Value::Null => ItemView::default(),
            wishes @ Value::Object(_) => {
                let names = |name| optional_names(wishes, name, &transformation_path);
                let wrong =
                    |name: &str, what: &str| StorageSchemaError::at(&format!("{transformation_path}.{name}"), what);
                let desc = match &wishes["desc"] {
                    Value::Null => None,
                    Value::Bool(desc) => Some(*desc),
                    _ => return Err(wrong("desc", "must be boolean")),
                };
                let limit = match &wishes["limit"] {
                    Value::Null => None,
                    limit => Some(limit.as_u64().ok_or_else(|| wrong("limit", "must be a non-negative integer"))?),
                };
                let (fields, unwind) = (names("fields")?, names("unwind")?);
                let (flatten, omit) = (names("flatten")?, names("omit")?);
                ItemView { desc, limit, fields, unwind, flatten, omit, ..ItemView::default() }
            }
            _ => return Err(StorageSchemaError::at(&transformation_path, "must be object")),
        };
        let properties = optional_object(&view["display"], "properties", &format!("{path}.display"))?;
        let labels = properties.filter_map(|(name, shown)| Some((name.clone(), shown["label"].as_str()?.to_owned())));
        Ok(Self { title: optional_text(view, "title", path)?, labels: labels.collect(), transformation })
    }
}

fn may_describe_object(types: &Value) -> bool {
    match types {
        Value::Null => true,
        Value::Array(types) => types.iter().any(|name| name == "object"),
        name => name == "object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema(fields: Value) -> DatasetSchema {
        DatasetSchema::new(json!({"actorSpecification": 1, "fields": fields, "views": {}})).unwrap()
    }

    fn errors(fields: Value, item: Value) -> Vec<(String, String, Value, String)> {
        let item = item.to_string();
        let invalid = schema(fields).invalid_items([item.as_bytes()]);
        let errors = invalid.into_iter().flat_map(|item| item.validation_errors);
        errors.map(|error| (error.instance_path, error.schema_path, error.params, error.message)).collect()
    }

    #[test]
    fn every_invalid_item_is_listed_as_ajv_would() {
        let schema = schema(json!({"type": "object", "properties": {"stringField": {"type": "string"}}}));
        let items = [r#"{"stringField":"x"}"#, "{}", r#"{"stringField":1}"#].map(str::as_bytes);

        let invalid = serde_json::to_value(schema.invalid_items(items)).unwrap();

        assert_eq!(
            invalid,
            json!([{"itemPosition": 2, "validationErrors": [{
                "instancePath": "/stringField", "schemaPath": "#/properties/stringField/type",
                "keyword": "type", "params": {"type": "string"}, "message": "must be string",
            }]}])
        );
    }

    #[test]
    fn each_keyword_has_the_message_and_params_of_ajv() {
        for (field, value, params, message) in [
            (json!({"type": ["string", "null"]}), json!(1), json!({"type": ["string", "null"]}), "must be string,null"),
            (
                json!({"enum": ["a", 1]}),
                json!("b"),
                json!({"allowedValues": ["a", 1]}),
                "must be equal to one of the allowed values",
            ),
            (json!({"const": 5}), json!(6), json!({"allowedValue": 5}), "must be equal to constant"),
            (json!({"minimum": 1}), json!(0), json!({"comparison": ">=", "limit": 1}), "must be >= 1"),
            (json!({"maximum": 1.5}), json!(2), json!({"comparison": "<=", "limit": 1.5}), "must be <= 1.5"),
            (json!({"exclusiveMinimum": 1}), json!(1), json!({"comparison": ">", "limit": 1}), "must be > 1"),
            (json!({"minLength": 2}), json!("a"), json!({"limit": 2}), "must NOT have fewer than 2 characters"),
            (json!({"maxItems": 1}), json!([1, 2]), json!({"limit": 1}), "must NOT have more than 1 items"),
            (json!({"pattern": "^\\d+$"}), json!("a"), json!({"pattern": "^\\d+$"}), "must match pattern \"^\\d+$\""),
            (json!({"format": "email"}), json!("a"), json!({"format": "email"}), "must match format \"email\""),
            (json!({"type": "string", "format": "unheard-of"}), json!(1), json!({"type": "string"}), "must be string"),
        ] {
            let fields = json!({"properties": {"f": field}});
            let found = errors(fields.clone(), json!({"f": value}));
            assert_eq!(found.len(), 1, "{fields}: {found:?}");
            let (path, _, found_params, found_message) = &found[0];
            assert_eq!((path.as_str(), found_params, found_message.as_str()), ("/f", &params, message));
        }
        let closed = json!({"required": ["x"], "properties": {"x": {}}, "additionalProperties": false});
        let found = errors(closed, json!({"a": 1, "b": 2}));
        let mut messages: Vec<_> =
            found.iter().map(|(_, path, params, message)| format!("{path} {params} {message}")).collect();
        messages.sort();
        assert_eq!(
            messages,
            [
                r##"#/additionalProperties {"additionalProperty":"a"} must NOT have additional properties"##,
                r##"#/additionalProperties {"additionalProperty":"b"} must NOT have additional properties"##,
                r##"#/required {"missingProperty":"x"} must have required property 'x'"##,
            ]
        );
    }

    #[test]
    fn later_drafts_are_known_by_their_name_and_nothing_is_fetched() {
        let prefix_items =
            |draft: Value| json!({"$schema": draft, "properties": {"f": {"prefixItems": [{"type": "string"}]}}});
        let items = json!({"f": [1]});

        assert_eq!(errors(prefix_items(json!("https://json-schema.org/draft/2020-12/schema")), items.clone()).len(), 1);
        assert_eq!(errors(prefix_items(json!("http://json-schema.org/draft-07/schema#")), items).len(), 0);
        let remote = json!({"fields": {"properties": {"f": {"$ref": "http://127.0.0.1:1/schema.json"}}}});
        assert!(DatasetSchema::new(remote).is_err());
    }

    #[test]
    fn an_empty_schema_checks_nothing() {
        for source in [json!({}), json!({"actorSpecification": 1, "fields": {}, "views": {}}), json!({"fields": null})]
        {
            let schema = DatasetSchema::new(source).unwrap();
            assert!(!schema.checks_items());
            assert_eq!(schema.invalid_items([&b"nonsense"[..]]), []);
        }
    }

    #[test]
    fn an_item_that_no_reader_can_read_is_invalid() {
        let invalid = schema(json!({"type": "object"})).invalid_items([&br#"{"n":1e999}"#[..]]);

        assert_eq!(invalid.len(), 1);
        assert!(invalid[0].validation_errors[0].message.starts_with("must be readable as JSON"));
    }

    #[test]
    fn a_view_gives_defaults_and_labels() {
        let schema = DatasetSchema::new(json!({"actorSpecification": 1, "views": {"overview": {
            "title": "Overview",
            "transformation": {"fields": ["a", "b"], "unwind": "b", "flatten": ["c"], "omit": [], "limit": 5, "desc": true},
            "display": {"component": "table", "properties": {"a": {"label": "The A", "format": "text"}, "b": {}}},
        }}}))
        .unwrap();

        let view = schema.view("overview").unwrap();

        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let expected = ItemView {
            desc: Some(true),
            limit: Some(5),
            fields: names(&["a", "b"]),
            unwind: names(&["b"]),
            flatten: names(&["c"]),
            ..ItemView::default()
        };
        assert_eq!(view.transformation, expected);
        assert_eq!(view.labels, [("a".to_owned(), "The A".to_owned())]);
        assert_eq!(schema.view("other"), None);
    }

    #[test]
    fn a_broken_schema_is_refused_with_its_place() {
        for (source, message) in [
            (json!([]), "Field schema must be object"),
            (json!({"actorSpecification": 2}), "Field schema.actorSpecification must be 1"),
            (json!({"fields": {"type": "array"}}), "Field schema.fields.type must be \"object\""),
            (json!({"fields": []}), "Field schema.fields must be object"),
            (json!({"views": []}), "Field schema.views must be object"),
            (json!({"views": {"v": 1}}), "Field schema.views.v must be object"),
            (
                json!({"views": {"v": {"transformation": {"fields": [1]}}}}),
                "Field schema.views.v.transformation.fields must be an array of strings",
            ),
            (
                json!({"views": {"v": {"transformation": {"limit": -1}}}}),
                "Field schema.views.v.transformation.limit must be a non-negative integer",
            ),
        ] {
            assert_eq!(DatasetSchema::new(source).unwrap_err().to_string(), message);
        }
        let broken = DatasetSchema::new(json!({"fields": {"properties": {"a": {"type": "text"}}}})).unwrap_err();
        assert!(broken.to_string().starts_with("Field schema.fields is not a valid JSON schema: "), "{broken}");
    }
}
