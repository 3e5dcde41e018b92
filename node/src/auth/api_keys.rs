//! API keys of back ends: created and revoked by operators, verified on every node.
//!
//! ```text
//! create, revoke ─▶ log of the keyring's shard ─▶ broadcast of the revocation ─▶ every node forgets its copy
//! key ─▶ copy of this node ─ unknown key or old copy ─▶ query at the owner
//! ```
//! A node holds a copy of all keys, which are few. A revocation holds as soon as its broadcast arrives, and on a node
//! that the broadcast does not reach, once the copy is [`COPY_TTL`] old.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use data_encoding::BASE32_NOPAD;
use parking_lot::Mutex;
use protocol::ErrorCode;
use sha2::{Digest, Sha256};

use super::token_verifier::TokenError;
use crate::shard_client::{CommandError, ShardClient};
use crate::state_machine::query::{ApiKeysQuery, AuditQuery};
use crate::state_machine::{
    ApiKeyEntry, ApiKeyId, AuditEntry, KeyScope, KeyScopes, LoginKey, LoginOp, LoginOutcome, SecretBytes,
};

/// Prefix of every API key, which no JWT has.
const PREFIX: &str = "rook_";
/// Length of the text of a key: prefix, id, separator, 32 random bytes in base32.
const KEY_BYTES: usize = PREFIX.len() + 16 + 1 + 52;
/// Time for which a copy of the keys is used.
const COPY_TTL: Duration = Duration::from_secs(30);
/// Minimum time between two queries: keys with invented ids must not cause a query each.
const PAUSE: Duration = Duration::from_millis(200);

/// API keys as a node handles them. Cheap to clone.
#[derive(Clone)]
pub struct ApiKeys {
    inner: Arc<Inner>,
}

/// Verified key of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifiedKey {
    pub id: ApiKeyId,
    pub scopes: KeyScopes,
}

/// Created key. Its text is not stored and cannot be read again.
pub struct CreatedKey {
    pub id: ApiKeyId,
    pub text: String,
}

/// Change with an API key, as the audit log records it.
#[derive(Clone, Debug)]
pub struct AuditNote {
    pub key: ApiKeyId,
    pub act: &'static str,
    pub target: Box<str>,
    pub count: u32,
}

/// Change by an operator, as the audit log records it.
#[derive(Clone, Debug)]
pub struct OperatorNote {
    /// Random number of the change, by which the outcome finds the entry.
    nonce: u64,
    /// Name of the operator's token.
    who: Box<str>,
    act: &'static str,
    target: Box<str>,
}

struct Inner {
    conversations: ShardClient,
    copy: Mutex<KeyCopy>,
    /// Start of the last query. The lock makes queries wait for each other.
    asked: tokio::sync::Mutex<Option<Instant>>,
}

/// Keys of the cluster as this node read them last.
#[derive(Default)]
struct KeyCopy {
    keys: Option<(Instant, Arc<HashMap<ApiKeyId, ApiKeyEntry>>)>,
    /// Number of the revocations that this node has received.
    revocations: u64,
}

// === impl ApiKeys ===

impl ApiKeys {
    #[must_use]
    pub fn new(conversations: ShardClient) -> ApiKeys {
        let inner = Inner {
            conversations,
            copy: Mutex::default(),
            asked: tokio::sync::Mutex::default(),
        };
        ApiKeys {
            inner: Arc::new(inner),
        }
    }

    /// Creates a key with a new id.
    ///
    /// # Errors
    /// [`ErrorCode::Conflict`] if there are too many.
    pub async fn create(
        &self,
        id: ApiKeyId,
        name: Box<str>,
        scopes: &[KeyScope],
        expires_ms: Option<u64>,
    ) -> Result<CreatedKey, CommandError> {
        let secret: [u8; 32] = rand::random();
        let secret = BASE32_NOPAD.encode(&secret).to_ascii_lowercase();
        let text = format!("{PREFIX}{id}_{secret}");
        let op = LoginOp::CreateApiKey {
            id,
            secret: hash(&text),
            name,
            scopes: scopes.iter().copied().collect(),
            expires_ms,
        };
        match self.inner.conversations.login(LoginKey::Keyring, op).await? {
            LoginOutcome::Accepted => Ok(CreatedKey { id, text }),
            _ => Err(CommandError::new(
                ErrorCode::Conflict,
                "there are too many API keys: revoke one first",
            )),
        }
    }

    /// Returns all keys, expired ones included.
    ///
    /// # Errors
    /// If the owner of the keyring's shard cannot be reached.
    pub async fn list(&self) -> Result<Vec<ApiKeyEntry>, CommandError> {
        self.inner.conversations.query(&ApiKeysQuery).await
    }

    /// Revokes a key on every node. Repeating it has the effect again.
    ///
    /// # Errors
    /// If the owner of the keyring's shard cannot be reached.
    pub async fn revoke(&self, id: ApiKeyId) -> Result<(), CommandError> {
        let op = LoginOp::RevokeApiKey { id };
        self.inner.conversations.login(LoginKey::Keyring, op).await?;
        // At once on this node; the broadcast reaches all others.
        self.forget();
        Ok(())
    }

    /// Drops the copy of this node, because a key was revoked.
    pub fn forget(&self) {
        let mut copy = self.inner.copy.lock();
        copy.keys = None;
        copy.revocations += 1;
    }

    /// Records a change in the audit log. Called before the change, so that none is missing there.
    ///
    /// # Errors
    /// If the owner of the keyring's shard cannot be reached.
    pub async fn record(&self, note: AuditNote) -> Result<(), CommandError> {
        let AuditNote {
            key,
            act,
            target,
            count,
        } = note;
        let op = LoginOp::Audit {
            nonce: rand::random(),
            key,
            act: act.into(),
            target,
            count,
        };
        self.append(op).await
    }

    /// Records a change of an operator in the audit log with the outcome `begun`. Called before the change.
    ///
    /// # Errors
    /// If the owner of the keyring's shard cannot be reached.
    pub async fn begin(&self, note: &OperatorNote) -> Result<(), CommandError> {
        self.append(note.with("begun")).await
    }

    /// Records the outcome of a change that was [begun](Self::begin).
    ///
    /// # Errors
    /// If the owner of the keyring's shard cannot be reached; the entry then remains without an outcome.
    pub async fn conclude(&self, note: &OperatorNote, outcome: &str) -> Result<(), CommandError> {
        self.append(note.with(outcome)).await
    }

    async fn append(&self, op: LoginOp) -> Result<(), CommandError> {
        let recorded = self.inner.conversations.login(LoginKey::Keyring, op).await;
        recorded.map(|_| ()).map_err(|refusal| match refusal.code {
            // The change itself was not begun, so its outcome is known.
            ErrorCode::TimeoutUnknown => CommandError::unavailable(),
            _ => refusal,
        })
    }

    /// Returns a page of the audit log, the newest entry first.
    ///
    /// # Errors
    /// If the owner of the keyring's shard cannot be reached.
    pub async fn audit(&self, before: Option<u64>, limit: u32) -> Result<Vec<AuditEntry>, CommandError> {
        self.inner
            .conversations
            .query(&AuditQuery { before, limit })
            .await
    }

    /// Verifies a key by the copy of this node, or by a query at the owner of the keyring's shard.
    ///
    /// # Errors
    /// [`TokenError`], which may be sent to the caller as it is.
    pub async fn verify(&self, text: &str) -> Result<VerifiedKey, TokenError> {
        let id = id_of(text).ok_or(TokenError::Invalid)?;
        let now = Instant::now();
        let known = self.copy(now, COPY_TTL).filter(|keys| keys.contains_key(&id));
        let keys = match known {
            Some(keys) => keys,
            // A key that this node does not know may be new.
            None => self.read(now).await?,
        };
        // `SecretBytes` compares in constant time.
        let key = keys.get(&id).filter(|key| key.secret == hash(text));
        let key = key.ok_or(TokenError::Invalid)?;
        let now_ms = self.inner.conversations.clock().now_ms();
        if key.expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms) {
            return Err(TokenError::Expired);
        }
        Ok(VerifiedKey {
            id,
            scopes: key.scopes,
        })
    }

    /// Returns the copy unless it is older than `age`.
    fn copy(&self, now: Instant, age: Duration) -> Option<Arc<HashMap<ApiKeyId, ApiKeyEntry>>> {
        let copy = self.inner.copy.lock();
        let (read, keys) = copy.keys.as_ref()?;
        (now.saturating_duration_since(*read) < age).then(|| keys.clone())
    }

    /// Reads the keys, unless another request has read them since `wanted`.
    async fn read(&self, wanted: Instant) -> Result<Arc<HashMap<ApiKeyId, ApiKeyEntry>>, TokenError> {
        let mut asked = self.inner.asked.lock().await;
        loop {
            {
                let copy = self.inner.copy.lock();
                if let Some((read, keys)) = &copy.keys
                    && *read >= wanted
                {
                    return Ok(keys.clone());
                }
            }
            if let Some(last) = *asked {
                tokio::time::sleep_until((last + PAUSE).into()).await;
            }
            let begin = Instant::now();
            *asked = Some(begin);
            let revocations = self.inner.copy.lock().revocations;
            let entries = self.list().await.map_err(|_| TokenError::Unverified)?;
            let keys = entries.into_iter().map(|entry| (entry.id, entry)).collect();
            let mut copy = self.inner.copy.lock();
            // A revocation that arrived meanwhile may be later than what was read.
            if copy.revocations == revocations {
                copy.keys = Some((begin, Arc::new(keys)));
            }
        }
    }
}

// === impl OperatorNote ===

impl OperatorNote {
    /// Creates the note of a new change. `target`: node, session, user or key that it concerns.
    #[must_use]
    pub fn new(who: &str, act: &'static str, target: &str) -> OperatorNote {
        OperatorNote {
            nonce: rand::random(),
            who: who.into(),
            act,
            target: target.into(),
        }
    }

    fn with(&self, outcome: &str) -> LoginOp {
        LoginOp::AuditOperator {
            nonce: self.nonce,
            who: self.who.clone(),
            act: self.act.into(),
            target: self.target.clone(),
            outcome: outcome.into(),
        }
    }
}

/// Returns the id in the text of a key; `None` for a text that is none.
fn id_of(text: &str) -> Option<ApiKeyId> {
    // The length goes first, so that oversized input is not hashed.
    if text.len() != KEY_BYTES {
        return None;
    }
    let (id, _) = text.strip_prefix(PREFIX)?.split_once('_')?;
    ApiKeyId::parse(id)
}

/// Returns the hash of a key, the only form of it that is stored.
fn hash(text: &str) -> SecretBytes {
    SecretBytes(Sha256::digest(text.as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_another_form_is_no_api_key() {
        let id = ApiKeyId([7; 10]);
        let secret = "a".repeat(52);
        assert_eq!(id_of(&format!("rook_{id}_{secret}")), Some(id));
        for text in [
            String::new(),
            "rook_".to_owned(),
            format!("dt_{id}_{secret}aa"),
            format!("rook_{id}_{secret}a"),
            format!("rook_{id}a{secret}"),
            format!("rook_{}_{secret}", id.to_string().to_ascii_uppercase()),
        ] {
            assert_eq!(id_of(&text), None, "{text}");
        }
    }
}
