//! Data directories of earlier versions: every later version must open them and find everything.

use std::path::Path;
use std::process::Command;

use hyper::Method;

use crate::server::Server;

/// Unpacks a frozen data directory and starts the server on it.
fn start_on(fixture: &str, directory: &Path) -> Server {
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures").join(fixture);
    let unpacked = Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(directory).status().unwrap();
    assert!(unpacked.success());
    Server::start(&directory.join("data"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_data_directory_opens_with_everything_in_it() {
    let directory = tempfile::tempdir().unwrap();

    let server = start_on("data-format-1.tar.gz", directory.path());

    for (id, status, exit_code) in [
        ("YX9vHsJM5wzRjAwpo", "SUCCEEDED", Some(0)),
        ("NwIDYtxva2WhSo4OV", "FAILED", Some(7)),
        ("qe3KyLqc0PAqbueVR", "TIMED-OUT", None),
        ("o9QQ1jCKJKj8TGXCA", "ABORTED", None),
    ] {
        let run = &server.get(&format!("actor-runs/{id}")).await["data"];
        assert_eq!(run["status"], status);
        if let Some(code) = exit_code {
            assert_eq!(run["exitCode"], code);
        }
        let log = server.text(&format!("actor-runs/{id}/log")).await;
        assert!(log.contains("Z mode "), "{log}");
        let input = server.get(&format!("actor-runs/{id}/key-value-store/records/INPUT")).await;
        assert!(input["hello"].is_string(), "{input}");
    }
    let items = server.get("datasets/~items/items?offset=5999").await;
    assert_eq!(
        items.as_array().unwrap().iter().map(|item| item["n"].as_u64().unwrap()).collect::<Vec<_>>(),
        [5999, 6000]
    );
    assert_eq!(server.get("key-value-stores/~records/records/small").await["a"], 1);
    assert_eq!(server.text("key-value-stores/~records/records/large").await, "y".repeat(100_000));
    let queue = &server.get("request-queues/~requests").await["data"];
    assert_eq!((&queue["totalRequestCount"], &queue["handledRequestCount"]), (&20.into(), &1.into()));

    let pushed = server.send(Method::POST, "datasets/~items/items", r#"{"n":6001}"#).await;
    assert_eq!(pushed, serde_json::json!({}));
}
