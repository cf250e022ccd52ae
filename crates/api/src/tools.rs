//! Small things that need nothing else: what a request looks like from here, and sealed messages (section 23 of the contract).

use axum::Extension;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{any, post};
use futures::TryStreamExt as _;
use http::{HeaderMap, Method, StatusCode};
use model::UserId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::error::{Answer, ApiError, Problem};
use crate::extract::{Auth, Json, MaybeAuth, Params};
use crate::layers::Peer;
use crate::wire;

pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/v2/browser-info", any(browser_info))
        .route("/v2/tools/encode-and-sign", post(encode))
        .route("/v2/tools/decode-and-verify", post(decode))
}

/// `/v2/browser-info` tells a client how its request looks from here (`STO-2`). A wrong token is refused here, too
/// (`AUTH-6`).
async fn browser_info(
    MaybeAuth(_): MaybeAuth,
    method: Method,
    Extension(Peer(peer)): Extension<Peer>,
    headers: HeaderMap,
    params: Params,
    body: Body,
) -> Result<Response, ApiError> {
    let body_length = body.into_data_stream().try_fold(0, |sum, piece| async move { Ok(sum + piece.len()) });
    let mut info = json!({
        "method": method.as_str(),
        "clientIp": peer.ip().to_canonical().to_string(),
        "countryCode": null,
        "bodyLength": body_length.await.map_err(|_| ApiError::new(Problem::RequestAbortedPrematurely, "The request body ended early"))?,
    });
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    if !params.flag("skipHeaders")? {
        let by_name = headers.keys().map(|name| {
            let mut values: Vec<String> = headers.get_all(name).iter().map(text).collect();
            let value = if values.len() == 1 { Value::from(values.remove(0)) } else { Value::from(values) };
            (name.to_string(), value)
        });
        info["headers"] = by_name.collect::<Map<String, Value>>().into();
    }
    if params.flag("rawHeaders")? {
        info["rawHeaders"] = headers.iter().flat_map(|(name, value)| [name.to_string(), text(value)]).collect();
    }
    Ok(wire::bare_json(StatusCode::OK, &info))
}

/// A message as it is sealed. The field's name keeps other sealed values from passing for one.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Sealed {
    signed_message: Map<String, Value>,
    by: UserId,
}

/// `POST /v2/tools/encode-and-sign` (`STO-3`).
async fn encode(State(app): State<App>, Auth(caller): Auth, Json(message): Json<Map<String, Value>>) -> Answer {
    let sealed = serde_json::to_string(&Sealed { signed_message: message, by: caller.user.id });
    let encoded = app.engine().seal(&sealed.map_err(ApiError::internal)?);
    Ok(wire::ok(&json!({ "encoded": encoded })))
}

#[derive(Deserialize)]
struct Encoded {
    encoded: String,
}

/// `POST /v2/tools/decode-and-verify`, which needs no token.
async fn decode(State(app): State<App>, MaybeAuth(_): MaybeAuth, Json(Encoded { encoded }): Json<Encoded>) -> Answer {
    let sealed = app.engine().unseal(&encoded).and_then(|text| serde_json::from_str::<Sealed>(&text).ok());
    let Some(Sealed { signed_message, by }) = sealed else {
        return Err(ApiError::new(
            Problem::InvalidSignature,
            "The message was not signed by this server or was changed",
        ));
    };
    let is_known = app.store().users.get(&by).await?.is_some();
    Ok(wire::ok(&json!({ "decoded": signed_message, "encodedByUserId": by, "isVerifiedUser": is_known })))
}
