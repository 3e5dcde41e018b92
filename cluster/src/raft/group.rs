//! [`Group`]: a handle to one Raft group on this node, in this crate's words.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::{EmptyNode, ServerState, SnapshotPolicy};
use parking_lot::Mutex;
use storage::{ShardId, Store};

use crate::blocking::in_place;
use crate::config::Config;
use crate::error::{Error, ProposeError};
use crate::machine::Machine;
use crate::raft::digest::Standing;
use crate::raft::log_store::LogStore;
use crate::raft::network::{Factory, Method};
use crate::raft::state_machine::{StateMachine, Watcher};
use crate::raft::tally::Tally;
use crate::raft::{Answer, Proposal, Raft, TypeConfig};
use crate::transport::{Lane, Transport};
use crate::types::{GroupStatus, NodeId, shard_name};

/// A Raft group on this node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Group {
    shard: ShardId,
    raft: Raft,
    log: LogStore,
    transport: Arc<dyn Transport>,
    standing: Arc<Mutex<Standing>>,
}

/// What a group needs from its node.
pub(crate) struct Parts {
    pub(crate) node: NodeId,
    pub(crate) store: Store,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) machine: Arc<dyn Machine>,
    pub(crate) watcher: Arc<dyn Watcher>,
}

/// Follows whether this replica leads.
pub(crate) struct Leadership {
    metrics: openraft::alias::WatchReceiverOf<TypeConfig, openraft::metrics::RaftServerMetrics<TypeConfig>>,
    node: u64,
}

// === impl Group ===

impl Group {
    /// Starts a replica where it stopped, or as an empty one that waits for a leader.
    pub(crate) async fn start(shard: ShardId, config: &Config, parts: Parts) -> Result<Group, Error> {
        let failed = |reason: String| Error::Raft {
            shard: shard_name(shard),
            reason,
        };
        let log = in_place(|| LogStore::open(parts.store.log(shard))).map_err(|e| failed(e.to_string()))?;
        let machine = StateMachine::open(
            shard,
            parts.store.state(shard),
            parts.machine,
            parts.watcher,
            log.flushed(),
        )
        .map_err(|e| failed(e.to_string()))?;
        let factory = Factory {
            shard,
            transport: parts.transport.clone(),
            append_deadline: config.election_max.max(Duration::from_secs(1)),
            snapshot_rate: config.snapshot_rate,
        };
        let standing = machine.standing();
        let settings = settings(config).map_err(failed)?;
        let raft = Raft::new(parts.node.0, Arc::new(settings), factory, log.clone(), machine)
            .await
            .map_err(|e| failed(e.to_string()))?;
        let group = Group {
            shard,
            raft,
            log,
            transport: parts.transport,
            standing,
        };
        if group.voters().iter().eq([&parts.node]) {
            // Nobody else could lead: don't wait for an election timeout. Fails only on a stopped group.
            drop(group.raft.trigger().elect(false).await);
        }
        Ok(group)
    }

    pub(crate) fn shard(&self) -> ShardId {
        self.shard
    }

    pub(crate) fn raft(&self) -> Raft {
        self.raft.clone()
    }

    /// Makes this replica the group's only member, if the group is brand new here.
    pub(crate) async fn initialize(&self, node: NodeId) -> Result<(), Error> {
        if !self.log.is_pristine() {
            return Ok(());
        }
        let members = std::collections::BTreeMap::from([(node.0, EmptyNode {})]);
        self.raft.initialize(members).await.map_err(|e| Error::Raft {
            shard: shard_name(self.shard),
            reason: e.to_string(),
        })
    }

    /// Proposes an entry and waits until it is applied here. Returns its index.
    pub(crate) async fn propose(&self, proposal: Proposal) -> Result<(u64, Answer), ProposeError> {
        match self.raft.client_write(proposal).await {
            Ok(response) => Ok((response.log_id.index, response.data)),
            // Refused before it was appended.
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => Err(ProposeError::NotOwner),
            Err(RaftError::APIError(_) | RaftError::Fatal(_)) => Err(ProposeError::Unknown),
        }
    }

    /// The newest term that this replica has voted in or heard of.
    pub(crate) fn promised(&self) -> u64 {
        self.log.promised()
    }

    /// Asks another replica for its [`promised`](Self::promised) term. The question is queued before this returns.
    pub(crate) fn ask_promised(
        &self,
        node: NodeId,
        deadline: Duration,
    ) -> impl Future<Output = Option<u64>> + Send + 'static {
        let body = Bytes::copy_from_slice(&self.shard.0.to_be_bytes());
        let answer = self
            .transport
            .call(node, Lane::Raft, Method::Promised as u16, body, deadline);
        async move {
            answer
                .await
                .ok()?
                .as_ref()
                .try_into()
                .ok()
                .map(u64::from_be_bytes)
        }
    }

    /// Counts the group's voters, by the newest membership in the log. What this replica shows of it is at most one change
    /// old, and the majorities of one change share a member.
    pub(crate) fn tally(&self) -> Tally {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let sets = metrics.membership_config.membership().get_joint_config();
        Tally::of(
            sets.iter()
                .map(|set| set.iter().copied().map(NodeId).collect())
                .collect(),
        )
    }

    /// Whether the leader's lease holds, as openraft reckons it; asks a quorum when it has run out. Not relied upon, see
    /// [`crate::shard::read`].
    #[cfg(feature = "planted-bugs")]
    pub(crate) async fn leased(&self, deadline: Duration) -> bool {
        let policy = openraft::LinearizerOption::from(openraft::ReadPolicy::LeaseRead);
        let policy = policy.with_wait_timeout(deadline);
        self.raft.ensure_linearizable(policy).await.is_ok()
    }

    /// Has the leader tell its followers that it lives. Nothing on a follower; a group that can't take the order now is
    /// busy with entries, which say the same.
    pub(crate) fn heartbeat(&self) {
        if self.raft.server_metrics().borrow_watched().state == ServerState::Leader {
            drop(self.raft.trigger().heartbeat().now_or_never());
        }
    }

    /// Whether this replica stands for election when nobody leads.
    pub(crate) fn stand(&self, stands: bool) {
        self.raft.runtime_config().elect(stands);
    }

    pub(crate) fn leadership(&self) -> Leadership {
        let metrics = self.raft.server_metrics();
        let node = metrics.borrow_watched().id;
        Leadership { metrics, node }
    }

    /// Hands leadership over. Returns at once; the target takes it when it has all entries.
    pub(crate) async fn transfer_to(&self, target: NodeId) {
        // Fails only on a stopped group, where there is nothing to hand over.
        drop(self.raft.trigger().transfer_leader(target.0).await);
    }

    /// Purges the entries up to `mark`, which an earlier call returned, and makes the later ones purgeable. Returns the
    /// position of now, for the next call.
    pub(crate) async fn trim(&self, mark: u64) -> u64 {
        let applied = self
            .raft
            .metrics()
            .borrow_watched()
            .last_applied
            .map_or(0, |l| l.index);
        // Both fail only on a stopped group, which has nothing to purge.
        if mark > 0 {
            drop(self.raft.trigger().purge_log(mark).await);
        }
        drop(self.raft.trigger().snapshot().await);
        applied
    }

    /// Nodes that vote, by the newest membership in the log.
    pub(crate) fn voters(&self) -> BTreeSet<NodeId> {
        self.raft
            .server_metrics()
            .borrow_watched()
            .membership_config
            .voter_ids()
            .map(NodeId)
            .collect()
    }

    /// Returns the nodes that vote by the newest configuration that is committed and applied here; `None` while that is
    /// not known. A configuration in the log alone may still be taken back by another leader.
    pub(crate) async fn applied_voters(&self) -> Option<Vec<NodeId>> {
        let committed = self.raft.with_raft_state(|state| {
            let committed = state.membership_state.committed();
            (*committed.log_id(), committed.voter_ids().collect::<Vec<u64>>())
        });
        let (log_id, voters) = committed.await.ok()?;
        let applied = self.raft.data_metrics().borrow_watched().last_applied;
        (log_id.is_some() && log_id <= applied).then(|| voters.into_iter().map(NodeId).collect())
    }

    /// Changes the group's members: new ones catch up first as learners, then the set of voters changes at once.
    pub(crate) async fn set_voters(&self, wanted: &BTreeSet<NodeId>) -> Result<(), String> {
        let voters = self.voters();
        for node in wanted.difference(&voters) {
            self.raft
                .add_learner(node.0, EmptyNode {}, true)
                .await
                .map_err(|e| e.to_string())?;
        }
        let wanted: BTreeSet<u64> = wanted.iter().map(|node| node.0).collect();
        self.raft
            .change_membership(wanted, false)
            .await
            .map_err(|e| e.to_string())?;
        Ok(())
    }

    /// Replicas that hold every entry this leader has, or nearly so.
    pub(crate) fn caught_up(&self, slack: u64) -> BTreeSet<NodeId> {
        let metrics = self.raft.data_metrics();
        let metrics = metrics.borrow_watched();
        let last = metrics.last_log.map_or(0, |l| l.index);
        let Some(replication) = &metrics.replication else {
            return BTreeSet::new();
        };
        replication
            .iter()
            .filter(|(_, matched)| matched.as_ref().map_or(0, |l| l.index) + slack >= last)
            .map(|(node, _)| NodeId(*node))
            .collect()
    }

    pub(crate) fn status(&self) -> GroupStatus {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let last = metrics.last_log_index.unwrap_or(0);
        let standing = *self.standing.lock();
        GroupStatus {
            role: role(metrics.state),
            term: metrics.current_term,
            last,
            applied: standing.applied,
            digest: standing.digest.to_string(),
            voters: metrics.membership_config.voter_ids().map(NodeId).collect(),
            lag: metrics
                .replication
                .iter()
                .flatten()
                .filter(|(node, _)| **node != metrics.id)
                .map(|(node, matched)| {
                    (
                        NodeId(*node),
                        last.saturating_sub(matched.as_ref().map_or(0, |l| l.index)),
                    )
                })
                .collect(),
        }
    }

    /// Why openraft gave the group up, if it did, as it does when a log write is refused.
    pub(crate) fn failure(&self) -> Option<String> {
        let metrics = self.raft.metrics();
        let state = &metrics.borrow_watched().running_state;
        state.as_ref().err().map(ToString::to_string)
    }

    /// Stops the replica; its rows stay.
    pub(crate) async fn shutdown(&self) {
        // An error says that it had stopped already.
        drop(self.raft.shutdown().await);
    }
}

// === impl Leadership ===

impl Leadership {
    /// The term in which this replica leads now, if it does.
    pub(crate) fn term(&self) -> Option<u64> {
        let metrics = self.metrics.borrow_watched();
        let leads = metrics.state == ServerState::Leader
            && metrics.vote.committed
            && metrics.vote.leader_id.voted_for == self.node;
        leads.then_some(metrics.vote.leader_id.term)
    }

    /// Waits for a change; `false` when the group has stopped.
    pub(crate) async fn changed(&mut self) -> bool {
        self.metrics.changed().await.is_ok()
    }
}

fn role(state: ServerState) -> &'static str {
    match state {
        ServerState::Leader => "leader",
        ServerState::Follower => "follower",
        ServerState::Learner => "learner",
        ServerState::Candidate => "candidate",
        ServerState::Shutdown => "shutdown",
    }
}

fn settings(config: &Config) -> Result<openraft::Config, String> {
    let ms = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    let settings = openraft::Config {
        cluster_name: "rookery".to_owned(),
        // They come from the node's one clock: crate::node::pulse. What is left of the interval is how often a group
        // looks at its election timer, 13/64 of it: the longer, the fewer wake-ups of groups that have nothing to do.
        enable_heartbeat: false,
        heartbeat_interval: ms(config.election_min * 3 / 4),
        election_timeout_min: ms(config.election_min),
        election_timeout_max: ms(config.election_max),
        enable_pre_vote: Some(true),
        // A leader sends entries before its own disk has them. Restored in its old term without those that a crash
        // took, it would give their indexes out again: two different entries under one log id.
        enable_leader_restore: Some(false),
        max_payload_entries: 256,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(config.snapshot_every),
        max_in_snapshot_log_to_keep: config.keep_entries,
        purge_batch_size: (config.keep_entries / 2).max(1),
        // A replica further behind than what is kept gets a snapshot.
        replication_lag_threshold: config.snapshot_every + config.keep_entries,
        install_snapshot_timeout: 60_000,
        api_channel_size: Some(1024),
        notification_channel_size: Some(1024),
        state_machine_channel_size: Some(1024),
        ..openraft::Config::default()
    };
    settings.validate().map_err(|e| e.to_string())
}
