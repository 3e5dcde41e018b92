//! `[cluster]`: connections to other nodes, replication and elections.

use std::net::SocketAddr;

use super::load::Problems;
use super::section::section;
use super::units::{HumanDuration, HumanSize, SecretString};

section! {
    /// Connections to other nodes, replication and elections. Election times must be the same on all nodes.
    pub struct ClusterConfig {
        /// Address and port on which this node accepts connections of other nodes.
        listen: String = "127.0.0.1:9080".to_owned(),
        /// Address that other nodes use to connect to this one. Empty: the same as listen.
        advertise: String = String::new(),
        /// Secret shared by all nodes. Required unless listen is a loopback address.
        secret: SecretString = SecretString::default(),
        /// Directory with tls.crt and tls.key, the certificate of this node for TLS between nodes, and ca.crt, the
        /// authorities of all nodes; `rookery certs` makes it. The files are read again as those of the clients. Empty:
        /// no TLS.
        tls_dir: String = String::new(),
        /// Refuse other nodes without TLS. Off while a cluster changes to TLS, node by node.
        tls_required: bool = false,
        /// Failure domain, such as a rack or zone. Replicas of a shard are placed in different zones if possible.
        /// Empty: the node is a zone of its own.
        zone: String = String::new(),
        /// Hold no replicas: the node admits clients and routes their commands to the others. Not for the first node of
        /// a cluster.
        gateway_only: bool = false,
        /// Addresses of the first nodes for each other, the same on all nodes. With a new data directory, the node with
        /// the first address starts a cluster once the others have answered, and every other node joins. Afterwards
        /// they help to find members whose addresses changed.
        seeds: Vec<String> = Vec::new(),
        /// Number of shards, fixed when a cluster is started. More shards cost more: 256 cost a third of the
        /// throughput.
        shards: u16 = 32,
        /// Replicas of each shard. With fewer nodes, every node holds one.
        replication: usize = 3,
        /// Minimum time without a leader before a node starts an election; the maximum is one and a half times as long.
        /// Leaders send heartbeats twice in it, at least every 300 ms. On a machine that is busy with other things: "1s".
        election_timeout: HumanDuration = HumanDuration::millis(400),
        /// Maximum rate of one shard snapshot to another node, per second.
        snapshot_rate: HumanSize = HumanSize::mib(64),
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
        if self.tls_required && self.tls_dir.is_empty() {
            problems.add("cluster.tls_dir", "is required by cluster.tls_required");
        }
        for seed in &self.seeds {
            if !seed.contains(':') {
                problems.add(
                    "cluster.seeds",
                    "must contain addresses with a port, like 10.0.0.1:9080",
                );
            }
        }
        problems.at_least("cluster.shards", self.shards, 1);
        if self.shards > 4096 {
            problems.add("cluster.shards", "must be at most 4096");
        }
        problems.at_least("cluster.replication", self.replication, 1);
        let shortest = HumanDuration::millis(20);
        problems.at_least("cluster.election_timeout", self.election_timeout, shortest);
        problems.at_least("cluster.snapshot_rate", self.snapshot_rate, HumanSize::kib(64));
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
}
