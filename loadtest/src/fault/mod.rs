//! Faults: the action, the affected nodes, the start time and the duration.
//!
//! Each fault reports its effect together with the evidence for it, so that a run whose fault had no effect is
//! detected.

mod actions;
mod inject;
mod plan;
#[cfg(test)]
mod tests;
mod text;

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use serde::{Deserialize, Deserializer, Serialize};

pub(crate) use inject::Injector;
pub(crate) use plan::{FaultNeeds, FaultPlan, RandomFaults};
pub(crate) use text::parse_duration;

use crate::http;
use crate::local::{self, LocalProcesses, ProcessSignal};
use crate::network_proxy::Direction;

/// One planned fault, such as `kill-owner@20s`, `stop-any@5s+8s` or `cut-1:3@10s`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Fault {
    pub(crate) how: FaultKind,
    pub(crate) target: FaultTarget,
    /// Start, counted from the start of the load.
    pub(crate) at: Duration,
    /// Duration until the fault is healed.
    pub(crate) hold: Duration,
}

/// Kind of a fault.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, clap::ValueEnum)]
pub(crate) enum FaultKind {
    /// Kills the node with SIGKILL, then restarts it.
    Kill,
    /// Stops the node with SIGSTOP, then resumes it with SIGCONT: it keeps its connections and sends nothing.
    Stop,
    /// Drains the node with SIGTERM, then restarts it when it has ended.
    Drain,
    /// Drains and restarts the nodes in turn, each once the one before is ready.
    #[value(skip)]
    Roll,
    /// Kills the owner five times, each time the node that has taken over.
    #[value(skip)]
    Chase,
    /// Stops one node, kills a second one, and stops the third while the first resumes and the second restarts. The two
    /// that run then must not agree on less than was acknowledged.
    #[value(skip)]
    PauseKill,
    /// Drops all traffic between the nodes and the others, in both directions.
    Cut,
    /// Drops everything that the nodes send.
    #[value(skip)]
    Mute,
    /// Drops everything that is sent to the nodes.
    #[value(skip)]
    Deaf,
    /// Cuts links one after the other, and heals them in another order.
    #[value(skip)]
    Swizzle,
    /// Delays all traffic between the nodes and the others, by varying times.
    #[value(skip)]
    Delay,
    /// Loses packets, which are sent again.
    #[value(skip)]
    Loss,
    /// Resets the connections of a node repeatedly.
    #[value(skip)]
    Reset,
    /// Limits each connection to one megabit per second.
    #[value(skip)]
    Throttle,
    /// Replaces the node's data directory by an older copy.
    #[value(skip)]
    Rollback,
    /// Fills the node's disk.
    #[value(skip)]
    Full,
    /// Delays every fsync by some hundred milliseconds.
    #[value(skip)]
    Slow,
    /// Sets the node's wall clock one hour ahead, then right again.
    #[value(skip)]
    Clock,
    /// Sets the node's wall clock ten days ahead, then right again.
    #[value(skip)]
    ClockAhead,
    /// Sets the node's wall clock ten days behind, then right again.
    #[value(skip)]
    ClockBehind,
    /// Runs the node's wall clock too fast, by one second per minute, then sets it right again.
    #[value(skip)]
    ClockDrift,
    /// Stops the node for longer than its lease, and cuts it off before it resumes. Clients read from it all the time.
    #[value(skip)]
    PauseCut,
    /// Removes a member while its node is stopped, or cut off from the owner.
    #[value(skip)]
    Kick,
    /// Stops the nodes, and starts them with other addresses.
    #[value(skip)]
    Move,
}

/// Nodes that a fault affects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FaultTarget {
    /// The shard owner of the run's first conversation.
    Owner,
    /// A random node that is not that owner.
    Follower,
    /// A node that is drawn at random.
    Any,
    /// The largest minority, chosen at random.
    Minority,
    /// The smallest majority, chosen at random.
    Majority,
    All,
    Node(u64),
    /// The link between the owner and one other node.
    Bridge,
    /// The link between two nodes; for a directed fault, from the first to the second.
    Pair(u64, u64),
}

/// Record of one fault of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Injected {
    pub(crate) fault: String,
    pub(crate) nodes: Vec<u64>,
    /// Start in seconds of the run; `until_s` is the end.
    pub(crate) from_s: f64,
    pub(crate) until_s: f64,
    pub(crate) outcome: FaultOutcome,
    /// Reason for which the fault was skipped, or its error.
    pub(crate) problem: Option<String>,
    /// Observation that proves the effect of the fault.
    #[serde(default)]
    pub(crate) evidence: Option<String>,
}

/// Outcome of a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FaultOutcome {
    Installed,
    /// Not injected, without any effect.
    Skipped,
    /// Injected, but without visible effect, or a node did not recover.
    Indeterminate,
}

/// Part of the response to `GET /v1/cluster` that the harness reads.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ClusterView {
    #[serde(default)]
    pub(crate) shards: Vec<ShardView>,
}

/// One shard of a [`ClusterView`]; also the response to `GET /v1/cluster/owner`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ShardView {
    /// Number of the shard; `None` for the meta group.
    #[serde(deserialize_with = "number")]
    pub(crate) shard: Option<u16>,
    pub(crate) owner: Option<u64>,
    #[serde(default)]
    pub(crate) epoch: Option<u64>,
}

/// Longest time for a drained node to end.
const DRAIN: Duration = Duration::from_secs(20);

// === impl Fault ===

impl Fault {
    /// Chooses the affected nodes, in the order of the actions. `conversation` identifies the shard owner.
    pub(crate) async fn targets(
        &self,
        local: &LocalProcesses,
        conversation: &str,
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

    /// Returns `true` if the fault needs the network proxy between the nodes.
    pub(crate) fn cuts_links(&self) -> bool {
        self.how.is_of_links()
            || self.how == FaultKind::PauseCut
            || (self.how == FaultKind::Kick && self.target == FaultTarget::Bridge)
    }

    /// Sends the fault's signal to the nodes.
    pub(crate) fn begin(&self, local: &LocalProcesses, nodes: &[u64]) -> Result<(), local::Error> {
        let hit = match self.how {
            FaultKind::Stop => ProcessSignal::Stop,
            FaultKind::Drain => ProcessSignal::Drain,
            _ => ProcessSignal::Kill,
        };
        nodes.iter().try_for_each(|node| local.hit(*node, hit))
    }

    /// Reverts [`begin`](Fault::begin), and returns once the nodes are ready. A node that does not end by itself is
    /// killed, restarted and reported as an error.
    pub(crate) async fn heal(&self, local: &LocalProcesses, nodes: &[u64]) -> Result<(), local::Error> {
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

// === impl FaultKind ===

impl FaultKind {
    /// Returns `true` if the fault is applied to links by the network proxy.
    pub(crate) fn is_of_links(self) -> bool {
        use FaultKind::*;
        matches!(
            self,
            Cut | Mute | Deaf | Swizzle | Delay | Loss | Reset | Throttle
        )
    }

    /// Returns `true` if the fault sets wall clocks.
    pub(crate) fn is_of_clocks(self) -> bool {
        use FaultKind::*;
        matches!(self, Clock | ClockAhead | ClockBehind | ClockDrift)
    }

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

/// Requests the shard owner of a conversation from a node.
pub(crate) async fn owner(node: &str, conversation: &str) -> Option<ShardView> {
    let body = http::get(node, &format!("/v1/cluster/owner?conversation={conversation}"))
        .await
        .ok()?;
    serde_json::from_str(&body).ok()
}

/// Requests the whole ownership table from a node.
pub(crate) async fn cluster(node: &str) -> Option<ClusterView> {
    serde_json::from_str(&http::get(node, "/v1/cluster").await.ok()?).ok()
}

/// Deserializes a shard number that is written as a number or as text; other text, as of the meta group, is `None`.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum ShardRef {
        Number(u16),
        Text(String),
    }
    Ok(match ShardRef::deserialize(deserializer)? {
        ShardRef::Number(number) => Some(number),
        ShardRef::Text(text) => text.parse().ok(),
    })
}
