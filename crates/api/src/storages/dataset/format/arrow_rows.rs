//! Turns JSON objects into batches of typed columns.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, Float64Builder, Int64Builder, StringBuilder};
use arrow_array::{ArrayRef, ListArray, RecordBatch, RecordBatchOptions, StructArray};
use arrow_buffer::{NullBufferBuilder, OffsetBuffer};
use arrow_schema::{FieldRef, Fields, Schema, SchemaRef};
use model::raw_json::{JsonError, Scanner};

use super::arrow_schema::{Kind, Members};

/// A batch is full at so many bytes of JSON, or at so many cells: a short entry can have thousands, all of them empty.
const BATCH_BYTES: usize = 1 << 20;
const BATCH_CELLS: usize = 1 << 19;

/// Rows of one table, on their way into a batch.
pub(super) struct Rows {
    schema: SchemaRef,
    table: Record,
    rows: usize,
    bytes: usize,
    cells: usize,
}

/// The columns of a struct, or of the table.
struct Record {
    columns: Members<Column>,
    fields: Fields,
    validity: NullBufferBuilder,
    /// Where in the current object the value of each column lies.
    values: Vec<Range<usize>>,
}

enum Column {
    Bool(BooleanBuilder),
    Int(Int64Builder),
    Float(Float64Builder),
    Text(StringBuilder),
    Json(StringBuilder),
    List(Box<ListColumn>),
    Struct(Box<Record>),
}

struct ListColumn {
    element: Column,
    field: FieldRef,
    lengths: Vec<usize>,
    validity: NullBufferBuilder,
}

/// Why a value could not be put into a column.
#[derive(Debug, thiserror::Error)]
enum NoFit {
    #[error("an item is not JSON: {} at byte {}", .0.problem, .0.at)]
    Json(JsonError),
    #[error("an item does not fit the columns that were found for it")]
    Type,
}

impl Rows {
    pub(super) fn new(columns: &Members<Kind>) -> Self {
        let table = Record::new(columns);
        Self { schema: Arc::new(Schema::new(table.fields.clone())), table, rows: 0, bytes: 0, cells: 0 }
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Adds one entry, the text of a JSON object, and tells whether the batch is full.
    ///
    /// # Errors
    /// If the entry is none of those that the columns were found for.
    pub(super) fn add(&mut self, entry: &[u8]) -> io::Result<bool> {
        let text = std::str::from_utf8(entry).map_err(io::Error::other)?;
        self.table.append(text, &mut self.cells).map_err(io::Error::other)?;
        self.rows += 1;
        self.bytes += entry.len();
        Ok(self.bytes >= BATCH_BYTES || self.cells >= BATCH_CELLS || self.rows >= BATCH_CELLS)
    }

    /// The rows that were added since the last batch, if any, and how many bytes of JSON they were.
    ///
    /// # Errors
    /// Never, unless the columns are out of step.
    pub(super) fn take(&mut self) -> io::Result<Option<(RecordBatch, usize)>> {
        let (rows, bytes) = (std::mem::take(&mut self.rows), std::mem::take(&mut self.bytes));
        self.cells = 0;
        if rows == 0 {
            return Ok(None);
        }
        let (columns, _) = self.table.finish()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options).map_err(io::Error::other)?;
        Ok(Some((batch, bytes)))
    }
}

impl Record {
    fn new(kinds: &Members<Kind>) -> Self {
        Self {
            columns: kinds.map(Column::new),
            fields: kinds.fields(),
            validity: NullBufferBuilder::new(0),
            values: vec![0..0; kinds.len()],
        }
    }

    fn append(&mut self, object: &str, cells: &mut usize) -> Result<(), NoFit> {
        // Gathered first, since of properties with the same name the last one counts (`D5`).
        let mut scanner = Scanner::new(object);
        scanner.open(b'{')?;
        let (mut first, mut next) = (true, 0);
        while let Some(key) = scanner.next_key(first)? {
            first = false;
            let start = scanner.position();
            scanner.value()?;
            if let Some(at) = self.columns.position(&key.decode(), next) {
                self.values[at] = start..scanner.position();
                next = at + 1;
            }
        }
        scanner.end()?;

        for (column, value) in self.columns.iter_mut().zip(&mut self.values) {
            match std::mem::replace(value, 0..0) {
                nothing if nothing.is_empty() => column.append_null(cells),
                value => column.append(&object[value], cells)?,
            }
        }
        self.validity.append_non_null();
        Ok(())
    }

    fn append_null(&mut self, cells: &mut usize) {
        self.columns.iter_mut().for_each(|column| column.append_null(cells));
        self.validity.append_null();
    }

    fn finish(&mut self) -> io::Result<(Vec<ArrayRef>, NullBufferBuilder)> {
        let columns = self.columns.iter_mut().map(Column::finish).collect::<io::Result<_>>()?;
        Ok((columns, std::mem::replace(&mut self.validity, NullBufferBuilder::new(0))))
    }
}

impl Column {
    fn new(kind: &Kind) -> Self {
        match kind {
            Kind::Bool => Self::Bool(BooleanBuilder::with_capacity(0)),
            Kind::Int { .. } => Self::Int(Int64Builder::with_capacity(0)),
            Kind::Float => Self::Float(Float64Builder::with_capacity(0)),
            Kind::Text | Kind::Unknown => Self::Text(StringBuilder::with_capacity(0, 0)),
            Kind::Json => Self::Json(StringBuilder::with_capacity(0, 0)),
            Kind::List(list) => {
                Self::List(Box::new(ListColumn {
                    element: Self::new(&list.element),
                    field: list.field(),
                    lengths: Vec::new(),
                    validity: NullBufferBuilder::new(0),
                }))
            }
            Kind::Struct(members) => Self::Struct(Box::new(Record::new(members))),
        }
    }

    fn append(&mut self, value: &str, cells: &mut usize) -> Result<(), NoFit> {
        *cells += 1;
        let starts_with = value.as_bytes().first().copied().unwrap_or_default();
        match (self, starts_with) {
            (column, b'n') => column.append_null(cells),
            (Self::Bool(column), b't') => column.append_value(true),
            (Self::Bool(column), b'f') => column.append_value(false),
            (Self::Int(column), b'-' | b'0'..=b'9') => column.append_value(value.parse().map_err(|_| NoFit::Type)?),
            (Self::Float(column), b'-' | b'0'..=b'9') => column.append_value(value.parse().map_err(|_| NoFit::Type)?),
            (Self::Text(column), b'"') => column.append_value(Scanner::new(value).string()?.decode()),
            (Self::Text(column), b'-' | b'0'..=b'9' | b't' | b'f') | (Self::Json(column), _) => column.append_value(value),
            (Self::List(column), b'[') => column.append(value, cells)?,
            (Self::Struct(column), b'{') => column.append(value, cells)?,
            _ => return Err(NoFit::Type),
        }
        Ok(())
    }

    fn append_null(&mut self, cells: &mut usize) {
        *cells += 1;
        match self {
            Self::Bool(column) => column.append_null(),
            Self::Int(column) => column.append_null(),
            Self::Float(column) => column.append_null(),
            Self::Text(column) | Self::Json(column) => column.append_null(),
            Self::List(column) => {
                column.lengths.push(0);
                column.validity.append_null();
            }
            Self::Struct(column) => column.append_null(cells),
        }
    }

    fn finish(&mut self) -> io::Result<ArrayRef> {
        Ok(match self {
            Self::Bool(column) => Arc::new(column.finish()),
            Self::Int(column) => Arc::new(column.finish()),
            Self::Float(column) => Arc::new(column.finish()),
            Self::Text(column) | Self::Json(column) => Arc::new(column.finish()),
            Self::List(column) => {
                let offsets = OffsetBuffer::try_from_lengths(std::mem::take(&mut column.lengths)).map_err(io::Error::other)?;
                let elements = column.element.finish()?;
                let list = ListArray::try_new(column.field.clone(), offsets, elements, column.validity.finish());
                Arc::new(list.map_err(io::Error::other)?)
            }
            Self::Struct(column) => {
                let (columns, mut validity) = column.finish()?;
                let record = StructArray::try_new(column.fields.clone(), columns, validity.finish());
                Arc::new(record.map_err(io::Error::other)?)
            }
        })
    }
}

impl ListColumn {
    fn append(&mut self, array: &str, cells: &mut usize) -> Result<(), NoFit> {
        let mut scanner = Scanner::new(array);
        scanner.open(b'[')?;
        let mut length = 0;
        while scanner.next_element(length == 0)? {
            self.element.append(scanner.value()?, cells)?;
            length += 1;
        }
        self.lengths.push(length);
        self.validity.append_non_null();
        Ok(())
    }
}

impl From<JsonError> for NoFit {
    fn from(error: JsonError) -> Self {
        Self::Json(error)
    }
}
