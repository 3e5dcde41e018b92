//! API keys and the audit log, rows in the shard of the keyring.

use serde::{Deserialize, Serialize};
use storage::ScanOrder;

use super::{Result, ShardQuery};
use crate::state_machine::ChatTable;
use crate::state_machine::api_keys::{API_KEYS, ApiKeyId, ApiKeyRow, AuditRow, KeyScopes};
use crate::state_machine::keys;
use crate::state_machine::login::{LoginKey, SecretBytes};
use crate::state_machine::row_store::RowReader;
use crate::state_machine::rows::VersionedRow;

/// API key as every node verifies it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ApiKeyEntry {
    pub id: ApiKeyId,
    /// SHA-256 hash of the whole key.
    pub secret: SecretBytes,
    pub name: Box<str>,
    pub scopes: KeyScopes,
    /// Milliseconds since the epoch.
    pub created_ms: u64,
    /// Milliseconds since the epoch; `None` for a key without an end.
    pub expires_ms: Option<u64>,
}

/// Entry of the audit log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Number of the entry, ascending from 0.
    pub seq: u64,
    /// Milliseconds since the epoch.
    pub at_ms: u64,
    /// `None` for an operator.
    pub key: Option<ApiKeyId>,
    pub act: Box<str>,
    pub target: Box<str>,
    pub count: u32,
    /// Name of the operator's token; empty for a change with a key.
    pub who: Box<str>,
    /// Outcome of an operator's change; empty for a change with a key.
    pub outcome: Box<str>,
}

/// Query for all API keys, in the order of their ids.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ApiKeysQuery;

/// Query for a page of the audit log, the newest entry first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AuditQuery {
    /// Exclusive upper bound of the numbers; `None` for the newest entries.
    pub before: Option<u64>,
    pub limit: u32,
}

// === impl ApiKeysQuery, AuditQuery ===

impl ShardQuery for ApiKeysQuery {
    type Page = Vec<ApiKeyEntry>;

    fn routing_key(&self) -> impl AsRef<[u8]> {
        LoginKey::Keyring.routing()
    }

    fn read(&self, rows: &impl RowReader) -> Result<Vec<ApiKeyEntry>> {
        let (start, end) = keys::api_keys();
        let found = rows.scan(ChatTable::Login, &start..&end, ScanOrder::Ascending, API_KEYS)?;
        let mut entries = Vec::with_capacity(found.len());
        for (key, row) in &found {
            if let Some(id) = keys::api_key_id(key) {
                let row = ApiKeyRow::decode(row)?;
                entries.push(ApiKeyEntry {
                    id,
                    secret: row.secret,
                    name: row.name,
                    scopes: row.scopes,
                    created_ms: row.created_ms,
                    expires_ms: row.expires_ms,
                });
            }
        }
        Ok(entries)
    }
}

impl ShardQuery for AuditQuery {
    type Page = Vec<AuditEntry>;

    fn routing_key(&self) -> impl AsRef<[u8]> {
        LoginKey::Keyring.routing()
    }

    fn read(&self, rows: &impl RowReader) -> Result<Vec<AuditEntry>> {
        let (start, end) = keys::audit_entries_before(self.before);
        let limit = self.limit as usize;
        let found = rows.scan(ChatTable::Login, &start..&end, ScanOrder::Descending, limit)?;
        let mut entries = Vec::with_capacity(found.len());
        for (key, row) in &found {
            if let Some(seq) = keys::audit_seq(key) {
                let row = AuditRow::decode(row)?;
                entries.push(AuditEntry {
                    seq,
                    at_ms: row.at_ms,
                    key: row.key,
                    act: row.act,
                    target: row.target,
                    count: row.count,
                    who: row.who,
                    outcome: row.outcome,
                });
            }
        }
        Ok(entries)
    }
}
