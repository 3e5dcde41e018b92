//! Output of `rookery ctl`: tables for people, JSON for programs.

use std::io::{self, Write as _};
use std::time::{Duration, UNIX_EPOCH};

use clap::ValueEnum;
use serde::Serialize;

use super::failure::Failure;

/// Version of the JSON output.
const VERSION: u64 = 1;

/// Form of the data on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum OutputFormat {
    Table,
    Json,
    Ndjson,
}

/// Writer of a command's data.
pub(super) struct Output {
    format: OutputFormat,
    quiet: bool,
}

/// Data with the version of the output as its first field.
#[derive(Serialize)]
struct Versioned<'a, T> {
    v: u64,
    #[serde(flatten)]
    data: &'a T,
}

/// Columns of text, padded to their widest cell.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

// === impl Output ===

impl Output {
    pub(super) fn new(format: OutputFormat) -> Output {
        Output { format, quiet: false }
    }

    /// Returns this output without progress and hints, if `quiet`.
    pub(super) fn quiet(self, quiet: bool) -> Output {
        Output { quiet, ..self }
    }

    /// Returns whether data are tables for people.
    pub(super) fn is_table(&self) -> bool {
        self.format == OutputFormat::Table
    }

    /// Prints progress or a hint to standard error.
    pub(super) fn say(&self, text: &str) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }

    /// Prints data: as JSON in one line with its version, or as the text that `table` returns.
    pub(super) fn print<T: Serialize>(
        &self,
        data: &T,
        table: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        match self.format {
            OutputFormat::Json | OutputFormat::Ndjson => write(&format!("{}\n", versioned(data))),
            OutputFormat::Table => write(&table()),
        }
    }
}

/// Writes to standard output. A reader that has enough closes the pipe, which is no failure.
pub(super) fn write(text: &str) -> Result<(), Failure> {
    write_on(text).map(drop)
}

/// Writes to standard output, and returns whether its reader still wants more.
pub(super) fn write_on(text: &str) -> Result<bool, Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::Refused(error.to_string())),
    }
}

/// Returns an object as JSON, behind the version of the output.
pub(super) fn versioned<T: Serialize>(data: &T) -> String {
    let versioned = Versioned { v: VERSION, data };
    serde_json::to_string(&versioned).unwrap_or_default()
}

// === impl Table ===

impl Table {
    pub(super) fn new<const N: usize>(head: [&str; N]) -> Table {
        Table {
            rows: vec![head.map(str::to_owned).to_vec()],
        }
    }

    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.to_vec());
    }

    /// Returns the lines, each with its line break and without spaces at its end.
    pub(super) fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:<width$}"));
            let line = cells.collect::<Vec<_>>().join("  ");
            format!("{}\n", line.trim_end())
        };
        self.rows.iter().map(line).collect()
    }
}

// === texts ===

/// Returns a time in milliseconds since the epoch as a date with its time in UTC.
pub(super) fn date(ms: u64) -> String {
    match UNIX_EPOCH.checked_add(Duration::from_millis(ms)) {
        Some(time) => humantime::format_rfc3339_seconds(time).to_string(),
        None => ms.to_string(),
    }
}

/// Returns a duration in its two largest units.
pub(super) fn duration(ms: u64) -> String {
    let text = humantime::format_duration(Duration::from_secs(ms / 1_000)).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// Returns a number of bytes with a unit.
pub(super) fn size(bytes: u64) -> String {
    bytesize::ByteSize(bytes).to_string()
}

/// Returns the text of a value, or a dash without one.
pub(super) fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(["ID", "NAME"]);
        table.row(["1".to_owned(), "a".to_owned()]);
        table.row(["100".to_owned(), String::new()]);
        assert_eq!(table.render(), "ID   NAME\n1    a\n100\n");
    }

    #[test]
    fn json_has_its_version_first_of_all_fields() {
        let text = versioned(&serde_json::json!({ "node": 1 }));
        assert_eq!(text, r#"{"v":1,"node":1}"#);
    }

    #[test]
    fn times_and_sizes_have_units() {
        assert_eq!(date(1_795_912_692_652), "2026-11-29T00:38:12Z");
        assert_eq!(duration(90_061_000), "1day 1h");
        assert_eq!(duration(0), "0s");
        assert_eq!(or_dash::<u64>(None), "-");
        assert_eq!(or_dash(Some(3)), "3");
    }
}
