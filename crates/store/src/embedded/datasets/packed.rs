//! Reading items as the frames in which they lie.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};

use super::super::core::Core;
use super::super::db::Counter;
use super::chunk::{decompress, pick};
use super::locate::{Form, Rest, Span, damaged};
use crate::{ItemChunk, PackedItems, StoreError};

/// Reads some items of a dataset, of those that there are now, as frames.
pub(super) fn read(core: Arc<Core>, k: i64, counter: &Counter, items: Range<u64>) -> PackedItems {
    let high = items.end.min(counter.items);
    let rest = Rest::new(core, k, Span { low: items.start.min(high), high, desc: false }, Form::Packed);
    let parts = stream::try_unfold(rest, |mut rest| async move {
        if rest.span.is_empty() {
            return Ok(None);
        }
        let part = match rest.locate(false).await? {
            Some(frame) => only(frame.lines),
            None => rest.next_frames().await?,
        };
        Ok::<_, StoreError>(Some((part, rest)))
    });
    parts.try_flatten().boxed()
}

impl Rest {
    /// The next frames of the segment at hand: all that are wanted whole, as they lie, or a new one instead of one of which
    /// only a part is wanted.
    async fn next_frames(&mut self) -> Result<BoxStream<'static, Result<Bytes, StoreError>>, StoreError> {
        let (core, form, segment, span) = (self.core.clone(), self.form, self.segment()?, self.span);
        let (object, frames) = (segment.object.clone(), segment.whole(span));
        if let Some(frames) = frames {
            self.pass(&frames);
            let bytes = core.objects.stream(&object, frames.bytes).await?;
            return Ok(bytes.map_err(|error| damaged(&error)).boxed());
        }
        let frame = segment.find(span, 0)?;
        let wanted = segment.wanted(span, &frame);
        self.pass(&frame);
        let part = core.objects.read(&object, frame.bytes, move |packed| {
            form.of(pick(decompress(&packed, frame.size)?.into(), frame.n, wanted, false)?)
        });
        let ItemChunk { lines, .. } = part.await?;
        Ok(only(lines))
    }
}

fn only(frame: Bytes) -> BoxStream<'static, Result<Bytes, StoreError>> {
    stream::iter([Ok(frame)]).boxed()
}
