//! One JSON array (`X3`).

use bytes::{Bytes, BytesMut};

use super::{Verbatim, Writer};

#[derive(Default)]
pub(super) struct Json {
    started: bool,
}

impl Json {
    fn separator(&mut self) -> &'static [u8] {
        if std::mem::replace(&mut self.started, true) { b",\n" } else { b"" }
    }
}

impl Writer for Json {
    fn begin(&mut self, out: &mut Vec<u8>) {
        out.push(b'[');
    }

    fn entry(&mut self, entry: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(self.separator());
        out.extend_from_slice(entry);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        out.push(b']');
    }

    fn lines(&mut self, lines: Bytes) -> Option<Verbatim> {
        // The line feed behind each item becomes the comma before the next; the last one goes.
        let mut lines: BytesMut = lines.into();
        lines.truncate(lines.len().saturating_sub(1));
        let breaks: Vec<usize> = memchr::memchr_iter(b'\n', &lines).collect();
        for at in breaks {
            lines[at] = b',';
        }
        Some(Verbatim { before: self.separator(), lines: lines.freeze() })
    }
}
