//! Three nodes in this process that form one cluster over real sockets.

use super::{Node, eventually};
use crate::config::{Config, HumanDuration};

/// Nodes of a cluster; each has a replica of every shard.
pub struct TestCluster {
    pub nodes: Vec<Node>,
}

// === impl TestCluster ===

impl TestCluster {
    /// Starts three nodes, and waits until every shard has three replicas.
    pub async fn start() -> TestCluster {
        TestCluster::with(|_| ()).await
    }

    /// Starts three nodes with the settings of tests and those of `change`.
    pub async fn with(change: impl Fn(&mut Config)) -> TestCluster {
        let settings = |config: &mut Config| {
            config.server.threads = 1;
            config.cluster.election_timeout = HumanDuration::secs(1);
            config.limits.sends_per_second = 100_000;
            config.limits.queries_per_second = 1_000;
            config.tuning.sends_burst = Some(100_000);
            config.tuning.queries_burst = Some(100_000);
            config.tuning.delivered_interval = HumanDuration::millis(60_000);
            // At the end of a test no client fetches the sessions of a stopping node.
            config.tuning.fetch_timeout = Some(HumanDuration::millis(0));
            change(config);
        };
        let first = Node::with(settings).await;
        let seed = first.running.cluster().nodes()[0].addr.clone();
        let mut nodes = vec![first];
        for _ in 0..2 {
            let node = Node::with(|config| {
                settings(config);
                config.cluster.seeds = vec![seed.clone()];
            });
            nodes.push(node.await);
        }
        let cluster = TestCluster { nodes };
        eventually("every node has every shard", async || cluster.is_complete()).await;
        cluster
    }

    fn is_complete(&self) -> bool {
        self.nodes.iter().all(|node| {
            let cluster = node.running.cluster();
            let status = cluster.status();
            cluster.ready().is_ok()
                && cluster.nodes().len() == self.nodes.len()
                && status
                    .shards
                    .iter()
                    .all(|shard| shard.replicas.len() == self.nodes.len())
        })
    }

    /// Stops every node.
    pub async fn stop(self) {
        for node in self.nodes {
            node.stop().await;
        }
    }
}
