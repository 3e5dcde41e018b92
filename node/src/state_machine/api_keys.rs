//! Replicated API keys of back ends, and the audit log of the changes that are made with them.
//!
//! Both are rows in the shard of [`LoginKey::Keyring`](super::login::LoginKey::Keyring); the steps are those of
//! [`LoginOp`](super::LoginOp), decided by `apply/login`. No row holds a key, only its hash.

use std::fmt;

use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::login::SecretBytes;
use super::rows::VersionedRow;

/// Maximum number of API keys, expired ones included. Every node holds all of them.
pub(super) const API_KEYS: usize = 64;
/// Number of the newest entries that the audit log keeps.
pub(super) const AUDIT_ENTRIES: u64 = 1_000;

/// Id of an API key, the public part of its text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct ApiKeyId(pub [u8; 10]);

/// Part of the server API that a key permits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum KeyScope {
    /// Profiles, sessions and state of users.
    Users = 1,
    /// Creation of conversations and changes of their members.
    Conversations = 2,
    /// Messages as a user or as the system.
    Messages = 4,
    /// Reading of conversations, members and presence.
    Read = 8,
    /// Export and erasure of users.
    Erase = 16,
}

/// Set of scopes, one bit each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct KeyScopes(u8);

/// API key of a back end.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct ApiKeyRow {
    /// SHA-256 hash of the whole key.
    pub(super) secret: SecretBytes,
    pub(super) name: Box<str>,
    pub(super) scopes: KeyScopes,
    pub(super) created_ms: u64,
    /// End in milliseconds since the epoch; `None` for a key without one.
    pub(super) expires_ms: Option<u64>,
}

/// Number of the next entry of the audit log.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct AuditHeadRow {
    pub(super) next: u64,
}

/// Entry of the audit log: a change that was requested with sufficient rights.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct AuditRow {
    pub(super) at_ms: u64,
    /// Random number of the request, so that a retry is recorded once.
    pub(super) nonce: u64,
    /// Key of the change; `None` for an operator.
    pub(super) key: Option<ApiKeyId>,
    /// Kind of the change, such as `messages.send`.
    pub(super) act: Box<str>,
    /// Object of the change: a conversation, a user or a key.
    pub(super) target: Box<str>,
    /// Number of items that the request named.
    pub(super) count: u32,
    /// Name of the operator's token; empty for a change with a key.
    pub(super) who: Box<str>,
    /// Outcome of an operator's change; empty for a change with a key.
    pub(super) outcome: Box<str>,
}

impl VersionedRow for ApiKeyRow {}
impl VersionedRow for AuditHeadRow {}
impl VersionedRow for AuditRow {}

// === impl ApiKeyId ===

impl ApiKeyId {
    /// Returns the id with this text; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<ApiKeyId> {
        let id = BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).ok()?;
        let id = ApiKeyId(id.try_into().ok()?);
        // Upper case would give one key several texts.
        (id.to_string() == text).then_some(id)
    }
}

impl fmt::Display for ApiKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE32_NOPAD.encode(&self.0).to_ascii_lowercase())
    }
}

// === impl KeyScope, KeyScopes ===

impl KeyScope {
    /// All scopes, in the order of their bits.
    pub const ALL: [KeyScope; 5] = [
        KeyScope::Users,
        KeyScope::Conversations,
        KeyScope::Messages,
        KeyScope::Read,
        KeyScope::Erase,
    ];

    /// Returns the scope's name in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            KeyScope::Users => "users",
            KeyScope::Conversations => "conversations",
            KeyScope::Messages => "messages",
            KeyScope::Read => "read",
            KeyScope::Erase => "erase",
        }
    }
}

impl KeyScopes {
    /// Returns true if the set contains the scope.
    #[must_use]
    pub fn contains(self, scope: KeyScope) -> bool {
        self.0 & scope as u8 != 0
    }

    /// Returns the scopes of the set.
    pub fn iter(self) -> impl Iterator<Item = KeyScope> {
        KeyScope::ALL
            .into_iter()
            .filter(move |scope| self.contains(*scope))
    }
}

impl FromIterator<KeyScope> for KeyScopes {
    fn from_iter<I: IntoIterator<Item = KeyScope>>(scopes: I) -> KeyScopes {
        KeyScopes(scopes.into_iter().fold(0, |set, scope| set | scope as u8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_of_an_api_key_has_one_text() {
        let id = ApiKeyId(*b"0123456789");
        let text = id.to_string();
        assert_eq!((text.len(), ApiKeyId::parse(&text)), (16, Some(id)));
        assert_eq!(ApiKeyId::parse(&text.to_ascii_uppercase()), None);
        assert_eq!(ApiKeyId::parse(&text[1..]), None);
        assert_eq!(ApiKeyId::parse(""), None);
    }

    #[test]
    fn bits_of_the_scopes_are_frozen() {
        let bits = KeyScope::ALL.map(|scope| KeyScopes::from_iter([scope]).0);
        assert_eq!(bits, [1, 2, 4, 8, 16]);
        let some: KeyScopes = [KeyScope::Read, KeyScope::Users].into_iter().collect();
        assert_eq!(some.iter().collect::<Vec<_>>(), [KeyScope::Users, KeyScope::Read]);
        assert!(!some.contains(KeyScope::Erase));
    }
}
