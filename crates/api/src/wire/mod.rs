//! The platform's spelling of answers: the envelope, lists, and the small bodies that are always the same.

mod actor;
mod build;
mod given;
mod job;
mod options;
mod run;
mod schedule;
mod storage;
mod task;
mod user;
mod version;
mod webhook;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderValue, StatusCode};
use model::{Listed, Page};
use serde::Serialize;

use crate::layers::Compressible;

pub(crate) use actor::{ActorBody, ActorItem, StoreItem};
pub(crate) use build::{BuildBody, BuildItem};
pub(crate) use given::{Given, check_name, given, set_text};
pub(crate) use job::Viewer;
pub(crate) use options::OptionsGiven;
pub(crate) use run::{RunBody, RunItem};
pub(crate) use schedule::{ScheduleBody, ScheduleItem};
pub(crate) use storage::{Show, StorageInList, StorageObject};
pub(crate) use task::{TaskBody, TaskItem, TaskNames};
pub(crate) use user::{OwnUser, PublicUser, UNLIMITED, limits};
pub(crate) use version::{EnvVarBody, EnvVarGiven, VersionBody, VersionGiven, check_tag, env_var_exists};
pub(crate) use webhook::{DispatchBody, WebhookBody, WebhookGiven, WebhookItem};

/// `Content-Type` of everything that is JSON (`G13`).
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// An answer of `{"data": …}` (`HTTP-13`).
pub(crate) fn data<T: Serialize + ?Sized>(status: StatusCode, data: &T) -> Response {
    #[derive(Serialize)]
    struct Envelope<'a, T: ?Sized> {
        data: &'a T,
    }
    bare_json(status, &Envelope { data })
}

/// `200` with `{"data": …}`.
pub(crate) fn ok<T: Serialize + ?Sized>(value: &T) -> Response {
    data(StatusCode::OK, value)
}

/// `201` with `{"data": …}` and a `Location` (`HTTP-15`).
pub(crate) fn created<T: Serialize + ?Sized>(location: &str, value: &T) -> Response {
    let mut response = data(StatusCode::CREATED, value);
    locate(&mut response, location);
    response
}

/// JSON without an envelope.
pub(crate) fn bare_json<T: Serialize + ?Sized>(status: StatusCode, value: &T) -> Response {
    let mut buffer = Vec::with_capacity(512);
    // Our own types have string keys only, so writing them to memory cannot fail.
    let written = serde_json::to_writer(&mut buffer, value);
    debug_assert!(written.is_ok(), "{written:?}");
    raw_json(status, buffer.into())
}

/// JSON that is already written.
pub(crate) fn raw_json(status: StatusCode, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response.extensions_mut().insert(Compressible);
    response
}

/// `201 {}`, as after a push of items or a put of a record (`D2`, `K5`).
pub(crate) fn created_empty(location: &str) -> Response {
    let mut response = Response::new(Body::from(Bytes::from_static(b"{}")));
    *response.status_mut() = StatusCode::CREATED;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    locate(&mut response, location);
    response
}

/// `204` (`HTTP-16`).
pub(crate) fn no_content() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// Names the new resource in `Location`.
pub(crate) fn locate(response: &mut Response, location: &str) {
    // Ids and checked keys are plain ASCII; a base URL that is not would have been refused at the start.
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(LOCATION, location);
    }
}

/// A page of a list (`LIST-1`).
#[derive(Serialize)]
pub(crate) struct ListPage<T> {
    total: u64,
    offset: u64,
    limit: u64,
    desc: bool,
    count: usize,
    items: Vec<T>,
}

impl<T> ListPage<T> {
    /// The page that was asked for and what is on it.
    pub(crate) fn new(page: Page, listed: Listed<T>) -> Self {
        Self {
            total: listed.total,
            offset: page.offset,
            limit: page.limit,
            desc: page.desc,
            count: listed.items.len(),
            items: listed.items,
        }
    }
}
