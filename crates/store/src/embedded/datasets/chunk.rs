//! The rows that a push becomes.

use std::cell::RefCell;
use std::io;
use std::ops::Range;

use bytes::Bytes;
use memchr::memchr_iter;
use model::item_view::{FieldCollector, Shape};
use model::push::Items;
use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef};
use zstd::zstd_safe::{CParameter, ParamSwitch};

use crate::{ItemChunk, StoreError};

/// Most bytes of lines in a chunk of more than one item.
pub(super) const MAX_CHUNK: usize = 128 * 1024;
/// Chunks above this size are compressed.
const MIN_COMPRESSED: usize = 8 * 1024;
/// A chunk of so many bytes of lines is a frame of a segment as it is; smaller ones are put together for it.
const MIN_FRAME: u64 = 64 * 1024;
/// Field paths of a chunk that take more than this are not kept with it.
const MAX_PATHS: usize = 4 * 1024;
/// Pushes above this size are compressed on another thread.
const MIN_HOP: usize = 256 * 1024;
/// Below 1 zstd looks for matches at fewer places: a sixth faster than 1 for 7 % more bytes.
const LEVEL: i32 = -5;
/// Shortest match that is looked for; one more than the level's own is faster, in and out, for a few bytes.
const MIN_MATCH: u32 = 7;
/// Twice as many places are remembered as the level would, which makes up for half of the bytes.
const HASH_LOG: u32 = 14;

/// How a chunk is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    /// JSON lines.
    Plain = 0,
    /// One zstd frame of them, with its size and a checksum.
    Zstd = 1,
}

impl ToSql for Codec {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok((*self as i64).into())
    }
}

impl FromSql for Codec {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_i64()? {
            0 => Ok(Self::Plain),
            1 => Ok(Self::Zstd),
            other => Err(FromSqlError::OutOfRange(other)),
        }
    }
}

/// Some items as they are kept.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    /// How many; never 0.
    pub n: u64,
    /// Bytes of their lines.
    pub size: u64,
    pub codec: Codec,
    pub body: Bytes,
    /// The field paths of its items, as a JSON array, if that was gathered.
    pub paths: Option<String>,
}

impl Chunk {
    /// Of items and their shapes.
    fn new(lines: Bytes, shapes: &[Shape]) -> io::Result<Self> {
        let (n, size) = (shapes.len() as u64, lines.len() as u64);
        if lines.len() >= MIN_COMPRESSED {
            let frame = compress(&lines)?;
            if frame.len() < lines.len() {
                let mut chunk = Self { n, size, codec: Codec::Zstd, body: frame.into(), paths: None };
                if chunk.is_frame() {
                    chunk.paths = paths_of(&lines, shapes)?;
                }
                return Ok(chunk);
            }
        }
        Ok(Self { n, size, codec: Codec::Plain, body: lines, paths: None })
    }

    /// Whether it goes into a segment as it is.
    pub(super) fn is_frame(&self) -> bool {
        self.codec == Codec::Zstd && self.size >= MIN_FRAME
    }

    /// The lines of its items.
    pub(super) fn lines(&self) -> io::Result<Bytes> {
        match self.codec {
            Codec::Plain => Ok(self.body.clone()),
            Codec::Zstd => Ok(decompress(&self.body, usize::try_from(self.size).unwrap_or(usize::MAX))?.into()),
        }
    }
}

/// Cuts a push into chunks and says how many bytes they hold. Compresses what is large, here and not in the writer.
pub(super) async fn cut(items: Items) -> Result<(Vec<Chunk>, usize), StoreError> {
    let chunks = if items.lines.len() > MIN_HOP {
        tokio::task::spawn_blocking(move || cut_now(items)).await.map_err(anyhow::Error::from)?
    } else {
        cut_now(items)
    };
    let chunks = chunks.map_err(anyhow::Error::from)?;
    let weight = chunks.iter().map(|chunk| chunk.body.len()).sum();
    Ok((chunks, weight))
}

fn cut_now(items: Items) -> io::Result<Vec<Chunk>> {
    let lines = Bytes::from(items.lines);
    // As many as leave room for the last item of each. They are to have about the same size: the last one would often be too
    // small for a frame if all others were as large as they may be.
    let wanted = lines.len().div_ceil(MAX_CHUNK / 8 * 7).max(1);
    let mut chunks = Vec::with_capacity(wanted);
    let (mut start, mut end) = (0, 0);
    let mut shapes = 0..0;
    for item_end in items.ends.iter().map(|&end| end as usize) {
        let is_enough = item_end - start > MAX_CHUNK || end >= (chunks.len() + 1) * lines.len() / wanted;
        if is_enough && !shapes.is_empty() {
            chunks.push(Chunk::new(lines.slice(start..end), &items.shapes[shapes.clone()])?);
            (start, shapes.start) = (end, shapes.end);
        }
        end = item_end;
        shapes.end += 1;
    }
    if !shapes.is_empty() {
        chunks.push(Chunk::new(lines.slice(start..end), &items.shapes[shapes])?);
    }
    Ok(chunks)
}

fn paths_of(lines: &[u8], shapes: &[Shape]) -> io::Result<Option<String>> {
    let mut fields = FieldCollector::default();
    for (item, shape) in each(lines).zip(shapes) {
        fields.add_shaped(item, *shape);
    }
    let paths = serde_json::to_string(&fields.paths().collect::<Vec<_>>())?;
    Ok((paths.len() <= MAX_PATHS).then_some(paths))
}

/// Adds the field paths of some items.
pub(super) fn add_fields(fields: &mut FieldCollector, lines: &[u8]) {
    for item in each(lines) {
        fields.add(item);
    }
}

/// The items in lines.
fn each(lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut start = 0;
    memchr_iter(b'\n', lines).map(move |end| {
        let item = &lines[start..end];
        start = end + 1;
        item
    })
}

thread_local! {
    // Making a context costs more than compressing a small chunk.
    static COMPRESSOR: RefCell<Option<zstd::bulk::Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// One frame with its size and a checksum.
pub(super) fn compress(lines: &[u8]) -> io::Result<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|kept| {
        let compressor = match kept {
            Some(compressor) => compressor,
            None => {
                let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
                compressor.include_checksum(true)?;
                compressor.set_parameter(CParameter::MinMatch(MIN_MATCH))?;
                compressor.set_parameter(CParameter::HashLog(HASH_LOG))?;
                // Levels below 1 leave literals as they are, which costs half as many bytes again.
                compressor.set_parameter(CParameter::LiteralCompressionMode(ParamSwitch::Enable))?;
                kept.insert(compressor)
            }
        };
        compressor.compress(lines)
    })
}

/// The content of one frame or several, `size` bytes in all.
pub(super) fn decompress(frames: &[u8], size: usize) -> io::Result<Vec<u8>> {
    DECOMPRESSOR.with_borrow_mut(|kept| {
        let decompressor = match kept {
            Some(decompressor) => decompressor,
            None => kept.insert(zstd::bulk::Decompressor::new()?),
        };
        let lines = decompressor.decompress(frames, size)?;
        if lines.len() == size {
            Ok(lines)
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidData, "a frame has not the size that its index says"))
        }
    })
}

/// The `wanted` ones of `n` items in `lines`, the last first if `desc`.
pub(super) fn pick(lines: Bytes, n: u64, wanted: Range<u64>, desc: bool) -> io::Result<ItemChunk> {
    let Range { start: from, end: to } = wanted;
    let torn = || io::Error::new(io::ErrorKind::InvalidData, "a chunk has fewer items than its row says");
    let count = to - from;
    if !desc && from == 0 && to == n {
        return Ok(ItemChunk { lines, count });
    }
    let index = |item: u64| usize::try_from(item).unwrap_or(usize::MAX);
    let mut ends = memchr_iter(b'\n', &lines).map(|at| at + 1);
    let start = if from == 0 { 0 } else { ends.nth(index(from - 1)).ok_or_else(torn)? };
    if !desc {
        let end = if to == n { lines.len() } else { ends.nth(index(count - 1)).ok_or_else(torn)? };
        return Ok(ItemChunk { lines: lines.slice(start..end), count });
    }
    let ends: Vec<usize> = ends.take(index(count)).collect();
    if ends.len() != index(count) {
        return Err(torn());
    }
    let mut reversed = Vec::with_capacity(ends.last().copied().unwrap_or(start) - start);
    for place in (0..ends.len()).rev() {
        let start = if place == 0 { start } else { ends[place - 1] };
        reversed.extend_from_slice(&lines[start..ends[place]]);
    }
    Ok(ItemChunk { lines: reversed.into(), count })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_is_cut_between_items_and_large_items_stand_alone() {
        let item = |length: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(length));
        let body = format!("[{},{},{},{}]", item(50_000), item(50_000), item(400_000), item(1));
        let items = model::push::split_items(body.as_bytes()).unwrap();
        let lines = items.lines.clone();

        let chunks = cut_now(items).unwrap();

        assert_eq!(chunks.iter().map(|chunk| chunk.n).collect::<Vec<_>>(), [2, 1, 1]);
        let kept: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.lines().unwrap()).collect();
        assert_eq!(kept, lines);
        assert_eq!(
            chunks.iter().map(|chunk| chunk.codec).collect::<Vec<_>>(),
            [Codec::Zstd, Codec::Zstd, Codec::Plain]
        );
    }

    #[test]
    fn what_is_larger_than_a_chunk_is_cut_into_frames() {
        let item = format!("{{\"a\":\"{}\"}}", "x".repeat(1000));
        for n in (140..1200).chain([9000]) {
            let body = format!("[{}]", vec![&*item; n].join(","));
            let chunks = cut_now(model::push::split_items(body.as_bytes()).unwrap()).unwrap();
            assert!(chunks.iter().all(|chunk| chunk.is_frame() && chunk.size <= MAX_CHUNK as u64), "{n}");
        }
    }

    #[test]
    fn a_chunk_that_will_be_a_frame_knows_the_paths_of_its_items() {
        let paths_of_all = |items: &[&str]| {
            let items = model::push::split_items(format!("[{}]", items.join(",")).as_bytes()).unwrap();
            cut_now(items).unwrap().into_iter().map(|chunk| chunk.paths).collect::<Vec<_>>()
        };
        let paths = |item: &str, n: usize| paths_of_all(&vec![item; n]);
        let many: Vec<String> = (0..900).map(|n| format!("\"key{n}\":1")).collect();

        assert_eq!(paths(r#"{"b":{"c":1},"a":[]}"#, 5000), [Some(r#"["a","b/c"]"#.to_owned())]);
        let [a, b] = ["a", "b"].map(|key| format!("{{\"{key}\":\"{}\"}}", "x".repeat(1000)));
        assert_eq!(
            paths_of_all(&[[&*a; 150], [&*b; 150]].concat()),
            [r#"["a"]"#, r#"["a","b"]"#, r#"["b"]"#].map(|paths| Some(paths.to_owned()))
        );
        assert_eq!(paths(r#"{"b":1}"#, 2000), [None], "too small for a frame");
        assert_eq!(paths(&format!("{{{}}}", many.join(",")), 8), [None], "too many of them");
    }

    #[test]
    fn items_are_picked_in_both_directions() {
        let lines = Bytes::from_static(b"0\n11\n2\n333\n");
        let picked = |from, to, desc| pick(lines.clone(), 4, from..to, desc).unwrap().lines;

        assert_eq!(picked(0, 4, false), lines);
        assert_eq!(picked(1, 3, false), "11\n2\n");
        assert_eq!(picked(0, 4, true), "333\n2\n11\n0\n");
        assert_eq!(picked(1, 3, true), "2\n11\n");
        assert!(pick(lines, 6, 1..6, true).is_err());
    }

    #[test]
    fn a_damaged_frame_never_reads_as_something_else() {
        let lines = vec![b'x'; 10_000];
        let frame = compress(&lines).unwrap();
        let mut unnoticed = Vec::new();
        for at in 0..frame.len() {
            let mut damaged = frame.clone();
            damaged[at] ^= 1;
            if let Ok(read) = decompress(&damaged, lines.len()) {
                assert_eq!(read, lines, "{at}");
                unnoticed.push(at);
            }
        }
        // Some bits are reserved and mean nothing.
        assert!(unnoticed.len() <= 1, "{unnoticed:?} of {}", frame.len());
    }
}
