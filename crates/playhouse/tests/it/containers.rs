//! The docker driver from outside, on each engine that `PLAYHOUSE_TEST_ENGINES` names.

use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::RwLock;

use crate::actors::{finished, processes_of, says, shell_actor, start, unbuilt_actor, until};
use crate::server::{BINARY, Server};

/// Held by whoever uses an engine, and alone by whoever ends one.
static ENGINES: RwLock<()> = RwLock::const_new(());

/// Words and addresses of the engines that are there.
fn engines() -> Vec<(String, String)> {
    let named = std::env::var("PLAYHOUSE_TEST_ENGINES").unwrap_or_default();
    if named.trim().is_empty() {
        eprintln!("SKIPPED: no container engine is named in PLAYHOUSE_TEST_ENGINES");
    }
    let engines = named.split_whitespace().filter_map(|engine| engine.split_once('='));
    engines.map(|(name, address)| (name.to_owned(), address.to_owned())).collect()
}

fn serve(data_dir: &Path, address: &str) -> Server {
    Server::start_as(data_dir, &["--driver", "docker", "--docker-host", address])
}

/// Removes what a server left in an engine, also after a failed test.
struct Sweep<'a>(&'a Path, &'a str);

impl Drop for Sweep<'_> {
    fn drop(&mut self) {
        let Ok(instance) = std::fs::read_to_string(self.0.join("instance")) else { return };
        let docker = |arguments: &[&str]| {
            let output = Command::new("docker").args(["-H", self.1]).args(arguments).output();
            output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
        };
        let label = format!("label=org.playhouse.instance={instance}");
        for container in docker(&["ps", "--all", "--quiet", "--filter", &label]).split_whitespace() {
            docker(&["rm", "--force", container]);
        }
        let images = docker(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
        for image in images.split_whitespace().filter(|image| image.contains(&format!("playhouse-{instance}:"))) {
            docker(&["rmi", "--force", image]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_outlive_the_server_and_their_logs_are_whole() {
    let _in_use = ENGINES.read().await;
    for (engine, address) in engines() {
        let directory = tempfile::tempdir().unwrap();
        let data_dir = directory.path().join("data");
        let _sweep = Sweep(&data_dir, &address);
        let mut server = serve(&data_dir, &address);
        let script = "echo \"token $APIFY_TOKEN\"\ni=0\nwhile [ $i -lt 600 ]; do echo line $i; i=$((i+1)); sleep 0.01; done\nexit 3\n";
        let actor = shell_actor(&server, "talker", script).await;
        let run = start(&server, &actor, "memory=256&timeout=300").await;
        says(&server, &run, "line 20").await;

        // The moment is a different one each time, in the middle of whatever is written just then.
        for line in [100, 250, 400] {
            server.kill();
            server = serve(&data_dir, &address);
            assert_eq!(server.get(&format!("actor-runs/{run}")).await["data"]["status"], "RUNNING", "{engine}");
            says(&server, &run, &format!("line {line}")).await;
        }
        let ended = finished(&server, &format!("actor-runs/{run}")).await;

        assert_eq!((&ended["status"], &ended["exitCode"]), (&json!("FAILED"), &json!(3)), "{engine}");
        let log = server.text(&format!("logs/{run}")).await;
        let lines: Vec<&str> =
            log.lines().filter_map(|line| line.split_once("Z line ").map(|(_, number)| number)).collect();
        let expected: Vec<String> = (0..600).map(|number| number.to_string()).collect();
        assert_eq!(lines, expected, "{engine}");
        assert!(log.contains("token *****"), "{log}");
        until("its container is gone", async || processes_of(&run).is_empty()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_dies_with_the_server_is_done_again() {
    let _in_use = ENGINES.read().await;
    for (engine, address) in engines() {
        let directory = tempfile::tempdir().unwrap();
        let data_dir = directory.path().join("data");
        let _sweep = Sweep(&data_dir, &address);
        let mut server = serve(&data_dir, &address);
        let instructions =
            "RUN echo first step $(date +%N)\nRUN echo second step && sleep 5\nCMD [\"sh\", \"main.sh\"]\n";
        let actor = unbuilt_actor(&server, "builder", instructions, "echo ran\n").await;
        let build = server.send(Method::POST, &format!("actors/{actor}/builds?version=0.0"), Bytes::new()).await;
        let build = build["data"]["id"].as_str().unwrap().to_owned();
        says(&server, &build, "second step\n").await;

        server.kill();
        server = serve(&data_dir, &address);
        let ended = finished(&server, &format!("actor-builds/{build}")).await;

        let log = server.text(&format!("logs/{build}")).await;
        assert_eq!(ended["status"], "SUCCEEDED", "{engine}: {ended} {log}");
        assert!(log.contains("The server was restarted"), "{engine}: {log}");
        let run = start(&server, &actor, "memory=256").await;
        assert_eq!(finished(&server, &format!("actor-runs/{run}")).await["status"], "SUCCEEDED");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_leaves_nothing_and_a_missing_image_is_named() {
    let _in_use = ENGINES.read().await;
    for (engine, address) in engines() {
        let directory = tempfile::tempdir().unwrap();
        let data_dir = directory.path().join("data");
        let _sweep = Sweep(&data_dir, &address);
        let server = serve(&data_dir, &address);
        let actor = shell_actor(&server, "sleeper", "trap '' TERM\necho ready\nwhile :; do sleep 0.1; done\n").await;
        let run = start(&server, &actor, "memory=256").await;
        says(&server, &run, "ready").await;

        server.send(Method::POST, &format!("actor-runs/{run}/abort"), Bytes::new()).await;

        let ended = finished(&server, &format!("actor-runs/{run}")).await;
        assert_eq!(ended["status"], "ABORTED", "{engine}: {ended}");
        until("its container is gone", async || processes_of(&run).is_empty()).await;

        let instance = std::fs::read_to_string(data_dir.join("instance")).unwrap();
        let image = format!("localhost/playhouse-{instance}:{}", ended["buildId"].as_str().unwrap());
        // An engine may refuse for as long as a build beside looks through its images.
        until("the image is gone", async || {
            let docker = |arguments: &[&str]| {
                Command::new("docker").args(["-H", &address]).args(arguments).arg(&image).output().unwrap()
            };
            docker(&["rmi", "--force"]);
            !docker(&["image", "inspect"]).status.success()
        })
        .await;
        let run = start(&server, &actor, "memory=256").await;
        let ended = finished(&server, &format!("actor-runs/{run}")).await;
        let message = ended["statusMessage"].as_str().unwrap();
        assert!(ended["status"] == "FAILED" && message.contains("has no image on this machine"), "{engine}: {ended}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_server_in_a_container_is_reached() {
    let _in_use = ENGINES.read().await;
    for (engine, address) in engines() {
        let directory = tempfile::tempdir().unwrap();
        let data_dir = directory.path().join("data");
        let _sweep = Sweep(&data_dir, &address);
        let server = serve(&data_dir, &address);
        let listen = "require(\"http\").createServer((_, answer) => answer.end(\"hello\")).listen(process.env.ACTOR_WEB_SERVER_PORT)";
        let actor = shell_actor(&server, "web-server", &format!("exec node -e '{listen}'\n")).await;
        let run = start(&server, &actor, "memory=256").await;
        let web = server.get(&format!("actor-runs/{run}")).await["data"]["containerUrl"].take();
        let web = web.as_str().unwrap().strip_prefix(&server.url).unwrap().trim_start_matches('/').to_owned();

        until("its web server answers", async || server.page(&web).await == (StatusCode::OK, "hello".to_owned())).await;

        let standby = json!({ "actorStandby": { "isEnabled": true, "memoryMbytes": 256 } }).to_string();
        server.send(Method::PUT, &format!("actors/{actor}"), standby).await;
        let user = server.get("users/me").await["data"]["username"].take();
        let on_standby = server.page(&format!("x-standby/{}~web-server/", user.as_str().unwrap())).await;
        assert_eq!(on_standby, (StatusCode::OK, "hello".to_owned()), "{engine}");
        let runs = server.get("actor-runs").await["data"]["items"].take();
        for run in runs.as_array().unwrap() {
            let run = run["id"].as_str().unwrap();
            server.send(Method::POST, &format!("actor-runs/{run}/abort"), Bytes::new()).await;
            finished(&server, &format!("actor-runs/{run}")).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_restarted_loses_no_run_and_no_output() {
    let _alone = ENGINES.write().await;
    for (engine, address) in engines() {
        let socket = Path::new(address.trim_start_matches("unix://"));
        let engines = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/engines/engines");
        let Some(home) = socket.parent().filter(|home| home.join("started-for-tests").exists()) else {
            eprintln!("SKIPPED: {engine} was not started for tests, so it is not restarted");
            continue;
        };
        let directory = tempfile::tempdir().unwrap();
        let data_dir = directory.path().join("data");
        let _sweep = Sweep(&data_dir, &address);
        let server = serve(&data_dir, &address);
        let script = "i=0\nwhile [ $i -lt 100000 ]; do echo line $i; i=$((i+1)); sleep 0.02; done\n";
        let actor = shell_actor(&server, "talker", script).await;
        let run = start(&server, &actor, "memory=256").await;
        says(&server, &run, "line 20\n").await;

        let restarted = Command::new(engines).arg("restart").arg(home).arg(&engine).status().unwrap();

        assert!(restarted.success(), "{engine}");
        let address_of_run = format!("actor-runs/{run}");
        if engine == "docker" {
            // It ends its containers with itself.
            let ended = finished(&server, &address_of_run).await;
            assert_eq!((&ended["status"], &ended["endCause"]), (&json!("FAILED"), &json!("signal")), "{ended}");
        } else {
            let seen = server.text(&format!("logs/{run}")).await.lines().count();
            says(&server, &run, &format!("line {}\n", seen + 50)).await;
            server.send(Method::POST, &format!("{address_of_run}/abort"), Bytes::new()).await;
            assert_eq!(finished(&server, &address_of_run).await["status"], "ABORTED");
        }
        let log = server.text(&format!("logs/{run}")).await;
        let lines: Vec<&str> =
            log.lines().filter_map(|line| line.split_once("Z line ").map(|(_, number)| number)).collect();
        let expected: Vec<String> = (0..lines.len()).map(|number| number.to_string()).collect();
        assert_eq!(lines, expected, "{engine}");
        let after = start(&server, &actor, "memory=256").await;
        says(&server, &after, "line 20\n").await;
        server.send(Method::POST, &format!("actor-runs/{after}/abort"), Bytes::new()).await;
        assert_eq!(finished(&server, &format!("actor-runs/{after}")).await["status"], "ABORTED", "{engine}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_tells_of_the_engines() {
    let _in_use = ENGINES.read().await;
    let ask = |address: &str, arguments: &[&str]| {
        let output = Command::new(BINARY).args(["doctor", "--docker-host", address]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let absent = ask("unix:///nowhere.sock", &[]);
    assert!(absent.contains("docker driver at unix:///nowhere.sock: "), "{absent}");
    for (engine, address) in engines() {
        let told: Value = serde_json::from_str(&ask(&address, &["--json"])).unwrap();

        let told = &told["engines"][0];
        assert_eq!(told["address"], json!(address));
        let name = told["engine"].as_str().unwrap().to_lowercase();
        assert!(name.contains(&engine) && told["shortcomings"].is_array(), "{told}");
        let text = ask(&address, &[]);
        assert!(text.contains(told["engine"].as_str().unwrap()), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn actors_of_the_official_templates_are_built_and_run_as_they_are() {
    if std::env::var_os("PLAYHOUSE_TESTS_OFFLINE").is_some() {
        eprintln!("SKIPPED: Actors of the templates need packages from registries");
        return;
    }
    // One of each language in every test run; the rest when asked for.
    let all = [
        "js-start",
        "python-start",
        "js-crawlee-cheerio",
        "ts-start",
        "python-beautifulsoup",
        "python-crawlee-beautifulsoup",
    ];
    let count = if std::env::var_os("PLAYHOUSE_TEST_ALL_TEMPLATES").is_some() { all.len() } else { 2 };
    let _in_use = ENGINES.read().await;
    for (engine, address) in engines() {
        let directory = tempfile::tempdir().unwrap();
        let data_dir = directory.path().join("data");
        let _sweep = Sweep(&data_dir, &address);
        let server = serve(&data_dir, &address);
        for template in &all[..count] {
            let actor = template_actor(&server, template).await;
            let build = server.send(Method::POST, &format!("actors/{actor}/builds?version=0.0"), Bytes::new()).await;
            let build = build["data"]["id"].as_str().unwrap().to_owned();
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(600);
            let built = loop {
                let built = server.get(&format!("actor-builds/{build}?waitForFinish=60")).await["data"].take();
                if !matches!(built["status"].as_str(), Some("READY" | "RUNNING")) {
                    break built;
                }
                assert!(std::time::Instant::now() < deadline, "{engine} {template}: the build does not end");
            };
            let log = server.text(&format!("logs/{build}")).await;
            assert_eq!(built["status"], "SUCCEEDED", "{engine} {template}: {log}");
            assert!(built["stats"]["imageSizeBytes"].as_u64().is_some_and(|size| size > 1_000_000), "{built}");

            // Its input is a page that the server serves itself, under the address that the run knows.
            let input = json!({ "url": "http://127.0.0.1:1/", "startUrls": [{ "url": "http://127.0.0.1:1/" }] });
            let run = server
                .send(Method::POST, &format!("actors/{actor}/runs?memory=1024&timeout=120"), input.to_string())
                .await;
            let run = run["data"]["id"].as_str().unwrap().to_owned();
            let ended = finished(&server, &format!("actor-runs/{run}")).await;
            let log = server.text(&format!("logs/{run}")).await;
            assert!(
                log.contains("System info") || log.contains("Initializing Actor"),
                "{engine} {template}: {ended} {log}"
            );
            assert!(
                ended["stats"]["memMaxBytes"].as_f64().is_some_and(|bytes| bytes > 0.0),
                "{engine} {template}: {ended}"
            );
        }
    }
}

/// An Actor of the sources in `tests/actors`.
async fn template_actor(server: &Server, template: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/actors").join(template);
    let (mut files, mut directories) = (Vec::new(), vec![root.clone()]);
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            files.push(json!({ "name": name, "format": "TEXT", "content": std::fs::read_to_string(&path).unwrap() }));
        }
    }
    let version = json!({ "versionNumber": "0.0", "sourceType": "SOURCE_FILES", "buildTag": "latest", "sourceFiles": Value::Array(files) });
    let body = json!({ "name": template, "versions": [version] }).to_string();
    server.send(Method::POST, "actors", body).await["data"]["id"].as_str().unwrap().to_owned()
}
