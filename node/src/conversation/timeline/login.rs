//! What a login adds to the replicated state: how often codes are asked for, the codes themselves, lines of refresh
//! tokens, and the keys that sign access tokens. [`Login`] are the operations; `apply/login` decides them.
//!
//! No row holds an address, a code or a token: only hashes under the cluster's own key, which whoever proposes has
//! made. So apply compares and counts, and needs no key. Limits come with the operation, from the settings of the node
//! that was asked; the time is the log's, and what ends, ends by what the clocks of a majority have reached.
//!
//! The answer to a [`Login`] is an [`Applied`](super::Applied) with the verdict as `s`, see [`verdict`].

use std::fmt;

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::rows::Row;

/// 32 bytes that are never printed, and compared in a time that doesn't depend on them: a hash or a key.
#[derive(Clone, Eq, Serialize, Deserialize)]
pub struct Hidden(pub [u8; 32]);

/// What a login wants of a shard. The command's `conv` names what it concerns, and with it the shard: `keys`, `ip_…`,
/// `to_…` (an address) or a user.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Login {
    /// Makes the next signing key, if it is time for it, and forgets those that no token is signed with any more.
    TurnKeys {
        /// The seed of the key, should one be made.
        seed: Hidden,
        /// The key of all hashes, should there be none yet.
        pepper: Hidden,
        /// When, and for how long.
        pace: Pace,
    },
    /// Counts one more of what `conv` asks for.
    Count {
        /// Random: the same again is the same one.
        nonce: u64,
        /// How many are permitted.
        limit: Limit,
    },
    /// Keeps a code for the address `conv`, unless it has asked too often. The `cid` names the code.
    PutCode {
        /// The code's hash.
        code: Hidden,
        /// How long it can be used.
        valid_ms: u64,
        /// How many codes an address gets.
        limit: Limit,
    },
    /// Tries the code that the `cid` names.
    TryCode {
        /// The hash of what was entered.
        code: Hidden,
        /// Random: the same again is the same try.
        attempt: u64,
        /// How many may be wrong.
        tries: u32,
    },
    /// Opens a line of refresh tokens for the user `conv`. The `cid` names the line.
    OpenLine {
        /// The hash of its first token.
        token: Hidden,
        /// How long the token can be used.
        valid_ms: u64,
    },
    /// Puts the next token of a line in the place of the present one.
    TurnLine {
        /// The hash of the token that was shown.
        token: Hidden,
        /// The hash of the next.
        next: Hidden,
        /// How long the next can be used.
        valid_ms: u64,
        /// How long a token that was replaced still can, for an answer that was lost, and for two tabs.
        grace_ms: u64,
    },
    /// Ends the line that the `cid` names, or all lines of the user.
    EndLine {
        /// Whether all.
        all: bool,
    },
    /// Removes a number of rows that have expired.
    Sweep,
}

/// At most `most` within any `window_ms`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Limit {
    /// How many.
    pub most: u32,
    /// Within which time.
    pub window_ms: u64,
}

/// The pace of the signing keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pace {
    /// How long a key signs.
    pub period_ms: u64,
    /// How long a key is known before it signs: every node must have fetched it by then.
    pub overlap_ms: u64,
    /// How long a key is known after it has signed: no token of it lives longer.
    pub keep_ms: u64,
}

/// The secrets of the cluster, the same on every node. There are none until the first login is possible.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Keyring {
    /// The key of all hashes. It never changes: user ids are made with it.
    pub pepper: Hidden,
    /// The signing keys, ascending by `from_ms`.
    pub keys: Vec<SigningKey>,
}

/// A key that signs access tokens: Ed25519.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SigningKey {
    /// The private key.
    pub seed: Hidden,
    /// From when on it signs, in milliseconds since the epoch, until the next does.
    pub from_ms: u64,
}

/// What became of a [`Login`], as `s` of its answer.
pub mod verdict {
    /// Too often: `mn` says how many milliseconds to wait. Or: the code, the line or the token is not (or no longer)
    /// there, expired, or wrong, which are not told apart.
    pub const NO: u64 = 0;
    /// Done.
    pub const YES: u64 = 1;
    /// A token was shown that had been replaced: the line has been ended.
    pub const REUSED: u64 = 2;
}

/// How often something was asked for.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct CountRow {
    pub(super) expires_ms: u64,
    pub(super) asks: Vec<Ask>,
}

/// One time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Ask {
    pub(super) at_ms: u64,
    pub(super) nonce: u64,
}

/// A code.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct CodeRow {
    pub(super) expires_ms: u64,
    pub(super) code: Hidden,
    /// Wrong tries so far, and the last of them.
    pub(super) wrong: u32,
    pub(super) last: u64,
    /// The try that was right.
    pub(super) used_by: Option<u64>,
}

/// A line of refresh tokens.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct LineRow {
    /// When the last of its tokens expires.
    pub(super) expires_ms: u64,
    pub(super) opened_ms: u64,
    /// The tokens that can be used, oldest first, each with the time at which it expires.
    pub(super) tokens: Vec<(Hidden, u64)>,
    /// Those that were replaced lately, oldest first, each with the time at which it was.
    pub(super) replaced: Vec<(Hidden, u64)>,
}

impl Row for Keyring {}
impl Row for CountRow {}
impl Row for CodeRow {}
impl Row for LineRow {}

// === impl Hidden ===

impl PartialEq for Hidden {
    fn eq(&self, other: &Hidden) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

// === impl Keyring ===

impl Keyring {
    /// Does what is due at `now_ms`: makes the next key from `seed`, forgets the oldest. Returns whether anything was.
    pub fn turn(&mut self, now_ms: u64, pace: Pace, seed: &Hidden) -> bool {
        let before = self.keys.len();
        // Each is followed by the one that took its place.
        let over = self
            .keys
            .iter()
            .skip(1)
            .take_while(|next| next.from_ms.saturating_add(pace.keep_ms) <= now_ms)
            .count();
        self.keys.drain(..over);
        let known_ms = now_ms.saturating_add(pace.overlap_ms);
        // A period shorter than that would make keys faster than they come into use.
        let period_ms = pace.period_ms.max(pace.overlap_ms.saturating_mul(2)).max(1);
        let last = self.keys.last().map(|key| key.from_ms);
        let next_ms = match last {
            // Nothing is signed yet, so nobody has to know it beforehand.
            None => Some(now_ms),
            Some(last) => {
                let due = last.saturating_add(period_ms);
                (due <= known_ms).then_some(due.max(known_ms))
            }
        };
        if let Some(from_ms) = next_ms {
            let seed = seed.clone();
            self.keys.push(SigningKey { seed, from_ms });
        }
        over > 0 || self.keys.len() > before - over
    }

    /// The key that signs at `now_ms`.
    #[must_use]
    pub fn signing(&self, now_ms: u64) -> Option<usize> {
        let in_use = self.keys.iter().rposition(|key| key.from_ms <= now_ms);
        // A clock that lags behind the log still signs.
        in_use.or((!self.keys.is_empty()).then_some(0))
    }
}
