//! A Parquet file, row group by row group.
//!
//! Its rows lie in its columns, so that a table without columns has no rows, as in the other tables (`X9`).

use std::fs::File;
use std::io;

use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::{Compression, ZstdLevel};
use ::parquet::file::properties::{EnabledStatistics, WriterProperties};

use super::Writer;
use super::arrow_rows::Rows;
use super::arrow_schema::{Kind, Members};

/// A row group ends at so many bytes of JSON, or when its columns take so much memory.
const GROUP_BYTES: usize = 4 << 20;
const GROUP_MEMORY: usize = 8 << 20;

pub(super) struct Parquet {
    rows: Rows,
    file: ArrowWriter<Vec<u8>>,
    group_bytes: usize,
}

impl Parquet {
    /// Starts a table with the columns that a first pass found.
    ///
    /// # Errors
    /// If the format cannot tell of such columns.
    pub(super) fn new(columns: &Members<Kind>) -> io::Result<Self> {
        let rows = Rows::new(columns);
        // Nothing that is kept until the end grows with the pages, only with the row groups.
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true)
            .build();
        let file =
            ArrowWriter::try_new(Vec::new(), rows.schema().clone(), Some(properties)).map_err(io::Error::other)?;
        Ok(Self { rows, file, group_bytes: 0 })
    }

    fn write_batch(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        if let Some((batch, bytes)) = self.rows.take()? {
            self.file.write(&batch).map_err(io::Error::other)?;
            self.group_bytes += bytes;
        }
        if self.group_bytes >= GROUP_BYTES || self.file.memory_size() >= GROUP_MEMORY {
            self.file.flush().map_err(io::Error::other)?;
            self.group_bytes = 0;
        }
        out.append(self.file.inner_mut());
        Ok(())
    }
}

impl Writer for Parquet {
    fn begin(&mut self, _: &mut Vec<u8>) -> io::Result<()> {
        Ok(())
    }

    fn entry(&mut self, entry: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        if self.rows.add(entry)? { self.write_batch(out) } else { Ok(()) }
    }

    fn end(&mut self, out: &mut Vec<u8>) -> io::Result<Option<File>> {
        self.write_batch(out)?;
        self.file.finish().map_err(io::Error::other)?;
        out.append(self.file.inner_mut());
        Ok(None)
    }
}
