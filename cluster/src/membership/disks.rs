//! What is known of the others' disks, so that one that went back in time is noticed: an older copy that was put back, a
//! virtual machine that was reset. Such a member has forgotten votes it gave and entries it confirmed, and the next
//! election could be won without them.
//!
//! ```text
//!   a disk counts its synced rounds     every member tells the others, once a second, how many it has
//!   incarnation = 0 | rounds at the start, 47 bits | random, 16 bits     (of a disk that isn't synced: 1 | random)
//! ```
//! Every handshake shows the incarnation. Whoever has heard of more rounds than the process started with refuses the
//! link, on every lane and in both directions, so that neither a vote nor a confirmation of it counts; and the process
//! that is refused for that gives up. What the others know outlives their own restarts but for the last seconds.
//!
//! Not noticed is a disk that went back by less than the last news of it, at most a second or so, and one whose peers
//! have all forgotten it.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::types::NodeId;

/// What a member has heard of the others' disks.
pub(crate) struct Disks {
    known: Mutex<Known>,
    /// Believe everybody, and forget what was heard to the contrary.
    trust: bool,
}

#[derive(Default)]
struct Known {
    disks: BTreeMap<NodeId, Disk>,
    /// Something changed since it was last written down.
    changed: bool,
}

/// Written down whole: a process that goes on while this member restarts has long synced more than it started with.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Disk {
    /// The process that was admitted last.
    incarnation: u64,
    /// The most synced rounds that were heard of.
    rounds: u64,
}

/// Random bits of an incarnation.
const RANDOM: u32 = 16;
/// Set: the rest is random.
const SAYS_NOTHING: u64 = 1 << 63;

// === impl Disks ===

impl Disks {
    /// Goes on with what [`unsaved`](Disks::unsaved) gave, if anything.
    pub(crate) fn load(saved: Option<&[u8]>, trust: bool) -> Result<Disks, Error> {
        let disks = saved
            .map(postcard::from_bytes)
            .transpose()
            .map_err(|e| Error::Corrupt {
                what: "memory of the other disks",
                reason: e.to_string(),
            })?
            .unwrap_or_default();
        let known = Mutex::new(Known {
            disks,
            changed: false,
        });
        Ok(Disks { known, trust })
    }

    /// Whether a process may speak for the member: it is the one that did so before, or knows all that was heard.
    pub(crate) fn admits(&self, node: NodeId, incarnation: u64) -> bool {
        let known = &mut *self.known.lock();
        let disk = known.disks.entry(node).or_default();
        if let Some(rounds) = rounds_of(incarnation).filter(|rounds| self.trust && *rounds < disk.rounds) {
            disk.rounds = rounds;
            known.changed = true;
        }
        let knows = rounds_of(incarnation).is_none_or(|rounds| rounds >= disk.rounds);
        if incarnation != disk.incarnation && knows {
            disk.incarnation = incarnation;
        }
        incarnation == disk.incarnation
    }

    /// A member tells how many rounds its disk has synced.
    pub(crate) fn heard(&self, node: NodeId, rounds: u64) {
        let known = &mut *self.known.lock();
        let disk = known.disks.entry(node).or_default();
        if disk.rounds < rounds {
            disk.rounds = rounds;
            known.changed = true;
        }
    }

    /// What is to be written down, if it has changed; only of `members`, since ids are never used again.
    pub(crate) fn unsaved(&self, members: impl Fn(NodeId) -> bool) -> Option<Vec<u8>> {
        let known = &mut *self.known.lock();
        if !std::mem::take(&mut known.changed) {
            return None;
        }
        known.disks.retain(|node, _| members(*node));
        postcard::to_stdvec(&known.disks).ok()
    }
}

/// The incarnation of a process whose disk had synced so many rounds when it started.
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
        let disks = Disks::load(None, false).unwrap();
        let first = incarnation(Some(10), 1);
        assert!(disks.admits(PEER, first));
        disks.heard(PEER, 50);
        assert!(disks.admits(PEER, first), "the process itself, on another link");
        assert!(!disks.admits(PEER, incarnation(Some(49), 2)));
        assert!(!disks.admits(PEER, incarnation(Some(10), 2)));
        assert!(disks.admits(PEER, incarnation(Some(50), 3)));
        assert!(!disks.admits(PEER, first), "a newer process has taken its place");
    }

    #[test]
    fn what_was_heard_outlives_a_restart_and_nothing_else_is_refused() {
        let disks = Disks::load(None, false).unwrap();
        assert!(disks.unsaved(|_| true).is_none(), "nothing was heard");
        disks.heard(PEER, 50);
        disks.heard(NodeId(3), 7);
        let saved = disks.unsaved(|node| node == PEER).unwrap();
        assert!(disks.unsaved(|_| true).is_none(), "written down already");
        let disks = Disks::load(Some(&saved), false).unwrap();
        assert!(!disks.admits(PEER, incarnation(Some(49), 1)));
        assert!(disks.admits(PEER, incarnation(Some(51), 1)));
        assert!(
            disks.admits(NodeId(3), incarnation(Some(0), 1)),
            "forgotten by all"
        );
    }

    #[test]
    fn a_process_that_goes_on_while_this_one_restarts_is_still_admitted() {
        let disks = Disks::load(None, false).unwrap();
        let process = incarnation(Some(10), 1);
        assert!(disks.admits(PEER, process));
        disks.heard(PEER, 50);
        let saved = disks.unsaved(|_| true).unwrap();
        let disks = Disks::load(Some(&saved), false).unwrap();
        assert!(disks.admits(PEER, process));
        assert!(
            !disks.admits(PEER, incarnation(Some(10), 2)),
            "another one of that age"
        );
    }

    #[test]
    fn the_memory_of_the_other_disks_is_frozen() {
        let disks = Disks::load(None, false).unwrap();
        assert!(disks.admits(PEER, incarnation(Some(1), 2)));
        disks.heard(PEER, 5);
        assert_eq!(disks.unsaved(|_| true).unwrap(), [1, 2, 0x82, 0x80, 4, 5]);
    }

    #[test]
    fn older_disks_are_believed_for_ever_once_that_was_asked_for() {
        let disks = Disks::load(None, false).unwrap();
        disks.heard(PEER, 50);
        let saved = disks.unsaved(|_| true).unwrap();
        let trusting = Disks::load(Some(&saved), true).unwrap();
        assert!(trusting.admits(PEER, incarnation(Some(10), 1)));
        let saved = trusting.unsaved(|_| true).unwrap();
        let disks = Disks::load(Some(&saved), false).unwrap();
        assert!(disks.admits(PEER, incarnation(Some(11), 1)));
        assert!(!disks.admits(PEER, incarnation(Some(9), 1)));
    }

    #[test]
    fn a_disk_that_is_not_synced_promises_nothing_and_is_admitted() {
        let disks = Disks::load(None, false).unwrap();
        disks.heard(PEER, 50);
        assert!(disks.admits(PEER, incarnation(None, 1)));
        assert!(disks.admits(PEER, incarnation(None, 2)));
    }
}
