//! The command line as users type it.

use std::process::{Command, Output};

use hyper::Method;
use serde_json::Value;

use crate::server::{BINARY, Server};

fn playhouse(arguments: &[&str]) -> Output {
    Command::new(BINARY).args(arguments).output().unwrap()
}

fn json_of(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn users_and_tokens_are_managed_on_a_running_server_and_on_a_stopped_one() {
    let directory = tempfile::tempdir().unwrap();
    let data_dir = directory.path().join("data");
    let at = data_dir.to_str().unwrap();
    let mut server = Server::start(&data_dir);

    let jane = json_of(&playhouse(&["user", "add", "jane", "--json", "--data-dir", at]));
    server.token = jane["token"].as_str().unwrap().to_owned();
    assert_eq!(server.get("users/me").await["data"]["username"], "jane");
    let taken = playhouse(&["user", "add", "JANE", "--data-dir", at]);
    assert!(!taken.status.success());
    let token =
        json_of(&playhouse(&["token", "create", "--user", "jane", "--name", "laptop", "--json", "--data-dir", at]));
    server.token = token["token"].as_str().unwrap().to_owned();
    server.get("users/me").await;
    json_of(&playhouse(&["token", "revoke", token["id"].as_str().unwrap(), "--json", "--data-dir", at]));
    let (status, _) = server.try_send(Method::GET, "users/me", "").await.unwrap();
    assert_eq!(status, 401);

    let scoped = ["token", "create", "--user", "jane", "--scope", "dataset=read", "--expires", "2099-12-31"];
    let scoped = json_of(&playhouse(&[&scoped[..], &["--json", "--data-dir", at]].concat()));
    assert_eq!(
        (&scoped["scope"][0], &scoped["expiresAt"]),
        (&"dataset=read".into(), &"2099-12-31T00:00:00.000Z".into())
    );
    server.token = scoped["token"].as_str().unwrap().to_owned();
    server.get("datasets").await;
    let (status, _) = server.try_send(Method::POST, "datasets", "").await.unwrap();
    assert_eq!(status, 403);
    for (arguments, why) in [
        (["--scope", "dataset/no-such=read"], "has nothing of that name"),
        (["--scope", "actor=write"], "no right to a thing of kind actor"),
        (["--expires", "1999-12-31"], "no date in the future"),
    ] {
        let refused = playhouse(&[&["token", "create", "--user", "jane", "--data-dir", at][..], &arguments].concat());
        assert!(String::from_utf8_lossy(&refused.stderr).contains(why), "{arguments:?}: {refused:?}");
    }

    assert_eq!(server.stop(), Some(0));
    let users = json_of(&playhouse(&["user", "list", "--json", "--data-dir", at]));
    let names: Vec<&str> = users.as_array().unwrap().iter().map(|user| user["username"].as_str().unwrap()).collect();
    assert_eq!(names, ["playhouse", "jane"]);
    json_of(&playhouse(&["user", "add", "joe", "--json", "--data-dir", at]));
    let tokens = json_of(&playhouse(&["token", "list", "--user", "joe", "--json", "--data-dir", at]));
    assert_eq!(tokens.as_array().unwrap().len(), 1);
    assert_eq!(tokens[0]["token"], Value::Null, "the value of a token is shown once");
}

#[tokio::test(flavor = "multi_thread")]
async fn env_prints_lines_that_a_shell_can_take() {
    let directory = tempfile::tempdir().unwrap();
    let data_dir = directory.path().join("data");
    let server = Server::start(&data_dir);
    let at = data_dir.to_str().unwrap();

    let script = format!("eval \"$({BINARY} env --data-dir {at})\"; echo $APIFY_CLIENT_BASE_URL $APIFY_TOKEN");
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();

    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), format!("{} {}", server.url, server.token));
}

#[test]
fn the_demo_ends_with_a_finished_run_and_its_items() {
    let output = playhouse(&["demo", "--once", "--ephemeral", "--listen", "127.0.0.1:0"]);

    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("SUCCEEDED"), "{text}");
    assert!(text.contains("\"title\":\"The Patient Crawler\""), "{text}");
}

#[test]
fn help_shows_examples() {
    let output = playhouse(&["serve", "--help"]);

    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("--ephemeral") && text.contains("Examples:"), "{text}");
}

#[test]
fn an_open_address_without_a_password_is_refused_with_a_way_out() {
    let output = playhouse(&["serve", "--listen", "0.0.0.0:0", "--ephemeral"]);

    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("PLAYHOUSE_CONSOLE_PASSWORD"));
}
