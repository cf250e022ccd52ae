//! Requests to an Actor's Standby (`STB-1` to `STB-9`).

use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use engine::StandbyOf;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use model::{Right, StandbyLabel};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::WebServers;
use super::address::{Destination, Server, page_of_its_own};
use super::container::{moved, reason};
use super::loan::Loan;
use crate::error::{ApiError, Problem};
use crate::extract::bearer;
use crate::{access, actors};

/// From the arrival of a request to the head of its answer (`STB-3`).
const PATIENCE: Duration = Duration::from_secs(300);
const APIFY_AUTHORIZATION: HeaderName = HeaderName::from_static("x-apify-authorization");

/// Hands the request to a Standby run and streams the answer.
pub(super) async fn serve(web: &WebServers, destination: Destination, request: Request<Body>) -> Response {
    let arrived = Instant::now();
    hand_over(web, destination, request, arrived).await.unwrap_or_else(ApiError::into_response)
}

async fn hand_over(
    web: &WebServers,
    mut destination: Destination,
    mut request: Request<Body>,
    arrived: Instant,
) -> Result<Response, ApiError> {
    let (reference, is_task) = match &destination.server {
        Server::Standby { reference, is_task } => (reference, *is_task),
        Server::Run(_) => return Err(ApiError::page_not_found(request.uri().path())),
    };
    let with_token = destination.clone();
    let Some(token) = take_token(request.headers_mut(), &mut destination.path) else {
        return preflight(&request).ok_or_else(ApiError::token_not_provided);
    };
    let app = &web.app;
    let caller = app.engine().authenticate(&token).await?.ok_or_else(ApiError::unknown_token)?;
    let of = match is_task {
        true => {
            let task = access::own_task(app, &caller, Right::Run, reference).await?;
            StandbyOf { actor: app.engine().actor_of(&task).await?, task: Some(task) }
        }
        false => StandbyOf { actor: access::visible_actor(app, &caller, reference).await?, task: None },
    };
    if !destination.prefix.is_empty() {
        let (owner, name) = match &of.task {
            Some(task) => (caller.user.username.clone(), task.name.clone()),
            None => (actors::username(app, &of.actor).await?, of.actor.name.clone()),
        };
        let label = StandbyLabel { owner, name, is_task }.write();
        let own = page_of_its_own(app.engine_config(), request.headers(), &with_token, label.as_deref());
        if let Some(location) = own {
            return Ok(moved(&location));
        }
    }

    let last_run = Mutex::new(None);
    let send = async |request: Request<Body>| {
        let (parts, body) = request.into_parts();
        let body = Loan::of(body);
        loop {
            let place = app.engine().standby_place(&caller, &of).await?;
            *last_run.lock() = Some(place.run_id);
            let request = Request::from_parts(parts.clone(), body.lend());
            match web.ask(place.address, &destination, request).await {
                Ok(response) => return Ok((response, place)),
                Err(error) => {
                    // Most likely it is about to end; whoever comes next need not find out in the same way.
                    place.doubt();
                    // The run has gone while its place was given away. It has seen nothing of the request, so another can have it.
                    if error.is_connect() && body.is_back() {
                        continue;
                    }
                    let why = reason(&error);
                    let message = format!("The Actor run {} did not answer the request: {why}", place.run_id);
                    return Err(ApiError::new(Problem::StandbyBadGateway, message));
                }
            }
        }
    };
    match tokio::time::timeout_at(arrived + PATIENCE, web.send(&destination, request, send)).await {
        Ok(sent) => sent,
        Err(_) => {
            let (secs, run) = (PATIENCE.as_secs(), last_run.lock().map(|run| run.to_string()).unwrap_or_default());
            let message = format!("The Actor run {run} did not begin its answer within {secs} seconds");
            Err(ApiError::new(Problem::OperationTimedOut, message))
        }
    }
}

/// The token of the caller (`STB-2`), which is taken out of the request: it opens the caller's account, and is none of the
/// Actor's business.
fn take_token(headers: &mut HeaderMap, path: &mut Uri) -> Option<String> {
    if let Some(value) = headers.remove(APIFY_AUTHORIZATION) {
        let text = value.to_str().unwrap_or_default();
        return Some(bearer(text.as_bytes()).unwrap_or(text.trim()).to_owned()).filter(|token| !token.is_empty());
    }
    // Other schemes are between the client and the Actor.
    let token = headers.get(AUTHORIZATION).and_then(|value| bearer(value.as_bytes())).map(str::to_owned);
    if token.is_some() {
        headers.remove(AUTHORIZATION);
        return token;
    }
    let token = crate::extract::Params::of(path).non_empty("token").map(|token| token.into_owned());
    if token.is_some() {
        without_token(path);
    }
    token
}

/// Takes `token` out of the query; the rest stays as it is.
fn without_token(path: &mut Uri) {
    let is_other = |pair: &&str| pair.split_once('=').map_or(*pair, |(name, _)| name) != "token";
    let rest: Vec<&str> = path.query().unwrap_or_default().split('&').filter(is_other).collect();
    let path_and_query = match rest.is_empty() {
        true => path.path().to_owned(),
        false => format!("{}?{}", path.path(), rest.join("&")),
    };
    if let Ok(path_and_query) = PathAndQuery::try_from(path_and_query) {
        *path = Uri::from(path_and_query);
    }
}

/// Browsers ask without a token whether a page may send one.
fn preflight(request: &Request<Body>) -> Option<Response> {
    let headers = request.headers();
    let method = headers.get(ACCESS_CONTROL_REQUEST_METHOD).filter(|_| request.method() == Method::OPTIONS)?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    let answer = response.headers_mut();
    answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    answer.insert(ACCESS_CONTROL_ALLOW_METHODS, method.clone());
    if let Some(asked) = headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_found_in_three_places_and_does_not_go_on() {
        for (headers, path, token, rest) in [
            (vec![("authorization", "Bearer t")], "/a?b=c", Some("t"), "/a?b=c"),
            (vec![("authorization", "bearer t")], "/?token=u", Some("t"), "/?token=u"),
            (vec![], "/a?x=%20&token=t%2B&token=u&&y", Some("t+"), "/a?x=%20&&y"),
            (vec![], "/a?token=t", Some("t"), "/a"),
            (vec![("x-apify-authorization", "Bearer t")], "/", Some("t"), "/"),
            (vec![("x-apify-authorization", "t")], "/?token=u", Some("t"), "/?token=u"),
            (vec![("authorization", "Basic eA==")], "/?token=t", Some("t"), "/"),
            (vec![("authorization", "Basic eA==")], "/", None, "/"),
            (vec![], "/?token=", None, "/?token="),
            (vec![], "/", None, "/"),
        ] {
            let mut seen: HeaderMap =
                headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect();
            let mut uri: Uri = path.parse().unwrap();

            assert_eq!(take_token(&mut seen, &mut uri).as_deref(), token, "{headers:?} {path}");

            assert_eq!(uri.to_string(), rest, "{headers:?} {path}");
            assert!(seen.values().all(|value| value == "Basic eA=="), "{seen:?}");
        }
    }
}
