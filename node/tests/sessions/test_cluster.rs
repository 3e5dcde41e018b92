//! Several nodes that are one cluster.

use std::time::Duration;

use node::config::{Config, Millis};

use crate::support::{Node, PATIENCE};

/// A cluster.
pub(crate) struct TestCluster {
    pub(crate) nodes: Vec<Node>,
}

// === impl TestCluster ===

impl TestCluster {
    /// Three nodes, each of which has every shard.
    pub(crate) async fn start() -> TestCluster {
        TestCluster::with(|_| ()).await
    }

    /// The same, with settings that `change` has the last word on.
    pub(crate) async fn with(change: impl Fn(&mut Config)) -> TestCluster {
        let settings = |config: &mut Config| {
            config.server.workers = 1;
            config.cluster.election_min_ms = Millis(1_000);
            config.cluster.election_max_ms = Millis(2_000);
            config.cluster.heartbeat_ms = Millis(300);
            config.limits.sends_per_s = 100_000;
            config.limits.burst = 100_000;
            config.limits.query_burst = 100_000;
            config.session.delivered_ms = Millis(60_000);
            config.session.handover_ms = Millis(0);
            change(config);
        };
        let first = Node::with(settings).await;
        let join = first.running.cluster().nodes()[0].addr.clone();
        let mut nodes = vec![first];
        for _ in 0..2 {
            let node = Node::with(|config| {
                settings(config);
                config.cluster.bootstrap = false;
                config.cluster.join = vec![join.clone()];
            });
            nodes.push(node.await);
        }
        let cluster = TestCluster { nodes };
        let complete = async {
            while !cluster.is_complete() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE * 2, complete)
            .await
            .expect("every node has every shard");
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
    pub(crate) async fn stop(self) {
        for node in self.nodes {
            node.stop().await;
        }
    }
}
