//! One CSV file: header, rows, and typed reading of fields that reports instead of stopping.
//!
//! A route table has a million rows, so a row is a byte record that is reused, a field is parsed where it lies, and text is made
//! only for what is kept or complained about.

use std::fmt::Display;
use std::path::Path;

use crate::routes::problem::Problem;

/// The longest text of a field, in bytes.
pub(super) const TEXT_MAX: usize = 255;

/// A table's file name, its columns, and which of them a file must have.
pub(super) struct Shape {
    pub(super) file: &'static str,
    /// Whether the directory must have it.
    pub(super) required: bool,
    pub(super) columns: &'static [&'static str],
    pub(super) required_columns: &'static [&'static str],
}

/// A row being read. Fields are named by their place in [`Shape::columns`].
pub(super) struct Fields<'a> {
    shape: &'a Shape,
    record: &'a csv::ByteRecord,
    places: &'a [Option<usize>],
    line: u64,
    problems: &'a mut Vec<Problem>,
}

/// Reads a file row by row.
pub(super) fn read(dir: &Path, shape: &Shape, problems: &mut Vec<Problem>, mut row: impl FnMut(&mut Fields<'_>)) {
    let bytes = match std::fs::read(dir.join(shape.file)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !shape.required => return,
        Err(error) => {
            let reason =
                format!("cannot be read ({error}); every routing directory has this table, if only its header");
            return problems.push(Problem::file(shape.file, reason));
        }
    };
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(&bytes[..]);
    let mut record = csv::ByteRecord::new();
    let Ok(true) = reader.read_byte_record(&mut record) else {
        return problems.push(Problem::file(shape.file, "is empty; its first line names the columns"));
    };
    let Some(places) = header(shape, &record, problems) else { return };
    let width = record.len();
    let mut lines = Lines { number: 1, counted: 0 };
    loop {
        match reader.read_byte_record(&mut record) {
            Ok(false) => break,
            Ok(true) => {}
            Err(error) => return problems.push(Problem::file(shape.file, format!("is no CSV: {error}"))),
        }
        let line = lines.of(&bytes, &record);
        if record.len() != width {
            let reason = format!("has {} fields where the header names {width}; add or remove commas", record.len());
            problems.push(Problem { line: Some(line), ..Problem::file(shape.file, reason) });
            continue;
        }
        row(&mut Fields { shape, record: &record, places: &places, line, problems });
    }
}

/// The line in which each record begins, counted here: the reader's own count is one behind where lines end in CR LF.
struct Lines {
    number: u64,
    /// Bytes whose line ends are in `number`.
    counted: usize,
}

impl Lines {
    /// The line of a record that lies behind all asked for before.
    fn of(&mut self, bytes: &[u8], record: &csv::ByteRecord) -> u64 {
        let start = record.position().map_or(0, |position| usize::try_from(position.byte()).unwrap_or(usize::MAX));
        // A record is said to begin where the one before it ended: before its line's end, and before empty lines.
        let empty = bytes.iter().skip(start).take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let start = start.saturating_add(empty).min(bytes.len());
        self.number += bytes[self.counted..start].iter().filter(|byte| **byte == b'\n').count() as u64;
        self.counted = start;
        self.number
    }
}

/// Where each column is, or `None` after a complaint that makes the rows unreadable.
fn header(shape: &Shape, record: &csv::ByteRecord, problems: &mut Vec<Problem>) -> Option<Vec<Option<usize>>> {
    let mut places = vec![None; shape.columns.len()];
    let before = problems.len();
    for (place, name) in record.iter().enumerate() {
        let name = String::from_utf8_lossy(name.trim_ascii());
        let mut complain = |reason: String| {
            problems.push(Problem { line: Some(1), ..Problem::file(shape.file, format!("column '{name}': {reason}")) });
        };
        match shape.columns.iter().position(|column| *column == name) {
            None => complain(format!("no such column; there are {}", shape.columns.join(", "))),
            Some(column) if places[column].is_some() => complain("is there twice; remove one".to_string()),
            Some(column) => places[column] = Some(place),
        }
    }
    for name in shape.required_columns {
        let there =
            shape.columns.iter().position(|column| column == name).is_some_and(|column| places[column].is_some());
        if !there {
            let reason = format!("column '{name}' is missing; every row needs it");
            problems.push(Problem { line: Some(1), ..Problem::file(shape.file, reason) });
        }
    }
    (problems.len() == before).then_some(places)
}

impl<'a> Fields<'a> {
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// The bytes of a field, blanks around them removed; empty where the column is missing.
    #[inline]
    pub(super) fn bytes(&self, column: usize) -> &'a [u8] {
        self.places[column].and_then(|place| self.record.get(place)).unwrap_or(b"").trim_ascii()
    }

    /// Complains about a field.
    #[cold]
    pub(super) fn complain(&mut self, column: usize, reason: impl Into<String>) {
        let value = String::from_utf8_lossy(self.bytes(column)).into_owned();
        self.problems.push(Problem::value(self.shape.file, self.line, self.shape.columns[column], value, reason));
    }

    /// Text of a field, `None` where it is empty.
    pub(super) fn text(&mut self, column: usize) -> Option<&'a str> {
        let bytes = self.bytes(column);
        if bytes.is_empty() {
            return None;
        }
        match std::str::from_utf8(bytes) {
            Ok(text) if text.len() <= TEXT_MAX && !text.chars().any(char::is_control) => Some(text),
            _ => {
                let reason = format!("is no text of at most {TEXT_MAX} bytes without control characters; correct it");
                self.complain(column, reason);
                None
            }
        }
    }

    /// What a field parses to; `None` where it is empty or was complained about.
    pub(super) fn parsed<T>(&mut self, column: usize, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let text = self.text(column)?;
        parse(text).map_err(|reason| self.complain(column, reason)).ok()
    }

    /// A whole number from `least` to `most`; `None` where the field is empty or was complained about.
    #[inline]
    pub(super) fn number<T>(&mut self, column: usize, least: T, most: T) -> Option<T>
    where
        T: Copy + PartialOrd + Display + TryFrom<u32>,
    {
        let bytes = self.bytes(column);
        if bytes.is_empty() {
            return None;
        }
        let value = decimal(bytes).and_then(|value| T::try_from(value).ok());
        let value = value.filter(|value| least <= *value && *value <= most);
        if value.is_none() {
            self.complain(column, format!("must be a whole number from {least} to {most}"));
        }
        value
    }

    /// A number that must be there.
    #[inline]
    pub(super) fn required(&mut self, column: usize) -> u32 {
        if self.bytes(column).is_empty() {
            self.complain(column, "is empty; every row needs it");
            return 0;
        }
        self.number(column, 0, u32::MAX).unwrap_or(0)
    }

    /// A cap: a positive number, empty for none. 0 is refused because operators read it both ways.
    pub(super) fn cap(&mut self, column: usize) -> Option<u32> {
        if self.bytes(column) == b"0" {
            self.complain(column, "is 0; leave it empty for no cap, or set enabled to 0 to take nothing");
            return None;
        }
        self.number(column, 1, u32::MAX)
    }

    /// `1`, `0`, `true`, `false`, `yes`, `no`, `on`, `off`.
    #[inline]
    pub(super) fn flag(&mut self, column: usize, default: bool) -> bool {
        match self.bytes(column) {
            b"" => default,
            b"1" | b"true" | b"yes" | b"on" | b"t" => true,
            b"0" | b"false" | b"no" | b"off" | b"f" => false,
            _ => {
                self.complain(column, "must be 1 or 0");
                default
            }
        }
    }

    /// One of a few words; the first is the default.
    pub(super) fn word<T: Copy>(&mut self, column: usize, words: &[(&str, T)]) -> T {
        let bytes = self.bytes(column);
        if bytes.is_empty() {
            return words[0].1;
        }
        match words.iter().find(|(word, _)| word.as_bytes().eq_ignore_ascii_case(bytes)) {
            Some((_, value)) => *value,
            None => {
                let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                self.complain(column, format!("must be one of {}", known.join(", ")));
                words[0].1
            }
        }
    }
}

/// Digits to a number; `None` for anything else, and where it does not fit.
#[inline]
fn decimal(bytes: &[u8]) -> Option<u32> {
    let mut value = 0u64;
    if bytes.len() > 10 {
        return None;
    }
    for byte in bytes {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    u32::try_from(value).ok()
}
