//! Metrics that follow from the state of a member, determined by each scrape and not by each change.

use std::fmt;
use std::sync::{Arc, Weak};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::ids::{GroupStatus, shard_name};
use crate::member::Member;

/// Collector of the state of a member and of its replicas.
///
/// It does not keep the member alive: a registry may outlive the node.
pub(crate) struct MemberCollector {
    member: Weak<Member>,
}

/// Replica of this node: its shard, and the state of its group.
struct ReplicaState {
    shard: String,
    /// Epoch of the shard, if this node owns it.
    epoch: Option<u64>,
    group: GroupStatus,
}

// === impl MemberCollector ===

impl MemberCollector {
    pub(crate) fn new(member: &Arc<Member>) -> MemberCollector {
        MemberCollector {
            member: Arc::downgrade(member),
        }
    }
}

impl fmt::Debug for MemberCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemberCollector").finish_non_exhaustive()
    }
}

impl Collector for MemberCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(member) = self.member.upgrade() else {
            return Ok(());
        };
        let (members, alive) = member.member_counts();
        let counts = [
            ("members", "Members of the cluster", members),
            (
                "members_alive",
                "Members to which this node has a connection, with itself",
                alive,
            ),
            (
                "draining",
                "1 while this node hands its shards over to stop",
                usize::from(member.is_draining()),
            ),
            (
                "replicas_failed",
                "Replicas on this node that stopped before an entry that this build cannot decode",
                member.failed_replicas(),
            ),
            (
                "shards_without_owner",
                "Shards, with the meta group, whose owner has not announced itself to this node for 3 s",
                member.shards_without_owner(),
            ),
            (
                "shards_without_spare",
                "Shards, with the meta group, of three replicas or more that lose their quorum with the next node",
                member.shards_without_spare(),
            ),
        ];
        for (name, help, value) in counts {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            gauge(value as u64).encode(metric)?;
        }
        let replicas: Vec<ReplicaState> = member
            .all_replicas()
            .iter()
            .map(|replica| ReplicaState {
                shard: shard_name(replica.group.shard()),
                epoch: replica.epoch(),
                group: replica.group.status(),
            })
            .collect();
        encode_replicas(&replicas, &mut encoder)
    }
}

fn encode_replicas(replicas: &[ReplicaState], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let mut roles = encoder.encode_descriptor(
        "replica_role",
        "1 for the role of each replica on this node in its Raft group",
        None,
        MetricType::Gauge,
    )?;
    for replica in replicas {
        let labels = [("shard", replica.shard.as_str()), ("role", replica.group.role)];
        gauge(1).encode(roles.encode_family(&labels)?)?;
    }
    let mut applied = encoder.encode_descriptor(
        "replica_applied_index",
        "Log index up to which each replica on this node is applied",
        None,
        MetricType::Gauge,
    )?;
    for replica in replicas {
        let labels = [("shard", replica.shard.as_str())];
        gauge(replica.group.applied).encode(applied.encode_family(&labels)?)?;
    }
    let mut lags = encoder.encode_descriptor(
        "replica_lag_entries",
        "Log entries that each other replica of a group lacks, on its leader",
        None,
        MetricType::Gauge,
    )?;
    for replica in replicas {
        for (peer, lag) in &replica.group.lag {
            let peer = peer.to_string();
            let labels = [("shard", replica.shard.as_str()), ("peer", peer.as_str())];
            gauge(*lag).encode(lags.encode_family(&labels)?)?;
        }
    }
    let mut epochs = encoder.encode_descriptor(
        "shard_epoch",
        "Epoch of each shard that this node owns",
        None,
        MetricType::Gauge,
    )?;
    for replica in replicas {
        if let Some(epoch) = replica.epoch {
            let labels = [("shard", replica.shard.as_str())];
            gauge(epoch).encode(epochs.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn gauge(value: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}
