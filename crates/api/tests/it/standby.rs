//! Standby (section 26 of the contract). Web servers are real ones, so these tests run in real time.

use std::sync::Arc;

use axum::body::Body;
use drivers::RunSpec;
use drivers::fake::Call;
use engine::StandbyOf;
use http::Response;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::harness::TestServer;
use crate::platform::{ACTOR, run_id, secs};
use crate::sockets::{echo, serve, talk};

const STANDBY: &str = "/x-standby/ada~my-actor";

/// A server whose `my-actor` is on Standby with these settings besides.
async fn given_standby(settings: Value) -> TestServer {
    let server = TestServer::start().await;
    switch(&server, settings).await;
    server
}

async fn switch(server: &TestServer, mut settings: Value) -> Value {
    if settings.get("isEnabled").is_none() {
        settings["isEnabled"] = json!(true);
    }
    server.put(ACTOR).json(json!({ "actorStandby": settings })).await.expect(200).data()
}

/// Waits for the start of that many runs, and gives the last of them a web server.
async fn given_server(server: &TestServer, number: usize, address: std::net::SocketAddr) -> String {
    let spec = nth_start(server, number).await;
    let port = spec.env["ACTOR_WEB_SERVER_PORT"].parse().expect("a port");
    server.engine.driver.put_address(&spec.job, port, address);
    spec.job.id
}

async fn nth_start(server: &TestServer, number: usize) -> RunSpec {
    loop {
        let calls = server.engine.driver.calls();
        let mut starts = calls.into_iter().filter_map(|call| match call {
            Call::StartRun(spec) => Some(*spec),
            _ => None,
        });
        if let Some(spec) = starts.nth(number - 1) {
            return spec;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

/// How many requests each run of `my-actor` is answering.
fn load(server: &TestServer) -> Vec<u64> {
    let of = StandbyOf { actor: server.engine.actor.clone(), task: None };
    let runs = server.engine.engine.standby_runs(&server.engine.ada.user.id, &of);
    runs.into_iter().map(|(_, in_flight)| in_flight).collect()
}

async fn until_load(server: &TestServer, wanted: &[u64]) {
    while load(server) != wanted {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn the_first_request_starts_a_run_and_is_answered_by_it() {
    let server = TestServer::start().await;
    let before = server.get(ACTOR).await.expect(200).data();
    assert_eq!(before["standbyUrl"], Value::Null, "ACT-3");
    let actor = switch(&server, json!({ "memoryMbytes": 256 })).await;
    assert_eq!(actor["standbyUrl"], "http://localhost:3333/x-standby/ada~my-actor");

    let path = format!("{STANDBY}/a%2Fb//c/?x=1&y");
    let request = server.post(&path).header("host", "localhost:3333").header("x-forwarded-for", "10.0.0.1").body("hi");
    let (answer, id) = tokio::join!(request, given_server(&server, 1, echo().await));

    let seen = answer.expect(200).text();
    assert!(seen.starts_with("POST /a%2Fb//c/?x=1&y\n") && seen.ends_with("hi"), "{seen}");
    assert!(!seen.contains("authorization") && !seen.contains(&server.engine.token), "the token is ours: {seen}");
    for line in [
        "host: localhost:3333",
        "x-forwarded-for: 10.0.0.1, 127.0.0.1",
        "x-forwarded-host: localhost:3333",
        "x-forwarded-proto: http",
        "x-forwarded-prefix: /x-standby/ada~my-actor",
    ] {
        assert!(seen.contains(&format!("{line}\n")), "{line}: {seen}");
    }
    let run = server.get(&format!("/v2/actor-runs/{id}")).await.expect(200).data();
    assert_eq!(run["meta"], json!({ "origin": "STANDBY" }));
    assert_eq!((&run["options"]["timeoutSecs"], &run["options"]["memoryMbytes"]), (&json!(0), &json!(256)), "STB-5");
    assert_eq!(run["isContainerServerReady"], true);
    let input = format!("/v2/actor-runs/{id}/key-value-store/records/INPUT");
    server.get(&input).await.expect_error(404, "record-not-found");
    let env = nth_start(&server, 1).await.env;
    assert_eq!(
        (&*env["ACTOR_STANDBY_URL"], &*env["APIFY_META_ORIGIN"]),
        (actor["standbyUrl"].as_str().unwrap(), "STANDBY")
    );
    assert_eq!(env["ACTOR_STANDBY_PORT"], env["ACTOR_WEB_SERVER_PORT"]);
}

#[tokio::test]
async fn a_host_name_leads_to_the_same_place() {
    let server = given_standby(json!({})).await;
    let ask = |host: &'static str| server.get("/v2/datasets?token=").header("host", host);

    let (answer, _) = tokio::join!(ask("ada--my-actor.localhost:3333"), given_server(&server, 1, echo().await));
    let seen = answer.expect(200).text();

    assert!(seen.starts_with("GET /v2/datasets?token=\n"), "not the server's own: {seen}");
    assert!(seen.contains("host: ada--my-actor.localhost:3333\n") && !seen.contains("prefix"), "{seen}");
    let page = server.get("/").header("host", "ada--my-actor.localhost").header("sec-fetch-mode", "navigate").await;
    assert_eq!(page.expect(200).header("content-security-policy"), "", "a page of its own may do what it likes");
}

#[tokio::test]
async fn a_browser_is_sent_to_a_host_of_its_own() {
    let server = given_standby(json!({})).await;
    let open = |host: &'static str| {
        server.get(&format!("{STANDBY}/a?b&token=x")).header("host", host).header("sec-fetch-mode", "navigate")
    };

    let moved = open("127.0.0.1:3333").await.expect(307);
    assert_eq!(moved.header("location"), "http://ada--my-actor.localhost:3333/a?b&token=x");
    let (answer, _) = tokio::join!(open("10.0.0.1"), given_server(&server, 1, echo().await));
    let policy = answer.expect(200).header("content-security-policy").to_owned();
    assert!(policy.starts_with("sandbox ") && !policy.contains("same-origin"), "{policy}");
}

#[tokio::test]
async fn callers_are_told_what_is_missing() {
    let server = TestServer::start().await;
    server.get(STANDBY).await.expect_error(400, "standby-not-enabled");
    switch(&server, json!({})).await;
    let other = server.given_user("bob").await;

    server.get(STANDBY).anonymous().await.expect_error(401, "token-not-provided");
    server.get(STANDBY).token("nobody's").await.expect_error(401, "user-or-token-not-found");
    server.get(&format!("{STANDBY}?token=x")).anonymous().await.expect_error(401, "user-or-token-not-found");
    server.get(STANDBY).token(&other).await.expect_error(404, "record-not-found");
    server.get("/x-standby/ada~no-such").await.expect_error(404, "record-not-found");
    server.get("/x-standby/").await.expect_error(404, "record-not-found");
    server.get("/x-standby-task/ada~no-such").await.expect_error(404, "record-not-found");
    server.get("/x-standby/ada~").await.expect_error(400, "invalid-request");
    switch(&server, json!({ "build": "beta" })).await;
    server.get(STANDBY).await.expect_error(404, "record-not-found");
    assert!(server.engine.driver.calls().is_empty(), "nothing was started");
}

#[tokio::test]
async fn a_browsers_question_needs_no_token() {
    let server = given_standby(json!({})).await;
    let ask = server.ask(http::Method::OPTIONS, STANDBY).anonymous();

    let answer = ask
        .header("access-control-request-method", "PATCH")
        .header("access-control-request-headers", "authorization, x-mine")
        .await
        .expect(204);

    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert_eq!(answer.header("access-control-allow-methods"), "PATCH");
    assert_eq!(answer.header("access-control-allow-headers"), "authorization, x-mine");
}

#[tokio::test]
async fn each_user_of_a_public_actor_has_runs_of_their_own() {
    let server = given_standby(json!({})).await;
    server.given_public_actor().await;
    let bob = server.given_user("bob").await;
    let by_token = |token: &str| server.get(&format!("{STANDBY}?token={token}")).anonymous();

    let (answer, adas) = tokio::join!(server.get(STANDBY), given_server(&server, 1, echo().await));
    answer.expect(200);
    let (answer, bobs) = tokio::join!(by_token(&bob), given_server(&server, 2, echo().await));

    answer.expect(200);
    assert_ne!(adas, bobs, "STB-8");
    let run = server.engine.stored(&run_id(&bobs)).await;
    assert_eq!(server.engine.engine.store().users.find("bob").await.unwrap().unwrap().id, run.user_id);
}

#[tokio::test]
async fn more_requests_than_a_run_takes_start_another() {
    let server = given_standby(json!({ "desiredRequestsPerActorRun": 1, "maxRequestsPerActorRun": 1 })).await;
    let gate = Arc::new(Semaphore::new(0));
    let held = |gate: Arc<Semaphore>| {
        serve(move |request, _| {
            let gate = gate.clone();
            async move {
                if request.uri().path() != "/" {
                    gate.acquire().await.expect("open").forget();
                }
                Response::new(Body::from("done"))
            }
        })
    };
    let slow = format!("{STANDBY}/slow");

    let ended = tokio::join!(server.get(&slow), server.get(&slow), async {
        given_server(&server, 1, held(gate.clone()).await).await;
        given_server(&server, 2, held(gate.clone()).await).await;
        until_load(&server, &[1, 1]).await;
        gate.add_permits(2);
    });

    assert_eq!((ended.0.expect(200).text(), ended.1.expect(200).text()), ("done".into(), "done".into()));
    assert_eq!(load(&server), [0, 0]);
}

#[tokio::test]
async fn an_answer_is_under_way_until_its_last_byte() {
    let server = given_standby(json!({})).await;
    let (send, receive) = tokio::sync::mpsc::channel::<Result<&'static str, std::io::Error>>(1);
    let receive = Arc::new(parking_lot::Mutex::new(Some(receive)));
    let address = serve(move |request, _| {
        let stream = (request.uri().path() == "/events").then(|| receive.lock().take()).flatten();
        async move {
            match stream {
                Some(events) => Response::new(Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(events))),
                None => Response::new(Body::empty()),
            }
        }
    })
    .await;
    let request = http::Request::get(format!("{STANDBY}/events?token={}", server.engine.token));
    let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    let service = server.service();
    let (response, _) =
        tokio::join!(service.call(request.body(Body::empty()).unwrap(), peer), given_server(&server, 1, address));
    let mut body = response.into_body();

    send.send(Ok("data: 1\n\n")).await.unwrap();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "data: 1\n\n", "at once");
    assert_eq!(load(&server), [1]);
    drop(send);
    assert!(body.frame().await.is_none());
    drop(body);

    assert_eq!(load(&server), [0]);
}

#[tokio::test]
async fn a_client_that_hangs_up_leaves_its_place() {
    let server = given_standby(json!({})).await;
    let address = serve(|request, _| async move {
        if request.uri().path() != "/" {
            std::future::pending::<()>().await;
        }
        Response::new(Body::empty())
    })
    .await;
    let given = given_server(&server, 1, address);
    let port = server.listen().await;
    let mut client = TcpStream::connect(port).await.unwrap();
    let head =
        format!("GET {STANDBY}/slow HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {}\r\n\r\n", server.engine.token);
    client.write_all(head.as_bytes()).await.unwrap();
    given.await;
    until_load(&server, &[1]).await;

    drop(client);

    until_load(&server, &[0]).await;
}

#[tokio::test]
async fn a_websocket_counts_as_a_request_until_it_is_closed() {
    let server = given_standby(json!({})).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let head = talk(&mut stream, "", Some("\r\n\r\n")).await;
            if !head.starts_with("GET /ws ") {
                stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
                continue;
            }
            let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
            stream.write_all(switch.as_bytes()).await.unwrap();
            let mut bytes = [0; 4];
            stream.read_exact(&mut bytes).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
            // Until the other side has said all.
            let _ = stream.read(&mut bytes).await;
        }
    });
    let mut client = TcpStream::connect(server.listen().await).await.unwrap();
    let head = format!(
        "GET {STANDBY}/ws?token={} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        server.engine.token
    );

    let (answer, _) = tokio::join!(talk(&mut client, &head, Some("\r\n\r\n")), given_server(&server, 1, address));
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    assert_eq!(talk(&mut client, "ping", Some("ping")).await, "ping");
    assert_eq!(load(&server), [1]);
    drop(client);

    until_load(&server, &[0]).await;
}

#[tokio::test]
async fn a_run_that_ends_is_told() {
    let server = given_standby(json!({})).await;
    let (early, id) = tokio::join!(server.get(STANDBY), async {
        let id = nth_start(&server, 1).await.job.id;
        server.running(&id, 1).await;
        server.end(&id, 1).await;
        id
    });
    let told = early.expect_error(503, "standby-run-finished");
    assert!(told.contains(&id), "{told}");

    // This one answers the probe, and hangs up on everybody else, as one that crashes does.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let head = talk(&mut stream, "", Some("\r\n\r\n")).await;
            if head.to_lowercase().contains("readiness-probe") {
                stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            }
        }
    });
    let (dying, id) = tokio::join!(server.get(STANDBY), given_server(&server, 2, address));

    let told = dying.expect_error(502, "standby-bad-gateway");
    assert!(told.contains(&id), "{told}");
    assert_eq!(load(&server), [0]);
}

#[tokio::test]
async fn a_run_gets_its_input_if_standby_says_so() {
    let schema = r#"{"title":"I","type":"object","schemaVersion":1,"properties":{"a":{"title":"A","type":"string","description":"d","editor":"textfield","default":"x"}}}"#;
    let server = TestServer::start().await;
    let files = [
        (".actor/actor.json", r#"{"actorSpecification":1,"name":"a","version":"0.1"}"#),
        (".actor/INPUT_SCHEMA.json", schema),
    ];
    let build = server.engine.build("0.1", &files).await;
    server.engine.built(&build.id).await;
    switch(&server, json!({ "shouldPassActorInput": true })).await;

    let (answer, id) = tokio::join!(server.get(STANDBY), given_server(&server, 1, echo().await));

    answer.expect(200);
    let input = server.get(&format!("/v2/actor-runs/{id}/key-value-store/records/INPUT")).await.expect(200).json();
    assert_eq!(input, json!({ "a": "x" }), "STB-5");
}

#[tokio::test]
async fn only_standby_starts_runs_of_that_origin() {
    let server = TestServer::start().await;

    let run =
        server.post(&format!("{ACTOR}/runs")).header("x-apify-request-origin", "STANDBY").await.expect(201).data();

    assert_eq!(run["meta"]["origin"], "API");
    assert!(run.get("isContainerServerReady").is_none());
}

#[tokio::test(start_paused = true)]
async fn requests_do_not_wait_for_ever() {
    let server = given_standby(json!({})).await;
    // Nobody gives the run a web server, and the port that it was told is closed.
    let waiting = server.get(STANDBY);

    let told = tokio::time::timeout(secs(600), waiting).await.expect("an end").expect(504).json();

    assert_eq!(told["error"]["type"], "standby-run-not-ready");
}

#[tokio::test]
async fn a_task_has_a_standby_of_its_own() {
    let server = given_standby(json!({ "memoryMbytes": 512, "maxRequestsPerActorRun": 9 })).await;
    let body = json!({
        "actId": "ada~my-actor", "name": "my-task", "input": { "a": 1 },
        "actorStandby": { "memoryMbytes": 256, "shouldPassActorInput": true },
    });
    let task = server.post("/v2/actor-tasks").json(body).await.expect(201).data();
    assert_eq!(task["standbyUrl"], "http://localhost:3333/x-standby-task/ada~my-task");
    assert_eq!(task["actorStandby"], json!({ "memoryMbytes": 256, "shouldPassActorInput": true }), "as given");

    let path = "/x-standby-task/ada~my-task/a?b";
    let (answer, run) = tokio::join!(server.get(path), given_server(&server, 1, echo().await));
    let seen = answer.expect(200).text();
    assert!(
        seen.starts_with("GET /a?b\n") && seen.contains("x-forwarded-prefix: /x-standby-task/ada~my-task\n"),
        "{seen}"
    );
    let shown = server.get(&format!("/v2/actor-runs/{run}")).await.expect(200).data();
    assert_eq!((&shown["actorTaskId"], &shown["options"]["memoryMbytes"]), (&task["id"], &json!(256)));
    let input = format!("/v2/actor-runs/{run}/key-value-store/records/INPUT");
    assert_eq!(server.get(&input).await.expect(200).json(), json!({ "a": 1 }));
    let by_host = server.get("/c").header("host", "ada---my-task.localhost").await.expect(200).text();
    assert!(by_host.starts_with("GET /c\n"), "the same run: {by_host}");
    assert_eq!(load(&server), [0_u64; 0], "the Actor's own Standby has no run");

    let bob = server.given_user("bob").await;
    server.get(path).token(&bob).await.expect_error(404, "record-not-found");
    let off = json!({ "actorStandby": { "isEnabled": false } });
    let off = server.put("/v2/actor-tasks/~my-task").json(off).await.expect(200).data();
    assert_eq!(off["standbyUrl"], Value::Null);
    server.get(path).await.expect_error(400, "standby-not-enabled");
    let strict = switch(&server, json!({ "disableStandbyFieldsOverride": true })).await;
    assert_eq!(strict["actorStandby"]["disableStandbyFieldsOverride"], true);
    let task = server.get("/v2/actor-tasks/~my-task").await.expect(200).data();
    assert_eq!(task["standbyUrl"], "http://localhost:3333/x-standby-task/ada~my-task", "the Actor has the last word");
}

#[tokio::test]
async fn a_request_that_finds_its_run_dead_goes_to_the_next() {
    let server = given_standby(json!({})).await;
    // Answers the probe and one request, each on a connection of its own, and is gone.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let dying = tokio::spawn(async move {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = [0; 4096];
            let length = stream.read(&mut request).await.expect("a request");
            assert!(length > 0, "a request");
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi";
            stream.write_all(answer).await.expect("an open connection");
        }
    });
    let (answer, first) = tokio::join!(server.get(STANDBY), given_server(&server, 1, address));
    assert_eq!(answer.expect(200).text(), "hi");
    dying.await.expect("an end");

    let next = async {
        // It has been given the request, and is doubted since.
        while server.engine.engine.is_web_server_ready(&run_id(&first)) {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        server.engine.exit(&run_id(&first), 1);
        given_server(&server, 2, echo().await).await
    };
    let (answer, second) = tokio::join!(server.post(&format!("{STANDBY}/x")).body("the body"), next);

    let seen = answer.expect(200).text();
    assert!(seen.starts_with("POST /x\n") && seen.ends_with("the body"), "{seen}");
    assert!(seen.contains("content-length: 8\n"), "{seen}");
    assert_ne!(first, second);
}
