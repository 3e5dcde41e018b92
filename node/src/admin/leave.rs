//! Decisions whether a node may leave the cluster, or be removed from it. Pure.

use cluster::{FeatureLevel, NodeDuty, NodeId, NodeStatus, ShardStatus, Status};

use super::can_stop;
use super::membership::MembershipError;

/// Feature level from which nodes have duties.
const DUTIES: FeatureLevel = FeatureLevel(2);

/// Conditions of an order to leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LeaveOrder {
    /// The shards may have fewer replicas than configured afterwards.
    pub(crate) permits_fewer_replicas: bool,
    /// The node that takes the place of one that is dead.
    pub(crate) replaced_by: Option<NodeId>,
}

/// Decides by the state of the cluster as one node sees it.
///
/// # Errors
/// The reason against it.
pub(super) fn may_leave(
    status: &Status,
    replication: usize,
    node: NodeId,
    order: LeaveOrder,
) -> Result<(), MembershipError> {
    let member = find(status, node)?;
    if status.feature_level < DUTIES {
        return refused(format!(
            "this needs feature level {DUTIES}, and the cluster has {}: finish the upgrade of all nodes first",
            status.feature_level
        ));
    }
    // A repeat changes nothing.
    if member.duty == NodeDuty::Leave {
        return Ok(());
    }
    match order.replaced_by {
        None if !member.alive => {
            return refused(format!(
                "node {node} does not answer, so it cannot hand anything over: start it, or replace it by a new node, or forget it"
            ));
        }
        Some(by) => may_replace(status, member, by)?,
        None => {}
    }
    let others: Vec<&NodeStatus> = status.nodes.iter().filter(|other| other.id != node).collect();
    let down: Vec<NodeId> = others
        .iter()
        .filter(|other| !other.alive)
        .map(|other| other.id)
        .collect();
    if !down.is_empty() {
        return refused(format!(
            "a replica cannot be moved to a node that does not answer: start, replace or forget node {} first",
            list(&down)
        ));
    }
    if let Some(shard) = groups(status).find(|shard| shard.owner.is_none()) {
        return refused(format!("shard {} has no owner at the moment", name(shard)));
    }
    let holders = others
        .iter()
        .filter(|other| other.duty == NodeDuty::Replicas)
        .count();
    if holders == 0 {
        return refused("no other node could hold the data".to_owned());
    }
    let holds_share = member.duty == NodeDuty::Replicas;
    if holds_share && holders < replication && !order.permits_fewer_replicas {
        let spare = (holders - 1) / 2;
        return refused(format!(
            "{holders} nodes would remain for {replication} replicas of each shard, and {spare} of them could then fail: start another node first, or permit fewer replicas (--yes)"
        ));
    }
    Ok(())
}

/// Decides whether `by` can take the place of a node that is dead.
fn may_replace(status: &Status, dead: &NodeStatus, by: NodeId) -> Result<(), MembershipError> {
    let node = dead.id;
    if dead.alive {
        return refused(format!("node {node} answers: let it leave instead"));
    }
    let new = find(status, by)?;
    if by == node {
        return refused("a node cannot replace itself".to_owned());
    }
    if !new.alive || new.draining || new.duty != NodeDuty::Replicas {
        return refused(format!(
            "node {by} cannot hold replicas now: it does not answer, drains, leaves, or is a gateway"
        ));
    }
    keeps_majorities(status, node)
}

/// Decides whether a node may be removed at once.
///
/// # Errors
/// The reason against it.
pub(super) fn may_forget(status: &Status, node: NodeId) -> Result<(), MembershipError> {
    let member = find(status, node)?;
    if member.alive && !member.draining {
        return refused(format!(
            "node {node} answers: let it leave, so that nothing depends on it any more"
        ));
    }
    keeps_majorities(status, node)
}

/// Checks that every shard has a majority of its replicas without the node.
fn keeps_majorities(status: &Status, node: NodeId) -> Result<(), MembershipError> {
    let Some(verdict) = can_stop::decide(status, node).filter(|verdict| !verdict.can_stop) else {
        return Ok(());
    };
    let mut groups: Vec<String> = verdict.shards.iter().map(ToString::to_string).collect();
    if verdict.meta {
        groups.push("meta".to_owned());
    }
    refused(format!(
        "without node {node} these shards have no majority of their replicas: {}. Bring back other nodes first; if they are lost for good, see \"A lost majority\" in the documentation",
        groups.join(", ")
    ))
}

fn find(status: &Status, node: NodeId) -> Result<&NodeStatus, MembershipError> {
    let mut members = status.nodes.iter();
    members
        .find(|member| member.id == node)
        .ok_or(MembershipError::Unknown("node"))
}

fn groups(status: &Status) -> impl Iterator<Item = &ShardStatus> {
    status.shards.iter().chain([&status.meta])
}

fn name(shard: &ShardStatus) -> String {
    match shard.shard {
        u16::MAX => "meta".to_owned(),
        number => number.to_string(),
    }
}

fn list(nodes: &[NodeId]) -> String {
    let nodes: Vec<String> = nodes.iter().map(ToString::to_string).collect();
    nodes.join(", ")
}

fn refused<T>(reason: String) -> Result<T, MembershipError> {
    Err(MembershipError::Refused(reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a healthy cluster of nodes 1 to `count` with three replicas of its shards, on the first three nodes.
    fn healthy(count: u64) -> Status {
        let member = |id| NodeStatus {
            id: NodeId(id),
            addr: String::new(),
            supported_level: FeatureLevel(2),
            alive: true,
            draining: false,
            clock_skew_ms: None,
            clock_wrong: false,
            duty: NodeDuty::Replicas,
        };
        let shard = |shard| ShardStatus {
            shard,
            owner: Some(NodeId(1)),
            epoch: 1,
            replicas: (1..=count.min(3)).map(NodeId).collect(),
            preferred: None,
            local: None,
        };
        Status {
            node: NodeId(1),
            cluster: String::new(),
            map_version: 1,
            feature_level: FeatureLevel(2),
            nodes: (1..=count).map(member).collect(),
            shards: vec![shard(0), shard(1)],
            meta: shard(u16::MAX),
            durability: "fsync",
        }
    }

    /// Returns what a refusal says; panics if there is none.
    #[track_caller]
    fn reason(result: Result<(), MembershipError>) -> String {
        result.unwrap_err().to_string()
    }

    const PLAIN: LeaveOrder = LeaveOrder {
        permits_fewer_replicas: false,
        replaced_by: None,
    };

    fn replaced_by(node: u64) -> LeaveOrder {
        LeaveOrder {
            replaced_by: Some(NodeId(node)),
            ..PLAIN
        }
    }

    #[test]
    fn a_node_leaves_if_the_others_can_hold_everything() {
        let leave = |status: &Status, order| may_leave(status, 3, NodeId(2), order);
        assert_eq!(leave(&healthy(4), PLAIN), Ok(()));
        assert_eq!(
            may_leave(&healthy(4), 3, NodeId(9), PLAIN),
            Err(MembershipError::Unknown("node"))
        );
        // Too few would remain, unless that is wanted.
        let few = healthy(3);
        let text = reason(leave(&few, PLAIN));
        assert!(
            text.starts_with("2 nodes would remain for 3 replicas") && text.contains("0 of them"),
            "{text}"
        );
        let fewer = LeaveOrder {
            permits_fewer_replicas: true,
            ..PLAIN
        };
        assert_eq!(leave(&few, fewer), Ok(()));
        assert!(reason(may_leave(&healthy(1), 3, NodeId(1), fewer)).contains("no other node"));
        // Nodes that hold nothing do not count.
        let mut gateway = healthy(4);
        gateway.nodes[3].duty = NodeDuty::Gateway;
        assert!(reason(leave(&gateway, PLAIN)).starts_with("2 nodes would remain"));
        assert_eq!(may_leave(&gateway, 3, NodeId(4), PLAIN), Ok(()));
        let mut second = healthy(4);
        second.nodes[3].duty = NodeDuty::Leave;
        assert!(reason(leave(&second, PLAIN)).starts_with("2 nodes would remain"));
        assert_eq!(may_leave(&second, 3, NodeId(4), PLAIN), Ok(()), "a repeat");
    }

    #[test]
    fn a_node_does_not_leave_while_something_is_missing() {
        let leave = |status: &Status| reason(may_leave(status, 3, NodeId(2), PLAIN));
        let mut down = healthy(5);
        down.nodes[4].alive = false;
        assert!(leave(&down).ends_with("node 5 first"));
        down.nodes[1].alive = false;
        assert!(leave(&down).starts_with("node 2 does not answer"));
        let mut unowned = healthy(5);
        unowned.meta.owner = None;
        assert_eq!(leave(&unowned), "shard meta has no owner at the moment");
        let mut old = healthy(5);
        old.feature_level = FeatureLevel(1);
        assert!(leave(&old).contains("feature level 2, and the cluster has 1"));
    }

    #[test]
    fn a_dead_node_is_replaced_by_a_member_that_can_hold_replicas() {
        let mut status = healthy(4);
        let replace = |status: &Status, by| may_leave(status, 3, NodeId(3), replaced_by(by));
        assert!(reason(replace(&status, 4)).starts_with("node 3 answers"));
        status.nodes[2].alive = false;
        assert_eq!(replace(&status, 4), Ok(()));
        assert_eq!(replace(&status, 9), Err(MembershipError::Unknown("node")));
        assert!(reason(replace(&status, 3)).contains("itself"));
        status.nodes[3].draining = true;
        assert!(reason(replace(&status, 4)).starts_with("node 4 cannot hold replicas"));
        status.nodes[3].draining = false;
        // One more is down: what the two had cannot be moved by anybody.
        status.nodes[1].alive = false;
        assert!(reason(replace(&status, 4)).contains("have no majority of their replicas: 0, 1, meta"));
    }

    #[test]
    fn only_a_node_that_is_gone_is_forgotten() {
        let mut status = healthy(3);
        assert!(reason(may_forget(&status, NodeId(3))).starts_with("node 3 answers"));
        assert_eq!(
            may_forget(&status, NodeId(9)),
            Err(MembershipError::Unknown("node"))
        );
        status.nodes[2].draining = true;
        assert_eq!(may_forget(&status, NodeId(3)), Ok(()), "a drained one");
        status.nodes[2].alive = false;
        assert_eq!(may_forget(&status, NodeId(3)), Ok(()));
        status.nodes[1].alive = false;
        assert!(reason(may_forget(&status, NodeId(3))).contains("no majority"));
    }
}
