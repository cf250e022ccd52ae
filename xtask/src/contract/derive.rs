//! Facts of an OpenAPI document, without its sentences and examples.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::Context as _;
use serde_json::{Map, Value, json};

const METHODS: [&str; 8] = ["get", "head", "post", "put", "patch", "delete", "options", "trace"];

/// What says nothing about the form of a value.
const SENTENCES: [&str; 9] = [
    "description",
    "title",
    "example",
    "examples",
    "externalDocs",
    "deprecated",
    "default",
    "summary",
    "discriminator",
];

/// One line for each operation: method, path and name.
pub fn operations(document: &Value) -> anyhow::Result<String> {
    let mut lines = String::new();
    for operation in all(document)? {
        writeln!(lines, "{}\t{}\t{}", operation.method.to_uppercase(), operation.path, operation.id)?;
    }
    Ok(lines)
}

/// The parameters and answers of each operation, and the schemas that they name; one line each. `errors` are the statuses
/// whose answer is the usual envelope.
pub fn answers(document: &Value) -> anyhow::Result<String> {
    let mut schemas = BTreeMap::new();
    let mut operations = Vec::new();
    for operation in all(document)? {
        let facts = operation.facts(document, &mut schemas)?;
        operations.push((operation.id.to_owned(), facts));
    }
    let mut text = String::from("{\n\"operations\": {\n");
    write_lines(&mut text, operations)?;
    text.push_str("},\n\"$defs\": {\n");
    write_lines(&mut text, schemas)?;
    text.push_str("}\n}\n");
    Ok(text)
}

fn write_lines(text: &mut String, rows: impl IntoIterator<Item = (String, Value)>) -> anyhow::Result<()> {
    let rows: Vec<_> = rows.into_iter().map(|(name, row)| format!("{}: {row}", Value::String(name))).collect();
    writeln!(text, "{}", rows.join(",\n"))?;
    Ok(())
}

struct Operation<'a> {
    method: &'a str,
    path: &'a str,
    id: &'a str,
    parameters: Vec<&'a Value>,
    value: &'a Value,
}

fn all(document: &Value) -> anyhow::Result<Vec<Operation<'_>>> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().context("no paths")? {
        for method in METHODS {
            let Some(value) = item.get(method) else { continue };
            let id = value["operationId"].as_str().context("no operationId")?;
            let lists = [&item["parameters"], &value["parameters"]];
            let parameters = lists.into_iter().filter_map(Value::as_array).flatten().collect();
            found.push(Operation { method, path, id, parameters, value });
        }
    }
    Ok(found)
}

impl Operation<'_> {
    fn facts(&self, document: &Value, schemas: &mut BTreeMap<String, Value>) -> anyhow::Result<Value> {
        let mut facts = Map::new();
        let mut query = Map::new();
        for parameter in &self.parameters {
            let parameter = followed(document, parameter)?;
            if parameter["in"] == "query" {
                let mut schema = facts_of(&parameter["schema"]);
                collect(document, &schema, schemas)?;
                if parameter["required"] == true {
                    schema["x-required"] = json!(true);
                }
                query.insert(parameter["name"].as_str().context("no name")?.to_owned(), schema);
            }
        }
        if !query.is_empty() {
            facts.insert("query".to_owned(), Value::Object(query));
        }
        if let Some(body) = self.value.get("requestBody") {
            let types: Vec<_> =
                followed(document, body)?["content"].as_object().context("no content")?.keys().collect();
            facts.insert("takes".to_owned(), json!(types));
        }
        if self.value["security"] == json!([]) {
            facts.insert("open".to_owned(), json!(true));
        }
        let (mut answers, mut errors) = (Map::new(), Vec::new());
        for (status, answer) in self.value["responses"].as_object().context("no responses")? {
            let mut types = Map::new();
            for (media_type, content) in followed(document, answer)?["content"].as_object().into_iter().flatten() {
                let schema = facts_of(&content["schema"]);
                collect(document, &schema, schemas)?;
                types.insert(media_type.clone(), schema);
            }
            let types = Value::Object(types);
            if types == json!({ "application/json": { "$ref": "#/$defs/ErrorResponse" } }) {
                errors.push(status);
            } else {
                answers.insert(status.clone(), types);
            }
        }
        facts.insert("answers".to_owned(), Value::Object(answers));
        facts.insert("errors".to_owned(), json!(errors));
        Ok(Value::Object(facts))
    }
}

/// What a reference of the document leads to.
fn followed<'a>(document: &'a Value, value: &'a Value) -> anyhow::Result<&'a Value> {
    match value["$ref"].as_str() {
        Some(reference) => {
            let place = reference.strip_prefix('#').context("a reference to elsewhere")?;
            document.pointer(place).with_context(|| format!("nothing at {reference}"))
        }
        None => Ok(value),
    }
}

/// A schema without sentences, whose references lead to `$defs`.
fn facts_of(schema: &Value) -> Value {
    match schema {
        Value::Object(members) => {
            let kept = members.iter().filter(|(key, _)| !SENTENCES.contains(&key.as_str()) && !key.starts_with("x-"));
            let facts = kept.map(|(key, value)| {
                let value = match (key.as_str(), value) {
                    // The names in here are the platform's, not the schema language's.
                    ("properties", Value::Object(properties)) => {
                        let properties = properties.iter().map(|(name, schema)| (name.clone(), facts_of(schema)));
                        Value::Object(properties.collect())
                    }
                    ("$ref", Value::String(reference)) => {
                        Value::String(reference.replace("#/components/schemas/", "#/$defs/"))
                    }
                    ("enum" | "const" | "required", value) => value.clone(),
                    (_, value) => facts_of(value),
                };
                (key.clone(), value)
            });
            Value::Object(facts.collect())
        }
        Value::Array(values) => Value::Array(values.iter().map(facts_of).collect()),
        other => other.clone(),
    }
}

/// Adds the schemas that this one names, and those that they name.
fn collect(document: &Value, schema: &Value, schemas: &mut BTreeMap<String, Value>) -> anyhow::Result<()> {
    let mut names = BTreeSet::new();
    references(schema, &mut names);
    for name in names {
        if let Entry::Vacant(place) = schemas.entry(name) {
            let facts = facts_of(&document["components"]["schemas"][place.key()]);
            place.insert(facts.clone());
            collect(document, &facts, schemas)?;
        }
    }
    Ok(())
}

fn references(schema: &Value, names: &mut BTreeSet<String>) {
    match schema {
        Value::Object(members) => {
            if let Some(name) = members.get("$ref").and_then(|value| value.as_str()?.strip_prefix("#/$defs/")) {
                names.insert(name.to_owned());
            }
            members.values().for_each(|value| references(value, names));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, names)),
        _ => {}
    }
}
