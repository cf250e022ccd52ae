//! Who works on a queue, and where requests go.

use model::RequestId;
use serde::Serialize;
use store::Added;

use crate::error::{ApiError, Problem};
use crate::extract::{FromParams, Params};

/// Longest `clientKey` (`Q18`).
const MAX_CLIENT_KEY: usize = 32;

/// `clientKey` of a call.
pub(super) struct Client {
    pub(super) key: Option<String>,
}

impl FromParams for Client {
    fn from_params(params: &Params) -> Result<Self, ApiError> {
        let key = params.text("clientKey").map(String::from);
        if key.as_ref().is_some_and(|key| key.is_empty() || key.chars().count() > MAX_CLIENT_KEY) {
            let message = format!("Parameter \"clientKey\" must have 1 to {MAX_CLIENT_KEY} characters");
            return Err(ApiError::new(Problem::InvalidClientKey, message));
        }
        Ok(Self { key })
    }
}

/// `clientKey` and `forefront` of a call that places requests.
pub(super) struct Placing {
    pub(super) client: Client,
    pub(super) forefront: bool,
}

impl FromParams for Placing {
    fn from_params(params: &Params) -> Result<Self, ApiError> {
        Ok(Self { client: Client::from_params(params)?, forefront: params.flag("forefront")? })
    }
}

/// What became of a request (`Q15`, `Q20`).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Processed<'a> {
    request_id: &'a str,
    unique_key: &'a str,
    was_already_present: bool,
    was_already_handled: bool,
}

impl<'a> Processed<'a> {
    pub(super) fn new(added: &'a Added, unique_key: &'a str) -> Self {
        Self {
            request_id: added.id.as_str(),
            unique_key,
            was_already_present: added.was_already_present,
            was_already_handled: added.was_already_handled,
        }
    }
}

/// The id in a path; one that no request can have is unknown (`G17`).
pub(super) fn request_id(text: &str) -> Result<RequestId, ApiError> {
    RequestId::parse(text).ok_or_else(|| ApiError::not_found(store::Noun::Request))
}
