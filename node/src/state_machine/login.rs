//! Replicated login state: attempt counters, codes, token families and the keys that sign access tokens.
//! [`LoginOp`](super::LoginOp) holds the steps; `apply/login` decides them.
//!
//! No row holds an address, a code or a token, only hashes under the cluster's own key, computed by the proposing node.
//! So apply compares and counts without a key. Limits come with the step, from the settings of the proposing node. Time
//! is the log's, and expiry follows the majority's clocks.

use std::fmt;

use data_encoding::BASE32_NOPAD;
use protocol::{ClientMessageId, UserId};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::rows::VersionedRow;

/// 32 secret bytes (a hash or a key) that are never printed and are compared in constant time.
#[derive(Clone, Eq, Serialize, Deserialize)]
pub struct SecretBytes(pub [u8; 32]);

/// Hash of an IP address or a login identifier under the cluster's own key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LoginHash(pub [u8; 16]);

/// Subject of a login step. It determines the shard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LoginKey {
    /// Keys of the cluster.
    Keyring,
    /// IP address, or IPv6 network, that requests codes.
    Ip(LoginHash),
    /// Login identifier that codes are sent to.
    Identifier(LoginHash),
    /// User with token families.
    User(UserId),
}

/// Maximum number of device tokens per user.
pub(super) const DEVICE_TOKENS: usize = 64;

/// Id of a login code.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LoginCodeId(pub [u8; 16]);

/// Id of a token family, or of a device token, which counts as a login of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct TokenFamilyId(pub [u8; 16]);

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

/// Outcome of a login step.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum LoginOutcome {
    /// The step took effect, now or at an earlier application.
    Accepted,
    /// The code, the family or the token is missing, expired or wrong; these cases are not distinguished. For the
    /// keyring: no rotation is due.
    Refused,
    /// There were too many attempts within the window.
    Limited {
        /// Time until the next attempt is permitted, in milliseconds.
        wait_ms: u64,
    },
    /// A replaced token was presented, so its family was ended.
    Reused(TokenFamilyId),
    /// Token families and device tokens ended, including those that did not exist any more.
    Ended {
        families: Vec<TokenFamilyId>,
        /// True if all families of the user ended.
        all: bool,
    },
    /// A replaced token was presented, so its family was ended with the device tokens that it created.
    ReusedWithDevices {
        /// The family first, then the device tokens.
        families: Vec<TokenFamilyId>,
    },
    /// An API key is revoked, so every node has to read the keys again.
    ApiKeyRevoked,
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

/// Token of a device of a user.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct DeviceTokenRow {
    pub(super) expires_ms: u64,
    pub(super) created_ms: u64,
    /// SHA-256 hash of the token.
    pub(super) token: SecretBytes,
    pub(super) device: Box<str>,
    pub(super) name: Option<Box<str>>,
    /// Login whose end revokes the token; `None` for a user of another issuer.
    pub(super) login: Option<TokenFamilyId>,
}

impl VersionedRow for Keyring {}
impl VersionedRow for AttemptCounterRow {}
impl VersionedRow for CodeRow {}
impl VersionedRow for TokenFamilyRow {}
impl VersionedRow for DeviceTokenRow {}

// === impl LoginKey, TokenFamilyId ===

impl LoginKey {
    /// Returns the bytes of the key, on disk and between nodes: the number of its kind and the id. A user's are its id
    /// alone in the routing, see [`LoginKey::routing`].
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            LoginKey::Keyring => vec![0],
            LoginKey::Ip(hash) => [&[1], &hash.0[..]].concat(),
            LoginKey::Identifier(hash) => [&[2], &hash.0[..]].concat(),
            LoginKey::User(user) => [&[3], user.as_str().as_bytes()].concat(),
        }
    }

    /// Returns the bytes that determine the shard. A user's token families are in the shard of the user's other rows.
    #[must_use]
    pub fn routing(&self) -> Vec<u8> {
        match self {
            LoginKey::User(user) => user.as_str().as_bytes().to_vec(),
            LoginKey::Keyring | LoginKey::Ip(_) | LoginKey::Identifier(_) => self.bytes(),
        }
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<LoginKey> {
        let hash = |bytes: &[u8]| Some(LoginHash(bytes.try_into().ok()?));
        match bytes {
            [0] => Some(LoginKey::Keyring),
            [1, id @ ..] => hash(id).map(LoginKey::Ip),
            [2, id @ ..] => hash(id).map(LoginKey::Identifier),
            [3, id @ ..] => UserId::parse(std::str::from_utf8(id).ok()?)
                .ok()
                .map(LoginKey::User),
            _ => None,
        }
    }
}

impl TokenFamilyId {
    /// Returns the login id in the claims of access tokens and in the sessions of the family.
    #[must_use]
    pub fn login(&self) -> ClientMessageId {
        let text = BASE32_NOPAD.encode(&self.0).to_ascii_lowercase();
        ClientMessageId::parse(&text).expect("base32 is a well-formed id")
    }

    /// Returns the id that [`TokenFamilyId::login`] gave this text; `None` for any other text.
    #[must_use]
    pub fn parse(login: &str) -> Option<TokenFamilyId> {
        let id = BASE32_NOPAD.decode(login.to_ascii_uppercase().as_bytes()).ok()?;
        // Upper case would give one login several texts.
        let id = TokenFamilyId(id.try_into().ok()?);
        (id.login().as_str() == login).then_some(id)
    }
}

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
