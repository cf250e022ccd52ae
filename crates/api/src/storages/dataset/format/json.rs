//! One JSON array (`X3`).

use std::fs::File;
use std::io;

use bytes::Bytes;

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
        // The comma behind the last of them has its place only if more come.
        let inside = lines.slice(..lines.len().saturating_sub(1));
        Verbatim { before: self.separator(), lines: inside }
    }
}
