//! The forward proxy (`USR-9`, `USR-10`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::net::TcpStream;

use crate::harness::TestServer;
use crate::sockets::{echo, exchange, talk};

fn authorization(server: &TestServer, name: &str) -> String {
    let password = &server.engine.ada.user.proxy_password;
    format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(format!("{name}:{password}")))
}

#[tokio::test]
async fn a_plain_request_is_passed_on_without_what_is_for_the_proxy() {
    let server = TestServer::start().await;
    let (proxy, target) = (server.listen().await, echo().await);
    let auth = authorization(&server, "groups-A+B,session-x_1,country-US");

    let request = format!(
        "POST http://{target}/a%20b?c=d HTTP/1.1\r\nHost: wrong\r\n{auth}Proxy-Connection: keep-alive\r\nX-Mine: 1\r\n\
         Authorization: Bearer target\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
    );
    let answer = exchange(proxy, &request).await;

    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("POST /a%20b?c=d\n") && answer.ends_with("hello"), "{answer}");
    assert!(answer.contains(&format!("host: {target}\n")) && answer.contains("x-mine: 1\n"), "{answer}");
    assert!(answer.contains("authorization: Bearer target\n"), "{answer}");
    assert!(answer.contains("x-echo: yes") && !answer.contains("proxy-"), "{answer}");
    assert!(!answer.contains("x-private: 1") && !answer.contains("x-request-id"), "{answer}");
}

#[tokio::test]
async fn a_tunnel_carries_bytes_both_ways() {
    let server = TestServer::start().await;
    let (proxy, target) = (server.listen().await, echo().await);
    let mut stream = TcpStream::connect(proxy).await.unwrap();

    let auth = authorization(&server, "auto");
    let opened =
        talk(&mut stream, &format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{auth}\r\n"), Some("\r\n\r\n"))
            .await;
    assert!(opened.starts_with("HTTP/1.1 200"), "{opened}");
    let answer = talk(&mut stream, "GET /in-the-tunnel HTTP/1.1\r\nHost: x\r\n\r\n", Some("host: x\n")).await;
    assert!(answer.contains("GET /in-the-tunnel\nhost: x\n"), "{answer}");
}

#[tokio::test]
async fn without_the_right_name_and_password_nothing_passes() {
    let server = TestServer::start().await;
    let (proxy, target) = (server.listen().await, echo().await);
    let wrong = format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode("auto:wrong"));

    for auth in
        [String::new(), wrong.clone(), authorization(&server, "root"), "Proxy-Authorization: Basic ?\r\n".to_owned()]
    {
        for line in [format!("GET http://{target}/ HTTP/1.1"), format!("CONNECT {target} HTTP/1.1")] {
            let answer = exchange(proxy, &format!("{line}\r\nHost: x\r\n{auth}Connection: close\r\n\r\n")).await;
            assert!(answer.starts_with("HTTP/1.1 407"), "{line}: {answer}");
            assert!(answer.contains("proxy-authenticate: Basic"), "{answer}");
        }
    }
    let status =
        format!("GET http://proxy.apify.com/?format=json HTTP/1.1\r\nHost: x\r\n{wrong}Connection: close\r\n\r\n");
    let answer = exchange(proxy, &status).await;
    assert!(answer.starts_with("HTTP/1.1 407") && answer.contains("\"connectionError\":\"Invalid"), "{answer}");
}

#[tokio::test]
async fn the_status_page_is_answered_by_the_proxy_itself() {
    let server = TestServer::start().await;
    let proxy = server.listen().await;
    let auth = authorization(&server, "auto");
    let expected = r#"{"connected":true,"connectionError":null,"isManInTheMiddle":false}"#;

    for host in ["proxy.playhouse.internal", "proxy.apify.com"] {
        let request =
            format!("GET http://{host}/?format=json HTTP/1.1\r\nHost: {host}\r\n{auth}Connection: close\r\n\r\n");
        let answer = exchange(proxy, &request).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(expected), "{answer}");
    }
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    let host = "proxy.playhouse.internal";
    talk(&mut stream, &format!("CONNECT {host}:80 HTTP/1.1\r\nHost: {host}\r\n{auth}\r\n"), Some("\r\n\r\n")).await;
    let answer = talk(&mut stream, &format!("GET /?format=json HTTP/1.1\r\nHost: {host}\r\n\r\n"), Some("}")).await;
    assert!(answer.ends_with(expected), "{answer}");
}

#[tokio::test]
async fn metadata_addresses_and_dead_hosts_are_refused_with_a_reason() {
    let server = TestServer::start().await;
    let proxy = server.listen().await;
    let auth = authorization(&server, "auto");
    let closed = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };

    for (target, status, word) in [
        ("169.254.169.254", "403", "not allowed"),
        ("[::ffff:169.254.169.254]", "403", "not allowed"),
        ("[fe80::1]", "403", "not allowed"),
        ("nothing.invalid", "502", "nothing.invalid"),
        (&closed.to_string(), "502", "cannot connect"),
    ] {
        let host =
            if target.contains(':') && !target.ends_with(']') { target.to_owned() } else { format!("{target}:80") };
        for line in [format!("GET http://{target}/ HTTP/1.1"), format!("CONNECT {host} HTTP/1.1")] {
            let answer = exchange(proxy, &format!("{line}\r\nHost: x\r\n{auth}Connection: close\r\n\r\n")).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(word), "{line}: {answer}");
        }
    }
    for line in ["GET https://example.com/ HTTP/1.1", "CONNECT example.com HTTP/1.1"] {
        let answer = exchange(proxy, &format!("{line}\r\nHost: x\r\n{auth}Connection: close\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{line}: {answer}");
    }
}

#[tokio::test]
async fn the_servers_own_address_is_no_business_of_the_proxy() {
    let server = TestServer::start().await;
    let address = server.listen().await;

    let line = "GET http://localhost:3333/v2/browser-info?skipHeaders=1 HTTP/1.1";
    let answer = exchange(address, &format!("{line}\r\nHost: localhost:3333\r\nConnection: close\r\n\r\n")).await;

    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"clientIp\""), "{answer}");
}
