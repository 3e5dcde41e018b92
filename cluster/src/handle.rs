//! [`Cluster`]: the cheap-clone handle of a running member.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use storage::{ShardId, State, Store};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::config::Config;
use crate::error::{CallError, CastError, Error, NotOwner};
use crate::machine::Machine;
use crate::metrics::Metrics;
use crate::node::Node;
use crate::service::Service;
use crate::transport::Transport;
use crate::types::{NodeId, NodeInfo, Route, Status};

/// A running member of a cluster. Must be started on a multi-thread tokio runtime of its own; its methods may be
/// called from any thread and any executor.
#[derive(Clone)]
pub struct Cluster {
    node: Arc<Node>,
}

// === impl Cluster ===

impl Cluster {
    /// Starts a member: bootstraps or joins if the data directory is new, otherwise goes on where it stopped.
    ///
    /// # Errors
    /// When the disk, the admission or a Raft group refuses.
    pub async fn start(
        config: Config,
        store: Store,
        transport: Arc<dyn Transport>,
        machine: Arc<dyn Machine>,
        service: Arc<dyn Service>,
    ) -> Result<Cluster, Error> {
        Ok(Cluster {
            node: Node::start(config, store, transport, machine, service).await?,
        })
    }

    /// This member's id.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.node.id()
    }

    /// The shard of a conversation's or a user's id.
    #[must_use]
    pub fn shard_of(&self, key: &[u8]) -> ShardId {
        crate::shard::shard_of(key, self.shard_count())
    }

    /// Number of shards, the meta group not counted.
    #[must_use]
    pub fn shard_count(&self) -> u16 {
        self.node.shard_count()
    }

    /// Who owns the shard, as far as this node has heard.
    #[must_use]
    pub fn route(&self, shard: ShardId) -> Route {
        self.node.route(shard)
    }

    /// Changes whenever any [`route`](Self::route) does.
    #[must_use]
    pub fn routes(&self) -> watch::Receiver<u64> {
        self.node.routes()
    }

    /// Takes over what a refusal said about the owner; an older epoch than the one known is ignored.
    pub fn hint(&self, shard: ShardId, owner: NodeId, epoch: u64) {
        self.node.hint(shard, owner, epoch);
    }

    /// The epoch under which this node owns the shard.
    #[must_use]
    pub fn owned_epoch(&self, shard: ShardId) -> Option<u64> {
        self.node.owned_epoch(shard)
    }

    /// Waits until a local read of the shard sees every write that was acknowledged before this call.
    ///
    /// # Errors
    /// [`NotOwner`] when this node doesn't own the shard under `epoch`, or can't prove it.
    pub async fn readable(&self, shard: ShardId, epoch: u64) -> Result<(), NotOwner> {
        self.node.readable(shard, epoch).await
    }

    /// The shard's applied rows on this node. Reading them needs [`readable`](Self::readable) first.
    #[must_use]
    pub fn state(&self, shard: ShardId) -> State {
        self.node.state(shard)
    }

    /// Sends a request to a node (this one included). It is queued before this returns, so calls keep their order.
    pub fn call(
        &self,
        to: NodeId,
        method: u16,
        body: Bytes,
        deadline: Duration,
    ) -> impl Future<Output = Result<Bytes, CallError>> + Send + 'static {
        self.node.call(to, method, body, deadline)
    }

    /// Sends a one-way message on the fan-out lane, in order per destination and link; to oneself it loops back.
    ///
    /// # Errors
    /// When there is no link or the lane is full; the message is dropped.
    pub fn cast(&self, to: NodeId, kind: u16, body: Bytes) -> Result<(), CastError> {
        self.node.cast(to, kind, body)
    }

    /// All members.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeInfo> {
        self.node.nodes()
    }

    /// Forgets a member for good, dead or alive; its shards are placed on the others.
    ///
    /// # Errors
    /// Says why the map was not changed: no such member, the last one, or no majority to decide it.
    pub async fn remove_node(&self, node: NodeId) -> Result<(), String> {
        self.node.remove_node(node).await
    }

    /// What an operator wants to see.
    #[must_use]
    pub fn status(&self) -> Status {
        self.node.status()
    }

    /// Whether clients are served well here: every shard has a known owner, a majority is in sight, the disk works.
    ///
    /// # Errors
    /// Says what is missing.
    pub fn ready(&self) -> Result<(), String> {
        self.node.ready()
    }

    /// Whether a majority of the members has been out of sight for longer than
    /// [`isolated_after`](Config::isolated_after).
    #[must_use]
    pub fn isolated(&self) -> bool {
        self.node.isolated()
    }

    /// Returns whether an operator removed this member from the cluster. It owns nothing then, and
    /// [`ready`](Self::ready) says what to do.
    #[must_use]
    pub fn removed(&self) -> bool {
        self.node.removed()
    }

    /// Hands all owned shards to other replicas and takes none any more. Returns when done or at the deadline.
    pub async fn drain(&self) {
        self.node.drain().await;
    }

    /// Purges, on this node, the log entries that were applied when this was called last, however few they are; by
    /// itself a shard purges only when [`snapshot_every`](Config::snapshot_every) entries have come. A follower that
    /// lags behind the purged ones receives a snapshot, so call it rarely: what followers had no time for between two
    /// calls is a long way behind.
    pub async fn trim(&self) {
        self.node.trim().await;
    }

    /// Stops every group and the transport. The store stays open: it is the caller's.
    pub async fn shutdown(&self) {
        self.node.shutdown().await;
    }

    /// Proposes a batch under an epoch of the caller's choice, as an owner that was deposed without knowing would.
    /// Returns whether the commands were applied.
    #[cfg(feature = "planted-bugs")]
    pub async fn propose_as(&self, shard: ShardId, epoch: u64, commands: Vec<Bytes>) -> Option<bool> {
        self.node.propose_as(shard, epoch, commands).await
    }

    /// What time it is, by this machine's clock and the others'.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        self.node.clock()
    }

    /// Figures for the metrics page.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        self.node.metrics()
    }
}
