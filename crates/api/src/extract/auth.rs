//! Who calls (`AUTH-1` to `AUTH-6`).

use axum::extract::{FromRequestParts, MatchedPath};
use engine::Caller;
use http::header::AUTHORIZATION;
use http::request::Parts;

use crate::app::App;
use crate::error::ApiError;
use crate::extract::Params;
use crate::rights;

/// The caller, where a token is needed: none is `401 token-not-provided`, a wrong one `401 user-or-token-not-found`. A token
/// that may do less than its user comes as far as [`rights::admit`] lets it.
#[derive(Clone, Debug)]
pub(crate) struct Auth(pub(crate) Caller);

/// The caller, where no token is needed. A wrong token is refused all the same (`AUTH-6`).
#[derive(Clone, Debug)]
pub(crate) struct MaybeAuth(pub(crate) Option<Caller>);

impl FromRequestParts<App> for Auth {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        caller(parts, app).await?.map(Self).ok_or_else(ApiError::token_not_provided)
    }
}

impl FromRequestParts<App> for MaybeAuth {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        caller(parts, app).await.map(Self)
    }
}

async fn caller(parts: &Parts, app: &App) -> Result<Option<Caller>, ApiError> {
    let caller = if let Some(header) = parts.headers.get(AUTHORIZATION) {
        // The header wins over the query; one that we cannot read is a token that nobody has.
        let Some(token) = bearer(header.as_bytes()) else { return Err(ApiError::unknown_token()) };
        app.engine().authenticate(token).await?
    } else {
        let params = Params::of(&parts.uri);
        let Some(token) = params.text("token").filter(|token| !token.is_empty()) else { return Ok(None) };
        app.engine().authenticate(&token).await?
    };
    let caller = caller.ok_or_else(ApiError::unknown_token)?;
    rights::admit(&caller, &parts.method, parts.extensions.get::<MatchedPath>().map(MatchedPath::as_str))?;
    Ok(Some(caller))
}

/// The token in an `Authorization` header of the form `Bearer …`.
pub(crate) fn bearer(header: &[u8]) -> Option<&str> {
    let (scheme, token) = std::str::from_utf8(header).ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
