//! Bodies that come back if nobody has read of them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use parking_lot::Mutex;

/// A body that is lent to one request after another, until one of them has begun to read it.
pub(super) struct Loan(Arc<Mutex<Lent>>);

struct Lent {
    body: Body,
    is_read: bool,
}

impl Loan {
    pub(super) fn of(body: Body) -> Self {
        Self(Arc::new(Mutex::new(Lent { body, is_read: false })))
    }

    /// The body, for one request.
    pub(super) fn lend(&self) -> Body {
        let lent = self.0.lock();
        let (is_empty, size) = (lent.body.is_end_stream(), lent.body.size_hint());
        drop(lent);
        match is_empty {
            true => Body::empty(),
            false => Body::new(Borrowed { lent: self.0.clone(), size }),
        }
    }

    /// Whether it is as whole as it was.
    pub(super) fn is_back(&self) -> bool {
        !self.0.lock().is_read
    }
}

struct Borrowed {
    lent: Arc<Mutex<Lent>>,
    size: SizeHint,
}

impl http_body::Body for Borrowed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut lent = self.lent.lock();
        lent.is_read = true;
        Pin::new(&mut lent.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.lent.lock().body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let lent = self.lent.lock();
        if lent.is_read { lent.body.size_hint() } else { self.size }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn a_body_comes_back_whole_or_not_at_all() {
        let loan = Loan::of(Body::from("hello"));
        drop(loan.lend());
        assert!(loan.is_back());
        assert_eq!(loan.lend().size_hint().exact(), Some(5));

        let read = loan.lend().collect().await.expect("a body").to_bytes();

        assert_eq!((&*read, loan.is_back()), (&b"hello"[..], false));
        assert!(Loan::of(Body::empty()).lend().is_end_stream(), "so that no length is sent where there was none");
    }
}
