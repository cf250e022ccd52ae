//! The engine's log of a container, as it comes over the socket: pieces of output, each behind a head of eight bytes and
//! a time stamp.

use bytes::{Buf as _, Bytes, BytesMut};
use model::Timestamp;

const HEAD: usize = 8;
/// No piece is longer; engines cut at 16 KB.
const LONGEST: usize = 16 << 20;
/// Length of the longest stamp.
const LONGEST_STAMP: usize = 40;

/// One piece of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// When the engine received it; only whole seconds from older versions of Podman.
    pub(super) at: Option<Timestamp>,
    /// Whether `at` is exact.
    pub(super) is_exact: bool,
    /// What was written.
    pub(super) output: Bytes,
}

/// Cuts what arrives into pieces.
#[derive(Debug, Default)]
pub(super) struct Frames {
    pending: BytesMut,
    stamps: Stamps,
}

impl Frames {
    /// Takes what has arrived and appends the pieces that are complete by it.
    ///
    /// # Errors
    /// If this is no log.
    pub(super) fn push(&mut self, chunk: &[u8], pieces: &mut Vec<Piece>) -> Result<(), String> {
        self.pending.extend_from_slice(chunk);
        while self.pending.len() >= HEAD {
            let head = &self.pending[..HEAD];
            if head[0] > 2 || head[1..4] != [0; 3] {
                return Err("the engine's log is not in frames".to_owned());
            }
            let len = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
            if len > LONGEST {
                return Err(format!("the engine's log has a frame of {len} bytes"));
            }
            if self.pending.len() < HEAD + len {
                break;
            }
            self.pending.advance(HEAD);
            let frame = self.pending.split_to(len).freeze();
            pieces.push(self.stamps.split(frame));
        }
        Ok(())
    }
}

/// Reads stamps; those of one second share their beginning.
#[derive(Debug, Default)]
pub(super) struct Stamps {
    second: Vec<u8>,
    zone: Vec<u8>,
    at: Timestamp,
}

impl Stamps {
    fn split(&mut self, mut frame: Bytes) -> Piece {
        let end = memchr::memchr(b' ', &frame[..frame.len().min(LONGEST_STAMP)]);
        let read = end.and_then(|end| Some((end, self.read(&frame[..end])?)));
        match read {
            Some((end, (at, is_exact))) => {
                frame.advance(end + 1);
                Piece { at: Some(at), is_exact, output: frame }
            }
            None => Piece { at: None, is_exact: false, output: frame },
        }
    }

    /// `2026-11-29T16:44:02.123456789Z`, or without a fraction, or with an offset; and whether it is exact.
    pub(super) fn read(&mut self, stamp: &[u8]) -> Option<(Timestamp, bool)> {
        const SECOND: usize = 19;
        let (second, rest) = stamp.split_at_checked(SECOND)?;
        let digits = rest.strip_prefix(b".").map(|rest| rest.iter().take_while(|byte| byte.is_ascii_digit()).count());
        let Some(digits) = digits.filter(|digits| *digits >= 3) else {
            return Some((Timestamp::parse(std::str::from_utf8(stamp).ok()?)?, digits.is_some()));
        };
        let (fraction, zone) = rest.split_at(1 + digits);
        if self.second != second || self.zone != zone {
            let (text, zone_text) = (std::str::from_utf8(second).ok()?, std::str::from_utf8(zone).ok()?);
            self.at = Timestamp::parse(&format!("{text}{zone_text}"))?;
            self.second = second.to_vec();
            self.zone = zone.to_vec();
        }
        let millis = fraction[1..].iter().take(3).fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
        Some((self.at.plus_millis(millis), true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(text: &str) -> Vec<u8> {
        let mut frame = vec![1, 0, 0, 0];
        frame.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
        frame.extend(text.as_bytes());
        frame
    }

    #[test]
    fn pieces_are_found_however_they_arrive() {
        let mut stream = frame("2026-11-29T16:44:02.123456789Z first\n");
        stream.extend(frame("2026-11-29T17:44:02+01:00 second\n"));
        stream.extend(frame("2026-11-29T17:44:02.045678+01:00 third\n"));
        stream.extend(frame("2026-11-29T16:44:03.5Z "));
        let piece = |at: &str, is_exact, output: &'static str| Piece {
            at: Timestamp::parse(at),
            is_exact,
            output: Bytes::from_static(output.as_bytes()),
        };
        let expected = [
            piece("2026-11-29T16:44:02.123Z", true, "first\n"),
            piece("2026-11-29T16:44:02Z", false, "second\n"),
            piece("2026-11-29T16:44:02.045Z", true, "third\n"),
            piece("2026-11-29T16:44:03.5Z", true, ""),
        ];
        for size in 1..stream.len() {
            let (mut frames, mut pieces) = (Frames::default(), Vec::new());
            for chunk in stream.chunks(size) {
                frames.push(chunk, &mut pieces).unwrap();
            }
            assert_eq!(pieces, expected, "in chunks of {size}");
        }
    }

    #[test]
    fn what_is_no_log_is_refused() {
        assert!(Frames::default().push(b"not a frame at all", &mut Vec::new()).is_err());
        assert!(Frames::default().push(&[1, 0, 0, 0, 0xff, 0, 0, 0], &mut Vec::new()).is_err());
    }

    #[test]
    fn output_that_has_no_stamp_is_kept() {
        let (mut frames, mut pieces) = (Frames::default(), Vec::new());
        frames.push(&frame("no stamp here\n"), &mut pieces).unwrap();

        assert_eq!(pieces, [Piece { at: None, is_exact: false, output: Bytes::from_static(b"no stamp here\n") }]);
    }
}
