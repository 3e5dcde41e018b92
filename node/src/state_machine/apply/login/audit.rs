//! Audit log of the changes by API keys and by operators, bounded to the newest entries.

use crate::state_machine::ChatTable;
use crate::state_machine::api_keys::{AUDIT_ENTRIES, ApiKeyId, AuditHeadRow, AuditRow};
use crate::state_machine::apply::Result;
use crate::state_machine::apply_context::ApplyContext;
use crate::state_machine::keys;
use crate::state_machine::row_store::RowWriter;
use crate::state_machine::rows::VersionedRow;

/// Entry to append to the log.
pub(super) struct AuditDraft<'a> {
    /// Random number of the request.
    pub(super) nonce: u64,
    /// `None` for an operator.
    pub(super) key: Option<ApiKeyId>,
    pub(super) act: &'a str,
    pub(super) target: &'a str,
    pub(super) count: u32,
    /// Name of the operator's token; empty for a key.
    pub(super) who: &'a str,
    /// Outcome of an operator's change; empty for a key.
    pub(super) outcome: &'a str,
}

/// Outcome of a change that is not known yet.
const BEGUN: &str = "begun";

/// Appends an entry, unless one with its nonce exists, and removes the entry that leaves the bound. An existing entry
/// without an outcome gets that of the draft.
pub(super) fn append(work: &mut ApplyContext<'_, impl RowWriter>, draft: &AuditDraft<'_>) -> Result<()> {
    let nonce = keys::audit_nonce(draft.nonce);
    // A command queue resends after a lost response.
    if let Some(known) = work.rows.get(ChatTable::Login, &nonce)? {
        return conclude(work, &known, draft.outcome);
    }
    let head = work.rows.get(ChatTable::Login, &keys::AUDIT_HEAD)?;
    let head = head.map(|row| AuditHeadRow::decode(&row)).transpose()?;
    let at = head.unwrap_or_default().next;
    work.rows.put(ChatTable::Login, &nonce, &at.to_be_bytes());
    let row = AuditRow {
        at_ms: work.now_ms,
        nonce: draft.nonce,
        key: draft.key,
        act: draft.act.into(),
        target: draft.target.into(),
        count: draft.count,
        who: draft.who.into(),
        outcome: draft.outcome.into(),
    };
    work.rows
        .put(ChatTable::Login, &keys::audit_entry(at), &row.encode());
    let head = AuditHeadRow { next: at + 1 };
    work.rows.put(ChatTable::Login, &keys::AUDIT_HEAD, &head.encode());
    if let Some(oldest) = at.checked_sub(AUDIT_ENTRIES) {
        let key = keys::audit_entry(oldest);
        if let Some(row) = work.rows.get(ChatTable::Login, &key)? {
            let nonce = AuditRow::decode(&row)?.nonce;
            work.rows.delete(ChatTable::Login, &keys::audit_nonce(nonce));
        }
        work.rows.delete(ChatTable::Login, &key);
    }
    Ok(())
}

/// Sets the outcome of a recorded change. `at`: number of its entry, as the row of its nonce has it.
fn conclude(work: &mut ApplyContext<'_, impl RowWriter>, at: &[u8], outcome: &str) -> Result<()> {
    // A row without a number is of an entry that has no outcome.
    let Ok(at) = at.try_into().map(u64::from_be_bytes) else {
        return Ok(());
    };
    let key = keys::audit_entry(at);
    let Some(row) = work.rows.get(ChatTable::Login, &key)? else {
        return Ok(());
    };
    let mut row = AuditRow::decode(&row)?;
    // Set once: a resent command must not undo it.
    if &*row.outcome == BEGUN {
        row.outcome = outcome.into();
        work.rows.put(ChatTable::Login, &key, &row.encode());
    }
    Ok(())
}
