//! Reports about the other members' clocks, and the time that a majority of them has reached.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::estimate::{ClockReport, reached};
use crate::clock::millis;
use crate::ids::NodeId;

/// Maximum age of a report. Short, so that a corrected clock counts soon; longer than several exchanges, since one may
/// be lost.
const VALIDITY: Duration = Duration::from_secs(10);

/// Reports about the other members' clocks.
#[derive(Default)]
pub(super) struct PeerClocks {
    pub(super) me: NodeId,
    /// All members, this one included. Empty: the node belongs to no cluster yet.
    pub(super) members: Vec<NodeId>,
    pub(super) reports: BTreeMap<NodeId, ClockReport>,
    /// This clock was found to be too far off, and is not close enough again.
    pub(super) outside: bool,
}

// === impl PeerClocks ===

impl PeerClocks {
    pub(super) fn of_members(&self, own: u64, now: Instant) -> Option<u64> {
        // A node that is joining or bootstrapping has no other clock.
        if self.members.is_empty() {
            return Some(own);
        }
        self.of(&self.members, own, now)
    }

    pub(super) fn of(&self, nodes: &[NodeId], own: u64, now: Instant) -> Option<u64> {
        // Members without a valid report count in the total, as clocks that have not reached any time.
        let known = nodes.iter().filter_map(|node| self.clock_of(*node, own, now));
        reached(known.collect(), nodes.len())
    }

    pub(super) fn clock_of(&self, node: NodeId, own: u64, now: Instant) -> Option<u64> {
        if node == self.me {
            return Some(own);
        }
        let report = self.reports.get(&node)?;
        (report.age(now) <= VALIDITY).then(|| report.at(now))
    }

    pub(super) fn error_ms(&self, now: Instant) -> u64 {
        let valid = self.reports.values().filter(|report| report.age(now) <= VALIDITY);
        valid.map(|report| millis(report.error())).max().unwrap_or(0)
    }
}
