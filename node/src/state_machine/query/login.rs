//! Login rows of a shard: the keyring, device tokens, and the presence of expired rows.

use crate::state_machine::ChatTable;
use protocol::UserId;
use serde::{Deserialize, Serialize};
use storage::ScanOrder;

use super::{Result, ShardQuery};
use crate::state_machine::keys;
use crate::state_machine::login::{
    DEVICE_TOKENS, DeviceTokenRow, Keyring, LoginKey, SecretBytes, TokenFamilyId,
};
use crate::state_machine::row_store::RowReader;
use crate::state_machine::rows::VersionedRow;

/// Device token of a user without its hash.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DeviceTokenEntry {
    pub id: TokenFamilyId,
    pub device: Box<str>,
    pub name: Option<Box<str>>,
    /// Milliseconds since the epoch.
    pub created_ms: u64,
    /// Milliseconds since the epoch.
    pub expires_ms: u64,
}

/// Query for the signing keys of the cluster; `None` before the first key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeyringQuery;

/// Query for the device tokens of a user, in the order of their ids. Expired ones are returned until they are swept, so
/// the caller checks the expiry.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DevicesQuery {
    pub user: UserId,
    /// Id and hash of the only token that is returned, for its verification; `None` for all tokens.
    pub presented: Option<(TokenFamilyId, SecretBytes)>,
}

// === impl KeyringQuery, DevicesQuery ===

impl ShardQuery for KeyringQuery {
    type Page = Option<Keyring>;

    fn routing_key(&self) -> impl AsRef<[u8]> {
        LoginKey::Keyring.routing()
    }

    fn read(&self, rows: &impl RowReader) -> Result<Option<Keyring>> {
        let row = rows.get(ChatTable::Login, &keys::KEYRING)?;
        Ok(row.map(|row| Keyring::decode(&row)).transpose()?)
    }
}

impl ShardQuery for DevicesQuery {
    type Page = Vec<DeviceTokenEntry>;

    fn routing_key(&self) -> impl AsRef<[u8]> {
        &self.user
    }

    fn read(&self, rows: &impl RowReader) -> Result<Vec<DeviceTokenEntry>> {
        let Some((id, token)) = &self.presented else {
            return device_tokens(rows, &self.user);
        };
        let row = rows.get(ChatTable::Login, &keys::device_token(&self.user, *id))?;
        let row = row.map(|row| DeviceTokenRow::decode(&row)).transpose()?;
        let row = row.filter(|row| row.token == *token);
        Ok(row.map(|row| entry(*id, row)).into_iter().collect())
    }
}

fn device_tokens(rows: &impl RowReader, user: &UserId) -> Result<Vec<DeviceTokenEntry>> {
    let (start, end) = keys::device_tokens(user);
    let found = rows.scan(
        ChatTable::Login,
        &start..&end,
        ScanOrder::Ascending,
        DEVICE_TOKENS,
    )?;
    let mut entries = Vec::with_capacity(found.len());
    for (key, row) in &found {
        if let Some(id) = keys::device_token_id(user, key) {
            entries.push(entry(id, DeviceTokenRow::decode(row)?));
        }
    }
    Ok(entries)
}

/// Returns true if a row has expired at `now_ms`, so that a sweep removes something.
pub fn is_over(rows: &impl RowReader, now_ms: u64) -> Result<bool> {
    let (start, end) = keys::login_expiries_until(now_ms);
    Ok(!rows
        .scan(ChatTable::Login, &start..&end, ScanOrder::Ascending, 1)?
        .is_empty())
}

fn entry(id: TokenFamilyId, row: DeviceTokenRow) -> DeviceTokenEntry {
    DeviceTokenEntry {
        id,
        device: row.device,
        name: row.name,
        created_ms: row.created_ms,
        expires_ms: row.expires_ms,
    }
}
