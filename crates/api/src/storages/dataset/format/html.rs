//! A bare table (`X17`).

use std::fs::File;
use std::io;

use super::escape::{Place, escape};
use super::table::{Cell, Table};
use super::{Options, Writer};

pub(super) struct Html {
    table: Table,
    titles: Vec<String>,
}

impl Html {
    pub(super) fn new(columns: Vec<String>, options: &Options) -> Self {
        let titles = options.titles_of(&columns);
        Self { table: Table::new(columns), titles }
    }
}

impl Writer for Html {
    fn begin(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        out.extend_from_slice(b"<table>");
        if self.titles.is_empty() {
            return Ok(());
        }
        out.extend_from_slice(b"<tr>");
        for title in &self.titles {
            out.extend_from_slice(b"<th>");
            escape(title, Place::Html, out);
            out.extend_from_slice(b"</th>");
        }
        out.extend_from_slice(b"</tr>");
        Ok(())
    }

    fn entry(&mut self, entry: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        if self.titles.is_empty() {
            return Ok(());
        }
        out.extend_from_slice(b"<tr>");
        for cell in self.table.row(entry)? {
            out.extend_from_slice(b"<td>");
            match cell {
                Cell::Empty => {}
                Cell::Boolean(true) => out.extend_from_slice(b"true"),
                Cell::Boolean(false) => out.extend_from_slice(b"false"),
                Cell::Number(number) => out.extend_from_slice(number.as_bytes()),
                Cell::Text(text) => escape(&text.decode(), Place::Html, out),
            }
            out.extend_from_slice(b"</td>");
        }
        out.extend_from_slice(b"</tr>");
        Ok(())
    }

    fn end(&mut self, out: &mut Vec<u8>) -> io::Result<Option<File>> {
        out.extend_from_slice(b"</table>");
        Ok(None)
    }
}
