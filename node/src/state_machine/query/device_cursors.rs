//! Cursors of a user's device.

use protocol::UserId;
use serde::{Deserialize, Serialize};

use super::{Result, ShardQuery};
use crate::state_machine::ChatTable;
use crate::state_machine::device_cursors::{DeviceCursors, DeviceCursorsRow};
use crate::state_machine::keys;
use crate::state_machine::row_store::RowReader;
use crate::state_machine::rows::VersionedRow;

/// Query for the cursors of a device; `None` if none are stored. Expired ones are returned until they are swept, so the
/// caller checks the expiry.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DeviceCursorsQuery {
    pub user: UserId,
    pub device: Box<str>,
}

/// Cursors of a device with their expiry.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StoredCursors {
    /// Milliseconds since the epoch.
    pub expires_ms: u64,
    pub cursors: DeviceCursors,
}

// === impl DeviceCursorsQuery ===

impl ShardQuery for DeviceCursorsQuery {
    type Page = Option<StoredCursors>;

    fn routing_key(&self) -> impl AsRef<[u8]> {
        &self.user
    }

    fn read(&self, rows: &impl RowReader) -> Result<Option<StoredCursors>> {
        let row = rows.get(ChatTable::Login, &keys::device_cursors(&self.user, &self.device))?;
        let row = row.map(|row| DeviceCursorsRow::decode(&row)).transpose()?;
        Ok(row.map(|row| StoredCursors {
            expires_ms: row.expires_ms,
            cursors: row.cursors,
        }))
    }
}
