//! [`Group`]: handle of one Raft group on this node, with this crate's types.
//!
//! Path of a message: step 6 of 13.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::{EmptyNode, ServerState, SnapshotPolicy};
use parking_lot::Mutex;
use storage::{ShardId, Store};

use crate::blocking::run_blocking;
use crate::config::Config;
use crate::error::{Error, ProposeError};
use crate::ids::{GroupStatus, NodeId, shard_name};
use crate::raft::digest::ReplicaDigest;
use crate::raft::log_store::LogStore;
use crate::raft::network::{Factory, RaftMethod};
use crate::raft::row_copy::RowCopies;
use crate::raft::state_machine::{ApplyObserver, StateMachineStore};
use crate::raft::tally::Tally;
use crate::raft::{Proposal, ProposalResult, Raft, TypeConfig};
use crate::state_machine::StateMachine;
use crate::transport::{ConnectionClass, Transport};

/// Handle of one Raft group on this node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Group {
    shard: ShardId,
    raft: Raft,
    log: LogStore,
    transport: Arc<dyn Transport>,
    standing: Arc<Mutex<ReplicaDigest>>,
    undecodable: Arc<OnceLock<String>>,
    copies: Arc<RowCopies>,
}

/// Dependencies of a group, provided by its node.
pub(crate) struct GroupDeps {
    pub(crate) node: NodeId,
    pub(crate) store: Store,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) machine: Arc<dyn StateMachine>,
    pub(crate) watcher: Arc<dyn ApplyObserver>,
    /// The log on the disk may be the beginning of the group's, with a membership of long ago.
    pub(crate) replays: bool,
}

/// Receiver of leadership changes of this replica.
pub(crate) struct Leadership {
    metrics: openraft::alias::WatchReceiverOf<TypeConfig, openraft::metrics::RaftServerMetrics<TypeConfig>>,
    node: u64,
}

// === impl Group ===

impl Group {
    /// Starts a replica from its disk, or an empty one that a leader will fill.
    pub(crate) async fn start(shard: ShardId, config: &Config, parts: GroupDeps) -> Result<Group, Error> {
        let failed = |reason: String| Error::Raft {
            shard: shard_name(shard),
            reason,
        };
        let log =
            run_blocking(|| LogStore::open(parts.store.log(shard))).map_err(|e| failed(e.to_string()))?;
        let machine = StateMachineStore::open(
            shard,
            parts.store.state(shard),
            parts.machine,
            parts.watcher,
            log.flushed(),
            config.supported_level,
        )
        .map_err(|e| failed(e.to_string()))?;
        let factory = Factory {
            shard,
            transport: parts.transport.clone(),
            // Not shorter than a second: an append includes the follower's fsync, and a slow disk is no reason to
            // restart the stream.
            append_deadline: config.election_max.max(Duration::from_secs(1)),
            snapshot_rate: config.snapshot_rate,
        };
        let (standing, undecodable) = (machine.standing(), machine.undecodable());
        let copies = machine.copies();
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
            undecodable,
            copies,
        };
        group.stand(!parts.replays);
        if !parts.replays && group.voters().iter().eq([&parts.node]) {
            // No other replica could lead, so an election timeout would only delay the start. Fails only on a stopped
            // group.
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

    /// Returns whether the replica has neither voted nor received an entry.
    pub(crate) fn is_pristine(&self) -> bool {
        self.log.is_pristine()
    }

    /// Makes this replica the only member of its group. Does nothing if the replica has a vote or an entry.
    pub(crate) async fn initialize(&self, node: NodeId) -> Result<(), Error> {
        // A bootstrap interrupted by a crash is repeated: initializing twice would fail the start.
        if !self.log.is_pristine() {
            return Ok(());
        }
        let members = std::collections::BTreeMap::from([(node.0, EmptyNode {})]);
        self.raft.initialize(members).await.map_err(|e| Error::Raft {
            shard: shard_name(self.shard),
            reason: e.to_string(),
        })
    }

    /// Proposes an entry and waits until it is applied on this node. Returns its index.
    pub(crate) async fn propose(&self, proposal: Proposal) -> Result<(u64, ProposalResult), ProposeError> {
        match self.raft.client_write(proposal).await {
            Ok(response) => Ok((response.log_id.index, response.data)),
            // Refused before the entry was appended, so it is certainly not applied.
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => Err(ProposeError::NotOwner),
            // The entry may be in the log: another leader can still commit it.
            Err(RaftError::APIError(_) | RaftError::Fatal(_)) => Err(ProposeError::Unknown),
        }
    }

    /// Returns the newest term that this replica has voted in or received.
    pub(crate) fn promised(&self) -> u64 {
        self.log.promised()
    }

    /// Asks another replica for its [`promised`](Self::promised) term. The request is enqueued before this returns.
    /// `None`: no response within `deadline`.
    pub(crate) fn ask_promised(
        &self,
        node: NodeId,
        deadline: Duration,
    ) -> impl Future<Output = Option<u64>> + Send + 'static {
        let body = Bytes::copy_from_slice(&self.shard.0.to_be_bytes());
        // Enqueued here and not when the future is first polled, so that all voters are asked at the same time.
        let answer = self.transport.call(
            node,
            ConnectionClass::Raft,
            RaftMethod::Promised as u16,
            body,
            deadline,
        );
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

    /// Returns an empty tally over the group's voters, by the newest membership in the log. That membership is at most
    /// one change behind, and the majorities of one change share a member.
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

    /// Returns true if openraft considers the leader's lease valid; asks a quorum if the lease has expired. Only for
    /// the seeded bug that relies on it, see [`crate::shard::FreshReads`].
    #[cfg(feature = "planted-bugs")]
    pub(crate) async fn leased(&self, deadline: Duration) -> bool {
        let policy = openraft::LinearizerOption::from(openraft::ReadPolicy::LeaseRead);
        let policy = policy.with_wait_timeout(deadline);
        self.raft.ensure_linearizable(policy).await.is_ok()
    }

    /// Triggers a heartbeat if this replica leads. Skipped when the group's queue is full: the group is then sending
    /// entries, which serve as heartbeats.
    pub(crate) fn heartbeat(&self) {
        if self.raft.server_metrics().borrow_watched().state == ServerState::Leader {
            // Polled once and dropped: one busy group must not delay the heartbeats of all others.
            drop(self.raft.trigger().heartbeat().now_or_never());
        }
    }

    /// Enables or disables elections by this replica.
    pub(crate) fn stand(&self, stands: bool) {
        self.raft.runtime_config().elect(stands);
    }

    pub(crate) fn leadership(&self) -> Leadership {
        let metrics = self.raft.server_metrics();
        let node = metrics.borrow_watched().id;
        Leadership { metrics, node }
    }

    /// Requests a leadership transfer and returns immediately. The target becomes leader when it has all entries.
    pub(crate) async fn transfer_to(&self, target: NodeId) {
        // Fails only on a stopped group, which leads nothing.
        drop(self.raft.trigger().transfer_leader(target.0).await);
    }

    /// Purges the entries up to `mark`, which an earlier call returned, and makes later ones purgeable. Returns the
    /// applied index for the next call.
    pub(crate) async fn trim(&self, mark: u64) -> u64 {
        let applied = self
            .raft
            .metrics()
            .borrow_watched()
            // Read before the snapshot, whose position can only be at or above it.
            .last_applied
            .map_or(0, |l| l.index);
        // Both calls fail only on a stopped group, which has nothing to purge.
        if mark > 0 {
            drop(self.raft.trigger().purge_log(mark).await);
        }
        drop(self.raft.trigger().snapshot().await);
        applied
    }

    /// Returns the voters of the newest membership in the log, committed or not.
    pub(crate) fn voters(&self) -> BTreeSet<NodeId> {
        self.raft
            .server_metrics()
            .borrow_watched()
            .membership_config
            .voter_ids()
            .map(NodeId)
            .collect()
    }

    /// Returns the voters of the newest membership that is committed and applied here; `None` while there is none. A
    /// membership that is only in the log may still be replaced by another leader.
    pub(crate) async fn applied_voters(&self) -> Option<Vec<NodeId>> {
        let committed = self.raft.with_raft_state(|state| {
            let committed = state.membership_state.committed();
            (*committed.log_id(), committed.voter_ids().collect::<Vec<u64>>())
        });
        let (log_id, voters) = committed.await.ok()?;
        let applied = self.raft.data_metrics().borrow_watched().last_applied;
        (log_id.is_some() && log_id <= applied).then(|| voters.into_iter().map(NodeId).collect())
    }

    /// Returns the members of the newest membership in the log, voters and learners, committed or not.
    pub(crate) fn members(&self) -> BTreeSet<NodeId> {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let nodes = metrics.membership_config.nodes();
        nodes.map(|(node, _)| NodeId(*node)).collect()
    }

    /// Returns the shared copies of this replica's rows.
    pub(crate) fn copies(&self) -> Arc<RowCopies> {
        self.copies.clone()
    }

    /// Changes the group's voters: new ones catch up as learners first, then the voter set changes by joint consensus.
    pub(crate) async fn set_voters(&self, wanted: &BTreeSet<NodeId>) -> Result<(), String> {
        let voters = self.voters();
        // As learners first: a voter without entries counts for the quorum and would block commits until it has caught
        // up.
        for node in wanted.difference(&voters) {
            self.raft
                .add_learner(node.0, EmptyNode {}, true)
                .await
                .map_err(|e| e.to_string())?;
        }
        let wanted: BTreeSet<u64> = wanted.iter().map(|node| node.0).collect();
        // `false` removes former voters from the group instead of keeping them as learners.
        self.raft
            .change_membership(wanted, false)
            .await
            .map_err(|e| e.to_string())?;
        Ok(())
    }

    /// Returns the replicas that are at most `slack` entries behind this leader; empty if this replica does not lead.
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
        // The position and the digest come from one lock, so they always belong together.
        let standing = *self.standing.lock();
        GroupStatus {
            role: match self.undecodable() {
                Some(_) => "failed",
                None => role(metrics.state),
            },
            failure: self.undecodable().map(str::to_owned),
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

    /// Returns the reason for which openraft stopped the group, such as a refused log write; `None` while it runs.
    pub(crate) fn failure(&self) -> Option<String> {
        let metrics = self.raft.metrics();
        let state = &metrics.borrow_watched().running_state;
        state.as_ref().err().map(ToString::to_string)
    }

    /// Returns the entry before which this replica stopped because it cannot decode it; `None` while it runs.
    pub(crate) fn undecodable(&self) -> Option<&str> {
        self.undecodable.get().map(String::as_str)
    }

    /// Stops the replica; its rows and log stay on disk.
    pub(crate) async fn shutdown(&self) {
        // Fails only if the group had already stopped.
        drop(self.raft.shutdown().await);
    }
}

// === impl Leadership ===

impl Leadership {
    /// Returns the term in which this replica leads now; `None` if it does not lead.
    pub(crate) fn term(&self) -> Option<u64> {
        let metrics = self.metrics.borrow_watched();
        let leads = metrics.state == ServerState::Leader
            // An election that is not won yet has a vote, too, but not a committed one.
            && metrics.vote.committed
            && metrics.vote.leader_id.voted_for == self.node;
        leads.then_some(metrics.vote.leader_id.term)
    }

    /// Waits for a change of the group's state; returns false when the group has stopped.
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
        // Heartbeats come from the node's one timer, see `crate::member::heartbeat`. The interval still determines how
        // often a group checks its election timer (13/64 of it): the longer, the fewer wake-ups of idle groups.
        enable_heartbeat: false,
        heartbeat_interval: ms(config.election_min * 3 / 4),
        election_timeout_min: ms(config.election_min),
        election_timeout_max: ms(config.election_max),
        enable_pre_vote: Some(true),
        // A leader sends entries before its own disk has them. Restored in its old term without entries that a crash
        // took, it would assign their indexes again: two different entries under one log id. See
        // `docs/decisions/0008-a-restarted-leader-asks-again.md`.
        enable_leader_restore: Some(false),
        max_payload_entries: 256,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(config.tuning.snapshot_every),
        max_in_snapshot_log_to_keep: config.tuning.keep_entries,
        purge_batch_size: (config.tuning.keep_entries / 2).max(1),
        // A replica further behind than the retained entries receives a snapshot.
        replication_lag_threshold: config.tuning.snapshot_every + config.tuning.keep_entries,
        install_snapshot_timeout: 60_000,
        api_channel_size: Some(1024),
        notification_channel_size: Some(1024),
        state_machine_channel_size: Some(1024),
        ..openraft::Config::default()
    };
    settings.validate().map_err(|e| e.to_string())
}
