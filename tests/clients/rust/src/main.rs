//! Calls every method of the official Rust client once, against the real binary, and looks at what each answers.

mod jobs;
mod nouns;
mod storages;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use apify_client::ApifyClient;
use apify_client::models::Actor;
use serde_json::{Value, json};

type Error = Box<dyn std::error::Error>;

/// How long something may take on a busy machine before it counts as never.
const PATIENCE: Duration = Duration::from_secs(300);

#[tokio::main]
async fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, url, token, message] = &arguments[..] {
        // As an Actor: one method of the client finds its run in the environment.
        let client = ApifyClient::builder().base_url(url).token(token).build();
        let run = client.set_status_message(message, false).await?;
        println!("{}", run.status_message.unwrap_or_default());
        return Ok(());
    }
    let server = Server::start()?;
    let walk = Walk {
        client: ApifyClient::builder()
            .base_url(&server.url)
            .token(&server.token)
            .max_retries(1)
            // Its shortest limit, 5 s, is meant for a server that has a machine to itself.
            .timeout_short(PATIENCE)
            .timeout_medium(PATIENCE)
            .build(),
        url: server.url.clone(),
        user_id: server.user_id.clone(),
    };
    walk.user().await?;
    walk.datasets().await?;
    walk.key_value_stores().await?;
    walk.request_queues().await?;
    let plain = walk.given_actor("plain").await?;
    walk.actors().await?;
    walk.versions(&plain).await?;
    walk.builds(&plain).await?;
    walk.runs(&plain).await?;
    walk.a_run_under_way(&plain).await?;
    walk.tasks(&plain).await?;
    walk.schedules(&plain).await?;
    walk.webhooks(&plain).await?;
    walk.what_does_not_exist().await?;
    assert!(walk.client.stats().calls() > 100);
    println!("every method of the Rust client was called");
    Ok(())
}

struct Walk {
    client: ApifyClient,
    url: String,
    user_id: String,
}

impl Walk {
    /// An Actor that does what its input says, built.
    async fn given_actor(&self, name: &str) -> Result<Actor, Error> {
        let files = source_files(&actors().join("plain"));
        let version =
            json!({ "versionNumber": "0.0", "buildTag": "latest", "sourceType": "SOURCE_FILES", "sourceFiles": files });
        let options = json!({ "build": "latest", "memoryMbytes": 4096, "timeoutSecs": 300 });
        let made = json!({ "name": name, "versions": [version], "defaultRunOptions": options });
        let actor = self.client.actors().create(&made).await?;
        let build = self.client.actor(&actor.id).build("0.0", Default::default()).await?;
        let ended = self.client.build(&build.id).wait_for_finish(None).await?;
        assert_eq!(ended.status.as_deref(), Some("SUCCEEDED"));
        Ok(actor)
    }
}

fn actors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../actors")
}

fn source_files(root: &Path) -> Vec<Value> {
    let mut files = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
            let path = entry.path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let content = std::fs::read_to_string(&path).expect("a text");
                files.push(
                    json!({ "name": path.strip_prefix(root).expect("below it"), "format": "TEXT", "content": content }),
                );
            }
        }
    }
    files
}

/// Asks again until there is an answer.
async fn until<T, F: Future<Output = Result<Option<T>, Error>>>(ask: impl Fn() -> F) -> Result<T, Error> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        assert!(Instant::now() < deadline, "nothing came");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The real binary on throw-away data; it ends with this.
struct Server {
    process: Child,
    url: String,
    token: String,
    user_id: String,
    _directory: tempfile::TempDir,
}

impl Server {
    fn start() -> Result<Self, Error> {
        let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../target/debug/playhouse");
        let binary = std::env::var_os("PLAYHOUSE_BIN").map_or(built, PathBuf::from);
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("ready.json");
        let mut process = Command::new(binary)
            .args(["serve", "--driver", "process", "--ephemeral", "--listen", "127.0.0.1:0", "--ready-file"])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let deadline = Instant::now() + PATIENCE;
        while !file.exists() {
            assert!(process.try_wait()?.is_none(), "the server ended");
            assert!(Instant::now() < deadline, "the server did not get ready");
            std::thread::sleep(Duration::from_millis(20));
        }
        let ready: Value = serde_json::from_slice(&std::fs::read(file)?)?;
        let text = |name: &str| ready[name].as_str().unwrap_or_default().to_owned();
        Ok(Self { process, url: text("url"), token: text("token"), user_id: text("userId"), _directory: directory })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // As Ctrl+C does, so that it takes its runs and its data with it.
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
    }
}
