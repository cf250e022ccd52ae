//! What a client still sends when its answer is a refusal.
//!
//! A connection that is closed while the client sends looks broken to it: it never reads the refusal, and tries again. So
//! the rest of a body that nobody wanted is read and thrown away, within bounds.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::header::EXPECT;
use http::{Request, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;

/// Smaller bodies have arrived by the time that they are refused.
const SMALL: u64 = 64 << 10;
/// More than this is not worth waiting for.
const MOST: u64 = 64 << 20;
/// Nor is a client that takes longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the body of a request is when its handler is done with it.
#[derive(Clone, Default)]
pub(super) struct Leftover(Arc<Mutex<Option<Body>>>);

impl Leftover {
    /// Lends the body to the handler. `None` if there is nothing that could be left over.
    pub(super) fn lend(request: &mut Request<Body>) -> Option<Self> {
        let size = request.body().size_hint().exact();
        // Whoever waits for `100 Continue` has not begun to send.
        let is_waiting = request.headers().contains_key(EXPECT);
        if is_waiting || size.is_some_and(|size| !(SMALL..MOST).contains(&size)) {
            return None;
        }
        let leftover = Self::default();
        let body = std::mem::take(request.body_mut());
        *request.body_mut() = Body::new(Lent { body, home: leftover.clone() });
        Some(leftover)
    }

    /// Reads what is left to its end if the answer is a refusal.
    pub(super) async fn discard(self, answer: StatusCode) {
        let rest = self.0.lock().take();
        let Some(mut rest) = rest.filter(|_| answer.as_u16() >= 400) else { return };
        let reading = async {
            let mut read = 0;
            while let Some(Ok(frame)) = rest.frame().await {
                read += frame.data_ref().map_or(0, |data| data.len() as u64);
                if read > MOST {
                    break;
                }
            }
        };
        // Whether it came to an end makes no difference to the answer.
        let _ = tokio::time::timeout(PATIENCE, reading).await;
    }
}

/// A body that goes home when it is dropped.
struct Lent {
    body: Body,
    home: Leftover,
}

impl http_body::Body for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if !self.body.is_end_stream() {
            *self.home.0.lock() = Some(std::mem::take(&mut self.body));
        }
    }
}
