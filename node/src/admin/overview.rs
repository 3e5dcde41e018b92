//! State of the whole cluster: the map of this node, and the reports of all nodes.

use std::collections::BTreeMap;

use cluster::{NodeId, ShardStatus, Status};
use futures::future::join_all;
use serde::Serialize;
use utoipa::ToSchema;

use super::{NodeAdmin, REPORT_TIMEOUT};
use crate::rpc;
use crate::rpc::{NodeReport, NodeReportQuery, ReportedState};

/// The state of the cluster: the map of the answering node, and the reports of all nodes.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Overview {
    /// The node that answers.
    pub node: u64,
    /// The id of the cluster, as 16 hexadecimal digits.
    pub cluster: String,
    /// The version of the cluster map.
    pub map_version: u64,
    /// The feature level of the cluster.
    pub feature_level: u32,
    /// The number of replicas that a shard has, if there are as many nodes: the setting of the node that answers.
    pub replication: usize,
    pub nodes: Vec<NodeOverview>,
    /// The shards in the order of their numbers, without the meta group.
    pub shards: Vec<ShardOverview>,
    /// The meta group, which holds the cluster map; its number is 65535.
    pub meta: ShardOverview,
}

/// A node. Without an answer within half a second it is silent, and its report is null.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct NodeOverview {
    pub id: u64,
    /// The address for other nodes.
    pub addr: String,
    /// The failure domain; empty for a domain of its own.
    pub zone: String,
    /// `replicas`, `gateway` for a node that holds none, or `leaving`.
    pub duty: &'static str,
    /// True if the node did not answer in time.
    pub silent: bool,
    /// True if the answering node has a connection to the node.
    pub alive: bool,
    /// The number of shards that the node owns, with the meta group, as the answering node knows it.
    pub owned: u64,
    #[schema(required)]
    pub report: Option<ReportOverview>,
}

/// The report of a node about itself.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ReportOverview {
    /// The version of the program.
    pub version: String,
    /// The time since the start of the node, in milliseconds.
    pub uptime_ms: u64,
    /// `serving`, `handing_over`, `draining`, `drained` or `isolated`.
    pub state: &'static str,
    /// The reason for which the node accepts no clients; null if it does.
    #[schema(required)]
    pub not_ready: Option<String>,
    /// True if acknowledged messages are synced to the disk.
    pub fsync: bool,
    /// Free bytes of the disk.
    pub disk_free_bytes: u64,
    /// Free bytes below which new messages are refused.
    pub disk_reserve_bytes: u64,
    /// Sessions with a connected client.
    pub sessions: u64,
    /// Sessions without a connection that wait for their client.
    pub detached: u64,
    /// The number of open connections.
    pub connections: u64,
    /// The limit of open connections.
    pub connections_limit: u64,
    /// Answered sends per second, the mean of the last seconds.
    pub sends_per_second: f64,
    /// Frames to clients per second, the mean of the last seconds.
    pub frames_out_per_second: f64,
    /// Milliseconds from a send to its answer that half of the sends of the last seconds took at most; null without a send.
    #[schema(required)]
    pub ack_p50_ms: Option<f64>,
    /// The same of 99 of a hundred sends.
    #[schema(required)]
    pub ack_p99_ms: Option<f64>,
    /// Milliseconds that 99 of a hundred fsyncs of the last seconds took at most; null without an fsync.
    #[schema(required)]
    pub fsync_p99_ms: Option<f64>,
    /// Milliseconds by which the clock is ahead of the majority's, negative if behind; null if unknown.
    #[schema(required)]
    pub clock_skew_ms: Option<i64>,
}

/// A shard, or the meta group.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ShardOverview {
    pub shard: u16,
    /// The owner, or null if none is known.
    #[schema(required)]
    pub owner: Option<u64>,
    /// The node that owns the shard whenever it can.
    #[schema(required)]
    pub preferred: Option<u64>,
    /// The epoch of the owner: the log index of its takeover.
    pub epoch: u64,
    /// The replicas that the cluster map assigns, and others that a node still has.
    pub replicas: Vec<ReplicaOverview>,
}

/// A replica. Of a silent node only the number is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ReplicaOverview {
    pub node: u64,
    /// `leader`, `follower`, `learner`, `candidate`, `shutdown` or `failed`; null if unknown.
    #[schema(required)]
    pub role: Option<String>,
    /// The index of the last applied entry; null if unknown.
    #[schema(required)]
    pub applied: Option<u64>,
    /// The number of entries that the replica is behind the log of the leader; null if unknown.
    #[schema(required)]
    pub lag: Option<u64>,
    /// True if the replica votes, as the leader knows it; null if no replica of the group reported.
    #[schema(required)]
    pub voter: Option<bool>,
}

// === impl NodeAdmin: overview ===

impl NodeAdmin {
    /// Asks every node for its report, and marks those that do not answer within half a second.
    pub async fn overview(&self) -> Overview {
        let cluster = &self.inner.deps.cluster;
        let members = cluster.nodes();
        let asked = members.iter().map(|member| async move {
            let id = member.id;
            let report = self.ask(id, rpc::NODE_REPORT, &NodeReportQuery, REPORT_TIMEOUT);
            (id, report.await)
        });
        let reports: BTreeMap<NodeId, NodeReport> = join_all(asked)
            .await
            .into_iter()
            .filter_map(|(id, report)| Some((id, report?)))
            .collect();
        // Read after the answers, so that both are of the same moment.
        let status = cluster.status();
        let zones = members
            .into_iter()
            .map(|member| (member.id, member.zone))
            .collect();
        combine(&status, cluster.replication(), &zones, &reports)
    }
}

fn combine(
    status: &Status,
    replication: usize,
    zones: &BTreeMap<NodeId, String>,
    reports: &BTreeMap<NodeId, NodeReport>,
) -> Overview {
    let groups = || status.shards.iter().chain([&status.meta]);
    let nodes = status.nodes.iter().map(|member| {
        let report = reports.get(&member.id);
        NodeOverview {
            id: member.id.0,
            addr: member.addr.clone(),
            zone: zones.get(&member.id).cloned().unwrap_or_default(),
            duty: member.duty.name(),
            silent: report.is_none(),
            alive: member.alive,
            owned: groups().filter(|group| group.owner == Some(member.id)).count() as u64,
            report: report.map(ReportOverview::from),
        }
    });
    Overview {
        node: status.node.0,
        cluster: status.cluster.clone(),
        map_version: status.map_version,
        feature_level: status.feature_level.0,
        replication,
        nodes: nodes.collect(),
        shards: status.shards.iter().map(|shard| group(shard, reports)).collect(),
        meta: group(&status.meta, reports),
    }
}

/// Combines the placement of a group with what its replicas report.
fn group(shard: &ShardStatus, reports: &BTreeMap<NodeId, NodeReport>) -> ShardOverview {
    let found: BTreeMap<NodeId, &rpc::ReplicaReport> = reports
        .iter()
        .filter_map(|(node, report)| {
            let mut replicas = report.replicas.iter();
            Some((*node, replicas.find(|replica| replica.shard == shard.shard)?))
        })
        .collect();
    // A deposed leader may not know it yet: the one with the highest term counts.
    let leaders = found.values().filter(|replica| replica.role == "leader");
    let leader = leaders.max_by_key(|replica| replica.term);
    let newest = leader.or_else(|| found.values().max_by_key(|replica| (replica.term, replica.last)));
    let mut nodes: Vec<NodeId> = shard.replicas.iter().chain(found.keys()).copied().collect();
    nodes.sort_unstable();
    nodes.dedup();
    let replicas = nodes.into_iter().map(|node| {
        let replica = found.get(&node);
        let behind = |replica: &&rpc::ReplicaReport| Some(newest?.last.saturating_sub(replica.applied));
        ReplicaOverview {
            node: node.0,
            role: replica.map(|replica| replica.role.clone()),
            applied: replica.map(|replica| replica.applied),
            lag: replica.and_then(behind),
            voter: newest.map(|newest| newest.voters.contains(&node.0)),
        }
    });
    ShardOverview {
        shard: shard.shard,
        owner: shard.owner.map(|owner| owner.0),
        preferred: shard.preferred.map(|preferred| preferred.0),
        epoch: shard.epoch,
        replicas: replicas.collect(),
    }
}

// === impl ReportOverview ===

impl From<&NodeReport> for ReportOverview {
    fn from(report: &NodeReport) -> ReportOverview {
        ReportOverview {
            version: report.version.clone(),
            uptime_ms: report.uptime_ms,
            state: match report.state {
                ReportedState::Serving => "serving",
                ReportedState::HandingOver => "handing_over",
                ReportedState::Draining => "draining",
                ReportedState::Drained => "drained",
                ReportedState::Isolated => "isolated",
            },
            not_ready: report.not_ready.clone(),
            fsync: report.fsync,
            disk_free_bytes: report.disk_free_bytes,
            disk_reserve_bytes: report.disk_reserve_bytes,
            sessions: report.sessions,
            detached: report.detached,
            connections: report.connections,
            connections_limit: report.connections_limit,
            sends_per_second: report.sends_per_second,
            frames_out_per_second: report.frames_out_per_second,
            ack_p50_ms: report.ack_p50_ms,
            ack_p99_ms: report.ack_p99_ms,
            fsync_p99_ms: report.fsync_p99_ms,
            clock_skew_ms: report.clock_skew_ms,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::rpc::ReplicaReport;

    pub(in crate::admin) fn report(role: &str, term: u64, last: u64, applied: u64) -> NodeReport {
        NodeReport {
            version: "1".to_owned(),
            uptime_ms: 1,
            state: ReportedState::Serving,
            not_ready: None,
            fsync: true,
            disk_free_bytes: 1,
            disk_reserve_bytes: 1,
            sessions: 0,
            detached: 0,
            connections: 0,
            connections_limit: 1,
            sends_per_second: 0.0,
            frames_out_per_second: 0.0,
            ack_p50_ms: None,
            ack_p99_ms: None,
            fsync_p99_ms: None,
            clock_skew_ms: None,
            replicas: vec![ReplicaReport {
                shard: 0,
                role: role.to_owned(),
                term,
                last,
                applied,
                voters: vec![1, 2, 3],
            }],
        }
    }

    #[test]
    fn lag_is_counted_from_the_log_of_the_newest_leader() {
        let reports = BTreeMap::from([
            (NodeId(1), report("leader", 2, 80, 80)),
            (NodeId(2), report("leader", 3, 100, 99)),
            (NodeId(4), report("learner", 3, 70, 60)),
        ]);
        let shard = ShardStatus {
            shard: 0,
            owner: Some(NodeId(2)),
            epoch: 7,
            replicas: vec![NodeId(1), NodeId(2), NodeId(3)],
            preferred: None,
            local: None,
        };
        let found = group(&shard, &reports);
        let rows: Vec<_> = found
            .replicas
            .iter()
            .map(|replica| (replica.node, replica.role.as_deref(), replica.lag, replica.voter))
            .collect();
        let expected = [
            (1, Some("leader"), Some(20), Some(true)),
            (2, Some("leader"), Some(1), Some(true)),
            (3, None, None, Some(true)),
            (4, Some("learner"), Some(40), Some(false)),
        ];
        assert_eq!(rows, expected);
        let unknown = group(&shard, &BTreeMap::new());
        assert_eq!(unknown.replicas.len(), 3);
        assert!(unknown.replicas.iter().all(|replica| replica.voter.is_none()));
    }
}
