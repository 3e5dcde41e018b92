//! API keys: created and revoked by operators.

use storage::ScanOrder;

use crate::state_machine::ChatTable;
use crate::state_machine::api_keys::{API_KEYS, ApiKeyId, ApiKeyRow};
use crate::state_machine::apply::Result;
use crate::state_machine::apply_context::ApplyContext;
use crate::state_machine::keys;
use crate::state_machine::login::LoginOutcome;
use crate::state_machine::row_store::RowWriter;
use crate::state_machine::rows::VersionedRow;

/// Creates a key. `Limited` if there are too many.
pub(super) fn create(
    work: &mut ApplyContext<'_, impl RowWriter>,
    id: ApiKeyId,
    row: ApiKeyRow,
) -> Result<LoginOutcome> {
    let key = keys::api_key(id);
    // A retry must not count against the limit.
    if work.rows.get(ChatTable::Login, &key)?.is_some() {
        return Ok(LoginOutcome::Accepted);
    }
    let (start, end) = keys::api_keys();
    let known = work
        .rows
        .scan(ChatTable::Login, &start..&end, ScanOrder::Ascending, API_KEYS)?;
    // Expired keys count too: a key leaves the list by revocation alone, so that an operator sees what has ended.
    if known.len() >= API_KEYS {
        return Ok(LoginOutcome::Limited { wait_ms: 0 });
    }
    work.rows.put(ChatTable::Login, &key, &row.encode());
    Ok(LoginOutcome::Accepted)
}

/// Revokes a key. A missing one still has the effect: nodes may hold it if an owner died before it broadcast the
/// revocation.
pub(super) fn revoke(work: &mut ApplyContext<'_, impl RowWriter>, id: ApiKeyId) -> Result<LoginOutcome> {
    let key = keys::api_key(id);
    if work.rows.get(ChatTable::Login, &key)?.is_some() {
        work.rows.delete(ChatTable::Login, &key);
    }
    Ok(LoginOutcome::ApiKeyRevoked)
}
