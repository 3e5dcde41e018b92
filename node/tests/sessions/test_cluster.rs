//! Several nodes that are one cluster.

use std::time::Duration;

use node::config::{Config, HumanDuration};

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
            config.cluster.election_timeout = HumanDuration::secs(1);
            config.limits.sends_per_second = 100_000;
            config.tuning.sends_burst = Some(100_000);
            config.tuning.queries_burst = Some(100_000);
            config.tuning.delivered_interval = HumanDuration::millis(60_000);
            config.tuning.fetch_timeout = Some(HumanDuration::millis(0));
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
