//! Three nodes in this process, over real sockets.

use node::config::{Config, HumanDuration};

use crate::support::{Node, PATIENCE};

/// Three nodes that have found each other; every one holds every shard.
pub(crate) struct Trio {
    pub(crate) nodes: Vec<Node>,
}

// === impl Trio ===

impl Trio {
    /// Starts them, and waits until every shard has three replicas.
    pub(crate) async fn start() -> Trio {
        Trio::with(|_| ()).await
    }

    /// Starts them with settings that `change` has the last word on.
    pub(crate) async fn with(change: impl Fn(&mut Config)) -> Trio {
        let settings = |config: &mut Config| {
            config.limits.queries_per_second = 1_000;
            // At the end nobody comes for the sessions.
            config.tuning.fetch_timeout = Some(HumanDuration::millis(0));
            change(config);
        };
        let mut nodes = vec![Node::with(settings).await];
        let seed = nodes[0].running.cluster().status().nodes[0].addr.clone();
        for _ in 1..3 {
            let join = vec![seed.clone()];
            let node = Node::with(|config| {
                settings(config);
                config.cluster.bootstrap = false;
                config.cluster.join = join;
            });
            nodes.push(node.await);
        }
        let trio = Trio { nodes };
        let whole = async {
            while !trio.is_whole() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, whole)
            .await
            .expect("every shard has its replicas");
        trio
    }

    fn is_whole(&self) -> bool {
        self.nodes.iter().all(|node| {
            let status = node.running.cluster().status();
            let replicated = status.shards.iter().all(|shard| shard.replicas.len() == 3);
            replicated && node.running.cluster().ready().is_ok()
        })
    }

    pub(crate) async fn stop(self) {
        for node in self.nodes {
            node.stop().await;
        }
    }
}
