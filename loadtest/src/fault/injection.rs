//! Nodes and links that a fault affects, and the signals that begin and heal it.

use std::time::Duration;

use protocol::ConversationId;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};

use crate::cluster::{self, LocalProcesses, ProcessSignal};
use crate::network_proxy::Direction;
use crate::spec::{Fault, FaultKind, FaultTarget};

/// Longest time for a drained node to end.
pub(super) const DRAIN: Duration = Duration::from_secs(20);

// === impl Fault: injection ===

impl Fault {
    /// Chooses the affected nodes, in the order of the actions. `conversation` identifies the shard owner.
    pub(crate) async fn targets(
        &self,
        local: &LocalProcesses,
        conversation: Option<&ConversationId>,
        rng: &mut StdRng,
    ) -> Vec<u64> {
        let mut ids: Vec<u64> = local.nodes().iter().map(|node| node.id).collect();
        let mut others = |owner: Option<u64>| -> Vec<u64> {
            let others: Vec<u64> = ids.iter().copied().filter(|id| Some(*id) != owner).collect();
            others.choose(rng).copied().into_iter().collect()
        };
        match self.target {
            FaultTarget::All => ids,
            FaultTarget::Any => others(None),
            FaultTarget::Minority => {
                ids.shuffle(rng);
                // At least one node, even in a cluster of two, which has no minority.
                ids.truncate(((ids.len() - 1) / 2).max(1));
                ids
            }
            FaultTarget::Majority => {
                ids.shuffle(rng);
                ids.truncate(ids.len() / 2 + 1);
                ids
            }
            FaultTarget::Node(id) => ids.into_iter().filter(|node| *node == id).collect(),
            FaultTarget::Pair(a, b) => [a, b].into_iter().filter(|id| ids.contains(id)).collect(),
            FaultTarget::Owner => local.owner(conversation).await.into_iter().collect(),
            FaultTarget::Follower => others(local.owner(conversation).await),
            FaultTarget::Bridge => {
                let owner = local.owner(conversation).await;
                owner.into_iter().chain(others(owner)).collect()
            }
        }
    }

    /// Sends the fault's signal to the nodes.
    pub(crate) fn begin(&self, local: &LocalProcesses, nodes: &[u64]) -> Result<(), cluster::Error> {
        let hit = match self.how {
            FaultKind::Stop => ProcessSignal::Stop,
            FaultKind::Drain => ProcessSignal::Drain,
            _ => ProcessSignal::Kill,
        };
        nodes.iter().try_for_each(|node| local.hit(*node, hit))
    }

    /// Reverts [`begin`](Fault::begin), and returns once the nodes are ready. A node that does not end by itself is
    /// killed, restarted and reported as an error.
    pub(crate) async fn heal(&self, local: &LocalProcesses, nodes: &[u64]) -> Result<(), cluster::Error> {
        let mut lingers = Ok(());
        for node in nodes {
            if self.how == FaultKind::Drain {
                // The error is kept for the end: the remaining nodes have to be healed first.
                lingers = local.ended(*node, DRAIN).await.and(lingers);
            }
            match self.how {
                FaultKind::Stop => local.hit(*node, ProcessSignal::Continue)?,
                _ => local.restart(*node).await?,
            }
        }
        // Waits only after all restarts: one node alone of several may need the others to become ready.
        for node in nodes {
            local.ready(*node).await?;
        }
        lingers
    }
}

// === impl FaultKind: links ===

impl FaultKind {
    /// Returns the affected directions between `nodes` and the other nodes of `all`. With `pair`, `nodes` are the two
    /// ends of one link.
    pub(crate) fn ways(self, pair: bool, nodes: &[u64], all: &[u64]) -> Vec<Direction> {
        let others = |node: &u64| -> Vec<u64> {
            // A group keeps its internal links, except when all nodes are affected: then each is isolated.
            let group = |other: &u64| nodes.contains(other) && nodes.len() < all.len();
            all.iter()
                .filter(|other| *other != node && !group(other))
                .copied()
                .collect()
        };
        let speak: Vec<Direction> = match (pair, nodes) {
            (true, &[a, b]) => vec![(a, b)],
            _ => nodes
                .iter()
                .flat_map(|node| others(node).into_iter().map(|other| (*node, other)))
                .collect(),
        };
        let inbound = speak.iter().map(|(a, b)| (*b, *a));
        match self {
            FaultKind::Mute => speak,
            FaultKind::Deaf => inbound.collect(),
            _ => {
                let mut both: Vec<Direction> = inbound.chain(speak.iter().copied()).collect();
                both.sort_unstable();
                both.dedup();
                both
            }
        }
    }
}
