//! An Excel workbook (`X18`).

use std::fs::File;
use std::io::{self, Seek};

use rust_xlsxwriter::{DocProperties, ExcelDateTime, Workbook, Worksheet, XlsxError};

use super::table::{Cell, Table};
use super::{Options, Writer};

/// Rows of a worksheet after the one with the titles.
const MAX_ROWS: u32 = 1_048_575;
/// How long a string in a cell may be, in units of UTF-16.
const MAX_TEXT: usize = 32_767;

/// Rows go to a temporary file as they come; the ZIP archive that a workbook is, which says at its start what lies where, is
/// made of it at the end, in another.
pub(super) struct Xlsx {
    table: Table,
    workbook: Workbook,
    rows: u32,
    max_rows: u32,
}

impl Xlsx {
    pub(super) fn new(columns: Vec<String>, options: &Options) -> io::Result<Self> {
        Self::with_max_rows(columns, options, MAX_ROWS)
    }

    fn with_max_rows(columns: Vec<String>, options: &Options, max_rows: u32) -> io::Result<Self> {
        let mut workbook = Workbook::new();
        // The same items make the same bytes whenever they are asked for.
        let created = ExcelDateTime::from_ymd(2000, 1, 1).map_err(broken)?;
        workbook.set_properties(&DocProperties::new().set_creation_datetime(&created));
        // The text of a million rows may well be more than 4 GiB.
        workbook.use_zip_large_file(true);
        let sheet = workbook.add_worksheet_with_constant_memory().map_err(broken)?;
        sheet.set_name("Data").map_err(broken)?;
        for (at, title) in options.titles_of(&columns).iter().enumerate() {
            write_text(sheet, 0, column(at)?, title)?;
        }
        Ok(Self { table: Table::new(columns), workbook, rows: 0, max_rows })
    }
}

impl Writer for Xlsx {
    fn begin(&mut self, _: &mut Vec<u8>) -> io::Result<()> {
        Ok(())
    }

    fn entry(&mut self, entry: &[u8], _: &mut Vec<u8>) -> io::Result<()> {
        if self.is_full() {
            return Ok(());
        }
        self.rows += 1;
        let sheet = self.workbook.worksheet_from_index(0).map_err(broken)?;
        for (at, cell) in self.table.row(entry)?.enumerate() {
            let at = column(at)?;
            match cell {
                Cell::Empty => {}
                Cell::Boolean(value) => {
                    sheet.write_boolean(self.rows, at, value).map_err(broken)?;
                }
                Cell::Number(number) => match number.parse::<f64>() {
                    Ok(value) if value.is_finite() => {
                        sheet.write_number(self.rows, at, value).map_err(broken)?;
                    }
                    // Too large for a number here.
                    _ => write_text(sheet, self.rows, at, number)?,
                },
                Cell::Text(text) => write_text(sheet, self.rows, at, &text.decode())?,
            }
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.rows >= self.max_rows || self.table.columns().is_empty()
    }

    fn end(&mut self, _: &mut Vec<u8>) -> io::Result<Option<File>> {
        let mut file = tempfile::tempfile()?;
        self.workbook.save_to_writer(&mut file).map_err(broken)?;
        file.rewind()?;
        Ok(Some(file))
    }
}

/// Writes a string as a string, also one that looks like a formula or a link.
fn write_text(sheet: &mut Worksheet, row: u32, column: u16, text: &str) -> io::Result<()> {
    sheet.write_string(row, column, cut(text)).map_err(broken)?;
    Ok(())
}

/// As much of a string as fits in a cell.
fn cut(text: &str) -> &str {
    if text.len() <= MAX_TEXT {
        return text;
    }
    let mut units = 0;
    let end = text.char_indices().find(|(_, character)| {
        units += character.len_utf16();
        units > MAX_TEXT
    });
    end.map_or(text, |(end, _)| &text[..end])
}

/// Tables have far fewer columns than worksheets (`X8`).
fn column(at: usize) -> io::Result<u16> {
    u16::try_from(at).map_err(io::Error::other)
}

fn broken(error: XlsxError) -> io::Error {
    match error {
        XlsxError::IoError(error) => error,
        error => io::Error::other(error),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn bytes_of(mut writer: Xlsx, entries: &[&str]) -> Vec<u8> {
        let mut out = Vec::new();
        writer.begin(&mut out).unwrap();
        entries.iter().for_each(|entry| writer.entry(entry.as_bytes(), &mut out).unwrap());
        writer.end(&mut out).unwrap().unwrap().read_to_end(&mut out).unwrap();
        out
    }

    fn sheet_of(workbook: Vec<u8>) -> String {
        let mut archive = zip::ZipArchive::new(io::Cursor::new(workbook)).unwrap();
        let mut text = String::new();
        archive.by_name("xl/worksheets/sheet1.xml").unwrap().read_to_string(&mut text).unwrap();
        text
    }

    fn columns() -> Vec<String> {
        ["a", "b"].map(str::to_owned).to_vec()
    }

    #[test]
    fn the_same_entries_make_the_same_bytes() {
        let entries = [r#"{"a":"=cmd|calc","b":1.5}"#, r#"{"a":"\u0001\ufffe","b":1e400}"#, r#"{"b":true}"#];
        let write = || bytes_of(Xlsx::new(columns(), &Options::default()).unwrap(), &entries);

        let bytes = write();

        assert_eq!(bytes, write());
        let sheet = sheet_of(bytes);
        assert!(sheet.contains("=cmd|calc") && !sheet.contains("<f>"), "{sheet}");
        assert!(sheet.contains("1e400"), "{sheet}");
    }

    #[test]
    fn a_full_sheet_takes_no_more() {
        let mut writer = Xlsx::with_max_rows(columns(), &Options::default(), 2).unwrap();
        for n in 1..=3 {
            writer.entry(format!("{{\"a\":{n}00{n}}}").as_bytes(), &mut Vec::new()).unwrap();
            assert_eq!(writer.is_full(), n >= 2);
        }

        let sheet = sheet_of(bytes_of(writer, &[]));
        assert!(sheet.contains("2002") && !sheet.contains("3003"), "{sheet}");
    }

    #[test]
    fn strings_are_cut_at_whole_characters() {
        let long = "é".repeat(MAX_TEXT - 1);
        assert_eq!(cut(&long), long);
        assert_eq!(cut(&format!("{long}😀x")), long);
        assert_eq!(cut(&format!("{long}xyz")), format!("{long}x"));
        assert_eq!(cut(&"😀".repeat(20_000)).encode_utf16().count(), MAX_TEXT - 1);
    }
}
