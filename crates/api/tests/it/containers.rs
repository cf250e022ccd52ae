//! The web servers of runs (section 26 of the contract).

use drivers::{Job, JobKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::TestServer;
use crate::platform::run_id;
use crate::sockets::{echo, exchange, talk};

/// Starts a run whose web server is at `address`; returns the path of its `containerUrl`.
async fn given_web_server(server: &TestServer, run: &str, address: std::net::SocketAddr) -> String {
    let stored = server.engine.stored(&run_id(run)).await;
    let spec = server.engine.driver.started(run).await;
    let port: u16 = spec.env["ACTOR_WEB_SERVER_PORT"].parse().expect("an address");
    let job = Job { kind: JobKind::Run, id: run.to_owned(), life: stored.started_life };
    server.engine.driver.put_address(&job, port, address);
    let url = server.get(&format!("/v2/actor-runs/{run}")).await.expect(200).data()["containerUrl"].clone();
    let url: http::Uri = url.as_str().expect("an address").parse().expect("an address");
    url.path().to_owned()
}

#[tokio::test]
async fn requests_reach_the_runs_server_as_they_are_but_for_the_prefix() {
    let server = TestServer::start().await;
    let run = server.given_running().await;
    let path = given_web_server(&server, &run, echo().await).await;
    let address = server.listen().await;

    let request = format!(
        "PATCH {path}/a%2Fb//c/?token=x&method=GET HTTP/1.1\r\nHost: my.host\r\nAuthorization: mine\r\n\
         Content-Encoding: zstd\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"
    );
    let answer = exchange(address, &request).await;
    assert!(answer.contains("PATCH /a%2Fb//c/?token=x&method=GET\n") && answer.ends_with("hi"), "{answer}");
    assert!(answer.contains("host: my.host\n") && answer.contains("authorization: mine\n"), "{answer}");
    assert!(!answer.contains("access-control") && !answer.contains("x-request-id"), "{answer}");
    let answer = exchange(address, &format!("OPTIONS {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")).await;
    assert!(answer.contains("OPTIONS /\n"), "{answer}");

    server.end(&run, 0).await;
    let answer = exchange(address, &format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 404") && answer.contains("finished"), "{answer}");
}

#[tokio::test]
async fn a_websocket_passes_through() {
    let server = TestServer::start().await;
    let run = server.given_running().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let path = given_web_server(&server, &run, listener.local_addr().unwrap()).await;
    let address = server.listen().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = talk(&mut stream, "", Some("\r\n\r\n")).await;
        assert!(head.starts_with("GET /ws HTTP/1.1") && head.to_lowercase().contains("upgrade: websocket"), "{head}");
        let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        stream.write_all(switch.as_bytes()).await.unwrap();
        let mut bytes = [0; 4];
        stream.read_exact(&mut bytes).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
    });

    let mut stream = TcpStream::connect(address).await.unwrap();
    let ask =
        format!("GET {path}/ws HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n");
    let head = talk(&mut stream, &ask, Some("\r\n\r\n")).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert_eq!(talk(&mut stream, "ping", Some("ping")).await, "ping");
}

#[tokio::test]
async fn where_nobody_listens_the_answer_says_so() {
    let server = TestServer::start().await;
    let run = server.given_running().await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let path = given_web_server(&server, &run, closed).await;

    let text = server.get(&path).anonymous().await.expect(502).text();
    assert!(text.contains("no web server"), "{text}");
    for unknown in ["/x-run/nothing/a", "/x-run/", "/x-run/nothing"] {
        server.get(unknown).anonymous().await.expect(404);
    }
}
