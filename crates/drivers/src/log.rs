//! Log lines as clients read them (`LOG-2`): one stamp each, secrets masked, valid UTF-8.

mod file;
mod mask;

use model::Timestamp;

pub(crate) use file::LogFile;
use mask::Masker;

/// A line with no end in sight is written in pieces of about this many bytes, so that memory stays flat.
const MAX_PENDING: usize = 64 * 1024;

/// Turns the output of a process into stamped lines.
///
/// Each output line gets exactly one stamp, the time at which its end arrived, however the process chunked its writes.
/// A line over 64 KiB is handed on in pieces and has the time of its first piece; it still gets one stamp. Secrets are
/// masked with `*****`, also across chunks, and bytes that are not UTF-8 are replaced.
#[derive(Debug)]
pub struct LineStamper {
    masker: Masker,
    /// The beginning of a line whose end has not arrived.
    pending: Vec<u8>,
    /// Whether the beginning of the current line was handed on already, with its stamp.
    mid_line: bool,
    stamp: Stamp,
}

impl LineStamper {
    /// Masks `secrets`; blank ones are ignored.
    pub fn new(secrets: &[String]) -> Self {
        Self { masker: Masker::new(secrets), pending: Vec::new(), mid_line: false, stamp: Stamp::default() }
    }

    /// Takes a chunk of output that arrived at `now` and appends what is ready to `out`: whole lines, except for very
    /// long ones.
    pub fn push(&mut self, now: Timestamp, chunk: &[u8], out: &mut Vec<u8>) {
        let mut masker = std::mem::take(&mut self.masker);
        self.push_masked(now, masker.push(chunk), out);
        self.masker = masker;
    }

    /// Ends the last line, if it has not been.
    pub fn finish(&mut self, now: Timestamp, out: &mut Vec<u8>) {
        let mut masker = std::mem::take(&mut self.masker);
        self.push_masked(now, masker.finish(), out);
        self.masker = masker;
        if self.mid_line || !self.pending.is_empty() {
            self.end_line(now, &[], out);
        }
    }

    /// Whether the last byte handed on was not the end of a line.
    pub fn is_mid_line(&self) -> bool {
        self.mid_line
    }

    /// Whether nothing is held back and the last line has its end.
    #[cfg(feature = "docker")]
    pub(crate) fn is_settled(&self) -> bool {
        !self.mid_line && self.pending.is_empty() && self.masker.is_settled()
    }

    fn push_masked(&mut self, now: Timestamp, text: &[u8], out: &mut Vec<u8>) {
        let Some(first_end) = memchr::memchr(b'\n', text) else {
            self.pending.extend_from_slice(text);
            if self.pending.len() > MAX_PENDING {
                self.hand_on_piece(now, out);
            }
            return;
        };
        self.end_line(now, &text[..first_end], out);
        let rest = &text[first_end + 1..];
        let Some(last_end) = memchr::memrchr(b'\n', rest) else {
            self.pending.extend_from_slice(rest);
            return;
        };
        let (lines, begun) = rest.split_at(last_end + 1);
        // Checking all lines in one go is several times faster than line by line, and output is nearly always valid.
        let valid = std::str::from_utf8(lines).is_ok();
        let stamp = self.stamp.at(now);
        let mut begin = 0;
        for end in memchr::memchr_iter(b'\n', lines) {
            out.extend_from_slice(stamp);
            match valid {
                true => out.extend_from_slice(&lines[begin..=end]),
                false => out.extend_from_slice(String::from_utf8_lossy(&lines[begin..=end]).as_bytes()),
            }
            begin = end + 1;
        }
        self.pending.extend_from_slice(begun);
    }

    /// Hands on the pending beginning of a line, then `text`, then the line's end.
    fn end_line(&mut self, now: Timestamp, text: &[u8], out: &mut Vec<u8>) {
        self.pending.extend_from_slice(text);
        if !self.mid_line {
            out.extend_from_slice(self.stamp.at(now));
        }
        out.extend_from_slice(String::from_utf8_lossy(&self.pending).as_bytes());
        out.push(b'\n');
        self.pending.clear();
        self.pending.shrink_to(MAX_PENDING);
        self.mid_line = false;
    }

    /// Hands on what is pending without ending the line; bytes of an unfinished character stay.
    fn hand_on_piece(&mut self, now: Timestamp, out: &mut Vec<u8>) {
        if !self.mid_line {
            out.extend_from_slice(self.stamp.at(now));
        }
        self.mid_line = true;
        let unfinished =
            self.pending.utf8_chunks().last().map_or(0, |last| match std::str::from_utf8(last.invalid()) {
                // `error_len` is `None` exactly if more bytes could make the character valid.
                Err(err) if err.error_len().is_none() => last.invalid().len(),
                _ => 0,
            });
        let ready = self.pending.len() - unfinished;
        out.extend_from_slice(String::from_utf8_lossy(&self.pending[..ready]).as_bytes());
        self.pending.drain(..ready);
    }
}

/// A line of the server's own (`LOG-3`): stamped, prefixed `ACTOR: `, with its line end. Line breaks in `text` make
/// several such lines.
pub fn server_line(now: Timestamp, text: &str) -> String {
    let mut lines = String::with_capacity(text.len() + 40);
    for line in text.trim_end_matches('\n').split('\n') {
        lines.push_str(&format!("{now} ACTOR: {line}\n"));
    }
    lines
}

/// The stamp that was written last; within a millisecond all lines share it.
#[derive(Debug, Default)]
struct Stamp {
    at: Option<Timestamp>,
    text: Vec<u8>,
}

impl Stamp {
    fn at(&mut self, now: Timestamp) -> &[u8] {
        if self.at != Some(now) {
            self.at = Some(now);
            self.text = format!("{now} ").into_bytes();
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp::from_millis(1_788_167_605_123);
    const STAMP: &str = "2026-08-31T09:13:25.123Z ";

    fn stamped(secrets: &[&str], chunks: &[&[u8]]) -> String {
        let secrets: Vec<String> = secrets.iter().map(|secret| (*secret).to_owned()).collect();
        let mut stamper = LineStamper::new(&secrets);
        let mut out = Vec::new();
        for chunk in chunks {
            stamper.push(NOON, chunk, &mut out);
        }
        stamper.finish(NOON, &mut out);
        String::from_utf8(out).unwrap().replace(STAMP, "@")
    }

    #[test]
    fn every_line_gets_one_stamp_however_it_was_chunked() {
        let text = "first\n\n  third ü\r\nlast";
        let expected = "@first\n@\n@  third ü\r\n@last\n";

        assert_eq!(stamped(&[], &[text.as_bytes()]), expected);
        assert_eq!(stamped(&[], &text.as_bytes().chunks(1).collect::<Vec<_>>()), expected);
        for cut in 0..text.len() {
            let (head, tail) = text.as_bytes().split_at(cut);
            assert_eq!(stamped(&[], &[head, tail]), expected, "cut at {cut}");
        }
        assert_eq!(stamped(&[], &[]), "");
        assert_eq!(stamped(&[], &[b"\n"]), "@\n");
    }

    #[test]
    fn invalid_utf8_is_replaced_and_spoils_no_other_line() {
        assert_eq!(stamped(&[], &[b"a\nb\xff\nc\xc3\n", b"\xa9\n"]), "@a\n@b\u{fffd}\n@c\u{fffd}\n@\u{fffd}\n");
        assert_eq!(stamped(&[], &[b"\xc3", b"\xa9t\xc3\xa9"]), "@été\n");
    }

    #[test]
    fn a_line_without_end_is_handed_on_in_pieces_with_one_stamp() {
        let line = "ü".repeat(300_000);
        let mut stamper = LineStamper::new(&[]);
        let mut out = Vec::new();
        for chunk in line.as_bytes().chunks(4099) {
            stamper.push(NOON, chunk, &mut out);
            assert!(stamper.pending.len() <= MAX_PENDING + 4099);
        }
        stamper.finish(NOON, &mut out);

        assert_eq!(String::from_utf8(out).unwrap(), format!("{STAMP}{line}\n"));
    }

    #[test]
    fn secrets_are_masked_also_across_chunks() {
        let text = b"token=hunter22 and hunter2, hunter hunter\nhunter2";
        for cut in 0..text.len() {
            let (head, tail) = text.split_at(cut);
            let seen = stamped(&["hunter2", ""], &[head, tail]);
            assert_eq!(seen, "@token=*****2 and *****, hunter hunter\n@*****\n", "cut at {cut}");
        }
    }

    #[test]
    fn the_longest_of_overlapping_secrets_is_masked_however_it_was_chunked() {
        for (secrets, text, expected) in [
            (&["abc", "abcdef"][..], "xabcdefx abcx", "@x*****x *****x\n"),
            (&["abcdef", "cd"], "abcdef abcde cd", "@***** ab*****e *****\n"),
            (&["BEGIN\nEND"], "BEGIN\nEND\nBEGIN\nen", "@*****\n@BEGIN\n@en\n"),
            (&["aaa"], "aaaaaaa", "@**********a\n"),
        ] {
            for size in 1..=text.len() {
                let chunks: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
                assert_eq!(stamped(secrets, &chunks), expected, "{text} in chunks of {size}");
            }
        }
    }

    #[test]
    fn lines_of_the_server_carry_stamp_and_prefix() {
        assert_eq!(server_line(NOON, "Creating container.").replace(STAMP, "@"), "@ACTOR: Creating container.\n");
        assert_eq!(server_line(NOON, "a\nb\n").replace(STAMP, "@"), "@ACTOR: a\n@ACTOR: b\n");
    }
}
