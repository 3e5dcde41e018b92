//! `[cluster]`: connections to other nodes, replication and elections.

use std::net::SocketAddr;

use super::load::Problems;
use super::section::section;
use super::units::{Millis, SecretString};

section! {
    /// Connections to other nodes, replication and elections. Election times must be the same on all nodes.
    pub struct ClusterConfig {
        /// Address and port on which this node accepts connections of other nodes.
        listen: String = "127.0.0.1:9080".to_owned(),
        /// Address that other nodes use to connect to this one. Empty: the same as listen.
        advertise: String = String::new(),
        /// Secret shared by all nodes. Required unless listen is a loopback address.
        secret: SecretString = SecretString::default(),
        /// Failure domain, such as a rack or zone. Replicas of a shard are placed in different zones if possible.
        /// Empty: the node is a zone of its own.
        zone: String = String::new(),
        /// Start a new cluster if the data directory is new. Set on one node only.
        bootstrap: bool = false,
        /// Addresses of other nodes. A node with a new data directory asks them for admission; every other node asks
        /// them at its start for changed addresses of members.
        join: Vec<String> = Vec::new(),
        /// Maximum time to retry these requests.
        join_ms: Millis = Millis(60_000),
        /// Number of shards, fixed when a cluster is started. More shards cost more: 256 cost a third of the
        /// throughput.
        shards: u16 = 32,
        /// Replicas of each shard. With fewer nodes, every node holds one.
        replication: usize = 3,
        /// Interval between the heartbeats of a leader.
        heartbeat_ms: Millis = Millis(200),
        /// Minimum time without a leader before a node starts an election ...
        election_min_ms: Millis = Millis(400),
        /// ... and the maximum. On a machine that is busy with other things: heartbeat 300, elections 1000 to 2000.
        election_max_ms: Millis = Millis(600),
        /// Entries applied to a shard after which its log is trimmed.
        snapshot_every: u64 = 20_000,
        /// Entries kept in a trimmed log for replicas that lag a little.
        keep_entries: u64 = 5_000,
        /// Maximum rate of one shard snapshot to another node, in bytes per second.
        snapshot_rate_bytes: u64 = 64 << 20,
        /// Maximum number of commands in one log entry.
        batch_commands: usize = 512,
        /// Maximum size of one log entry in bytes.
        batch_bytes: usize = 262_144,
        /// Maximum number of queued commands per shard. Further ones are refused as busy.
        queue_commands: usize = 16_384,
        /// Time without a quorum after which the node closes its sessions (4015).
        isolated_ms: Millis = Millis(10_000),
        /// Accept nodes whose data is older than it was before. Set it only while all nodes are restored from copies.
        /// Otherwise such a node is refused, because its disk has lost votes or log entries that it had acknowledged.
        trust_disks: bool = false,
        /// Maximum time for the transfer of all shards to other nodes at a stop.
        drain_ms: Millis = Millis(10_000),
        /// Threads for replication and for connections to other nodes.
        threads: usize = 2,
    }
}

// === impl ClusterConfig ===

impl ClusterConfig {
    /// Adds every invalid value to `problems`.
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
                    "is required when cluster.listen is the unspecified address",
                );
            }
            Ok(_) => {}
        }
        for peer in &self.join {
            if !peer.contains(':') {
                problems.add(
                    "cluster.join",
                    "must contain addresses with a port, like 10.0.0.1:9080",
                );
            }
        }
        problems.at_least("cluster.shards", u64::from(self.shards), 1);
        if self.shards > 4096 {
            problems.add("cluster.shards", "must be at most 4096");
        }
        problems.at_least("cluster.replication", self.replication as u64, 1);
        problems.at_least("cluster.heartbeat_ms", self.heartbeat_ms.0, 10);
        // Below this, a single delayed heartbeat would start an election.
        if self.election_min_ms.0 < self.heartbeat_ms.0 * 3 / 2 {
            problems.add(
                "cluster.election_min_ms",
                "must be at least 1.5 times cluster.heartbeat_ms",
            );
        }
        // Equal bounds would let all replicas time out together and split their votes.
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

    /// Returns the address that other nodes connect to.
    #[must_use]
    pub fn advertised(&self) -> &str {
        if self.advertise.is_empty() {
            &self.listen
        } else {
            &self.advertise
        }
    }

    /// Returns the configuration of the cluster member.
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
