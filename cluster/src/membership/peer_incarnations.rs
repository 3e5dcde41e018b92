//! Newest known state of the other members' disks. Detects a disk that went back in time, such as a restored older copy
//! or a reset virtual machine. Such a member has lost votes that it gave and entries that it confirmed, and an election
//! could be won without them.
//!
//! ```text
//!   a disk counts its synced commit groups     each member sends the others its count, once a second
//!   incarnation = 0 | groups at the start, 47 bits | random, 16 bits     (of a disk that isn't synced: 1 | random)
//! ```
//! Every handshake contains the incarnation. A member that has received a higher count than the process started with
//! refuses every connection, in both directions. Neither a vote nor a confirmation of that process therefore counts.
//! The refused process poisons its store. The known counts are saved every ten seconds, so they survive restarts except
//! for the last seconds.
//!
//! Not detected: a disk that went back by less than one announcement interval (about a second), and one whose peers
//! have all lost their records. See `docs/decisions/0009-a-disk-that-went-back.md`.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::ids::NodeId;

/// Highest known commit group count and last admitted incarnation of each other member.
pub(crate) struct PeerIncarnations {
    known: Mutex<KnownIncarnations>,
    /// Accepts every member, and lowers the recorded count to that of its incarnation.
    trust: bool,
}

#[derive(Default)]
struct KnownIncarnations {
    disks: BTreeMap<NodeId, PeerDisk>,
    /// The records differ from those saved last.
    changed: bool,
}

/// Record of one disk. The incarnation is saved with the count: a process that keeps running while this member restarts
/// has long synced more groups than it started with.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct PeerDisk {
    /// Incarnation that was admitted last.
    incarnation: u64,
    /// Highest number of synced commit groups received.
    rounds: u64,
}

/// Number of random bits in an incarnation.
const RANDOM: u32 = 16;
/// Flag of an incarnation without a count: the other bits are random.
const SAYS_NOTHING: u64 = 1 << 63;

// === impl PeerIncarnations ===

impl PeerIncarnations {
    /// Restores the records from the result of [`unsaved`](PeerIncarnations::unsaved); empty if there is none.
    pub(crate) fn load(saved: Option<&[u8]>, trust: bool) -> Result<PeerIncarnations, Error> {
        let disks = saved
            .map(postcard::from_bytes)
            .transpose()
            .map_err(|e| Error::Corrupt {
                what: "peer disk incarnations",
                reason: e.to_string(),
            })?
            .unwrap_or_default();
        let known = Mutex::new(KnownIncarnations {
            disks,
            changed: false,
        });
        Ok(PeerIncarnations { known, trust })
    }

    /// Returns true if a process may act for the member: it is the one admitted last, or it started with at least the
    /// recorded count.
    pub(crate) fn admits(&self, node: NodeId, incarnation: u64) -> bool {
        let known = &mut *self.known.lock();
        let disk = known.disks.entry(node).or_default();
        if let Some(rounds) = rounds_of(incarnation).filter(|rounds| self.trust && *rounds < disk.rounds) {
            disk.rounds = rounds;
            known.changed = true;
        }
        // Without a count the disk promises nothing, so there is nothing to verify.
        let knows = rounds_of(incarnation).is_none_or(|rounds| rounds >= disk.rounds);
        if incarnation != disk.incarnation && knows {
            // The newer process replaces the older one, which is refused from now on.
            disk.incarnation = incarnation;
        }
        incarnation == disk.incarnation
    }

    /// Records the number of commit groups that a member's disk has synced.
    pub(crate) fn record(&self, node: NodeId, rounds: u64) {
        let known = &mut *self.known.lock();
        let disk = known.disks.entry(node).or_default();
        // Only a higher count is recorded: announcements of two connections may overtake each other.
        if disk.rounds < rounds {
            disk.rounds = rounds;
            known.changed = true;
        }
    }

    /// Returns the records to save if they have changed since the last call. Drops those of former members, whose ids
    /// are never assigned again.
    pub(crate) fn unsaved(&self, members: impl Fn(NodeId) -> bool) -> Option<Vec<u8>> {
        let known = &mut *self.known.lock();
        if !std::mem::take(&mut known.changed) {
            return None;
        }
        known.disks.retain(|node, _| members(*node));
        postcard::to_stdvec(&known.disks).ok()
    }
}

/// Returns the incarnation of a process whose disk had synced `rounds` commit groups at its start; `None` for a disk
/// that is not synced.
pub(crate) fn incarnation(rounds: Option<u64>, random: u64) -> u64 {
    match rounds {
        Some(rounds) => (rounds << RANDOM) & !SAYS_NOTHING | random & ((1 << RANDOM) - 1),
        None => random | SAYS_NOTHING,
    }
}

fn rounds_of(incarnation: u64) -> Option<u64> {
    (incarnation & SAYS_NOTHING == 0).then_some(incarnation >> RANDOM)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: NodeId = NodeId(2);

    #[test]
    fn the_layout_of_an_incarnation_is_frozen() {
        assert_eq!(incarnation(Some(0x0102), 0xffff_abcd), 0x0102_abcd);
        assert_eq!(incarnation(None, 5), 1 << 63 | 5);
        assert_eq!(rounds_of(0x0102_abcd), Some(0x0102));
        assert_eq!(rounds_of(incarnation(None, 5)), None);
    }

    #[test]
    fn a_disk_that_has_forgotten_rounds_is_not_admitted() {
        let disks = PeerIncarnations::load(None, false).unwrap();
        let first = incarnation(Some(10), 1);
        assert!(disks.admits(PEER, first));
        disks.record(PEER, 50);
        assert!(disks.admits(PEER, first), "the process itself, on another link");
        assert!(!disks.admits(PEER, incarnation(Some(49), 2)));
        assert!(!disks.admits(PEER, incarnation(Some(10), 2)));
        assert!(disks.admits(PEER, incarnation(Some(50), 3)));
        assert!(!disks.admits(PEER, first), "a newer process has taken its place");
    }

    #[test]
    fn peer_incarnations_outlive_a_restart() {
        let disks = PeerIncarnations::load(None, false).unwrap();
        assert!(disks.unsaved(|_| true).is_none(), "nothing was heard");
        disks.record(PEER, 50);
        disks.record(NodeId(3), 7);
        let saved = disks.unsaved(|node| node == PEER).unwrap();
        assert!(disks.unsaved(|_| true).is_none(), "written down already");
        let disks = PeerIncarnations::load(Some(&saved), false).unwrap();
        assert!(!disks.admits(PEER, incarnation(Some(49), 1)));
        assert!(disks.admits(PEER, incarnation(Some(51), 1)));
        assert!(
            disks.admits(NodeId(3), incarnation(Some(0), 1)),
            "forgotten by all"
        );
    }

    #[test]
    fn running_process_is_admitted_after_a_restart_of_this_node() {
        let disks = PeerIncarnations::load(None, false).unwrap();
        let process = incarnation(Some(10), 1);
        assert!(disks.admits(PEER, process));
        disks.record(PEER, 50);
        let saved = disks.unsaved(|_| true).unwrap();
        let disks = PeerIncarnations::load(Some(&saved), false).unwrap();
        assert!(disks.admits(PEER, process));
        assert!(
            !disks.admits(PEER, incarnation(Some(10), 2)),
            "another one of that age"
        );
    }

    #[test]
    fn the_memory_of_the_other_disks_is_frozen() {
        let disks = PeerIncarnations::load(None, false).unwrap();
        assert!(disks.admits(PEER, incarnation(Some(1), 2)));
        disks.record(PEER, 5);
        assert_eq!(disks.unsaved(|_| true).unwrap(), [1, 2, 0x82, 0x80, 4, 5]);
    }

    #[test]
    fn older_disks_are_believed_for_ever_once_that_was_asked_for() {
        let disks = PeerIncarnations::load(None, false).unwrap();
        disks.record(PEER, 50);
        let saved = disks.unsaved(|_| true).unwrap();
        let trusting = PeerIncarnations::load(Some(&saved), true).unwrap();
        assert!(trusting.admits(PEER, incarnation(Some(10), 1)));
        let saved = trusting.unsaved(|_| true).unwrap();
        let disks = PeerIncarnations::load(Some(&saved), false).unwrap();
        assert!(disks.admits(PEER, incarnation(Some(11), 1)));
        assert!(!disks.admits(PEER, incarnation(Some(9), 1)));
    }

    #[test]
    fn a_disk_that_is_not_synced_promises_nothing_and_is_admitted() {
        let disks = PeerIncarnations::load(None, false).unwrap();
        disks.record(PEER, 50);
        assert!(disks.admits(PEER, incarnation(None, 1)));
        assert!(disks.admits(PEER, incarnation(None, 2)));
    }
}
