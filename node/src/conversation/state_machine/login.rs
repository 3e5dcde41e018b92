//! Replicated login state: attempt counters, codes, token families and the keys that sign access tokens.
//! [`LoginCommand`] holds the operations; `apply/login` decides them.
//!
//! No row holds an address, a code or a token, only hashes under the cluster's own key, computed by the proposing node.
//! So apply compares and counts without a key. Limits come with the operation, from the settings of the proposing node.
//! Time is the log's, and expiry follows the majority's clocks.
//!
//! The result of a [`LoginCommand`] is a [`CommandResult`](super::CommandResult) with the verdict as `s`, see
//! [`verdict`].

use std::fmt;

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::rows::VersionedRow;

/// 32 secret bytes (a hash or a key) that are never printed and are compared in constant time.
#[derive(Clone, Eq, Serialize, Deserialize)]
pub struct SecretBytes(pub [u8; 32]);

/// Login operations on a shard. The command's `conv` names the subject and thereby the shard: `keys`, `ip_…`, `to_…` (a
/// login identifier) or a user.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum LoginCommand {
    /// Creates the next signing key if due, and removes keys that no valid token was signed with.
    TurnKeys {
        /// Seed of the key, used only if one is created.
        seed: SecretBytes,
        /// Key of all hashes, used only if none exists yet.
        pepper: SecretBytes,
        pace: KeyRotationPolicy,
    },
    /// Counts one attempt by the subject in `conv`.
    Count {
        /// Random number; a retry with the same one is not counted again.
        nonce: u64,
        limit: AttemptLimit,
    },
    /// Stores a code for the login identifier in `conv`, unless it has requested too many. The `cid` names the code.
    PutCode {
        code: SecretBytes,
        /// Lifetime of the code in milliseconds.
        valid_ms: u64,
        /// Limit on codes per login identifier.
        limit: AttemptLimit,
    },
    /// Verifies the code named by the `cid`.
    TryCode {
        /// Hash of the entered code.
        code: SecretBytes,
        /// Random number; a retry with the same one is the same attempt.
        attempt: u64,
        /// Maximum number of wrong attempts.
        tries: u32,
    },
    /// Creates a token family for the user in `conv`. The `cid` names the family.
    OpenLine {
        /// Hash of its first token.
        token: SecretBytes,
        /// Lifetime of the token in milliseconds.
        valid_ms: u64,
    },
    /// Replaces the current token of a family by the next.
    TurnLine {
        /// Hash of the presented token.
        token: SecretBytes,
        /// Hash of the next token.
        next: SecretBytes,
        /// Lifetime of the next token in milliseconds.
        valid_ms: u64,
        /// Time in milliseconds for which a replaced token stays usable, for a lost response or a second tab.
        grace_ms: u64,
    },
    /// Ends the token family named by the `cid`, or all families of the user.
    EndLine {
        /// True to end all families.
        all: bool,
    },
    /// Removes a bounded number of expired rows.
    Sweep,
}

/// Limit of `most` attempts within any `window_ms`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AttemptLimit {
    pub most: u32,
    pub window_ms: u64,
}

/// Rotation policy of the signing keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeyRotationPolicy {
    /// Time for which a key signs.
    pub period_ms: u64,
    /// Time for which a key is published before it signs; every node must fetch it within.
    pub overlap_ms: u64,
    /// Time for which a key is published after it has signed; no token of it lives longer.
    pub keep_ms: u64,
}

/// Secrets of the cluster, the same on every node. They exist from the first possible login on.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Keyring {
    /// Key of all hashes. It never changes, because user ids are derived from it.
    pub pepper: SecretBytes,
    /// Signing keys, ascending by `from_ms`.
    pub keys: Vec<SigningKey>,
}

/// Ed25519 key that signs access tokens.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SigningKey {
    pub seed: SecretBytes,
    /// Start of use in milliseconds since the epoch; it ends with that of the next key.
    pub from_ms: u64,
}

/// Verdicts on a [`LoginCommand`], as `s` of its result.
pub mod verdict {
    /// Refused. Too many attempts: `mn` is the wait in milliseconds. Otherwise the code, the family or the token is
    /// missing, expired or wrong; these cases are not distinguished.
    pub const NO: u64 = 0;
    /// The operation took effect.
    pub const YES: u64 = 1;
    /// A replaced token was presented, so the family was ended.
    pub const REUSED: u64 = 2;
}

/// Attempts of one subject within the window.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct AttemptCounterRow {
    pub(super) expires_ms: u64,
    pub(super) asks: Vec<Attempt>,
}

/// Time and nonce of one attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Attempt {
    pub(super) at_ms: u64,
    pub(super) nonce: u64,
}

/// Login code with its attempts.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct CodeRow {
    pub(super) expires_ms: u64,
    pub(super) code: SecretBytes,
    /// Number of wrong attempts, and the nonce of the last one.
    pub(super) wrong: u32,
    pub(super) last: u64,
    /// Nonce of the successful attempt; `None` until the code is used.
    pub(super) used_by: Option<u64>,
}

/// Token family of one login.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct TokenFamilyRow {
    /// Expiry of the last of its tokens.
    pub(super) expires_ms: u64,
    pub(super) opened_ms: u64,
    /// Usable tokens with their expiry times, oldest first.
    pub(super) tokens: Vec<(SecretBytes, u64)>,
    /// Recently replaced tokens with the times of replacement, oldest first.
    pub(super) replaced: Vec<(SecretBytes, u64)>,
}

impl VersionedRow for Keyring {}
impl VersionedRow for AttemptCounterRow {}
impl VersionedRow for CodeRow {}
impl VersionedRow for TokenFamilyRow {}

// === impl SecretBytes ===

impl PartialEq for SecretBytes {
    fn eq(&self, other: &SecretBytes) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

// === impl Keyring ===

impl Keyring {
    /// Removes keys past their time and creates the next key from `seed` if due at `now_ms`. Returns true if anything
    /// changed.
    pub fn turn(&mut self, now_ms: u64, pace: KeyRotationPolicy, seed: &SecretBytes) -> bool {
        let before = self.keys.len();
        // The successor's start is the end of a key's use, so a key expires by the time of the next one.
        let over = self
            .keys
            .iter()
            .skip(1)
            .take_while(|next| next.from_ms.saturating_add(pace.keep_ms) <= now_ms)
            .count();
        self.keys.drain(..over);
        let known_ms = now_ms.saturating_add(pace.overlap_ms);
        // A shorter period would create keys faster than they come into use.
        let period_ms = pace.period_ms.max(pace.overlap_ms.saturating_mul(2)).max(1);
        let last = self.keys.last().map(|key| key.from_ms);
        let next_ms = match last {
            // Nothing is signed yet, so no node needs the first key in advance.
            None => Some(now_ms),
            Some(last) => {
                let due = last.saturating_add(period_ms);
                // After an outage `due` lies in the past; the overlap still has to pass before the key signs.
                (due <= known_ms).then_some(due.max(known_ms))
            }
        };
        if let Some(from_ms) = next_ms {
            let seed = seed.clone();
            self.keys.push(SigningKey { seed, from_ms });
        }
        over > 0 || self.keys.len() > before - over
    }

    /// Returns the index of the key that signs at `now_ms`; `None` without keys.
    #[must_use]
    pub fn signing(&self, now_ms: u64) -> Option<usize> {
        let in_use = self.keys.iter().rposition(|key| key.from_ms <= now_ms);
        // A clock behind the log's falls before the first key, and must still sign.
        in_use.or((!self.keys.is_empty()).then_some(0))
    }
}
