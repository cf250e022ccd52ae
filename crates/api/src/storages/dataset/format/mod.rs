//! How items are written: one file for each format.

mod json;
mod jsonl;

use bytes::Bytes;
use http::HeaderValue;

use crate::error::{ApiError, Problem};

/// A format that items can be had in (`D41`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    JsonLines,
}

/// Writes the entries of one answer, in order.
pub(super) trait Writer: Send {
    /// What stands before the first entry.
    fn begin(&mut self, out: &mut Vec<u8>);

    /// Writes one entry, a JSON object.
    fn entry(&mut self, entry: &[u8], out: &mut Vec<u8>);

    /// What stands behind the last entry.
    fn end(&mut self, out: &mut Vec<u8>);

    /// Turns whole stored lines into what goes out, if the format is that close to how items are stored; else gives them back.
    fn lines(&mut self, lines: Bytes) -> Result<Verbatim, Bytes> {
        Err(lines)
    }
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
            Some(name @ ("csv" | "html" | "xlsx" | "xml" | "rss")) => Err(ApiError::new(
                Problem::ParamNotOneOf,
                format!(
                    "Parameter \"format\" is invalid: {name} is not supported by this server yet, use json or jsonl"
                ),
            )),
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
        })
    }

    /// What file names end in.
    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::JsonLines => "jsonl",
        }
    }

    /// Whether a byte order mark comes first if the client does not say (storages, section 6.1).
    pub(super) fn has_bom(self) -> bool {
        match self {
            Self::Json | Self::JsonLines => false,
        }
    }

    /// Starts to write.
    pub(super) fn writer(self) -> Box<dyn Writer> {
        match self {
            Self::Json => Box::new(json::Json::default()),
            Self::JsonLines => Box::new(jsonl::JsonLines),
        }
    }
}
