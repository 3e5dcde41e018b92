//! Read and delivered cursors, and the count of the unread.

use super::log::Log;
use super::retention::Rule;
use super::violation::Kind;
use super::{ConvIx, Oracle};
use crate::clock::Nanos;
use crate::payload::ClientIx;

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
    /// When it was answered.
    pub(crate) at: Nanos,
}

/// Rows of inboxes that wait for the log, per conversation; more are not counted again.
const ROWS: usize = 256;

/// Checks a row as far as it can be done without the log.
pub(super) fn check(row: &Row) -> Result<(), (Kind, String)> {
    if row.read < row.floor {
        let detail = format!("read is {}, after {} had been read", row.read, row.floor);
        return Err((Kind::CursorFell, detail));
    }
    // The last message: an edit or a change of membership above it may have been read.
    order(row.read, row.delivered, u64::MAX)
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
pub(super) fn recount(row: &Row, log: &Log, rule: Rule) -> Option<Result<(), (Kind, String)>> {
    if row.settled && row.last < log.last_message() {
        let detail = format!(
            "the inbox ends at s={}, the last message is at s={}",
            row.last,
            log.last_message()
        );
        return Some(Err((Kind::MissedAtEnd, detail)));
    }
    let all = log.messages_between(row.read, row.last)?;
    let deleted = |by| log.deleted_between(row.read, row.last, by);
    // The row may be younger than the last message: what was deleted above it may count or not. Not so at the end.
    let certainly = deleted(if row.settled { log.frontier() } else { row.last });
    let most = all.saturating_sub(certainly);
    // What is gone by age or number is not counted.
    let least = rule
        .surely(log, row.read, row.last, row.at)?
        .saturating_sub(deleted(log.frontier()));
    if (least..=most).contains(&row.unread) {
        return Some(Ok(()));
    }
    let detail = format!(
        "{} unread above s={} up to s={}, a recount gives {least} to {most}",
        row.unread, row.read, row.last
    );
    Some(Err((Kind::UnreadWrong, detail)))
}

// === impl Oracle: cursors ===

impl Oracle {
    /// A client was told of somebody's cursors.
    pub(crate) fn receipt(
        &mut self,
        conv: ConvIx,
        viewer: ClientIx,
        of: ClientIx,
        delivered: u64,
        read: u64,
    ) {
        self.counts.receipts += 1;
        let conversation = &mut self.conversations[conv as usize];
        conversation.cursor = conversation.cursor.max(delivered);
        let Some(view) = conversation.views.get_mut(&viewer) else {
            return; // told before the view began
        };
        let before = view.receipts.insert(of, (delivered, read)).unwrap_or_default();
        let verdict = if delivered < before.0 || read < before.1 {
            let detail = format!(
                "client {of} was at (delivered, read) {before:?}, now at {:?}",
                (delivered, read)
            );
            Err((Kind::CursorFell, detail))
        } else {
            order(read, delivered, u64::MAX)
        };
        self.judge(verdict, conv, Some(viewer), delivered);
    }

    /// A client's session begins anew: what it is told of cursors does, too.
    pub(crate) fn forget_receipts(&mut self, conv: ConvIx, viewer: ClientIx) {
        if let Some(view) = self.conversations[conv as usize].views.get_mut(&viewer) {
            view.receipts.clear();
        }
    }

    /// A client read a row of its inbox.
    pub(crate) fn listed(&mut self, conv: ConvIx, client: ClientIx, row: Row) {
        self.judge(check(&row), conv, Some(client), row.read);
        let conversation = &mut self.conversations[conv as usize];
        conversation.cursor = conversation.cursor.max(row.delivered);
        if conversation.rows.len() < ROWS {
            conversation.rows.push_back((client, row));
        }
        self.recount(conv);
    }

    /// Counts again what the log is known for by now.
    pub(super) fn recount(&mut self, conv: ConvIx) {
        while let Some((client, row)) = self.conversations[conv as usize].due_row() {
            let conversation = &self.conversations[conv as usize];
            let rule = self.retention.rule(&conversation.name);
            if let Some(verdict) = recount(&row, &conversation.log, rule) {
                self.counts.recounted += 1;
                self.judge(verdict, conv, Some(client), row.read);
            }
        }
    }
}
