//! `[cluster]`: the other nodes.

use std::net::SocketAddr;

use super::load::Problems;
use super::section::section;
use super::units::{Millis, Secret};

section! {
    /// The other nodes. Times that concern elections must be the same on all of them.
    pub struct Cluster {
        /// Where other nodes connect.
        listen: String = "127.0.0.1:9080".to_owned(),
        /// What other nodes are told to connect to; empty: the same as listen.
        advertise: String = String::new(),
        /// Shared by all nodes; required unless listen is a loopback address.
        secret: Secret = Secret::default(),
        /// Failure domain (a rack, a zone): replicas of a shard avoid sharing one. Empty: one of its own.
        zone: String = String::new(),
        /// Start a new cluster when the data directory is new. On one node only.
        bootstrap: bool = false,
        /// Addresses of nodes to ask: for admission when the data directory is new, and at every start for members that moved.
        join: Vec<String> = Vec::new(),
        /// How long to go on asking them.
        join_ms: Millis = Millis(60_000),
        /// Number of shards; fixed for ever when a cluster is started. More cost more: 256 a third of the throughput.
        shards: u16 = 32,
        /// Replicas of each shard, or the number of nodes while there are fewer.
        replication: usize = 3,
        /// A leader's time between two heartbeats.
        heartbeat_ms: Millis = Millis(200),
        /// Shortest silence after which another node takes over ...
        election_min_ms: Millis = Millis(400),
        /// ... and the longest. On a machine that is busy with other things: 300, 1000, 2000.
        election_max_ms: Millis = Millis(600),
        /// Entries applied to a shard before its log is shortened.
        snapshot_every: u64 = 20_000,
        /// Entries kept for nodes that are a little behind.
        keep_entries: u64 = 5_000,
        /// Bytes per second of one copy of a shard to another node.
        snapshot_rate_bytes: u64 = 64 << 20,
        /// Commands in one log entry at most.
        batch_commands: usize = 512,
        /// Bytes in one log entry at most.
        batch_bytes: usize = 262_144,
        /// Commands waiting in one shard's queue at most; more are answered busy.
        queue_commands: usize = 16_384,
        /// Without a majority for this long, the node calls itself isolated and closes its sessions (4015).
        isolated_ms: Millis = Millis(10_000),
        /// Believe the others' disks although they are older than they were: only while all nodes are restored from
        /// copies. Otherwise a disk that went back in time has forgotten promises, and is refused.
        trust_disks: bool = false,
        /// How long a stop waits for handing over all shards.
        drain_ms: Millis = Millis(10_000),
        /// Threads for replication.
        threads: usize = 2,
    }
}

// === impl Cluster ===

impl Cluster {
    /// Reports every value that cannot work.
    pub(super) fn check(&self, problems: &mut Problems) {
        match self.listen.parse::<SocketAddr>() {
            Err(_) => problems.add(
                "cluster.listen",
                "must be an address and a port, like 127.0.0.1:9080",
            ),
            Ok(listen) if !listen.ip().is_loopback() && self.secret.is_empty() => {
                problems.add(
                    "cluster.secret",
                    "is required when cluster.listen is not a loopback address",
                );
            }
            Ok(listen) if listen.ip().is_unspecified() && self.advertise.is_empty() => {
                problems.add(
                    "cluster.advertise",
                    "is required when cluster.listen is every address",
                );
            }
            Ok(_) => {}
        }
        for peer in &self.join {
            if !peer.contains(':') {
                problems.add("cluster.join", "holds addresses with a port, like 10.0.0.1:9080");
            }
        }
        problems.at_least("cluster.shards", u64::from(self.shards), 1);
        if self.shards > 4096 {
            problems.add("cluster.shards", "must be at most 4096");
        }
        problems.at_least("cluster.replication", self.replication as u64, 1);
        problems.at_least("cluster.heartbeat_ms", self.heartbeat_ms.0, 10);
        if self.election_min_ms.0 < self.heartbeat_ms.0 * 3 / 2 {
            problems.add(
                "cluster.election_min_ms",
                "must be at least 1.5 times cluster.heartbeat_ms",
            );
        }
        if self.election_max_ms <= self.election_min_ms {
            problems.add(
                "cluster.election_max_ms",
                "must be greater than cluster.election_min_ms",
            );
        }
        problems.at_least("cluster.batch_commands", self.batch_commands as u64, 1);
        problems.at_least("cluster.queue_commands", self.queue_commands as u64, 1);
        problems.at_least("cluster.threads", self.threads as u64, 1);
    }

    /// The address that other nodes are told.
    #[must_use]
    pub fn advertised(&self) -> &str {
        if self.advertise.is_empty() {
            &self.listen
        } else {
            &self.advertise
        }
    }

    /// What the cluster crate is given.
    #[must_use]
    pub fn member(&self) -> cluster::Config {
        cluster::Config {
            advertise: self.advertised().to_owned(),
            zone: self.zone.clone(),
            bootstrap: self.bootstrap,
            join: self.join.clone(),
            join_deadline: self.join_ms.duration(),
            shards: self.shards,
            replication: self.replication,
            heartbeat: self.heartbeat_ms.duration(),
            election_min: self.election_min_ms.duration(),
            election_max: self.election_max_ms.duration(),
            snapshot_every: self.snapshot_every,
            keep_entries: self.keep_entries,
            snapshot_rate: self.snapshot_rate_bytes,
            batch_commands: self.batch_commands,
            batch_bytes: self.batch_bytes,
            queue_commands: self.queue_commands,
            trust_disks: self.trust_disks,
            isolated_after: self.isolated_ms.duration(),
            drain_deadline: self.drain_ms.duration(),
            ..cluster::Config::default()
        }
    }
}
