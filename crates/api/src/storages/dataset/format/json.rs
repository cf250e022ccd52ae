//! One JSON array (`X3`).

use std::fs::File;
use std::io;

use bytes::{Bytes, BytesMut};

use super::{Verbatim, Writer};

#[derive(Default)]
pub(super) struct Json {
    started: bool,
}

impl Json {
    fn separator(&mut self) -> &'static [u8] {
        if std::mem::replace(&mut self.started, true) { b"," } else { b"" }
    }
}

impl Writer for Json {
    fn begin(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        out.push(b'[');
        Ok(())
    }

    fn entry(&mut self, entry: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        out.extend_from_slice(self.separator());
        out.extend_from_slice(entry);
        Ok(())
    }

    fn end(&mut self, out: &mut Vec<u8>) -> io::Result<Option<File>> {
        out.push(b']');
        Ok(None)
    }

    fn lines(&mut self, lines: Bytes) -> Verbatim {
        // The line feed behind each item becomes the comma before the next; the last one goes. Copies nothing unless the
        // store still holds on to the lines.
        let mut lines = BytesMut::from(lines);
        lines.truncate(lines.len().saturating_sub(1));
        let mut from = 0;
        while let Some(at) = memchr::memchr(b'\n', &lines[from..]) {
            lines[from + at] = b',';
            from += at + 1;
        }
        Verbatim { before: self.separator(), lines: lines.freeze() }
    }
}
