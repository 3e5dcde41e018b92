//! Checks of read and delivered cursors, and of the unread count.

use super::log::OracleLog;
use super::retention::RetentionRule;
use super::violation::ViolationKind;
use super::{ConvIx, Oracle};
use crate::clock::Nanos;
use crate::payload::ClientIx;

/// Row of a client's conversation list, with the client's own cursors.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct ListedRow {
    /// Position of the last event.
    pub(crate) last: u64,
    pub(crate) unread: u64,
    pub(crate) read: u64,
    pub(crate) delivered: u64,
    /// Read cursor that the node had acknowledged before the row was requested.
    pub(crate) floor: u64,
    /// `true` if the row was requested after the load had ended and all sends were answered.
    pub(crate) is_final: bool,
    /// Time of the response.
    pub(crate) at: Nanos,
}

/// Maximum number of rows per conversation that wait for the log. Further rows are not recounted.
const ROWS: usize = 256;

/// Checks a row as far as is possible without the log.
pub(super) fn check(row: &ListedRow) -> Result<(), (ViolationKind, String)> {
    if row.read < row.floor {
        let detail = format!("the read cursor is {}, but it was {} before", row.read, row.floor);
        return Err((ViolationKind::CursorFell, detail));
    }
    // No upper bound: a cursor may point to an edit or a membership event above the last message.
    order(row.read, row.delivered, u64::MAX)
}

/// Checks that `read` <= `delivered` <= `last`.
pub(super) fn order(read: u64, delivered: u64, last: u64) -> Result<(), (ViolationKind, String)> {
    if read <= delivered && delivered <= last {
        return Ok(());
    }
    let detail = format!("cursors out of order: read {read}, delivered {delivered}, last event {last}");
    Err((ViolationKind::CursorOrder, detail))
}

/// Recounts the unread messages of a row. Returns `None` if the log is not known there (any longer).
pub(super) fn recount(
    row: &ListedRow,
    log: &OracleLog,
    rule: RetentionRule,
) -> Option<Result<(), (ViolationKind, String)>> {
    if row.is_final && row.last < log.last_message() {
        let detail = format!(
            "the conversation list has last s={}, the last message is at s={}",
            row.last,
            log.last_message()
        );
        return Some(Err((ViolationKind::MissedAtEnd, detail)));
    }
    let all = log.messages_between(row.read, row.last)?;
    let deleted = |by| log.deleted_between(row.read, row.last, by);
    // A deletion above the row's last event may be in its count already. In a final row every deletion is.
    let certainly = deleted(if row.is_final { log.frontier() } else { row.last });
    let most = all.saturating_sub(certainly);
    // Messages removed by retention are not counted, so the lower bound has only those that must still exist.
    let least = rule
        .surely(log, row.read, row.last, row.at)?
        .saturating_sub(deleted(log.frontier()));
    if (least..=most).contains(&row.unread) {
        return Some(Ok(()));
    }
    let detail = format!(
        "{} unread above s={} up to s={}; recounting gives {least} to {most}",
        row.unread, row.read, row.last
    );
    Some(Err((ViolationKind::UnreadWrong, detail)))
}

// === impl Oracle: cursors ===

impl Oracle {
    /// Checks a receipt: another member's cursors as one client received them.
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
        // Per viewer: a receipt may reach one session later than another, which is no step back.
        let before = view.receipts.insert(of, (delivered, read)).unwrap_or_default();
        let verdict = if delivered < before.0 || read < before.1 {
            let detail = format!(
                "client {of} was at (delivered, read) {before:?}, now at {:?}",
                (delivered, read)
            );
            Err((ViolationKind::CursorFell, detail))
        } else {
            order(read, delivered, u64::MAX)
        };
        self.judge(verdict, conv, Some(viewer), delivered);
    }

    /// Removes the recorded receipts of a client whose session is new. Cursors are compared only within one session.
    pub(crate) fn forget_receipts(&mut self, conv: ConvIx, viewer: ClientIx) {
        if let Some(view) = self.conversations[conv as usize].views.get_mut(&viewer) {
            view.receipts.clear();
        }
    }

    /// Checks the numbers of members, as (delivered, read), that have a message, as its sender was shown them before and
    /// is shown them now.
    pub(crate) fn reach(
        &mut self,
        conv: ConvIx,
        sender: ClientIx,
        s: u64,
        before: (u64, u64),
        now: (u64, u64),
    ) {
        self.counts.receipts += 1;
        let verdict = if now.0 < before.0 || now.1 < before.1 {
            let detail = format!("s={s} had reached (delivered, read) {before:?} members, now {now:?}");
            Err((ViolationKind::CursorFell, detail))
        } else {
            order(now.1, now.0, u64::MAX)
        };
        self.judge(verdict, conv, Some(sender), s);
    }

    /// Checks a row of a client's conversation list.
    pub(crate) fn listed(&mut self, conv: ConvIx, client: ClientIx, row: ListedRow) {
        self.judge(check(&row), conv, Some(client), row.read);
        let conversation = &mut self.conversations[conv as usize];
        conversation.cursor = conversation.cursor.max(row.delivered);
        if conversation.rows.len() < ROWS {
            conversation.rows.push_back((client, row));
        }
        self.recount(conv);
    }

    /// Recounts the rows that the known log covers by now.
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
