//! Recordings of other clients, judged by the oracle.
//!
//! A recording has one JSON object per line, in the order in which one process saw them happen: messages as they were
//! sent, their acks, the events that a client showed to its user, and logs read again. docs/loadtest.md has the format.

mod error;
mod line;
mod recorded;
mod sent;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

pub(crate) use self::error::Error;
use self::recorded::Recorded;
use crate::oracle::Oracle;

/// Judges a recording, and prints the verdict. Returns `true` if every promise was kept.
pub(crate) fn judge(path: &Path) -> Result<bool, Error> {
    let unreadable = |error| Error::Unreadable(path.to_owned(), error);
    let lines = BufReader::new(File::open(path).map_err(unreadable)?).lines();
    let mut recorded = Recorded::default();
    for (number, line) in lines.enumerate() {
        let line = line.map_err(unreadable)?;
        recorded.line(&line).map_err(|why| Error::Line {
            number: number + 1,
            why,
        })?;
    }
    let oracle = recorded.end()?;
    print(&oracle);
    Ok(oracle.violations().is_empty())
}

fn print(oracle: &Oracle) {
    for violation in oracle.violations() {
        println!(
            "VIOLATION {:?} in {} at s={} (client {:?}): {}",
            violation.kind, violation.conversation, violation.s, violation.client, violation.detail
        );
        for line in &violation.log {
            println!("    {line}");
        }
    }
    let counts = oracle.counts();
    println!(
        "{} sent, {} acknowledged, {} shown, {} read again, {} receipts, {} unread counts: {} violations",
        counts.sent,
        counts.acked,
        counts.applied,
        counts.read_back,
        counts.receipts,
        counts.recounted,
        counts.violations
    );
}
