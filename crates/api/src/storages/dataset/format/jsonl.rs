//! One object a line (`X4`), which is how items are stored.

use bytes::Bytes;

use super::{Verbatim, Writer};

pub(super) struct JsonLines;

impl Writer for JsonLines {
    fn begin(&mut self, _: &mut Vec<u8>) {}

    fn entry(&mut self, entry: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(entry);
        out.push(b'\n');
    }

    fn end(&mut self, _: &mut Vec<u8>) {}

    fn lines(&mut self, lines: Bytes) -> Result<Verbatim, Bytes> {
        Ok(Verbatim { before: b"", lines })
    }
}
