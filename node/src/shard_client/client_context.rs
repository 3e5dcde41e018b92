//! State of one node that its client of the shard owners needs, and everything that is built on the client.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cluster::{Cluster, ClusterClock, NodeId, ShardId};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::local_shards::LocalShards;
use super::profile_cache::ProfileCache;
use super::{CommandQueue, OwnerClient};
use crate::rpc::RpcError;
use crate::state_machine::AdditionLimits;
use crate::telemetry::{ConversationMetrics, UserMetrics};

/// Times and limits of the client.
#[derive(Clone, Debug)]
pub(crate) struct ClientSettings {
    /// Time after which a command without a response is refused.
    pub(crate) command_timeout: Duration,
    /// Time after which a query without a response is refused.
    pub(crate) query_timeout: Duration,
    /// Interval at which the members' shards are notified of messages in an active conversation.
    pub(crate) activity_window: Duration,
    /// Limits on how often others may make a user a member.
    pub(crate) added: AdditionLimits,
    /// Clock of the cluster member.
    pub(crate) clock: ClusterClock,
}

pub(crate) struct ClientContext {
    pub(crate) settings: ClientSettings,
    /// Identifies this process to the shard owners; random.
    pub(crate) incarnation: u64,
    pub(crate) metrics: ConversationMetrics,
    pub(crate) user_metrics: UserMetrics,
    /// Profiles that this node has read, for side tables.
    pub(super) profiles: Mutex<ProfileCache>,
    /// Runtime of tasks that wait for other nodes.
    pub(crate) runtime: Handle,
    /// Set once, when the cluster member runs.
    joined: OnceLock<JoinedCluster>,
    pub(crate) stop: CancellationToken,
}

struct JoinedCluster {
    owners: OwnerClient,
    command_queues: Vec<Arc<CommandQueue>>,
    local: Arc<dyn LocalShards>,
}

// === impl ClientContext ===

impl ClientContext {
    pub(crate) fn new(
        settings: ClientSettings,
        metrics: ConversationMetrics,
        user_metrics: UserMetrics,
        runtime: Handle,
    ) -> ClientContext {
        ClientContext {
            settings,
            incarnation: rand::random(),
            metrics,
            user_metrics,
            profiles: Mutex::default(),
            runtime,
            joined: OnceLock::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Returns the running cluster member, or `None` until it runs.
    pub(crate) fn cluster(&self) -> Option<&Cluster> {
        self.owners().map(OwnerClient::cluster)
    }

    /// Returns the client of the shard owners, or `None` until the cluster member runs.
    pub(crate) fn owners(&self) -> Option<&OwnerClient> {
        self.joined.get().map(|joined| &joined.owners)
    }

    /// Returns the shards of this node, or `None` until the cluster member runs.
    pub(crate) fn local(&self) -> Option<&Arc<dyn LocalShards>> {
        self.joined.get().map(|joined| &joined.local)
    }

    /// Returns the command queue of a shard, or `None` until the cluster member runs.
    pub(crate) fn command_queue(&self, shard: ShardId) -> Option<&Arc<CommandQueue>> {
        self.joined.get()?.command_queues.get(usize::from(shard.0))
    }

    /// Returns all command queues, indexed by shard; empty until the cluster member runs.
    pub(crate) fn command_queues(&self) -> &[Arc<CommandQueue>] {
        self.joined.get().map_or(&[], |joined| &joined.command_queues)
    }

    /// Sets the client of the running cluster member, the command queues and the shards of this node. Returns false,
    /// without effect, if they are set already.
    pub(crate) fn join(
        &self,
        owners: OwnerClient,
        command_queues: Vec<Arc<CommandQueue>>,
        local: Arc<dyn LocalShards>,
    ) -> bool {
        self.joined
            .set(JoinedCluster {
                owners,
                command_queues,
                local,
            })
            .is_ok()
    }

    /// Creates the refusal that names the shard owner as known here, never this node itself.
    pub(crate) fn not_owner(&self, shard: ShardId) -> RpcError {
        let Some(cluster) = self.cluster() else {
            return RpcError::NotOwner {
                owner: None,
                epoch: 0,
            };
        };
        let route = cluster.route(shard);
        // A stale route may name this node; callers would send the request here again and again.
        let owner = route.owner.filter(|owner| *owner != cluster.node_id());
        RpcError::NotOwner {
            owner: owner.map(|NodeId(id)| id),
            epoch: route.epoch,
        }
    }
}
