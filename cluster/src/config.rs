//! Settings of a cluster member.

use std::time::Duration;

use crate::clock::Clock;

/// Settings of a cluster member. Times that concern elections hold for every group.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where other nodes reach this one, `host:port`.
    pub advertise: String,
    /// Failure domain of this node; empty: one of its own.
    pub zone: String,
    /// Start a new cluster if the data directory is new and no node of `join` belongs to one.
    pub bootstrap: bool,
    /// Nodes to ask for admission if the data directory is new.
    pub join: Vec<String>,
    /// How long to go on asking them. Default 60 s.
    pub join_deadline: Duration,
    /// Number of shards; fixed for ever when a cluster is bootstrapped. Default 32: 16 to 64 cost about the same, 256
    /// three times as much CPU per message.
    pub shards: u16,
    /// Replicas of each shard, or the number of nodes while there are fewer. Default 3.
    pub replication: usize,
    /// A leader's silence between two heartbeats. Default 200 ms.
    pub heartbeat: Duration,
    /// The shortest wait before a candidate stands. Default 400 ms. Must exceed the round trip of a vote.
    pub election_min: Duration,
    /// The longest wait, and the length of a leader's lease. Default 600 ms.
    pub election_max: Duration,
    /// Entries applied since the last snapshot position before the next is taken and the log purged. Default 20 000.
    pub snapshot_every: u64,
    /// Entries kept behind a snapshot position, for followers that lag a little. Default 5 000.
    pub keep_entries: u64,
    /// Bytes per second of one snapshot transfer. Default 64 MiB/s.
    pub snapshot_rate: u64,
    /// Commands in one log entry at most. Default 512.
    pub batch_commands: usize,
    /// Bytes in one log entry at most (one larger command still goes). Default 256 KiB.
    pub batch_bytes: usize,
    /// Commands waiting in one shard's queue at most. Default 16 384: a queue longer than that is more than 100 ms old.
    pub queue_commands: usize,
    /// How often placement, leadership and routes are looked at again. Default 500 ms.
    pub reconcile: Duration,
    /// Silence of a majority of the members after which this node calls itself isolated. Default 10 s.
    pub isolated_after: Duration,
    /// Believe a member whose disk is older than it was: only while all are restored from copies. Default false.
    pub trust_disks: bool,
    /// Whether the store syncs before it acknowledges; only told on, in [`Status`](crate::Status). Default true.
    pub fsync: bool,
    /// Quiet time after a takeover before leadership is moved to the preferred replica. Default 5 s.
    pub settle: Duration,
    /// How long a stop waits for handing over all shards. Default 10 s.
    pub drain_deadline: Duration,
    /// What time it is; the node shares it. A member of its own: it learns of the others' clocks. Default: the system's.
    pub clock: Clock,
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
            settle: Duration::from_secs(5),
            drain_deadline: Duration::from_secs(10),
            clock: Clock::system(),
        }
    }
}
