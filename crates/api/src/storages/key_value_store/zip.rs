//! All records as one ZIP file, written as it is read (`K32`).
//!
//! Sizes are not known before a record has been decoded, so they stand behind it, in the 64-bit form that has no limit, and
//! again in the directory at the end. Libraries at hand either keep a structure for each entry or write such sizes in 32
//! bits; the format is small enough to be written here.

use std::io::{self, Write as _};

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use futures::StreamExt as _;
use http::HeaderValue;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use model::{MAX_LIMIT, Storage, Timestamp};
use store::{ByteStream, Content, KeyQuery, Reads, RecordMeta};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::key::{KeyFilter, Matching};
use super::{keys, record};
use crate::app::App;
use crate::error::{Answer, ApiError};
use crate::extract::{ContentSignature, Encoding, KeyValueStore, Opened, Query, Readable};

/// Bytes that are written before they are handed on.
const PIECE: usize = 64 << 10;

pub(super) async fn download(
    State(app): State<App>,
    Readable(store, ..): Readable<KeyValueStore, ContentSignature>,
    Query(filter): Query<KeyFilter>,
) -> Answer {
    let matching = filter.resolve(&app, &store)?;
    let name = store.storage.name.as_deref().unwrap_or(store.storage.id.as_str());
    let disposition = HeaderValue::try_from(format!("attachment; filename=\"{name}.zip\""));

    let (pieces, received) = mpsc::channel::<io::Result<Bytes>>(1);
    tokio::spawn(async move {
        let mut archive = Archive { out: Vec::new(), written: 0, directory: Vec::new(), entries: 0, pieces };
        let Err(error) = write_all(&app, &store, matching, &mut archive).await else { return };
        // If nobody reads any more, nobody needs to know.
        if !archive.pieces.is_closed() {
            tracing::error!(storage.id = %store.storage.id, %error, "Failed to write an archive to its end");
            let _ = archive.pieces.send(Err(io::Error::other(error.to_string()))).await;
        }
    });

    let mut response = Response::new(Body::from_stream(ReceiverStream::new(received)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/zip"));
    headers.insert(CONTENT_DISPOSITION, disposition.unwrap_or(HeaderValue::from_static("attachment")));
    Ok(response)
}

async fn write_all(app: &App, store: &Opened, matching: Matching, archive: &mut Archive) -> Result<(), ApiError> {
    let storage = &*store.storage;
    match matching {
        Matching::Only(key) => {
            if let Some(meta) = keys::only(app, storage, key).await? {
                write_record(app, store, &meta, archive).await?;
            }
        }
        Matching::Prefixes(prefixes) => {
            let limit = usize::try_from(MAX_LIMIT).unwrap_or(usize::MAX);
            let mut query = KeyQuery { limit, after: None, prefixes };
            loop {
                let page = app.store().records.keys(&storage.id, query.clone()).await?;
                for meta in &page.items {
                    write_record(app, store, meta, archive).await?;
                }
                match page.items.last() {
                    Some(last) if page.more => query.after = Some(last.key.clone()),
                    _ => break,
                }
            }
        }
    }
    archive.finish().await?;
    Ok(())
}

async fn write_record(app: &App, store: &Opened, meta: &RecordMeta, archive: &mut Archive) -> Result<(), ApiError> {
    let storage: &Storage = &store.storage;
    // A record that was deleted since its key was listed is left out.
    let Some(found) = app.store().records.get(&storage.id, &meta.key).await? else { return Ok(()) };
    app.store().storages.note_reads(&storage.id, Reads { reads: 1, ..Reads::default() });
    store.meter(app, |usage| usage.key_value_store_reads += 1);

    let (key, modified_at) = (&meta.key, found.meta.modified_at);
    let encoding = found.meta.content_encoding.as_deref().and_then(Encoding::named);
    if let Some(encoding) = encoding {
        let decoded = record::decode(app, &found.content, encoding).await?;
        let Err(error) = archive.add(key, modified_at, decoded).await? else { return Ok(()) };
        // Nothing is lost by one damaged record: what it is like is there, too, and the others follow.
        tracing::warn!(storage.id = %storage.id, key, %error, "A record cannot be decoded and is archived as it is stored");
    }
    let stored = match &found.content {
        Content::Inline(bytes) => futures::stream::iter([Ok(bytes.clone())]).boxed(),
        content => app.store().records.open(content, None).await?,
    };
    let name = encoding.map_or_else(|| key.clone(), |encoding| format!("{key}.{}", encoding.name()));
    archive.add(&name, modified_at, stored).await?.map_err(ApiError::internal)
}

/// A ZIP file on its way out.
struct Archive {
    out: Vec<u8>,
    /// Bytes of the file so far, those in `out` included.
    written: u64,
    /// The directory at the end.
    directory: Vec<u8>,
    entries: u64,
    pieces: mpsc::Sender<io::Result<Bytes>>,
}

/// A record on its way into the file.
struct Entry {
    key: String,
    start: u64,
    date_and_time: [u8; 4],
    checksum: flate2::Crc,
    encoder: DeflateEncoder<Vec<u8>>,
    compressed: u64,
    size: u64,
}

/// Sizes follow the content; names are UTF-8.
const FLAGS: [u8; 2] = 0x0808_u16.to_le_bytes();
const DEFLATED: [u8; 2] = 8_u16.to_le_bytes();
/// The version of the format that knows 64-bit sizes.
const VERSION: [u8; 2] = 45_u16.to_le_bytes();
const ZIP64: [u8; 2] = 1_u16.to_le_bytes();
/// Stands where the number is in the 64-bit form elsewhere.
const ELSEWHERE: [u8; 4] = u32::MAX.to_le_bytes();

impl Archive {
    /// Writes an entry. If its content breaks off, that is told within, and the entry ends there; it is left out if that is at
    /// its very start.
    async fn add(
        &mut self,
        name: &str,
        modified_at: Timestamp,
        mut content: ByteStream,
    ) -> Result<io::Result<()>, ApiError> {
        let first = match content.next().await.transpose() {
            Ok(first) => first,
            Err(error) => return Ok(Err(error)),
        };
        let mut entry = self.begin(name, modified_at);
        let mut next = Ok(first);
        while let Ok(Some(piece)) = next {
            self.write(&mut entry, &piece).await?;
            next = content.next().await.transpose();
        }
        self.end(entry).await?;
        Ok(next.map(drop))
    }

    fn begin(&mut self, key: &str, modified_at: Timestamp) -> Entry {
        let entry = Entry {
            key: key.to_owned(),
            start: self.written,
            date_and_time: dos_date_and_time(modified_at),
            checksum: flate2::Crc::new(),
            encoder: DeflateEncoder::new(Vec::new(), Compression::fast()),
            compressed: 0,
            size: 0,
        };
        self.put(&[b"PK\x03\x04", &VERSION, &FLAGS, &DEFLATED, &entry.date_and_time, &[0; 4]]);
        self.put(&[&ELSEWHERE, &ELSEWHERE, &short(key.len()), &short(20), key.as_bytes()]);
        self.put(&[&ZIP64, &short(16), &[0; 16]]);
        entry
    }

    async fn write(&mut self, entry: &mut Entry, piece: &[u8]) -> io::Result<()> {
        entry.checksum.update(piece);
        entry.size += piece.len() as u64;
        entry.encoder.write_all(piece)?;
        let compressed = std::mem::take(entry.encoder.get_mut());
        entry.compressed += compressed.len() as u64;
        self.put(&[&compressed]);
        self.hand_on(PIECE).await
    }

    async fn end(&mut self, entry: Entry) -> io::Result<()> {
        let rest = entry.encoder.finish()?;
        self.put(&[&rest]);
        let compressed = (entry.compressed + rest.len() as u64).to_le_bytes();
        let size = entry.size.to_le_bytes();
        let checksum = entry.checksum.sum().to_le_bytes();
        self.put(&[b"PK\x07\x08", &checksum, &compressed, &size]);

        let key = entry.key.as_bytes();
        for part in [
            &b"PK\x01\x02"[..],
            &VERSION,
            &VERSION,
            &FLAGS,
            &DEFLATED,
            &entry.date_and_time,
            &checksum,
            &ELSEWHERE,
            &ELSEWHERE,
            &short(key.len()),
            &short(28),
            // No comment, first disk, no attributes.
            &[0; 10],
            &ELSEWHERE,
            key,
            &ZIP64,
            &short(24),
            &size,
            &compressed,
            &entry.start.to_le_bytes(),
        ] {
            self.directory.extend_from_slice(part);
        }
        self.entries += 1;
        self.hand_on(PIECE).await
    }

    async fn finish(&mut self) -> io::Result<()> {
        let directory = std::mem::take(&mut self.directory);
        let (start, size) = (self.written, directory.len() as u64);
        self.put(&[&directory]);
        let end = self.written;
        let entries = self.entries.to_le_bytes();
        self.put(&[b"PK\x06\x06", &44_u64.to_le_bytes(), &VERSION, &VERSION, &[0; 8]]);
        self.put(&[&entries, &entries, &size.to_le_bytes(), &start.to_le_bytes()]);
        self.put(&[b"PK\x06\x07", &[0; 4], &end.to_le_bytes(), &1_u32.to_le_bytes()]);
        let small = |number: u64| u16::try_from(number).unwrap_or(u16::MAX).to_le_bytes();
        let medium = |number: u64| u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
        self.put(&[
            b"PK\x05\x06",
            &[0; 4],
            &small(self.entries),
            &small(self.entries),
            &medium(size),
            &medium(start),
            &[0; 2],
        ]);
        self.hand_on(1).await
    }

    fn put(&mut self, parts: &[&[u8]]) {
        for part in parts {
            self.out.extend_from_slice(part);
            self.written += part.len() as u64;
        }
    }

    async fn hand_on(&mut self, at_least: usize) -> io::Result<()> {
        if self.out.len() < at_least {
            return Ok(());
        }
        let piece = std::mem::take(&mut self.out).into();
        self.pieces.send(Ok(piece)).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Keys and extra fields are far shorter than 64 KB.
fn short(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes()
}

/// Time and date as MS-DOS had them: from 1980 on, in steps of two seconds.
fn dos_date_and_time(time: Timestamp) -> [u8; 4] {
    let text = time.to_string();
    let number = |from: usize, to: usize| text.get(from..to).and_then(|digits| digits.parse::<u32>().ok()).unwrap_or(0);
    let date = (number(0, 4).saturating_sub(1980).min(127) << 9) | (number(5, 7) << 5) | number(8, 10);
    let time = (number(11, 13) << 11) | (number(14, 16) << 5) | (number(17, 19) / 2);
    ((date << 16) | time).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read as _};

    use super::*;

    /// Writes entries and gives the whole file.
    async fn written(entries: impl IntoIterator<Item = (String, Vec<u8>)>) -> Vec<u8> {
        let (pieces, mut received) = mpsc::channel(1);
        let collect = tokio::spawn(async move {
            let mut file = Vec::new();
            while let Some(piece) = received.recv().await {
                let piece: io::Result<Bytes> = piece;
                file.extend_from_slice(&piece.unwrap());
            }
            file
        });
        let mut archive = Archive { out: Vec::new(), written: 0, directory: Vec::new(), entries: 0, pieces };
        for (key, content) in entries {
            let mut entry = archive.begin(&key, Timestamp::from_millis(1_700_000_000_000));
            for piece in content.chunks(1000) {
                archive.write(&mut entry, piece).await.unwrap();
            }
            archive.end(entry).await.unwrap();
        }
        archive.finish().await.unwrap();
        drop(archive);
        collect.await.unwrap()
    }

    #[tokio::test]
    async fn more_entries_than_the_old_form_can_count_are_all_there() {
        const ENTRIES: usize = 70_000;
        let file = written((0..ENTRIES).map(|n| (format!("key-{n}"), n.to_string().into_bytes()))).await;

        let mut archive = zip::ZipArchive::new(Cursor::new(&file)).unwrap();
        assert_eq!(archive.len(), ENTRIES);
        for n in [0, 65_535, 65_536, ENTRIES - 1] {
            let mut entry = archive.by_index(n).unwrap();
            assert_eq!(entry.name().unwrap(), format!("key-{n}"));
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            assert_eq!(text, n.to_string());
        }
    }

    #[tokio::test]
    async fn offsets_and_sizes_beyond_four_gigabytes_are_written_whole() {
        let (pieces, mut received) = mpsc::channel(64);
        let far = 5 << 30;
        let mut archive = Archive { out: Vec::new(), written: far, directory: Vec::new(), entries: 0, pieces };
        let mut entry = archive.begin("key", Timestamp::from_millis(0));
        archive.write(&mut entry, b"content").await.unwrap();
        entry.size = far;
        archive.end(entry).await.unwrap();

        // The directory's entry ends with size, compressed size and offset in 64 bits.
        let numbers = archive.directory[archive.directory.len() - 24..].chunks_exact(8);
        let numbers: Vec<u64> = numbers.map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap())).collect();
        assert_eq!((numbers[0], numbers[2]), (far, far));
        archive.finish().await.unwrap();
        drop(archive);
        assert!(received.recv().await.unwrap().unwrap().ends_with(&[0xff, 0xff, 0xff, 0xff, 0, 0]));
    }
}
