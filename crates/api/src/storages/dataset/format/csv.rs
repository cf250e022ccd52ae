//! Comma-separated values (`X11` to `X16`).
//!
//! Not by the `csv` crate: strings and titles are always quoted here, numbers and empty cells never, and a string without
//! escapes is in JSON what it is in CSV, so that most cells are copied as they lie in the item.

use std::fs::File;
use std::io;

use super::table::{Cell, Table};
use super::{Options, Writer};

pub(super) struct Csv {
    table: Table,
    /// The titles, unless they are left out.
    header: Option<Vec<String>>,
    delimiter: String,
}

impl Csv {
    pub(super) fn new(columns: Vec<String>, options: &Options) -> Self {
        let header = (!options.skip_header_row).then(|| options.titles_of(&columns));
        let delimiter = options.delimiter.clone().unwrap_or_else(|| ",".to_owned());
        Self { table: Table::new(columns), header, delimiter }
    }
}

impl Writer for Csv {
    fn begin(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        let Some(titles) = self.header.take().filter(|titles| !titles.is_empty()) else { return Ok(()) };
        for (at, title) in titles.iter().enumerate() {
            if at > 0 {
                out.extend_from_slice(self.delimiter.as_bytes());
            }
            quote(title, out);
        }
        out.push(b'\n');
        Ok(())
    }

    fn entry(&mut self, entry: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        if self.table.columns().is_empty() {
            // Without columns there are no rows (X9).
            return Ok(());
        }
        for (at, cell) in self.table.row(entry)?.enumerate() {
            if at > 0 {
                out.extend_from_slice(self.delimiter.as_bytes());
            }
            match cell {
                Cell::Empty => {}
                Cell::Boolean(true) => out.extend_from_slice(b"true"),
                Cell::Boolean(false) => out.extend_from_slice(b"false"),
                Cell::Number(number) => out.extend_from_slice(number.as_bytes()),
                Cell::Text(text) => match text.plain() {
                    Some(quoted) => out.extend_from_slice(quoted.as_bytes()),
                    None => quote(&text.decode(), out),
                },
            }
        }
        out.push(b'\n');
        Ok(())
    }

    fn end(&mut self, _: &mut Vec<u8>) -> io::Result<Option<File>> {
        Ok(None)
    }
}

fn quote(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = memchr::memchr(b'"', rest) {
        out.extend_from_slice(&rest[..=at]);
        out.push(b'"');
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}
