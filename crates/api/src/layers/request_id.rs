//! A name for each request, in `X-Request-Id` and in each line of the log that it causes.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use model::Random;

/// The name of one request, unique over restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId {
    start: [u8; 8],
    number: u64,
}

/// Gives every request its name: a random part for each start of the server, then a number.
#[derive(Clone, Debug)]
pub(super) struct RequestIds {
    start: [u8; 8],
    next: Arc<AtomicU64>,
}

impl RequestIds {
    pub(super) fn new(random: &dyn Random) -> Self {
        Self { start: random.base62::<8>(), next: Arc::new(AtomicU64::new(1)) }
    }

    pub(super) fn next(&self) -> RequestId {
        RequestId { start: self.start, number: self.next.fetch_add(1, Ordering::Relaxed) }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:08x}", std::str::from_utf8(&self.start).unwrap_or_default(), self.number)
    }
}
