//! The engine's log of a container where it lies as a file on this machine: read from there it costs the engine nothing.
//!
//! Docker's `json-file` has an object a line, Podman's `k8s-file` a stamp, the stream, whether the line ends, and the text.
//! Both are appended to until the container has ended, so a place in the file is all that must be kept.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use memchr::{memchr, memchr2, memmem, memrchr};
use model::{Clock as _, SystemClock, Timestamp};
use serde::Deserialize;

use super::frames::Stamps;
use super::output::{Output, time_of};

/// Read at once.
const BATCH: usize = 256 * 1024;
/// Batches after which the caller may want to do something else.
const BATCHES: usize = 16;
/// No record is longer: engines cut at 16 KB, and escapes make that six times as long at most.
const LONGEST: usize = 16 << 20;

/// An engine's log file, open.
#[derive(Debug)]
pub(super) struct Kept {
    path: PathBuf,
    file: File,
    inode: u64,
    /// Where `buffer` begins in the file; all before was handed on.
    offset: u64,
    /// Its first `filled` bytes are of the file.
    buffer: Vec<u8>,
    filled: usize,
    records: Records,
}

impl Kept {
    /// Opens the file where `output` stands.
    ///
    /// # Errors
    /// If it is not there, not for us, or no file.
    pub(super) fn open(path: &Path, output: &mut Output) -> io::Result<Self> {
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"));
        }
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        Ok(Self {
            path: path.to_owned(),
            file,
            inode: metadata.ino(),
            offset: output.read_file_again(metadata.len()),
            buffer: Vec::new(),
            filled: 0,
            records: Records::default(),
        })
    }

    /// Whether something was written since it was read to its end.
    pub(super) fn has_news(&self) -> bool {
        // What was removed can still be read, and gets no more.
        fs::metadata(&self.path).is_ok_and(|found| found.ino() != self.inode || found.len() != self.end())
    }

    /// Hands on what was written since the last time, some megabytes at most; whether that was all. A record that is half
    /// written waits. Blocks.
    ///
    /// # Errors
    /// If it cannot be read, or understood.
    pub(super) fn read(&mut self, output: &mut Output) -> io::Result<bool> {
        for _ in 0..BATCHES {
            if self.fill()? > 0 {
                self.hand_on(output)?;
                continue;
            }
            if self.file.metadata()?.len() < self.end() {
                // Somebody has emptied it.
                self.begin(output);
                continue;
            }
            match self.replacement()? {
                // What was written between the last look and the replacement.
                Some(_) if self.fill()? > 0 => self.hand_on(output)?,
                Some(file) => {
                    self.inode = file.metadata()?.ino();
                    self.file = file;
                    self.begin(output);
                }
                None => {
                    if self.filled == 0 {
                        self.buffer = Vec::new();
                    }
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn end(&self) -> u64 {
        self.offset + self.filled as u64
    }

    fn fill(&mut self) -> io::Result<usize> {
        if self.filled == self.buffer.len() {
            if self.filled >= LONGEST {
                return Err(strange("a record without end"));
            }
            self.buffer.resize((self.filled * 2).max(BATCH), 0);
        }
        let end = self.end();
        let read = self.file.read_at(&mut self.buffer[self.filled..], end)?;
        self.filled += read;
        Ok(read)
    }

    /// The file that has taken this one's place, if there is one.
    fn replacement(&self) -> io::Result<Option<File>> {
        match fs::metadata(&self.path) {
            Ok(found) if found.ino() != self.inode => File::open(&self.path).map(Some),
            _ => Ok(None),
        }
    }

    /// Goes on at the beginning of the file, of which nothing was read yet.
    fn begin(&mut self, output: &mut Output) {
        (self.offset, self.filled) = (0, 0);
        output.begin_file();
    }

    fn hand_on(&mut self, output: &mut Output) -> io::Result<()> {
        let Some(last) = memrchr(b'\n', &self.buffer[..self.filled]) else { return Ok(()) };
        let end = last + 1;
        // What ends in the middle of a line cannot be noted.
        let lines = self.last_line(end);
        for part in [0..lines, lines..end] {
            let next = self.offset + part.end as u64;
            if !part.is_empty() {
                self.take(part, output)?;
                output.settle(Some(next));
            }
        }
        self.buffer.copy_within(end..self.filled, 0);
        self.filled -= end;
        self.offset += end as u64;
        Ok(())
    }

    fn take(&mut self, part: Range<usize>, output: &mut Output) -> io::Result<()> {
        let now = SystemClock.now();
        let mut rest = &self.buffer[part];
        while let Some(end) = memchr(b'\n', rest) {
            let (record, behind) = rest.split_at(end + 1);
            let (at, text) = self.records.read(record).ok_or_else(|| strange("it is no log that we know"))?;
            output.put(time_of(at, now), text);
            rest = behind;
        }
        Ok(())
    }

    /// Where the last record before `end` ends with which a line of output ends.
    fn last_line(&mut self, mut end: usize) -> usize {
        while end > 0 {
            let begin = memrchr(b'\n', &self.buffer[..end - 1]).map_or(0, |before| before + 1);
            if self.records.read(&self.buffer[begin..end]).is_none_or(|(_, text)| text.ends_with(b"\n")) {
                break;
            }
            end = begin;
        }
        end
    }
}

fn strange(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// When the engine received output, and whether that is exact.
pub(super) type At = Option<(Timestamp, bool)>;

/// Understands records.
#[derive(Debug, Default)]
struct Records {
    stamps: Stamps,
    text: Vec<u8>,
}

impl Records {
    /// Output of a record with its line end. One of which an engine that was killed wrote only the beginning has none.
    fn read<'a>(&'a mut self, mut record: &'a [u8]) -> Option<(At, &'a [u8])> {
        if !record.starts_with(b"{") {
            return self.read_k8s(record);
        }
        loop {
            if let Some(stamp) = read_plain(record, &mut self.text) {
                return Some((self.stamps.read(stamp), &self.text));
            }
            if let Some((stamp, text)) = read_json(record) {
                self.text.clear();
                self.text.extend_from_slice(text.as_bytes());
                return Some((self.stamps.read(stamp.as_bytes()), &self.text));
            }
            // Behind the beginning of another. In a string its quotes would be escaped.
            record = &record[1 + memmem::find(&record[1..], PLAIN)?..];
        }
    }

    /// `2026-11-29T16:44:02.123456789+00:00 stdout F text`, or with `P` if the line goes on.
    fn read_k8s<'a>(&mut self, record: &'a [u8]) -> Option<(At, &'a [u8])> {
        const KINDS: [(&[u8], bool); 4] =
            [(b" stdout F ", true), (b" stderr F ", true), (b" stdout P ", false), (b" stderr P ", false)];
        let (stamp, rest) = record.split_at(memchr(b' ', record)?);
        let (text, is_end) = KINDS.iter().find_map(|(kind, is_end)| Some((rest.strip_prefix(*kind)?, is_end)))?;
        let at = self.stamps.read(stamp)?;
        Some((Some(at), if *is_end { text } else { text.strip_suffix(b"\n")? }))
    }
}

const PLAIN: &[u8] = b"{\"log\":\"";

/// The stamp of a record as Docker nearly always writes it; `text` is its output then.
fn read_plain<'a>(record: &'a [u8], text: &mut Vec<u8>) -> Option<&'a [u8]> {
    text.clear();
    let rest = unescape(record.strip_prefix(PLAIN)?, text)?.strip_prefix(b",\"stream\":\"std")?;
    let rest = rest.strip_prefix(b"out").or_else(|| rest.strip_prefix(b"err"))?;
    let stamp = rest.strip_prefix(b"\",\"time\":\"")?.strip_suffix(b"\"}\n")?;
    memchr(b'"', stamp).is_none().then_some(stamp)
}

/// Appends what a JSON string stands for whose opening quote is in front of `string`, and returns what follows its end.
fn unescape<'a>(mut string: &'a [u8], text: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let special = memchr2(b'"', b'\\', string)?;
        text.extend_from_slice(&string[..special]);
        if string[special] == b'"' {
            return Some(&string[special + 1..]);
        }
        let (escaped, rest) = string[special + 1..].split_first()?;
        string = rest;
        let byte = match escaped {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'b' => 8,
            b'f' => 12,
            b'"' | b'\\' | b'/' => *escaped,
            b'u' => {
                // Docker writes nothing in two halves; what does is left to the parser.
                let (digits, rest) = string.split_at_checked(4)?;
                let code = u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
                text.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
                string = rest;
                continue;
            }
            _ => return None,
        };
        text.push(byte);
    }
}

/// Stamp and output of any record in JSON.
fn read_json(record: &[u8]) -> Option<(Cow<'_, str>, Cow<'_, str>)> {
    #[derive(Deserialize)]
    struct Record<'a> {
        #[serde(default, borrow)]
        log: Cow<'a, str>,
        #[serde(borrow)]
        time: Cow<'a, str>,
    }
    let Record { log, time } = serde_json::from_slice(record).ok()?;
    Some((time, log))
}

#[cfg(test)]
mod tests;
