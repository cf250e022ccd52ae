//! The chunks of a tail, in the order of their items.

use std::ops::Range;

use bytes::Bytes;
use model::item_view::FieldCollector;

use super::super::core::Core;
use super::chunk::{Chunk, add_fields, decompress};
use super::{locate, row_of};
use crate::StoreError;

/// Bytes of lines that are read at a time.
const STEP: u64 = 1024 * 1024;

/// A chunk of a tail.
pub(super) struct TailChunk {
    /// Items of the tail in front of it.
    pub place: u64,
    /// Without its body if that is in the tail's object.
    pub chunk: Chunk,
    /// Where it lies there.
    pub stored: Option<Range<u64>>,
}

/// Reads some chunks of a tail from `place` on; none at its end, or if it is no more.
pub(super) fn chunks(core: &Core, tail: i64, place: u64) -> Result<Vec<TailChunk>, StoreError> {
    core.db.read(|connection| {
        let mut statement = connection.prepare_cached(
            "SELECT r, n, size, codec, body, paths, at, bytes FROM ds_chunk WHERE r >= ?1 AND r < ?2 ORDER BY r",
        )?;
        let mut rows = statement.query([row_of(tail, place), row_of(tail + 1, 0)])?;
        let (mut chunks, mut size) = (Vec::new(), 0);
        while size < STEP
            && let Some(row) = rows.next()?
        {
            let (place, mut chunk) = locate::chunk(row)?;
            chunk.paths = row.get(5)?;
            let stored = match row.get::<_, Option<u64>>(6)? {
                Some(at) => Some(at..at + row.get::<_, u64>(7)?),
                None => None,
            };
            size += chunk.size;
            chunks.push(TailChunk { place, chunk, stored });
        }
        Ok(chunks)
    })
}

impl TailChunk {
    /// The lines of its items; `object` is that of the tail.
    pub(super) fn lines(&self, core: &Core, object: Option<&str>) -> Result<Bytes, StoreError> {
        let Some(stored) = &self.stored else { return Ok(self.chunk.lines().map_err(anyhow::Error::from)?) };
        let object = object.ok_or_else(|| anyhow::anyhow!("a chunk lies in an object that its tail does not name"))?;
        let size = usize::try_from(self.chunk.size).map_err(anyhow::Error::from)?;
        core.objects.read_here(object, stored.clone(), |frame| Ok(decompress(&frame, size)?.into()))
    }

    /// Adds the field paths of its items.
    pub(super) fn add_fields(
        &self,
        fields: &mut FieldCollector,
        core: &Core,
        object: Option<&str>,
    ) -> Result<(), StoreError> {
        match &self.chunk.paths {
            Some(paths) => fields.extend(serde_json::from_str::<Vec<String>>(paths).map_err(anyhow::Error::from)?),
            None => add_fields(fields, &self.lines(core, object)?),
        }
        Ok(())
    }
}
