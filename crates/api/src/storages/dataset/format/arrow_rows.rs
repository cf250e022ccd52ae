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
const BATCH_BYTES: usize = 256 << 10;
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
        let batch =
            RecordBatch::try_new_with_options(self.schema.clone(), columns, &options).map_err(io::Error::other)?;
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
            Kind::List(list) => Self::List(Box::new(ListColumn {
                element: Self::new(&list.element),
                field: list.field(),
                lengths: Vec::new(),
                validity: NullBufferBuilder::new(0),
            })),
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
            (Self::Text(column), b'-' | b'0'..=b'9' | b't' | b'f') | (Self::Json(column), _) => {
                column.append_value(value)
            }
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
                let offsets =
                    OffsetBuffer::try_from_lengths(std::mem::take(&mut column.lengths)).map_err(io::Error::other)?;
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

#[cfg(test)]
mod tests {
    use super::super::arrow::Arrow;
    use super::super::arrow_schema::Inference;
    use super::super::parquet::Parquet;
    use super::super::{Layout, Survey, Writer};
    use super::*;
    use model::item_view::ItemView;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    fn columns_of(entries: &[String]) -> Members<Kind> {
        let mut survey = Box::new(Inference::of(&ItemView::default(), &Map::new()));
        entries.iter().for_each(|entry| assert!(survey.entry(entry.as_bytes()).unwrap().is_continue()));
        match survey.finish().unwrap() {
            Layout::Typed(columns) => columns,
            other => panic!("no columns: {other:?}"),
        }
    }

    fn write(mut writer: impl Writer, entries: &[String]) -> Vec<u8> {
        let mut out = Vec::new();
        writer.begin(&mut out).unwrap();
        entries.iter().for_each(|entry| writer.entry(entry.as_bytes(), &mut out).unwrap());
        assert!(writer.end(&mut out).unwrap().is_none());
        out
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let scalar = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,4}".prop_map(Value::from),
        ];
        scalar.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("[ab]?", inner), 0..4).prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_items_make_a_table_and_each_time_the_same(
            items in prop::collection::vec(prop::collection::vec(("[abc]?", any_value()), 0..4), 0..12)
        ) {
            let entries: Vec<String> =
                items.into_iter().map(|members| members.into_iter().collect::<Value>())
                    .map(|item| if item.is_null() { json!({}) } else { item }.to_string()).collect();
            let columns = columns_of(&entries);

            let (arrow, parquet) = (Arrow::new(&columns).unwrap(), Parquet::new(&columns).unwrap());
            let (arrow, parquet) = (write(arrow, &entries), write(parquet, &entries));

            prop_assert_eq!(arrow, write(Arrow::new(&columns).unwrap(), &entries));
            prop_assert_eq!(parquet, write(Parquet::new(&columns).unwrap(), &entries));
        }
    }

    #[test]
    fn a_batch_is_full_at_a_number_of_bytes_or_of_cells() {
        let text = vec![json!({"a": "x".repeat(1000)}).to_string()];
        let wide = vec![json!((0..1500).map(|n| (n.to_string(), json!(n))).collect::<Map<_, _>>()).to_string()];
        for (first, entry, rows) in
            [(&text, &text[0], 1 + BATCH_BYTES / 1008), (&wide, &"{}".to_owned(), 1 + BATCH_CELLS / 1500)]
        {
            let mut table = Rows::new(&columns_of(first));
            let mut added = 1;
            while !table.add(entry.as_bytes()).unwrap() {
                added += 1;
            }
            assert_eq!(added, rows);
            assert_eq!(table.take().unwrap().unwrap().0.num_rows(), rows);
            assert!(table.take().unwrap().is_none());
        }
    }

    #[test]
    fn an_item_that_the_columns_do_not_hold_is_an_error() {
        let mut rows = Rows::new(&columns_of(&[r#"{"a":1,"b":[true],"c":{"d":1.5}}"#.to_owned()]));
        for entry in [r#"{"a":"x"}"#, r#"{"a":1.5}"#, r#"{"b":true}"#, r#"{"c":[]}"#, r#"{"a":1"#, "[]"] {
            assert!(rows.add(entry.as_bytes()).is_err(), "{entry}");
        }
    }
}
