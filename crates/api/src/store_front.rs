//! The store: public Actors for everybody to find (`STO-1`).

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use model::{Listed, Page};
use store::{FrontFilter, FrontOrder};

use crate::actors;
use crate::app::App;
use crate::error::{Answer, ApiError};
use crate::extract::{FromParams, MaybeAuth, Params, Query};
use crate::wire::{self, ListPage, StoreItem};

pub(crate) fn router() -> Router<App> {
    Router::new().route("/v2/store", get(list))
}

/// Which Actors to show, and how.
struct ListParams {
    wanted: FrontFilter,
    username: Option<String>,
    /// Without what only people look at.
    for_agents: bool,
    page: Page,
}

impl FromParams for ListParams {
    fn from_params(params: &Params) -> Result<Self, ApiError> {
        let text = |name: &str| params.non_empty(name).map(|text| text.into_owned());
        let order = match params.non_empty("sortBy").as_deref() {
            None | Some("relevance") => FrontOrder::Relevance,
            Some("popularity") => FrontOrder::Popularity,
            Some("newest") => FrontOrder::Newest,
            Some("lastUpdate") => FrontOrder::LastUpdate,
            Some(_) => {
                let message = "Parameter \"sortBy\" must be one of relevance, popularity, newest, lastUpdate";
                return Err(ApiError::invalid_request(message));
            }
        };
        let one_of = |name: &str, choices: &[&str]| match text(name) {
            Some(given) if !choices.contains(&given.as_str()) => {
                let message = format!("Parameter \"{name}\" must be one of {}", choices.join(", "));
                Err(ApiError::invalid_request(message))
            }
            given => Ok(given),
        };
        Ok(Self {
            wanted: FrontFilter {
                search: text("search").filter(|search| !search.trim().is_empty()),
                category: text("category"),
                user: None,
                pricing_model: one_of("pricingModel", &actors::PRICING_MODELS)?,
                order,
            },
            username: text("username"),
            for_agents: one_of("responseFormat", &["full", "agent"])?.as_deref() == Some("agent"),
            page: Page { desc: false, ..params.page()? },
        })
    }
}

async fn list(State(app): State<App>, MaybeAuth(_): MaybeAuth, Query(list): Query<ListParams>) -> Answer {
    let ListParams { mut wanted, username, for_agents, page } = list;
    let now = app.now();
    if let Some(username) = username {
        let user = app.store().users.find(&username).await?;
        // The name must be spelled exactly so.
        let Some(user) = user.filter(|user| user.username == username) else {
            return Ok(wire::ok(&ListPage::new(page, Listed { total: 0, items: Vec::<StoreItem>::new() })));
        };
        wanted.user = Some(user.id);
    }
    let found = app.store().actors.front(wanted, page, now).await?;
    let mut items = Vec::with_capacity(found.items.len());
    for (actor, stats) in &found.items {
        let url = (!for_agents).then(|| app.console_url(&format!("actors/{}", actor.id)));
        items.push(StoreItem::new(actor, &actors::username(&app, actor).await?, *stats, url, now));
    }
    Ok(wire::ok(&ListPage::new(page, Listed { total: found.total, items })))
}
