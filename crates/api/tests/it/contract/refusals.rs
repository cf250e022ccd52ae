//! Every operation refuses what is wrong in the words of the document, and then does nothing: what was refused in ten ways
//! succeeds afterwards.

use std::collections::BTreeSet;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::Method;
use model::StorageKind;
use serde_json::{Value, json};

use super::made::{World, storage_of};
use super::{Contract, Operation};
use crate::harness::Reply;

/// A status and a type.
type Refusal = (u16, &'static str);

const INVALID: Refusal = (400, "invalid-request");
const UNKNOWN: Refusal = (404, "record-not-found");
const NO_TOKEN: Refusal = (401, "token-not-provided");
const NO_RIGHT: Refusal = (403, "insufficient-permissions");

const WRONG_ID: Refusal = (400, "request-id-invalid");
const NO_INPUT: Refusal = (400, "invalid-input");

/// The id of nothing, in the form that ids have.
const NOBODY: &str = "aaaaaaaaaaaaaaaaa";

/// Collects what is not as it should be, so that one run tells all of it.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn refusal(&mut self, contract: &Contract, operation: &Operation, what: &str, reply: &Reply, expected: &[Refusal]) {
        let found = contract.refusal(operation, reply);
        let line =
            |found: &str| format!("{} {} {what}: {found}, expected {expected:?}", operation.method, operation.path);
        match found {
            Ok((status, kind)) => {
                let fits = |expected: &Refusal| expected.0 == status && (kind.is_empty() || expected.1 == kind);
                if !expected.iter().any(fits) {
                    self.0.push(line(&format!("{status} {kind} {}", String::from_utf8_lossy(&reply.body))));
                }
            }
            Err(fault) => self.0.push(line(&fault)),
        }
    }

    fn success(&mut self, operation: &Operation, what: &str, reply: &Reply) {
        if !operation.successes().contains_key(&reply.status.as_u16()) {
            let (status, body) = (reply.status, String::from_utf8_lossy(&reply.body));
            self.0.push(format!("{} {} {what}: {status} {body}", operation.method, operation.path));
        }
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.0.is_empty(), "{} faults:\n{}", self.0.len(), self.0.join("\n"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_operation_needs_a_token_where_the_contract_says_so() {
    let (contract, world, mut faults) = (Contract::load(), World::start().await, Faults::default());
    for operation in &contract.operations {
        let made = world.make(operation).await;

        let stranger = world.ask(&made).token("nobodys").await;
        faults.refusal(
            &contract,
            operation,
            "with a token that is nobody's",
            &stranger,
            &[(401, "user-or-token-not-found")],
        );
        let anonymous = world.ask(&made).anonymous().await;
        match for_anybody(operation) {
            Ok(()) => faults.success(operation, "without a token", &anonymous),
            Err(expected) => {
                faults.refusal(&contract, operation, "without a token", &anonymous, &[expected]);
                faults.success(operation, "after refusals", &world.send(&made).await);
            }
        }
        world.tidy().await;
    }
}

/// Who has no token (`AUTH-3`, `AUTH-7`, `AUTH-8`, `AUTH-10`, `LAST-6`).
fn for_anybody(operation: &Operation) -> Result<(), Refusal> {
    let (path, reads) = (operation.path, matches!(operation.method, Method::GET | Method::HEAD));
    if path == "/v2/browser-info" || path == "/v2/tools/decode-and-verify" {
        return Ok(());
    }
    if !reads || path.contains("/runs/last") || path.contains("/run-sync") {
        return Err(NO_TOKEN);
    }
    match path {
        "/v2/store" | "/v2/users/{userId}" => Ok(()),
        _ if path.starts_with("/v2/users") => Err(NO_TOKEN),
        // Runs and builds are open by the account's setting, and what belongs to them.
        _ if path.starts_with("/v2/actor-runs/{runId}") || path.ends_with("/runs/{runId}") => Ok(()),
        _ if is_of_build(path) => Ok(()),
        _ if storage_of(path).is_some() => Err(NO_RIGHT),
        _ => Err(NO_TOKEN),
    }
}

/// What shows a build, for those who read. It is as open as a run is (`AUTH-7`, `AUTH-9`, `BLD-11`).
fn is_of_build(path: &str) -> bool {
    path.contains("{buildId}") || path.ends_with("/builds/default") || path == "/v2/logs/{buildOrRunId}"
}

#[tokio::test(start_paused = true)]
async fn what_is_somebody_elses_is_hidden_or_out_of_reach() {
    let (contract, world, mut faults) = (Contract::load(), World::start().await, Faults::default());
    let bob = world.server.given_user("bob").await;
    for operation in contract.operations.iter().filter(|operation| !operation.parameters().is_empty()) {
        if operation.path == "/v2/users/{userId}" {
            continue;
        }
        let made = world.make(operation).await;

        let reply = world.ask(&made).token(&bob).await;

        match for_another_user(operation) {
            Ok(()) => faults.success(operation, "by another user", &reply),
            Err(expected) => {
                faults.refusal(&contract, operation, "by another user", &reply, &[expected]);
                faults.success(operation, "after a refusal", &world.send(&made).await);
            }
        }
        world.tidy().await;
    }
}

/// Storages are out of reach, everything else is hidden, and runs and builds are open to readers by the account's setting
/// (`AUTH-5`, `AUTH-9`).
fn for_another_user(operation: &Operation) -> Result<(), Refusal> {
    let (path, reads) = (operation.path, matches!(operation.method, Method::GET | Method::HEAD));
    let first = path.split('/').find_map(|part| part.strip_prefix('{')?.strip_suffix('}')).unwrap_or_default();
    match first {
        "storeId" | "datasetId" | "queueId" => Err(NO_RIGHT),
        "runId" if reads => Ok(()),
        // The same run and builds under the address of their Actor (`RUNS-1`, `BLD-11`)
        _ if reads && (path.ends_with("/runs/{runId}") || is_of_build(path)) => Ok(()),
        "runId" if storage_of(path).is_some() => Err(NO_RIGHT),
        _ => Err(UNKNOWN),
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_exist_is_not_found() {
    let (contract, world, mut faults) = (Contract::load(), World::start().await, Faults::default());
    for operation in contract.operations.iter().filter(|operation| !operation.parameters().is_empty()) {
        let made = world.make(operation).await;
        for parameter in operation.parameters() {
            // An id has a form, but what has another is unknown as well, and not malformed (`ID-13`).
            for unknown in unknown_values(parameter) {
                let mut changed = made.with_part(parameter, unknown);
                // A body with another name than the path is refused as a change of name (`VER-12`).
                if let ("envVarName", Some((content_type, _))) = (parameter, &made.body) {
                    changed = changed.with_body(content_type, json!({ "name": unknown, "value": "blue" }).to_string());
                }
                let reply = world.ask(&changed).await;
                let what = format!("with {unknown} for {parameter}");
                match for_unknown(operation, parameter) {
                    Ok(()) => faults.success(operation, &what, &reply),
                    Err(expected) => faults.refusal(&contract, operation, &what, &reply, &[expected]),
                }
            }
        }
        faults.success(operation, "after refusals", &world.send(&made).await);
        world.tidy().await;
    }
}

fn unknown_values(parameter: &str) -> &'static [&'static str] {
    match parameter {
        "versionNumber" => &["9.9", "x"],
        "envVarName" | "recordKey" => &["NOTHING"],
        "requestId" => &["aaaaaaaaaaaaaaa"],
        "actorId" | "actorTaskId" | "userId" => &[NOBODY, "nothing", "nobody~nothing", "~nothing"],
        "storeId" | "datasetId" | "queueId" => &[NOBODY, "nothing", "~nothing"],
        _ => &[NOBODY, "nothing"],
    }
}

fn for_unknown(operation: &Operation, parameter: &str) -> Result<(), Refusal> {
    match (operation.method.as_str(), parameter) {
        // A record that does not exist is made, and its deletion is no failure (K-rules).
        ("PUT" | "POST" | "DELETE", "recordKey") => Ok(()),
        // The path names another request than the unique key in the body (`Q3`).
        ("PUT", "requestId") if !operation.path.ends_with("/lock") => Err(WRONG_ID),
        _ => Err(UNKNOWN),
    }
}

#[tokio::test(start_paused = true)]
async fn no_address_answers_to_a_method_that_the_document_does_not_give_it() {
    let (contract, world, mut faults) = (Contract::load(), World::start().await, Faults::default());
    let served = &contract.operations;
    let paths: BTreeSet<_> = served.iter().map(|operation| operation.path).collect();
    for path in paths {
        let operations: Vec<_> = served.iter().filter(|operation| operation.path == path).collect();
        let operation = operations[0];
        if path == "/v2/browser-info" {
            continue;
        }
        let made = world.make(operation).await;
        for method in [Method::PATCH, Method::GET, Method::POST, Method::PUT, Method::DELETE] {
            if operations.iter().any(|operation| operation.method == method) || is_served_besides(&method, path) {
                continue;
            }
            let reply = world.ask(&made.with_method(&method)).await;
            faults.refusal(&contract, operation, &format!("by {method}"), &reply, &[(405, "method-not-allowed")]);
            if reply.status != 405 {
                continue;
            }
            let message = reply.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
            let prefix = "This API end-point can only be accessed using the following HTTP methods: OPTIONS,";
            let listed = message.strip_prefix(prefix).unwrap_or_default().split(',').collect::<BTreeSet<_>>();
            if !operations.iter().filter(|o| o.method != Method::HEAD).all(|o| listed.contains(o.method.as_str())) {
                faults.0.push(format!("{path}: {message}"));
            }
        }
        world.tidy().await;
    }
}

fn is_served_besides(method: &Method, path: &str) -> bool {
    super::routes::BESIDES
        .iter()
        .any(|(besides, other, _)| *besides == method.as_str() && super::routes::anonymous(path) == *other)
}

#[tokio::test(start_paused = true)]
async fn bodies_that_cannot_be_read_are_refused() {
    let (contract, world, mut faults) = (Contract::load(), World::start().await, Faults::default());
    let bomb = gzipped(&vec![b' '; 10 << 20]);
    for operation in contract.operations.iter().filter(|operation| operation.has_body()) {
        let made = world.make(operation).await;
        let json = |body: &'static str| made.with_body("application/json", body);

        let reply = world.ask(&json("{}")).header("content-encoding", "zstd").await;
        faults.refusal(
            &contract,
            operation,
            "in an unknown encoding",
            &reply,
            &[(415, "unsupported-content-encoding")],
        );
        if !is_kept_as_it_comes(operation) {
            let reply = world.ask(&json("no gzip")).header("content-encoding", "gzip").await;
            faults.refusal(&contract, operation, "in a broken encoding", &reply, &[INVALID]);
            let reply = world.ask(&json("{}")).body(bomb.clone()).header("content-encoding", "gzip").await;
            faults.refusal(&contract, operation, "of 10 MiB", &reply, &[(413, "request-too-large")]);
        }
        if reads_json(operation) {
            // What is no JSON is no input (`TASK-4`, `INP-20`).
            let unreadable = if takes_input(operation) { NO_INPUT } else { INVALID };
            for body in ["{\"a\":", "\u{0}", "{\"a\":1}}", "'a'"] {
                faults.refusal(
                    &contract,
                    operation,
                    &format!("with {body:?}"),
                    &world.ask(&json(body)).await,
                    &[unreadable],
                );
            }
            let reply = world.ask(&made.with_body("application/json", &b"{\"a\": \"\xff\"}"[..])).await;
            faults.refusal(&contract, operation, "with bytes that are no text", &reply, &[unreadable]);
            for body in ["5", "\"text\"", "true", "[[]]"] {
                let reply = world.ask(&json(body)).await;
                faults.refusal(&contract, operation, &format!("with {body:?}"), &reply, &[INVALID, NO_INPUT]);
            }
        }
        faults.success(operation, "after refusals", &world.send(&made).await);
        world.tidy().await;
    }
}

#[tokio::test(start_paused = true)]
async fn members_of_the_wrong_type_are_refused() {
    let (contract, world, mut faults) = (Contract::load(), World::start().await, Faults::default());
    for operation in contract.operations.iter().filter(|operation| reads_json(operation)) {
        let made = world.make(operation).await;
        let Some((content_type, body)) = &made.body else { continue };
        let body: Value = serde_json::from_slice(body).expect("JSON");
        for name in body.as_object().into_iter().flatten().map(|(name, _)| name) {
            if is_free(operation, name) {
                continue;
            }
            let mut wrong = body.clone();
            wrong[name] = json!([[7]]);
            let reply = world.ask(&made.with_body(content_type, wrong.to_string())).await;
            let mut expected =
                vec![INVALID, (400, "invalid-value"), NO_INPUT, (400, "invalid-signature"), (400, "invalid-parameter")];
            // Whatever is not the id that the unique key makes is refused as such (`Q3`).
            if name == "id" && operation.path.ends_with("/requests/{requestId}") {
                expected.push(WRONG_ID);
            }
            faults.refusal(&contract, operation, &format!("with [[7]] for {name}"), &reply, &expected);
        }
        faults.success(operation, "after refusals", &world.send(&made).await);
        world.tidy().await;
    }
}

/// A member that may have any value, or is not looked at.
fn is_free(operation: &Operation, name: &str) -> bool {
    match operation.path {
        "/v2/actor-tasks/{actorTaskId}/input" => true,
        "/v2/actor-tasks/{actorTaskId}/runs" | "/v2/tools/encode-and-sign" => true,
        path if path.contains("/run-sync") => true,
        path if path.contains("/requests") => name == "userData",
        _ => false,
    }
}

/// Bodies that are the input of a task, or are laid over it.
fn takes_input(operation: &Operation) -> bool {
    let tail = operation.path.strip_prefix("/v2/actor-tasks/{actorTaskId}/").unwrap_or_default();
    matches!(tail, "input" | "runs" | "run-sync" | "run-sync-get-dataset-items")
}

/// Records and inputs of Actors without a schema may be anything at all (`K4`, `START-16`, `INP-21`), and `browser-info`
/// only counts.
fn reads_json(operation: &Operation) -> bool {
    let path = operation.path;
    let takes_anything = path.contains("/records/")
        || path == "/v2/browser-info"
        || path.ends_with("/metamorph")
        || path.ends_with("/validate-input")
        || (path.starts_with("/v2/actors/") && (path.ends_with("/runs") || path.contains("/run-sync")));
    operation.has_body() && !takes_anything
}

/// A record is stored as it was encoded.
fn is_kept_as_it_comes(operation: &Operation) -> bool {
    matches!(storage_of(operation.path), Some((StorageKind::KeyValueStore, _, tail)) if !tail.is_empty())
        || operation.path == "/v2/browser-info"
}

#[tokio::test(start_paused = true)]
async fn values_in_the_query_that_cannot_be_are_refused() {
    let (contract, world, mut faults) = (Contract::load(), World::start().await, Faults::default());
    for operation in &contract.operations {
        if operation.query().next().is_none() {
            continue;
        }
        let made = world.make(operation).await;
        for (name, schema) in operation.query() {
            for value in impossible(&contract, name, schema) {
                let reply = world.ask(&made.with_query(name, value)).await;
                let what = format!("with {name}={value}");
                faults.refusal(&contract, operation, &what, &reply, &refusals_of(name));
            }
            if schema["x-required"] == true {
                let reply = world.ask(&made.with_query(name, "")).await;
                let what = format!("without {name}");
                faults.refusal(&contract, operation, &what, &reply, &[INVALID, (400, "parameter-required")]);
            }
        }
        faults.success(operation, "after refusals", &world.send(&made).await);
        world.tidy().await;
    }
}

/// Values that a parameter cannot have.
fn impossible(contract: &Contract, name: &str, schema: &Value) -> Vec<&'static str> {
    match name {
        // Every value has a meaning here: anything but a number is no time to wait (`WAIT-2`), and there are no bad flags.
        "waitForFinish" => vec![],
        "format" => vec!["nonsense"],
        "status" => vec!["DONE", "SUCCEEDED,DONE"],
        "startedAfter" | "startedBefore" | "date" => vec!["yesterday", "2026-13-01"],
        "webhooks" => vec!["%25%25%25", "e30%3D", "W3t9XQ%3D%3D"],
        "build" | "tag" | "version" => vec![],
        // Parts of a second are a time to lock for as well (`Q40`).
        "lockSecs" => vec!["x", "-1", "0"],
        "maxItems" | "maxTotalChargeUsd" => vec!["x", "-1", "0"],
        "memory" => vec!["x", "-1", "100", "64", "65536"],
        "sortBy" if schema.get("enum").is_none() => vec!["nonsense"],
        _ if schema["type"] == "number" => vec!["x", "-1", "1.5"],
        _ if contract.has_choices(schema) => vec!["NONSENSE"],
        _ => vec![],
    }
}

fn refusals_of(name: &str) -> Vec<Refusal> {
    match name {
        "format" => vec![(400, "param-not-one-of")],
        "maxItems" => vec![INVALID, (400, "max-items-must-be-greater-than-zero")],
        "maxTotalChargeUsd" => vec![INVALID, (400, "max-total-charge-usd-must-be-greater-than-zero")],
        _ => vec![INVALID, (400, "invalid-value"), (400, "invalid-parameter"), (400, "param-not-one-of")],
    }
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}
