//! Orders that the command line gives to a running server, over a socket in the data directory that only its owner can open.
//!
//! One JSON object a line in, one JSON object a line back: `{"ok":…}` or `{"error":"…"}`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use engine::Engine;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use crate::accounts;
use crate::data_dir::DataDir;

/// Longest order.
const MAX_ORDER: u64 = 64 * 1024;

/// What can be ordered.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "order")]
pub enum Order {
    /// Adds a user with one token.
    UserAdd {
        /// Its name.
        name: String,
    },
    /// Lists users.
    UserList,
    /// Changes a user.
    UserSet {
        /// Its name.
        name: String,
        /// What is given, by name; an empty text takes it away.
        fields: BTreeMap<String, String>,
    },
    /// Adds a token to a user.
    TokenCreate {
        /// The user's name.
        user: String,
        /// What the token is for.
        name: String,
        /// Days until it ends.
        expires_days: Option<u32>,
        /// When it ends, in ISO 8601.
        #[serde(default)]
        expires: Option<String>,
        /// What it may do, as the command line has it; everything if there is none.
        #[serde(default)]
        scope: Vec<String>,
        /// Whether the runs that it starts may do no more than itself.
        #[serde(default)]
        limits_runs: bool,
        /// Whether it may write the default storages of the runs that it starts.
        #[serde(default)]
        default_storages: bool,
    },
    /// Lists the tokens of a user, or of all.
    TokenList {
        /// The user's name.
        user: Option<String>,
    },
    /// Takes a token back.
    TokenRevoke {
        /// Its id.
        id: String,
    },
}

/// Carries out an order: by the running server if there is one, else on the stopped data directory.
pub async fn order(data_dir: &Path, order: Order) -> anyhow::Result<Value> {
    match UnixStream::connect(DataDir::control_socket(data_dir)).await {
        Ok(stream) => ask(stream, &order).await,
        Err(_) => {
            if !data_dir.join("FORMAT").exists() {
                bail!(
                    "{} is no data directory: start `playhouse serve` once, or name the right one with --data-dir",
                    data_dir.display()
                );
            }
            let stopped = crate::wiring::Stopped::open(data_dir).await?;
            accounts::carry_out(&stopped.engine, order).await
        }
    }
}

async fn ask(mut stream: UnixStream, order: &Order) -> anyhow::Result<Value> {
    let mut line = serde_json::to_vec(order)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).await.context("the running server did not answer")?;
    let mut answer: Value = serde_json::from_str(&answer).context("the running server did not answer")?;
    match answer["error"].as_str() {
        Some(error) => Err(anyhow!("{error}")),
        None => Ok(answer["ok"].take()),
    }
}

/// A socket that takes orders; it is removed when this is dropped.
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Control {
    /// Opens the socket. The lock of the data directory must be held, so one that is there was left by a server that is gone.
    pub fn open(data_dir: &Path) -> anyhow::Result<Self> {
        let path = DataDir::control_socket(data_dir);
        std::fs::remove_file(&path).ok();
        let listener = UnixListener::bind(&path).with_context(|| format!("cannot open {}", path.display()))?;
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        Ok(Self { listener, path })
    }

    /// Takes orders until `stop`.
    pub async fn serve(self, engine: Engine, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = stop.cancelled() => break,
            };
            let Ok((stream, _)) = accepted else { continue };
            let engine = engine.clone();
            tokio::spawn(async move {
                if let Err(error) = answer(stream, &engine).await {
                    tracing::debug!(%error, "An order broke off");
                }
            });
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        std::fs::remove_file(&self.path).ok();
    }
}

async fn answer(stream: UnixStream, engine: &Engine) -> anyhow::Result<()> {
    let (reading, mut writing) = stream.into_split();
    let mut line = String::new();
    BufReader::new(reading.take(MAX_ORDER)).read_line(&mut line).await?;
    let done = match serde_json::from_str(&line) {
        Ok(order) => accounts::carry_out(engine, order).await,
        Err(error) => Err(anyhow!("this server does not understand the order ({error}); is it another version?")),
    };
    let mut answer = match done {
        Ok(value) => json!({ "ok": value }),
        Err(error) => json!({ "error": format!("{error:#}") }),
    }
    .to_string();
    answer.push('\n');
    writing.write_all(answer.as_bytes()).await?;
    Ok(())
}
