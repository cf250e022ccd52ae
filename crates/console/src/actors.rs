//! The list of Actors, and the page of one.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use engine::Engine;
use model::{Actor, ActorStats, Build, Page as Window, Reference, RunSummary};
use store::{BuildFilter, RunFilter};

use crate::page::{Page, PageError, page};

/// How many runs and builds a page shows.
const SHOWN: u64 = 20;

const NEWEST: Window = Window { offset: 0, limit: SHOWN, desc: true };

#[derive(Template)]
#[template(path = "home.html")]
struct Home {
    actors: Vec<(Arc<Actor>, ActorStats, String)>,
    runs: Vec<RunSummary>,
    url: String,
}

/// The newest Actors and runs of everybody.
pub async fn home(State(engine): State<Engine>) -> Page {
    let store = engine.store();
    let mut actors = Vec::new();
    for user in store.users.list().await? {
        let own = store.actors.list(&user.id, true, false, NEWEST).await?;
        actors.extend(own.items.into_iter().map(|(actor, stats)| (actor, stats, user.username.clone())));
    }
    let runs = store.runs.list(RunFilter::default(), NEWEST).await?.items;
    page(&Home { actors, runs, url: engine.config().public_url.clone() })
}

#[derive(Template)]
#[template(path = "actor.html")]
struct ActorPage {
    actor: Arc<Actor>,
    username: String,
    stats: ActorStats,
    runs: Vec<RunSummary>,
    builds: Vec<Arc<Build>>,
}

/// One Actor with its newest runs and builds.
pub async fn show(State(engine): State<Engine>, Path(actor): Path<String>) -> Page {
    let store = engine.store();
    let Ok(Reference::Id(id)) = Reference::parse(&actor) else { return Err(PageError::NotFound("Actor")) };
    let actor = store.actors.get(&id).await?.ok_or(PageError::NotFound("Actor"))?;
    let owner = store.users.get(&actor.user_id).await?;
    let runs = store.runs.list(RunFilter { actor: Some(id), ..RunFilter::default() }, NEWEST).await?.items;
    let builds = store.builds.list(BuildFilter::OfActor(id), NEWEST).await?.items;
    let stats = store.actors.stats(&id).await?;
    page(&ActorPage {
        actor,
        username: owner.map(|user| user.username.clone()).unwrap_or_default(),
        stats,
        runs,
        builds,
    })
}
