//! Takes the engine's log of a container over into ours, without loss or doubling, whoever is killed when.
//!
//! The engine keeps all output until the container is removed, and we note in a cursor how much of it stands in our log as
//! whole lines. After a crash our log is cut back to that place, keeping what the server itself wrote behind it, and the
//! engine's log is read from there.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use bytes::Bytes;
use model::{Clock as _, SystemClock, Timestamp};

use super::frames::Piece;
use super::life::{Cursor, Life};
use crate::log::LogFile;

/// Output older than this on arrival has been waiting for us, and keeps the second that the engine noted.
const LATE_MILLIS: i64 = 2000;
/// What a line of the server's own has behind its stamp (`LOG-3`).
const SERVER_PREFIX: &[u8] = b"ACTOR: ";
/// Memory of a buffer that is kept for the next time.
const KEPT: usize = 64 * 1024;
/// Length of a stamp with its space.
const STAMP: usize = 25;

#[derive(Debug)]
pub(super) struct Output {
    log: LogFile,
    cursor_file: File,
    cursor: Cursor,
    /// Bytes of output taken so far, whole lines or not.
    taken: u64,
    /// Newest second that the engine has noted for any output.
    newest: u64,
    /// Bytes of output to come that were taken before.
    skip: u64,
    /// Output of one time.
    buffer: Vec<u8>,
    buffered_at: Timestamp,
    /// The newest piece when the log was last read to its end, and its place.
    doubtful: Option<(u64, Bytes)>,
}

impl Output {
    /// Goes on where the cursor of the life stands.
    pub(super) fn resume(life: &Life, log: &Path, secrets: &[String], min_free_bytes: u64) -> io::Result<Self> {
        let cursor_file = life.cursor_file()?;
        let mut cursor = Cursor::read(&cursor_file)?;
        cursor.log_len = cut_back(log, cursor.log_len)?;
        cursor.write(&cursor_file)?;
        Ok(Self {
            log: LogFile::open(log, secrets, min_free_bytes)?,
            cursor_file,
            cursor,
            taken: cursor.taken,
            newest: 0,
            skip: 0,
            buffer: Vec::new(),
            buffered_at: Timestamp::default(),
            doubtful: None,
        })
    }

    /// The second since which the engine's log is to be read now; what was taken before is skipped then.
    pub(super) fn read_again(&mut self) -> u64 {
        self.skip = self.taken.saturating_sub(self.cursor.since_taken);
        self.newest = 0;
        self.cursor.since
    }

    /// Where the engine's own file of `len` bytes is to be read on now; what was taken before is skipped then.
    pub(super) fn read_file_again(&mut self, len: u64) -> u64 {
        let Cursor { offset, offset_taken, .. } = self.cursor;
        // It is all new if somebody has emptied it.
        let (offset, begin) = if offset <= len { (offset, offset_taken) } else { (0, self.taken) };
        self.skip = self.taken.saturating_sub(begin);
        offset
    }

    /// To be called where the engine has begun a new file.
    pub(super) fn begin_file(&mut self) {
        self.skip = 0;
        self.settle(Some(0));
    }

    /// Takes pieces of output. Blocks.
    pub(super) fn take(&mut self, pieces: &[Piece]) {
        let now = SystemClock.now();
        for piece in pieces {
            self.note_place(piece);
            self.put(time_of(piece.at.map(|at| (at, piece.is_exact)), now), &piece.output);
        }
        self.settle(None);
    }

    /// Takes output that came at a time; [`settle`](Self::settle) writes it.
    pub(super) fn put(&mut self, at: Timestamp, output: &[u8]) {
        let skipped = self.skip.min(output.len() as u64);
        self.skip -= skipped;
        let output = &output[usize::try_from(skipped).unwrap_or(usize::MAX).min(output.len())..];
        if output.is_empty() {
            return;
        }
        if at != self.buffered_at {
            self.hand_on();
            self.buffered_at = at;
        }
        self.buffer.extend_from_slice(output);
        self.taken += output.len() as u64;
    }

    /// Writes what was taken, and notes it if it is all in the log. `offset` says at which byte of the engine's own file the
    /// output begins that comes next. Blocks.
    pub(super) fn settle(&mut self, offset: Option<u64>) {
        self.hand_on();
        self.log.append_lines();
        // What is skipped is in the log.
        let Some(log_len) = self.log.settled_len() else { return };
        self.cursor = Cursor { taken: self.taken, log_len, ..self.cursor };
        if let Some(offset) = offset {
            self.cursor.offset = offset;
            self.cursor.offset_taken = self.taken.saturating_sub(self.skip);
        }
        // A disk that is full all the same: a crash would double what comes from here on, and nothing is lost.
        self.cursor.write(&self.cursor_file).ok();
    }

    /// Takes the newest piece of a log if it is the last for good, was taken before, or was the same at the last look: one
    /// that is just being written changes. Blocks.
    pub(super) fn take_newest(&mut self, piece: Option<Piece>, is_last: bool) {
        let Some(piece) = piece else { return };
        let seen = Some((self.taken, piece.output.clone()));
        if is_last || self.skip >= piece.output.len() as u64 || self.doubtful == seen {
            self.take(std::slice::from_ref(&piece));
            self.doubtful = None;
        } else {
            self.doubtful = seen;
        }
    }

    /// To be called each second.
    pub(super) fn tick(&mut self) {
        self.log.tick();
    }

    /// Ends the last line; all is on disk then.
    pub(super) fn close(&mut self) -> io::Result<()> {
        self.log.close()
    }

    /// Where a whole second without output precedes a piece, the engine's log since that second begins with the piece.
    fn note_place(&mut self, piece: &Piece) {
        let Some(second) = piece.at.and_then(|at| u64::try_from(at.as_millis() / 1000).ok()) else { return };
        let is_place = self.newest > 0 && second >= self.newest + 2 && self.skip == 0;
        if is_place {
            self.cursor.since = second - 1;
            self.cursor.since_taken = self.taken;
        }
        self.newest = self.newest.max(second);
    }

    fn hand_on(&mut self) {
        if !self.buffer.is_empty() {
            self.log.hold(self.buffered_at, &self.buffer);
            self.buffer.clear();
            self.buffer.shrink_to(KEPT);
        }
    }
}

/// The time of output that the engine received at `at`, if that is exact, and that we see `now`.
pub(super) fn time_of(at: Option<(Timestamp, bool)>, now: Timestamp) -> Timestamp {
    match at {
        Some((at, is_exact)) if is_exact || now.millis_since(at) > LATE_MILLIS => at,
        _ => now,
    }
}

/// Cuts a log back to `len`, keeping the lines of the server's own behind it; its length then.
fn cut_back(log: &Path, len: u64) -> io::Result<u64> {
    let mut file = match OpenOptions::new().read(true).write(true).open(log) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        file => file?,
    };
    let present = file.metadata()?.len();
    if present <= len {
        return Ok(present);
    }
    file.seek(SeekFrom::Start(len))?;
    let kept = server_lines(&file)?;
    file.set_len(len)?;
    file.seek(SeekFrom::Start(len))?;
    file.write_all(&kept)?;
    file.sync_data()?;
    Ok(len + kept.len() as u64)
}

fn server_lines(file: &File) -> io::Result<Vec<u8>> {
    let (mut reader, mut kept, mut line) = (BufReader::new(file), Vec::new(), Vec::new());
    // Lines of any length pass by; those of the server's own are short.
    let mut is_beginning = true;
    loop {
        let available = reader.fill_buf()?;
        if available.is_empty() {
            return Ok(kept);
        }
        let end = memchr::memchr(b'\n', available).map(|end| end + 1);
        let part = &available[..end.unwrap_or(available.len())];
        if is_beginning || !line.is_empty() {
            line.extend_from_slice(part);
        }
        let used = part.len();
        reader.consume(used);
        is_beginning = end.is_some();
        if is_beginning {
            if line.get(STAMP..).is_some_and(|text| text.starts_with(SERVER_PREFIX)) {
                kept.append(&mut line);
            }
            line.clear();
        } else if line.len() > STAMP + SERVER_PREFIX.len() && !line[STAMP..].starts_with(SERVER_PREFIX) {
            line.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Job, JobKind};

    fn life(dir: &Path) -> Life {
        let life = Life::of(dir, &Job { kind: JobKind::Run, id: "r".into(), life: 1 }).unwrap();
        life.note_begun(&dir.join("log"), 0).unwrap();
        life
    }

    fn pieces(lines: &[(&str, &'static str)]) -> Vec<Piece> {
        let piece = |(at, output): &(&str, &'static str)| Piece {
            at: Timestamp::parse(at),
            is_exact: true,
            output: Bytes::from_static(output.as_bytes()),
        };
        lines.iter().map(piece).collect()
    }

    const OUTPUT: [(&str, &str); 5] = [
        ("2026-11-29T10:00:00.001Z", "one\n"),
        ("2026-11-29T10:00:00.002Z", "two is "),
        ("2026-11-29T10:00:00.003Z", "longer\n"),
        ("2026-11-29T10:00:05.000Z", "three\n"),
        ("2026-11-29T10:00:05.001Z", "four\n"),
    ];
    const LOG: &str = "2026-11-29T10:00:00.001Z one\n2026-11-29T10:00:00.003Z two is longer\n\
                       2026-11-29T10:00:05.000Z three\n2026-11-29T10:00:05.001Z four\n";

    /// What the engine gives since a second.
    fn since(second: u64) -> Vec<Piece> {
        let is_since = |piece: &Piece| piece.at.unwrap().as_millis() / 1000 >= i64::try_from(second).unwrap();
        pieces(&OUTPUT).into_iter().filter(is_since).collect()
    }

    #[test]
    fn output_is_whole_wherever_the_server_dies() {
        for taken in 0..=OUTPUT.len() {
            for cut in 0..60 {
                let dir = tempfile::tempdir().unwrap();
                let (life, log) = (life(dir.path()), dir.path().join("log"));
                let mut output = Output::resume(&life, &log, &[], 0).unwrap();
                for piece in &pieces(&OUTPUT)[..taken] {
                    output.take(std::slice::from_ref(piece));
                }
                // Written after the cursor was, and cut by the kill.
                let unnoted = &b"2026-11-29T10:00:09.000Z ACTOR: kept\n2026-11-29T10:00:09.000Z half"[..cut.min(66)];
                OpenOptions::new().append(true).open(&log).unwrap().write_all(unnoted).unwrap();
                drop(output);

                let mut output = Output::resume(&life, &log, &[], 0).unwrap();
                let second = output.read_again();
                output.take(&since(second));
                output.close().unwrap();

                let text = std::fs::read_to_string(&log).unwrap();
                let kept = usize::from(cut >= 37);
                assert_eq!(text.matches("ACTOR: kept\n").count(), kept, "{taken} {cut}: {text}");
                let ours: String =
                    text.lines().filter(|line| !line.contains("ACTOR")).map(|line| format!("{line}\n")).collect();
                assert_eq!(ours, LOG, "{taken} {cut}");
            }
        }
    }

    #[test]
    fn a_connection_that_breaks_costs_nothing() {
        for taken in 0..=OUTPUT.len() {
            let dir = tempfile::tempdir().unwrap();
            let (life, log) = (life(dir.path()), dir.path().join("log"));
            let mut output = Output::resume(&life, &log, &[], 0).unwrap();
            output.take(&pieces(&OUTPUT)[..taken]);

            let second = output.read_again();
            output.take(&since(second));
            output.close().unwrap();

            assert_eq!(std::fs::read_to_string(&log).unwrap(), LOG, "{taken}");
        }
    }

    #[test]
    fn a_piece_that_is_just_being_written_waits_until_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let (life, log) = (life(dir.path()), dir.path().join("log"));
        let mut output = Output::resume(&life, &log, &[], 0).unwrap();
        let [half, whole] =
            ["half\n", "half a line\n"].map(|text| pieces(&[("2026-11-29T10:00:00.001Z", text)]).into_iter().next());

        for piece in [half, whole.clone(), whole] {
            output.read_again();
            output.take_newest(piece, false);
        }
        output.close().unwrap();

        assert_eq!(std::fs::read_to_string(&log).unwrap(), "2026-11-29T10:00:00.001Z half a line\n");
    }

    #[test]
    fn a_long_log_is_not_read_from_its_beginning_again() {
        let dir = tempfile::tempdir().unwrap();
        let (life, log) = (life(dir.path()), dir.path().join("log"));
        let mut output = Output::resume(&life, &log, &[], 0).unwrap();
        output.take(&pieces(&OUTPUT));

        assert_eq!(output.read_again(), 1_795_946_404, "the second before the third line");
        assert_eq!(output.skip, "three\nfour\n".len() as u64);
    }
}
