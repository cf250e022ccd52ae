//! The format of a sealed part of a log: a plain `.log.zst` file.
//!
//! Zstd frames with checksums, each but the last of the same amount of text, so that an offset leads to its frame; at the end
//! a skippable frame, which readers of zstd pass over, with an index: the amount of text in a frame, and the size of each
//! frame, as 32-bit numbers, little-endian. The row that names the object carries the same index.

use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Range;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use parking_lot::Mutex;

use crate::ByteStream;
use crate::embedded::core::Core;

/// Text in each frame but the last.
const FRAME: u32 = 256 * 1024;
/// Level of compression: logs are written once and mostly kept for long.
const LEVEL: i32 = 3;
/// First bytes of the skippable frame.
const SKIPPABLE: [u8; 4] = 0x184D_2A5Eu32.to_le_bytes();
const NUMBER: usize = 4;

/// The index of what is being packed, complete when the stream has ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Index(Arc<Mutex<Vec<u8>>>);

impl Index {
    pub(super) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock())
    }
}

/// Packs the first `len` bytes of a file, frame by frame.
pub(super) fn pack(file: File, len: u64) -> (ByteStream, Index) {
    let index = Index(Arc::new(Mutex::new(FRAME.to_le_bytes().to_vec())));
    let state = (Some(file), len, index.clone());
    let frames = stream::unfold(state, |(file, left, index)| async move {
        let file = file?;
        if left == 0 {
            return Some((index_frame(&index.0.lock()), (None, 0, index.clone())));
        }
        let next = left.min(u64::from(FRAME));
        let packed = tokio::task::spawn_blocking(move || pack_frame(file, next)).await;
        match packed.map_err(io::Error::other).flatten() {
            Ok((file, frame)) => {
                let Ok(size) = u32::try_from(frame.len()) else { return None };
                index.0.lock().extend_from_slice(&size.to_le_bytes());
                Some((Ok(Bytes::from(frame)), (Some(file), left - next, index)))
            }
            Err(error) => Some((Err(error), (None, 0, index))),
        }
    });
    (frames.boxed(), index)
}

fn pack_frame(mut file: File, len: u64) -> io::Result<(File, Vec<u8>)> {
    let mut text = Vec::with_capacity(FRAME as usize);
    (&mut file).take(len).read_to_end(&mut text)?;
    if text.len() as u64 != len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut encoder = zstd::bulk::Compressor::new(LEVEL)?;
    encoder.include_checksum(true)?;
    Ok((file, encoder.compress(&text)?))
}

fn index_frame(index: &[u8]) -> io::Result<Bytes> {
    let size = u32::try_from(index.len()).map_err(io::Error::other)?;
    Ok([&SKIPPABLE[..], &size.to_le_bytes(), index].concat().into())
}

/// Streams a range of the text of a part, one frame at a time; frames outside of it are not touched.
pub(super) fn unpack(core: Arc<Core>, object: String, index: Vec<u8>, wanted: Range<u64>) -> ByteStream {
    let frames = match find(&index, &wanted) {
        Ok(frames) => frames,
        Err(error) => return stream::iter([Err(error)]).boxed(),
    };
    stream::iter(frames)
        .then(move |frame| {
            let (core, object, wanted) = (core.clone(), object.clone(), wanted.clone());
            async move {
                let unpack = move |packed: Vec<u8>| unpack_frame(&packed, frame.capacity);
                let text = core.objects.read(&object, frame.bytes, unpack).await.map_err(io::Error::other)?;
                let at =
                    |byte: u64| usize::try_from(byte.saturating_sub(frame.first)).unwrap_or(usize::MAX).min(text.len());
                Ok(text.slice(at(wanted.start)..at(wanted.end)))
            }
        })
        .boxed()
}

fn unpack_frame(packed: &[u8], capacity: usize) -> io::Result<Bytes> {
    Ok(zstd::bulk::decompress(packed, capacity)?.into())
}

/// A frame of a part.
#[derive(Debug, PartialEq, Eq)]
struct Frame {
    /// Offset of its text.
    first: u64,
    /// Most text that it holds.
    capacity: usize,
    /// Where it is in the file.
    bytes: Range<u64>,
}

/// The frames that hold some of `wanted`.
fn find(index: &[u8], wanted: &Range<u64>) -> io::Result<Vec<Frame>> {
    let mut numbers = index
        .chunks_exact(NUMBER)
        .map(|number| u64::from(u32::from_le_bytes([number[0], number[1], number[2], number[3]])));
    let text =
        numbers.next().filter(|text| *text > 0).context("the index of a log is broken").map_err(io::Error::other)?;
    let capacity = usize::try_from(text).map_err(io::Error::other)?;
    let (mut first, mut start) = (0, 0);
    let mut frames = Vec::new();
    for size in numbers {
        if first >= wanted.end {
            break;
        }
        if first + text > wanted.start {
            frames.push(Frame { first, capacity, bytes: start..start + size });
        }
        first += text;
        start += size;
    }
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, Write as _};

    use futures::TryStreamExt as _;

    use super::*;

    async fn pack_text(text: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        file.rewind().unwrap();
        let (stream, index) = pack(file, text.len() as u64);
        let packed: Vec<Bytes> = stream.try_collect().await.unwrap();
        (packed.concat(), index.take())
    }

    #[tokio::test]
    async fn a_sealed_log_is_a_file_that_any_zstd_reads() {
        let text: Vec<u8> = (0..100_000).flat_map(|line| format!("line {line}\n").into_bytes()).collect();

        let (packed, index) = pack_text(&text).await;

        assert_eq!(zstd::stream::decode_all(&packed[..]).unwrap(), text);
        assert_eq!(&packed[packed.len() - index.len()..], index, "the index stands at the end");
        assert_eq!(index.len() / NUMBER - 1, text.len().div_ceil(FRAME as usize));
    }

    #[tokio::test]
    async fn a_file_that_shrank_is_not_sealed() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"short").unwrap();
        file.rewind().unwrap();

        let (stream, _) = pack(file, 6);

        assert!(stream.try_collect::<Vec<_>>().await.is_err());
    }

    #[test]
    fn only_the_frames_of_a_range_are_found() {
        let index: Vec<u8> = [10u32, 3, 4, 5].iter().flat_map(|number| number.to_le_bytes()).collect();
        let found =
            |range: Range<u64>| find(&index, &range).unwrap().iter().map(|frame| frame.first).collect::<Vec<_>>();

        assert_eq!(found(0..30), [0, 10, 20]);
        assert_eq!(found(10..11), [10]);
        assert_eq!(found(9..11), [0, 10]);
        assert_eq!(found(29..30), [20]);
        assert_eq!(find(&index, &(10..20)).unwrap()[0].bytes, 3..7);
        assert!(find(&[], &(0..1)).is_err());
    }
}
