//! A request for each operation that succeeds, and whatever has to be there for it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use drivers::fake::FakeDriver;
use engine::EngineConfig;
use http::Method;
use model::StorageKind;
use serde_json::{Value, json};

use super::Operation;
use crate::harness::{Ask, Reply, TestServer};
use crate::platform::id;

/// A server with everything that operations need, made anew for each request.
pub(super) struct World {
    pub server: TestServer,
    last: AtomicU32,
}

/// A request that succeeds.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub method: Method,
    /// What stands in the path for each parameter.
    pub parts: BTreeMap<&'static str, String>,
    template: &'static str,
    pub query: String,
    pub body: Option<(&'static str, Bytes)>,
    idempotency_key: bool,
    /// Instead of the owner's.
    pub token: Option<String>,
    /// The run of this Actor or task ends well as soon as it runs.
    ends_run_of: Option<String>,
}

impl Made {
    pub fn path(&self) -> String {
        let path =
            self.template.split('/').map(|part| match part.strip_prefix('{').and_then(|p| p.strip_suffix('}')) {
                Some(name) => self.parts[name].as_str(),
                None => part,
            });
        path.collect::<Vec<_>>().join("/")
    }

    pub fn url(&self) -> String {
        format!("{}?{}", self.path(), self.query)
    }

    /// With another value for a parameter of the path.
    pub fn with_part(&self, name: &'static str, value: &str) -> Self {
        let mut made = self.clone();
        made.parts.insert(name, value.to_owned());
        made.ends_run_of = None;
        made
    }

    /// By another method.
    pub fn with_method(&self, method: &Method) -> Self {
        Self { method: method.clone(), ends_run_of: None, ..self.clone() }
    }

    /// With another parameter in the query, instead of the one of that name.
    pub fn with_query(&self, name: &str, value: &str) -> Self {
        let mut made = self.clone();
        let others = self.query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with(&format!("{name}=")));
        let pairs: Vec<_> = others.map(str::to_owned).chain([format!("{name}={value}")]).collect();
        made.query = pairs.join("&");
        made.ends_run_of = None;
        made
    }

    /// With another body.
    pub fn with_body(&self, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { body: Some((content_type, body.into())), ends_run_of: None, ..self.clone() }
    }
}

impl World {
    pub async fn start() -> Self {
        let config = EngineConfig { memory_mbytes: 1 << 20, ..EngineConfig::default() };
        let world = Self { server: TestServer::start_with(config).await, last: AtomicU32::new(0) };
        world.server.given_public_actor().await;
        world
    }

    fn name(&self) -> String {
        format!("n-{}", self.last.fetch_add(1, Ordering::Relaxed))
    }

    /// The request as it is, ready for changes.
    pub fn ask(&self, made: &Made) -> Ask<'_> {
        let mut ask = self.server.ask(made.method.clone(), &made.url());
        if let Some((content_type, body)) = &made.body {
            ask = ask.header("content-type", content_type).body(body.clone());
        }
        if made.idempotency_key {
            ask = ask.header("idempotency-key", &self.name());
        }
        match &made.token {
            Some(token) => ask.token(token),
            None => ask,
        }
    }

    /// Sends the request, and does what it waits for.
    pub async fn send(&self, made: &Made) -> Reply {
        let Some(list) = &made.ends_run_of else { return self.ask(made).await };
        let end = async {
            loop {
                let runs = self.server.get(&format!("{list}/runs?desc=1")).await.expect(200).data();
                let newest = &runs["items"][0];
                if newest["status"] == "RUNNING" {
                    let store = newest["defaultKeyValueStoreId"].as_str().expect("a store");
                    let record = format!("/v2/key-value-stores/{store}/records/OUTPUT");
                    self.server.put(&record).json(json!({ "done": true })).await.expect(201);
                    let items = format!("/v2/actor-runs/{}/dataset/items", id(newest));
                    self.server.post(&items).json(json!([{ "n": 1 }])).await.expect(201);
                    self.server.end(&id(newest), 0).await;
                    return std::future::pending().await;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            reply = async { self.ask(made).await } => reply,
            never = end => never,
        }
    }

    /// Ends the runs that an operation left, so that a long test does not gather them.
    pub async fn tidy(&self) {
        let runs = self.server.get("/v2/actor-runs?status=READY,RUNNING").await.expect(200).data();
        for run in runs["items"].as_array().expect("a list") {
            self.server.post(&format!("/v2/actor-runs/{}/abort", id(run))).await.expect(200);
        }
    }

    /// Makes what the operation needs, and the request.
    pub async fn make(&self, operation: &Operation) -> Made {
        let mut made = Made {
            method: operation.method.clone(),
            parts: BTreeMap::new(),
            template: operation.path,
            query: String::new(),
            body: None,
            idempotency_key: false,
            token: None,
            ends_run_of: None,
        };
        if let Some((kind, prefix, tail)) = storage_of(operation.path) {
            self.make_address(operation, &mut made).await;
            self.make_storage_request(kind, prefix, tail, &mut made).await;
        } else {
            self.make_address(operation, &mut made).await;
            self.make_request(operation, &mut made).await;
        }
        made
    }

    /// Everything that the path names.
    async fn make_address(&self, operation: &Operation, made: &mut Made) {
        let (path, server) = (operation.path, &self.server);
        for name in operation.parameters() {
            let value = match name {
                "actorId" => self.actor().await,
                "actorTaskId" => {
                    let actor = self.actor().await;
                    self.task(&actor).await
                }
                "versionNumber" => {
                    let versions = format!("/v2/actors/{}/versions", made.parts["actorId"]);
                    server.post(&versions).json(version("0.7")).await.expect(201);
                    "0.7".to_owned()
                }
                "envVarName" => {
                    let actor = &made.parts["actorId"];
                    let vars = format!("/v2/actors/{actor}/versions/0.7/env-vars");
                    server.post(&vars).json(json!({ "name": "COLOUR", "value": "red" })).await.expect(201);
                    "COLOUR".to_owned()
                }
                "buildId" | "buildOrRunId" => self.build(made.parts.get("actorId")).await,
                "runId" => self.run(made.parts.get("actorId"), path.ends_with("/charge")).await,
                "storeId" => server.given("key-value-stores").await,
                "datasetId" => server.given("datasets").await,
                "queueId" => server.given("request-queues").await,
                "recordKey" => "K".to_owned(),
                "requestId" => REQUEST_ID.to_owned(),
                "webhookId" => self.webhook().await,
                "dispatchId" => {
                    let webhook = self.webhook().await;
                    id(&server.post(&format!("/v2/webhooks/{webhook}/test")).await.expect(201).data())
                }
                "scheduleId" => self.schedule().await,
                "userId" => server.engine.ada.user.id.to_string(),
                other => panic!("nothing to put in the place of {other}"),
            };
            made.parts.insert(name, value);
        }
        if path.contains("/runs/last") {
            let of = match (made.parts.get("actorId"), made.parts.get("actorTaskId")) {
                (Some(actor), _) => format!("/v2/actors/{actor}"),
                (_, task) => format!("/v2/actor-tasks/{}", task.expect("an Actor or a task")),
            };
            let run = id(&server.post(&format!("{of}/runs")).await.expect(201).data());
            server.running(&run, 1).await;
        }
    }

    async fn actor(&self) -> String {
        let engine = &self.server.engine;
        let actor = engine.engine.give_actor(&engine.ada.user, &self.name()).await;
        engine.driver.put_image(actor.tagged_builds["latest"].build_id.as_str(), FakeDriver::default_image());
        actor.id.to_string()
    }

    async fn task(&self, actor: &str) -> String {
        let body = json!({ "actId": actor, "name": self.name(), "input": { "x": 1 } });
        id(&self.server.post("/v2/actor-tasks").json(body).await.expect(201).data())
    }

    /// A build that has ended, and is not the default one.
    async fn build(&self, actor: Option<&String>) -> String {
        let actor = match actor {
            Some(actor) => actor.clone(),
            None => self.actor().await,
        };
        let builds = format!("/v2/actors/{actor}/builds?version=0.0&tag=other&waitForFinish=60");
        let build = self.server.post(&builds).await.expect(201).data();
        assert_eq!(build["status"], "SUCCEEDED", "{build}");
        id(&build)
    }

    /// A run under way; its Actor has a price if it has to.
    async fn run(&self, actor: Option<&String>, is_priced: bool) -> String {
        let actor = match actor {
            Some(actor) => actor.clone(),
            None => self.actor().await,
        };
        if is_priced {
            let event = json!({ "eventTitle": "Page", "eventDescription": "One page", "eventPriceUsd": 0.25 });
            let pricing = json!({ "pricingModel": "PAY_PER_EVENT", "apifyMarginPercentage": 0.2,
                "pricingPerEvent": { "actorChargeEvents": { "page": event } } });
            let body = json!({ "pricingInfos": [pricing] });
            self.server.put(&format!("/v2/actors/{actor}")).json(body).await.expect(200);
        }
        let run = id(&self.server.post(&format!("/v2/actors/{actor}/runs")).await.expect(201).data());
        self.server.running(&run, 1).await;
        run
    }

    async fn webhook(&self) -> String {
        let actor = self.actor().await;
        let body = webhook(&json!({ "actorId": actor }));
        id(&self.server.post("/v2/webhooks").json(body).await.expect(201).data())
    }

    async fn schedule(&self) -> String {
        let actor = self.actor().await;
        let body = schedule(&self.name(), &actor);
        id(&self.server.post("/v2/schedules").json(body).await.expect(201).data())
    }

    /// The query and the body, and the state in which things have to be.
    async fn make_request(&self, operation: &Operation, made: &mut Made) {
        let server = &self.server;
        let target = |path: &str| made.parts.get(path).cloned().unwrap_or_default();
        let json = |body: Value| Some((JSON, Bytes::from(body.to_string())));
        match (operation.method.as_str(), operation.path) {
            ("POST", "/v2/actors") => made.body = json(json!({ "name": self.name(), "versions": [version("0.0")] })),
            ("PUT", "/v2/actors/{actorId}") => made.body = json(json!({ "title": "Title" })),
            ("POST", "/v2/actors/{actorId}/versions") => made.body = json(version("0.8")),
            ("PUT" | "POST", "/v2/actors/{actorId}/versions/{versionNumber}") => {
                made.body = json(json!({ "buildTag": "beta" }));
            }
            ("POST", "/v2/actors/{actorId}/versions/{versionNumber}/env-vars") => {
                made.body = json(json!({ "name": "SIZE", "value": "big", "isSecret": true }));
            }
            ("PUT" | "POST", "/v2/actors/{actorId}/versions/{versionNumber}/env-vars/{envVarName}") => {
                made.body = json(json!({ "name": "COLOUR", "value": "blue" }));
            }
            ("POST", "/v2/actors/{actorId}/builds") => made.query = "version=0.0".to_owned(),
            ("POST", "/v2/actors/{actorId}/validate-input") => made.body = json(json!({ "x": 1 })),
            ("POST", path) if path.ends_with("/resurrect") => server.end(&target("runId"), 0).await,
            ("DELETE", "/v2/actor-runs/{runId}") => server.end(&target("runId"), 0).await,
            ("POST", path) if path.ends_with("/metamorph") => {
                made.query = format!("targetActorId={}", self.actor().await);
                made.body = json(json!({ "y": 2 }));
            }
            ("POST", "/v2/actor-runs/{runId}/charge") => {
                made.body = json(json!({ "eventName": "page", "count": 1 }));
                made.token = Some(server.token_of(&target("runId")).await);
                made.idempotency_key = true;
            }
            ("PUT", "/v2/actor-runs/{runId}") => {
                made.body = json(json!({ "runId": target("runId"), "statusMessage": "Half way" }));
            }
            ("POST", "/v2/actors/{actorId}/runs" | "/v2/actor-tasks/{actorTaskId}/runs") => {
                let hook = json!([{ "eventTypes": ["ACTOR.RUN.SUCCEEDED"], "requestUrl": NOBODY_LISTENS }]);
                made.query = format!("webhooks={}", encoded_webhooks(&hook));
                made.body = json(json!({ "x": 1 }));
            }
            (method, path) if path.contains("/run-sync") => {
                made.ends_run_of = Some(made.path().rsplit_once('/').expect("a path").0.to_owned());
                made.body = (method == "POST").then(|| (JSON, Bytes::from_static(b"{\"x\":1}")));
            }
            ("POST", "/v2/actor-tasks") => {
                made.body = json(json!({ "actId": self.actor().await, "name": self.name(), "input": { "x": 1 },
                    "options": { "memoryMbytes": 256 }, "title": "Title", "description": "Words" }));
            }
            ("PUT", "/v2/actor-tasks/{actorTaskId}") => made.body = json(json!({ "title": "Title" })),
            ("PUT", "/v2/actor-tasks/{actorTaskId}/input") => made.body = json(json!({ "z": 3 })),
            ("POST", "/v2/webhooks") => {
                made.body = json(webhook(&json!({ "actorId": self.actor().await })));
            }
            ("PUT", "/v2/webhooks/{webhookId}") => {
                made.body = json(json!({ "eventTypes": ["ACTOR.RUN.FAILED"], "doNotRetry": true }));
            }
            // Lists with something on them
            ("GET", path) if path.ends_with("/webhooks") => {
                let condition = match (made.parts.get("actorId"), made.parts.get("actorTaskId")) {
                    (Some(actor), _) => json!({ "actorId": actor }),
                    (_, Some(task)) => json!({ "actorTaskId": task }),
                    _ => json!({ "actorId": self.actor().await }),
                };
                server.post("/v2/webhooks").json(webhook(&condition)).await.expect(201);
            }
            ("GET", "/v2/actors/{actorId}/versions/{versionNumber}/env-vars") => {
                let var = json!({ "name": "COLOUR", "value": "red" });
                server.post(&made.path()).json(var).await.expect(201);
            }
            ("GET", "/v2/actors/{actorId}/runs" | "/v2/actor-tasks/{actorTaskId}/runs") => {
                server.post(&made.path()).await.expect(201);
            }
            ("GET", "/v2/actor-runs") => drop(self.run(None, false).await),
            ("GET", "/v2/actor-tasks") => drop(self.task(&self.actor().await).await),
            ("GET", "/v2/schedules") => drop(self.schedule().await),
            ("GET", "/v2/webhook-dispatches") => {
                let webhook = self.webhook().await;
                server.post(&format!("/v2/webhooks/{webhook}/test")).await.expect(201);
            }
            ("GET", "/v2/datasets" | "/v2/key-value-stores" | "/v2/request-queues") => {
                server.post(&format!("{}?name={}", operation.path, self.name())).await.expect(201);
            }
            ("GET", "/v2/webhooks/{webhookId}/dispatches") => {
                server.post(&format!("/v2/webhooks/{}/test", target("webhookId"))).await.expect(201);
            }
            ("POST", "/v2/schedules") => made.body = json(schedule(&self.name(), &self.actor().await)),
            ("PUT", "/v2/schedules/{scheduleId}") => made.body = json(json!({ "title": "Title", "isEnabled": false })),
            ("PUT", "/v2/users/me/limits") => {
                made.body = json(json!({ "maxMonthlyUsageUsd": 100, "dataRetentionDays": 90 }))
            }
            ("POST", "/v2/tools/encode-and-sign") => made.body = json(json!({ "a": 1 })),
            ("POST", "/v2/tools/decode-and-verify") => {
                let signed = server.post("/v2/tools/encode-and-sign").json(json!({ "a": 1 })).await.expect(200).data();
                made.body = json(json!({ "encoded": signed["encoded"] }));
            }
            ("POST" | "PUT", "/v2/browser-info") => made.body = json(json!({ "any": "thing" })),
            ("POST", "/v2/datasets" | "/v2/key-value-stores" | "/v2/request-queues") => {
                made.query = format!("name={}", self.name());
            }
            _ => {}
        }
    }

    /// The same for the operations of storages, whatever their address.
    async fn make_storage_request(&self, kind: StorageKind, prefix: &str, tail: &str, made: &mut Made) {
        let server = &self.server;
        let base = made.path();
        let base = &base[..base.match_indices('/').nth(prefix.matches('/').count()).map_or(base.len(), |(at, _)| at)];
        let json = |body: Value| Some((JSON, Bytes::from(body.to_string())));
        let request =
            json!({ "uniqueKey": "k4", "url": "http://example.com", "method": "GET", "userData": { "a": 1 } });
        match kind {
            StorageKind::Dataset => {
                server.post(&format!("{base}/items")).json(json!([{ "a": 1, "b": "x" }, { "a": 2 }])).await.expect(201);
            }
            StorageKind::KeyValueStore => {
                server.put(&format!("{base}/records/K")).json(json!({ "a": 1 })).await.expect(201);
            }
            StorageKind::RequestQueue => {
                server.post(&format!("{base}/requests")).json(request.clone()).await.expect(201);
            }
        }
        match (kind, made.method.as_str(), tail) {
            (_, "PUT", "") => made.body = json(json!({ "name": self.name() })),
            (StorageKind::Dataset, "POST", "/items") => made.body = json(json!([{ "a": 3 }])),
            (StorageKind::KeyValueStore, "PUT" | "POST", "/records/{recordKey}") => {
                made.body = json(json!({ "a": 2 }));
            }
            (StorageKind::RequestQueue, method, tail) => match (method, tail) {
                ("POST", "/requests") => made.body = json(json!({ "uniqueKey": "k5", "url": "http://example.com/5" })),
                ("POST", "/requests/batch") => {
                    made.body = json(json!([{ "uniqueKey": "k6", "url": "http://example.com/6" }]));
                }
                ("DELETE", "/requests/batch") => made.body = json(json!([{ "uniqueKey": "k4" }])),
                ("PUT", "/requests/{requestId}") => {
                    let mut request = request;
                    request["id"] = json!(REQUEST_ID);
                    request["userData"] = json!({ "a": 2 });
                    made.body = json(request);
                }
                ("POST", "/head/lock") => made.query = "lockSecs=60&clientKey=one".to_owned(),
                ("PUT" | "DELETE", "/requests/{requestId}/lock") => {
                    server.post(&format!("{base}/head/lock?lockSecs=60&clientKey=one")).await.expect(201);
                    made.query = "lockSecs=60&clientKey=one".to_owned();
                }
                ("POST", "/requests/unlock") => made.query = "clientKey=one".to_owned(),
                _ => {}
            },
            _ => {}
        }
    }
}

const JSON: &str = "application/json";
/// A delivery there is refused at once.
const NOBODY_LISTENS: &str = "http://127.0.0.1:9/";
/// Of the unique key `k4`.
const REQUEST_ID: &str = "lAkd1kohlCFLxtF";

/// The kind of storage that a path is about, the address of the storage, and what follows.
pub(super) fn storage_of(path: &'static str) -> Option<(StorageKind, &'static str, &'static str)> {
    let kinds = [
        (StorageKind::Dataset, "/v2/datasets/{datasetId}", "/dataset"),
        (StorageKind::KeyValueStore, "/v2/key-value-stores/{storeId}", "/key-value-store"),
        (StorageKind::RequestQueue, "/v2/request-queues/{queueId}", "/request-queue"),
    ];
    kinds.into_iter().find_map(|(kind, own, singular)| {
        let tail = path.strip_prefix(own).or_else(|| {
            let at = path
                .find(&format!("{singular}/"))
                .or_else(|| path.ends_with(singular).then(|| path.len() - singular.len()))?;
            Some(&path[at + singular.len()..])
        })?;
        Some((kind, &path[..path.len() - tail.len()], tail))
    })
}

fn version(number: &str) -> Value {
    json!({ "versionNumber": number, "sourceType": "SOURCE_FILES", "buildTag": "next",
        "sourceFiles": [{ "name": "Dockerfile", "format": "TEXT", "content": "FROM node:20" }, { "name": "src", "folder": true }],
        "envVars": [{ "name": "A", "value": "1" }, { "name": "B", "value": "2", "isSecret": true }] })
}

fn webhook(condition: &Value) -> Value {
    json!({ "eventTypes": ["ACTOR.RUN.SUCCEEDED"], "condition": condition, "requestUrl": NOBODY_LISTENS,
        "payloadTemplate": "{\"id\": {{resource}}}", "description": "Words" })
}

fn schedule(name: &str, actor: &str) -> Value {
    json!({ "name": name, "isEnabled": true, "isExclusive": true, "cronExpression": "0 0 * * *", "timezone": "Europe/Prague",
        "title": "Title", "description": "Words",
        "actions": [{ "type": "RUN_ACTOR", "actorId": actor, "runInput": { "body": "{}", "contentType": JSON },
            "runOptions": { "memoryMbytes": 256 } }] })
}

/// Webhooks as a start takes them.
fn encoded_webhooks(value: &Value) -> String {
    let text = base64::prelude::BASE64_STANDARD.encode(value.to_string());
    text.replace('+', "%2B").replace('=', "%3D")
}
