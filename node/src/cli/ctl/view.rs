//! Answers of the admin API, as far as the commands use them. Fields that are not declared are ignored, so that the JSON
//! output does not change with the API.

use serde::{Deserialize, Serialize};

/// Number of the meta group.
const META: u16 = u16::MAX;

/// Answer of `GET /v1/admin/overview`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct OverviewView {
    pub(super) node: u64,
    pub(super) cluster: String,
    #[serde(default, skip_serializing)]
    pub(super) map_version: u64,
    pub(super) feature_level: u32,
    pub(super) replication: usize,
    pub(super) nodes: Vec<NodeView>,
    pub(super) shards: Vec<ShardView>,
    pub(super) meta: ShardView,
}

/// Node with its report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct NodeView {
    pub(super) id: u64,
    pub(super) addr: String,
    pub(super) zone: String,
    /// `replicas`, `gateway` or `leaving`.
    #[serde(default = "usual_duty", skip_serializing_if = "is_usual_duty")]
    pub(super) duty: String,
    /// True without an answer within the time of the overview.
    pub(super) silent: bool,
    pub(super) owned: u64,
    pub(super) report: Option<ReportView>,
}

/// Report of a node about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct ReportView {
    pub(super) version: String,
    pub(super) uptime_ms: u64,
    pub(super) state: String,
    pub(super) not_ready: Option<String>,
    pub(super) fsync: bool,
    pub(super) disk_free_bytes: u64,
    pub(super) disk_reserve_bytes: u64,
    pub(super) sessions: u64,
    pub(super) detached: u64,
    pub(super) connections: u64,
    pub(super) connections_limit: u64,
    pub(super) sends_per_second: f64,
    pub(super) frames_out_per_second: f64,
    #[serde(default)]
    pub(super) ack_p50_ms: Option<f64>,
    #[serde(default)]
    pub(super) ack_p99_ms: Option<f64>,
    #[serde(default)]
    pub(super) fsync_p99_ms: Option<f64>,
    pub(super) clock_skew_ms: Option<i64>,
}

/// A shard, or the meta group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct ShardView {
    pub(super) shard: u16,
    pub(super) owner: Option<u64>,
    #[serde(default, skip_serializing)]
    pub(super) preferred: Option<u64>,
    pub(super) epoch: u64,
    pub(super) replicas: Vec<ReplicaView>,
}

/// Replica of a shard on one node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct ReplicaView {
    pub(super) node: u64,
    pub(super) role: Option<String>,
    pub(super) applied: Option<u64>,
    pub(super) lag: Option<u64>,
    pub(super) voter: Option<bool>,
}

/// Returns the duty of a node without another one, which nodes of older versions do not show.
fn usual_duty() -> String {
    "replicas".to_owned()
}

fn is_usual_duty(duty: &str) -> bool {
    duty == "replicas"
}

/// Returns the name of a group: its number, or `meta`.
pub(super) fn group_name(shard: u16) -> String {
    match shard {
        META => "meta".to_owned(),
        shard => shard.to_string(),
    }
}

// === impl OverviewView, NodeView, ShardView ===

impl OverviewView {
    /// Path of the overview.
    pub(super) const PATH: &'static str = "/v1/admin/overview";

    /// Returns the number of replicas that each group should have.
    pub(super) fn wanted_replicas(&self) -> usize {
        let holders = self.nodes.iter().filter(|node| is_usual_duty(&node.duty));
        self.replication.min(holders.count())
    }

    /// Returns in one sentence how much of the cluster works.
    pub(super) fn sentence(&self) -> String {
        let (nodes, shards) = (self.nodes.len(), self.shards.len());
        let answer = self.nodes.iter().filter(|node| !node.silent).count();
        let owned = self.shards.iter().filter(|shard| shard.owner.is_some()).count();
        format!("{answer} of {nodes} nodes answer, {owned} of {shards} shards have an owner")
    }

    /// Returns all shards, and the meta group.
    pub(super) fn groups(&self) -> impl Iterator<Item = &ShardView> {
        self.shards.iter().chain([&self.meta])
    }
}

impl NodeView {
    /// Returns whether the node gives its replicas to others, to be removed.
    pub(super) fn leaves(&self) -> bool {
        self.duty == "leaving"
    }

    /// Returns the state of the node, with its duty unless that is the usual one.
    pub(super) fn state_and_duty(&self) -> String {
        match &self.duty {
            duty if is_usual_duty(duty) => self.state().to_owned(),
            duty => format!("{}, {duty}", self.state()),
        }
    }

    /// Returns the state of the node in one word.
    pub(super) fn state(&self) -> &str {
        match &self.report {
            None => "silent",
            Some(report) if report.state == "serving" && report.not_ready.is_some() => "not_ready",
            Some(report) => &report.state,
        }
    }
}

impl ShardView {
    /// Returns the name of the group.
    pub(super) fn name(&self) -> String {
        group_name(self.shard)
    }

    /// Returns the number of voters, and of those among them that report to vote.
    pub(super) fn votes(&self) -> (usize, usize) {
        let voters = self
            .replicas
            .iter()
            .filter(|replica| replica.voter != Some(false));
        let works = |replica: &&ReplicaView| {
            let role = replica.role.as_deref();
            matches!(role, Some("leader" | "follower" | "candidate"))
        };
        (voters.clone().count(), voters.filter(works).count())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Returns the state of three nodes that own a shard each, without a problem.
    pub(in crate::cli::ctl) fn healthy() -> OverviewView {
        let report = ReportView {
            version: "0.1.0".to_owned(),
            uptime_ms: 90_061_000,
            state: "serving".to_owned(),
            not_ready: None,
            fsync: true,
            disk_free_bytes: 10 << 30,
            disk_reserve_bytes: 1 << 30,
            sessions: 12,
            detached: 3,
            connections: 14,
            connections_limit: 1_000,
            sends_per_second: 2.5,
            frames_out_per_second: 40.0,
            ack_p50_ms: Some(2.5),
            ack_p99_ms: Some(9.0),
            fsync_p99_ms: None,
            clock_skew_ms: Some(-2),
        };
        let node = |id: u64| NodeView {
            id,
            addr: format!("10.0.0.{id}:9080"),
            zone: String::new(),
            duty: "replicas".to_owned(),
            silent: false,
            owned: if id == 1 { 2 } else { 1 },
            report: Some(report.clone()),
        };
        let replica = |node: u64, owner: u64| ReplicaView {
            node,
            role: Some(if node == owner { "leader" } else { "follower" }.to_owned()),
            applied: Some(100),
            lag: Some(if node == owner { 0 } else { 1 }),
            voter: Some(true),
        };
        let shard = |shard: u16, owner: u64| ShardView {
            shard,
            owner: Some(owner),
            preferred: Some(owner),
            epoch: 7,
            replicas: (1..=3).map(|node| replica(node, owner)).collect(),
        };
        OverviewView {
            node: 1,
            cluster: "f5e62b3f67b8a9d9".to_owned(),
            map_version: 3,
            feature_level: 1,
            replication: 3,
            nodes: (1..=3).map(node).collect(),
            shards: (0..3).map(|at| shard(at, u64::from(at) + 1)).collect(),
            meta: shard(META, 1),
        }
    }

    /// Returns that state without node 3, which is silent.
    pub(in crate::cli::ctl) fn one_silent() -> OverviewView {
        let mut view = healthy();
        view.nodes[2].silent = true;
        view.nodes[2].report = None;
        for shard in view.shards.iter_mut().chain([&mut view.meta]) {
            let replica = &mut shard.replicas[2];
            (replica.role, replica.applied, replica.lag) = (None, None, None);
        }
        view.shards[2].owner = None;
        view
    }

    #[test]
    fn votes_are_those_of_replicas_that_work() {
        let mut shard = healthy().meta;
        assert_eq!(shard.votes(), (3, 3));
        shard.replicas[0].role = Some("failed".to_owned());
        shard.replicas[1].role = None;
        assert_eq!((shard.votes(), shard.name()), ((3, 1), "meta".to_owned()));
        shard.replicas[2].voter = Some(false);
        assert_eq!(shard.votes(), (2, 0));
    }
}
