//! Faults: what is done to which node, when, and for how long. Each answers what it did and what showed that it
//! bit, so that a run whose fault did nothing is seen.

mod deeds;
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
pub(crate) use plan::{Needs, Plan, Random};
pub(crate) use text::parse_duration;

use crate::http;
use crate::links::Way;
use crate::local::{self, Hit, Local};

/// One planned fault: `kill-owner@20s`, `stop-any@5s+8s`, `cut-1:3@10s`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Fault {
    pub(crate) how: How,
    pub(crate) whom: Whom,
    /// After the load began.
    pub(crate) at: Duration,
    /// How long it lasts.
    pub(crate) hold: Duration,
}

/// What is done.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, clap::ValueEnum)]
pub(crate) enum How {
    /// kill -9, then a restart.
    Kill,
    /// SIGSTOP, then SIGCONT: a node that is there and says nothing.
    Stop,
    /// SIGTERM, then a restart when it has ended.
    Drain,
    /// Drains and restarts the nodes one after the other, each when the one before is ready.
    #[value(skip)]
    Roll,
    /// Kills the owner five times, each time the one that has taken over.
    #[value(skip)]
    Chase,
    /// One node is stopped, the second killed, the third stopped while the first wakes and the second starts: the two
    /// that are left must not agree on less than was acknowledged.
    #[value(skip)]
    PauseKill,
    /// Nothing gets through between the nodes and the others, in either direction: a black hole.
    Cut,
    /// What the nodes say does not arrive.
    #[value(skip)]
    Mute,
    /// What the nodes are told does not arrive.
    #[value(skip)]
    Deaf,
    /// Links are cut one after the other, and healed in another order.
    #[value(skip)]
    Swizzle,
    /// Everything between the nodes and the others arrives late, and unevenly so.
    #[value(skip)]
    Delay,
    /// Packets are lost and sent again.
    #[value(skip)]
    Loss,
    /// Connections are reset, again and again.
    #[value(skip)]
    Reset,
    /// A megabit a second.
    #[value(skip)]
    Throttle,
    /// The node's data directory is exchanged for an older copy of itself.
    #[value(skip)]
    Rollback,
    /// The node's disk is full.
    #[value(skip)]
    Full,
    /// Every fsync takes hundreds of milliseconds.
    #[value(skip)]
    Slow,
    /// The node's wall clock is an hour ahead, then right again.
    #[value(skip)]
    Clock,
    /// The same, ten days ahead.
    #[value(skip)]
    ClockAhead,
    /// The same, ten days behind.
    #[value(skip)]
    ClockBehind,
    /// The node's wall clock runs ahead by a second a minute, then is right again.
    #[value(skip)]
    ClockDrift,
    /// The node is stopped for longer than its lease, cut off from the others before it wakes, and read from.
    #[value(skip)]
    PauseCut,
    /// A member is removed while the node that it is connected to is stopped, or cut off from the owner.
    #[value(skip)]
    Kick,
    /// The nodes are stopped, and started again with other addresses.
    #[value(skip)]
    Move,
}

/// Which node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Whom {
    /// The owner of the run's first conversation.
    Owner,
    /// One that is not its owner.
    Follower,
    /// One at random, by the seed.
    Any,
    /// The largest minority at random.
    Minority,
    /// The smallest majority at random.
    Majority,
    All,
    Node(u64),
    /// One link, between the owner and one other.
    Bridge,
    /// One link, or for what has a direction: from the first to the second.
    Pair(u64, u64),
}

/// What a fault did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Injected {
    pub(crate) fault: String,
    pub(crate) nodes: Vec<u64>,
    /// Seconds of the run.
    pub(crate) from_s: f64,
    pub(crate) until_s: f64,
    pub(crate) outcome: Outcome,
    /// Why it was not done, or what went wrong with it.
    pub(crate) problem: Option<String>,
    /// What showed that it bit.
    #[serde(default)]
    pub(crate) evidence: Option<String>,
}

/// Whether a fault happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    Installed,
    /// Not done, and known not to be.
    Skipped,
    /// Done, but it met nothing, or the node did not come back as it should have.
    Indeterminate,
}

/// `GET /v1/cluster`, as far as the harness reads it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ClusterView {
    #[serde(default)]
    pub(crate) shards: Vec<ShardView>,
}

/// One shard of it; also the answer of `GET /v1/cluster/owner`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ShardView {
    /// `None` for the meta group, which has no number.
    #[serde(deserialize_with = "number")]
    pub(crate) shard: Option<u16>,
    pub(crate) owner: Option<u64>,
    #[serde(default)]
    pub(crate) epoch: Option<u64>,
}

/// How long a drained node may take to end.
const DRAIN: Duration = Duration::from_secs(20);

// === impl Fault ===

impl Fault {
    /// Chooses the nodes that are hit, in the order of what is done to them. `conversation` is the one whose owner is
    /// meant.
    pub(crate) async fn targets(&self, local: &Local, conversation: &str, rng: &mut StdRng) -> Vec<u64> {
        let mut ids: Vec<u64> = local.nodes().iter().map(|node| node.id).collect();
        let mut others = |owner: Option<u64>| -> Vec<u64> {
            let others: Vec<u64> = ids.iter().copied().filter(|id| Some(*id) != owner).collect();
            others.choose(rng).copied().into_iter().collect()
        };
        match self.whom {
            Whom::All => ids,
            Whom::Any => others(None),
            Whom::Minority => {
                ids.shuffle(rng);
                ids.truncate(((ids.len() - 1) / 2).max(1));
                ids
            }
            Whom::Majority => {
                ids.shuffle(rng);
                ids.truncate(ids.len() / 2 + 1);
                ids
            }
            Whom::Node(id) => ids.into_iter().filter(|node| *node == id).collect(),
            Whom::Pair(a, b) => [a, b].into_iter().filter(|id| ids.contains(id)).collect(),
            Whom::Owner => local.owner(conversation).await.into_iter().collect(),
            Whom::Follower => others(local.owner(conversation).await),
            Whom::Bridge => {
                let owner = local.owner(conversation).await;
                owner.into_iter().chain(others(owner)).collect()
            }
        }
    }

    /// Whether the harness has to hold the links for it.
    pub(crate) fn cuts_links(&self) -> bool {
        self.how.is_of_links()
            || self.how == How::PauseCut
            || (self.how == How::Kick && self.whom == Whom::Bridge)
    }

    /// Hits the nodes with a signal.
    pub(crate) fn begin(&self, local: &Local, nodes: &[u64]) -> Result<(), local::Error> {
        let hit = match self.how {
            How::Stop => Hit::Stop,
            How::Drain => Hit::Drain,
            _ => Hit::Kill,
        };
        nodes.iter().try_for_each(|node| local.hit(*node, hit))
    }

    /// Heals what [`begin`](Fault::begin) did, and returns when the nodes are ready again. A node that has to be
    /// killed to end is healed too, and told as an error.
    pub(crate) async fn heal(&self, local: &Local, nodes: &[u64]) -> Result<(), local::Error> {
        let mut lingers = Ok(());
        for node in nodes {
            if self.how == How::Drain {
                lingers = local.ended(*node, DRAIN).await.and(lingers);
            }
            match self.how {
                How::Stop => local.hit(*node, Hit::Continue)?,
                _ => local.restart(*node).await?,
            }
        }
        for node in nodes {
            local.ready(*node).await?;
        }
        lingers
    }
}

// === impl How ===

impl How {
    /// Whether it is about links, and needs the harness to hold them.
    pub(crate) fn is_of_links(self) -> bool {
        use How::*;
        matches!(
            self,
            Cut | Mute | Deaf | Swizzle | Delay | Loss | Reset | Throttle
        )
    }

    /// Whether it sets wall clocks.
    pub(crate) fn is_of_clocks(self) -> bool {
        use How::*;
        matches!(self, Clock | ClockAhead | ClockBehind | ClockDrift)
    }

    /// The ways that are hit, `nodes` among `all`. A pair is one link and no group.
    pub(crate) fn ways(self, pair: bool, nodes: &[u64], all: &[u64]) -> Vec<Way> {
        let others = |node: &u64| -> Vec<u64> {
            // All of them: each is alone.
            let group = |other: &u64| nodes.contains(other) && nodes.len() < all.len();
            all.iter()
                .filter(|other| *other != node && !group(other))
                .copied()
                .collect()
        };
        let speak: Vec<Way> = match (pair, nodes) {
            (true, &[a, b]) => vec![(a, b)],
            _ => nodes
                .iter()
                .flat_map(|node| others(node).into_iter().map(|other| (*node, other)))
                .collect(),
        };
        let hear = speak.iter().map(|(a, b)| (*b, *a));
        match self {
            How::Mute => speak,
            How::Deaf => hear.collect(),
            _ => {
                let mut both: Vec<Way> = hear.chain(speak.iter().copied()).collect();
                both.sort_unstable();
                both.dedup();
                both
            }
        }
    }
}

/// Asks a node who owns a conversation.
pub(crate) async fn owner(node: &str, conversation: &str) -> Option<ShardView> {
    let body = http::get(node, &format!("/v1/cluster/owner?conversation={conversation}"))
        .await
        .ok()?;
    serde_json::from_str(&body).ok()
}

/// Asks a node for the whole ownership table.
pub(crate) async fn cluster(node: &str) -> Option<ClusterView> {
    serde_json::from_str(&http::get(node, "/v1/cluster").await.ok()?).ok()
}

/// Reads a shard's number, written as a number or as text.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Shard {
        Number(u16),
        Text(String),
    }
    Ok(match Shard::deserialize(deserializer)? {
        Shard::Number(number) => Some(number),
        Shard::Text(text) => text.parse().ok(),
    })
}
