//! [`Digest`]: running digest of the effects of all applied entries.
//!
//! Replicas that have applied the same entries must have the same rows. Comparing rows means reading all of them, at
//! one index. The digest is stored with the applied position, so two numbers can be compared instead, at any index,
//! across restarts and snapshots. It reveals a state machine that is not deterministic, a build that applies an entry
//! differently, and a replica that started from different rows.

use std::fmt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use crate::raft::LogId;

/// Digest of every entry from the first to the last applied one: its log id and the rows that it wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Digest(u128);

/// Applied position of a replica and the digest at that position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReplicaDigest {
    pub(crate) applied: u64,
    pub(crate) digest: Digest,
}

// === impl Digest ===

impl Digest {
    /// Returns the digest after one more entry with the given digest of its effect. The computation is frozen: replicas
    /// of different builds compare their digests.
    #[must_use]
    pub(crate) fn after(self, entry: &LogId, effect: u128) -> Digest {
        // Fixed width and byte order: the input must not depend on the platform or the build.
        let mut bytes = [0; 48];
        bytes[..16].copy_from_slice(&self.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&entry.leader_id.term.to_le_bytes());
        bytes[24..32].copy_from_slice(&entry.index.to_le_bytes());
        bytes[32..].copy_from_slice(&effect.to_le_bytes());
        Digest(xxh3_128(&bytes))
    }

    /// Returns the digest as a number, for an archive.
    pub(crate) fn to_number(self) -> u128 {
        self.0
    }

    /// Returns the digest of an archive.
    pub(crate) fn from_number(number: u128) -> Digest {
        Digest(number)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use openraft::LogId as RaftLogId;
    use openraft::vote::leader_id_std::CommittedLeaderId;
    use proptest::prelude::*;

    use super::*;

    type DigestStep = (u64, u64, u128);

    fn chain(steps: &[DigestStep]) -> Digest {
        steps
            .iter()
            .fold(Digest::default(), |digest, &(term, index, effect)| {
                let leader_id = CommittedLeaderId::new(term);
                digest.after(&RaftLogId { leader_id, index }, effect)
            })
    }

    #[test]
    fn golden_digest_of_two_entries() {
        let digest = chain(&[(1, 0, 0), (3, 1, 7)]);
        assert_eq!(digest.to_string(), "6db253716efcbcc7612090aec4e547ea");
    }

    fn steps() -> impl Strategy<Value = Vec<DigestStep>> {
        prop::collection::vec((0_u64..3, 0_u64..3, 0_u128..3), 0..6)
    }

    proptest! {
        #[test]
        fn digests_are_equal_exactly_if_every_entry_and_its_effect_are(left in steps(), right in steps()) {
            prop_assert_eq!(chain(&left) == chain(&right), left == right);
        }
    }
}
