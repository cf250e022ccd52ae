//! Users and tokens, as the command line orders them.

use anyhow::{Context as _, bail};
use engine::Engine;
use model::{ActorId, Grant, RunsMay, Scope, ScopeKind, StorageKind, Timestamp, TokenId, User};
use serde_json::{Value, json};

use crate::control::Order;

/// Name of the user that the first start makes.
pub const FIRST_USER: &str = "playhouse";
/// Name of the token that `playhouse env` prints.
pub const OPERATOR_TOKEN: &str = "local operator";

const MILLIS_PER_DAY: i64 = 86_400_000;

/// Carries out an order and gives what is to be printed.
pub async fn carry_out(engine: &Engine, order: Order) -> anyhow::Result<Value> {
    match order {
        Order::UserAdd { name } => {
            let user = engine.create_user(&name).await?;
            let (_, value) = engine.create_token(&user.id, "first token", None).await?;
            Ok(json!({ "id": user.id, "username": user.username, "token": value }))
        }
        Order::UserList => {
            let users = engine.store().users.list().await?;
            let rows = users
                .iter()
                .map(|user| json!({ "id": user.id, "username": user.username, "createdAt": user.created_at }));
            Ok(rows.collect())
        }
        Order::UserSet { name, fields } => {
            let user = find(engine, &name).await?;
            let mut changed = (*user).clone();
            for (field, value) in &fields {
                set(&mut changed, field, value)?;
            }
            let id = user.id;
            let changed = engine.modify_user(&id, move |user| *user = changed).await?;
            Ok(json!({
                "id": id, "username": changed.username, "email": changed.email, "profile": changed.profile,
                "maxMonthlyUsageUsd": changed.max_monthly_usage_usd, "dataRetentionDays": changed.data_retention_days,
                "maxMemoryMbytes": changed.max_memory_mbytes, "maxConcurrentRuns": changed.max_concurrent_runs,
            }))
        }
        Order::TokenCreate { user, name, expires_days, expires, scope, limits_runs, default_storages } => {
            let user = find(engine, &user).await?;
            let now = engine.clock().now();
            let expires_at = match (expires, expires_days) {
                (Some(text), _) => {
                    let end = Timestamp::parse(&text).filter(|end| *end > now);
                    Some(end.with_context(|| format!("{text} is no date in the future, such as 2030-12-31"))?)
                }
                (None, days) => days.map(|days| now.plus_millis(i64::from(days) * MILLIS_PER_DAY)),
            };
            let scope = match scope.is_empty() {
                true if limits_runs || default_storages => bail!("only a token with a --scope can be limited further"),
                true => None,
                false => {
                    let mut grants = Vec::with_capacity(scope.len());
                    for text in &scope {
                        grants.push(grant(engine, &user, text).await?);
                    }
                    let runs_may = if limits_runs { RunsMay::Same } else { RunsMay::Everything };
                    Some(Scope { grants, runs_may, default_storages })
                }
            };
            let (token, value) = engine.create_scoped_token(&user.id, &name, expires_at, scope).await?;
            Ok(json!({
                "id": token.id, "name": token.name, "username": user.username, "token": value,
                "expiresAt": token.expires_at, "scope": shown(token.scope.as_ref()),
            }))
        }
        Order::TokenList { user } => {
            let users = match user {
                Some(name) => vec![find(engine, &name).await?],
                None => engine.store().users.list().await?,
            };
            let mut rows = Vec::new();
            for user in users {
                for token in engine.store().users.tokens(&user.id).await? {
                    let state = state(token.expires_at, engine.clock().now());
                    rows.push(json!({
                        "id": token.id, "name": token.name, "username": user.username,
                        "createdAt": token.created_at, "expiresAt": token.expires_at, "state": state,
                        "scope": shown(token.scope.as_ref()),
                    }));
                }
            }
            Ok(Value::Array(rows))
        }
        Order::TokenRevoke { id } => {
            let Some(id) = TokenId::parse(&id) else {
                bail!("{id} is not the id of a token; `playhouse token list` shows them")
            };
            engine.revoke_token(&id).await.with_context(|| format!("token {id}"))?;
            Ok(json!({ "id": id, "revoked": true }))
        }
    }
}

fn state(expires_at: Option<Timestamp>, now: Timestamp) -> &'static str {
    if expires_at.is_some_and(|end| end <= now) { "expired" } else { "valid" }
}

/// Changes one field of a user; an empty text takes it away.
fn set(user: &mut User, field: &str, value: &str) -> anyhow::Result<()> {
    let text = (!value.is_empty()).then(|| value.to_owned());
    let number = || -> anyhow::Result<Option<u32>> {
        let wrong = || format!("--{field} {value}: this must be a whole number, or empty for no limit");
        text.as_deref().map(|text| text.parse().with_context(wrong)).transpose()
    };
    let url = || -> anyhow::Result<Option<String>> {
        match &text {
            Some(url) if !(url.starts_with("http://") || url.starts_with("https://")) => {
                bail!("--{field} {value}: this must begin with http:// or https://")
            }
            url => Ok(url.clone()),
        }
    };
    match field {
        // Clients refuse a user whose address does not look like one (USR-4).
        "email" if text.as_deref().is_some_and(|email| !looks_like_email(email)) => {
            bail!("--email {value}: this is no address")
        }
        "email" => user.email = text,
        "full-name" => user.profile.name = text,
        "bio" => user.profile.bio = text,
        "picture-url" => user.profile.picture_url = url()?,
        "website-url" => user.profile.website_url = url()?,
        "github" => user.profile.github_username = text,
        "twitter" => user.profile.twitter_username = text,
        "max-monthly-usage-usd" => {
            let usd = text.as_deref().map(str::parse::<f64>).transpose().ok();
            let usd = usd.filter(|usd| usd.is_none_or(|usd| usd.is_finite() && usd >= 0.0));
            user.max_monthly_usage_usd =
                usd.with_context(|| format!("--{field} {value}: this must be a number of at least 0"))?;
        }
        "data-retention-days" => user.data_retention_days = number()?.filter(|days| *days > 0),
        "max-memory-mbytes" => user.max_memory_mbytes = number()?,
        "max-concurrent-runs" => user.max_concurrent_runs = number()?,
        _ => bail!("users have no {field}"),
    }
    Ok(())
}

fn looks_like_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let is_word =
        |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_graphic() && !"@,;<>()[]\\\"".contains(c));
    is_word(local) && domain.contains('.') && domain.split('.').all(is_word)
}

/// Reads a grant. What it names it may name by name, too.
async fn grant(engine: &Engine, user: &User, text: &str) -> anyhow::Result<Grant> {
    let mut grant: Grant = text.parse()?;
    let store = engine.store();
    if let Some(named) = &grant.id {
        let storage = async |kind| {
            let found = store.storages.find(&user.id, kind, named).await?;
            anyhow::Ok(found.map(|found| found.id.to_string()))
        };
        let id = match grant.kind {
            ScopeKind::Dataset => storage(StorageKind::Dataset).await?,
            ScopeKind::KeyValueStore => storage(StorageKind::KeyValueStore).await?,
            ScopeKind::RequestQueue => storage(StorageKind::RequestQueue).await?,
            ScopeKind::Actor => store.actors.find(&user.id, named).await?.map(|found| found.id.to_string()),
            ScopeKind::Task => store.tasks.find(&user.id, named).await?.map(|found| found.id.to_string()),
            ScopeKind::Schedule => {
                store.schedules.find(&user.id, named).await?.map(|found| found.schedule.id.to_string())
            }
            // Neither has a name.
            ScopeKind::Webhook | ScopeKind::Account => None,
        };
        let id = id.or_else(|| ActorId::parse(named).map(|id| id.to_string()));
        let id = id.with_context(|| format!("{text}: {} has nothing of that name, and it is no id", user.username))?;
        grant.id = Some(id);
    }
    Ok(grant)
}

/// The grants of a token as the command line has them; `null` if it may do everything.
fn shown(scope: Option<&Scope>) -> Value {
    scope.map_or(Value::Null, |scope| scope.grants.iter().map(ToString::to_string).collect())
}

async fn find(engine: &Engine, name: &str) -> anyhow::Result<std::sync::Arc<User>> {
    let user = engine.store().users.find(name).await?;
    user.with_context(|| format!("there is no user {name}; `playhouse user list` shows them all"))
}
