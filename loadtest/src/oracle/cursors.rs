//! Read and delivered cursors, and the count of the unread.

use super::log::Log;
use super::violation::Kind;

/// One row of somebody's inbox, and one's own cursors in it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Row {
    /// The place of the last event.
    pub(crate) last: u64,
    pub(crate) unread: u64,
    pub(crate) read: u64,
    pub(crate) delivered: u64,
    /// What had been read, as the node had agreed before the row was asked for.
    pub(crate) floor: u64,
    /// Asked when everything had settled.
    pub(crate) settled: bool,
}

/// Checks a row as far as it can be done without the log.
pub(super) fn check(row: &Row) -> Result<(), (Kind, String)> {
    if row.read < row.floor {
        let detail = format!("read is {}, after {} had been read", row.read, row.floor);
        return Err((Kind::CursorFell, detail));
    }
    order(row.read, row.delivered, row.last)
}

/// `read` <= `delivered` <= last.
pub(super) fn order(read: u64, delivered: u64, last: u64) -> Result<(), (Kind, String)> {
    if read <= delivered && delivered <= last {
        return Ok(());
    }
    let detail = format!("read {read}, delivered {delivered}, last {last}");
    Err((Kind::CursorOrder, detail))
}

/// Counts the unread again. `None` if the log isn't known there any more.
pub(super) fn recount(row: &Row, log: &Log) -> Option<Result<(), (Kind, String)>> {
    if row.settled && row.last < log.frontier() {
        let detail = format!(
            "the inbox ends at s={}, the log at s={}",
            row.last,
            log.frontier()
        );
        return Some(Err((Kind::MissedAtEnd, detail)));
    }
    // Of a log that is broken already nothing can be counted.
    let unread = log
        .messages_up_to(row.last)?
        .checked_sub(log.messages_up_to(row.read)?)?;
    if unread == row.unread {
        return Some(Ok(()));
    }
    let detail = format!(
        "{} unread above s={} up to s={}, a recount gives {unread}",
        row.unread, row.read, row.last
    );
    Some(Err((Kind::UnreadWrong, detail)))
}
