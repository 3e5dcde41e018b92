//! Report of this node about itself.

use cluster::{Cluster, NodeDuty, ShardStatus};

use super::NodeAdmin;
use crate::rpc::{NodeReport, ReplicaReport, ReportedState};
use crate::session::NodeState;

// === impl NodeAdmin: report ===

impl NodeAdmin {
    /// Returns the reason for which this node accepts no clients.
    ///
    /// # Errors
    /// The reason, as `/readyz` shows it.
    pub fn readiness(&self) -> Result<(), String> {
        let cluster = &self.inner.deps.cluster;
        match self.inner.deps.admission.order() {
            // Not ready before the sessions close, so that load balancers send clients elsewhere in time.
            NodeState::HandOver | NodeState::Drain if cluster.removed() => cluster.ready(),
            NodeState::HandOver | NodeState::Drain if cluster.duty() == NodeDuty::Leave => {
                let status = cluster.status();
                let replicas = status.shards.iter().chain([&status.meta]);
                let left = replicas.filter(|shard| shard.local.is_some()).count();
                Err(format!("leaving the cluster: {left} replicas are still here"))
            }
            NodeState::HandOver | NodeState::Drain => Err("draining".to_owned()),
            // The cluster's reason is the more specific one, for example that an operator removed this node.
            NodeState::Isolated => {
                let reason = cluster.ready().err();
                Err(reason.unwrap_or_else(|| "isolated: quorum lost".to_owned()))
            }
            NodeState::Serve => cluster.ready(),
        }
    }

    /// Returns the state of this node.
    pub(super) fn report(&self) -> NodeReport {
        let deps = &self.inner.deps;
        let status = deps.cluster.status();
        let own = status.nodes.iter().find(|node| node.id == status.node);
        let rates = self.inner.rates.lock();
        NodeReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_ms: u64::try_from(self.inner.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            state: self.state(&deps.cluster),
            not_ready: self.readiness().err(),
            fsync: deps.fsync,
            disk_free_bytes: unsigned(deps.storage.free_bytes.get()),
            disk_reserve_bytes: unsigned(deps.storage.free_space_reserve_bytes.get()),
            sessions: deps.admission.sessions() as u64,
            detached: deps.sessions.detached_count() as u64,
            connections: unsigned(deps.connections.0.get()),
            connections_limit: unsigned(deps.connections.1.get()),
            sends_per_second: rates.sends,
            frames_out_per_second: rates.frames_out,
            ack_p50_ms: rates.latencies.ack_p50,
            ack_p99_ms: rates.latencies.ack_p99,
            fsync_p99_ms: rates.latencies.fsync_p99,
            clock_skew_ms: own.and_then(|own| own.clock_skew_ms),
            replicas: status
                .shards
                .iter()
                .chain([&status.meta])
                .filter_map(replica)
                .collect(),
        }
    }

    fn state(&self, cluster: &Cluster) -> ReportedState {
        let admission = &self.inner.deps.admission;
        match admission.order() {
            NodeState::Serve => ReportedState::Serving,
            NodeState::HandOver => ReportedState::HandingOver,
            NodeState::Drain if admission.sessions() == 0 && cluster.owned_shards() == 0 => {
                ReportedState::Drained
            }
            NodeState::Drain => ReportedState::Draining,
            NodeState::Isolated => ReportedState::Isolated,
        }
    }
}

/// Returns the replica of this node; `None` if it has none.
fn replica(shard: &ShardStatus) -> Option<ReplicaReport> {
    let local = shard.local.as_ref()?;
    Some(ReplicaReport {
        shard: shard.shard,
        role: local.role.to_owned(),
        term: local.term,
        last: local.last,
        applied: local.applied,
        voters: local.voters.iter().map(|node| node.0).collect(),
    })
}

/// Returns the value of a gauge that is never negative.
fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
