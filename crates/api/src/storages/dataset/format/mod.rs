//! How items are written: one file for each format.

mod arrow;
mod arrow_rows;
mod arrow_schema;
mod columns;
mod csv;
mod escape;
mod html;
mod json;
mod jsonl;
mod parquet;
mod table;
mod xlsx;
mod xml;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;

use bytes::Bytes;
use http::HeaderValue;
use model::item_view::ItemView;
use model::raw_json::JsonError;
use serde_json::{Map, Value};

use self::arrow_schema::{Inference, Kind, Members};
pub(super) use self::columns::from_stored as columns_from_stored;
use crate::error::{ApiError, Problem};

/// A format that items can be had in (`D41`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    JsonLines,
    Csv,
    Html,
    Xlsx,
    Xml,
    Rss,
    Parquet,
    Arrow,
}

/// What a client can ask of the formats; each takes what concerns it and ignores the rest (`D41`).
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// Whether a byte order mark comes first; the format decides if this is not given (`X1`).
    pub(super) bom: Option<bool>,
    /// What stands between the cells of CSV.
    pub(super) delimiter: Option<String>,
    /// Leaves the titles of CSV out.
    pub(super) skip_header_row: bool,
    /// Names of the elements of XML.
    pub(super) xml_root: Option<String>,
    pub(super) xml_row: Option<String>,
    pub(super) feed: Feed,
    /// Titles of columns, by their paths (`D39`).
    pub(super) titles: HashMap<String, String>,
    /// JSON schemas of the properties of items, for formats that know types.
    pub(super) properties: Map<String, Value>,
}

/// What an RSS feed says of itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Feed {
    pub(super) title: String,
    pub(super) description: String,
    pub(super) link: String,
}

/// The formats by name.
const NAMES: [(&str, Format); 9] = [
    ("json", Format::Json),
    ("jsonl", Format::JsonLines),
    ("csv", Format::Csv),
    ("html", Format::Html),
    ("xlsx", Format::Xlsx),
    ("xml", Format::Xml),
    ("rss", Format::Rss),
    ("parquet", Format::Parquet),
    ("arrow", Format::Arrow),
];

/// Writes the entries of one answer, in order.
///
/// It is driven from threads that may block, a batch of entries at a time, and must write the same bytes for the same
/// entries each time.
pub(super) trait Writer: Send {
    /// What stands before the first entry.
    fn begin(&mut self, out: &mut Vec<u8>) -> io::Result<()>;

    /// Writes one entry, a JSON object.
    fn entry(&mut self, entry: &[u8], out: &mut Vec<u8>) -> io::Result<()>;

    /// Whether the format can hold no more entries (`X18`); none are read then.
    fn is_full(&self) -> bool {
        false
    }

    /// What stands behind the last entry. A file, if there is one, is rewound, and its bytes follow those in `out`.
    fn end(&mut self, out: &mut Vec<u8>) -> io::Result<Option<File>>;

    /// Turns whole stored lines into what goes out, [joined](Format::is_joined) ones if the format wants those. Asked only of formats
    /// that are [verbatim](Format::is_verbatim).
    fn lines(&mut self, lines: Bytes) -> Verbatim {
        Verbatim { before: b"", lines }
    }
}

/// Looks at all entries of an answer before the first is written.
pub(super) trait Survey: Send {
    /// Looks at one entry, a JSON object, and tells whether it needs to see more.
    fn entry(&mut self, entry: &[u8]) -> io::Result<ControlFlow<()>>;

    /// What it found.
    fn finish(self: Box<Self>) -> io::Result<Layout>;
}

/// What a writer knows before the first entry.
#[derive(Debug)]
pub(super) enum Layout {
    /// Nothing: the format needs no preparation.
    Plain,
    /// The paths of the columns of a table, in order.
    Columns(Vec<String>),
    /// The columns of a table that knows types.
    Typed(Members<Kind>),
}

/// Stored lines that go out without a look at each item: a separator, if one is needed, and the lines.
pub(super) struct Verbatim {
    pub(super) before: &'static [u8],
    pub(super) lines: Bytes,
}

impl Format {
    /// The format of that name.
    ///
    /// # Errors
    /// Names the formats that there are.
    pub(super) fn named(name: &str) -> Result<Self, ApiError> {
        NAMES.iter().find(|(other, _)| *other == name).map(|(_, format)| *format).ok_or_else(|| {
            let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
            let message = format!("Parameter \"format\" is invalid: it must be one of {}", names.join(", "));
            ApiError::new(Problem::ParamNotOneOf, message)
        })
    }

    /// The format of that media type, in lower case.
    pub(super) fn of_media_type(media_type: &str) -> Option<Self> {
        match media_type {
            "text/json" => return Some(Self::Json),
            "application/x-ndjson" | "application/ndjson" => return Some(Self::JsonLines),
            "text/xml" => return Some(Self::Xml),
            _ => {}
        }
        let is = |format: Self| format.media_type().split(';').next() == Some(media_type);
        NAMES.iter().map(|(_, format)| *format).find(|format| is(*format))
    }

    /// `Content-Type` (storages, section 6.1).
    pub(super) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(self.media_type())
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json; charset=utf-8",
            Self::JsonLines => "application/jsonl; charset=utf-8",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Html => "text/html; charset=utf-8",
            Self::Xlsx => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            Self::Xml => "application/xml; charset=utf-8",
            Self::Rss => "application/rss+xml; charset=utf-8",
            Self::Parquet => "application/vnd.apache.parquet",
            Self::Arrow => "application/vnd.apache.arrow.stream",
        }
    }

    /// What file names end in.
    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::JsonLines => "jsonl",
            Self::Csv => "csv",
            Self::Html => "html",
            Self::Xlsx => "xlsx",
            Self::Xml => "xml",
            Self::Rss => "rss",
            Self::Parquet => "parquet",
            Self::Arrow => "arrows",
        }
    }

    /// Whether what is written is text, which may begin with a byte order mark (`X1`).
    pub(super) fn is_text(self) -> bool {
        !matches!(self, Self::Xlsx | Self::Parquet | Self::Arrow)
    }

    /// Whether a byte order mark comes first if the client does not say (storages, section 6.1).
    pub(super) fn has_bom(self) -> bool {
        self == Self::Csv
    }

    /// Whether stored lines can go out without a look at each item.
    pub(super) fn is_verbatim(self) -> bool {
        matches!(self, Self::Json | Self::JsonLines)
    }

    /// Whether commas stand where lines end.
    pub(super) fn is_joined(self) -> bool {
        self == Self::Json
    }

    /// Whether writing takes so long that it belongs on a thread of its own.
    pub(super) fn is_heavy(self) -> bool {
        !self.is_verbatim()
    }

    /// Whether columns have types, which a schema of the dataset may tell.
    pub(super) fn is_typed(self) -> bool {
        matches!(self, Self::Parquet | Self::Arrow)
    }

    /// Whether entries become rows of a table with known columns.
    pub(super) fn is_table(self) -> bool {
        matches!(self, Self::Csv | Self::Html | Self::Xlsx)
    }

    /// What must see all entries before the first can be written, if the format needs that.
    pub(super) fn survey(self, view: &ItemView, options: &Options) -> Option<Box<dyn Survey>> {
        match self {
            Self::Csv | Self::Html | Self::Xlsx => Some(Box::new(columns::Columns::of(view))),
            Self::Parquet | Self::Arrow => Some(Box::new(Inference::of(view, &options.properties))),
            Self::Json | Self::JsonLines | Self::Xml | Self::Rss => None,
        }
    }

    /// Starts to write.
    pub(super) fn writer(self, layout: Layout, options: &Options) -> io::Result<Box<dyn Writer>> {
        Ok(match (self, layout) {
            (Self::Json, _) => Box::new(json::Json::default()),
            (Self::JsonLines, _) => Box::new(jsonl::JsonLines),
            (Self::Csv, Layout::Columns(columns)) => Box::new(csv::Csv::new(columns, options)),
            (Self::Html, Layout::Columns(columns)) => Box::new(html::Html::new(columns, options)),
            (Self::Xlsx, Layout::Columns(columns)) => Box::new(xlsx::Xlsx::new(columns, options)?),
            (Self::Parquet, Layout::Typed(columns)) => Box::new(parquet::Parquet::new(&columns)?),
            (Self::Arrow, Layout::Typed(columns)) => Box::new(arrow::Arrow::new(&columns)?),
            (Self::Xml, _) => Box::new(xml::Xml::document(options)),
            (Self::Rss, _) => Box::new(xml::Xml::feed(options)),
            (other, layout) => return Err(io::Error::other(format!("no {other:?} can be made of {layout:?}"))),
        })
    }
}

impl Options {
    /// Refuses what the format cannot do.
    ///
    /// # Errors
    /// Tells what is wrong (`X14`).
    pub(super) fn check(&self, format: Format) -> Result<(), ApiError> {
        let is_one = |delimiter: &String| {
            let mut characters = delimiter.chars();
            // A quote or a line break would end a cell or a row.
            characters.next().is_some_and(|first| !matches!(first, '"' | '\n' | '\r')) && characters.next().is_none()
        };
        if format == Format::Csv && !self.delimiter.as_ref().is_none_or(is_one) {
            let message = "Parameter \"delimiter\" is invalid: it must be one character, no quote and no line break";
            return Err(ApiError::new(Problem::InvalidInput, message));
        }
        Ok(())
    }

    /// What stands above the columns (`D39`).
    fn titles_of(&self, columns: &[String]) -> Vec<String> {
        columns.iter().map(|column| self.titles.get(column).unwrap_or(column).clone()).collect()
    }
}

fn malformed(error: JsonError) -> io::Error {
    io::Error::other(format!("stored item is malformed at byte {}: {}", error.at, error.problem))
}
