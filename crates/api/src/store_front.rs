//! The store: public Actors for everybody to find (`STO-1`).

use std::cmp::Reverse;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use model::pricing::PricingInfo;
use model::{Actor, ActorStats, Listed, Page, fold};

use crate::actors;
use crate::app::App;
use crate::error::{Answer, ApiError};
use crate::extract::{FromParams, MaybeAuth, Params, Query};
use crate::wire::{self, ListPage, StoreItem};

pub(crate) fn router() -> Router<App> {
    Router::new().route("/v2/store", get(list))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Relevance,
    Popularity,
    Newest,
    LastUpdate,
}

/// Which Actors to show, and how.
struct ListParams {
    search: Option<String>,
    category: Option<String>,
    username: Option<String>,
    pricing_model: Option<String>,
    order: Order,
    /// Without what only people look at.
    for_agents: bool,
    page: Page,
}

impl FromParams for ListParams {
    fn from_params(params: &Params) -> Result<Self, ApiError> {
        let text = |name| params.non_empty(name).map(|text| text.into_owned());
        let order = match params.non_empty("sortBy").as_deref() {
            None | Some("relevance") => Order::Relevance,
            Some("popularity") => Order::Popularity,
            Some("newest") => Order::Newest,
            Some("lastUpdate") => Order::LastUpdate,
            Some(_) => {
                let message = "Parameter \"sortBy\" must be one of relevance, popularity, newest, lastUpdate";
                return Err(ApiError::invalid_request(message));
            }
        };
        Ok(Self {
            search: text("search").map(|search| fold(search.trim())).filter(|search| !search.is_empty()),
            category: text("category"),
            username: text("username"),
            pricing_model: text("pricingModel"),
            order,
            for_agents: params.text("responseFormat").as_deref() == Some("agent"),
            page: Page { desc: false, ..params.page()? },
        })
    }
}

/// An Actor that matches.
struct Found {
    actor: Arc<Actor>,
    stats: ActorStats,
    username: String,
    /// How well it matches: 0 by name or title.
    rank: u8,
}

async fn list(State(app): State<App>, MaybeAuth(_): MaybeAuth, Query(wanted): Query<ListParams>) -> Answer {
    let mut found = Vec::new();
    for (actor, stats) in app.store().actors.public().await? {
        if let Some(matching) = matching(&app, &wanted, actor, stats).await? {
            found.push(matching);
        }
    }
    // Ids break ties, so that pages fit together.
    let popularity = |found: &Found| Reverse((found.stats.total_runs > 0, found.stats.total_runs));
    match wanted.order {
        Order::Relevance => found.sort_by_key(|found| (found.rank, popularity(found), found.actor.id)),
        Order::Popularity => found.sort_by_key(|found| (popularity(found), found.actor.id)),
        Order::Newest => found.sort_by_key(|found| (Reverse(found.actor.created_at), found.actor.id)),
        Order::LastUpdate => found.sort_by_key(|found| (Reverse(found.actor.modified_at), found.actor.id)),
    }

    let total = found.len() as u64;
    let skipped = usize::try_from(wanted.page.offset).unwrap_or(usize::MAX);
    let limit = usize::try_from(wanted.page.limit).unwrap_or(usize::MAX);
    let now = app.now();
    let items = found.iter().skip(skipped).take(limit).map(|Found { actor, stats, username, .. }| {
        let url = (!wanted.for_agents).then(|| app.console_url(&format!("actors/{}", actor.id)));
        StoreItem::new(actor, username, *stats, url, now)
    });
    let items = items.collect();
    Ok(wire::ok(&ListPage::new(wanted.page, Listed { total, items })))
}

/// The Actor with its rank, if it is among those wanted.
async fn matching(
    app: &App,
    wanted: &ListParams,
    actor: Arc<Actor>,
    stats: ActorStats,
) -> Result<Option<Found>, ApiError> {
    let username = actors::username(app, &actor).await?;
    let pricing = PricingInfo::in_force(&actor.pricing_infos, app.now());
    let pricing_model = pricing.map_or("FREE", |pricing| &pricing.pricing_model);
    let fits = wanted.username.as_ref().is_none_or(|wanted| *wanted == username)
        && wanted.category.as_ref().is_none_or(|wanted| actor.categories.contains(wanted))
        && wanted.pricing_model.as_ref().is_none_or(|wanted| wanted == pricing_model);
    let rank = match &wanted.search {
        _ if !fits => None,
        None => Some(0),
        Some(search) => rank(app, &actor, &username, search).await?,
    };
    Ok(rank.map(|rank| Found { actor, stats, username, rank }))
}

/// How well an Actor matches a search; `None` if not at all.
async fn rank(app: &App, actor: &Actor, username: &str, search: &str) -> Result<Option<u8>, ApiError> {
    let has = |text: &str| fold(text).contains(search);
    let texts = [
        (0, Some(actor.name.as_str())),
        (0, actor.title.as_deref()),
        (1, actor.description.as_deref()),
        (1, Some(username)),
    ];
    if let Some((rank, _)) = texts.into_iter().find(|(_, text)| text.is_some_and(has)) {
        return Ok(Some(rank));
    }
    let default = actor.tagged_builds.get(&actor.default_run_options.build);
    let build = match default {
        Some(tagged) => app.store().builds.get(&tagged.build_id).await?,
        None => None,
    };
    Ok(build.and_then(|build| build.readme.as_deref().is_some_and(has).then_some(2)))
}
