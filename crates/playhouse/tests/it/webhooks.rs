//! `kill -9` between an event and its delivery, and during deliveries: what was acknowledged is told of at the next start.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use hyper::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::actors::{unbuilt_actor, until};
use crate::server::Server;

const ROUNDS: usize = 4;
const EVENTS: usize = 5;

/// A target that remembers what it heard, and answers or does not.
#[derive(Clone, Default)]
struct Sink {
    heard: Arc<Mutex<Vec<(String, Value)>>>,
    answers: Arc<AtomicBool>,
}

impl Sink {
    async fn start() -> (Self, String) {
        let sink = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let served = sink.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let sink = served.clone();
                tokio::spawn(async move { sink.talk(stream).await });
            }
        });
        (sink, url)
    }

    async fn talk(self, mut stream: TcpStream) {
        let (mut received, mut piece) = (Vec::new(), vec![0; 1 << 16]);
        while let Ok(count @ 1..) = stream.read(&mut piece).await {
            received.extend_from_slice(&piece[..count]);
            let text = String::from_utf8_lossy(&received).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let Ok(payload) = serde_json::from_str(body) else { continue };
            let dispatch = head.lines().find_map(|line| line.strip_prefix("x-apify-webhook-dispatch-id: ")).unwrap();
            self.heard.lock().unwrap().push((dispatch.to_owned(), payload));
            received.clear();
            if !self.answers.load(Ordering::Relaxed) {
                // Until the server dies.
                while let Ok(1..) = stream.read(&mut piece).await {}
                return;
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        }
    }

    fn heard(&self) -> Vec<(String, Value)> {
        self.heard.lock().unwrap().clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_were_acknowledged_are_told_of_though_the_server_dies() {
    let directory = tempfile::tempdir().unwrap();
    let data_dir = directory.path().join("data");
    let (sink, url) = Sink::start().await;
    let mut server = Server::start(&data_dir);
    let actor = unbuilt_actor(&server, "told-of", "CMD [\"true\"]\n", "").await;
    let webhook =
        json!({ "eventTypes": ["ACTOR.BUILD.CREATED"], "condition": { "actorId": actor }, "requestUrl": url });
    server.send(Method::POST, "webhooks", webhook.to_string()).await;

    let (mut builds, mut heard) = (Vec::new(), 0);
    for round in 0..ROUNDS {
        for _ in 0..EVENTS {
            let build = server.send(Method::POST, &format!("actors/{actor}/builds?version=0.0"), "").await;
            builds.push(build["data"]["id"].as_str().unwrap().to_owned());
        }
        if round % 2 == 1 {
            // In the middle of a delivery, for nobody answers.
            until("something was sent", async || sink.heard().len() > heard).await;
        }
        server.kill();
        heard = sink.heard().len();
        server = Server::start(&data_dir);
    }
    sink.answers.store(true, Ordering::Relaxed);
    server.kill();
    let server = Server::start(&data_dir);
    until("all dispatches have ended", async || {
        let page = server.get("webhook-dispatches").await;
        page["data"]["items"].as_array().unwrap().iter().all(|dispatch| dispatch["status"] == "SUCCEEDED")
    })
    .await;

    let page = server.get("webhook-dispatches").await;
    assert_eq!(page["data"]["total"], builds.len());
    let mut told: BTreeMap<String, String> = BTreeMap::new();
    for (dispatch, payload) in sink.heard() {
        let build = payload["resource"]["id"].as_str().unwrap().to_owned();
        assert_eq!(payload["resource"]["status"], "READY", "as it was at the event, whenever that is told");
        let known = told.entry(dispatch).or_insert_with(|| build.clone());
        assert_eq!(*known, build, "a dispatch tells of one event, however often");
    }
    let mut told: Vec<String> = told.into_values().collect();
    told.sort();
    builds.sort();
    assert_eq!(told, builds, "each event is one dispatch");
    assert!(sink.heard().len() > builds.len(), "what was under way is sent again");
}
