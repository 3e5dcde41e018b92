//! Digests of what replicas have applied, from the statuses of the nodes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Digests of replicas, by shard and applied index.
#[derive(Default)]
pub(super) struct ReplicaSamples {
    /// Digest of each node there.
    digests: BTreeMap<(u64, u64), BTreeMap<u64, String>>,
    /// Nodes with a replica of each shard, by the cluster map.
    pub(super) replicas: BTreeMap<u64, BTreeSet<u64>>,
}

/// Two replicas with different digests at one index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    shard: u64,
    index: u64,
    /// Digest of each node there.
    digests: BTreeMap<u64, String>,
}

// === impl ReplicaSamples ===

impl ReplicaSamples {
    /// Adds what a node reports of its replicas.
    pub(super) fn add(&mut self, status: &Value) {
        let Some(node) = status["node"].as_u64() else {
            return;
        };
        let shards = status["shards"].as_array().into_iter().flatten();
        for shard in shards.chain([&status["meta"]]) {
            let Some(number) = shard["shard"].as_u64() else {
                continue;
            };
            let replicas = shard["replicas"].as_array().into_iter().flatten();
            let replicas = replicas.filter_map(Value::as_u64).collect();
            // Of the newest answer: the placement may have changed meanwhile.
            self.replicas.insert(number, replicas);
            let local = &shard["local"];
            if let (Some(applied), Some(digest)) = (local["applied"].as_u64(), local["digest"].as_str()) {
                let sample = self.digests.entry((number, applied)).or_default();
                sample.insert(node, digest.to_owned());
            }
        }
    }

    /// Returns the first difference.
    pub(super) fn difference(&self) -> Option<Difference> {
        let differing = self.digests.iter().find(|(_, digests)| {
            let distinct: BTreeSet<&String> = digests.values().collect();
            distinct.len() > 1
        });
        differing.map(|((shard, index), digests)| Difference {
            shard: *shard,
            index: *index,
            digests: digests.clone(),
        })
    }

    /// Returns the replicas, by shard, that were not seen at one index with another one of their shard.
    pub(super) fn uncompared(&self) -> BTreeMap<u64, BTreeSet<u64>> {
        let mut left = self.replicas.clone();
        // A shard with one replica has nothing to compare.
        left.retain(|_, nodes| nodes.len() > 1);
        for ((shard, _), digests) in &self.digests {
            if let Some(nodes) = left.get_mut(shard).filter(|_| digests.len() > 1) {
                nodes.retain(|node| !digests.contains_key(node));
            }
        }
        left.retain(|_, nodes| !nodes.is_empty());
        left
    }
}

// === impl Difference ===

impl Difference {
    pub(super) fn describe(&self) -> String {
        let digests: Vec<String> = self
            .digests
            .iter()
            .map(|(node, digest)| format!("node {node}: {digest}"))
            .collect();
        format!(
            "replicas of shard {} differ at index {}: {}",
            self.shard,
            self.index,
            digests.join(", ")
        )
    }
}

pub(super) fn describe(uncompared: &BTreeMap<u64, BTreeSet<u64>>) -> String {
    let shards = uncompared.iter().map(|(shard, nodes)| {
        let nodes: Vec<String> = nodes.iter().map(u64::to_string).collect();
        format!("shard {shard} on node {}", nodes.join(" and "))
    });
    shards.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Answer of a node about shard 4, whose replicas are on the nodes 1 to 3.
    fn status(node: u64, applied: u64, digest: &str) -> Value {
        json!({
            "node": node,
            "shards": [{
                "shard": 4,
                "replicas": [1, 2, 3],
                "local": {"applied": applied, "digest": digest},
            }],
            "meta": {"shard": 65535, "replicas": [1], "local": {"applied": 1, "digest": "m"}},
        })
    }

    #[test]
    fn replicas_are_compared_at_one_index_only() {
        let mut samples = ReplicaSamples::default();
        samples.add(&status(1, 10, "a"));
        samples.add(&status(2, 11, "b"));
        assert_eq!(samples.difference(), None);
        assert_eq!(samples.uncompared(), BTreeMap::from([(4, [1, 2, 3].into())]));
        // The first one again, further in its log.
        samples.add(&status(1, 11, "b"));
        assert_eq!(samples.uncompared(), BTreeMap::from([(4, [3].into())]));
        assert_eq!(describe(&samples.uncompared()), "shard 4 on node 3");
        samples.add(&status(3, 10, "a"));
        assert!(samples.uncompared().is_empty());
        samples.add(&status(3, 11, "x"));
        let difference = samples.difference().unwrap().describe();
        assert_eq!(
            difference,
            "replicas of shard 4 differ at index 11: node 1: b, node 2: b, node 3: x"
        );
    }
}
