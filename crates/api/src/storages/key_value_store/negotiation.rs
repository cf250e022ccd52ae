//! How a reader wants a record: in which encodings, which part, and whether it has it already (`K15`, `K22`).

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, Method};

use crate::extract::Encoding;
use crate::layers::accepts;
use crate::storages::conditions::Conditions;

/// What the headers of a read say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// Whether only the headers are wanted.
    pub(super) head_only: bool,
    pub(super) conditions: Conditions,
    accepted: Vec<Encoding>,
}

impl Wanted {
    fn of(method: &Method, headers: &HeaderMap) -> Self {
        let encodings = [Encoding::Brotli, Encoding::Gzip, Encoding::Deflate];
        Self {
            head_only: *method == Method::HEAD,
            conditions: Conditions::of(headers),
            accepted: encodings.into_iter().filter(|encoding| accepts(headers, encoding.name())).collect(),
        }
    }

    /// Whether stored bytes in that encoding can be sent as they are.
    pub(super) fn takes(&self, encoding: Encoding) -> bool {
        self.accepted.contains(&encoding)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Wanted {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.method, &parts.headers))
    }
}
