//! Results on standard output: tables for people, JSON for programs.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Write as _};

use serde_json::Value;

use crate::failure::Failure;

/// For whom a result is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
}

// How a result is asked for, and a list printed: a row or a JSON value for each thing.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Listing {
    /// How it is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    /// The same as `-o json`
    #[arg(long, conflicts_with = "output")]
    json: bool,
}

impl Listing {
    #[cfg(test)]
    pub(crate) fn as_json() -> Self {
        Self { json: true, ..Self::default() }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.json || self.output == Format::Json
    }

    pub(crate) fn text<T, const N: usize>(
        &self,
        things: &[T],
        names: [&str; N],
        row: impl Fn(&T) -> [String; N],
        described: impl Fn(&T) -> Value,
    ) -> String {
        if self.is_json() {
            format!("{:#}\n", Value::Array(things.iter().map(described).collect()))
        } else {
            table(names, &things.iter().map(row).collect::<Vec<_>>())
        }
    }
}

/// Writes to standard output. A reader that has seen enough is no failure.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(cause) if cause.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::caused("cannot write to standard output", cause))
        }
        _ => Ok(()),
    }
}

/// Columns as wide as their widest cell, under their names.
pub(crate) fn table<const N: usize>(names: [&str; N], rows: &[[String; N]]) -> String {
    let header = names.map(str::to_owned);
    let all = || std::iter::once(&header).chain(rows);
    let widths: [usize; N] = std::array::from_fn(|column| {
        all().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    });
    let mut text = String::new();
    for row in all() {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            write!(line, "{cell:width$}  ").ok();
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A time as people and programs read it, in UTC and to the second.
pub(crate) fn time_of_ms(ms: u64) -> String {
    let time = std::time::UNIX_EPOCH.checked_add(std::time::Duration::from_millis(ms));
    time.map_or_else(|| "?".to_owned(), |time| humantime::format_rfc3339_seconds(time).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a".to_owned(), "12345".to_owned()], ["long one".to_owned(), String::new()]];
        assert_eq!(table(["NAME", "N"], &rows), "NAME      N\na         12345\nlong one\n");
    }

    #[test]
    fn times_are_in_utc() {
        assert_eq!(time_of_ms(1_700_000_000_000), "2023-11-14T22:13:20Z");
    }
}
