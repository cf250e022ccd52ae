//! The OpenAPI document of a build: how to call its Actor with an input of its schema (`BLD-9`, `BLD-16`).

use axum::extract::State;
use http::StatusCode;
use model::{Actor, Build, JobStatus, parse_build_number};
use serde_json::{Map, Value, json};
use store::Noun;

use super::SeenBuild;
use crate::app::App;
use crate::error::{Answer, ApiError};
use crate::wire;

/// `GET …/openapi.json`, without an envelope.
pub(super) async fn show(State(app): State<App>, SeenBuild { build, .. }: SeenBuild) -> Answer {
    if build.status != JobStatus::Succeeded {
        return Err(ApiError::not_found(Noun::Build));
    }
    let actor = app.store().actors.get(&build.actor_id).await?.ok_or_else(|| ApiError::not_found(Noun::Actor))?;
    let owner = app.store().users.get(&actor.user_id).await?.ok_or_else(|| ApiError::not_found(Noun::User))?;
    let server = format!("{}/v2", app.engine_config().public_url);
    Ok(wire::bare_json(StatusCode::OK, &document(&build, &actor, &owner.username, &server)))
}

fn document(build: &Build, actor: &Actor, username: &str, server: &str) -> Value {
    let name = &actor.name;
    let mut info = json!({
        "title": actor.title.as_ref().unwrap_or(name),
        "version": version_of(&build.build_number),
        "x-build-id": build.id,
    });
    if let Some(description) = &actor.description {
        info["description"] = json!(description);
    }

    let calls = [
        (
            "run-sync-get-dataset-items",
            "Executes an Actor, waits for its completion, and returns Actor's dataset items in response.",
            json!({ "description": "OK" }),
        ),
        (
            "runs",
            "Executes an Actor and returns information about the initiated run in response.",
            json!({
                "description": "OK",
                "content": { "application/json": { "schema": { "$ref": "#/components/schemas/runsResponseSchema" } } },
            }),
        ),
        (
            "run-sync",
            "Executes an Actor, waits for completion, and returns the OUTPUT from Key-value store in response.",
            json!({ "description": "OK" }),
        ),
    ];
    let mut paths = Map::new();
    for (verb, summary, ok) in calls {
        let call = json!({
            "operationId": format!("{verb}-{username}-{name}"),
            "x-openai-isConsequential": false,
            "summary": summary,
            "tags": ["Run Actor"],
            "requestBody": {
                "required": true,
                "content": { "application/json": { "schema": { "$ref": "#/components/schemas/inputSchema" } } },
            },
            "parameters": [{
                "name": "token",
                "in": "query",
                "required": true,
                "schema": { "type": "string" },
                "description": "Enter your API token here",
            }],
            "responses": { "200": ok },
        });
        paths.insert(format!("/acts/{username}~{name}/{verb}"), json!({ "post": call }));
    }

    json!({
        "openapi": "3.0.1",
        "info": info,
        "servers": [{ "url": server }],
        "paths": paths,
        "components": { "schemas": { "inputSchema": input_schema(build), "runsResponseSchema": runs_response() } },
    })
}

/// The version of the document is that of the Actor.
fn version_of(build_number: &str) -> String {
    match parse_build_number(build_number) {
        Some(_) => build_number.rsplit_once('.').map_or(build_number, |(version, _)| version).to_owned(),
        None => build_number.to_owned(),
    }
}

/// The input schema, or an object of any form if the build has none (`BLD-16`).
fn input_schema(build: &Build) -> Value {
    let schema = build.input_schema.as_deref().and_then(|text| serde_json::from_str::<Map<String, Value>>(text).ok());
    let Some(mut schema) = schema else { return json!({ "type": "object" }) };
    // These belong to the platform's dialect and not to a schema in OpenAPI.
    for name in ["$schema", "schemaVersion", "title"] {
        schema.remove(name);
    }
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for property in properties.values_mut().filter_map(Value::as_object_mut) {
            property.retain(|name, _| !ONLY_EDITORS.contains(&name.as_str()));
        }
    }
    Value::Object(schema)
}

/// Keywords that tell editors how to show a field.
const ONLY_EDITORS: [&str; 12] = [
    "editor",
    "prefill",
    "sectionCaption",
    "sectionDescription",
    "groupCaption",
    "groupDescription",
    "enumTitles",
    "placeholderKey",
    "placeholderValue",
    "isSecret",
    "unit",
    "dateType",
];

fn runs_response() -> Value {
    let text = json!({ "type": "string" });
    let date = json!({ "type": "string", "format": "date-time" });
    let number = json!({ "type": "integer" });
    json!({
        "type": "object",
        "properties": { "data": { "type": "object", "properties": {
            "id": text,
            "actId": text,
            "userId": text,
            "startedAt": date,
            "finishedAt": date,
            "status": text,
            "meta": { "type": "object", "properties": { "origin": text, "userAgent": text } },
            "options": { "type": "object", "properties": {
                "build": text, "timeoutSecs": number, "memoryMbytes": number, "diskMbytes": number,
            } },
            "buildId": text,
            "buildNumber": text,
            "defaultKeyValueStoreId": text,
            "defaultDatasetId": text,
            "defaultRequestQueueId": text,
            "containerUrl": text,
        } } },
    })
}
