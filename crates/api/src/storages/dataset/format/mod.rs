//! How items are written: one file for each format.

mod json;
mod jsonl;

use std::fs::File;
use std::io;
use std::ops::ControlFlow;

use bytes::Bytes;
use http::HeaderValue;
use model::item_view::ItemView;

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
}

/// Writes the entries of one answer, in order.
///
/// It is driven from threads that may block, a batch of entries at a time, and must write the same bytes for the same
/// entries each time.
pub(super) trait Writer: Send {
    /// What stands before the first entry.
    fn begin(&mut self, out: &mut Vec<u8>) -> io::Result<()>;

    /// Writes one entry, a JSON object.
    fn entry(&mut self, entry: &[u8], out: &mut Vec<u8>) -> io::Result<()>;

    /// What stands behind the last entry. A file, if there is one, is rewound, and its bytes follow those in `out`.
    fn end(&mut self, out: &mut Vec<u8>) -> io::Result<Option<File>>;

    /// Turns whole stored lines into what goes out. Asked only of formats that are [verbatim](Format::is_verbatim).
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
}

/// Stored lines that go out without a look at each item: a separator, if one is needed, and the lines.
pub(super) struct Verbatim {
    pub(super) before: &'static [u8],
    pub(super) lines: Bytes,
}

impl Format {
    /// The format of that name; JSON if none is given.
    ///
    /// # Errors
    /// Names the formats that there are.
    pub(super) fn named(name: Option<&str>) -> Result<Self, ApiError> {
        match name {
            None | Some("json") => Ok(Self::Json),
            Some("jsonl") => Ok(Self::JsonLines),
            Some(_) => Err(ApiError::new(
                Problem::ParamNotOneOf,
                "Parameter \"format\" is invalid: it must be one of json, jsonl",
            )),
        }
    }

    /// `Content-Type` (storages, section 6.1).
    pub(super) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Json => "application/json; charset=utf-8",
            Self::JsonLines => "application/jsonl; charset=utf-8",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Html => "text/html; charset=utf-8",
            Self::Xlsx => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            Self::Xml => "application/xml; charset=utf-8",
            Self::Rss => "application/rss+xml; charset=utf-8",
            Self::Parquet => "application/vnd.apache.parquet",
            Self::Arrow => "application/vnd.apache.arrow.stream",
        })
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

    /// Whether writing takes so long that it belongs on a thread of its own.
    pub(super) fn is_heavy(self) -> bool {
        !self.is_verbatim()
    }

    /// What must see all entries before the first can be written, if the format needs that.
    pub(super) fn survey(self, _: &ItemView, _: &Options) -> Option<Box<dyn Survey>> {
        None
    }

    /// Starts to write.
    pub(super) fn writer(self, layout: Layout, _: &Options) -> io::Result<Box<dyn Writer>> {
        Ok(match (self, layout) {
            (Self::Json, _) => Box::new(json::Json::default()),
            (Self::JsonLines, _) => Box::new(jsonl::JsonLines),
            (other, _) => return Err(io::Error::other(format!("{other:?} cannot be written"))),
        })
    }
}
