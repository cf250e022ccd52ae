//! A field of a checked schema, taken apart once so that inputs are judged without looking words up.

use std::collections::HashMap;

use serde_json::{Map, Number, Value};

use super::pattern::Pattern;
use super::secrets::schema_hash;

/// A field of the schema, the items of an array, or the input as a whole.
#[derive(Clone, Debug, Default)]
pub(super) struct Field {
    /// Empty when any type will do.
    pub(super) types: Vec<String>,
    pub(super) nullable: bool,
    pub(super) editor: Option<String>,
    pub(super) default: Option<Value>,
    pub(super) is_secret: bool,
    pub(super) allowed: Option<Vec<Value>>,
    pub(super) minimum: Option<Number>,
    pub(super) maximum: Option<Number>,
    pub(super) min_length: Option<u64>,
    pub(super) max_length: Option<u64>,
    pub(super) pattern: Option<Pattern>,
    pub(super) min_items: Option<u64>,
    pub(super) max_items: Option<u64>,
    pub(super) unique_items: bool,
    pub(super) items: Option<Box<Field>>,
    pub(super) min_properties: Option<u64>,
    pub(super) max_properties: Option<u64>,
    pub(super) required: Vec<String>,
    pub(super) properties: Properties,
    /// Whether properties that are not declared are refused.
    pub(super) closed: bool,
    pub(super) pattern_key: Option<Pattern>,
    pub(super) pattern_value: Option<Pattern>,
    /// Of the root: the secret fields with the hashes of their schemas.
    pub(super) secret_hashes: Vec<(String, String)>,
    /// The author's own messages, by keyword (`INP-16`).
    pub(super) messages: HashMap<String, String>,
}

/// Declared properties in the order of the schema.
#[derive(Clone, Debug, Default)]
pub(super) struct Properties {
    fields: Vec<(String, Field)>,
    places: HashMap<String, usize>,
}

impl Field {
    /// Takes the whole schema apart. Required fields that have a default count as optional, and a required array must not
    /// be empty (`INP-13`).
    pub(super) fn root(schema: &Value) -> Result<Self, String> {
        let mut root = Self::read(schema, "schema")?;
        let secrets = root.properties.iter().filter(|(_, field)| field.is_secret);
        let hashes = secrets.map(|(name, _)| (name.to_owned(), schema_hash(&schema["properties"][name])));
        root.secret_hashes = hashes.collect();
        root.required.retain(|name| root.properties.get(name).is_none_or(|field| field.default.is_none()));
        for name in &root.required {
            if let Some(field) = root.properties.get_mut(name)
                && field.types == ["array"]
            {
                field.min_items = Some(field.min_items.unwrap_or(0).max(1));
            }
        }
        Ok(root)
    }

    fn read(schema: &Value, path: &str) -> Result<Self, String> {
        let text = |name: &str| schema[name].as_str().map(str::to_owned);
        let number = |name: &str| schema[name].as_number().cloned();
        let count = |name: &str| schema[name].as_f64().map(|count| count.max(0.0) as u64);
        let pattern = |name: &str| match schema[name].as_str() {
            Some(source) => Pattern::new(source).map(Some).map_err(|why| format!("Field {path}.{name} {why}")),
            None => Ok(None),
        };
        let items = match &schema["items"] {
            items @ Value::Object(_) => Some(Box::new(Self::read(items, &format!("{path}.items"))?)),
            _ => None,
        };
        let messages = schema["errorMessage"].as_object().into_iter().flatten();
        Ok(Self {
            types: match &schema["type"] {
                Value::String(name) => vec![name.clone()],
                types => strings(types),
            },
            nullable: schema["nullable"] == true,
            editor: text("editor"),
            default: schema.get("default").cloned(),
            is_secret: schema["isSecret"] == true,
            allowed: schema["enum"].as_array().cloned(),
            minimum: number("minimum"),
            maximum: number("maximum"),
            min_length: count("minLength"),
            max_length: count("maxLength"),
            pattern: pattern("pattern")?,
            min_items: count("minItems"),
            max_items: count("maxItems"),
            unique_items: schema["uniqueItems"] == true,
            items,
            min_properties: count("minProperties"),
            max_properties: count("maxProperties"),
            required: strings(&schema["required"]),
            properties: Properties::read(schema["properties"].as_object(), path)?,
            closed: schema["additionalProperties"] == false,
            pattern_key: pattern("patternKey")?,
            pattern_value: pattern("patternValue")?,
            secret_hashes: Vec::new(),
            messages: messages.filter_map(|(word, text)| Some((word.clone(), text.as_str()?.to_owned()))).collect(),
        })
    }

    /// Whether its values are strings and nothing else.
    pub(super) fn is_text(&self) -> bool {
        self.types == ["string"]
    }

    pub(super) fn has_editor(&self, editor: &str) -> bool {
        self.editor.as_deref() == Some(editor)
    }
}

impl Properties {
    fn read(properties: Option<&Map<String, Value>>, path: &str) -> Result<Self, String> {
        // The check speaks of `schema.properties.x` for a field and of `schema.properties.x.y` for a field inside it.
        let above = if path == "schema" { "schema.properties" } else { path };
        let mut read = Self::default();
        for (name, schema) in properties.into_iter().flatten() {
            read.places.insert(name.clone(), read.fields.len());
            read.fields.push((name.clone(), Field::read(schema, &format!("{above}.{name}"))?));
        }
        Ok(read)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Field)> {
        self.fields.iter().map(|(name, field)| (name.as_str(), field))
    }

    pub(super) fn get(&self, name: &str) -> Option<&Field> {
        self.places.get(name).map(|&place| &self.fields[place].1)
    }

    fn get_mut(&mut self, name: &str) -> Option<&mut Field> {
        self.places.get(name).map(|&place| &mut self.fields[place].1)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}

/// The name of a value's type, as error messages use it.
pub(super) const fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Whether a value is of a type that a schema names. `1.0` is an integer, as in JavaScript.
pub(super) fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        name => type_name(value) == name,
    }
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}
