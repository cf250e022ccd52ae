//! JSON Schema by the validator library, with errors that look like those of the platform's (`D53`, `D54`).

use std::fmt;
use std::sync::Arc;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde::Serialize;
use serde_json::{Value, json};

use super::StorageSchemaError;
use crate::input_schema::js_number;

/// One failure, with the five members that AJV gives it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AjvError {
    /// JSON pointer to the value that fails.
    pub instance_path: String,
    /// Pointer to the keyword in the schema, starting with `#`.
    pub schema_path: String,
    /// The keyword that fails.
    pub keyword: String,
    /// What the keyword demands, by AJV's names.
    pub params: Value,
    /// The demand in words: `must be string`.
    pub message: String,
}

/// A schema that was compiled once and is shared by all who validate with it.
#[derive(Clone)]
pub(super) struct JsonSchema {
    validator: Arc<Validator>,
    source: Arc<Value>,
}

impl JsonSchema {
    /// Compiles draft-07, or a later draft that `$schema` names. Nothing is fetched: a reference leads into the schema itself.
    pub(super) fn compile(schema: &Value, path: &str) -> Result<Self, StorageSchemaError> {
        let named = schema["$schema"].as_str().unwrap_or_default();
        let draft = match named {
            named if named.contains("2020-12") => Draft::Draft202012,
            named if named.contains("2019-09") => Draft::Draft201909,
            _ => Draft::Draft7,
        };
        let patterns = PatternOptions::fancy_regex().backtrack_limit(100_000).size_limit(2 << 20);
        let options = jsonschema::options()
            .with_draft(draft)
            .with_pattern_options(patterns)
            .should_validate_formats(true)
            .should_ignore_unknown_formats(true);
        let validator = options
            .build(schema)
            .map_err(|error| StorageSchemaError::at(path, format_args!("is not a valid JSON schema: {error}")))?;
        Ok(Self { validator: Arc::new(validator), source: Arc::new(schema.clone()) })
    }

    /// All failures of a value given as JSON text, at most `limit`.
    pub(super) fn failures(&self, json: &[u8], limit: usize) -> Vec<AjvError> {
        let value: Value = match serde_json::from_slice(json) {
            Ok(value) => value,
            Err(error) => return vec![AjvError::unreadable(&error)],
        };
        // Most values are fine, and to see that is much cheaper than to look for errors.
        if self.validator.is_valid(&value) {
            return Vec::new();
        }
        self.validator.iter_errors(&value).flat_map(|error| AjvError::of(&error, &self.source)).take(limit).collect()
    }
}

impl fmt::Debug for JsonSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JsonSchema")
    }
}

impl AjvError {
    fn unreadable(error: &serde_json::Error) -> Self {
        Self {
            instance_path: String::new(),
            schema_path: "#".to_owned(),
            keyword: "json".to_owned(),
            params: json!({}),
            message: format!("must be readable as JSON: {error}"),
        }
    }

    /// What AJV would say; it tells each property too many by itself, the library all in one.
    fn of(error: &ValidationError<'_>, schema: &Value) -> Vec<Self> {
        let of = |keyword: &str, params: Value, message: String| Self {
            instance_path: error.instance_path().to_string(),
            schema_path: format!("#{}", error.schema_path()),
            keyword: keyword.to_owned(),
            params,
            message,
        };
        let bound = |keyword: &str, comparison: &str, limit: &Value| {
            let text = limit.as_number().map_or_else(|| limit.to_string(), js_number);
            let params = json!({"comparison": comparison, "limit": limit});
            vec![of(keyword, params, format!("must be {comparison} {text}"))]
        };
        let count = |keyword: &str, limit: u64, words: &str, what: &str| {
            vec![of(keyword, json!({"limit": limit}), format!("must NOT have {words} than {limit} {what}"))]
        };
        let unexpected = |keyword: &str, param: &str, message: &str, names: &[String]| {
            names.iter().map(|name| of(keyword, json!({ param: name }), message.to_owned())).collect::<Vec<_>>()
        };
        let plain = |keyword: &str, message: &str| vec![of(keyword, json!({}), message.to_owned())];
        use ValidationErrorKind as Kind;
        match error.kind() {
            Kind::Type { kind: TypeKind::Single(name) } => {
                vec![of("type", json!({ "type": name.to_string() }), format!("must be {name}"))]
            }
            Kind::Type { kind: TypeKind::Multiple(names) } => {
                // The library sorts the names; AJV tells them as they stand in the schema.
                let written = schema.pointer(error.schema_path().as_str()).and_then(Value::as_array);
                let text = match written {
                    Some(names) => names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
                    None => names.iter().map(|name| name.to_string()).collect::<Vec<_>>().join(","),
                };
                vec![of("type", json!({ "type": text.split(',').collect::<Vec<_>>() }), format!("must be {text}"))]
            }
            Kind::Required { property } => {
                let name = property.as_str().unwrap_or_default();
                let params = json!({ "missingProperty": name });
                vec![of("required", params, format!("must have required property '{name}'"))]
            }
            Kind::AdditionalProperties { unexpected: names } => {
                let message = "must NOT have additional properties";
                unexpected("additionalProperties", "additionalProperty", message, names)
            }
            Kind::UnevaluatedProperties { unexpected: names } => {
                let message = "must NOT have unevaluated properties";
                unexpected("unevaluatedProperties", "unevaluatedProperty", message, names)
            }
            Kind::Enum { options } => {
                let params = json!({ "allowedValues": **options });
                vec![of("enum", params, "must be equal to one of the allowed values".to_owned())]
            }
            Kind::Constant { expected_value } => {
                let params = json!({ "allowedValue": **expected_value });
                vec![of("const", params, "must be equal to constant".to_owned())]
            }
            Kind::Minimum { limit } => bound("minimum", ">=", limit),
            Kind::Maximum { limit } => bound("maximum", "<=", limit),
            Kind::ExclusiveMinimum { limit } => bound("exclusiveMinimum", ">", limit),
            Kind::ExclusiveMaximum { limit } => bound("exclusiveMaximum", "<", limit),
            Kind::MultipleOf { multiple_of } => {
                let params = json!({ "multipleOf": multiple_of });
                vec![of("multipleOf", params, format!("must be multiple of {multiple_of}"))]
            }
            Kind::MinLength { limit } => count("minLength", *limit, "fewer", "characters"),
            Kind::MaxLength { limit } => count("maxLength", *limit, "more", "characters"),
            Kind::MinItems { limit } => count("minItems", *limit, "fewer", "items"),
            Kind::MaxItems { limit } => count("maxItems", *limit, "more", "items"),
            Kind::AdditionalItems { limit } => count("additionalItems", *limit as u64, "more", "items"),
            Kind::MinProperties { limit } => count("minProperties", *limit, "fewer", "properties"),
            Kind::MaxProperties { limit } => count("maxProperties", *limit, "more", "properties"),
            Kind::Pattern { pattern } => {
                let params = json!({ "pattern": pattern });
                vec![of("pattern", params, format!("must match pattern \"{pattern}\""))]
            }
            Kind::Format { format } => {
                let params = json!({ "format": format });
                vec![of("format", params, format!("must match format \"{format}\""))]
            }
            Kind::UniqueItems => plain("uniqueItems", "must NOT have duplicate items"),
            Kind::Contains => plain("contains", "must contain at least 1 valid item(s)"),
            Kind::AnyOf { .. } => plain("anyOf", "must match a schema in anyOf"),
            Kind::OneOfNotValid { .. } | Kind::OneOfMultipleValid { .. } => {
                plain("oneOf", "must match exactly one schema in oneOf")
            }
            Kind::Not { .. } => plain("not", "must NOT be valid"),
            Kind::FalseSchema => plain("false schema", "boolean schema is false"),
            Kind::PropertyNames { .. } => plain("propertyNames", "property name must be valid"),
            other => vec![of(other.keyword(), json!({}), error.masked().to_string())],
        }
    }
}
