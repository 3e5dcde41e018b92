//! Decision whether a node can take over a shard. Pure.

use super::membership::MembershipError;
use super::overview::{NodeOverview, Overview};

/// Entries that the replica may lack of the log: it receives them before it leads.
const PERMITTED_LAG: u64 = 64;

/// Decides by the state of all nodes.
///
/// # Errors
/// The reason against it.
pub(super) fn may_move(overview: &Overview, shard: u16, to: u64) -> Result<(), MembershipError> {
    let mut groups = overview.shards.iter().chain([&overview.meta]);
    let group = groups.find(|group| group.shard == shard);
    let group = group.ok_or(MembershipError::Unknown("shard"))?;
    let node = overview.nodes.iter().find(|node| node.id == to);
    let node = node.ok_or(MembershipError::Unknown("node"))?;
    let refused = |reason: String| Err(MembershipError::Refused(reason));
    let Some(replica) = group.replicas.iter().find(|replica| replica.node == to) else {
        let nodes: Vec<String> = group
            .replicas
            .iter()
            .map(|replica| replica.node.to_string())
            .collect();
        return refused(format!(
            "node {to} has no replica of the shard: those are on {}",
            nodes.join(", ")
        ));
    };
    if group.owner.is_none() {
        return refused("the shard has no owner at the moment".to_owned());
    }
    if let Some(reason) = unfit(node) {
        return refused(format!("node {to} {reason}"));
    }
    let role = replica.role.as_deref().unwrap_or("unknown");
    if replica.voter == Some(false) || !matches!(role, "leader" | "follower") {
        return refused(format!(
            "the replica on node {to} is no voter yet: its role is {role}"
        ));
    }
    match replica.lag {
        Some(lag) if lag <= PERMITTED_LAG => Ok(()),
        Some(lag) => refused(format!(
            "the replica on node {to} lacks {lag} entries: wait until it has caught up"
        )),
        None => refused(format!("the position of the replica on node {to} is not known")),
    }
}

/// Returns why a node may own nothing at the moment.
fn unfit(node: &NodeOverview) -> Option<String> {
    let Some(report) = &node.report else {
        return Some("does not answer".to_owned());
    };
    if node.duty == "leaving" {
        return Some("is leaving the cluster".to_owned());
    }
    let reason = report.not_ready.as_ref()?;
    Some(format!("is not ready: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::super::overview::tests::report;
    use super::super::overview::{ReplicaOverview, ReportOverview, ShardOverview};
    use super::*;

    fn overview() -> Overview {
        let report = ReportOverview::from(&report("follower", 1, 9, 9));
        let node = |id| NodeOverview {
            id,
            addr: String::new(),
            zone: String::new(),
            duty: "replicas",
            silent: false,
            alive: true,
            owned: 1,
            report: Some(report.clone()),
        };
        let replica = |node, lag| ReplicaOverview {
            node,
            role: Some("follower".to_owned()),
            applied: Some(9),
            lag: Some(lag),
            voter: Some(true),
        };
        let shard = |shard| ShardOverview {
            shard,
            owner: Some(1),
            preferred: Some(1),
            epoch: 1,
            replicas: vec![replica(1, 0), replica(2, 64), replica(3, 65)],
        };
        Overview {
            node: 1,
            cluster: String::new(),
            map_version: 1,
            feature_level: 2,
            replication: 3,
            nodes: (1..=4).map(node).collect(),
            shards: vec![shard(0)],
            meta: shard(u16::MAX),
        }
    }

    #[track_caller]
    fn reason(overview: &Overview, to: u64) -> String {
        may_move(overview, 0, to).unwrap_err().to_string()
    }

    #[test]
    fn a_shard_moves_to_a_caught_up_replica_only() {
        let mut state = overview();
        for shard in [0, u16::MAX] {
            assert_eq!(may_move(&state, shard, 2), Ok(()));
            assert_eq!(may_move(&state, shard, 1), Ok(()), "it owns it already");
        }
        assert_eq!(may_move(&state, 9, 2), Err(MembershipError::Unknown("shard")));
        assert_eq!(may_move(&state, 0, 9), Err(MembershipError::Unknown("node")));
        assert!(reason(&state, 3).contains("lacks 65 entries"));
        assert!(reason(&state, 4).ends_with("those are on 1, 2, 3"));
        state.shards[0].replicas[2].voter = Some(false);
        state.shards[0].replicas[2].role = Some("learner".to_owned());
        assert!(reason(&state, 3).ends_with("its role is learner"));
        state.nodes[1].report.as_mut().unwrap().not_ready = Some("draining".to_owned());
        assert_eq!(reason(&state, 2), "node 2 is not ready: draining");
        state.nodes[1].duty = "leaving";
        assert_eq!(reason(&state, 2), "node 2 is leaving the cluster");
        state.nodes[1].report = None;
        assert_eq!(reason(&state, 2), "node 2 does not answer");
        state.shards[0].owner = None;
        assert!(reason(&state, 1).contains("no owner"));
    }
}
