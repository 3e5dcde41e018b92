//! Settings of a cluster member.

use std::time::Duration;

use crate::clock::ClusterClock;
use crate::ids::{FeatureLevel, NodeDuty};

/// Settings of a cluster member. The election times apply to every Raft group.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address of this node for other nodes, `host:port`.
    pub advertise: String,
    /// Failure domain of this node; empty: a domain of its own.
    pub zone: String,
    /// This member holds no replicas: it admits clients and routes their commands.
    pub gateway_only: bool,
    /// Addresses of nodes by which one with a new data directory finds its cluster, the same on all nodes; see
    /// [`member`](crate::member). Afterwards hints at the addresses of members.
    pub seeds: Vec<String>,
    /// Number of shards; fixed when a cluster is bootstrapped. 16 to 64 cost about the same, 256 three times as much CPU
    /// per message.
    pub shards: u16,
    /// Replicas of each shard; limited by the number of nodes.
    pub replication: usize,
    /// Interval of a leader's heartbeats.
    pub heartbeat: Duration,
    /// Shortest election timeout. Must exceed the round trip of a vote.
    pub election_min: Duration,
    /// Longest election timeout, and the length of openraft's leader lease.
    pub election_max: Duration,
    /// Rate limit of one snapshot transfer in bytes per second.
    pub snapshot_rate: u64,
    /// Time without connections to a majority of the members after which this node reports itself isolated.
    pub isolated_after: Duration,
    /// Accepts members whose disk is older than it was. Set it only while all nodes are restored from copies.
    pub trust_disks: bool,
    /// Makes this node the only member of its cluster, for one start after a majority was lost for good.
    pub unsafe_recover: bool,
    /// True if the store syncs before it acknowledges; only reported, in [`Status`](crate::Status).
    pub fsync: bool,
    /// Time limit of transferring all shards before a stop.
    pub drain_deadline: Duration,
    /// Highest feature level of this member. Only tests set it. Default: that of the build.
    pub supported_level: FeatureLevel,
    /// Clock that all parts of the node share. Each member needs its own, because it collects the other members'
    /// clocks.
    pub clock: ClusterClock,
    pub tuning: ClusterTuning,
}

/// Constants that tests change.
#[derive(Clone, Debug)]
pub struct ClusterTuning {
    /// Entries applied since the last snapshot position before the next is taken and the log is purged.
    pub snapshot_every: u64,
    /// Entries retained behind a snapshot position, so that a follower with a small lag needs no snapshot.
    pub keep_entries: u64,
    /// Time after a takeover before leadership moves to the preferred replica: a flapping node must not move shards.
    pub transfer_delay: Duration,
}

impl Config {
    /// Returns the duty that this member has unless it is leaving.
    pub(crate) fn duty(&self) -> NodeDuty {
        if self.gateway_only {
            NodeDuty::Gateway
        } else {
            NodeDuty::Replicas
        }
    }

    /// Returns the seeds but this node.
    pub(crate) fn other_seeds(&self) -> impl Iterator<Item = &String> {
        self.seeds.iter().filter(|addr| **addr != self.advertise)
    }

    /// Returns whether this node is the first seed, which starts a new cluster.
    pub(crate) fn is_first_seed(&self) -> bool {
        self.seeds.first() == Some(&self.advertise)
    }
}

impl Default for ClusterTuning {
    fn default() -> Self {
        ClusterTuning {
            snapshot_every: 20_000,
            keep_entries: 5_000,
            transfer_delay: Duration::from_secs(5),
        }
    }
}
