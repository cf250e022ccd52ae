//! Every operation of the official OpenAPI document: that it is there, that it answers in the document's words when all is
//! well, and that it refuses in
//! the document's words when something is wrong.
//!
//! What is known of the document lies in `tests/contract` and is derived from it by `cargo xtask contract`.

mod answers;
mod made;
mod refusals;
mod routes;
mod table;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use http::Method;
use jsonschema::{Draft, Validator};
use serde_json::{Value, json};

use crate::harness::Reply;

const OPERATIONS: &str = include_str!("../../../../../tests/contract/operations.tsv");
const ANSWERS: &str = include_str!("../../../../../tests/contract/answers.json");

/// An operation of the document.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub method: Method,
    /// As in `/v2/actors/{actorId}`.
    pub path: &'static str,
    pub id: &'static str,
    facts: Value,
}

impl Operation {
    /// The names of the parameters in the path.
    pub fn parameters(&self) -> Vec<&'static str> {
        self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect()
    }

    /// The parameters in the query, with their schemas.
    pub fn query(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.facts["query"].as_object().into_iter().flatten().map(|(name, schema)| (name.as_str(), schema))
    }

    /// Whether it reads a body.
    pub fn has_body(&self) -> bool {
        self.facts.get("takes").is_some()
    }

    /// The statuses of success, each with the schema of its media types.
    pub fn successes(&self) -> BTreeMap<u16, Value> {
        let answers = self.facts["answers"].as_object().expect("answers").iter();
        answers
            .map(|(status, types)| (status.parse().expect("a status"), types.clone()))
            .filter(|(s, _)| *s < 400)
            .collect()
    }
}

/// The operations, and the schemas of what they answer.
pub(super) struct Contract {
    pub operations: Vec<Operation>,
    defs: Value,
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

impl Contract {
    pub fn load() -> Self {
        let answers: Value = serde_json::from_str(ANSWERS).expect("JSON");
        let operation = |line: &'static str| {
            let [method, path, id] = line.split('\t').collect::<Vec<_>>().try_into().expect("three columns");
            Operation { method: method.parse().expect("a method"), path, id, facts: answers["operations"][id].clone() }
        };
        let operations: Vec<_> = OPERATIONS.lines().map(operation).collect();
        assert_eq!(operations.len(), 231);
        Self { operations, defs: answers["$defs"].clone(), validators: Mutex::default() }
    }

    /// What is wrong with a value by a schema of the document, in words; empty if nothing is.
    pub fn faults(&self, schema: &Value, value: &Value) -> Vec<String> {
        let key = schema.to_string();
        let mut validators = self.validators.lock().expect("no panic");
        let validator = validators.entry(key).or_insert_with(|| {
            let whole = json!({ "allOf": [schema], "$defs": self.defs });
            let options = jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true);
            Arc::new(options.should_ignore_unknown_formats(true).build(&whole).expect("a schema"))
        });
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
    }

    /// Whether a schema allows only some words.
    pub fn has_choices(&self, schema: &Value) -> bool {
        let named = schema["$ref"].as_str().and_then(|name| name.strip_prefix("#/$defs/")).map(|name| &self.defs[name]);
        let schema = named.unwrap_or(schema);
        schema.get("enum").is_some() || schema["items"].get("enum").is_some()
    }

    /// The status and the type of a refusal, if it is one that the document foresees and looks as it should.
    pub fn refusal(&self, operation: &Operation, reply: &Reply) -> Result<(u16, String), String> {
        let (status, body) = (reply.status.as_u16(), String::from_utf8_lossy(&reply.body));
        if !(400..500).contains(&status) {
            return Err(format!("{status} {body}"));
        }
        if operation.method == Method::HEAD {
            return if body.is_empty() { Ok((status, String::new())) } else { Err(format!("a body: {body}")) };
        }
        if !reply.header("content-type").starts_with("application/json") {
            return Err(format!("{status} of type {}", reply.header("content-type")));
        }
        let body: Value = serde_json::from_slice(&reply.body).map_err(|error| format!("{status} {body}: {error}"))?;
        let faults = self.faults(&json!({ "$ref": "#/$defs/ErrorResponse" }), &body);
        if !faults.is_empty() || body["error"]["message"].as_str().is_none_or(str::is_empty) {
            return Err(format!("{status} {body}: {faults:?}"));
        }
        Ok((status, body["error"]["type"].as_str().unwrap_or_default().to_owned()))
    }
}
