//! [`Cluster`]: the cheap-clone handle of a running member. It sends the service's calls and casts: through the
//! transport to another member, directly to the service of this one.
//!
//! Path of a message: step 4 of 13.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use prometheus_client::registry::Registry;
use storage::{ShardId, ShardState, Store};
use tokio::sync::watch;

use crate::clock::ClusterClock;
use crate::config::Config;
use crate::error::{CallError, CastError, Error, NotOwner};
use crate::ids::{FeatureLevel, META_SHARD, NodeDuty, NodeId, NodeInfo, ReplicaComparison, Route, Status};
use crate::member::{Member, MemberCollector};
use crate::service::Service;
use crate::shard::{FailoverHistory, MemberMethod};
use crate::state_machine::StateMachine;
use crate::transport::{self, ConnectionClass, Responder, Transport};

/// Handle of a running cluster member. The member must be started on a multi-thread tokio runtime of its own; the
/// methods may be called from any thread and any executor.
#[derive(Clone)]
pub struct Cluster {
    node: Arc<Member>,
}

// === impl Cluster ===

impl Cluster {
    /// Starts a member: bootstraps or joins a cluster if the data directory is new, otherwise resumes from the disk.
    ///
    /// # Errors
    /// If the disk, the admission or a Raft group fails.
    pub async fn start(
        config: Config,
        store: Store,
        transport: Arc<dyn Transport>,
        machine: Arc<dyn StateMachine>,
        service: Arc<dyn Service>,
    ) -> Result<Cluster, Error> {
        Ok(Cluster {
            node: Member::start(config, store, transport, machine, service).await?,
        })
    }

    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.node.id()
    }

    /// Returns the cluster id.
    #[must_use]
    pub fn cluster_id(&self) -> u64 {
        self.node.cluster()
    }

    /// Returns the shard of a conversation's or a user's id.
    #[must_use]
    pub fn shard_of(&self, key: &(impl AsRef<[u8]> + ?Sized)) -> ShardId {
        crate::shard::shard_of(key.as_ref(), self.shard_count())
    }

    /// Returns the number of shards, without the meta group.
    #[must_use]
    pub fn shard_count(&self) -> u16 {
        self.node.shard_count()
    }

    /// Returns the owner, epoch and replicas of the shard as known to this node.
    #[must_use]
    pub fn route(&self, shard: ShardId) -> Route {
        self.node.route(shard)
    }

    /// Returns a receiver whose value changes whenever any [`route`](Self::route) does.
    #[must_use]
    pub fn routes(&self) -> watch::Receiver<u64> {
        self.node.routes()
    }

    /// Updates the routing table from a `NotOwner` response; ignores an older epoch.
    pub fn hint(&self, shard: ShardId, owner: NodeId, epoch: u64) {
        self.node.hint(shard, owner, epoch);
    }

    /// Returns the epoch under which this node owns the shard; `None` if it does not.
    #[must_use]
    pub fn owned_epoch(&self, shard: ShardId) -> Option<u64> {
        self.node.owned_epoch(shard)
    }

    /// Waits until a local read of the shard sees every write that was acknowledged before this call.
    ///
    /// # Errors
    /// [`NotOwner`] when this node does not own the shard under `epoch`, or cannot prove it.
    pub async fn readable(&self, shard: ShardId, epoch: u64) -> Result<(), NotOwner> {
        self.node.readable(shard, epoch).await
    }

    /// Returns the shard's applied rows on this node. A consistent read calls [`readable`](Self::readable) first.
    #[must_use]
    pub fn state(&self, shard: ShardId) -> ShardState {
        self.node.state(shard)
    }

    /// Sends a request to a node, this one included. The request is enqueued before this returns, so calls keep their
    /// order.
    pub fn call(
        &self,
        to: NodeId,
        method: u16,
        body: Bytes,
        deadline: Duration,
    ) -> impl Future<Output = Result<Bytes, CallError>> + Send + 'static {
        debug_assert!(
            method < MemberMethod::FIRST,
            "{method} is reserved for the cluster"
        );
        // Called before the future is polled, so that requests to this node keep their order, too.
        let answer = if to == self.node.id() {
            let (reply, answer) = Responder::local();
            self.node.service.call(to, method, body, reply);
            async move {
                match tokio::time::timeout(deadline, answer).await {
                    Ok(Ok(answer)) => answer,
                    Ok(Err(_)) => Err(transport::Error::Lost),
                    Err(_) => Err(transport::Error::Timeout),
                }
            }
            .boxed()
        } else {
            let transport = self.node.transport();
            transport.call(to, ConnectionClass::Rpc, method, body, deadline)
        };
        async move {
            answer.await.map_err(|error| match error {
                transport::Error::Refused(reason) => CallError::Refused(reason),
                transport::Error::Unreachable | transport::Error::Closed => CallError::Unreachable,
                transport::Error::Lost | transport::Error::Timeout => CallError::Lost,
                transport::Error::Full => CallError::Busy,
            })
        }
    }

    /// Sends a one-way message on the fan-out connection, in order per destination and connection. A message to this
    /// node itself is delivered directly.
    ///
    /// # Errors
    /// If there is no connection or its queue is full; the message is dropped.
    pub fn cast(&self, to: NodeId, kind: u16, body: Bytes) -> Result<(), CastError> {
        if to == self.node.id() {
            self.node.service.cast(to, self.node.incarnation(), kind, body);
            return Ok(());
        }
        let transport = self.node.transport();
        transport
            .cast(to, ConnectionClass::Fanout, kind, body)
            .map_err(|error| match error {
                transport::Error::Full => CastError::Full,
                _ => CastError::Unreachable,
            })
    }

    /// Returns the feature level of the cluster as known to this node: an owner proposes only what it allows.
    #[must_use]
    pub fn feature_level(&self) -> FeatureLevel {
        self.node.feature_level()
    }

    #[must_use]
    pub fn nodes(&self) -> Vec<NodeInfo> {
        self.node.nodes()
    }

    /// Removes a member for good, running or not; the placement assigns its shards to the others.
    ///
    /// # Errors
    /// The reason for which the map is unchanged: no such member, the last member, or no majority.
    pub async fn remove_node(&self, node: NodeId) -> Result<(), String> {
        self.node.remove_node(node).await
    }

    /// Returns the duty of this member, as the cluster map has it.
    #[must_use]
    pub fn duty(&self) -> NodeDuty {
        self.node.duty()
    }

    /// Returns the number of replicas that the placement makes of each shard if there are as many members.
    #[must_use]
    pub fn replication(&self) -> usize {
        self.node.config.replication
    }

    /// Changes the duty of a member. One that is [leaving](NodeDuty::Leave) gives its replicas to the others, and is
    /// removed for good once it has none.
    ///
    /// # Errors
    /// The reason for which the map is unchanged: no such member, no other that could hold replicas, a feature level
    /// below 2, or no majority.
    pub async fn set_duty(&self, node: NodeId, duty: NodeDuty) -> Result<(), String> {
        self.node.set_duty(node, duty).await
    }

    /// Moves a shard, or the meta group, to one of its replicas, which owns it from then on whenever it can, until
    /// [`release_owners`](Self::release_owners).
    ///
    /// # Errors
    /// The reason for which the map is unchanged: no such shard, no replica on the node, a feature level below 2, or no
    /// majority.
    pub async fn choose_owner(&self, shard: ShardId, node: NodeId) -> Result<(), String> {
        self.node.pin(shard, node).await
    }

    /// Ends every choice of an owner: the placement prefers owners such that each member has its share.
    ///
    /// # Errors
    /// The reason for which the map is unchanged.
    pub async fn release_owners(&self) -> Result<(), String> {
        self.node.unpin().await
    }

    /// Compares all rows of a shard's replicas at one index. Every replica reads all of its rows.
    ///
    /// # Errors
    /// The shard has no owner, or its replicas were not at one index in time.
    pub async fn compare_replicas(&self, shard: ShardId) -> Result<ReplicaComparison, String> {
        let node = self.node.clone();
        self.node
            .run(async move { node.compare_at_owner(shard).await })
            .await
    }

    /// Deletes the replica of a node, if it alone differs from a majority, and lets it be filled again.
    ///
    /// # Errors
    /// The reason for which the replica is as it was.
    pub async fn rebuild_replica(&self, shard: ShardId, node: NodeId) -> Result<(), String> {
        let member = self.node.clone();
        let work = async move { member.rebuild_at_owner(shard, node).await };
        self.node.run(work).await
    }

    /// Returns the id of the meta group, whose replicas can be compared as those of a shard.
    #[must_use]
    pub fn meta_group(&self) -> ShardId {
        META_SHARD
    }

    /// Returns the history of failovers from a time on, from the meta group's owner, or without it from this node's
    /// replica.
    ///
    /// # Errors
    /// The reason for which neither is available.
    pub async fn failovers(&self, since_ms: u64) -> Result<FailoverHistory, String> {
        self.node.failovers(since_ms).await
    }

    /// Returns the status for operators, the response of `GET /v1/cluster`.
    #[must_use]
    pub fn status(&self) -> Status {
        self.node.status()
    }

    /// Checks that this node can serve clients. The disk works, a majority is connected and the clock is right. Once
    /// since its start, every shard had an owner and the node had caught up with its replicas.
    ///
    /// # Errors
    /// The first condition that does not hold.
    pub fn ready(&self) -> Result<(), String> {
        self.node.ready()
    }

    /// Returns the number of replicas on this node that stopped before an entry that this build cannot decode.
    #[must_use]
    pub fn failed_replicas(&self) -> usize {
        self.node.failed_replicas()
    }

    /// Returns true if the node has had no connections to a majority of the members for longer than
    /// [`isolated_after`](Config::isolated_after).
    #[must_use]
    pub fn isolated(&self) -> bool {
        self.node.isolated()
    }

    /// Returns true if an operator removed this member from the cluster. The member then owns nothing, and
    /// [`ready`](Self::ready) returns instructions for the operator.
    #[must_use]
    pub fn removed(&self) -> bool {
        self.node.removed()
    }

    /// Transfers all owned shards to other replicas and accepts none any more. Returns when all are transferred or at
    /// the deadline.
    pub async fn drain(&self) {
        self.node.drain().await;
    }

    /// Accepts shards again after a [`drain`](Self::drain): the members return those that prefer this one.
    pub fn resume(&self) {
        self.node.resume();
    }

    /// Returns the number of shards, with the meta group, that this member owns.
    #[must_use]
    pub fn owned_shards(&self) -> usize {
        self.node.owned().len()
    }

    /// Purges, on this node, the log entries that were applied at the previous call, however few they are. By itself a
    /// shard purges only after [`snapshot_every`](crate::config::ClusterTuning::snapshot_every) entries. A follower that lags behind the
    /// purged entries receives a snapshot, so call it rarely.
    pub async fn trim(&self) {
        self.node.trim().await;
    }

    /// Stops every group and the transport. The store stays open; the caller closes it.
    pub async fn shutdown(&self) {
        self.node.shutdown().await;
    }

    /// Proposes a batch under an arbitrary epoch, as a deposed owner would. Returns true if the commands were applied,
    /// `None` if there is no replica here or the proposal failed.
    #[cfg(feature = "planted-bugs")]
    pub async fn propose_as(&self, shard: ShardId, epoch: u64, commands: Vec<Bytes>) -> Option<bool> {
        self.node.propose_as(shard, epoch, commands).await
    }

    /// Returns the member's clock, which stays close to the majority's.
    #[must_use]
    pub fn clock(&self) -> &ClusterClock {
        self.node.clock()
    }

    /// Registers the metrics of the member: its counters, and the state that each scrape determines.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.node.metrics().register(registry);
        registry.register_collector(Box::new(MemberCollector::new(&self.node)));
    }
}
