//! What every page is made of.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};

/// A page, or why there is none.
pub type Page = Result<Response, PageError>;

/// Fills a template in.
pub fn page(template: &impl Template) -> Page {
    let html = template.render().map_err(|error| PageError::Broken(error.into()))?;
    Ok(Html(html).into_response())
}

/// Why a page cannot be shown.
#[derive(Debug)]
pub enum PageError {
    /// There is no such thing.
    NotFound(&'static str),
    /// Something failed.
    Broken(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for PageError {
    fn from(error: E) -> Self {
        Self::Broken(error.into())
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    title: String,
    message: String,
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let (status, title, message) = match self {
            Self::NotFound(what) => (
                StatusCode::NOT_FOUND,
                format!("{what} not found"),
                "It was deleted, or the link is not complete.".to_owned(),
            ),
            Self::Broken(error) => {
                tracing::error!(%error, "Cannot show a page");
                let message = "The server's log says more.".to_owned();
                (StatusCode::INTERNAL_SERVER_ERROR, "This page cannot be shown".to_owned(), message)
            }
        };
        let html = ErrorPage { title, message }.render().unwrap_or_default();
        (status, Html(html)).into_response()
    }
}
