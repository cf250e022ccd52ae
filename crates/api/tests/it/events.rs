//! The events websocket (section 25 of the contract).

use std::net::SocketAddr;

use futures::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest as _};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::harness::TestServer;
use crate::platform::run_id;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Connects as an Actor does; the port is the test's.
async fn connect(server: &TestServer, address: SocketAddr, run: &str) -> Socket {
    at(address, &path_of(server, run).await).await
}

/// The path that a live run is told in its environment.
async fn path_of(server: &TestServer, run: &str) -> String {
    let url = server.engine.driver.started(run).await.env["ACTOR_EVENTS_WEBSOCKET_URL"].clone();
    let url: http::Uri = url.parse().expect("valid");
    url.path().to_owned()
}

async fn at(address: SocketAddr, path: &str) -> Socket {
    let request = format!("ws://{address}{path}").into_client_request().expect("valid");
    connect_async(request).await.expect("every connection is accepted").0
}

/// The next event that is no measurement.
async fn next(socket: &mut Socket) -> Value {
    loop {
        match socket.next().await.expect("an event").expect("a connection") {
            Message::Text(text) => {
                let event: Value = serde_json::from_str(&text).expect("valid");
                if event["name"] != "systemInfo" {
                    return event;
                }
            }
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn close_code(socket: &mut Socket) -> u16 {
    loop {
        match socket.next().await.expect("a farewell").expect("a connection") {
            Message::Close(Some(CloseFrame { code, .. })) => return code.into(),
            Message::Text(_) | Message::Ping(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_run_is_told_of_its_abort_and_let_go_at_its_end() {
    let server = TestServer::start().await;
    let address = server.listen().await;
    let run = server.given_running().await;
    let path = path_of(&server, &run).await;
    let mut parent = at(address, &path).await;
    let mut child = at(address, &path).await;
    parent.send(Message::Ping("hello".into())).await.unwrap();
    assert_eq!(parent.next().await.unwrap().unwrap(), Message::Pong("hello".into()));

    server.post(&format!("/v2/actor-runs/{run}/abort?gracefully=1")).await.expect(200);
    for socket in [&mut parent, &mut child] {
        let aborting = next(socket).await;
        assert_eq!((&aborting["name"], aborting.get("data")), (&Value::from("aborting"), None));
        let persist = next(socket).await;
        assert_eq!(
            (&persist["name"], &persist["data"]["isMigrating"]),
            (&Value::from("persistState"), &Value::from(false))
        );
        assert!(persist["createdAt"].as_str().unwrap().ends_with('Z'));
    }
    server.engine.exit(&run_id(&run), 0);
    for socket in [&mut parent, &mut child] {
        assert_eq!(close_code(socket).await, 1000);
    }
    assert_eq!(close_code(&mut at(address, &path).await).await, 1008, "a finished run has no events");
}

#[tokio::test]
async fn measurements_have_all_fields_that_python_needs() {
    let server = TestServer::start().await;
    let address = server.listen().await;
    let run = server.given_running().await;
    let usage = drivers::Usage { memory_bytes: 1 << 20, ..drivers::Usage::default() };
    server.engine.driver.set_usage(&run, usage);
    let mut socket = connect(&server, address, &run).await;

    let event = loop {
        if let Message::Text(text) = socket.next().await.unwrap().unwrap() {
            break serde_json::from_str::<Value>(&text).unwrap();
        }
    };

    assert_eq!(event["name"], "systemInfo");
    let fields = ["memAvgBytes", "memCurrentBytes", "memMaxBytes", "cpuAvgUsage", "cpuMaxUsage", "cpuCurrentUsage"];
    for field in fields {
        assert!(event["data"][field].is_number(), "{field}");
    }
    assert!(event["data"]["isCpuOverloaded"].is_boolean() && event["data"]["createdAt"].is_string());
    assert_eq!(event["data"]["memMaxBytes"], 1024_u64 << 20, "the limit, not the peak");
}

#[tokio::test]
async fn wrong_addresses_are_accepted_and_then_closed_for_good() {
    let server = TestServer::start().await;
    let address = server.listen().await;
    let run = server.given_running().await;

    for path in
        [format!("/x-events/{run}/wrong"), "/x-events/aB3aB3aB3aB3aB3aB/x".to_owned(), "/x-events/x/y".to_owned()]
    {
        assert_eq!(close_code(&mut at(address, &path).await).await, 1008, "{path}");
    }
    assert!(server.get(&format!("/x-events/{run}/x")).await.status.is_client_error(), "not a websocket");
}
