//! The pages of a run and of a build, with their live logs.

use std::sync::Arc;

use askama::Template;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use engine::Engine;
use model::{ActorId, Build, BuildId, Run, RunId};
use store::JobLog;

use crate::page::{Page, PageError, page};

#[derive(Template)]
#[template(path = "run.html")]
struct RunPage {
    run: Arc<Run>,
    actor_name: String,
}

/// A run below its Actor, as the CLI links it. The Actor is not compared: a metamorph changes it.
pub async fn show(State(engine): State<Engine>, Path((_, run)): Path<(String, String)>) -> Page {
    show_by_id(State(engine), Path(run)).await
}

/// A run.
pub async fn show_by_id(State(engine): State<Engine>, Path(run): Path<String>) -> Page {
    let id = RunId::parse(&run).ok_or(PageError::NotFound("Run"))?;
    let run = engine.store().runs.get(&id).await?.ok_or(PageError::NotFound("Run"))?;
    let actor_name = name_of(&engine, &run.actor_id).await?;
    page(&RunPage { run, actor_name })
}

#[derive(Template)]
#[template(path = "build.html")]
struct BuildPage {
    build: Arc<Build>,
    actor_name: String,
}

/// A build by number or id.
pub async fn show_build(State(engine): State<Engine>, Path((actor, build)): Path<(String, String)>) -> Page {
    let builds = &engine.store().builds;
    let found = match (BuildId::parse(&build), ActorId::parse(&actor)) {
        (Some(id), _) => builds.get(&id).await?,
        (None, Some(actor)) => builds.find(&actor, &build).await?,
        (None, None) => None,
    };
    let build = found.ok_or(PageError::NotFound("Build"))?;
    let actor_name = name_of(&engine, &build.actor_id).await?;
    page(&BuildPage { build, actor_name })
}

/// The log of a run, which grows until the run has ended.
pub async fn log(State(engine): State<Engine>, Path(run): Path<String>) -> Page {
    let id = RunId::parse(&run).ok_or(PageError::NotFound("Run"))?;
    follow(&engine, JobLog::Run(id)).await
}

/// The log of a build, which grows until the build has ended.
pub async fn build_log(State(engine): State<Engine>, Path(build): Path<String>) -> Page {
    let id = BuildId::parse(&build).ok_or(PageError::NotFound("Build"))?;
    follow(&engine, JobLog::Build(id)).await
}

async fn follow(engine: &Engine, job: JobLog) -> Result<Response, PageError> {
    let lines = engine.log(job, true).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], Body::from_stream(lines)).into_response())
}

async fn name_of(engine: &Engine, actor: &ActorId) -> Result<String, PageError> {
    let actor = engine.store().actors.get(actor).await?;
    Ok(actor.map_or_else(|| "deleted Actor".to_owned(), |actor| actor.name.clone()))
}
