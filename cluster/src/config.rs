//! Settings of a cluster member.

use std::time::Duration;

use crate::clock::ClusterClock;

/// Settings of a cluster member. The election times apply to every Raft group.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address of this node for other nodes, `host:port`.
    pub advertise: String,
    /// Failure domain of this node; empty: a domain of its own.
    pub zone: String,
    /// Starts a new cluster if the data directory is new and no node of `join` belongs to one.
    pub bootstrap: bool,
    /// Addresses to join through if the data directory is new; afterwards hints at the addresses of members.
    pub join: Vec<String>,
    /// Time after which an unsuccessful join fails the start. Default 60 s.
    pub join_deadline: Duration,
    /// Number of shards; fixed when a cluster is bootstrapped. Default 32: 16 to 64 cost about the same, 256 three
    /// times as much CPU per message.
    pub shards: u16,
    /// Replicas of each shard; limited by the number of nodes. Default 3.
    pub replication: usize,
    /// Interval of a leader's heartbeats. Default 200 ms.
    pub heartbeat: Duration,
    /// Shortest election timeout. Default 400 ms. Must exceed the round trip of a vote.
    pub election_min: Duration,
    /// Longest election timeout, and the length of openraft's leader lease. Default 600 ms.
    pub election_max: Duration,
    /// Entries applied since the last snapshot position before the next is taken and the log is purged. Default 20 000.
    pub snapshot_every: u64,
    /// Entries retained behind a snapshot position, so that a follower with a small lag needs no snapshot. Default 5
    /// 000.
    pub keep_entries: u64,
    /// Rate limit of one snapshot transfer in bytes per second. Default 64 MiB/s.
    pub snapshot_rate: u64,
    /// Maximum number of commands in one log entry; one larger submission still becomes one entry. Default 512.
    pub batch_commands: usize,
    /// Maximum size of one log entry in bytes; one larger submission still becomes one entry. Default 256 KiB.
    pub batch_bytes: usize,
    /// Maximum number of commands in one shard's queue. Default 16 384: a longer queue is more than 100 ms old.
    pub queue_commands: usize,
    /// Interval at which placement, leadership and routes are reconciled. Default 500 ms.
    pub reconcile: Duration,
    /// Time without connections to a majority of the members after which this node reports itself isolated. Default 10
    /// s.
    pub isolated_after: Duration,
    /// Accepts members whose disk is older than it was. Set it only while all nodes are restored from copies. Default
    /// false.
    pub trust_disks: bool,
    /// True if the store syncs before it acknowledges; only reported, in [`Status`](crate::Status). Default true.
    pub fsync: bool,
    /// Time after a takeover before leadership moves to the preferred replica. Default 5 s.
    pub transfer_delay: Duration,
    /// Time limit of transferring all shards before a stop. Default 10 s.
    pub drain_deadline: Duration,
    /// Clock that all parts of the node share. Each member needs its own, because it collects the other members'
    /// clocks. Default: the system's.
    pub clock: ClusterClock,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            advertise: "127.0.0.1:7400".to_owned(),
            zone: String::new(),
            bootstrap: false,
            join: Vec::new(),
            join_deadline: Duration::from_secs(60),
            shards: 32,
            replication: 3,
            heartbeat: Duration::from_millis(200),
            election_min: Duration::from_millis(400),
            election_max: Duration::from_millis(600),
            snapshot_every: 20_000,
            keep_entries: 5_000,
            snapshot_rate: 64 << 20,
            batch_commands: 512,
            batch_bytes: 256 << 10,
            queue_commands: 16_384,
            reconcile: Duration::from_millis(500),
            isolated_after: Duration::from_secs(10),
            trust_disks: false,
            fsync: true,
            transfer_delay: Duration::from_secs(5),
            drain_deadline: Duration::from_secs(10),
            clock: ClusterClock::system(),
        }
    }
}
