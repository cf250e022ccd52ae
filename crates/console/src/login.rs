//! The page that `apify login` opens, which hands the CLI a token (`CLI-3`).

use askama::Template;
use axum::Json;
use axum::extract::{Query, State};
use engine::Engine;
use serde::{Deserialize, Serialize};

use crate::page::{Page, PageError, page};

/// What the CLI puts behind the address of the page.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FromCli {
    local_cli_command: String,
    local_cli_port: Option<u16>,
    local_cli_token: String,
    local_cli_computer_name: String,
}

#[derive(Template)]
#[template(path = "integrations.html")]
struct Integrations {
    /// Port that the CLI waits on, when it was the CLI that opened the page.
    port: Option<u16>,
    cli_token: String,
    computer: String,
    url: String,
    usernames: Vec<String>,
}

/// Shows how to connect, and offers a waiting CLI its token.
pub async fn show(State(engine): State<Engine>, Query(cli): Query<FromCli>) -> Page {
    let usernames = engine.store().users.list().await?.iter().map(|user| user.username.clone()).collect();
    let port = cli.local_cli_port.filter(|_| cli.local_cli_command == "login");
    let url = engine.config().public_url.clone();
    page(&Integrations { port, cli_token: cli.local_cli_token, computer: cli.local_cli_computer_name, url, usernames })
}

/// Asks for a new token.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenWanted {
    username: String,
    #[serde(default)]
    computer_name: String,
}

/// A new token, shown once.
#[derive(Debug, Serialize)]
pub struct NewToken {
    token: String,
}

/// Makes a token for the CLI.
pub async fn create_token(
    State(engine): State<Engine>,
    Json(wanted): Json<TokenWanted>,
) -> Result<Json<NewToken>, PageError> {
    let user = engine.store().users.find(&wanted.username).await?.ok_or(PageError::NotFound("User"))?;
    let computer: String = wanted.computer_name.chars().filter(|letter| !letter.is_control()).take(60).collect();
    let name = if computer.is_empty() { "apify CLI".to_owned() } else { format!("apify CLI on {computer}") };
    let (_, token) = engine.create_token(&user.id, &name, None).await?;
    Ok(Json(NewToken { token }))
}
