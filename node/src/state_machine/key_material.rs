//! Rows with key material, which backups hold apart from all others.

use storage::TableId;

use super::{ChatTable, keys};

/// Returns true for the rows from which tokens or codes can be made or tested: the keyring, API keys, token families,
/// device tokens, login codes and their attempt counters, and the expiry of any of them. Without the keyring none of them
/// has a use. The audit log and the cursors of devices are not key material.
pub(crate) fn is_key_material(table: TableId, key: &[u8]) -> bool {
    table == ChatTable::Login.of_store() && keys::is_key_material(key)
}
