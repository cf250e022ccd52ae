//! The docker driver from outside, on each engine that `PLAYHOUSE_TEST_ENGINES` names.

mod stage;

use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use self::stage::{Engine, Small, Stage, engines, on_each};
use crate::actors::{
    abort, actor_of, finished, numbers, processes_of, says, shell_actor, start, start_build, unbuilt_actor, until,
};
use crate::server::{BINARY, Server};

/// Held by whoever uses the engines on a small disk, which suffer what nobody else may notice.
static SMALL: Mutex<()> = Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn auto_takes_the_engine_that_answers_and_else_none_and_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let data_dir = directory.path().join("data");
    let auto = |data_dir: &Path, address: &str| {
        let server = Server::start_as(data_dir, &["--driver", "auto", "--docker-host", address]);
        let said = server.said("Playhouse answers");
        (said["driver"].as_str().unwrap().to_owned(), said["why"].as_str().unwrap().to_owned(), server)
    };
    let (driver, why, absent) = auto(&data_dir, "unix:///nowhere/docker.sock");
    assert_eq!((&*driver, &*why), ("process", "since no container engine is there"));
    drop(absent);
    let deaf = directory.path().join("deaf.sock");
    drop(std::os::unix::net::UnixListener::bind(&deaf).unwrap());
    let (driver, why, _deaf) = auto(&directory.path().join("other"), &format!("unix://{}", deaf.display()));
    assert!(driver == "process" && why.contains("deaf.sock does not answer"), "{driver} {why}");

    for engine in Engine::all() {
        let (driver, why, server) = auto(&data_dir, &engine.address);
        assert_eq!((&*driver, &*why), ("process", "as before with this data directory"));
        drop(server);

        let stage = Stage::with(engine, &["--driver", "auto"]);
        let said = stage.server.said("Playhouse answers");
        let why = said["why"].as_str().unwrap();
        let kind = if stage.engine.name == "docker" { "with Docker " } else { "with Podman " };
        assert!(said["driver"] == "docker" && why.starts_with(kind) && why.ends_with(&stage.engine.address), "{said}");
        let is_rootless = stage.engine.name == "podman-rootless";
        assert_eq!(why.contains("(rootless)"), is_rootless, "{why}");
        if !is_rootless {
            continue;
        }
        let actor = shell_actor(&stage.server, "any", "cat /proc/self/uid_map").await;
        let run = start(&stage.server, &actor, "memory=256").await;
        let ended = finished(&stage.server, &format!("actor-runs/{run}")).await;
        let log = stage.server.text(&format!("logs/{run}")).await;
        assert!(ended["status"] == "SUCCEEDED" && log.contains("(docker driver)"), "{ended} {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_outlive_the_server_and_their_logs_are_whole() {
    on_each(&[], async |mut stage| {
        let engine = stage.engine.name.clone();
        let script = "trap go=1 USR1\ni=0\nwhile [ $i -lt 600 ]; do\n\
                      [ $i = 10 ] || [ $i = 150 ] && echo \"token $APIFY_TOKEN $APIFY_INPUT_SECRETS_PRIVATE_KEY_PASSPHRASE\"\n\
                      [ $i = 450 ] && until [ \"$go\" ]; do sleep 0.05; done\n\
                      echo line $i; i=$((i+1)); sleep 0.01; done\nexit 3\n";
        let schema = json!({ "title": "I", "type": "object", "schemaVersion": 1, "properties": {
            "password": { "title": "P", "description": "P", "type": "string", "editor": "textfield", "isSecret": true },
        } });
        let files = [
            (".actor/actor.json", json!({ "actorSpecification": 1, "name": "talker", "version": "0.0" }).to_string()),
            (".actor/INPUT_SCHEMA.json", schema.to_string()),
            ("Dockerfile", "FROM node:20\nWORKDIR /app\nCOPY main.sh ./\nCMD [\"sh\", \"main.sh\"]\n".to_owned()),
            ("main.sh", script.to_owned()),
        ];
        let actor = actor_of(&stage.server, "talker", files.map(|(path, text)| (path.to_owned(), text))).await;
        let build = start_build(&stage.server, &actor).await;
        assert_eq!(finished(&stage.server, &format!("actor-builds/{build}")).await["status"], "SUCCEEDED");
        let run = start(&stage.server, &actor, "memory=256&timeout=300").await;
        says(&stage.server, &run, "line 20").await;

        // The moment is a different one each time, in the middle of whatever is written just then.
        for line in [100, 250, 400] {
            stage.restart();
            assert_eq!(stage.server.get(&format!("actor-runs/{run}")).await["data"]["status"], "RUNNING", "{engine}");
            says(&stage.server, &run, &format!("line {line}")).await;
        }
        for container in stage.engine.told(&["ps", "--quiet", "--filter", &stage.filter("label")]) {
            stage.engine.docker(&["kill", "--signal", "USR1", &container]);
        }
        let ended = finished(&stage.server, &format!("actor-runs/{run}")).await;

        assert_eq!((&ended["status"], &ended["exitCode"]), (&json!("FAILED"), &json!(3)), "{engine}");
        assert_eq!(numbers(&stage.server, &run).await, (0..600).collect::<Vec<_>>(), "{engine}");
        let log = stage.server.text(&format!("logs/{run}")).await;
        assert_eq!(log.matches("Z token ***** *****\n").count(), 2, "{engine}: the next server masks, too: {log}");
        until("its container is gone", async || processes_of(&run).is_empty()).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_dies_with_the_server_is_done_again_and_forgotten_images_go() {
    on_each(&[], async |mut stage| {
        let engine = stage.engine.name.clone();
        let instructions =
            "RUN echo first step $(date +%N)\nRUN echo second step && sleep 3\nCMD [\"sh\", \"main.sh\"]\n";
        let actor = unbuilt_actor(&stage.server, "builder", instructions, "echo ran\n").await;
        let build = start_build(&stage.server, &actor).await;
        says(&stage.server, &build, "second step\n").await;
        let endless = unbuilt_actor(&stage.server, "endless", "RUN echo begun && sleep 4714.003\n", "").await;
        let endless = start_build(&stage.server, &endless).await;
        until("its step has begun", async || !processes_of("4714.003").is_empty()).await;
        let left_over = processes_of("4714.003");
        // As if the server had died before it removed the image of a build that was deleted.
        let forgotten = format!("{}:aaaaaaaaaaaaaaaaa", stage.repository());
        assert!(stage.engine.docker(&["tag", "node:20", &forgotten]).status.success());

        stage.restart();
        let ended = finished(&stage.server, &format!("actor-builds/{build}")).await;

        let log = stage.server.text(&format!("logs/{build}")).await;
        assert_eq!(ended["status"], "SUCCEEDED", "{engine}: {ended} {log}");
        assert!(log.contains("The server was restarted"), "{engine}: {log}");
        let own = format!("{}:{build}", stage.repository());
        until("only the image of a build that is known is left", async || stage.images() == [own.clone()]).await;
        assert!(stage.engine.docker(&["image", "inspect", "node:20"]).status.success());
        until("steps of the first attempt are ended", async || {
            !processes_of("4714.003").iter().any(|pid| left_over.contains(pid))
        })
        .await;
        assert_eq!(abort(&stage.server, &format!("actor-builds/{endless}")).await["status"], "ABORTED", "{engine}");
        until("nothing of it is left", async || processes_of("4714.003").is_empty()).await;
        let run = start(&stage.server, &actor, "memory=256").await;
        assert_eq!(finished(&stage.server, &format!("actor-runs/{run}")).await["status"], "SUCCEEDED");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_leaves_nothing_and_a_missing_image_is_named() {
    on_each(&[], async |stage| {
        let (engine, server) = (&stage.engine.name, &stage.server);
        let actor = shell_actor(server, "sleeper", "trap '' TERM\necho ready\nwhile :; do sleep 0.1; done\n").await;
        let run = start(server, &actor, "memory=256").await;
        says(server, &run, "ready").await;

        let ended = abort(server, &format!("actor-runs/{run}")).await;

        assert_eq!(ended["status"], "ABORTED", "{engine}: {ended}");
        until("its container is gone", async || processes_of(&run).is_empty()).await;

        let image = format!("{}:{}", stage.repository(), ended["buildId"].as_str().unwrap());
        // An engine may refuse for as long as a build beside looks through its images.
        until("the image is gone", async || {
            stage.engine.docker(&["rmi", "--force", &image]);
            !stage.engine.docker(&["image", "inspect", &image]).status.success()
        })
        .await;
        let run = start(server, &actor, "memory=256").await;
        let ended = finished(server, &format!("actor-runs/{run}")).await;
        let message = ended["statusMessage"].as_str().unwrap();
        assert!(ended["status"] == "FAILED" && message.contains("has no image on this machine"), "{engine}: {ended}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_takes_too_long_or_is_aborted_goes_no_further() {
    goes_no_further("bridge", ["4714.001", "4714.002"]).await;
    goes_no_further("host", ["4714.003", "4714.004"]).await;
}

async fn goes_no_further(network: &str, marks: [&str; 2]) {
    on_each(&["--build-timeout-secs", "6", "--docker-network", network], async |stage| {
        let (engine, server) = (&stage.engine.name, &stage.server);
        let instructions = |mark| format!("RUN echo begun && sleep {mark}\nRUN echo further {mark}\n");
        let endless = unbuilt_actor(server, "endless", &instructions(marks[0]), "").await;
        let aborted = unbuilt_actor(server, "aborted", &instructions(marks[1]), "").await;

        let builds = [start_build(server, &endless).await, start_build(server, &aborted).await];
        for build in &builds {
            says(server, build, "begun\n").await;
        }
        let was_aborted = abort(server, &format!("actor-builds/{}", builds[1])).await;
        let timed_out = finished(server, &format!("actor-builds/{}", builds[0])).await;

        let message = timed_out["statusMessage"].as_str().unwrap();
        assert_eq!((&timed_out["status"], message), (&json!("TIMED-OUT"), "Build exceeded its timeout of 6 seconds."));
        assert_eq!(was_aborted["status"], "ABORTED", "{engine}: {was_aborted}");
        for (build, mark) in builds.iter().zip(marks) {
            until("its step is gone", async || processes_of(mark).is_empty()).await;
            let log = server.text(&format!("logs/{build}")).await;
            assert!(!log.contains("Z further"), "{engine}: {log}");
        }
        assert_eq!(stage.images(), Vec::<String>::new(), "{engine}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_migrates_into_a_new_container_with_its_state_saved_and_its_locks_given_back() {
    // Locks the one request of its queue, then says what it is told until it is stopped.
    const MAIN: &str = r#"exec node -e '
        const WebSocket = require("/usr/src/app/node_modules/ws");
        const queue = `${process.env.APIFY_API_BASE_URL}v2/request-queues/${process.env.ACTOR_DEFAULT_REQUEST_QUEUE_ID}`;
        const headers = { authorization: `Bearer ${process.env.APIFY_TOKEN}`, "content-type": "application/json" };
        const post = async (path, body) => (await fetch(`${queue}/${path}`, { method: "POST", headers, body })).json();
        const main = async () => {
            await post("requests", JSON.stringify({ url: "http://a/", uniqueKey: "a" }));
            const head = await post("head/lock?lockSecs=3600&limit=10");
            console.log(`locked ${head.data.items.length}`);
            const events = new WebSocket(process.env.ACTOR_EVENTS_WEBSOCKET_URL);
            events.on("open", () => console.log("listening"));
            events.on("message", (data) => {
                const { name } = JSON.parse(data);
                if (name !== "systemInfo") console.log(`event ${name}`);
            });
        };
        main();'
    "#;
    on_each(&[], async |stage| {
        let (engine, server) = (&stage.engine.name, &stage.server);
        let actor = shell_actor(server, "migrant", MAIN).await;
        let run = start(server, &actor, "memory=512").await;
        says(server, &run, "Z locked 1\n").await;
        says(server, &run, "Z listening\n").await;
        let container = |life: u32| format!("name=-{run}-{life}$");
        let id = stage.engine.told(&["ps", "--quiet", "--filter", &container(1)]);
        assert_eq!(id.len(), 1, "{engine}");

        server.send(Method::POST, &format!("actor-runs/{run}/x-migrate"), Bytes::new()).await;

        says(server, &run, "Z event migrating\n").await;
        says(server, &run, "Z event persistState\n").await;
        until("it has locked the request again", async || {
            server.text(&format!("logs/{run}")).await.matches("Z locked 1\n").count() == 2
        })
        .await;
        let migrated = server.get(&format!("actor-runs/{run}")).await["data"].take();
        assert_eq!(migrated["status"], "RUNNING", "{engine}: {migrated}");
        assert_eq!(migrated["stats"]["migrationCount"], 1, "{engine}: {migrated}");
        assert_eq!(stage.engine.told(&["ps", "--all", "--quiet", "--filter", &container(1)]), Vec::<String>::new());
        assert_eq!(stage.engine.told(&["ps", "--quiet", "--filter", &container(2)]).len(), 1, "{engine}");
        assert_eq!(abort(server, &format!("actor-runs/{run}")).await["status"], "ABORTED");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_server_in_a_container_is_reached() {
    on_each(&[], async |stage| {
        let (engine, server) = (&stage.engine.name, &stage.server);
        let listen = "require(\"http\").createServer((_, answer) => answer.end(\"hello\")).listen(process.env.ACTOR_WEB_SERVER_PORT)";
        let actor = shell_actor(server, "web-server", &format!("exec node -e '{listen}'\n")).await;
        let run = start(server, &actor, "memory=256").await;
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
            abort(server, &format!("actor-runs/{}", run["id"].as_str().unwrap())).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_restarted_loses_no_output_and_ends_what_it_cannot_keep_by_name() {
    let _alone = SMALL.lock().await;
    let Some(small) = Small::start() else { return };
    for engine in small.engines.clone() {
        let (name, stage) = (engine.name.clone(), Stage::with(engine, &["--docker-network", "host"]));
        let server = &stage.server;
        let script = "i=0\nwhile [ $i -lt 100000 ]; do echo line $i; i=$((i+1)); sleep 0.02; done\n";
        let actor = shell_actor(server, "talker", script).await;
        let mark = if name == "docker" { "4715.1" } else { "4715.2" };
        let builder = unbuilt_actor(server, "builder", &format!("RUN echo begun && sleep {mark}\n"), "").await;
        let run = start(server, &actor, "memory=256").await;
        let build = start_build(server, &builder).await;
        says(server, &run, "line 20\n").await;
        says(server, &build, "begun\n").await;

        small.restart(&[&name]);

        let ended = finished(server, &format!("actor-builds/{build}")).await;
        let message = ended["statusMessage"].as_str().unwrap();
        // Podman has time to tell that its step ended.
        let is_named = message.contains("the engine went away") || message.contains("while running runtime");
        assert!(ended["status"] == "FAILED" && is_named, "{name}: {ended}");
        if name == "docker" {
            // It ends its containers with itself.
            let ended = finished(server, &format!("actor-runs/{run}")).await;
            assert_eq!((&ended["status"], &ended["endCause"]), (&json!("FAILED"), &json!("signal")), "{ended}");
            is_whole(server, &run).await;
            let run = start(server, &actor, "memory=256").await;
            says(server, &run, "line 20\n").await;
            small.restart(&[&name, "live"]);
            goes_on(server, &run).await;
        } else {
            assert_eq!(processes_of(mark), Vec::<i32>::new(), "{name}");
            goes_on(server, &run).await;
        }
        let after = start(server, &actor, "memory=256").await;
        says(server, &after, "line 20\n").await;
        assert_eq!(abort(server, &format!("actor-runs/{after}")).await["status"], "ABORTED", "{name}");
    }
}

/// A run that says numbers has lost none, and says more; it is aborted then.
async fn goes_on(server: &Server, run: &str) {
    let seen = numbers(server, run).await.len();
    says(server, run, &format!("line {}\n", seen + 50)).await;
    assert_eq!(abort(server, &format!("actor-runs/{run}")).await["status"], "ABORTED");
    is_whole(server, run).await;
}

async fn is_whole(server: &Server, run: &str) {
    let numbers = numbers(server, run).await;
    assert_eq!(numbers, (0..numbers.len()).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_held_to_their_disk_where_the_engine_can_and_a_full_one_is_named() {
    let _alone = SMALL.lock().await;
    let Some(small) = Small::start() else { return };
    futures::future::join_all(small.engines.iter().map(|engine| is_held_to_its_disk(engine.clone()))).await;
    let on = |engine: &Engine| Stage::with(engine.clone(), &["--docker-network", "host"]);
    let stages: Vec<Stage> = small.engines.iter().map(on).collect();
    let mut actors = Vec::new();
    for stage in &stages {
        actors.push(shell_actor(&stage.server, "any", "echo fine").await);
    }

    engines(&["full"], &small.home, &[]);
    for (stage, actor) in stages.iter().zip(&actors) {
        let server = &stage.server;
        let run = start(server, actor, "memory=128").await;
        let build = start_build(server, actor).await;
        for path in [format!("actor-runs/{run}"), format!("actor-builds/{build}")] {
            let ended = finished(server, &path).await;
            let message = ended["statusMessage"].as_str().unwrap();
            let is_named = ended["status"] == "FAILED" && message.contains("the engine's disk is full");
            assert!(is_named, "{}: {ended}", stage.engine.name);
        }
    }
    engines(&["empty"], &small.home, &[]);
    for (stage, actor) in stages.iter().zip(&actors) {
        let run = start(&stage.server, actor, "memory=128").await;
        let ended = finished(&stage.server, &format!("actor-runs/{run}")).await;
        assert_eq!(ended["status"], "SUCCEEDED", "{}: {ended}", stage.engine.name);
    }
}

async fn is_held_to_its_disk(engine: Engine) {
    let shortcomings = doctor(&engine.address, &["--json"]);
    if shortcomings.contains("what a run writes to its own disk is not limited") {
        eprintln!("SKIPPED: the disk of a run cannot be limited on {} here", engine.name);
        return;
    }
    let stage = Stage::with(engine, &["--docker-network", "host"]);
    let server = &stage.server;
    let script = "dd if=/dev/zero of=/tmp/large bs=1M count=600 || echo wrote $(($(stat -c %s /tmp/large) >> 20)) MB\n";
    let actor = shell_actor(server, "writer", script).await;

    let run = start(server, &actor, "memory=128").await;
    let ended = finished(server, &format!("actor-runs/{run}")).await;

    let disk = ended["options"]["diskMbytes"].as_u64().unwrap();
    let log = server.text(&format!("logs/{run}")).await;
    let wrote = log.split_once("Z wrote ").and_then(|(_, rest)| rest.split(' ').next()?.parse::<u64>().ok());
    assert!(wrote.is_some_and(|wrote| wrote <= disk && wrote + 32 > disk), "{}: {disk} {log}", stage.engine.name);
}

fn doctor(address: &str, arguments: &[&str]) -> String {
    let output = Command::new(BINARY).args(["doctor", "--docker-host", address]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_tells_of_the_engines_and_of_what_they_do_not_enforce() {
    let absent = doctor("unix:///nowhere.sock", &[]);
    assert!(absent.contains("docker driver at unix:///nowhere.sock: "), "{absent}");
    for Engine { name, address } in Engine::all() {
        let told: Value = serde_json::from_str(&doctor(&address, &["--json"])).unwrap();

        let told = &told["engines"][0];
        assert_eq!(told["address"], json!(address));
        let kind = told["engine"].as_str().unwrap().to_lowercase();
        assert!(kind.contains(name.trim_end_matches("-rootless")), "{told}");
        let text = doctor(&address, &[]);
        assert!(text.contains(told["engine"].as_str().unwrap()), "{text}");
        if name == "podman-rootless" {
            assert!(text.contains("(rootless)") && text.contains("what a run writes to its own disk"), "{text}");
        }
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
    on_each(&[], async |stage| {
        let (engine, server) = (&stage.engine.name, &stage.server);
        for template in &all[..count] {
            let actor = actor_of(server, template, template_files(template)).await;
            let build = start_build(server, &actor).await;
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

            // Nothing answers at its input: what counts is that the SDK in the image comes up and finds the server.
            let urls = json!([{ "url": "http://127.0.0.1:1/" }]);
            let input = json!({ "url": "http://127.0.0.1:1/", "startUrls": urls, "start_urls": urls });
            let run = server
                .send(Method::POST, &format!("actors/{actor}/runs?memory=1024&timeout=120"), input.to_string())
                .await;
            let run = run["data"]["id"].as_str().unwrap().to_owned();
            let ended = finished(server, &format!("actor-runs/{run}")).await;
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
    })
    .await;
}

/// The sources of an Actor in `tests/actors`.
fn template_files(template: &str) -> Vec<(String, String)> {
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
            files.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
    files
}
