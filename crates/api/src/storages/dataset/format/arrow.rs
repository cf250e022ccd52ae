//! An Arrow IPC stream: the schema, then batches of rows.

use std::fs::File;
use std::io;

use arrow_ipc::writer::StreamWriter;

use super::Writer;
use super::arrow_rows::Rows;
use super::arrow_schema::{Kind, Members};

pub(super) struct Arrow {
    rows: Rows,
    stream: StreamWriter<Vec<u8>>,
}

impl Arrow {
    /// Starts a table with the columns that a first pass found.
    ///
    /// # Errors
    /// If the format cannot tell of such columns.
    pub(super) fn new(columns: &Members<Kind>) -> io::Result<Self> {
        let rows = Rows::new(columns);
        let stream = StreamWriter::try_new(Vec::new(), rows.schema()).map_err(io::Error::other)?;
        Ok(Self { rows, stream })
    }

    fn write_batch(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        if let Some((batch, _)) = self.rows.take()? {
            self.stream.write(&batch).map_err(io::Error::other)?;
        }
        out.append(self.stream.get_mut());
        Ok(())
    }
}

impl Writer for Arrow {
    fn begin(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        out.append(self.stream.get_mut());
        Ok(())
    }

    fn entry(&mut self, entry: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        if self.rows.add(entry)? { self.write_batch(out) } else { Ok(()) }
    }

    fn end(&mut self, out: &mut Vec<u8>) -> io::Result<Option<File>> {
        self.write_batch(out)?;
        self.stream.finish().map_err(io::Error::other)?;
        out.append(self.stream.get_mut());
        Ok(None)
    }
}
