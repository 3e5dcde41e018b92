//! Audit log of the changes with API keys, bounded to the newest entries.

use crate::state_machine::ChatTable;
use crate::state_machine::api_keys::{AUDIT_ENTRIES, ApiKeyId, AuditHeadRow, AuditRow};
use crate::state_machine::apply::Result;
use crate::state_machine::apply_context::ApplyContext;
use crate::state_machine::keys;
use crate::state_machine::row_store::RowWriter;
use crate::state_machine::rows::VersionedRow;

/// Entry to append to the log.
pub(super) struct AuditDraft<'a> {
    /// Random number of the request; `None` for a change that is recorded in its own batch.
    pub(super) nonce: Option<u64>,
    /// `None` for the operator.
    pub(super) key: Option<ApiKeyId>,
    pub(super) act: &'a str,
    pub(super) target: &'a str,
    pub(super) count: u32,
}

/// Appends an entry, unless one with its nonce exists, and removes the entry that leaves the bound.
pub(super) fn append(work: &mut ApplyContext<'_, impl RowWriter>, draft: &AuditDraft<'_>) -> Result<()> {
    if let Some(nonce) = draft.nonce {
        let known = keys::audit_nonce(nonce);
        // A command queue resends after a lost response.
        if work.rows.get(ChatTable::Login, &known)?.is_some() {
            return Ok(());
        }
        work.rows.put(ChatTable::Login, &known, b"");
    }
    let head = work.rows.get(ChatTable::Login, &keys::AUDIT_HEAD)?;
    let head = head.map(|row| AuditHeadRow::decode(&row)).transpose()?;
    let at = head.unwrap_or_default().next;
    let row = AuditRow {
        at_ms: work.now_ms,
        nonce: draft.nonce.unwrap_or(0),
        key: draft.key,
        act: draft.act.into(),
        target: draft.target.into(),
        count: draft.count,
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
