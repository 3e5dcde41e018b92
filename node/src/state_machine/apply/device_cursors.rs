//! Cursors of a user's devices. Only sessions propose them, never a client. A repeated or delayed proposal sets a device
//! back to earlier positions, from which it receives events again and misses none.

use protocol::UserId;
use storage::ScanOrder;

use super::Result;
use super::login::expiry;
use crate::state_machine::ChatTable;
use crate::state_machine::apply_context::ApplyContext;
use crate::state_machine::device_cursors::{DEVICES, DeviceCursors, DeviceCursorsRow};
use crate::state_machine::keys;
use crate::state_machine::outcome::UserOutcome;
use crate::state_machine::row_store::RowWriter;
use crate::state_machine::rows::VersionedRow;

/// Replaces the cursors of a device; `None` removes them.
pub(super) fn put(
    work: &mut ApplyContext<'_, impl RowWriter>,
    user: &UserId,
    device: &str,
    cursors: Option<&DeviceCursors>,
    valid_ms: u64,
) -> Result<UserOutcome> {
    let key = keys::device_cursors(user, device);
    let before = work.rows.get(ChatTable::Login, &key)?;
    let before = before.map(|row| DeviceCursorsRow::decode(&row)).transpose()?;
    let before_ms = before.map(|row| row.expires_ms);
    let Some(cursors) = cursors else {
        if let Some(before_ms) = before_ms {
            expiry::remove(work.rows, &key, before_ms);
        }
        return Ok(UserOutcome::Recorded);
    };
    if before_ms.is_none() {
        make_room(work, user)?;
    }
    let expires_ms = work.now_ms.saturating_add(valid_ms);
    let row = DeviceCursorsRow {
        expires_ms,
        cursors: cursors.clone(),
    };
    expiry::put(work.rows, &key, &row.encode(), before_ms, expires_ms);
    Ok(UserOutcome::Recorded)
}

/// Removes the cursors that expire first if there is no room for those of another device.
fn make_room(work: &mut ApplyContext<'_, impl RowWriter>, user: &UserId) -> Result<()> {
    let (start, end) = keys::all_device_cursors(user);
    let found = work
        .rows
        .scan(ChatTable::Login, &start..&end, ScanOrder::Ascending, DEVICES)?;
    if found.len() < DEVICES {
        return Ok(());
    }
    let mut first = None;
    for (key, row) in found {
        let expires_ms = DeviceCursorsRow::decode(&row)?.expires_ms;
        if first
            .as_ref()
            .is_none_or(|(earliest_ms, _)| expires_ms < *earliest_ms)
        {
            first = Some((expires_ms, key));
        }
    }
    if let Some((expires_ms, key)) = first {
        expiry::remove(work.rows, &key, expires_ms);
    }
    Ok(())
}
