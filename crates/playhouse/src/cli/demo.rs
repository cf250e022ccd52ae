//! `playhouse demo`.

use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use clap::Args;
use engine::{Asked, Caller, RunInput, RunOptionsGiven, StartBuild, StartRun};
use futures::TryStreamExt as _;
use model::{Actor, ActorId, JobStatus, Origin, Version};
use serde_json::json;
use store::Window;

use super::serve::{Ready, Serve};
use crate::demo::{ACTOR_NAME, site, source};
use crate::exit::{Failure, USAGE};
use crate::settings::DriverChoice;

/// How many items are printed.
const SHOWN: u64 = 5;
/// How long the build or the run of the sample may take before the demo gives up waiting.
const PATIENCE: Duration = Duration::from_secs(120);

/// Start the server, and run the sample.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  playhouse demo\n  playhouse demo --once --ephemeral     and leave nothing behind")]
pub struct Demo {
    #[command(flatten)]
    serve: Serve,

    /// Stop the server after the run instead of leaving it to be looked at
    #[arg(long)]
    once: bool,
}

impl Demo {
    /// Serves, runs the sample once the server answers, and says what to do next.
    pub fn run(mut self) -> anyhow::Result<()> {
        let once = self.once;
        // The sample is this program, which containers do not have.
        if self.serve.settings.driver == Some(DriverChoice::Docker) {
            let reason = "the sample is this program itself, which containers do not have: leave out --driver docker";
            return Err(Failure::new(USAGE, reason).into());
        }
        self.serve.settings.driver = Some(DriverChoice::Process);
        self.serve.run(Some(Box::new(move |ready| {
            Box::pin(async move {
                show(&ready).await.context("the sample did not work")?;
                Ok(once)
            })
        })))
    }
}

async fn show(ready: &Ready) -> anyhow::Result<()> {
    let Ready { engine, addresses, user, .. } = ready;
    let caller = Caller::of(user.clone());
    let asked = Asked { origin: Origin::Cli, client_ip: None, user_agent: None, workflow_key: None };
    let actor = sample_actor(ready).await?;

    println!("\nBuilding the sample Actor {}/{ACTOR_NAME}", user.username);
    let build = StartBuild {
        version: "0.1".to_owned(),
        tag: None,
        use_cache: true,
        beta_packages: false,
        asked: asked.clone(),
    };
    let build = engine.start_build(&caller, &actor, build).await?;
    let build = engine.wait_for_build(&build.id, PATIENCE).await?;
    if build.status != JobStatus::Succeeded {
        bail!("its build {}: {}", build.status, build.status_message.as_deref().unwrap_or("no reason is known"));
    }

    // The tag that the run is started by came with the build.
    let actor = sample_actor(ready).await?;
    let start_url = format!("{}{}", addresses.local, site::PATH);
    println!("Running it on {start_url}");
    let body = Bytes::from(json!({ "startUrl": start_url }).to_string());
    let input = Some(RunInput { body, content_type: Some("application/json".to_owned()) });
    let given = RunOptionsGiven { memory_mbytes: Some(128), ..RunOptionsGiven::default() };
    let start = StartRun {
        given,
        force_permission_level: None,
        input,
        without_dev_folder: false,
        asked,
        task: None,
        scheduled: None,
        webhooks: Vec::new(),
        without_input: false,
    };
    let run = engine.start_run(&caller, &actor, start).await?;
    let run = engine.wait_for_run(&run.id, PATIENCE).await?;
    println!("Run {} {}: {}", run.id, run.status, run.status_message.as_deref().unwrap_or_default());
    if run.status != JobStatus::Succeeded {
        bail!("see its log: {}/runs/{}", addresses.public, run.id);
    }

    let window = Window { offset: 0, limit: Some(SHOWN), desc: false };
    let items = engine.store().datasets.read(&run.storages.dataset, window).await?;
    println!("\nThe first {} of its {} items:", items.count, items.total);
    for chunk in items.chunks.try_collect::<Vec<_>>().await? {
        print!("{}", String::from_utf8_lossy(&chunk.lines));
    }
    println!("\nLook at it: {}/actors/{}/runs/{}", addresses.public, run.actor_id, run.id);
    println!("Next, with an Actor of your own, in another terminal and this directory:");
    println!(
        "  eval \"$(playhouse env)\"\n  cd my-actor\n  apify login --token \"$APIFY_TOKEN\"\n  apify push && apify call"
    );
    Ok(())
}

/// The sample Actor, made at the first demo of a data directory.
async fn sample_actor(ready: &Ready) -> anyhow::Result<std::sync::Arc<Actor>> {
    let Ready { engine, user, .. } = ready;
    if let Some(actor) = engine.store().actors.find(&user.id, ACTOR_NAME).await? {
        return Ok(actor);
    }
    let now = engine.clock().now();
    let version = Version {
        version_number: "0.1".to_owned(),
        source: source(),
        build_tag: Some("latest".to_owned()),
        env_vars: Vec::new(),
        apply_env_vars_to_build: false,
    };
    let actor = Actor::new(ActorId::random(engine.random()), user.id, ACTOR_NAME, now);
    Ok(engine.store().actors.create(Actor { title: Some("Sample crawler".to_owned()), ..actor }, vec![version]).await?)
}
