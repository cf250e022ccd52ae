//! The format of sealed items: a plain `.jsonl.zst` file.
//!
//! Zstd frames with checksums, in each of them some items as JSON lines; at the end a skippable frame, which readers of zstd
//! pass over, with an index: for each frame its number of items, its bytes in the file and the bytes of its lines, each
//! 32 bits little-endian; then the number of frames (32 bits), the version of this format (one byte) and [`MAGIC`].

use std::io;
use std::ops::Range;

use super::chunk::{Chunk, MAX_CHUNK, compress};

/// First bytes of the skippable frame.
const SKIPPABLE: [u8; 4] = 0x184D_2A5Fu32.to_le_bytes();
/// Last bytes of a segment.
const MAGIC: &[u8; 8] = b"PLAYHSEG";
const VERSION: u8 = 1;
const ENTRY: usize = 12;

/// Builds a segment in memory, but for what lies in its object already; a tail is small enough.
#[derive(Debug, Default)]
pub(super) struct Builder {
    /// Bytes that lie in the object already.
    stored: u64,
    file: Vec<u8>,
    index: Vec<u8>,
    /// Lines that wait for their frame.
    lines: Vec<u8>,
    waiting: u64,
    /// Items so far.
    n: u64,
    /// Bytes of their lines.
    size: u64,
}

/// A finished segment.
pub(super) struct Segment {
    /// Bytes that lie in its object already,
    pub stored: u64,
    /// and those behind them.
    pub file: Vec<u8>,
    /// The index alone.
    pub frames: Vec<u8>,
    pub n: u64,
    pub size: u64,
}

impl Builder {
    /// Adds a frame that lies in the object. No chunk that does not may have been added before.
    pub(super) fn add_stored(&mut self, n: u64, bytes: u64, size: u64) -> io::Result<()> {
        self.n += n;
        self.size += size;
        self.stored += bytes;
        add_entry(&mut self.index, n, bytes, size)
    }

    /// Adds a chunk that [is a frame](Chunk::is_frame): compressed by whoever pushed it, as well as here.
    pub(super) fn add_frame(&mut self, chunk: &Chunk) -> io::Result<()> {
        self.flush()?;
        self.n += chunk.n;
        self.size += chunk.size;
        self.push_frame(chunk.n, &chunk.body, chunk.size)
    }

    /// Adds the lines of `n` items, too few for a frame.
    pub(super) fn add(&mut self, n: u64, lines: &[u8]) -> io::Result<()> {
        self.n += n;
        self.size += lines.len() as u64;
        if self.lines.len() + lines.len() > MAX_CHUNK {
            self.flush()?;
        }
        self.lines.extend_from_slice(lines);
        self.waiting += n;
        if self.lines.len() >= MAX_CHUNK / 2 { self.flush() } else { Ok(()) }
    }

    pub(super) fn finish(mut self) -> io::Result<Segment> {
        self.flush()?;
        let mut footer = u32::try_from(self.index.len() / ENTRY).map_err(too_large)?.to_le_bytes().to_vec();
        footer.push(VERSION);
        footer.extend_from_slice(MAGIC);
        let length = u32::try_from(self.index.len() + footer.len()).map_err(too_large)?;
        for part in [&SKIPPABLE[..], &length.to_le_bytes(), &self.index, &footer] {
            self.file.extend_from_slice(part);
        }
        Ok(Segment { stored: self.stored, file: self.file, frames: self.index, n: self.n, size: self.size })
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let lines = std::mem::take(&mut self.lines);
        let n = std::mem::take(&mut self.waiting);
        self.push_frame(n, &compress(&lines)?, lines.len() as u64)?;
        self.lines = lines;
        self.lines.clear();
        Ok(())
    }

    fn push_frame(&mut self, n: u64, frame: &[u8], size: u64) -> io::Result<()> {
        add_entry(&mut self.index, n, frame.len() as u64, size)?;
        self.file.extend_from_slice(frame);
        Ok(())
    }
}

/// Adds a frame of `n` items that takes so many `bytes`, and whose lines have so large a `size`, to an index.
pub(super) fn add_entry(index: &mut Vec<u8>, n: u64, bytes: u64, size: u64) -> io::Result<()> {
    let mut entry = [0; ENTRY];
    for (place, number) in entry.chunks_exact_mut(4).zip([n, bytes, size]) {
        place.copy_from_slice(&u32::try_from(number).map_err(too_large)?.to_le_bytes());
    }
    index.extend_from_slice(&entry);
    Ok(())
}

/// Frames that stand side by side in a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frames {
    /// Items in front of them.
    pub first: u64,
    /// Items in them.
    pub n: u64,
    /// Where they are in the file.
    pub bytes: Range<u64>,
    /// Bytes of their lines.
    pub size: usize,
}

impl Frames {
    /// Together with those behind them.
    fn and(self, next: Self) -> Self {
        Self {
            first: self.first,
            n: self.n + next.n,
            bytes: self.bytes.start..next.bytes.end,
            size: self.size + next.size,
        }
    }
}

/// Finds frames that hold item `at` and go on towards `until`, up and beyond it or down and below, but no more than hold
/// about `most` bytes of lines. `at` comes first in the direction of reading.
pub(super) fn find(index: &[u8], at: u64, until: u64, most: usize) -> io::Result<Frames> {
    let mut found: Option<Frames> = None;
    let desc = until < at;
    let (low, high) = (at.min(until), at.max(until));
    for here in each(index) {
        if here.first > high {
            break;
        }
        if here.first + here.n > low {
            found = Some(match found {
                None => here,
                Some(so_far) if so_far.size + here.size <= most => so_far.and(here),
                // Downwards the last frames count, upwards the first.
                Some(_) if desc => here,
                Some(so_far) => return Ok(so_far),
            });
        }
    }
    found.filter(|frames| (frames.first..frames.first + frames.n).contains(&at)).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, "the index of a segment does not reach as far as its row says")
    })
}

/// The frames that hold nothing but `wanted` items from the first on, if there are any.
pub(super) fn whole(index: &[u8], wanted: Range<u64>) -> Option<Frames> {
    each(index)
        .skip_while(|frame| frame.first < wanted.start)
        .take_while(|frame| frame.first + frame.n <= wanted.end)
        .reduce(Frames::and)
        .filter(|frames| frames.first == wanted.start)
}

/// The frames of a segment, one by one.
pub(super) fn each(index: &[u8]) -> impl Iterator<Item = Frames> {
    index.chunks_exact(ENTRY).scan((0, 0), |(items, bytes), entry| {
        let number = |at: usize| u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]]);
        let (first, n, start) = (*items, u64::from(number(0)), *bytes);
        *items += n;
        *bytes += u64::from(number(4));
        Some(Frames { first, n, bytes: start..*bytes, size: number(8) as usize })
    })
}

fn too_large(_: std::num::TryFromIntError) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, "a segment is too large")
}
