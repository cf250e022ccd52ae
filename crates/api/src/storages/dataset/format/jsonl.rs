//! One object a line (`X4`), which is how items are stored.

use std::fs::File;
use std::io;

use super::Writer;

pub(super) struct JsonLines;

impl Writer for JsonLines {
    fn begin(&mut self, _: &mut Vec<u8>) -> io::Result<()> {
        Ok(())
    }

    fn entry(&mut self, entry: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        out.extend_from_slice(entry);
        out.push(b'\n');
        Ok(())
    }

    fn end(&mut self, _: &mut Vec<u8>) -> io::Result<Option<File>> {
        Ok(None)
    }
}
