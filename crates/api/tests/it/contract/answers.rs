//! Every operation, with all that it needs, answers with a status and a body of the document.

use http::Method;
use serde_json::{Value, json};

use super::made::World;
use super::{Contract, Operation};
use crate::harness::Reply;

/// What a dataset is exported to, and the media type that comes.
const FORMATS: [(&str, &str); 7] = [
    ("json", "application/json"),
    ("jsonl", "application/jsonl"),
    ("csv", "text/csv"),
    ("html", "text/html"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("rss", "application/rss+xml"),
    ("xml", "application/xml"),
];

#[tokio::test(start_paused = true)]
async fn every_operation_answers_as_the_document_says() {
    let (contract, world) = (Contract::load(), World::start().await);
    let mut faults = Vec::new();
    for operation in &contract.operations {
        let made = world.make(operation).await;
        let reply = world.send(&made).await;
        faults.extend(faults_of(&contract, operation, &reply));
        world.tidy().await;
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn every_export_has_the_media_type_that_the_document_says() {
    let (contract, world) = (Contract::load(), World::start().await);
    let is_export =
        |operation: &&Operation| operation.method == Method::GET && operation.path.ends_with("/dataset/items");
    for operation in contract.operations.iter().filter(is_export) {
        let made = world.make(operation).await;
        for (format, media_type) in FORMATS {
            let reply = world.send(&made.with_query("format", format)).await.expect(200);
            assert_eq!(media_type_of(&reply), media_type, "{}", operation.path);
            assert!(operation.successes()[&200].get(media_type).is_some(), "{}", operation.path);
            assert!(!reply.body.is_empty());
        }
    }
}

fn faults_of(contract: &Contract, operation: &Operation, reply: &Reply) -> Vec<String> {
    let what = format!("{} {} ({})", operation.method, operation.path, operation.id);
    let status = reply.status.as_u16();
    let body = String::from_utf8_lossy(&reply.body);
    let successes = operation.successes();
    let Some(types) = successes.get(&status) else { return vec![format!("{what}: {status}: {body}")] };
    let mut faults = Vec::new();
    if status == 201 && has_location(operation) && !reply.header("location").starts_with("http") {
        faults.push(format!("{what}: no Location"));
    }
    // The document gives some of its 204s a body all the same.
    let empty =
        operation.method == Method::HEAD || status == 204 || types.as_object().is_none_or(serde_json::Map::is_empty);
    if empty {
        if !body.is_empty() {
            faults.push(format!("{what}: a body where there should be none: {body}"));
        }
        return faults;
    }
    let media_type = media_type_of(reply);
    let Some(schema) = types.get(&media_type).or_else(|| types.get("*/*")) else {
        faults.push(format!("{what}: {media_type} is not among {types}"));
        return faults;
    };
    // The document calls what a task's run stored an object, though it says of an Actor's that it is a list (`HTTP-13`).
    let items = json!({ "type": "array", "items": { "type": "object" } });
    let schema = if operation.path.ends_with("/run-sync-get-dataset-items") { &items } else { schema };
    if media_type == "application/json" {
        match serde_json::from_slice::<Value>(&reply.body) {
            Ok(value) => {
                let found = contract.faults(schema, &value);
                faults.extend(found.into_iter().map(|fault| format!("{what}: {fault}\n    in {value}")));
                if value.get("data").is_some_and(|data| data.get("items") == Some(&json!([]))) {
                    faults.push(format!("{what}: an empty list proves nothing"));
                }
            }
            Err(error) => faults.push(format!("{what}: {error}")),
        }
    }
    faults
}

/// Creations name what they made (`HTTP-15`).
fn has_location(operation: &Operation) -> bool {
    const NOUNS: [&str; 7] = ["/actors", "/versions", "/env-vars", "/builds", "/runs", "/actor-tasks", "/schedules"];
    operation.method == Method::POST
        && (NOUNS.iter().any(|noun| operation.path.ends_with(noun)) || operation.path == "/v2/webhooks")
}

fn media_type_of(reply: &Reply) -> String {
    reply.header("content-type").split(';').next().unwrap_or_default().trim().to_owned()
}
