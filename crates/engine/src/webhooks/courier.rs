//! What carries a delivery.

use async_trait::async_trait;
use bytes::Bytes;

/// Carries requests of webhooks to their targets.
#[async_trait]
pub trait Courier: Send + Sync + std::fmt::Debug {
    /// Sends a request and tells what came back. It need not end by itself: whoever waits for it may stop to.
    async fn carry(&self, parcel: Parcel) -> Receipt;
}

/// A request on its way, a POST of JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel {
    /// Where to.
    pub url: String,
    /// Headers that the webhook asks for; they are for its target, and not for whoever that redirects to.
    pub headers: Vec<(String, String)>,
    /// Headers that go with it everywhere.
    pub marks: Vec<(&'static str, String)>,
    /// The payload.
    pub body: Bytes,
    /// Whether any certificate will do (`WH-14`).
    pub ignore_ssl_errors: bool,
    /// Opens this server's own API for a while, should the target be that (`WH-17`); none if it may not.
    pub token: Option<String>,
}

/// What came back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Status code of the answer, if there was one.
    pub status: Option<u16>,
    /// Beginning of its body.
    pub body: Option<String>,
    /// What went wrong; an answer may have begun nevertheless.
    pub error: Option<String>,
}

impl Receipt {
    /// Nothing came back.
    pub(crate) fn failed(error: impl Into<String>) -> Self {
        Self { error: Some(error.into()), ..Self::default() }
    }

    /// Whether it has arrived: a whole answer, or as much of it as is read, with a status of 2xx (`WH-13`).
    pub(crate) fn is_success(&self) -> bool {
        self.error.is_none() && self.status.is_some_and(|status| (200..300).contains(&status))
    }

    /// What to tell of a failure.
    pub(crate) fn complaint(&self) -> Option<String> {
        match (&self.error, self.status) {
            (Some(error), _) => Some(error.clone()),
            (None, Some(status)) if !self.is_success() => Some(format!("The target answered with status {status}.")),
            _ => None,
        }
    }
}
