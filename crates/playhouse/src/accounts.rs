//! Users and tokens, as the command line orders them.

use anyhow::{Context as _, bail};
use engine::Engine;
use model::{Timestamp, TokenId, User};
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
        Order::TokenCreate { user, name, expires_days } => {
            let user = find(engine, &user).await?;
            let expires_at =
                expires_days.map(|days| engine.clock().now().plus_millis(i64::from(days) * MILLIS_PER_DAY));
            let (token, value) = engine.create_token(&user.id, &name, expires_at).await?;
            Ok(
                json!({ "id": token.id, "name": token.name, "username": user.username, "token": value, "expiresAt": token.expires_at }),
            )
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

async fn find(engine: &Engine, name: &str) -> anyhow::Result<std::sync::Arc<User>> {
    let user = engine.store().users.find(name).await?;
    user.with_context(|| format!("there is no user {name}; `playhouse user list` shows them all"))
}
