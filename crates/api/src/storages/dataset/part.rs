//! Exports that resume: what names the bytes of an answer, and how a part of them is had.
//!
//! Nothing of an export is kept. A part is made by writing the whole answer anew and leaving the rest out, which is exact,
//! since an [`Export`] writes the same bytes each time; a dataset only grows, so this holds for the answer of last week, too.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use model::StorageId;
use model::item_view::ItemView;
use moka::future::Cache;
use sha2::{Digest as _, Sha256};
use store::ByteRange;

use super::export::{Export, Pieces};
use super::format::{Format, Options};

/// The program that writes: another version may write other bytes, if only since a library of a format does.
const WRITER: &str = env!("CARGO_PKG_VERSION");
/// To be raised with any change of the bytes that a format writes.
const REVISION: u32 = 1;
/// So many answers are remembered by their length.
const LENGTHS: u64 = 10_000;

/// Everything but the number of items that decides over the bytes of an answer.
pub(super) struct Fingerprint(String);

impl Fingerprint {
    pub(super) fn of(id: &StorageId, view: &ItemView, format: Format, options: &Options) -> Self {
        // Maps have an order of their own each time.
        let mut titles: Vec<_> = options.titles.iter().collect();
        titles.sort_unstable();
        let plain = Options { titles: Default::default(), ..options.clone() };
        let all = format!("{:?}", (WRITER, REVISION, id, view, format, titles, plain));
        Self(Sha256::digest(all)[..12].iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The tag of the answer that [ends](Export::end) there.
    pub(super) fn tag(&self, end: u64) -> String {
        format!("\"{end:x}-{}\"", self.0)
    }

    /// Where the answer with that tag ended, if it is one of these answers.
    pub(super) fn end_of(&self, tag: &str) -> Option<u64> {
        let (end, fingerprint) = tag.strip_prefix('"')?.strip_suffix('"')?.split_once('-')?;
        (fingerprint == self.0).then(|| u64::from_str_radix(end, 16).ok()).flatten()
    }
}

/// Lengths of answers, by their tags: who resumes once is likely to do it again.
#[derive(Debug)]
pub(crate) struct Lengths(Cache<String, u64>);

impl Default for Lengths {
    fn default() -> Self {
        Self(Cache::new(LENGTHS))
    }
}

impl Lengths {
    /// Bytes of the answer with that tag. An answer that is not known is written once, to nowhere, whoever else asks meanwhile.
    pub(super) async fn of(&self, etag: &str, export: &Export) -> io::Result<u64> {
        let count = |length: u64, piece: Bytes| async move { Ok(length + piece.len() as u64) };
        let counted = self.0.try_get_with_by_ref(etag, export.pieces().try_fold(0, count)).await;
        counted.map_err(|error| Arc::try_unwrap(error).unwrap_or_else(io::Error::other))
    }
}

/// Some bytes of an answer. Nothing is written behind them.
pub(super) fn cut(pieces: Pieces, part: ByteRange) -> Pieces {
    let wanted = stream::try_unfold((pieces, 0), move |(mut pieces, mut at)| async move {
        while at < part.end {
            let Some(mut piece) = pieces.try_next().await? else { return Ok(None) };
            let begin = at;
            at += piece.len() as u64;
            if at <= part.start {
                continue;
            }
            // Both lie within the piece.
            let within = |at: u64| usize::try_from(at - begin).unwrap_or(usize::MAX).min(piece.len());
            piece = piece.slice(within(part.start.max(begin))..within(part.end));
            return Ok(Some((piece, (pieces, at))));
        }
        Ok(None)
    });
    wanted.boxed()
}
