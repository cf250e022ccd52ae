//! `playhouse serve`.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use engine::Engine;
use futures::future::BoxFuture;
use model::User;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::control::Control;
use crate::data_dir::{DataDir, write_private};
use crate::demo::site;
use crate::exit::{Failure, USAGE};
use crate::server::Faces;
use crate::settings::{LogFormat, Settings};
use crate::wiring::{self, Addresses};

/// Start the server.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Examples:\n  playhouse serve\n  playhouse serve --data-dir /var/lib/playhouse --listen 127.0.0.1:4000\n  playhouse serve --ephemeral --listen 127.0.0.1:0 --ready-file ready.json     in CI\n\nSIGTERM or Ctrl+C: takes no more requests, finishes those under way, exits; runs go on and are taken up again\nat the next start. A second one ends the server at once."
)]
pub struct Serve {
    #[command(flatten)]
    pub settings: Settings,

    /// Throw all data away at the end, and take runs down with the server; for tests and CI. Not with --data-dir or its variable
    #[arg(long, conflicts_with = "data_dir")]
    pub ephemeral: bool,

    /// Write {"url","consoleUrl","token","userId","pid"} to this file once the API answers
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,

    /// Read settings from this TOML file
    #[arg(long, env = "PLAYHOUSE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// A server that answers.
#[derive(Clone)]
pub struct Ready {
    /// Its engine.
    pub engine: Engine,
    /// Its addresses.
    pub addresses: Addresses,
    /// The local operator.
    pub user: Arc<User>,
    /// The local operator's token.
    pub token: String,
    /// Why this driver is in use.
    pub why: String,
}

/// What to do once the server answers, and whether the server is to stop after it.
pub type WhenReady = Box<dyn FnOnce(Ready) -> BoxFuture<'static, anyhow::Result<bool>> + Send>;

impl Serve {
    /// Serves until a signal ends it.
    pub fn run(self, when_ready: Option<WhenReady>) -> anyhow::Result<()> {
        let settings = super::settings(self.settings.clone(), self.config.clone())?;
        start_log(&settings)?;
        raise_file_limit();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let served = runtime.block_on(self.serve(&settings, when_ready));
        // Waiters and followers of logs may still hang on; nothing of theirs is worth waiting for.
        runtime.shutdown_background();
        served
    }

    async fn serve(self, settings: &Settings, when_ready: Option<WhenReady>) -> anyhow::Result<()> {
        let throw_away = self.ephemeral.then(tempfile::tempdir).transpose().context("cannot make a directory")?;
        let directory = throw_away.as_ref().map_or_else(|| settings.data_dir(), |made| made.path().to_owned());
        let data_dir = DataDir::open(&directory)?;
        let listener = crate::server::bind(settings.listen()).await?;
        let bound = listener.local_addr()?;
        let addresses = Addresses::of(settings, bound);
        let wiring::Opened { engine, why, listen } =
            wiring::open(&data_dir, settings, &addresses, self.ephemeral).await?;
        let for_runs = listen.map(crate::server::bind_ahead).transpose()?;
        let (user, token) = wiring::operator(&engine, &data_dir).await?;
        data_dir.set_url(&addresses.public)?;

        let stop = CancellationToken::new();
        let control = Control::open(data_dir.path())?;
        let orders = tokio::spawn(control.serve(engine.clone(), stop.clone()));
        let pages = console::router(engine.clone(), settings.console_password.clone(), bound).merge(site::router());
        let app = api::App::new(engine.clone(), wiring::api_config(settings));
        let api = api::Service::new(app.clone());
        if let Some(for_runs) = for_runs {
            // Runs have no business with the pages.
            let faces = Faces { api: api.clone(), pages: axum::Router::new() };
            tokio::spawn(crate::server::serve(for_runs, faces, stop.clone()));
        }
        let server = tokio::spawn(crate::server::serve(listener, Faces { api, pages }, stop.clone()));
        engine.recover().await.context("cannot take up the runs of the last time")?;
        app.deliver_webhooks();

        let ready = Ready { engine: engine.clone(), addresses, user, token, why };
        if let Some(path) = &self.ready_file {
            write_ready_file(path, &ready)?;
        }
        greet(&ready, data_dir.path(), self.ephemeral, when_ready.is_none());
        let done = match when_ready {
            Some(when_ready) => tokio::select! {
                done = when_ready(ready) => done,
                signalled = wait_for_signal() => signalled.map(|()| true),
            },
            None => Ok(false),
        };
        if !matches!(done, Ok(true) | Err(_)) {
            wait_for_signal().await?;
        }
        tracing::info!("Stopping: finishing the answers under way");
        stop.cancel();
        tokio::select! {
            _ = server => {}
            done = wait_for_signal() => {
                done?;
                tracing::warn!("Stopping at once");
            }
        }
        orders.await.ok();
        engine.shutdown().await;
        if let Err(failure) = engine.driver().close().await {
            tracing::warn!(%failure, "The driver could not end its jobs");
        }
        tracing::info!("Stopped");
        done.map(|_| ())
    }
}

fn write_ready_file(path: &Path, ready: &Ready) -> anyhow::Result<()> {
    let content = json!({
        "url": ready.addresses.public,
        "consoleUrl": ready.addresses.public,
        "token": ready.token,
        "userId": ready.user.id,
        "pid": std::process::id(),
    });
    write_private(path, &content.to_string())
}

/// Says where the server is and what to type next. The token is shown on a terminal only: elsewhere the text ends up in log files.
fn greet(ready: &Ready, data_dir: &Path, ephemeral: bool, with_next_steps: bool) {
    let url = &ready.addresses.public;
    let driver = ready.engine.driver();
    let isolation = driver.isolation();
    let why = &ready.why;
    tracing::info!(url, driver = driver.name(), why, isolation = isolation.level, "Playhouse answers");
    if !std::io::stdout().is_terminal() && !with_next_steps {
        return;
    }
    println!("playhouse {}  API {url}  console {url}", env!("CARGO_PKG_VERSION"));
    let kept = if ephemeral { "thrown away at the end" } else { "kept" };
    println!("data {} ({kept})", data_dir.display());
    println!("driver: {} (isolation: {}), {why}", driver.name(), isolation.level);
    if !with_next_steps {
        return;
    }
    println!("Point the Apify CLI here:");
    println!("  export APIFY_CLIENT_BASE_URL={url}");
    println!("  export APIFY_CONSOLE_URL={url}");
    if std::io::stdout().is_terminal() {
        println!("  apify login --token {}", ready.token);
    } else {
        println!(
            "  apify login --token \"$(. <(playhouse env --data-dir {}); echo $APIFY_TOKEN)\"",
            data_dir.display()
        );
    }
}

/// Waits for SIGTERM or SIGINT.
async fn wait_for_signal() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

fn start_log(settings: &Settings) -> anyhow::Result<()> {
    let filter = settings.log.as_deref().unwrap_or("info");
    let filter = tracing_subscriber::EnvFilter::try_new(filter)
        .map_err(|error| Failure::new(USAGE, format!("--log {filter}: {error}")))?;
    let terminal = std::io::stderr().is_terminal();
    let format = settings.log_format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.with_ansi(terminal && std::env::var_os("NO_COLOR").is_none()).init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).init(),
    }
    Ok(())
}

/// Each run, follower and connection takes file descriptors; the usual soft limit of 1024 is a relic.
fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised =
        getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "Cannot raise the limit of open files");
    }
}
