//! Decision whether a node can stop without a shard losing its majority. Pure.

use cluster::{NodeId, ShardStatus, Status};
use serde::Serialize;
use utoipa::ToSchema;

use super::NodeAdmin;

/// Effect of the stop of a node on the shards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct StopVerdict {
    /// The node in question.
    pub node: u64,
    /// True if every shard of the node keeps a majority of its replicas without it.
    pub can_stop: bool,
    /// The shards that would lose their majority, without the meta group.
    pub shards: Vec<u16>,
    /// True if the meta group would lose its majority.
    pub meta: bool,
    /// The other nodes that count as down: without a connection to the node that answers, or draining.
    pub down: Vec<u64>,
}

// === impl NodeAdmin: can stop ===

impl NodeAdmin {
    /// Returns the effect of a stop, by the cluster map and the connections of this node; `None` for an unknown node.
    #[must_use]
    pub fn can_stop(&self, node: NodeId) -> Option<StopVerdict> {
        decide(&self.inner.deps.cluster.status(), node)
    }
}

/// Decides by the state of the cluster as one node sees it; `None` for an unknown node.
pub(super) fn decide(status: &Status, node: NodeId) -> Option<StopVerdict> {
    status.nodes.iter().find(|member| member.id == node)?;
    let is_up = |id: NodeId| {
        let member = status.nodes.iter().find(|member| member.id == id);
        // A draining node is about to stop. One of which nothing is known counts as down.
        member.is_some_and(|member| member.alive && !member.draining)
    };
    let loses = |shard: &ShardStatus| loses_majority(shard, node, is_up);
    let shards: Vec<u16> = status
        .shards
        .iter()
        .filter(|shard| loses(shard))
        .map(|shard| shard.shard)
        .collect();
    let meta = loses(&status.meta);
    let others = status.nodes.iter().map(|member| member.id);
    let down = others.filter(|id| *id != node && !is_up(*id)).map(|id| id.0);
    Some(StopVerdict {
        node: node.0,
        can_stop: shards.is_empty() && !meta,
        shards,
        meta,
        down: down.collect(),
    })
}

/// Returns true if the group has a replica on the node, and without it no majority.
fn loses_majority(shard: &ShardStatus, node: NodeId, is_up: impl Fn(NodeId) -> bool) -> bool {
    let placed = &shard.replicas;
    // A replica that is still being copied does not vote, which only a replica of the group knows.
    let voters = shard.local.as_ref().map_or(placed, |local| &local.voters);
    if !placed.contains(&node) && !voters.contains(&node) {
        return false;
    }
    let left = voters.iter().filter(|id| **id != node && is_up(**id)).count();
    left < voters.len() / 2 + 1
}

#[cfg(test)]
mod tests {
    use cluster::{FeatureLevel, GroupStatus, NodeDuty, NodeStatus};

    use super::*;

    fn member(id: u64, alive: bool, draining: bool) -> NodeStatus {
        NodeStatus {
            id: NodeId(id),
            addr: String::new(),
            supported_level: FeatureLevel(1),
            alive,
            draining,
            clock_skew_ms: None,
            clock_wrong: false,
            duty: NodeDuty::Replicas,
        }
    }

    fn nodes(ids: &[u64]) -> Vec<NodeId> {
        ids.iter().map(|id| NodeId(*id)).collect()
    }

    fn shard(shard: u16, replicas: &[u64], voters: Option<&[u64]>) -> ShardStatus {
        ShardStatus {
            shard,
            owner: None,
            epoch: 0,
            replicas: nodes(replicas),
            preferred: None,
            local: voters.map(|voters| GroupStatus {
                role: "follower",
                failure: None,
                term: 1,
                last: 1,
                applied: 1,
                digest: String::new(),
                voters: nodes(voters),
                lag: Vec::new(),
            }),
        }
    }

    fn status(members: Vec<NodeStatus>, shards: Vec<ShardStatus>, meta: &[u64]) -> Status {
        Status {
            node: NodeId(1),
            cluster: String::new(),
            map_version: 1,
            feature_level: FeatureLevel(1),
            nodes: members,
            shards,
            meta: shard(65_535, meta, None),
            durability: "fsync",
        }
    }

    #[test]
    fn one_of_three_can_stop_and_a_second_one_cannot() {
        let all = [1, 2, 3];
        let healthy = status(
            all.map(|id| member(id, true, false)).to_vec(),
            vec![shard(0, &all, None)],
            &all,
        );
        for node in all {
            assert!(decide(&healthy, NodeId(node)).unwrap().can_stop, "{node}");
        }
        assert_eq!(decide(&healthy, NodeId(9)), None);
        for (alive, draining) in [(false, false), (true, true)] {
            let mut members = healthy.nodes.clone();
            members[2] = member(3, alive, draining);
            let one_down = status(members, healthy.shards.clone(), &all);
            let verdict = decide(&one_down, NodeId(2)).unwrap();
            let expected = StopVerdict {
                node: 2,
                can_stop: false,
                shards: vec![0],
                meta: true,
                down: vec![3],
            };
            assert_eq!(verdict, expected);
            let same = decide(&one_down, NodeId(3)).unwrap();
            assert!(
                same.can_stop,
                "the node that is down already takes no majority away"
            );
        }
    }

    #[test]
    fn the_only_replica_cannot_stop() {
        let alone = status(vec![member(1, true, false)], vec![shard(0, &[1], None)], &[1]);
        assert!(!decide(&alone, NodeId(1)).unwrap().can_stop);
    }

    #[test]
    fn a_replica_that_is_being_copied_counts_for_no_majority() {
        let members = [1, 2, 3].map(|id| member(id, true, false)).to_vec();
        let copying = status(
            members,
            vec![shard(0, &[1, 2, 3], Some(&[1, 2])), shard(1, &[2], None)],
            &[1, 2, 3],
        );
        let verdict = decide(&copying, NodeId(1)).unwrap();
        assert_eq!(
            (verdict.can_stop, verdict.shards, verdict.meta),
            (false, vec![0], false)
        );
        let other = decide(&copying, NodeId(3)).unwrap();
        assert!(other.can_stop, "{other:?}");
    }
}
