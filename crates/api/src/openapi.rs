//! This server's own description: `GET /openapi.json`.
//!
//! It is put together from the facts of the contract that the tests hold the routes to, and the few addresses of our own.
//! So it says what is served, in the contract's words, without the contract's sentences.

use std::sync::LazyLock;

use axum::Router;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value, json};

use crate::app::App;

/// Method, path and name of each operation of the contract, by line.
const OPERATIONS: &str = include_str!("../../../tests/contract/operations.tsv");
/// Parameters and answers of each operation by name, and the schemas that they name.
const FACTS: &str = include_str!("../../../tests/contract/answers.json");

/// Operations beside the contract: method, path, name, summary.
const OWN: [(&str, &str, &str, &str); 14] = [
    ("GET", "/openapi.json", "x_openapi_get", "This description"),
    ("POST", "/v2/request-queues/{queueId}/x-requeue", "x_requeue_post", "Puts failed requests back into their queue"),
    ("GET", "/v2/request-queues/{queueId}/x-stats", "x_queue_stats_get", "Tells what is in a queue"),
    (
        "POST",
        "/v2/actor-runs/{runId}/request-queue/x-requeue",
        "x_run_requeue_post",
        "Puts failed requests back into a run's queue",
    ),
    ("GET", "/v2/actor-runs/{runId}/request-queue/x-stats", "x_run_queue_stats_get", "Tells what is in a run's queue"),
    (
        "POST",
        "/v2/actors/{actorId}/runs/last/request-queue/x-requeue",
        "x_last_run_requeue_post",
        "Puts failed requests back into the queue of an Actor's last run",
    ),
    (
        "GET",
        "/v2/actors/{actorId}/runs/last/request-queue/x-stats",
        "x_last_run_queue_stats_get",
        "Tells what is in the queue of an Actor's last run",
    ),
    (
        "POST",
        "/v2/actor-tasks/{actorTaskId}/runs/last/request-queue/x-requeue",
        "x_task_last_run_requeue_post",
        "Puts failed requests back into the queue of a task's last run",
    ),
    (
        "GET",
        "/v2/actor-tasks/{actorTaskId}/runs/last/request-queue/x-stats",
        "x_task_last_run_queue_stats_get",
        "Tells what is in the queue of a task's last run",
    ),
    ("POST", "/v2/actor-runs/{runId}/x-migrate", "x_run_migrate_post", "Migrates a run"),
    (
        "POST",
        "/actor-runtime/dev-folder/{actorId}",
        "x_dev_folder_post",
        "Mounts a folder of the server's machine into an Actor's next runs",
    ),
    ("POST", "/actor-runtime/debug/{actorId}", "x_debug_post", "Has an Actor's next runs wait for a debugger"),
    ("GET", "/x-events/{runId}/{secret}", "x_run_events_get", "The events of a run, as a websocket"),
    ("GET", "/x-run/{secret}/", "x_run_web_server_get", "The web server of a run"),
];

/// What they refuse with.
const OWN_ERRORS: [&str; 8] = ["400", "401", "403", "404", "405", "413", "415", "429"];

pub(crate) fn router() -> Router<App> {
    Router::new().route("/openapi.json", get(show))
}

async fn show() -> Response {
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| document().to_string().into());
    ([(CONTENT_TYPE, "application/json; charset=utf-8")], DOCUMENT.clone()).into_response()
}

/// The whole document. It needs nothing but what was compiled in, so a test sees all that clients will.
fn document() -> Value {
    let facts: Value = serde_json::from_str(FACTS).unwrap_or_default();
    let mut paths = Map::new();
    for (method, path, name) in operations() {
        add(&mut paths, method, path, operation(path, name, &facts["operations"][name]));
    }
    for (method, path, name, summary) in OWN {
        let mut operation = operation(path, name, &json!({ "answers": { "200": {} }, "errors": OWN_ERRORS }));
        operation["summary"] = json!(summary);
        add(&mut paths, method, path, operation);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Playhouse",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "A server for Actors that speaks the Apify API v2. Names that begin with x are its own.",
        },
        "servers": [{ "url": "/" }],
        "security": [{ "httpBearer": [] }, { "apiKey": [] }],
        "paths": paths,
        "components": {
            "schemas": with_references_here(&facts["$defs"]),
            "securitySchemes": {
                "httpBearer": { "type": "http", "scheme": "bearer" },
                "apiKey": { "type": "apiKey", "in": "query", "name": "token" },
            },
        },
    })
}

fn operations() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    OPERATIONS.lines().filter_map(|line| {
        let mut parts = line.split('\t');
        Some((parts.next()?, parts.next()?, parts.next()?))
    })
}

fn add(paths: &mut Map<String, Value>, method: &str, path: &str, operation: Value) {
    let item = paths.entry(path).or_insert_with(|| json!({}));
    item[method.to_ascii_lowercase()] = operation;
}

fn operation(path: &str, name: &str, facts: &Value) -> Value {
    let in_path = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = in_path
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    for (name, schema) in facts["query"].as_object().into_iter().flatten() {
        let mut schema = with_references_here(schema);
        let is_required = schema.as_object_mut().and_then(|schema| schema.remove("x-required")).is_some();
        parameters.push(json!({ "name": name, "in": "query", "required": is_required, "schema": schema }));
    }
    let mut responses = Map::new();
    for (status, types) in facts["answers"].as_object().into_iter().flatten() {
        let content: Map<String, Value> = types
            .as_object()
            .into_iter()
            .flatten()
            .map(|(media_type, schema)| (media_type.clone(), json!({ "schema": with_references_here(schema) })))
            .collect();
        let mut response = json!({ "description": "Success" });
        if !content.is_empty() {
            response["content"] = Value::Object(content);
        }
        responses.insert(status.clone(), response);
    }
    for status in facts["errors"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let schema = json!({ "$ref": "#/components/schemas/ErrorResponse" });
        let response = json!({ "description": "Refused", "content": { "application/json": { "schema": schema } } });
        responses.insert(status.to_owned(), response);
    }
    let tag = path.split('/').find(|part| !matches!(*part, "" | "v2") && !part.starts_with('{'));
    let mut operation = json!({ "operationId": name, "tags": [tag.unwrap_or_default()], "parameters": parameters, "responses": responses });
    if let Some(types) = facts["takes"].as_array() {
        let content: Map<String, Value> =
            types.iter().filter_map(Value::as_str).map(|media_type| (media_type.to_owned(), json!({}))).collect();
        operation["requestBody"] = json!({ "content": content });
    }
    if facts["open"] == true {
        operation["security"] = json!([]);
    }
    operation
}

/// A schema whose references lead to where this document has the schemas.
fn with_references_here(schema: &Value) -> Value {
    match schema {
        Value::Object(members) => Value::Object(
            members
                .iter()
                .map(|(name, value)| match (name.as_str(), value.as_str()) {
                    ("$ref", Some(place)) => (name.clone(), json!(place.replace("#/$defs/", "#/components/schemas/"))),
                    _ => (name.clone(), with_references_here(value)),
                })
                .collect(),
        ),
        Value::Array(values) => values.iter().map(with_references_here).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
                members.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn the_description_holds_together() {
        let document = document();

        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            let place = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(place).is_some(), "nothing at {reference}");
        }
        let mut names = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let name = operation["operationId"].as_str().unwrap();
                assert!(names.insert(name.to_owned()), "{name} comes twice");
                assert!(!operation["responses"].as_object().unwrap().is_empty(), "{method} {path}");
            }
        }
        assert_eq!(names.len(), operations().count() + OWN.len());
    }
}
