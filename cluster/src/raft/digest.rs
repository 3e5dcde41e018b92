//! [`Digest`]: what apply did, as a number, entry after entry.
//!
//! Replicas that have applied the same entries must have the same rows. Comparing rows means reading all of them, at one
//! index; a digest that is carried along and stored with the position makes it a comparison of two numbers, at any index,
//! over restarts and snapshots. It tells a machine that is not deterministic, a build that applies an entry in another way,
//! and a replica that began from other rows.

use std::fmt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use crate::raft::LogId;

/// Covers every entry from the first to the one applied last: its place in the log, and the rows that it wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Digest(u128);

/// A replica's position and the digest that belongs to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) applied: u64,
    pub(crate) digest: Digest,
}

// === impl Digest ===

impl Digest {
    /// The digest after one entry more; `effect` is of what it did. Frozen: replicas of different builds compare theirs.
    #[must_use]
    pub(crate) fn after(self, entry: &LogId, effect: u128) -> Digest {
        let mut bytes = [0; 48];
        bytes[..16].copy_from_slice(&self.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&entry.leader_id.term.to_le_bytes());
        bytes[24..32].copy_from_slice(&entry.index.to_le_bytes());
        bytes[32..].copy_from_slice(&effect.to_le_bytes());
        Digest(xxh3_128(&bytes))
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

    type Step = (u64, u64, u128);

    fn chain(steps: &[Step]) -> Digest {
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

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        prop::collection::vec((0_u64..3, 0_u64..3, 0_u128..3), 0..6)
    }

    proptest! {
        #[test]
        fn digests_are_equal_exactly_if_every_entry_and_its_effect_are(left in steps(), right in steps()) {
            prop_assert_eq!(chain(&left) == chain(&right), left == right);
        }
    }
}
